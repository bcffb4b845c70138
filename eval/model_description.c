/* A model's description as JSON in open_clip's schema, and from the shapes of its weights. */
#include "eval/model_description.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

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
static const char *const cleanings[] = {
    [CLIP_TEXT_OPEN_CLIP] = "open_clip", [CLIP_TEXT_HUGGINGFACE] = "huggingface", NULL,
};

static void unify(struct clip_model_description *d)
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

static json_t *three_floats(const float *value)
{
    return json_pack("[o, o, o]", real_of_float(value[0]), real_of_float(value[1]),
                     real_of_float(value[2]));
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
    return model;
}

clip_status clip_model_description_format(const struct clip_model_description *description,
                                          struct clip_buffer *out, struct clip_error *error)
{
    const struct clip_preprocess *p = &description->preprocess;
    clip_status status = CLIP_OK;
    json_t *preprocess = json_pack("{s:o, s:o, s:s, s:s}", "mean", three_floats(p->mean), "std",
                                   three_floats(p->std), "interpolation",
                                   interpolations[p->interpolation], "resize_mode",
                                   resize_modes[p->resize_mode]);
    json_t *root = json_pack("{s:o, s:o}", "model_cfg", model_json(&description->config),
                             "preprocess_cfg", preprocess);
    if (!root) {
        return clip_fail(error, CLIP_ERR_MEMORY,
                         "a model cannot be described: a value is not finite or memory is short");
    }
    if (description->cleaning != CLIP_TEXT_OPEN_CLIP) {
        json_object_set_new(root, "text_cleaning", json_string(cleanings[description->cleaning]));
    }
    if (p->floor_crop) json_object_set_new(root, "floor_crop", json_true());
    status = clip_json_append(out, root, error);
    json_decref(root);
    return status;
}

/* Reading ------------------------------------------------------------------------------------ */

struct parser {
    const char *name;    /* of the file */
    const char *section; /* "model_cfg.vision_cfg" */
    const json_t *object;
    clip_status *status; /* of the first failure, shared; later calls do nothing */
    struct clip_error *error;
};

static void refuse(struct parser *p, const char *key, const char *expected)
{
    if (*p->status != CLIP_OK) return;
    *p->status = clip_fail(p->error, CLIP_ERR_DATA,
                           "%s: \"%s\" in %s of the model's description is not usable; expected "
                           "%s", p->name, key, p->section, expected);
}

/* The key's value; NULL where it is not there or null. */
static const json_t *get(const struct parser *p, const char *key)
{
    const json_t *value = json_object_get(p->object, key);
    return json_is_null(value) ? NULL : value;
}

static void take_integer(struct parser *p, const char *key, int64_t *out)
{
    const json_t *value = get(p, key);
    if (!value) return;
    if (json_is_integer(value) && json_integer_value(value) > 0) *out = json_integer_value(value);
    else refuse(p, key, "a whole number above 0");
}

static void take_real(struct parser *p, const char *key, double *out)
{
    const json_t *value = get(p, key);
    if (!value) return;
    if (json_is_number(value) && json_number_value(value) > 0) *out = json_number_value(value);
    else refuse(p, key, "a number above 0");
}

static void take_bool(struct parser *p, const char *key, bool *out)
{
    const json_t *value = get(p, key);
    if (!value) return;
    if (json_is_boolean(value)) *out = json_is_true(value);
    else refuse(p, key, "true or false");
}

/* `out` gets the number of the text in `choices`. */
static int take_choice(struct parser *p, const char *key, const char *const *choices, int otherwise)
{
    const json_t *value = get(p, key);
    const char *text = json_string_value(value);
    if (!value) return otherwise;
    for (int i = 0; text && choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) return i;
    }
    char expected[100] = "";
    for (int i = 0; choices[i]; i++) {
        size_t at = strlen(expected);
        snprintf(expected + at, sizeof expected - at, "%s\"%s\"", i ? " or " : "", choices[i]);
    }
    refuse(p, key, expected);
    return otherwise;
}

static void take_three(struct parser *p, const char *key, float *out)
{
    const json_t *value = get(p, key);
    if (!value) return;
    for (size_t i = 0; i < 3; i++) {
        const json_t *item = json_array_get(value, i);
        if (json_array_size(value) != 3 || !json_is_number(item)) {
            refuse(p, key, "three numbers");
            return;
        }
        out[i] = (float)json_number_value(item);
    }
}

