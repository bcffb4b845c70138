/* A model's description as JSON in open_clip's schema. */
#include "formats/model_description.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/description_parser.h"
#include "formats/timm.h"
#include "model/loss.h"

/* The values of open_clip's CLIPVisionCfg and CLIPTextCfg where a key is missing, and CLIP's
 * preprocessing. */
static const struct clip_model_description defaults = {
    .config = {.image_size = 224,
               .patch_size = 16,
               .vision_width = 768,
               .vision_layers = 12,
               .vision_heads = 12,
               .vision_mlp_ratio = 4,
               .context_length = 77,
               .vocab_size = 49408,
               .text_width = 512,
               .text_layers = 12,
               .text_heads = 8,
               .text_mlp_ratio = 4,
               .image_mean = {0.48145466f, 0.4578275f, 0.40821073f},
               .image_std = {0.26862954f, 0.26130258f, 0.27577711f}},
    .preprocess = {.interpolation = CLIP_BICUBIC, .resize_mode = CLIP_RESIZE_SHORTEST},
};
#define HEAD_WIDTH 64 /* open_clip's default */

struct clip_model_description clip_model_description_default(void) { return defaults; }

void clip_model_description_unify(struct clip_model_description *d)
{
    d->preprocess.image_size = d->config.image_size;
    memcpy(d->preprocess.mean, d->config.image_mean, sizeof d->preprocess.mean);
    memcpy(d->preprocess.std, d->config.image_std, sizeof d->preprocess.std);
}

void clip_model_description_siglip(struct clip_model_description *d)
{
    d->preprocess.resize_mode = CLIP_RESIZE_SQUASH;
    for (int i = 0; i < 3; i++) d->config.image_mean[i] = d->config.image_std[i] = 0.5f;
}

/* ---- Writing ---- */

/* A float32 by a short decimal: 0.5, not 0.50000000000000001; CLIP's mean and std as OpenAI wrote
 * them (0.48145466), which are not the shortest. */
static json_t *real_of_float(float value)
{
    static const double clips[] = {
        0.48145466, 0.4578275, 0.40821073, 0.26862954, 0.26130258, 0.27577711,
    };
    char text[32];
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++)
        if ((float)clips[i] == value) return json_real(clips[i]);
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
                             (json_int_t)c->context_length, "vocab_size", (json_int_t)c->vocab_size,
                             "width", (json_int_t)c->text_width, "heads", (json_int_t)c->text_heads,
                             "layers", (json_int_t)c->text_layers, "mlp_ratio", c->text_mlp_ratio);
    json_t *model = json_pack("{s:I, s:b, s:o, s:o}", "embed_dim", (json_int_t)c->embed_dim,
                              "quick_gelu", c->quick_gelu, "vision_cfg", vision, "text_cfg", text);
    if (c->logit_bias) json_object_set_new(model, "init_logit_bias", json_integer(-10));
    if (c->siglip) json_object_set_new(model, "architecture", json_string("siglip"));
    if (c->gelu_tanh) json_object_set_new(model, "gelu_tanh", json_true());
    if (c->text_gelu_tanh) json_object_set_new(model, "text_gelu_tanh", json_true());
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
                                   clip_interpolation_name(p->interpolation), "resize_mode",
                                   clip_resize_mode_name(p->resize_mode));
    json_t *root = json_pack("{s:o, s:o}", "model_cfg", model_json(&description->config),
                             "preprocess_cfg", preprocess);
    if (root == NULL) {
        return clip_fail(error, CLIP_ERR_MEMORY,
                         "a model cannot be described: a value is not finite or memory is short");
    }
    if (description->cleaning != CLIP_TEXT_OPEN_CLIP) {
        json_object_set_new(root, "text_cleaning",
                            json_string(clip_text_cleaning_name(description->cleaning)));
    }
    if (p->crop == CLIP_CROP_HUGGINGFACE) json_object_set_new(root, "floor_crop", json_true());
    if (p->shortest) json_object_set_new(root, "resize_to", json_integer(p->shortest));
    if (description->ids.end)
        json_object_set_new(root, "end_id", json_integer(description->ids.end));
    if (description->config.loss != NULL)
        json_object_set_new(root, "loss", json_string(description->config.loss->name));
    if (description->ids.pad)
        json_object_set_new(root, "pad_id", json_integer(description->ids.pad));
    status = clip_json_append(out, root, error);
    json_decref(root);
    return status;
}

