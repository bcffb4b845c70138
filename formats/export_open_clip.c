/* A folder that open_clip opens by "local-dir:PATH": open_clip_config.json,
 * open_clip_model.safetensors, and the tokenizer's files. */
#include <stdlib.h>
#include <string.h>

#include "formats/architectures.h"
#include "formats/export_parts.h"
#include "formats/model_description.h"
#include "formats/timm.h"

/* false: memory is short, as for all that follow. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

/* A tower's arguments of nn.GELU and nn.LayerNorm where they are not PyTorch's defaults, in place
 * of keys of ours. */
static bool put_layers(json_t *object, const struct clip_tower *tower)
{
    json_object_del(object, "activation");
    json_object_del(object, "norm_eps");
    return (tower->activation != CLIP_GELU_TANH ||
            put(object, "act_kwargs", json_pack("{s:s}", "approximate", "tanh"))) &&
           (tower->norm_eps == 1e-5 ||
            put(object, "norm_kwargs", json_pack("{s:f}", "eps", tower->norm_eps)));
}

/* open_clip builds the vision tower by timm, and names it and its weights so. */
static bool is_timms(const struct clip_model_config *c)
{
    return clip_architecture_of(c) == CLIP_ARCHITECTURE_SIGLIP;
}

/* A SigLIP's vision tower is timm's of that name; what sets its text tower apart has keys there. */
static bool put_timm(json_t *model, const struct clip_timm_tower *timm)
{
    json_t *text = json_object_get(model, "text_cfg");
    return put(model, "custom_text", json_true()) &&
           put(model, "vision_cfg",
               json_pack("{s:I, s:s, s:b, s:s, s:s}", "image_size", (json_int_t)timm->image_size,
                         "timm_model_name", timm->name, "timm_model_pretrained", 0, "timm_pool",
                         "map", "timm_proj", "none")) &&
           put(text, "no_causal_mask", json_true()) && put(text, "proj_bias", json_true()) &&
           put(text, "pool_type", json_string("last"));
}

/* Our model_cfg in open_clip's words. `own_tokenizer`: open_clip takes the folder's tokenizer,
 * through transformers, in place of the CLIP tokenizer that it brings. */
static bool translate(json_t *model, const struct clip_model_file *file, bool own_tokenizer)
{
    static const char *const ours[] = {"architecture", "gelu_tanh", "text_gelu_tanh", "norm_eps"};
    const struct clip_model_config *c = &file->model->config;
    json_t *text = json_object_get(model, "text_cfg");
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) json_object_del(model, ours[i]);
    bool fine = is_timms(c) ? put_timm(model, clip_timm_same(c))
                            : put_layers(json_object_get(model, "vision_cfg"), &c->vision);
    fine = fine && put_layers(text, &c->text);
    if (own_tokenizer) fine = fine && put(text, "hf_tokenizer_name", json_string("clip"));
    if (file->cleaning == CLIP_TEXT_CANONICALIZE)
        fine = fine && put(text, "tokenizer_kwargs", json_pack("{s:s}", "clean", "canonicalize"));
    return fine;
}

static clip_status write_config(const struct clip_export *export, bool own_tokenizer,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *root = NULL;
    struct clip_model_description description = clip_model_file_description(export->file);
    /* (Not parsed from its text: jansson's parser loses bytes of a key where memory is short.) */
    CLIP_TRY(clip_model_description_json(&description, &root, error));
    if (!translate(json_object_get(root, "model_cfg"), export->file, own_tokenizer))
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "memory is short for open_clip_config.json"));
    if (export->file->model->config.text.whole_rows) /* 0 too: what is not said is 1 there */
        clip_json_set(&root, "pad_id", json_integer(export->file->ids.pad));
    status = clip_export_json(export->path, "open_clip_config.json", root, error);
    root = NULL; /* it was taken over */
out:
    json_decref(root);
    return status;
}

/* open_clip has no words for a SigLIP whose vision tower is none of timm's. */
static clip_status check_timm(const struct clip_model_config *c, struct clip_error *error)
{
    const struct clip_timm_tower *like = clip_timm_like(c);
    if (clip_timm_same(c) != NULL) return CLIP_OK;
    if (like != NULL) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the model is a SigLIP whose heads, GELU or epsilon "
                         "are not those of timm's %s, by whose name open_clip would build its "
                         "vision tower: the numbers would be others; export it as huggingface, "
                         "safetensors or hdf5",
                         like->name);
    }
    return clip_fail(error, CLIP_ERR_DATA,
                     "the model is a SigLIP of sizes that no vision "
                     "transformer of timm has, by whose names open_clip builds one; export it as "
                     "huggingface, safetensors or hdf5");
}

static clip_status check_expressible(const struct clip_model_file *file, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_model_config *c = &file->model->config;
    CLIP_TRY(clip_export_check_architecture(file, error));
    if ((c->vision.activation == CLIP_QUICK_GELU) != (c->text.activation == CLIP_QUICK_GELU)) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "one of the model's towers has QuickGELU, and open_clip knows models "
                           "that have it in both or in none; export it as huggingface, safetensors "
                           "or hdf5"));
    }
    if (is_timms(c)) return check_timm(c, error);
    if (file->tokenizer == NULL || file->tokenizer->merges) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "the model has a %s tokenizer, whose end of a text "
                     "open_clip's CLIP would not find; export it as huggingface, safetensors or "
                     "hdf5",
                     file->tokenizer->ops->kind);
out:
    return status;
}

/* timm's shapes where they have a dimension more or less than ours. */
static void shape_as_timm(struct clip_bundle *bundle)
{
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        struct clip_tensor *t = &bundle->tensors[i].tensor;
        const char *name = bundle->tensors[i].name;
        int64_t n = clip_tensor_count(t);
        if (strcmp(name, "visual.trunk.patch_embed.proj.bias") == 0) {
            *t = clip_tensor_view(t->dtype, t->data, 1, &n);
        } else if (strcmp(name, "visual.trunk.pos_embed") == 0 ||
                   strcmp(name, "visual.trunk.attn_pool.latent") == 0) {
            const int64_t shape[] = {1, t->shape[0], t->shape[1]};
            *t = clip_tensor_view(t->dtype, t->data, 3, shape);
        }
    }
}

clip_status clip_export_open_clip(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = check_expressible(export->file, error);
    if (status != CLIP_OK) return status;
    const struct clip_tokenizer *tokenizer = export->file->tokenizer;
    bool timm = is_timms(&export->file->model->config);
    bool own_tokenizer = tokenizer != NULL && (timm || !clip_tokenizer_is_clip(tokenizer));
    struct clip_bundle written = {0};
    char *path = clip_path_join(export->path, "open_clip_model.safetensors", error);
    if (path == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(clip_export_layout(export, timm ? CLIP_LAYOUT_TIMM_SIGLIP : CLIP_LAYOUT_OPEN_CLIP,
                                &written, error));
    if (timm) shape_as_timm(&written);
    CLIP_TRY(clip_bundle_add_text(&written, "format", "pt", 2, error));
    CLIP_TRY(clip_export_safetensors(path, &written, error));
    CLIP_TRY(write_config(export, own_tokenizer, error));
    CLIP_TRY(clip_export_tokenizer(export, error));
out:
    clip_bundle_release(&written);
    free(path);
    return status;
}
