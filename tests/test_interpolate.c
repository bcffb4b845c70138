/* Mixing the weights of a model before and after fine-tuning: the numbers, the rule that chooses,
 * what cannot be mixed. The command itself is in test_finetune.sh. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/interpolate.h"
#include "tests/support.h"

static struct clip_model_config small_config(void)
{
    struct clip_error error = {0};
    struct clip_model_config config;
    test_ok(clip_model_preset(&config, "vit-b-32", &error), &error);
    config.vision.width = config.text.width = 16;
    config.vision.heads = config.text.heads = 2;
    config.vision.layers = config.text.layers = 1;
    config.vocab_size = 40;
    config.embed_dim = 8;
    return config;
}

static void weights_are_mixed(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_config config = small_config();
    struct clip_model *models[3];
    for (int i = 0; i < 3; i++) {
        test_ok(clip_model_create(&models[i], &config, &error), &error);
        clip_model_init(models[i], (uint64_t)i + 1);
    }
    const float *a = models[0]->data, *b = models[1]->data, *mix = models[2]->data;
    clip_model_mix(models[2], models[0], models[1], 0);
    test_same_f32("alpha 0", mix, a, models[0]->size);
    clip_model_mix(models[2], models[0], models[1], 1);
    test_same_f32("alpha 1", mix, b, models[0]->size);
    clip_model_mix(models[2], models[0], models[1], 0.3);
    for (int64_t i = 0; i < models[0]->size; i++)
        assert_true(fabs((double)mix[i] - (0.7 * (double)a[i] + 0.3 * (double)b[i])) <= 1e-7);
    for (int i = 0; i < 3; i++) clip_model_free(models[i]);
}

static int64_t chosen(const double scores[][2], int64_t n, double keep)
{
    struct clip_mix mixes[8] = {0};
    for (int64_t i = 0; i < n; i++) {
        mixes[i].fresh.score = scores[i][0];
        mixes[i].old.score = scores[i][1];
    }
    return clip_mix_choose(mixes, n, keep);
}

static void rule_keeps_the_old_task(void **state)
{
    (void)state;
    const double scores[][2] = {{0.1, 0.5}, {0.2, 0.52}, {0.3, 0.41}, {0.4, 0.39}, {0.35, 0.2}};
    assert_int_equal(chosen(scores, 5, 0.8), 2); /* 0.41 is 82 % of 0.5, 0.39 only 78 % */
    assert_int_equal(chosen(scores, 5, 0.75), 3);
    assert_int_equal(chosen(scores, 5, 1), 1);
    assert_int_equal(chosen(scores, 5, 0), 3);
    const double equal[][2] = {{0.1, 0.5}, {0.1, 0.5}, {0.1, 0.6}};
    assert_int_equal(chosen(equal, 3, 0.8), 0); /* nothing gained: the model as it was */
    const double only_new[][2] = {{0.1, NAN}, {0.3, NAN}, {0.2, NAN}};
    assert_int_equal(chosen(only_new, 3, 0.8), 1);
    const double only_old[][2] = {{NAN, 0.5}, {NAN, 0.55}, {NAN, 0.4}};
    assert_int_equal(chosen(only_old, 3, 0.8), 1);
}

static void refused(const struct clip_model_file *a, const struct clip_model_file *b,
                    const char *what)
{
    struct clip_error error = {0};
    assert_int_equal(clip_mix_check(a, b, &error), CLIP_ERR_DATA);
    if (strstr(error.message, what) == NULL) fail_msg("%s: not of %s", error.message, what);
}

static void models_that_differ_are_refused(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_config config = small_config();
    struct clip_model_file a = {.source = (char[]){"a"}}, b = {.source = (char[]){"b"}};
    test_ok(clip_model_create(&a.model, &config, &error), &error);
    test_ok(clip_model_create(&b.model, &config, &error), &error);
    test_ok(clip_mix_check(&a, &b, &error), &error);
    struct clip_model_config *other = &b.model->config;
    other->text.norm_eps = 1e-6;
    refused(&a, &b, "LayerNorm's epsilon");
    *other = config;
    other->vision.activation = CLIP_QUICK_GELU;
    refused(&a, &b, "activation");
    *other = config;
    other->text.heads = 1;
    refused(&a, &b, "attention heads");
    *other = config;
    other->text.causal = false; /* which no weight shows */
    refused(&a, &b, "causal");
    *other = config;
    b.preprocess.std[2] = 0.5f;
    refused(&a, &b, "preprocessing");
    b.preprocess.std[2] = 0;
    b.cleaning = CLIP_TEXT_CANONICALIZE;
    refused(&a, &b, "cleaning of texts");
    clip_model_free(a.model);
    clip_model_free(b.model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_mixed),
        cmocka_unit_test(rule_keeps_the_old_task),
        cmocka_unit_test(models_that_differ_are_refused),
    };
    return cmocka_run_group_tests_name("interpolate", tests, NULL, NULL);
}