/* ---- Reading ---- */

/* What each tower says of itself and both have to agree on, or nearly. */
struct tower {
    bool gelu_tanh;
    double eps;
};

/* The arguments of nn.GELU and nn.LayerNorm, as open_clip passes them on. */
static void parse_layers(struct clip_json_parser *p, struct tower *tower)
{
    static const char *const act_known[] = {"approximate", NULL};
    static const char *const norm_known[] = {"eps", NULL};
    static const char *const forms[] = {"none", "tanh", NULL};
    struct clip_json_parser act = clip_json_enter(p, "act_kwargs", "act_kwargs");
    struct clip_json_parser norm = clip_json_enter(p, "norm_kwargs", "norm_kwargs");
    clip_json_known(&act, act_known);
    clip_json_known(&norm, norm_known);
    tower->gelu_tanh = clip_json_choice(&act, "approximate", forms, tower->gelu_tanh) == 1;
    clip_json_real(&norm, "eps", &tower->eps);
}

static bool says(const struct clip_json_parser *p, const char *key, const char *text)
{
    const char *value = json_string_value(clip_json_get(p, key));
    return value != NULL && strcmp(value, text) == 0;
}

/* A SigLIP's tower by timm's name. Names that we do not know are fine where sizes stand beside. */
static void parse_timm(struct clip_json_parser *p, struct clip_model_config *c, const char *name,
                       struct tower *tower)
{
    static const char *const sizes[] = {"layers", "width", "patch_size"};
    const struct clip_timm_tower *t = clip_timm_find(name);
    c->siglip = true;
    tower->eps = 1e-6;
    if (!says(p, "timm_pool", "map")) clip_json_refuse(p, "timm_pool", "\"map\"");
    if (!says(p, "timm_proj", "none")) clip_json_refuse(p, "timm_proj", "\"none\"");
    for (int i = 0; t == NULL && i < 3; i++) {
        if (clip_json_get(p, sizes[i]) != NULL) continue;
        clip_json_complain(p,
                           "the vision tower is timm's \"%.80s\", which this program does not "
                           "know; expected one of SigLIP's, as vit_base_patch16_siglip_224",
                           name);
    }
    if (t == NULL) return;
    c->image_size = t->image_size;
    c->patch_size = t->patch_size;
    c->vision_width = t->width;
    c->vision_layers = t->layers;
    c->vision_heads = t->heads;
    c->vision_mlp_ratio = t->mlp_ratio;
    tower->gelu_tanh = t->gelu_tanh;
}

static void parse_vision(struct clip_json_parser *p, struct clip_model_config *c,
                         struct tower *tower)
{
    static const char *const known[] = {
        "image_size",
        "layers",
        "width",
        "head_width",
        "patch_size",
        "mlp_ratio",
        "patch_dropout",
        "act_kwargs",
        "norm_kwargs",
        "timm_model_name",
        "timm_model_pretrained",
        "timm_pool",
        "timm_proj",
        "timm_proj_bias",
        "timm_drop",
        "timm_drop_path",
        NULL,
    };
    int64_t head_width = HEAD_WIDTH;
    const char *timm = json_string_value(clip_json_get(p, "timm_model_name"));
    clip_json_known(p, known);
    if (timm != NULL) parse_timm(p, c, timm, tower);
    clip_json_side(p, "image_size", &c->image_size);
    if (timm != NULL && clip_timm_find(timm) != NULL)
        return; /* its name counts more than sizes, as in open_clip */
    clip_json_integer(p, "layers", &c->vision_layers);
    clip_json_integer(p, "width", &c->vision_width);
    clip_json_integer(p, "head_width", &head_width);
    clip_json_integer(p, "patch_size", &c->patch_size);
    clip_json_real(p, "mlp_ratio", &c->vision_mlp_ratio);
    if (c->vision_width % head_width != 0)
        clip_json_refuse(p, "head_width", "a divisor of \"width\"");
    c->vision_heads = c->vision_width / head_width;
    parse_layers(p, tower);
}

/* open_clip's words for what sets a SigLIP's text tower apart; `ours`: "architecture" has said so
 * already. */
