/* A model's description as JSON in open_clip's schema. */
#include "formats/model_description.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/architectures.h"
#include "formats/timm.h"
#include "model/loss.h"

/* The values of open_clip's CLIPVisionCfg and CLIPTextCfg where a key is missing, and CLIP's
 * preprocessing. */
struct clip_model_description clip_model_description_default(void)
{
    struct clip_model_description d = {
        .config = {.image_size = 224,
                   .patch_size = 16,
                   .vision = clip_vision_tower,
                   .context_length = 77,
                   .vocab_size = 49408,
                   .text = clip_text_tower,
                   .image_mean = {0.48145466f, 0.4578275f, 0.40821073f},
                   .image_std = {0.26862954f, 0.26130258f, 0.27577711f}},
        .preprocess = {.interpolation = CLIP_BICUBIC, .resize_mode = CLIP_RESIZE_SHORTEST},
    };
    d.config.vision.width = 768;
    d.config.text.width = 512;
    d.config.vision.layers = d.config.vision.heads = d.config.text.layers = 12;
    d.config.text.heads = 8;
    d.config.vision.mlp_ratio = d.config.text.mlp_ratio = 4;
    return d;
}
#define HEAD_WIDTH 64 /* open_clip's default */

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
    for (int i = 0; i < n; i++) clip_json_push(&list, real_of_float(values[i]));
    return list;
}

/* The keys of model_cfg are open_clip's, and of ours those that say the architecture; what a tower
 * has otherwise than these say stands in its own part. */
static json_t *model_json(const struct clip_model_config *c)
{
    enum clip_architecture architecture = clip_architecture_of(c);
    struct clip_activation_keys keys = clip_activation_keys(c);
    double eps = c->vision.norm_eps;
    struct clip_model_config usual = *c;
    struct clip_error unused;
    if (architecture == CLIP_ARCHITECTURE_OTHER) architecture = CLIP_ARCHITECTURE_CLIP;
    clip_architecture_apply(&usual, architecture);
    clip_activation_apply(&usual, keys, &unused);
    usual.vision.norm_eps = usual.text.norm_eps = eps;
    json_t *vision = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "image_size",
                               (json_int_t)c->image_size, "layers", (json_int_t)c->vision.layers,
                               "width", (json_int_t)c->vision.width, "head_width",
                               (json_int_t)(c->vision.width / c->vision.heads), "patch_size",
                               (json_int_t)c->patch_size, "mlp_ratio", c->vision.mlp_ratio);
    json_t *text = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "context_length",
                             (json_int_t)c->context_length, "vocab_size", (json_int_t)c->vocab_size,
                             "width", (json_int_t)c->text.width, "heads", (json_int_t)c->text.heads,
                             "layers", (json_int_t)c->text.layers, "mlp_ratio", c->text.mlp_ratio);
    clip_tower_write(&vision, &c->vision, &usual.vision);
    clip_tower_write(&text, &c->text, &usual.text);
    json_t *model = json_pack("{s:I, s:b, s:o, s:o}", "embed_dim", (json_int_t)c->embed_dim,
                              "quick_gelu", keys.quick_gelu, "vision_cfg", vision, "text_cfg",
                              text);
    if (c->logit_bias) clip_json_set(&model, "init_logit_bias", json_integer(-10));
    if (architecture != CLIP_ARCHITECTURE_CLIP)
        clip_json_set(&model, "architecture", json_string(clip_architecture_name(architecture)));
    if (keys.gelu_tanh) clip_json_set(&model, "gelu_tanh", json_true());
    if (keys.text_gelu_tanh) clip_json_set(&model, "text_gelu_tanh", json_true());
    if (eps != 1e-5) clip_json_set(&model, "norm_eps", json_real(eps));
    return model;
}

