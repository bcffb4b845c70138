/* JSON through jansson, with our error sentences. */
#ifndef CLIP_CORE_JSON_H
#define CLIP_CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "core/memory.h"
#include "core/status.h"

/* Parses n bytes; `name` is what the sentence calls them (a path). Duplicate keys are refused.
 * json_decref the result; NULL with *error filled. */
json_t *clip_json_parse(const char *bytes, size_t n, const char *name, struct clip_error *error);
/* The same with every number as a real, so that integers of any size are read. */
json_t *clip_json_parse_reals(const char *bytes, size_t n, const char *name,
                              struct clip_error *error);
json_t *clip_json_read(const char *path, size_t limit, struct clip_error *error);
/* Is the value under `key` this text? */
bool clip_json_is(const json_t *object, const char *key, const char *text);
/* Building: *out = json_pack(format, ...), and `list` with such a value at its end. What fails is
 * said: CLIP_ERR_DATA for a text that is not UTF-8, CLIP_ERR_MEMORY where memory is short or `list`
 * is NULL because it was. An "o" argument is taken over in either case. */
clip_status clip_json_pack(json_t **out, struct clip_error *error, const char *format, ...);
clip_status clip_json_add(json_t *list, struct clip_error *error, const char *format, ...);

/* Compact, one line, keys in insertion order, no newline at the end; appended to `out`. Real
 * numbers with as few digits as give the same double back (15 to 17). */
clip_status clip_json_append(struct clip_buffer *out, const json_t *value,
                             struct clip_error *error);

#endif
