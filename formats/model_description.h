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
 * and keys of ours, each only where it is not the default: in model_cfg "architecture": "siglip",
 * "gelu_tanh": true, "text_gelu_tanh": true, "norm_eps", for both towers; in a tower's own part
 * what it has otherwise (formats/architectures.h); behind, "text_cleaning": "huggingface",
 * "floor_crop": true, "resize_to" (the short side before the crop), "end_id", "pad_id", and "loss",
 * which the model is trained with, where its logit_bias does not say so.
 *
 * What open_clip says in other words is read as well: act_kwargs and norm_kwargs of a tower, a
 * SigLIP by timm_model_name (formats/timm.h) and its text tower's no_causal_mask, proj_bias,
 * pool_type and tokenizer_kwargs; and a description without "model_cfg" around it, as its own
 * models have. */
#ifndef CLIP_FORMATS_MODEL_DESCRIPTION_H
#define CLIP_FORMATS_MODEL_DESCRIPTION_H

#include "core/json.h"
#include "data/image/image.h"
#include "data/text/tokenizer.h"
#include "formats/layout.h"
#include "model/model.h"

/* Rows of token ids that a person gives, padded to one length: how they end, what fills them. */
struct clip_text_ids {
    int64_t end; /* a row ends at the first of these; 0: at its first largest id, as in open_clip */
    int64_t pad; /* what stands behind the end */
};

struct clip_model_description {
    struct clip_model_config config;
    struct clip_preprocess preprocess; /* image_size, mean and std are also config's */
    enum clip_text_cleaning cleaning;
    struct clip_text_ids ids;
    bool pad_said; /* by clip_export, so that what lies beside the weights does not count */
};

/* *out becomes the description as a JSON object; json_decref it. */
clip_status clip_model_description_json(const struct clip_model_description *description,
                                        json_t **out, struct clip_error *error);
/* Appends the JSON, one line. The same description gives the same bytes. */
clip_status clip_model_description_format(const struct clip_model_description *description,
                                          struct clip_buffer *out, struct clip_error *error);
/* Reads it; `name` is for messages. A key that is not there has open_clip's default. A key of
 * model_cfg that asks for a model of another kind is refused by name. */
clip_status clip_model_description_parse(const char *json, size_t n, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error);
/* The same from transformers' config.json (CLIPModel, SiglipModel). Its rules for text hold: the
 * row at eos_token_id is taken, its cleaning; and its way to crop, with CLIP's mean and std until
 * clip_preprocessor_parse has read those that belong to it. Another kind of model is refused. */
clip_status clip_model_description_parse_huggingface(const char *json, size_t n, const char *name,
                                                     struct clip_model_description *out,
                                                     struct clip_error *error);
/* transformers' preprocessor_config.json: resizing, crop, mean and std, into a description that is
 * parsed already. What this program does not do is refused by name. *found becomes true. */
clip_status clip_preprocessor_parse(const char *json, size_t n, const char *name,
                                    struct clip_model_description *description, bool *found,
                                    struct clip_error *error);
/* The same from "image_processor" in processor_config.json, which transformers writes instead since
 * version 5. Where there is none, *found is false and nothing changes. */
clip_status clip_processor_parse(const char *json, size_t n, const char *name,
                                 struct clip_model_description *description, bool *found,
                                 struct clip_error *error);

/* The sizes that the weights' shapes tell: all of config but heads (those of the released models
 * of that width), quick_gelu (false), mean and std (CLIP's). */
clip_status clip_model_description_infer(const struct clip_weight_source *weights, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error);
/* The description's sizes are those of the shapes; else CLIP_ERR_DATA names the first that is not.
 * A model that passes needs about as much memory as its weights in the bundle. */
clip_status clip_model_description_check(const struct clip_model_description *description,
                                         const struct clip_weight_source *weights, const char *name,
                                         struct clip_error *error);
/* A description of a CLIP of no size in particular: open_clip's defaults. */
struct clip_model_description clip_model_description_default(void);
/* A list of short decimals: those that give the same floats back. */
json_t *clip_floats_json(const float *values, int n);
/* Copies image size, mean and std from the model's part to the preprocessing's. */
void clip_model_description_unify(struct clip_model_description *description);
/* The preprocessing of every published SigLIP, where none is said: squashed, values in [-1, 1]. */
void clip_model_description_siglip(struct clip_model_description *description);

#endif