clip_status clip_model_description_json(const struct clip_model_description *description,
                                        json_t **out, struct clip_error *error)
{
    const struct clip_preprocess *p = &description->preprocess;
    json_t *preprocess = json_pack("{s:o, s:o, s:s, s:s}", "mean", clip_floats_json(p->mean, 3),
                                   "std", clip_floats_json(p->std, 3), "interpolation",
                                   clip_interpolation_name(p->interpolation), "resize_mode",
                                   clip_resize_mode_name(p->resize_mode));
    json_t *root = json_pack("{s:o, s:o}", "model_cfg", model_json(&description->config),
                             "preprocess_cfg", preprocess);
    if (description->cleaning != CLIP_TEXT_OPEN_CLIP) {
        clip_json_set(&root, "text_cleaning",
                      json_string(clip_text_cleaning_name(description->cleaning)));
    }
    if (p->crop == CLIP_CROP_HUGGINGFACE) clip_json_set(&root, "floor_crop", json_true());
    if (p->shortest) clip_json_set(&root, "resize_to", json_integer(p->shortest));
    if (description->ids.end) clip_json_set(&root, "end_id", json_integer(description->ids.end));
    if (description->config.loss != NULL)
        clip_json_set(&root, "loss", json_string(description->config.loss->name));
    if (description->ids.pad) clip_json_set(&root, "pad_id", json_integer(description->ids.pad));
    if (root == NULL) {
        return clip_fail(error, CLIP_ERR_MEMORY,
                         "a model cannot be described: a value is not finite or memory is short");
    }
    *out = root;
    return CLIP_OK;
}

clip_status clip_model_description_format(const struct clip_model_description *description,
                                          struct clip_buffer *out, struct clip_error *error)
{
    json_t *root = NULL;
    clip_status status = clip_model_description_json(description, &root, error);
    if (status == CLIP_OK) status = clip_json_append(out, root, error);
    json_decref(root);
    return status;
}

/* ---- Reading ---- */

/* The arguments of nn.GELU and nn.LayerNorm, as open_clip passes them on. */
static void parse_layers(struct clip_json_parser *p, struct clip_tower *tower)
{
    static const char *const act_known[] = {"approximate", NULL};
    static const char *const norm_known[] = {"eps", NULL};
    static const char *const forms[] = {"none", "tanh", NULL};
    struct clip_json_parser act = clip_json_enter(p, "act_kwargs", "act_kwargs");
    struct clip_json_parser norm = clip_json_enter(p, "norm_kwargs", "norm_kwargs");
    clip_json_known(&act, act_known);
    clip_json_known(&norm, norm_known);
    bool tanh = clip_json_choice(&act, "approximate", forms, tower->activation == CLIP_GELU_TANH);
    if (tower->activation == CLIP_QUICK_GELU && tanh)
        clip_json_refuse(&act, "approximate", "\"none\" where \"quick_gelu\" is true");
    if (tower->activation != CLIP_QUICK_GELU) tower->activation = tanh ? CLIP_GELU_TANH : CLIP_GELU;
    clip_json_real(&norm, "eps", &tower->norm_eps);
}

static bool says(const struct clip_json_parser *p, const char *key, const char *text)
{
    const char *value = json_string_value(clip_json_get(p, key));
    return value != NULL && strcmp(value, text) == 0;
}

/* A SigLIP's tower by timm's name. Names that we do not know are fine where sizes stand beside. */
static void parse_timm(struct clip_json_parser *p, struct clip_model_config *c, const char *name)
{
    static const char *const sizes[] = {"layers", "width", "patch_size"};
    const struct clip_timm_tower *t = clip_timm_find(name);
    clip_architecture_apply(c, CLIP_ARCHITECTURE_SIGLIP);
    c->vision.norm_eps = 1e-6;
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
    c->vision.width = t->width;
    c->vision.layers = t->layers;
    c->vision.heads = t->heads;
    c->vision.mlp_ratio = t->mlp_ratio;
    c->vision.activation = t->gelu_tanh ? CLIP_GELU_TANH : CLIP_GELU;
}

static void parse_vision(struct clip_json_parser *p, struct clip_model_config *c)
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
    clip_tower_known(p, known);
    if (timm != NULL) parse_timm(p, c, timm);
    clip_json_side(p, "image_size", &c->image_size);
    if (timm != NULL && clip_timm_find(timm) != NULL)
        return; /* its name counts more than sizes, as in open_clip */
    clip_json_integer(p, "layers", &c->vision.layers);
    clip_json_integer(p, "width", &c->vision.width);
    clip_json_integer(p, "head_width", &head_width);
    clip_json_integer(p, "patch_size", &c->patch_size);
    clip_json_real(p, "mlp_ratio", &c->vision.mlp_ratio);
    if (c->vision.width % head_width != 0)
        clip_json_refuse(p, "head_width", "a divisor of \"width\"");
    c->vision.heads = c->vision.width / head_width;
    parse_layers(p, &c->vision);
    clip_tower_read(p, &c->vision);
}