/* image_size may be [S, S]. */
static void take_image_size(struct parser *p, int64_t *out)
{
    const json_t *value = get(p, "image_size");
    const json_t *a = json_array_get(value, 0), *b = json_array_get(value, 1);
    if (!json_is_array(value)) {
        take_integer(p, "image_size", out);
    } else if (json_array_size(value) == 2 && json_is_integer(a) && json_equal(a, b)
               && json_integer_value(a) > 0) {
        *out = json_integer_value(a);
    } else {
        refuse(p, "image_size", "a whole number above 0 (pictures are square)");
    }
}

/* A key that we do not know asks for another kind of model, unless it is switched off. */
static void check_keys(struct parser *p, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)p->object, key, value) {
        bool fine = json_is_null(value) || json_is_false(value)
                 || (json_is_number(value) && json_number_value(value) == 0)
                 || (json_is_object(value) && json_object_size(value) == 0);
        for (int i = 0; known[i] && !fine; i++) fine = strcmp(known[i], key) == 0;
        if (!fine && *p->status == CLIP_OK) {
            *p->status = clip_fail(p->error, CLIP_ERR_DATA,
                                   "%s: \"%s\" in %s of the model's description asks for a kind of "
                                   "model that this program does not have; give a CLIP with plain "
                                   "transformers", p->name, key, p->section);
        }
    }
}

/* Goes into an object of `parent`; a missing one reads as empty. */
static struct parser enter(const struct parser *parent, const char *key, const char *section)
{
    struct parser p = *parent;
    p.object = json_object_get(parent->object, key);
    if (p.object && !json_is_object(p.object)) refuse(&p, key, "an object");
    p.section = section;
    return p;
}

static void parse_vision(struct parser *p, struct clip_model_config *c)
{
    static const char *const known[] = {
        "image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio", "patch_dropout",
        NULL,
    };
    int64_t head_width = HEAD_WIDTH;
    check_keys(p, known);
    take_image_size(p, &c->image_size);
    take_integer(p, "layers", &c->vision_layers);
    take_integer(p, "width", &c->vision_width);
    take_integer(p, "head_width", &head_width);
    take_integer(p, "patch_size", &c->patch_size);
    take_real(p, "mlp_ratio", &c->vision_mlp_ratio);
    if (c->vision_width % head_width != 0) refuse(p, "head_width", "a divisor of \"width\"");
    c->vision_heads = c->vision_width / head_width;
}

static void parse_text(struct parser *p, struct clip_model_config *c)
{
    static const char *const known[] = {
        "context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio",
        "hf_tokenizer_name", NULL,
    };
    check_keys(p, known);
    take_integer(p, "context_length", &c->context_length);
    take_integer(p, "vocab_size", &c->vocab_size);
    take_integer(p, "width", &c->text_width);
    take_integer(p, "heads", &c->text_heads);
    take_integer(p, "layers", &c->text_layers);
    take_real(p, "mlp_ratio", &c->text_mlp_ratio);
}

static void parse_model(struct parser *p, struct clip_model_config *c)
{
    static const char *const known[] = {
        "embed_dim", "quick_gelu", "vision_cfg", "text_cfg", "init_logit_scale", "init_logit_bias",
        NULL,
    };
    if (!p->object) refuse(p, "model_cfg", "an object with the model's sizes");
    check_keys(p, known);
    take_integer(p, "embed_dim", &c->embed_dim);
    if (c->embed_dim == 0) refuse(p, "embed_dim", "a whole number above 0");
    take_bool(p, "quick_gelu", &c->quick_gelu);
    c->logit_bias = get(p, "init_logit_bias") != NULL;
    struct parser vision = enter(p, "vision_cfg", "model_cfg.vision_cfg");
    struct parser text = enter(p, "text_cfg", "model_cfg.text_cfg");
    parse_vision(&vision, c);
    parse_text(&text, c);
}

static void parse_preprocess(struct parser *p, struct clip_model_description *out)
{
    struct clip_preprocess *pre = &out->preprocess;
    take_three(p, "mean", out->config.image_mean);
    take_three(p, "std", out->config.image_std);
    for (int i = 0; i < 3; i++) {
        if (!(out->config.image_std[i] > 0)) refuse(p, "std", "three numbers above 0");
    }
    pre->interpolation = (enum clip_interpolation)take_choice(p, "interpolation", interpolations,
                                                              CLIP_BICUBIC);
    pre->resize_mode = (enum clip_resize_mode)take_choice(p, "resize_mode", resize_modes,
                                                          CLIP_RESIZE_SHORTEST);
}

