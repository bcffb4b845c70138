#include "tests/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

struct clip_bundle fixture_read(const char *root, const char *path)
{
    char whole[1024];
    struct clip_bundle bundle = {0};
    struct clip_error error = {0};
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    if (clip_safetensors_read(whole, &bundle, &error) != CLIP_OK) test_fail("%s", error.message);
    return bundle;
}

json_t *fixture_json(const char *root, const char *path)
{
    char whole[1024];
    struct clip_error error = {0};
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    json_t *json = clip_json_read(whole, 1 << 24, &error);
    if (json == NULL) test_fail("%s", error.message);
    return json;
}

double fixture_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) test_fail("the fixture's JSON has no number \"%s\"", key);
    return json_number_value(value);
}

static const struct clip_tensor *find(const struct clip_bundle *bundle, const char *format,
                                      va_list args)
{
    char name[256];
    vsnprintf(name, sizeof name, format, args);
    const struct clip_tensor *tensor = clip_bundle_find(bundle, name);
    if (tensor == NULL) test_fail("the fixture has no tensor %s", name);
    return tensor;
}

const struct clip_tensor *fixture_tensor(const struct clip_bundle *bundle, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const struct clip_tensor *tensor = find(bundle, format, args);
    va_end(args);
    return tensor;
}

const float *fixture_f32(const struct clip_bundle *bundle, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const struct clip_tensor *tensor = find(bundle, format, args);
    va_end(args);
    if (tensor->dtype != CLIP_F32) test_fail("the fixture's %s... is not F32", format);
    return tensor->data;
}

float fixture_scalar(const struct clip_bundle *bundle, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const struct clip_tensor *tensor = find(bundle, format, args);
    va_end(args);
    if (tensor->dtype != CLIP_F32 || clip_tensor_count(tensor) != 1)
        test_fail("the fixture's %s... is no F32 scalar", format);
    return *(const float *)tensor->data;
}

struct clip_tensor fixture_leaf(const struct clip_bundle *bundle, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const struct clip_tensor *tensor = find(bundle, format, args);
    va_end(args);
    struct clip_tensor leaf = *tensor;
    size_t n = (size_t)clip_tensor_count(tensor);
    assert_int_equal(tensor->dtype, CLIP_F32);
    leaf.data = calloc(n + 1, sizeof(float));
    leaf.grad = calloc(n + 1, sizeof(float));
    assert_true(leaf.data != NULL && leaf.grad != NULL);
    memcpy(leaf.data, tensor->data, n * sizeof(float));
    leaf.needs_grad = true;
    return leaf;
}

void fixture_leaf_free(struct clip_tensor *leaf)
{
    free(leaf->data);
    free(leaf->grad);
    *leaf = (struct clip_tensor){0};
}

void fixture_close_to(const struct clip_bundle *bundle, const char *name, const float *got,
                      double relative, double absolute)
{
    test_close(name, got, fixture_f32(bundle, "%s", name),
               clip_tensor_count(fixture_tensor(bundle, "%s", name)), relative, absolute);
}

static double number_or(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static int64_t whole(const json_t *object, const char *key)
{
    return (int64_t)fixture_number(object, key);
}

/* Absent keys as open_clip 3.3's CLIPVisionCfg and CLIPTextCfg have them: heads of 64, mlp ratio 4.
 */
struct clip_model *fixture_model(const json_t *cfg, bool logit_bias)
{
    const json_t *v = json_object_get(cfg, "vision_cfg"), *t = json_object_get(cfg, "text_cfg");
    struct clip_model *model = NULL;
    struct clip_error error = {0};
    struct clip_model_config config = {
        .embed_dim = whole(cfg, "embed_dim"),
        .image_size = whole(v, "image_size"),
        .patch_size = whole(v, "patch_size"),
        .vision = clip_vision_tower,
        .context_length = whole(t, "context_length"),
        .vocab_size = whole(t, "vocab_size"),
        .text = clip_text_tower,
        .logit_bias = logit_bias,
        .image_std = {1, 1, 1},
    };
    struct clip_tower *towers[] = {&config.vision, &config.text};
    for (int i = 0; i < 2; i++) {
        const json_t *of = i == 0 ? v : t;
        towers[i]->width = whole(of, "width");
        towers[i]->layers = whole(of, "layers");
        towers[i]->mlp_ratio = number_or(of, "mlp_ratio", 4);
        if (json_is_true(json_object_get(cfg, "quick_gelu")))
            towers[i]->activation = CLIP_QUICK_GELU;
    }
    config.vision.heads = config.vision.width / (int64_t)number_or(v, "head_width", 64);
    config.text.heads = whole(t, "heads");
    if (clip_model_create(&model, &config, &error) != CLIP_OK) test_fail("%s", error.message);
    return model;
}

void fixture_load(struct clip_model *model, const struct clip_bundle *weights)
{
    struct clip_error error = {0};
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *p = &model->params[i];
        if (strcmp(p->name, "logit_bias") == 0 && clip_bundle_find(weights, p->name) == NULL)
            continue;
        test_ok(clip_bundle_copy(weights, p->name, &p->tensor, &error), &error);
    }
}

struct fixture_text fixture_pack(const int32_t *ids, int64_t rows, int64_t context)
{
    struct fixture_text text = {0};
    text.ids = calloc((size_t)(rows * context + 1), sizeof *text.ids);
    text.at = calloc((size_t)(rows + 1), sizeof *text.at);
    assert_true(text.ids != NULL && text.at != NULL);
    for (int64_t r = 0; r < rows; r++) {
        const int32_t *row = ids + r * context;
        int32_t end = 0;
        for (int32_t i = 1; i < context; i++)
            if (row[i] > row[end]) end = i;
        memcpy(text.ids + text.at[r], row, (size_t)(end + 1) * sizeof *row);
        text.at[r + 1] = text.at[r] + end + 1;
    }
    text.tokens = clip_tensor_i32(text.ids, text.at[rows]);
    text.offsets = clip_tensor_i32(text.at, rows + 1);
    return text;
}

void fixture_text_release(struct fixture_text *text)
{
    free(text->ids);
    free(text->at);
    *text = (struct fixture_text){0};
}

struct clip_tape *fixture_tape(void)
{
    struct clip_tape *tape = NULL;
    struct clip_error error = {0};
    if (clip_tape_create(&tape, &error) != CLIP_OK) test_fail("%s", error.message);
    return tape;
}

void fixture_tape_ok(const struct clip_tape *tape)
{
    struct clip_error error = {0};
    if (clip_tape_status(tape, &error) != CLIP_OK) test_fail("%s", error.message);
}
