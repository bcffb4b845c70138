/* transformers' descriptions: config.json of a CLIPModel or SiglipModel, and
 * how images are prepared: preprocessor_config.json, processor_config.json. */
#include <math.h>
#include <string.h>

#include "formats/architectures.h"
#include "formats/model_description.h"
#include "model/loss.h"

/* What is being read. */
struct reading {
    struct clip_model_description d;
    int64_t vision_mlp, text_mlp; /* hidden widths */
};
/* By clip_activation, from CLIP_GELU on. */
static const char *const activations[] = {"gelu", "quick_gelu", "gelu_pytorch_tanh", NULL};

static void start(struct reading *r, enum clip_architecture architecture,
                  enum clip_activation activation, double eps)
{
    struct clip_model_config *c = &r->d.config;
    *r = (struct reading){.d = clip_model_description_default()};
    clip_architecture_apply(c, architecture);
    c->vision.activation = c->text.activation = activation;
    c->vision.norm_eps = c->text.norm_eps = eps;
    r->vision_mlp = 3072;
    r->d.cleaning = CLIP_TEXT_HUGGINGFACE;
}

/* transformers' defaults where a key is missing (CLIPTextConfig, CLIPVisionConfig). */
static void start_clip(struct reading *r)
{
    start(r, CLIP_ARCHITECTURE_CLIP, CLIP_QUICK_GELU, 1e-5);
    r->text_mlp = 2048;
    r->d.config.embed_dim = 512;
    r->d.config.patch_size = 32;
    r->d.preprocess.crop = CLIP_CROP_HUGGINGFACE;
    r->d.ids.end = 49407;
}

/* (SiglipTextConfig, SiglipVisionConfig, SiglipImageProcessor) */
static void start_siglip(struct reading *r)
{
    struct clip_model_config *c = &r->d.config;
    start(r, CLIP_ARCHITECTURE_SIGLIP, CLIP_GELU_TANH, 1e-6);
    r->text_mlp = 3072;
    c->logit_bias = true;
    c->text.width = 768;
    c->text.heads = 12;
    c->context_length = 64;
    c->vocab_size = 32000;
    clip_model_description_siglip(&r->d);
    r->d.ids.pad = 1;
}

static void parse_tower(struct clip_json_parser *p, struct clip_tower *tower, int64_t *mlp)
{
    clip_json_integer(p, "hidden_size", &tower->width);
    clip_json_integer(p, "num_hidden_layers", &tower->layers);
    clip_json_integer(p, "num_attention_heads", &tower->heads);
    clip_json_integer(p, "intermediate_size", mlp);
    clip_json_real(p, "layer_norm_eps", &tower->norm_eps);
    tower->activation =
        (enum clip_activation)(CLIP_GELU + clip_json_choice(p, "hidden_act", activations,
                                                            (int)tower->activation - CLIP_GELU));
}

static void parse_vision(struct clip_json_parser *p, struct reading *r)
{
    struct clip_model_config *c = &r->d.config;
    int64_t channels = 3;
    bool head = true;
    parse_tower(p, &c->vision, &r->vision_mlp);
    clip_json_side(p, "image_size", &c->image_size);
    clip_json_side(p, "patch_size", &c->patch_size);
    clip_json_integer(p, "num_channels", &channels);
    clip_json_bool(p, "vision_use_head", &head);
    if (channels != 3) clip_json_refuse(p, "num_channels", "3 (images are RGB)");
    if (!head) clip_json_refuse(p, "vision_use_head", "true");
}

/* Whole rows have no end and say what fills them. CLIP's early uploads say eos_token_id 2, which no
 * text holds: there the largest id ends a text. */
static void parse_text(struct clip_json_parser *p, struct reading *r)
{
    struct clip_model_config *c = &r->d.config;
    parse_tower(p, &c->text, &r->text_mlp);
    clip_json_integer(p, "max_position_embeddings", &c->context_length);
    clip_json_integer(p, "vocab_size", &c->vocab_size);
    if (c->text.whole_rows) {
        clip_json_id(p, "pad_token_id", &r->d.ids.pad);
        return;
    }
    int64_t end = r->d.ids.end == 0 ? 2 : r->d.ids.end;
    clip_json_id(p, "eos_token_id", &end);
    r->d.ids.end = end == 2 ? 0 : end;
    r->d.ids.pad = end == 2 ? c->vocab_size - 1 : end; /* until a tokenizer says otherwise */
}

static double ratio(struct clip_json_parser *p, int64_t width, int64_t mlp)
{
    if ((mlp - 1) / 64 >= width)
        clip_json_refuse(p, "intermediate_size", "at most 64 times hidden_size");
    return *p->status == CLIP_OK ? clip_tower_mlp_ratio(width, mlp) : 4;
}

/* What text_config_dict says counts more than text_config, as in transformers; there the two differ
 * in nothing that we read, so that keys one has not are taken from the other. */