clip_status clip_model_description_parse(const char *json, size_t n, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description d = defaults;
    json_t *root = clip_json_parse(json, n, name, error);
    if (!root) return error->status;
    struct parser top = {.name = name, .section = "the first level", .object = root,
                         .status = &status, .error = error};
    if (!json_is_object(root)) refuse(&top, "model_cfg", "an object with the model's sizes");
    struct parser model = enter(&top, "model_cfg", "model_cfg");
    struct parser preprocess = enter(&top, "preprocess_cfg", "preprocess_cfg");
    parse_model(&model, &d.config);
    parse_preprocess(&preprocess, &d);
    d.cleaning = (enum clip_text_cleaning)take_choice(&top, "text_cleaning", cleanings,
                                                      CLIP_TEXT_OPEN_CLIP);
    take_bool(&top, "floor_crop", &d.preprocess.floor_crop);
    json_decref(root);
    unify(&d);
    if (status == CLIP_OK) {
        status = clip_model_config_check(&d.config, error);
        if (status != CLIP_OK) clip_error_prefix(error, "%s", name);
    }
    if (status == CLIP_OK) *out = d;
    return status;
}

/* From shapes -------------------------------------------------------------------------------- */

struct shapes {
    const struct clip_bundle *weights;
    const char *prefix, *name;
    struct clip_error *error;
};

/* The weight named by the format's parts, with so many dimensions; NULL with the error filled. */
static const struct clip_tensor *weight(const struct shapes *s, const char *name, int ndim)
{
    char full[128], shape[CLIP_SHAPE_TEXT];
    snprintf(full, sizeof full, "%s%s", s->prefix, name);
    const struct clip_tensor *tensor = clip_bundle_find(s->weights, full);
    if (!tensor) {
        clip_fail(s->error, CLIP_ERR_DATA,
                  "%s: there is no weight \"%s\"; expected a CLIP with open_clip's names", s->name,
                  full);
        return NULL;
    }
    bool fine = tensor->ndim == ndim;
    for (int i = 0; i < tensor->ndim; i++) fine = fine && tensor->shape[i] > 0;
    if (!fine) {
        clip_fail(s->error, CLIP_ERR_DATA, "%s: \"%s\" has shape %s; expected %d dimensions, none "
                  "of them 0", s->name, full, clip_shape_text(shape, tensor), ndim);
        return NULL;
    }
    return tensor;
}

/* Layers and mlp_ratio of the tower whose blocks begin with `blocks`. */
static clip_status infer_tower(const struct shapes *s, const char *blocks, int64_t width,
                               int64_t *layers, double *mlp_ratio)
{
    char name[128];
    snprintf(name, sizeof name, "%s0.mlp.c_fc.weight", blocks);
    const struct clip_tensor *fc = weight(s, name, 2);
    if (!fc) return s->error->status;
    *mlp_ratio = (double)fc->shape[0] / (double)width;
    while ((int64_t)((double)width * *mlp_ratio) < fc->shape[0]) {
        *mlp_ratio = nextafter(*mlp_ratio, INFINITY); /* the product was rounded down */
    }
    for (*layers = 1; *layers < 100000; ++*layers) {
        snprintf(name, sizeof name, "%s%s%" PRId64 ".ln_1.weight", s->prefix, blocks, *layers);
        if (!clip_bundle_find(s->weights, name)) break;
    }
    return CLIP_OK;
}

static clip_status infer_sizes(const struct shapes *s, struct clip_model_config *c)
{
    char name[128];
    clip_status status = CLIP_OK;
    const struct clip_tensor *conv, *vision_pos, *proj, *text_pos, *tokens;
    if (!(conv = weight(s, "visual.conv1.weight", 4))
        || !(vision_pos = weight(s, "visual.positional_embedding", 2))
        || !(proj = weight(s, "visual.proj", 2))
        || !(text_pos = weight(s, "positional_embedding", 2))
        || !(tokens = weight(s, "token_embedding.weight", 2))) {
        return s->error->status;
    }
    int64_t grid = (int64_t)sqrt((double)(vision_pos->shape[0] - 1));
    c->patch_size = conv->shape[3];
    if (!clip_mul_i64(grid, c->patch_size, &c->image_size)) c->image_size = -1;
    c->vision_width = conv->shape[0];
    c->embed_dim = proj->shape[1];
    c->context_length = text_pos->shape[0];
    c->vocab_size = tokens->shape[0];
    c->text_width = tokens->shape[1];
    c->vision_heads = c->vision_width / HEAD_WIDTH;
    c->text_heads = c->text_width / HEAD_WIDTH;
    snprintf(name, sizeof name, "%slogit_bias", s->prefix);
    c->logit_bias = clip_bundle_find(s->weights, name) != NULL;
    CLIP_TRY(infer_tower(s, "visual.transformer.resblocks.", c->vision_width, &c->vision_layers,
                         &c->vision_mlp_ratio));
    CLIP_TRY(infer_tower(s, "transformer.resblocks.", c->text_width, &c->text_layers,
                         &c->text_mlp_ratio));
out:
    return status;
}