/* open_clip's words for what sets a SigLIP's text tower apart, which have to say what it is.
 * `usual` is the tower that open_clip builds where they are missing. */
static void parse_text_kind(struct clip_json_parser *p, const struct clip_tower *text,
                            const struct clip_tower *usual)
{
    static const char *const pools[] = {"argmax", "last", NULL};
    static const char *const projections[] = {"linear", NULL};
    bool causal = text->causal, last = text->pooling == CLIP_POOL_LAST;
    bool linear = text->projection == CLIP_PROJECT_LINEAR;
    bool unmasked = !usual->causal, biased = usual->projection == CLIP_PROJECT_LINEAR;
    clip_json_bool(p, "no_causal_mask", &unmasked);
    clip_json_bool(p, "proj_bias", &biased);
    if (unmasked == causal)
        clip_json_refuse(p, "no_causal_mask",
                         causal ? "false, unless it is a SigLIP" : "true, as every SigLIP has it");
    if (clip_json_choice(p, "pool_type", pools, usual->pooling == CLIP_POOL_LAST) != last)
        clip_json_refuse(p, "pool_type",
                         last ? "\"last\", as every SigLIP has it"
                              : "\"argmax\", unless it is a SigLIP");
    clip_json_choice(p, "proj_type", projections, 0);
    if (biased != linear)
        clip_json_refuse(p, "proj_bias",
                         linear ? "true, as every SigLIP has it" : "false, unless it is a SigLIP");
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

static void parse_text(struct clip_json_parser *p, struct clip_model_config *c)
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
    clip_tower_known(p, known);
    clip_json_integer(p, "context_length", &c->context_length);
    clip_json_integer(p, "vocab_size", &c->vocab_size);
    clip_json_integer(p, "width", &c->text.width);
    clip_json_integer(p, "heads", &c->text.heads);
    clip_json_integer(p, "layers", &c->text.layers);
    clip_json_real(p, "mlp_ratio", &c->text.mlp_ratio);
    parse_layers(p, &c->text);
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
    struct clip_model_config *c = &d->config;
    struct clip_activation_keys keys = {0};
    double eps = 1e-5;
    if (p->object == NULL) clip_json_refuse(p, "model_cfg", "an object with the model's sizes");
    clip_json_known(p, known);
    clip_json_integer(p, "embed_dim", &c->embed_dim);
    if (c->embed_dim == 0) clip_json_refuse(p, "embed_dim", "a whole number above 0");
    clip_json_bool(p, "quick_gelu", &keys.quick_gelu);
    clip_json_bool(p, "gelu_tanh", &keys.gelu_tanh);
    clip_json_bool(p, "text_gelu_tanh", &keys.text_gelu_tanh);
    clip_json_real(p, "norm_eps", &eps);
    clip_architecture_apply(
        c, (enum clip_architecture)clip_json_name(p, "architecture", clip_architecture_name, 0));
    if (*p->status == CLIP_OK && clip_activation_apply(c, keys, p->error) != CLIP_OK) {
        clip_error_prefix(p->error, "%s", p->name);
        *p->status = p->error->status;
    }
    c->vision.norm_eps = c->text.norm_eps = eps;
    c->logit_bias = clip_json_get(p, "init_logit_bias") != NULL;
    struct clip_json_parser vision = clip_json_enter(p, "vision_cfg", "model_cfg.vision_cfg");
    struct clip_json_parser text = clip_json_enter(p, "text_cfg", "model_cfg.text_cfg");
    bool timm = json_is_string(clip_json_get(&vision, "timm_model_name"));
    parse_vision(&vision, c);
    parse_text(&text, c);
    parse_text_kind(&text, &c->text, timm ? &clip_text_tower : &c->text);
    clip_tower_read(&text, &c->text);
    parse_cleaning(&text, &d->cleaning);
    if (timm && keys.quick_gelu)
        clip_json_refuse(p, "quick_gelu", "false, as timm's vision towers do not have it");
    if (timm) d->ids.pad = 1; /* </s> of its tokenizer, unless that says otherwise */
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
    struct clip_model_description d = clip_model_description_default();
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
    if (bare && clip_architecture_of(&d.config) == CLIP_ARCHITECTURE_SIGLIP)
        clip_model_description_siglip(&d);
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
