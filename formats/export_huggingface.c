/* A folder for transformers: CLIPModel.from_pretrained (SiglipModel's for a SigLIP) and
 * CLIPProcessor.from_pretrained open it.
 * What is not in transformers' config is kept under "clip_c" where our reader finds it. */
#include <stdlib.h>
#include <string.h>

#include "formats/architectures.h"
#include "formats/export_parts.h"
#include "formats/model_description.h"
#include "model/loss.h"

/* SiglipModel's shapes where they have a dimension more or less than ours. */
static void shape_as_siglip(struct clip_bundle *bundle)
{
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        struct clip_tensor *t = &bundle->tensors[i].tensor;
        const char *name = bundle->tensors[i].name;
        int64_t n = clip_tensor_count(t);
        if (strncmp(name, "logit_", 6) == 0 ||
            strcmp(name, "vision_model.embeddings.patch_embedding.bias") == 0)
            *t = clip_tensor_view(t->dtype, t->data, 1, &n);
        else if (strcmp(name, "vision_model.head.probe") == 0)
            *t = clip_tensor_view(t->dtype, t->data, 3, (const int64_t[]){1, 1, n});
    }
}

/* What an architecture is called there, and what its classes have. */
static const struct names {
    const char *model, *type, *text, *vision, *processor;
    bool bias;         /* the model has a logit_bias */
    bool size_in_text; /* the embedding's size is said in text_config, as projection_size */
    bool floor_crop;   /* the processor's crop leaves half a pixel at that side */
    void (*shape)(struct clip_bundle *bundle);
} names[] = {
    [CLIP_ARCHITECTURE_CLIP] = {.model = "CLIPModel",
                                .type = "clip",
                                .text = "clip_text_model",
                                .vision = "clip_vision_model",
                                .processor = "CLIPImageProcessor",
                                .floor_crop = true},
    [CLIP_ARCHITECTURE_SIGLIP] = {.model = "SiglipModel",
                                  .type = "siglip",
                                  .text = "siglip_text_model",
                                  .vision = "siglip_vision_model",
                                  .processor = "SiglipImageProcessor",
                                  .bias = true,
                                  .size_in_text = true,
                                  .shape = shape_as_siglip},
};

static const struct names *names_of(const struct clip_model_config *c)
{
    return &names[clip_architecture_of(c)];
}

/* What CLIPModel and CLIPImageProcessor have no words for. */
static clip_status check_expressible(const struct clip_model_file *file, struct clip_error *error)
{
    clip_status status = clip_export_check_architecture(file, error);
    if (status != CLIP_OK) return status;
    if (file->model->logit_bias != NULL && !names_of(&file->model->config)->bias) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the model has a logit_bias, which transformers' "
                         "CLIPModel does not know; export it as open_clip, onnx or safetensors");
    }
    if (file->preprocess.resize_mode == CLIP_RESIZE_LONGEST) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "the model's images are resized by resize_mode "
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
    return file->tokenizer != NULL ? file->tokenizer->end : 2;
}

/* What stands for that in text_config. Whole rows have no end, but padding that is read. */
static json_int_t eos_of(const struct clip_model_file *file)
{
    return file->model->config.text.whole_rows ? file->ids.pad : end_of(file);
}

/* What both towers say alike. */
static json_t *tower_config(const struct clip_model_config *c, const struct clip_tower *tower,
                            const char *type)
{
    static const char *const activations[] = {
        [CLIP_GELU] = "gelu",
        [CLIP_QUICK_GELU] = "quick_gelu",
        [CLIP_GELU_TANH] = "gelu_pytorch_tanh",
    };
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:s, s:f, s:f}", "model_type", type, "hidden_size",
        (json_int_t)tower->width, "intermediate_size", (json_int_t)clip_tower_hidden(tower),
        "num_hidden_layers", (json_int_t)tower->layers, "num_attention_heads",
        (json_int_t)tower->heads, "hidden_act", activations[tower->activation], "layer_norm_eps",
        tower->norm_eps, "attention_dropout", 0.0);
    if (names_of(c)->size_in_text || object == NULL) return object;
    clip_json_set(&object, "projection_dim", json_integer(c->embed_dim));
    clip_json_set(&object, "initializer_factor", json_real(1.0));
    return object;
}

