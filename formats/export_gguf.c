/* GGUF by the names of clip.cpp (https://github.com/monatis/clip.cpp, convert_hf_to_gguf.py), whose
 * f16 files keep vectors in float32, as ours do. Beside its keys stand those that it has no use
 * for: clip.logit_scale and clip.logit_bias (it counts the tensors, so these are none), the merges,
 * and the description. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/gguf.h"
#include "formats/architectures.h"
#include "formats/export_parts.h"
#include "formats/model_description.h"

static void put_tower(json_t **values, const char *name, const struct clip_tower *tower,
                      int64_t embed_dim)
{
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {
        {"embedding_length", tower->width}, {"feed_forward_length", clip_tower_hidden(tower)},
        {"projection_dim", embed_dim},      {"attention.head_count", tower->heads},
        {"block_count", tower->layers},
    };
    char key[64];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(key, sizeof key, "clip.%s.%s", name, sizes[i].key);
        clip_json_set(values, key, json_integer(sizes[i].value));
    }
    snprintf(key, sizeof key, "clip.%s.attention.layer_norm_epsilon", name);
    clip_json_set(values, key, json_real((double)(float)tower->norm_eps));
}

static json_t *floats(const float *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) clip_json_push(&list, json_real((double)values[i]));
    return list;
}

static void put_sizes(json_t **values, const struct clip_model *model)
{
    const struct clip_model_config *c = &model->config;
    clip_json_set(values, "clip.text.context_length", json_integer(c->context_length));
    put_tower(values, "text", &c->text, c->embed_dim);
    clip_json_set(values, "clip.vision.image_size", json_integer(c->image_size));
    clip_json_set(values, "clip.vision.patch_size", json_integer(c->patch_size));
    put_tower(values, "vision", &c->vision, c->embed_dim);
    clip_json_set(values, "clip.vision.image_mean", floats(c->image_mean, 3));
    clip_json_set(values, "clip.vision.image_std", floats(c->image_std, 3));
    clip_json_set(values, "clip.use_gelu", json_boolean(c->vision.activation != CLIP_QUICK_GELU));
}

/* "tokenizer.ggml.tokens", by their ids, and the merges. */
static clip_status put_tokenizer(json_t **values, const struct clip_tokenizer *tokenizer,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer spelling = {0};
    json_t *tokens = json_array();
    for (int32_t id = 0; id < tokenizer->vocab_size; id++) {
        spelling.size = 0;
        CLIP_TRY(clip_tokenizer_spell(tokenizer, id, &spelling, error));
        clip_json_push(&tokens, json_string(spelling.data));
    }
    clip_json_set(values, "tokenizer.ggml.tokens", tokens);
    tokens = NULL;
    clip_json_set(values, "tokenizer.ggml.merges", clip_export_merges(tokenizer));
out:
    json_decref(tokens);
    clip_buffer_release(&spelling);
    return status;
}

static clip_status make_values(const struct clip_export *export, json_t **out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_model *model = export->file->model;
    struct clip_model_description d = clip_model_file_description(export->file);
    struct clip_buffer config = {0};
    int type = export->dtype == CLIP_F32 ? 0 : export->dtype == CLIP_F16 ? 1 : 32; /* ggml's */
    json_t *values = json_pack("{s:s, s:b, s:b, s:i, s:s, s:s}", "general.architecture", "clip",
                               "clip.has_text_encoder", 1, "clip.has_vision_encoder", 1,
                               "general.file_type", type, "general.name", "clip.c",
                               "general.description", "two-tower CLIP model");
    put_sizes(&values, model);
    clip_json_set(&values, "clip.logit_scale",
                  json_real((double)*(const float *)model->logit_scale->data));
    if (model->logit_bias != NULL) {
        clip_json_set(&values, "clip.logit_bias",
                      json_real((double)*(const float *)model->logit_bias->data));
    }
    CLIP_TRY(clip_model_description_format(&d, &config, error));
    clip_json_set(&values, "clip.c.config", json_string(config.data));
    if (export->file->tokenizer != NULL)
        CLIP_TRY(put_tokenizer(&values, export->file->tokenizer, error));
    if (values == NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "memory is short for the file's values"));
    *out = values;
    values = NULL;
out:
    json_decref(values);
    clip_buffer_release(&config);
    return status;
}

/* What clip.cpp keeps in the narrower type: the images' convolution and the matrices. */
static bool is_narrow(const struct clip_bundle_tensor *entry)
{
    size_t n = strlen(entry->name);
    bool is_weight = n > 7 && strcmp(entry->name + n - 7, ".weight") == 0;
    return entry->tensor.ndim == 4 || (entry->tensor.ndim == 2 && is_weight);
}

static clip_status make_tensors(const struct clip_export *export, struct clip_bundle *wide,
                                struct clip_bundle *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_export plain = *export;
    plain.dtype = CLIP_F32;
    CLIP_TRY(clip_export_layout(&plain, CLIP_LAYOUT_GGUF, wide, error));
    for (int64_t i = 0; i < wide->tensor_count; i++) {
        const struct clip_bundle_tensor *entry = &wide->tensors[i];
        if (strncmp(entry->name, "logit_", 6) == 0) continue; /* a value */
        CLIP_TRY(clip_export_add(out, entry->name, &entry->tensor,
                                 is_narrow(entry) ? export->dtype : CLIP_F32, error));
    }
out:
    return status;
}

clip_status clip_export_gguf(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle wide = {0}, written = {0}, read = {0};
    json_t *values = NULL, *again = NULL;
    const struct clip_model_config *c = &export->file->model->config;
    enum clip_architecture architecture = clip_architecture_of(c);
    if (architecture != CLIP_ARCHITECTURE_CLIP) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the model is a %s, which clip.cpp does not "
                         "know; export it as huggingface, safetensors or hdf5",
                         clip_architecture_title(architecture));
    }
    if ((c->vision.activation == CLIP_QUICK_GELU) != (c->text.activation == CLIP_QUICK_GELU)) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "one of the model's towers has QuickGELU, and clip.cpp knows models that "
                         "have it in both or in none; export it as huggingface, safetensors or "
                         "hdf5");
    }
    if (export->file->tokenizer != NULL && !export->file->tokenizer->merges) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the tokenizer is a %s, which clip.cpp does "
                         "not know; export it as huggingface, safetensors or hdf5",
                         export->file->tokenizer->ops->kind);
    }
    CLIP_TRY(make_tensors(export, &wide, &written, error));
    CLIP_TRY(make_values(export, &values, error));
    CLIP_TRY(clip_gguf_write(export->path, values, &written, error));
    CLIP_TRY(clip_gguf_read(export->path, &again, &read, error));
    CLIP_TRY(clip_export_compare(&written, &read, export->path, error));
    if (!json_equal(values, again)) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_IO,
                           "%s: its values read back differently from what was "
                           "written; do not use the file, check the disk and export again",
                           export->path));
    }
out:
    json_decref(values);
    json_decref(again);
    clip_bundle_release(&read);
    clip_bundle_release(&written);
    clip_bundle_release(&wide);
    return status;
}
