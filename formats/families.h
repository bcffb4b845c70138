/* Models of families that are not read, told by name before anything else is said of their files.
 *
 * A family is found by "model_type" or "architectures" of transformers' config.json, by the parts
 * of an open_clip_config.json, or by names that the weights of no other family have. */
#ifndef CLIP_FORMATS_FAMILIES_H
#define CLIP_FORMATS_FAMILIES_H

#include "checkpoints/bundle.h"
#include "core/json.h"

/* The family's name ("ResNet CLIP (RN50)"), static; NULL: none of those that are not read. */
const char *clip_family_of_huggingface(const json_t *config);
const char *clip_family_of_open_clip(const json_t *config);
const char *clip_family_of_weights(const struct clip_bundle *weights);

/* Fails with a sentence about `name` where `family` is not NULL. */
clip_status clip_family_refuse(const char *family, const char *name, struct clip_error *error);

#endif
