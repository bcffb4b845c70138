#include "tests/training_run.h"

#include <stdlib.h>
#include <string.h>

static double array_number(const json_t *object, const char *key, size_t i)
{
    const json_t *value = json_array_get(json_object_get(object, key), i);
    if (!json_is_number(value)) test_fail("training/config.json has no number %s[%d]", key, (int)i);
    return json_number_value(value);
}

void training_reset(struct training *r)
{
    struct clip_bundle init = fixture_read(r->root, "training/init.safetensors");
    fixture_load(r->model, &init);
    if (r->model->logit_bias != NULL) *(float *)r->model->logit_bias->data = -4;
    clip_bundle_release(&init);
}

void training_open_for(struct training *r, const char *root, int64_t times, bool sigmoid)
{
    *r = (struct training){.root = root, .config = fixture_json(root, "training/config.json")};
    int64_t capacity = r->capacity = times * (int64_t)fixture_number(r->config, "batch_size");
    r->data = fixture_read(root, "training/data.safetensors");
    r->model = fixture_model(json_object_get(r->config, "model_cfg"), sigmoid);
    training_reset(r);
    clip_model_train(r->model);
    const struct clip_tensor *images = fixture_tensor(&r->data, "images"),
                             *ids = fixture_tensor(&r->data, "input_ids");
    r->pairs = images->shape[0];
    r->pixels = clip_tensor_count(images) / r->pairs;
    r->context = ids->shape[1];
    snprintf(r->warmup, sizeof r->warmup, "%lld", (long long)fixture_number(r->config, "warmup"));
    r->options = (struct clip_step_options){
        .train = {.batch_size = capacity},
        .optim = {.beta1 = array_number(r->config, "betas", 0),
                  .beta2 = array_number(r->config, "betas", 1),
                  .eps = fixture_number(r->config, "eps"),
                  .wd = fixture_number(r->config, "weight_decay"),
                  .lr = fixture_number(r->config, "lr"),
                  .warmup = r->warmup,
                  .lr_scheduler = CLIP_SCHEDULE_COSINE,
                  .cooldown = "0",
                  .grad_clip_norm = fixture_number(r->config, "grad_clip_norm"),
                  .layer_decay = 1},
        .steps = (int64_t)fixture_number(r->config, "total_steps"),
    };
    r->batch.pixels = calloc((size_t)(capacity * r->pixels), sizeof(float));
    r->batch.tokens = calloc((size_t)(capacity * r->context), sizeof(int32_t));
    r->batch.offsets = calloc((size_t)capacity + 1, sizeof(int32_t));
    r->batch.ids = calloc((size_t)capacity, sizeof(int32_t));
    r->batch.samples = calloc((size_t)capacity, sizeof(int64_t));
    r->batch.keys = calloc((size_t)capacity, sizeof(uint64_t));
    assert_true(r->batch.pixels && r->batch.tokens && r->batch.offsets && r->batch.ids &&
                r->batch.samples && r->batch.keys);
}

void training_open(struct training *r, const char *root, int64_t times)
{
    training_open_for(r, root, times, false);
}

void training_close(struct training *r)
{
    free(r->batch.pixels);
    free(r->batch.tokens);
    free(r->batch.offsets);
    free(r->batch.ids);
    free(r->batch.samples);
    free(r->batch.keys);
    clip_model_free(r->model);
    clip_bundle_release(&r->data);
    json_decref(r->config);
}

/* pixel = (value / 255 - mean) / std */
static void fill_image(struct training *r, int64_t at, int64_t pair)
{
    const uint8_t *images = fixture_tensor(&r->data, "images")->data;
    int64_t plane = r->pixels / 3;
    for (int64_t c = 0; c < 3; c++) {
        const uint8_t *from = images + pair * r->pixels + c * plane;
        float *to = r->batch.pixels + at * r->pixels + c * plane;
        float mean = (float)array_number(r->config, "mean", (size_t)c);
        float std = (float)array_number(r->config, "std", (size_t)c);
        for (int64_t i = 0; i < plane; i++) to[i] = ((float)from[i] / 255.0f - mean) / std;
    }
}

const struct clip_batch *training_batch(struct training *r, int64_t begin, int64_t n)
{
    const struct clip_tensor *order = fixture_tensor(&r->data, "order");
    const int32_t *pairs = (const int32_t *)order->data + begin;
    const int32_t *ids = fixture_tensor(&r->data, "input_ids")->data;
    assert_true(n <= r->capacity && begin + n <= clip_tensor_count(order));
    r->batch.count = n;
    for (int64_t b = 0; b < n; b++) {
        struct fixture_text text = fixture_pack(ids + pairs[b] * r->context, 1, r->context);
        int32_t at = r->batch.offsets[b], length = text.at[1];
        memcpy(r->batch.tokens + at, text.ids, (size_t)length * sizeof(int32_t));
        r->batch.offsets[b + 1] = at + length;
        fixture_text_release(&text);
        fill_image(r, b, pairs[b]);
        r->batch.samples[b] = pairs[b];
        r->batch.keys[b] = (uint64_t)pairs[b];
        r->batch.ids[b] = pairs[b] % 5;
    }
    return &r->batch;
}

struct clip_step *training_step_new(struct training *r)
{
    struct clip_step *step = NULL;
    struct clip_error error = {0};
    test_ok(clip_step_create(&step, r->model, &r->options, &error), &error);
    return step;
}

struct clip_step_result training_step(struct clip_step *step, const struct clip_batch *batch)
{
    struct clip_step_result result = {0};
    struct clip_error error = {0};
    test_ok(clip_step_run(step, batch, &result, &error), &error);
    return result;
}
