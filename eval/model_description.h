/* What a model is besides its weights: sizes, preprocessing, text cleaning; as JSON, from shapes.
 *
 * The JSON is open_clip's open_clip_config.json, so that its tools read ours:
 *   {"model_cfg": {"embed_dim": 512, "quick_gelu": false,
 *                  "vision_cfg": {"image_size", "layers", "width", "head_width", "patch_size",
 *                                 "mlp_ratio"},
 *                  "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers",
 *                               "mlp_ratio"},
 *                  "init_logit_bias": -10 (where the model has a logit_bias)},
 *    "preprocess_cfg": {"mean", "std", "interpolation", "resize_mode"}}
 * and two keys of ours behind, each only where it is not the default: "text_cleaning":
 * "huggingface", "floor_crop": true. */
#ifndef CLIP_EVAL_MODEL_DESCRIPTION_H
#define CLIP_EVAL_MODEL_DESCRIPTION_H

#include "checkpoints/bundle.h"
#include "data/image.h"
#include "data/tokenizer.h"
#include "model/model.h"

struct clip_model_description {
    struct clip_model_config config;
    struct clip_preprocess preprocess; /* image_size, mean and std are also config's */
    enum clip_text_cleaning cleaning;
};

/* Appends the JSON, one line. The same description gives the same bytes. */
clip_status clip_model_description_format(const struct clip_model_description *description,
                                          struct clip_buffer *out, struct clip_error *error);
/* Reads it; `name` is for messages. A key that is not there has open_clip's default. A key of
 * model_cfg that asks for a model of another kind is refused by name. */
clip_status clip_model_description_parse(const char *json, size_t n, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error);
/* The sizes that the shapes of open_clip's weights under `prefix` tell: all of config but heads
 * (width / 64 is put there), quick_gelu (false), mean and std (CLIP's). */
clip_status clip_model_description_infer(const struct clip_bundle *weights, const char *prefix,
                                         const char *name, struct clip_model_description *out,
                                         struct clip_error *error);
/* The description's sizes are those of the shapes; else CLIP_ERR_DATA names the first that is not.
 * A model that passes needs about as much memory as its weights in the bundle. */
clip_status clip_model_description_check(const struct clip_model_description *description,
                                         const struct clip_bundle *weights, const char *prefix,
                                         const char *name, struct clip_error *error);

#endif
