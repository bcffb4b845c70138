/* A GGUF file of clip.cpp's kind as a model: its values become what a safetensors file of ours
 * holds, the texts "config" and "tokenizer" and the weight "logit_scale". */
#include <string.h>

#include "checkpoints/gguf.h"
#include "formats/description_parser.h"
#include "formats/model_source.h"

#define LOGIT_SCALE 4.6051702f /* ln 100, what CLIPs are trained to; clip.cpp's files keep none */

static void take_tower(struct clip_json_parser *p, const char *tower, struct clip_tower *out)
{
    int64_t mlp = 0;
    char key[64];
    snprintf(key, sizeof key, "clip.%s.embedding_length", tower);
    clip_json_integer(p, key, &out->width);
    snprintf(key, sizeof key, "clip.%s.block_count", tower);
    clip_json_integer(p, key, &out->layers);
    snprintf(key, sizeof key, "clip.%s.attention.head_count", tower);
    clip_json_integer(p, key, &out->heads);
    snprintf(key, sizeof key, "clip.%s.feed_forward_length", tower);
    clip_json_integer(p, key, &mlp);
    if (mlp < 1 || mlp / 64 > out->width)
        clip_json_refuse(p, key, "the width of the hidden layer");
    else
        out->mlp_ratio = clip_tower_mlp_ratio(out->width, mlp);
}

/* The description that clip.cpp's own keys give. */
static clip_status describe(const json_t *values, const struct clip_bundle *bundle,
                            const char *path, struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description d = clip_model_description_default();
    struct clip_json_parser p = {path, "the values", values, &status, error};
    bool gelu = false;
    clip_json_integer(&p, "clip.text.projection_dim", &d.config.embed_dim);
    clip_json_integer(&p, "clip.text.context_length", &d.config.context_length);
    clip_json_integer(&p, "clip.vision.image_size", &d.config.image_size);
    clip_json_integer(&p, "clip.vision.patch_size", &d.config.patch_size);
    take_tower(&p, "text", &d.config.text);
    take_tower(&p, "vision", &d.config.vision);
    clip_json_three(&p, "clip.vision.image_mean", d.config.image_mean);
    clip_json_three(&p, "clip.vision.image_std", d.config.image_std);
    clip_json_bool(&p, "clip.use_gelu", &gelu);
    d.config.vision.activation = d.config.text.activation = gelu ? CLIP_GELU : CLIP_QUICK_GELU;
    const struct clip_tensor *tokens = clip_bundle_find(bundle, "t.token_embd.weight");
    if (tokens != NULL && tokens->ndim == 2) d.config.vocab_size = tokens->shape[0];
    clip_model_description_unify(&d);
    if (status == CLIP_OK) status = clip_model_config_check(&d.config, error);
    return status == CLIP_OK ? clip_model_description_format(&d, out, error) : status;
}

static clip_status add_config(const json_t *values, struct clip_bundle *out, const char *path,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    const char *own = json_string_value(json_object_get(values, "clip.c.config"));
    if (own != NULL)
        CLIP_TRY(clip_buffer_append(&text, own, strlen(own), error));
    else
        CLIP_TRY(describe(values, out, path, &text, error));
    CLIP_TRY(clip_bundle_add_text(out, "config", text.data, text.size, error));
out:
    clip_buffer_release(&text);
    return status;
}

static clip_status add_tokenizer(const json_t *values, struct clip_bundle *out, const char *path,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    const json_t *merges = json_object_get(values, "tokenizer.ggml.merges");
    if (merges == NULL) return CLIP_OK;
    bool none = json_is_array(merges) && json_array_size(merges) == 0;
    CLIP_TRY(
        clip_buffer_printf(&text, error, "#version: 0.2%s", none ? " - clip.c, 0 merges" : ""));
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const char *merge = json_string_value(json_array_get(merges, i));
        if (merge == NULL) {
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s: \"tokenizer.ggml.merges\" is no list of "
                               "texts; the file is damaged",
                               path));
        }
        CLIP_TRY(clip_buffer_append(&text, "\n", 1, error));
        CLIP_TRY(clip_buffer_append(&text, merge, strlen(merge), error));
    }
    CLIP_TRY(clip_bundle_add_text(out, "tokenizer", text.data, text.size, error));
out:
    clip_buffer_release(&text);
    return status;
}

/* A number among the values as a weight without dimensions. */
static clip_status add_scalar(struct clip_bundle *out, const char *name, float value,
                              struct clip_error *error)
{
    float *data = clip_arena_alloc(&out->arena, 1, sizeof *data, error);
    if (data == NULL) return CLIP_ERR_MEMORY;
    *data = value;
    struct clip_tensor tensor = clip_tensor_view(CLIP_F32, data, 0, NULL);
    return clip_bundle_add(out, name, &tensor, error);
}

clip_status clip_model_read_gguf(const char *path, const struct clip_log *log,
                                 struct clip_bundle *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *values = NULL;
    CLIP_TRY(clip_gguf_read(path, &values, out, error));
    const json_t *scale = json_object_get(values, "clip.logit_scale");
    const json_t *bias = json_object_get(values, "clip.logit_bias");
    if (!json_is_number(scale))
        clip_log_write(log, CLIP_LOG_WARNING,
                       "%s does not say its logit_scale; assuming 100, as it is in most CLIPs",
                       path);
    CLIP_TRY(add_scalar(out, "logit_scale",
                        json_is_number(scale) ? (float)json_number_value(scale) : LOGIT_SCALE,
                        error));
    if (json_is_number(bias))
        CLIP_TRY(add_scalar(out, "logit_bias", (float)json_number_value(bias), error));
    CLIP_TRY(add_config(values, out, path, error));
    CLIP_TRY(add_tokenizer(values, out, path, error));
out:
    json_decref(values);
    if (status != CLIP_OK) clip_bundle_release(out);
    return status;
}
