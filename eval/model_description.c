/* A model's description as JSON in open_clip's schema. */
#include "eval/model_description.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/description_parser.h"

/* The values of open_clip's CLIPVisionCfg and CLIPTextCfg where a key is missing, and CLIP's
 * preprocessing. */
static const struct clip_model_description defaults = {
    .config = {.image_size = 224, .patch_size = 16, .vision_width = 768, .vision_layers = 12,
               .vision_heads = 12, .vision_mlp_ratio = 4, .context_length = 77,
               .vocab_size = 49408, .text_width = 512, .text_layers = 12, .text_heads = 8,
               .text_mlp_ratio = 4, .image_mean = {0.48145466f, 0.4578275f, 0.40821073f},
               .image_std = {0.26862954f, 0.26130258f, 0.27577711f}},
    .preprocess = {.interpolation = CLIP_BICUBIC, .resize_mode = CLIP_RESIZE_SHORTEST},
};
#define HEAD_WIDTH 64 /* open_clip's default, and every released CLIP's */

static const char *const interpolations[] = {
    [CLIP_BICUBIC] = "bicubic", [CLIP_BILINEAR] = "bilinear", NULL,
};
static const char *const resize_modes[] = {
    [CLIP_RESIZE_SHORTEST] = "shortest", [CLIP_RESIZE_LONGEST] = "longest",
    [CLIP_RESIZE_SQUASH] = "squash", NULL,
};

struct clip_model_description clip_model_description_default(void)
{
    return defaults;
}

void clip_model_description_unify(struct clip_model_description *d)
{
    d->preprocess.image_size = d->config.image_size;
    memcpy(d->preprocess.mean, d->config.image_mean, sizeof d->preprocess.mean);
    memcpy(d->preprocess.std, d->config.image_std, sizeof d->preprocess.std);
}

/* Writing ------------------------------------------------------------------------------------ */

/* A float32 by a short decimal: 0.5, not 0.50000000000000001; CLIP's mean and std as OpenAI wrote
 * them (0.48145466), which are not the shortest. */
static json_t *real_of_float(float value)
{
    static const double clips[] = {
        0.48145466, 0.4578275, 0.40821073, 0.26862954, 0.26130258, 0.27577711,
    };
    char text[32];
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++) {
        if ((float)clips[i] == value) return json_real(clips[i]);
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return json_real(strtod(text, NULL));
}

json_t *clip_floats_json(const float *values, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, real_of_float(values[i]));
    return list;
}

static json_t *model_json(const struct clip_model_config *c)
{
    json_t *vision = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "image_size",
                               (json_int_t)c->image_size, "layers", (json_int_t)c->vision_layers,
                               "width", (json_int_t)c->vision_width, "head_width",
                               (json_int_t)(c->vision_width / c->vision_heads), "patch_size",
                               (json_int_t)c->patch_size, "mlp_ratio", c->vision_mlp_ratio);
    json_t *text = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "context_length",
                             (json_int_t)c->context_length, "vocab_size",
                             (json_int_t)c->vocab_size, "width", (json_int_t)c->text_width,
                             "heads", (json_int_t)c->text_heads, "layers",
                             (json_int_t)c->text_layers, "mlp_ratio", c->text_mlp_ratio);
    json_t *model = json_pack("{s:I, s:b, s:o, s:o}", "embed_dim", (json_int_t)c->embed_dim,
                              "quick_gelu", c->quick_gelu, "vision_cfg", vision, "text_cfg", text);
    if (c->logit_bias) json_object_set_new(model, "init_logit_bias", json_integer(-10));
    if (c->siglip) json_object_set_new(model, "architecture", json_string("siglip"));
    if (c->gelu_tanh) json_object_set_new(model, "gelu_tanh", json_true());
    if (c->norm_eps > 0) json_object_set_new(model, "norm_eps", json_real(c->norm_eps));
    return model;
}

clip_status clip_model_description_format(const struct clip_model_description *description,
                                          struct clip_buffer *out, struct clip_error *error)
{
    const struct clip_preprocess *p = &description->preprocess;
    clip_status status = CLIP_OK;
    json_t *preprocess = json_pack("{s:o, s:o, s:s, s:s}", "mean", clip_floats_json(p->mean, 3),
                                   "std", clip_floats_json(p->std, 3), "interpolation",
                                   interpolations[p->interpolation], "resize_mode",
                                   resize_modes[p->resize_mode]);
    json_t *root = json_pack("{s:o, s:o}", "model_cfg", model_json(&description->config),
                             "preprocess_cfg", preprocess);
    if (!root) {
        return clip_fail(error, CLIP_ERR_MEMORY,
                         "a model cannot be described: a value is not finite or memory is short");
    }
    if (description->cleaning != CLIP_TEXT_OPEN_CLIP) {
        json_object_set_new(root, "text_cleaning",
                            json_string(clip_text_cleanings[description->cleaning]));
    }
    if (p->floor_crop) json_object_set_new(root, "floor_crop", json_true());
    if (p->shortest) json_object_set_new(root, "resize_to", json_integer(p->shortest));
    if (description->ids.end) {
        json_object_set_new(root, "end_id", json_integer(description->ids.end));
    }
    if (description->ids.pad) {
        json_object_set_new(root, "pad_id", json_integer(description->ids.pad));
    }
    status = clip_json_append(out, root, error);
    json_decref(root);
    return status;
}

