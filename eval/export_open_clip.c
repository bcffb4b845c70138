/* A folder that open_clip opens by "local-dir:PATH": open_clip_config.json,
 * open_clip_model.safetensors, and the tokenizer's files. */
#include <stdlib.h>

#include "eval/export_parts.h"
#include "eval/model_description.h"

/* Our description, and for a tokenizer that is not CLIP's, "hf_tokenizer_name": it makes open_clip
 * take the folder's files, through transformers, in place of the CLIP tokenizer that it brings. */
static clip_status write_config(const struct clip_export *export, bool own_tokenizer,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    struct clip_model_description description = clip_model_file_description(export->file);
    CLIP_TRY(clip_model_description_format(&description, &text, error));
    json_t *root = clip_json_parse(text.data, text.size, "the description", error);
    if (!root) CLIP_TRY(error->status);
    if (own_tokenizer) {
        json_t *model = json_object_get(root, "model_cfg");
        json_object_set_new(json_object_get(model, "text_cfg"), "hf_tokenizer_name",
                            json_string("clip"));
    }
    CLIP_TRY(clip_export_json(export->path, "open_clip_config.json", root, error));
out:
    clip_buffer_release(&text);
    return status;
}

/* open_clip's plain CLIP has no words for these. */
static clip_status check_expressible(const struct clip_model_file *file, struct clip_error *error)
{
    const struct clip_model_config *c = &file->model->config;
    const char *what = c->siglip         ? "is a SigLIP"
                       : c->gelu_tanh    ? "has GELU in its tanh form"
                       : c->norm_eps > 0 ? "has a layer_norm_eps that is not 1e-5"
                       : file->tokenizer && clip_tokenizer_is_unigram(file->tokenizer)
                           ? "has a Unigram tokenizer"
                           : NULL;
    if (!what) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA, "the model %s, which open_clip's description of a plain "
                     "CLIP cannot say; export it as huggingface, safetensors or hdf5", what);
}

clip_status clip_export_open_clip(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = check_expressible(export->file, error);
    if (status != CLIP_OK) return status;
    const struct clip_model *model = export->file->model;
    const struct clip_tokenizer *tokenizer = export->file->tokenizer;
    bool own_tokenizer = tokenizer && !clip_tokenizer_is_clip(tokenizer);
    struct clip_bundle written = {0};
    char *path = clip_path_join(export->path, "open_clip_model.safetensors", error);
    if (!path) CLIP_TRY(CLIP_ERR_MEMORY);
    for (int64_t i = 0; i < model->param_count; i++) {
        CLIP_TRY(clip_export_add(&written, model->params[i].name, &model->params[i].tensor,
                                 export->dtype, error));
    }
    CLIP_TRY(clip_bundle_add_text(&written, "format", "pt", 2, error));
    CLIP_TRY(clip_export_safetensors(path, &written, error));
    CLIP_TRY(write_config(export, own_tokenizer, error));
    CLIP_TRY(clip_export_tokenizer(export, error));
out:
    clip_bundle_release(&written);
    free(path);
    return status;
}
