/* The paths of a LoRA run in the form of PEFT: its save_pretrained for transformers' CLIPModel. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "train/checkpoint.h"

/* transformers' modules in a layer, by our order of targets. */
static const struct {
    unsigned bit;
    const char *module, *name;
} modules[] = {
    {CLIP_LORA_Q, "self_attn.q_proj", "q_proj"},
    {CLIP_LORA_K, "self_attn.k_proj", "k_proj"},
    {CLIP_LORA_V, "self_attn.v_proj", "v_proj"},
    {CLIP_LORA_OUT_PROJ, "self_attn.out_proj", "out_proj"},
    {CLIP_LORA_C_FC, "mlp.fc1", "fc1"},
    {CLIP_LORA_C_PROJ, "mlp.fc2", "fc2"},
};
enum { MODULES = 6, IN_PROJ = 3 };

struct writing {
    struct clip_bundle *bundle;
    const struct clip_setup *setup;
};

/* Rows [k rows, (k + 1) rows) of a stacked A or B. */
static clip_status add(const struct writing *w, const char *name, const struct clip_tensor *tensor,
                       int64_t k, int64_t rows, struct clip_error *error)
{
    int64_t width = tensor->shape[1];
    const struct clip_param *param = clip_model_param_of(w->setup->model, tensor);
    struct clip_tensor part = clip_tensor_f32(
        clip_param_in(param, w->setup->step->average) + k * rows * width, rows, width);
    return clip_bundle_add(w->bundle, name, &part, error);
}

static clip_status add_block(const struct writing *w, const char *tower, int64_t i,
                             const struct clip_block *b, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char name[160];
    const struct clip_lora_config *lora = &w->setup->model->config.lora;
    const struct clip_lora_pair *pairs[MODULES] = {&b->in_proj_lora, &b->in_proj_lora,
                                                   &b->in_proj_lora, &b->out_proj_lora,
                                                   &b->c_fc_lora,    &b->c_proj_lora};
    int64_t place = 0;
    for (int k = 0; k < MODULES; k++) {
        if ((lora->targets & modules[k].bit) == 0) continue;
        int64_t n = k < IN_PROJ ? __builtin_popcount(lora->targets & 7) : 1;
        int64_t at = k < IN_PROJ ? place++ : 0;
        for (int side = 0; side < 2; side++) {
            const struct clip_tensor *tensor = side == 0 ? pairs[k]->a : pairs[k]->b;
            snprintf(name, sizeof name, "base_model.model.%s.encoder.layers.%lld.%s.lora_%c.weight",
                     tower, (long long)i, modules[k].module, side == 0 ? 'A' : 'B');
            CLIP_TRY(
                add(w, name, tensor, at, side == 0 ? lora->rank : tensor->shape[0] / n, error));
        }
    }
out:
    return status;
}

static clip_status write_config(const struct clip_setup *s, const char *path, const char *base,
                                struct clip_error *error)
{
    clip_status status;
    const struct clip_lora_config *lora = &s->model->config.lora;
    struct clip_buffer text = {0};
    json_t *targets = json_array();
    for (int k = 0; k < MODULES; k++)
        if (lora->targets & modules[k].bit) clip_json_push(&targets, json_string(modules[k].name));
    json_t *config = json_pack("{s:s, s:s, s:I, s:f, s:f, s:s, s:b, s:o}", "peft_type", "LORA",
                               "base_model_name_or_path", base, "r", (json_int_t)lora->rank,
                               "lora_alpha", lora->alpha, "lora_dropout", 0.0, "bias", "none",
                               "inference_mode", 1, "target_modules", targets);
    CLIP_TRY(config != NULL ? CLIP_OK : clip_fail(error, CLIP_ERR_MEMORY, "out of memory"));
    CLIP_TRY(clip_json_append(&text, config, error));
    CLIP_TRY(clip_buffer_append(&text, "\n", 1, error));
    CLIP_TRY(clip_file_write(path, text.data, text.size, error));
out:
    json_decref(config);
    clip_buffer_release(&text);
    return status;
}

clip_status clip_adapter_write(const struct clip_setup *s, const char *folder, const char *base,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    const struct writing w = {&bundle, s};
    const struct clip_model *m = s->model;
    char *place = NULL, *path = NULL, *config = NULL;
    place = clip_path_join(folder, "adapter", error);
    CLIP_TRY(place != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    path = clip_path_join(place, "adapter_model.safetensors", error);
    CLIP_TRY(path != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    config = clip_path_join(place, "adapter_config.json", error);
    CLIP_TRY(config != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    CLIP_TRY(clip_folder_create(place, error));
    for (int64_t i = 0; i < m->config.vision.layers; i++)
        CLIP_TRY(add_block(&w, "vision_model", i, &m->vision.blocks[i], error));
    for (int64_t i = 0; i < m->config.text.layers; i++)
        CLIP_TRY(add_block(&w, "text_model", i, &m->text.blocks[i], error));
    CLIP_TRY(clip_bundle_add_text(&bundle, "format", "pt", 2, error));
    CLIP_TRY(clip_safetensors_write(path, &bundle, error));
    CLIP_TRY(write_config(s, config, base, error));
out:
    clip_bundle_release(&bundle);
    free(place);
    free(path);
    free(config);
    return status;
}