/* Reading ------------------------------------------------------------------------------------ */

static void parse_vision(struct clip_json_parser *p, struct clip_model_config *c)
{
    static const char *const known[] = {
        "image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio", "patch_dropout",
        NULL,
    };
    int64_t head_width = HEAD_WIDTH;
    clip_json_known(p, known);
    clip_json_side(p, "image_size", &c->image_size);
    clip_json_integer(p, "layers", &c->vision_layers);
    clip_json_integer(p, "width", &c->vision_width);
    clip_json_integer(p, "head_width", &head_width);
    clip_json_integer(p, "patch_size", &c->patch_size);
    clip_json_real(p, "mlp_ratio", &c->vision_mlp_ratio);
    if (c->vision_width % head_width != 0) {
        clip_json_refuse(p, "head_width", "a divisor of \"width\"");
    }
    c->vision_heads = c->vision_width / head_width;
}

static void parse_text(struct clip_json_parser *p, struct clip_model_config *c)
{
    static const char *const known[] = {
        "context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio",
        "hf_tokenizer_name", NULL,
    };
    clip_json_known(p, known);
    clip_json_integer(p, "context_length", &c->context_length);
    clip_json_integer(p, "vocab_size", &c->vocab_size);
    clip_json_integer(p, "width", &c->text_width);
    clip_json_integer(p, "heads", &c->text_heads);
    clip_json_integer(p, "layers", &c->text_layers);
    clip_json_real(p, "mlp_ratio", &c->text_mlp_ratio);
}

static void parse_model(struct clip_json_parser *p, struct clip_model_config *c)
{
    static const char *const known[] = {
        "embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "init_logit_scale", "init_logit_bias",
        "architecture", "gelu_tanh", "norm_eps", NULL,
    };
    static const char *const architectures[] = {"clip", "siglip", NULL};
    if (!p->object) clip_json_refuse(p, "model_cfg", "an object with the model's sizes");
    clip_json_known(p, known);
    clip_json_integer(p, "embed_dim", &c->embed_dim);
    if (c->embed_dim == 0) clip_json_refuse(p, "embed_dim", "a whole number above 0");
    clip_json_bool(p, "quick_gelu", &c->quick_gelu);
    clip_json_bool(p, "gelu_tanh", &c->gelu_tanh);
    clip_json_real(p, "norm_eps", &c->norm_eps);
    c->siglip = clip_json_choice(p, "architecture", architectures, 0) == 1;
    c->logit_bias = clip_json_get(p, "init_logit_bias") != NULL;
    struct clip_json_parser vision = clip_json_enter(p, "vision_cfg", "model_cfg.vision_cfg");
    struct clip_json_parser text = clip_json_enter(p, "text_cfg", "model_cfg.text_cfg");
    parse_vision(&vision, c);
    parse_text(&text, c);
}

static void parse_preprocess(struct clip_json_parser *p, struct clip_model_description *out)
{
    struct clip_preprocess *pre = &out->preprocess;
    clip_json_three(p, "mean", out->config.image_mean);
    clip_json_three(p, "std", out->config.image_std);
    for (int i = 0; i < 3; i++) {
        if (!(out->config.image_std[i] > 0)) clip_json_refuse(p, "std", "three numbers above 0");
    }
    pre->interpolation = (enum clip_interpolation)clip_json_choice(
        p, "interpolation", interpolations, CLIP_BICUBIC);
    pre->resize_mode = (enum clip_resize_mode)clip_json_choice(
        p, "resize_mode", resize_modes, CLIP_RESIZE_SHORTEST);
}

clip_status clip_model_description_parse(const char *json, size_t n, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description d = defaults;
    json_t *root = clip_json_parse(json, n, name, error);
    if (!root) return error->status;
    struct clip_json_parser top = {.name = name, .section = "the first level", .object = root,
                         .status = &status, .error = error};
    if (!json_is_object(root)) {
        clip_json_refuse(&top, "model_cfg", "an object with the model's sizes");
    }
    struct clip_json_parser model = clip_json_enter(&top, "model_cfg", "model_cfg");
    struct clip_json_parser preprocess = clip_json_enter(&top, "preprocess_cfg", "preprocess_cfg");
    parse_model(&model, &d.config);
    parse_preprocess(&preprocess, &d);
    d.cleaning = (enum clip_text_cleaning)clip_json_choice(&top, "text_cleaning",
                                                      clip_text_cleanings, CLIP_TEXT_OPEN_CLIP);
    clip_json_bool(&top, "floor_crop", &d.preprocess.floor_crop);
    clip_json_integer(&top, "resize_to", &d.preprocess.shortest);
    clip_json_id(&top, "end_id", &d.ids.end);
    clip_json_id(&top, "pad_id", &d.ids.pad);
    json_decref(root);
    clip_model_description_unify(&d);
    if (status == CLIP_OK) {
        status = clip_model_config_check(&d.config, error);
        if (status != CLIP_OK) clip_error_prefix(error, "%s", name);
    }
    if (status == CLIP_OK) *out = d;
    return status;
}