static json_t *text_config(const struct clip_model_file *file)
{
    const struct clip_model_config *c = &file->model->config;
    json_int_t end = end_of(file);
    json_int_t pad = c->text.whole_rows || end == 2 ? file->ids.pad : end;
    json_int_t start = file->tokenizer != NULL ? file->tokenizer->start : -1;
    if (start < 0) start = c->vocab_size - 2; /* no tokenizer, or one without a start */
    json_t *tower = tower_config(c, &c->text, names_of(c)->text);
    clip_json_set(&tower, "vocab_size", json_integer(c->vocab_size));
    clip_json_set(&tower, "max_position_embeddings", json_integer(c->context_length));
    clip_json_set(&tower, "bos_token_id", json_integer(start));
    clip_json_set(&tower, "eos_token_id", json_integer(eos_of(file)));
    clip_json_set(&tower, "pad_token_id", json_integer(pad));
    if (names_of(c)->size_in_text)
        clip_json_set(&tower, "projection_size", json_integer(c->embed_dim));
    return tower;
}

static json_t *vision_config(const struct clip_model_config *c)
{
    json_t *tower = tower_config(c, &c->vision, names_of(c)->vision);
    clip_json_set(&tower, "image_size", json_integer(c->image_size));
    clip_json_set(&tower, "patch_size", json_integer(c->patch_size));
    clip_json_set(&tower, "num_channels", json_integer(3));
    if (c->vision.pooling == CLIP_POOL_ATTENTION)
        clip_json_set(&tower, "vision_use_head", json_true());
    return tower;
}

/* Our reader's rules where they are not transformers' own: a model that was trained here keeps its
 * cleaning, its crop and its loss when it comes back. The ids hold while vocab_size and
 * eos_token_id are those of the config around them: tokens may be added later. *same: they are
 * transformers' own, and NULL comes back. */
static json_t *own_rules(const struct clip_model_file *file, bool *same)
{
    const struct clip_model_config *c = &file->model->config;
    json_int_t end = end_of(file);
    bool same_ids = file->ids.end == (end == 2 ? 0 : end) &&
                    file->ids.pad == (end == 2 ? c->vocab_size - 1 : end);
    bool floor_crop = file->preprocess.crop == CLIP_CROP_HUGGINGFACE;
    bool same_crop = floor_crop == names_of(c)->floor_crop;
    *same = file->cleaning == CLIP_TEXT_HUGGINGFACE && same_crop &&
            (same_ids || c->text.whole_rows) && c->loss == NULL;
    if (*same) return NULL;
    json_t *rules = json_pack("{s:s, s:b, s:I, s:I, s:I, s:I}", "text_cleaning",
                              clip_text_cleaning_name(file->cleaning), "floor_crop", floor_crop,
                              "end_id", (json_int_t)file->ids.end, "pad_id",
                              (json_int_t)file->ids.pad, "vocab_size", (json_int_t)c->vocab_size,
                              "eos_token_id", eos_of(file));
    if (c->loss != NULL) clip_json_set(&rules, "loss", json_string(c->loss->name));
    return rules;
}

static clip_status write_config(const struct clip_export *export, struct clip_error *error)
{
    const struct clip_model_file *file = export->file;
    const struct clip_model_config *c = &file->model->config;
    const char *dtype = export->dtype == CLIP_F32   ? "float32"
                        : export->dtype == CLIP_F16 ? "float16"
                                                    : "bfloat16";
    json_t *config = json_pack("{s:[s], s:s, s:s, s:f, s:o, s:o}", "architectures",
                               names_of(c)->model, "model_type", names_of(c)->type, "torch_dtype",
                               dtype, "initializer_factor", 1.0, "text_config", text_config(file),
                               "vision_config", vision_config(c));
    if (!names_of(c)->size_in_text) {
        clip_json_set(&config, "projection_dim", json_integer(c->embed_dim));
        clip_json_set(&config, "logit_scale_init_value", json_real(2.6592));
    }
    bool same;
    json_t *rules = own_rules(file, &same);
    if (!same) clip_json_set(&config, "clip_c", rules);
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
        "image_processor_type", names_of(&export->file->model->config)->processor, "do_resize", 1,
        "size", size, "resample", p->interpolation == CLIP_BICUBIC ? 3 : 2, "do_center_crop",
        p->resize_mode != CLIP_RESIZE_SQUASH, "crop_size", "height", side, "width", side,
        "do_rescale", 1, "rescale_factor", 1.0 / 255, "do_normalize", 1, "image_mean",
        clip_floats_json(p->mean, 3), "image_std", clip_floats_json(p->std, 3), "do_convert_rgb",
        1);
    return clip_export_json(export->path, "preprocessor_config.json", value, error);
}

clip_status clip_export_huggingface(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle written = {0};
    char *path = clip_path_join(export->path, "model.safetensors", error);
    if (path == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(check_expressible(export->file, error));
    CLIP_TRY(clip_export_layout(export, CLIP_LAYOUT_HUGGINGFACE, &written, error));
    const struct names *n = names_of(&export->file->model->config);
    if (n->shape != NULL) n->shape(&written);
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
