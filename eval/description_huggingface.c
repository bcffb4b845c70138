/* transformers' descriptions: config.json of a CLIPModel, preprocessor_config.json. */
#include <math.h>
#include <string.h>

#include "eval/description_parser.h"
#include "eval/model_description.h"

/* transformers' defaults where a key is missing (CLIPTextConfig, CLIPVisionConfig). */
static void set_defaults(struct clip_model_description *d, int64_t *vision_mlp, int64_t *text_mlp)
{
    *d = clip_model_description_default();
    d->config.embed_dim = 512;
    d->config.patch_size = 32;
    d->config.quick_gelu = true;
    d->cleaning = CLIP_TEXT_HUGGINGFACE;
    d->preprocess.floor_crop = true;
    d->ids.end = 49407;
    *vision_mlp = 3072;
    *text_mlp = 2048;
}

/* Names of one function each in transformers' ACT2FN. */
static void take_activation(struct clip_json_parser *p, bool *quick_gelu)
{
    static const char *const names[] = {"quick_gelu", "gelu", NULL};
    *quick_gelu = clip_json_choice(p, "hidden_act", names, *quick_gelu ? 0 : 1) == 0;
}

static void take_eps(struct clip_json_parser *p)
{
    double eps = 1e-5;
    clip_json_real(p, "layer_norm_eps", &eps);
    if (eps != 1e-5) clip_json_refuse(p, "layer_norm_eps", "1e-5, a CLIP's");
}

static void parse_tower(struct clip_json_parser *p, int64_t *width, int64_t *layers,
                        int64_t *heads, int64_t *mlp)
{
    clip_json_integer(p, "hidden_size", width);
    clip_json_integer(p, "num_hidden_layers", layers);
    clip_json_integer(p, "num_attention_heads", heads);
    clip_json_integer(p, "intermediate_size", mlp);
    take_eps(p);
}

static void parse_vision(struct clip_json_parser *p, struct clip_model_config *c, int64_t *mlp,
                         bool *quick_gelu)
{
    int64_t channels = 3;
    parse_tower(p, &c->vision_width, &c->vision_layers, &c->vision_heads, mlp);
    clip_json_side(p, "image_size", &c->image_size);
    clip_json_side(p, "patch_size", &c->patch_size);
    clip_json_integer(p, "num_channels", &channels);
    if (channels != 3) clip_json_refuse(p, "num_channels", "3 (pictures are RGB)");
    take_activation(p, quick_gelu);
}

/* Early uploads say eos_token_id 2, which no text holds: there the largest id ends a text. */
static void parse_text(struct clip_json_parser *p, struct clip_model_description *d, int64_t *mlp,
                       bool *quick_gelu)
{
    struct clip_model_config *c = &d->config;
    int64_t end = d->ids.end == 0 ? 2 : d->ids.end;
    parse_tower(p, &c->text_width, &c->text_layers, &c->text_heads, mlp);
    clip_json_integer(p, "max_position_embeddings", &c->context_length);
    clip_json_integer(p, "vocab_size", &c->vocab_size);
    clip_json_id(p, "eos_token_id", &end);
    d->ids.end = end == 2 ? 0 : end;
    d->ids.pad = end == 2 ? c->vocab_size - 1 : end; /* until a tokenizer says otherwise */
    take_activation(p, quick_gelu);
}

static double ratio(struct clip_json_parser *p, int64_t width, int64_t mlp)
{
    if (mlp > 64 * width) clip_json_refuse(p, "intermediate_size", "at most 64 times hidden_size");
    return *p->status == CLIP_OK ? clip_model_mlp_ratio(width, mlp) : 4;
}

/* What text_config_dict says counts more than text_config, as in transformers; there the two differ
 * in nothing that we read, so that keys one has not are taken from the other. */
