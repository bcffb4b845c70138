/* Reading a model's description out of JSON: keys with a default each, complaints that name them.
 * The first complaint counts; what is asked for afterwards does nothing. */
#ifndef CLIP_FORMATS_DESCRIPTION_PARSER_H
#define CLIP_FORMATS_DESCRIPTION_PARSER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/choice.h"
#include "core/json.h"

struct clip_json_parser {
    const char *name;     /* of the file */
    const char *section;  /* "model_cfg.vision_cfg" */
    const json_t *object; /* NULL reads as an empty one */
    clip_status *status;  /* of the first failure, shared */
    struct clip_error *error;
};

/* "FILE: "KEY" in SECTION of the model's description is not usable; expected EXPECTED". */
void clip_json_refuse(struct clip_json_parser *p, const char *key, const char *expected);
/* The same with a sentence of one's own behind "FILE: ". */
void clip_json_complain(struct clip_json_parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The key's value; NULL where it is not there or null. */
const json_t *clip_json_get(const struct clip_json_parser *p, const char *key);
/* Each of these leaves *out as it is where the key is not there. */
void clip_json_integer(struct clip_json_parser *p, const char *key, int64_t *out); /* above 0 */
void clip_json_id(struct clip_json_parser *p, const char *key, int64_t *out);      /* from 0 */
void clip_json_real(struct clip_json_parser *p, const char *key, double *out);     /* above 0 */
void clip_json_bool(struct clip_json_parser *p, const char *key, bool *out);
void clip_json_three(struct clip_json_parser *p, const char *key, float *out);
/* A whole number above 0, or two of them that are equal ([S, S]). */
void clip_json_side(struct clip_json_parser *p, const char *key, int64_t *out);
/* The number of the key's text in `choices` (which ends in NULL), `otherwise` where it is not
 * there. */
int clip_json_choice(struct clip_json_parser *p, const char *key, const char *const *choices,
                     int otherwise);
/* The same of an enum's words (core/choice.h). */
int clip_json_name(struct clip_json_parser *p, const char *key, clip_name_fn *name, int otherwise);
/* The object `key` of the parent; one that is not there reads as empty. */
struct clip_json_parser clip_json_enter(const struct clip_json_parser *parent, const char *key,
                                        const char *section);
/* A key that is not in `known` (which ends in NULL) asks for another kind of model, unless it is
 * switched off: null, false, 0 or {}. */
void clip_json_known(struct clip_json_parser *p, const char *const *known);

#endif
