/* Sets of templates that need no file. The words are our own. */
#ifndef CLIP_EVAL_TEMPLATE_SETS_H
#define CLIP_EVAL_TEMPLATE_SETS_H

#include "core/status.h"
#include "data/sets/dataset.h"

/* "plain" is the name alone, "photo" captions of photographs. "many" is for images of every kind:
 * photographs, drawings, models, signs, ... (the purpose of the 80 templates of Radford et al.
 * 2021). "small" is for tiny and blurred images, "zh" is Chinese. */
const char *clip_template_set_name(int set); /* core/choice.h */
/* Copies the set of that number. The caller must clip_templates_release it. */
clip_status clip_template_set(int set, struct clip_templates *out, struct clip_error *error);
/* Makes a set of one template. CLIP_ERR_USAGE if it has neither {} nor {c}. */
clip_status clip_template_one(const char *line, struct clip_templates *out,
                              struct clip_error *error);

#endif