clip_status clip_model_description_infer(const struct clip_bundle *weights, const char *prefix,
                                         const char *name, struct clip_model_description *out,
                                         struct clip_error *error)
{
    struct shapes shapes = {weights, prefix, name, error};
    *out = defaults;
    clip_status status = infer_sizes(&shapes, &out->config);
    unify(out);
    return status;
}

/* About as many numbers as a tower's blocks have; as double, so that no size can overflow it. */
static double block_numbers(int64_t width, int64_t layers, double ratio)
{
    double w = (double)width;
    return (double)layers * w * w * (4 + 2 * ratio);
}

/* The sizes do not ask for far more than the file holds, so that no wrong size takes the machine's
 * memory before the weights are compared one by one. */
static clip_status check_memory(const struct shapes *s, const struct clip_model_config *c)
{
    double have = 0, need = block_numbers(c->vision_width, c->vision_layers, c->vision_mlp_ratio)
                          + block_numbers(c->text_width, c->text_layers, c->text_mlp_ratio);
    double grid = (double)c->image_size / (double)c->patch_size;
    need += (grid * grid + 1 + 3.0 * (double)c->patch_size * (double)c->patch_size)
          * (double)c->vision_width;
    need += ((double)c->vocab_size + (double)c->context_length) * (double)c->text_width;
    for (int64_t i = 0; i < s->weights->tensor_count; i++) {
        const struct clip_bundle_tensor *entry = &s->weights->tensors[i];
        if (strncmp(entry->name, s->prefix, strlen(s->prefix)) == 0) {
            have += (double)clip_tensor_count(&entry->tensor);
        }
    }
    if (need <= 2 * have + 1e6) return CLIP_OK;
    return clip_fail(s->error, CLIP_ERR_DATA,
                     "%s: a model of the described size has about %.0f numbers and the file holds "
                     "%.0f; weights are missing or the description is another model's", s->name,
                     need, have);
}

clip_status clip_model_description_check(const struct clip_model_description *description,
                                         const struct clip_bundle *weights, const char *prefix,
                                         const char *name, struct clip_error *error)
{
    struct shapes shapes = {weights, prefix, name, error};
    struct clip_model_config have = {0};
    const struct clip_model_config *want = &description->config;
    clip_status status = infer_sizes(&shapes, &have);
    if (status != CLIP_OK) return status;
    const struct {
        const char *key;
        int64_t described, found;
    } sizes[] = {
        {"embed_dim", want->embed_dim, have.embed_dim},
        {"image_size", want->image_size, have.image_size},
        {"patch_size", want->patch_size, have.patch_size},
        {"width (vision)", want->vision_width, have.vision_width},
        {"layers (vision)", want->vision_layers, have.vision_layers},
        {"mlp width (vision)", (int64_t)((double)want->vision_width * want->vision_mlp_ratio),
         (int64_t)((double)have.vision_width * have.vision_mlp_ratio)},
        {"context_length", want->context_length, have.context_length},
        {"vocab_size", want->vocab_size, have.vocab_size},
        {"width (text)", want->text_width, have.text_width},
        {"layers (text)", want->text_layers, have.text_layers},
        {"mlp width (text)", (int64_t)((double)want->text_width * want->text_mlp_ratio),
         (int64_t)((double)have.text_width * have.text_mlp_ratio)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].described == sizes[i].found) continue;
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the description says %s %" PRId64 " and the weights' shapes %" PRId64
                         "; they belong to different models", name, sizes[i].key,
                         sizes[i].described, sizes[i].found);
    }
    return check_memory(&shapes, want);
}
