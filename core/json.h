/* JSON, read and written by jansson, with our error sentences. What Python writes is read too: a
 * bare NaN, Infinity or -Infinity is null. */
#ifndef CLIP_CORE_JSON_H
#define CLIP_CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "core/memory.h"
#include "core/status.h"

/* For a program, before anything else of jansson's: from then on a text is refused where memory for
 * reading it is short. Without this jansson may lose bytes of the text and succeed all the same. */
void clip_json_watch_memory(void);
/* jansson's json_loadb, with Python's constants. `bytes` may be NULL: there are none. */
json_t *clip_json_load(const char *bytes, size_t n, size_t flags, json_error_t *fault);
/* Parses n bytes; error sentences call them `name` (a path). Duplicate keys are refused. The caller
 * must json_decref the result; it is NULL with *error filled after a failure. */
json_t *clip_json_parse(const char *bytes, size_t n, const char *name, struct clip_error *error);
/* The same, but every number becomes a real number, so that integers of any size can be read. */
json_t *clip_json_parse_reals(const char *bytes, size_t n, const char *name,
                              struct clip_error *error);
json_t *clip_json_read(const char *path, size_t limit, struct clip_error *error);
/* Is the value of `key` this text? */
bool clip_json_is(const json_t *object, const char *key, const char *text);
/* For building JSON: *out = json_pack(format, ...); and adding such a value to the end of `list`.
 * The failure is CLIP_ERR_DATA for a text that is not UTF-8, and CLIP_ERR_MEMORY if memory is short
 * or if `list` is NULL because memory was short. An "o" argument is taken over in either case. */
clip_status clip_json_pack(json_t **out, struct clip_error *error, const char *format, ...);
clip_status clip_json_add(json_t *list, struct clip_error *error, const char *format, ...);

/* (*object)[key] = value, and value at the end of *list; they take the value's reference. Where
 * that fails, or where the value is NULL because it could not be made, *object (*list) is released
 * and becomes NULL, which every call passes on. So a sequence of calls is checked once, behind
 * it. */
void clip_json_set(json_t **object, const char *key, json_t *value);
void clip_json_push(json_t **list, json_t *value);

/* Values that those take; NULL where memory is short. A number that is not finite is null; in a
 * text whose bytes are not UTF-8, as a file's name may be, those above 127 become '?'. */
json_t *clip_json_number(double x);
json_t *clip_json_text(const char *bytes);
json_t *clip_json_texts(const char *const *items, int64_t n);

/* Appends the value to `out` as compact JSON on one line, with keys in the order of insertion and
 * no newline at the end. Real numbers get the fewest digits (15 to 17) that give the same double
 * back. */
clip_status clip_json_append(struct clip_buffer *out, const json_t *value,
                             struct clip_error *error);
/* The same as jansson writes it by those flags (JSON_INDENT(2) ...). */
clip_status clip_json_dump(struct clip_buffer *out, const json_t *value, size_t flags,
                           struct clip_error *error);

#endif
