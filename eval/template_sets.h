/* Sets of templates that need no file, in our own words. */
#ifndef CLIP_EVAL_TEMPLATE_SETS_H
#define CLIP_EVAL_TEMPLATE_SETS_H

#include "core/status.h"
#include "data/sets/dataset.h"

/* "plain": the name alone. "photo": how photographs are captioned. "many": photographs, drawings,
 * models, signs, ... for images of every kind (as the 80 of Radford et al. 2021 are meant).
 * "small": tiny and blurred images. "zh": Chinese. */
const char *clip_template_set_name(int set); /* core/choice.h */
/* The set of that number; clip_templates_release it. */
clip_status clip_template_set(int set, struct clip_templates *out, struct clip_error *error);
/* One template, as a set; CLIP_ERR_USAGE without {} or {c}. */
clip_status clip_template_one(const char *line, struct clip_templates *out,
                              struct clip_error *error);

#endif