static void parse_model(struct clip_json_parser *top, struct clip_model_description *d)
{
    static const char *const sections[][2] = {
        {"vision_config", "vision_config_dict"}, {"text_config", "text_config_dict"},
    };
    int64_t vision_mlp, text_mlp;
    struct clip_json_parser p;
    set_defaults(d, &vision_mlp, &text_mlp);
    bool vision_quick = true, text_quick = true;
    clip_json_integer(top, "projection_dim", &d->config.embed_dim);
    for (int i = 0; i < 2; i++) {
        p = clip_json_enter(top, sections[0][i], sections[0][i]);
        parse_vision(&p, &d->config, &vision_mlp, &vision_quick);
    }
    d->config.vision_mlp_ratio = ratio(&p, d->config.vision_width, vision_mlp);
    for (int i = 0; i < 2; i++) {
        p = clip_json_enter(top, sections[1][i], sections[1][i]);
        parse_text(&p, d, &text_mlp, &text_quick);
    }
    d->config.text_mlp_ratio = ratio(&p, d->config.text_width, text_mlp);
    d->config.quick_gelu = vision_quick;
    if (vision_quick != text_quick) {
        clip_json_complain(top, "the two towers have different \"hidden_act\"; only models with "
                                "one activation can be read");
    }
}

/* What clip_export notes of a model that follows other rules than transformers': how it was trained
 * counts more than where it is kept. */
static void parse_own(struct clip_json_parser *top, struct clip_model_description *d)
{
    static const char *const cleanings[] = {
        [CLIP_TEXT_OPEN_CLIP] = "open_clip", [CLIP_TEXT_HUGGINGFACE] = "huggingface", NULL,
    };
    struct clip_json_parser p = clip_json_enter(top, "clip_c", "clip_c");
    d->cleaning = (enum clip_text_cleaning)clip_json_choice(&p, "text_cleaning", cleanings,
                                                            (int)d->cleaning);
    clip_json_bool(&p, "floor_crop", &d->preprocess.floor_crop);
    clip_json_id(&p, "end_id", &d->ids.end);
    clip_json_id(&p, "pad_id", &d->ids.pad);
}

clip_status clip_model_description_parse_huggingface(const char *json, size_t n, const char *name,
                                                     struct clip_model_description *out,
                                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description d = {0};
    json_t *root = clip_json_parse(json, n, name, error);
    if (!root) return error->status;
    struct clip_json_parser top = {.name = name, .section = "the first level", .object = root,
                                   .status = &status, .error = error};
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!type || strcmp(type, "clip") != 0) {
        clip_json_complain(&top, "the \"model_type\" is %.60s%s; models of type clip can be read",
                           type ? type : "not given", type ? "" : " (is this a config.json of "
                           "transformers?)");
    }
    if (status == CLIP_OK) parse_model(&top, &d);
    if (status == CLIP_OK) parse_own(&top, &d);
    json_decref(root);
    clip_model_description_unify(&d);
    if (status == CLIP_OK) {
        status = clip_model_config_check(&d.config, error);
        if (status != CLIP_OK) clip_error_prefix(error, "%s", name);
    }
    if (status == CLIP_OK) *out = d;
    return status;
}

/* preprocessor_config.json ------------------------------------------------------------------- */

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
        if (clip_json_get(&inner, "longest_edge")) {
            clip_json_refuse(&inner, "longest_edge", "\"shortest_edge\", or height and width");
        }
    } else if (value) {
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
    if (!crop) clip_json_refuse(p, "do_center_crop", "true, since pictures are square");
    if (cut.shortest) cut.height = cut.width = cut.shortest;
    if (cut.height && (cut.height != S || cut.width != S)) {
        clip_json_refuse(p, "crop_size", want_crop);
    }
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

clip_status clip_preprocessor_parse(const char *json, size_t n, const char *name,
                                    struct clip_model_description *description,
                                    struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *root = clip_json_parse(json, n, name, error);
    if (!root) return error->status;
    struct clip_model_description d = *description;
    struct clip_json_parser p = {.name = name, .section = "the preprocessing", .object = root,
                                 .status = &status, .error = error};
    int64_t resample = d.preprocess.interpolation == CLIP_BICUBIC ? 3 : 2; /* Pillow's numbers */
    if (!json_is_object(root)) clip_json_complain(&p, "this is no JSON object");
    take_resize(&p, &d.preprocess);
    clip_json_id(&p, "resample", &resample);
    if (resample != 2 && resample != 3) {
        clip_json_refuse(&p, "resample", "2 (bilinear) or 3 (bicubic)");
    }
    d.preprocess.interpolation = resample == 3 ? CLIP_BICUBIC : CLIP_BILINEAR;
    take_values(&p, &d.config);
    json_decref(root);
    clip_model_description_unify(&d);
    if (status == CLIP_OK) *description = d;
    return status;
}