static void parse_model(struct clip_json_parser *top, struct reading *r)
{
    static const char *const sections[][2] = {
        {"vision_config", "vision_config_dict"},
        {"text_config", "text_config_dict"},
    };
    struct clip_model_config *c = &r->d.config;
    struct clip_json_parser p;
    for (int i = 0; i < 2; i++) {
        p = clip_json_enter(top, sections[0][i], sections[0][i]);
        parse_vision(&p, r);
    }
    c->vision.mlp_ratio = ratio(&p, c->vision.width, r->vision_mlp);
    for (int i = 0; i < 2; i++) {
        p = clip_json_enter(top, sections[1][i], sections[1][i]);
        parse_text(&p, r);
    }
    c->text.mlp_ratio = ratio(&p, c->text.width, r->text_mlp);
    if (c->vision.projection == CLIP_PROJECT_NONE) { /* the text tower's alone has a size */
        struct clip_json_parser text = clip_json_enter(top, "text_config", "text_config");
        c->embed_dim = c->text.width;
        clip_json_integer(&text, "projection_size", &c->embed_dim);
    } else {
        clip_json_integer(top, "projection_dim", &c->embed_dim);
    }
}

/* The config is still what clip_export wrote "clip_c" for: nobody has added tokens behind the end
 * token since. Before "clip_c" said what it was written for, its end_id 0 (the largest id ends a
 * row) went with an eos_token_id that is the largest id; with another one, ending a row at
 * eos_token_id gives the same for every text of the tokenizer. */
static bool ids_still_hold(struct clip_json_parser *own, const struct clip_model_description *d,
                           int64_t eos)
{
    int64_t vocab_size = 0, end = 0, for_eos = -1;
    clip_json_integer(own, "vocab_size", &vocab_size);
    clip_json_id(own, "eos_token_id", &for_eos);
    if (vocab_size > 0) return vocab_size == d->config.vocab_size && for_eos == eos;
    clip_json_id(own, "end_id", &end);
    return end > 0 ? end == eos : eos == 2 || eos == d->config.vocab_size - 1;
}

/* What clip_export notes of a model that follows other rules than transformers': how it was trained
 * counts more than where it is kept. */
static void parse_own(struct clip_json_parser *top, struct clip_model_description *d)
{
    struct clip_json_parser p = clip_json_enter(top, "clip_c", "clip_c");
    d->cleaning = (enum clip_text_cleaning)clip_json_name(
        &p, "text_cleaning", clip_text_cleaning_name, (int)d->cleaning);
    bool floor_crop = d->preprocess.crop == CLIP_CROP_HUGGINGFACE;
    clip_json_bool(&p, "floor_crop", &floor_crop);
    d->preprocess.crop = floor_crop ? CLIP_CROP_HUGGINGFACE : CLIP_CROP_OPEN_CLIP;
    int64_t eos = d->ids.end == 0 ? 2 : d->ids.end;
    if (d->config.text.whole_rows || ids_still_hold(&p, d, eos)) {
        clip_json_id(&p, "end_id", &d->ids.end);
        clip_json_id(&p, "pad_id", &d->ids.pad);
        d->pad_said = clip_json_get(&p, "pad_id") != NULL;
    }
    int loss = clip_json_name(&p, "loss", clip_loss_name, -1);
    if (loss >= 0) clip_loss_choose(&d->config, loss);
}

clip_status clip_model_description_parse_huggingface(const char *json, size_t n, const char *name,
                                                     struct clip_model_description *out,
                                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *root = clip_json_parse(json, n, name, error);
    if (root == NULL) return error->status;
    struct clip_json_parser top = {.name = name,
                                   .section = "the first level",
                                   .object = root,
                                   .status = &status,
                                   .error = error};
    const char *type = json_string_value(json_object_get(root, "model_type"));
    struct reading r;
    if (type != NULL && strcmp(type, "siglip") == 0)
        start_siglip(&r);
    else
        start_clip(&r);
    if (type == NULL || (strcmp(type, "siglip") != 0 && strcmp(type, "clip") != 0)) {
        clip_json_complain(&top,
                           "the \"model_type\" is %.60s%s; models of type clip and siglip "
                           "can be read",
                           type != NULL ? type : "not given",
                           type != NULL ? ""
                                        : " (is this a "
                                          "config.json of transformers?)");
    }
    if (status == CLIP_OK) parse_model(&top, &r);
    if (status == CLIP_OK) parse_own(&top, &r.d);
    json_decref(root);
    clip_model_description_unify(&r.d);
    if (status == CLIP_OK) {
        status = clip_model_config_check(&r.d.config, error);
        if (status != CLIP_OK) clip_error_prefix(error, "%s", name);
    }
    if (status == CLIP_OK) *out = r.d;
    return status;
}

/* ---- preprocessor_config.json, processor_config.json ---- */