static void parse_text_kind(struct clip_json_parser *p, bool siglip, bool ours)
{
    static const char *const pools[] = {"argmax", "last", NULL};
    static const char *const projections[] = {"linear", NULL};
    bool unmasked = ours, biased = ours;
    clip_json_bool(p, "no_causal_mask", &unmasked);
    clip_json_bool(p, "proj_bias", &biased);
    if (unmasked != siglip) {
        clip_json_refuse(p, "no_causal_mask",
                         siglip ? "true, as every SigLIP has it" : "false, unless it is a SigLIP");
    }
    if ((clip_json_choice(p, "pool_type", pools, ours) == 1) != siglip) {
        clip_json_refuse(p, "pool_type",
                         siglip ? "\"last\", as every SigLIP has it"
                                : "\"argmax\", unless it is a SigLIP");
    }
    clip_json_choice(p, "proj_type", projections, 0);
    if (biased != siglip) {
        clip_json_refuse(p, "proj_bias",
                         siglip ? "true, as every SigLIP has it" : "false, unless it is a SigLIP");
    }
}

/* How open_clip's tokenizer cleans: "whitespace" leaves the rest to the tokenizer's own rules,
 * which ours do with either cleaning. */
static void parse_cleaning(struct clip_json_parser *p, enum clip_text_cleaning *cleaning)
{
    static const char *const known[] = {"clean", NULL};
    static const char *const cleans[] = {"lower", "whitespace", "canonicalize", NULL};
    struct clip_json_parser kwargs = clip_json_enter(p, "tokenizer_kwargs", "tokenizer_kwargs");
    clip_json_known(&kwargs, known);
    if (clip_json_choice(&kwargs, "clean", cleans, 0) == 2) *cleaning = CLIP_TEXT_CANONICALIZE;
}

static void parse_text(struct clip_json_parser *p, struct clip_model_config *c, struct tower *tower)
{
    static const char *const known[] = {
        "context_length",
        "vocab_size",
        "width",
        "heads",
        "layers",
        "mlp_ratio",
        "hf_tokenizer_name",
        "tokenizer_kwargs",
        "act_kwargs",
        "norm_kwargs",
        "no_causal_mask",
        "pool_type",
        "proj_type",
        "proj_bias",
        NULL,
    };
    clip_json_known(p, known);
    clip_json_integer(p, "context_length", &c->context_length);
    clip_json_integer(p, "vocab_size", &c->vocab_size);
    clip_json_integer(p, "width", &c->text_width);
    clip_json_integer(p, "heads", &c->text_heads);
    clip_json_integer(p, "layers", &c->text_layers);
    clip_json_real(p, "mlp_ratio", &c->text_mlp_ratio);
    parse_layers(p, tower);
}

static void unite(struct clip_json_parser *p, struct clip_model_config *c,
                  const struct tower *vision, const struct tower *text)
{
    c->gelu_tanh = vision->gelu_tanh;
    c->text_gelu_tanh = text->gelu_tanh && !vision->gelu_tanh;
    c->norm_eps = text->eps == 1e-5 ? 0 : text->eps;
    if (vision->gelu_tanh && !text->gelu_tanh) {
        clip_json_complain(p, "the vision tower alone has GELU in its tanh form; only models with "
                              "it in both towers or in the text tower can be read");
    }
    if (vision->eps != text->eps) {
        clip_json_complain(p,
                           "LayerNorm's epsilon is %g in the vision tower and %g in the text "
                           "tower (\"norm_kwargs\"); only models with one can be read",
                           vision->eps, text->eps);
    }
}

