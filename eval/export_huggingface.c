/* A folder for transformers: CLIPModel.from_pretrained and CLIPProcessor.from_pretrained open it.
 * What is not in transformers' config is kept under "clip_c" where our reader finds it. */
#include <stdlib.h>
#include <string.h>

#include "eval/export_parts.h"
#include "eval/model_description.h"

/* What CLIPModel and CLIPImageProcessor have no words for. */
static clip_status check_expressible(const struct clip_model_file *file, struct clip_error *error)
{
    if (file->model->logit_bias) {
        return clip_fail(error, CLIP_ERR_DATA, "the model has a logit_bias, which transformers' "
                         "CLIPModel does not know; export it as open_clip, onnx or safetensors");
    }
    if (file->preprocess.resize_mode == CLIP_RESIZE_LONGEST) {
        return clip_fail(error, CLIP_ERR_DATA, "the model's pictures are resized by resize_mode "
                         "\"longest\", which transformers' CLIPImageProcessor does not know; "
                         "export it as open_clip, onnx or safetensors");
    }
    return CLIP_OK;
}

/* Where a text ends: transformers takes a row's first eos_token_id, and 2 there stands for the
 * largest id (its rule for early uploads). */
static json_int_t end_of(const struct clip_model_file *file)
{
    if (file->ids.end != 0) return file->ids.end;
    return file->tokenizer ? clip_tokenizer_end(file->tokenizer) : 2;
}

static json_t *text_config(const struct clip_model_file *file, const char *activation)
{
    const struct clip_model_config *c = &file->model->config;
    json_int_t end = end_of(file);
    json_int_t start = file->tokenizer ? clip_tokenizer_start(file->tokenizer) : c->vocab_size - 2;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:I, s:I, s:I, s:f}",
                     "model_type", "clip_text_model", "vocab_size", (json_int_t)c->vocab_size,
                     "hidden_size", (json_int_t)c->text_width, "intermediate_size",
                     (json_int_t)((double)c->text_width * c->text_mlp_ratio),
                     "num_hidden_layers", (json_int_t)c->text_layers, "num_attention_heads",
                     (json_int_t)c->text_heads, "max_position_embeddings",
                     (json_int_t)c->context_length, "projection_dim", (json_int_t)c->embed_dim,
                     "hidden_act", activation, "layer_norm_eps", 1e-5, "attention_dropout", 0.0,
                     "bos_token_id", start, "eos_token_id", end, "pad_token_id",
                     end == 2 ? (json_int_t)file->ids.pad : end, "initializer_factor",
                     1.0);
}

static json_t *vision_config(const struct clip_model_file *file, const char *activation)
{
    const struct clip_model_config *c = &file->model->config;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:s, s:f, s:f, s:f}",
                     "model_type", "clip_vision_model", "hidden_size",
                     (json_int_t)c->vision_width, "intermediate_size",
                     (json_int_t)((double)c->vision_width * c->vision_mlp_ratio),
                     "num_hidden_layers", (json_int_t)c->vision_layers, "num_attention_heads",
                     (json_int_t)c->vision_heads, "image_size", (json_int_t)c->image_size,
                     "patch_size", (json_int_t)c->patch_size, "num_channels", 3, "projection_dim",
                     (json_int_t)c->embed_dim, "hidden_act", activation, "layer_norm_eps", 1e-5,
                     "attention_dropout", 0.0, "initializer_factor", 1.0);
}

/* Our reader's rules where they are not transformers' own: a model that was trained here keeps its
 * cleaning and its crop when it comes back. NULL: they are the same. */
static json_t *own_rules(const struct clip_model_file *file)
{
    json_int_t end = end_of(file);
    bool same_ids = file->ids.end == (end == 2 ? 0 : end)
                 && file->ids.pad == (end == 2 ? file->model->config.vocab_size - 1 : end);
    if (file->cleaning == CLIP_TEXT_HUGGINGFACE && file->preprocess.floor_crop && same_ids) {
        return NULL;
    }
    return json_pack("{s:s, s:b, s:I, s:I}", "text_cleaning",
                     file->cleaning == CLIP_TEXT_HUGGINGFACE ? "huggingface" : "open_clip",
                     "floor_crop", file->preprocess.floor_crop, "end_id",
                     (json_int_t)file->ids.end, "pad_id", (json_int_t)file->ids.pad);
}

static clip_status write_config(const struct clip_export *export, struct clip_error *error)
{
    const struct clip_model_file *file = export->file;
    const char *activation = file->model->config.quick_gelu ? "quick_gelu" : "gelu";
    const char *dtype = export->dtype == CLIP_F32   ? "float32"
                        : export->dtype == CLIP_F16 ? "float16"
                                                    : "bfloat16";
    json_t *config = json_pack("{s:[s], s:s, s:I, s:s, s:f, s:f, s:o, s:o}", "architectures",
                               "CLIPModel", "model_type", "clip", "projection_dim",
                               (json_int_t)file->model->config.embed_dim, "torch_dtype", dtype,
                               "logit_scale_init_value", 2.6592, "initializer_factor", 1.0,
                               "text_config", text_config(file, activation), "vision_config",
                               vision_config(file, activation));
    json_t *rules = own_rules(file);
    if (rules) json_object_set_new(config, "clip_c", rules);
    return clip_export_json(export->path, "config.json", config, error);
}

static clip_status write_preprocessor(const struct clip_export *export, struct clip_error *error)
{
    const struct clip_preprocess *p = &export->file->preprocess;
    json_int_t side = p->image_size, shortest = p->shortest ? p->shortest : side;
    json_t *size = p->resize_mode == CLIP_RESIZE_SQUASH
                       ? json_pack("{s:I, s:I}", "height", side, "width", side)
                       : json_pack("{s:I}", "shortest_edge", shortest);
    json_t *value = json_pack(
        "{s:s, s:b, s:o, s:i, s:b, s:{s:I, s:I}, s:b, s:f, s:b, s:o, s:o, s:b}",
        "image_processor_type", "CLIPImageProcessor", "do_resize", 1, "size", size, "resample",
        p->interpolation == CLIP_BICUBIC ? 3 : 2, "do_center_crop", 1, "crop_size", "height", side,
        "width", side, "do_rescale", 1, "rescale_factor", 1.0 / 255, "do_normalize", 1,
        "image_mean", clip_floats_json(p->mean, 3), "image_std", clip_floats_json(p->std, 3),
        "do_convert_rgb", 1);
    return clip_export_json(export->path, "preprocessor_config.json", value, error);
}

clip_status clip_export_huggingface(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle written = {0};
    char *path = clip_path_join(export->path, "model.safetensors", error);
    if (!path) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(check_expressible(export->file, error));
    CLIP_TRY(clip_export_layout(export, CLIP_LAYOUT_HUGGINGFACE, &written, error));
    CLIP_TRY(clip_bundle_add_text(&written, "format", "pt", 2, error));
    CLIP_TRY(clip_export_safetensors(path, &written, error));
    CLIP_TRY(write_config(export, error));
    CLIP_TRY(write_preprocessor(export, error));
    CLIP_TRY(clip_export_tokenizer(export, error));
out:
    clip_bundle_release(&written);
    free(path);
    return status;
}