/* A size is S, {"shortest_edge": S} or {"height": H, "width": W}. */
struct size {
    int64_t shortest, height, width; /* 0: not given */
};

static struct size take_size(struct clip_json_parser *p, const char *key)
{
    struct size size = {0};
    const json_t *value = clip_json_get(p, key);
    if (json_is_object(value)) {
        struct clip_json_parser inner = clip_json_enter(p, key, key);
        clip_json_integer(&inner, "shortest_edge", &size.shortest);
        clip_json_integer(&inner, "height", &size.height);
        clip_json_integer(&inner, "width", &size.width);
        if (clip_json_get(&inner, "longest_edge") != NULL)
            clip_json_refuse(&inner, "longest_edge", "\"shortest_edge\", or height and width");
    } else if (value != NULL) {
        clip_json_integer(p, key, &size.shortest);
    }
    return size;
}

static void take_resize(struct clip_json_parser *p, struct clip_preprocess *out)
{
    static const char *const want_crop = "a square of the model's image_size";
    bool resize = true, crop = out->resize_mode == CLIP_RESIZE_SHORTEST;
    int64_t S = out->image_size;
    struct size size = take_size(p, "size"), cut = take_size(p, "crop_size");
    clip_json_bool(p, "do_resize", &resize);
    clip_json_bool(p, "do_center_crop", &crop);
    if (!resize) clip_json_refuse(p, "do_resize", "true");
    if (!size.shortest && !size.height) size.shortest = S;
    if (size.height) {
        out->resize_mode = CLIP_RESIZE_SQUASH;
        if (size.height != S || size.width != S) clip_json_refuse(p, "size", want_crop);
        return; /* a crop of the whole changes nothing */
    }
    out->resize_mode = CLIP_RESIZE_SHORTEST;
    if (!crop) clip_json_refuse(p, "do_center_crop", "true, since images are square");
    if (cut.shortest) cut.height = cut.width = cut.shortest;
    if (cut.height && (cut.height != S || cut.width != S))
        clip_json_refuse(p, "crop_size", want_crop);
    if (size.shortest < S) clip_json_refuse(p, "size", "at least the model's image_size");
    out->shortest = size.shortest == S ? 0 : size.shortest;
}

static void take_values(struct clip_json_parser *p, struct clip_model_config *out)
{
    bool rescale = true, normalise = true;
    double factor = 1.0 / 255;
    clip_json_bool(p, "do_rescale", &rescale);
    clip_json_bool(p, "do_normalize", &normalise);
    clip_json_real(p, "rescale_factor", &factor);
    if (!rescale) clip_json_refuse(p, "do_rescale", "true");
    if (fabs(factor * 255 - 1) > 1e-6) clip_json_refuse(p, "rescale_factor", "1/255");
    clip_json_three(p, "image_mean", out->image_mean);
    clip_json_three(p, "image_std", out->image_std);
    for (int i = 0; i < 3; i++) {
        if (!(out->image_std[i] > 0)) clip_json_refuse(p, "image_std", "three numbers above 0");
        if (!normalise) out->image_mean[i] = 0;
        if (!normalise) out->image_std[i] = 1;
    }
}

static clip_status take_preprocessing(const json_t *object, const char *name,
                                      struct clip_model_description *description,
                                      struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description d = *description;
    struct clip_json_parser p = {.name = name,
                                 .section = "the preprocessing",
                                 .object = object,
                                 .status = &status,
                                 .error = error};
    int64_t resample = d.preprocess.interpolation == CLIP_BICUBIC ? 3 : 2; /* Pillow's numbers */
    if (!json_is_object(object)) clip_json_complain(&p, "this is no JSON object");
    take_resize(&p, &d.preprocess);
    clip_json_id(&p, "resample", &resample);
    if (resample != 2 && resample != 3)
        clip_json_refuse(&p, "resample", "2 (bilinear) or 3 (bicubic)");
    d.preprocess.interpolation = resample == 3 ? CLIP_BICUBIC : CLIP_BILINEAR;
    take_values(&p, &d.config);
    clip_model_description_unify(&d);
    if (status == CLIP_OK) *description = d;
    return status;
}

clip_status clip_preprocessor_parse(const char *json, size_t n, const char *name,
                                    struct clip_model_description *description, bool *found,
                                    struct clip_error *error)
{
    json_t *root = clip_json_parse(json, n, name, error);
    if (root == NULL) return error->status;
    clip_status status = take_preprocessing(root, name, description, error);
    *found = true;
    json_decref(root);
    return status;
}

clip_status clip_processor_parse(const char *json, size_t n, const char *name,
                                 struct clip_model_description *description, bool *found,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *root = clip_json_parse(json, n, name, error);
    if (root == NULL) return error->status;
    const json_t *inner = json_object_get(root, "image_processor");
    *found = inner != NULL && !json_is_null(inner);
    if (*found) status = take_preprocessing(inner, name, description, error);
    json_decref(root);
    return status;
}