static void parse_model(struct clip_json_parser *p, struct clip_model_description *d)
{
    static const char *const known[] = {
        "embed_dim",
        "quick_gelu",
        "vision_cfg",
        "text_cfg",
        "init_logit_scale",
        "init_logit_bias",
        "custom_text",
        "nonscalar_logit_scale",
        "architecture",
        "gelu_tanh",
        "text_gelu_tanh",
        "norm_eps",
        NULL,
    };
    static const char *const architectures[] = {"clip", "siglip", NULL};
    struct clip_model_config *c = &d->config;
    struct tower vision_tower = {.eps = 1e-5}, text_tower;
    bool text_tanh = false;
    if (p->object == NULL) clip_json_refuse(p, "model_cfg", "an object with the model's sizes");
    clip_json_known(p, known);
    clip_json_integer(p, "embed_dim", &c->embed_dim);
    if (c->embed_dim == 0) clip_json_refuse(p, "embed_dim", "a whole number above 0");
    clip_json_bool(p, "quick_gelu", &c->quick_gelu);
    clip_json_bool(p, "gelu_tanh", &vision_tower.gelu_tanh);
    clip_json_bool(p, "text_gelu_tanh", &text_tanh);
    clip_json_real(p, "norm_eps", &vision_tower.eps);
    bool ours = clip_json_choice(p, "architecture", architectures, 0) == 1;
    c->siglip = ours;
    c->logit_bias = clip_json_get(p, "init_logit_bias") != NULL;
    struct clip_json_parser vision = clip_json_enter(p, "vision_cfg", "model_cfg.vision_cfg");
    struct clip_json_parser text = clip_json_enter(p, "text_cfg", "model_cfg.text_cfg");
    text_tower = vision_tower;
    text_tower.gelu_tanh |= text_tanh;
    parse_vision(&vision, c, &vision_tower);
    parse_text(&text, c, &text_tower);
    parse_text_kind(&text, c->siglip, ours);
    parse_cleaning(&text, &d->cleaning);
    unite(p, c, &vision_tower, &text_tower);
    if (c->siglip && !ours && c->quick_gelu)
        clip_json_refuse(p, "quick_gelu", "false, as timm's vision towers do not have it");
    if (c->siglip && !ours) d->ids.pad = 1; /* </s> of its tokenizer, unless that says otherwise */
}

static void parse_preprocess(struct clip_json_parser *p, struct clip_model_description *out)
{
    struct clip_preprocess *pre = &out->preprocess;
    clip_json_three(p, "mean", out->config.image_mean);
    clip_json_three(p, "std", out->config.image_std);
    for (int i = 0; i < 3; i++)
        if (!(out->config.image_std[i] > 0)) clip_json_refuse(p, "std", "three numbers above 0");
    pre->interpolation = (enum clip_interpolation)clip_json_name(
        p, "interpolation", clip_interpolation_name, CLIP_BICUBIC);
    pre->resize_mode = (enum clip_resize_mode)clip_json_name(
        p, "resize_mode", clip_resize_mode_name, (int)pre->resize_mode);
}

clip_status clip_model_description_parse(const char *json, size_t n, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description d = defaults;
    json_t *root = clip_json_parse(json, n, name, error);
    if (root == NULL) return error->status;
    struct clip_json_parser top = {.name = name,
                                   .section = "the first level",
                                   .object = root,
                                   .status = &status,
                                   .error = error};
    if (!json_is_object(root))
        clip_json_refuse(&top, "model_cfg", "an object with the model's sizes");
    struct clip_json_parser model = clip_json_enter(&top, "model_cfg", "model_cfg");
    bool bare = model.object == NULL && json_object_get(root, "embed_dim") != NULL;
    if (bare) model.object = root;
    struct clip_json_parser preprocess = clip_json_enter(&top, "preprocess_cfg", "preprocess_cfg");
    parse_model(&model, &d);
    if (bare && d.config.siglip) clip_model_description_siglip(&d);
    parse_preprocess(&preprocess, &d);
    d.cleaning = (enum clip_text_cleaning)clip_json_name(&top, "text_cleaning",
                                                         clip_text_cleaning_name, (int)d.cleaning);
    bool floor_crop = d.preprocess.crop == CLIP_CROP_HUGGINGFACE;
    clip_json_bool(&top, "floor_crop", &floor_crop);
    d.preprocess.crop = floor_crop ? CLIP_CROP_HUGGINGFACE : CLIP_CROP_OPEN_CLIP;
    clip_json_integer(&top, "resize_to", &d.preprocess.shortest);
    clip_json_id(&top, "end_id", &d.ids.end);
    clip_json_id(&top, "pad_id", &d.ids.pad);
    int loss = clip_json_name(&top, "loss", clip_loss_name, -1);
    if (loss >= 0) clip_loss_choose(&d.config, loss);
    json_decref(root);
    clip_model_description_unify(&d);
    if (status == CLIP_OK) {
        status = clip_model_config_check(&d.config, error);
        if (status != CLIP_OK) clip_error_prefix(error, "%s", name);
    }
    if (status == CLIP_OK) *out = d;
    return status;
}
