/* Zero-shot classification and retrieval against reference values. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/rng.h"
#include "eval/retrieval.h"
#include "eval/template_sets.h"
#include "eval/zeroshot.h"
#include "formats/model_file.h"
#include "tests/fixture.h"
#include "tests/small_model.h"

static int64_t *widened(const struct clip_tensor *ids)
{
    int64_t n = clip_tensor_count(ids), *out = calloc((size_t)n, sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < n; i++) out[i] = ((const int32_t *)ids->data)[i];
    return out;
}

static float *floats(int64_t n)
{
    float *out = calloc((size_t)n, sizeof *out);
    assert_non_null(out);
    return out;
}

/* ---- classification against open_clip ---- */

struct reference {
    struct clip_bundle values;
    json_t *metrics;
    struct clip_model *model;
    struct clip_model_file file;
    struct clip_embedder *embedder;
    int64_t classes, templates, context, images, dim;
};

/* The model of openclip_tiny with the inputs of zeroshot/; false: this root has none. */
static bool open_reference(struct reference *r, int root)
{
    struct clip_error error;
    const char *where = test_root(root);
    if (test_root_file(root, "zeroshot/zeroshot.safetensors") == NULL ||
        test_root_file(root, "openclip_tiny/open_clip_model.safetensors") == NULL)
        return false;
    struct clip_bundle weights = fixture_read(where, "openclip_tiny/open_clip_model.safetensors");
    json_t *description = fixture_json(where, "openclip_tiny/open_clip_config.json");
    *r = (struct reference){.values = fixture_read(where, "zeroshot/zeroshot.safetensors"),
                            .metrics = fixture_json(where, "zeroshot/zeroshot.json")};
    r->model = fixture_model(json_object_get(description, "model_cfg"), false);
    fixture_load(r->model, &weights);
    r->file.model = r->model;
    test_ok(clip_embedder_create(&r->embedder, &r->file, NULL, &error), &error);
    const struct clip_tensor *prompts = fixture_tensor(&r->values, "prompt_ids");
    r->classes = prompts->shape[0];
    r->templates = prompts->shape[1];
    r->context = prompts->shape[2];
    r->images = fixture_tensor(&r->values, "labels")->shape[0];
    r->dim = clip_embedder_dim(r->embedder);
    clip_bundle_release(&weights);
    json_decref(description);
    return true;
}

static void close_reference(struct reference *r)
{
    clip_embedder_free(r->embedder);
    clip_model_free(r->model);
    clip_bundle_release(&r->values);
    json_decref(r->metrics);
}

static float *reference_classifier(const struct reference *r)
{
    struct clip_error error;
    float *prompts = floats(r->classes * r->templates * r->dim);
    float *classifier = floats(r->classes * r->dim);
    test_ok(clip_embedder_ids(r->embedder, fixture_tensor(&r->values, "prompt_ids")->data,
                              r->classes * r->templates, r->context, CLIP_RAW, prompts, &error),
            &error);
    clip_zeroshot_average(prompts, r->classes, r->templates, r->dim, classifier);
    free(prompts);
    return classifier;
}

static float *reference_images(const struct reference *r)
{
    struct clip_error error;
    float *rows = floats(r->images * r->dim);
    test_ok(clip_embedder_pixels(r->embedder, fixture_f32(&r->values, "pixel_values"), r->images,
                                 CLIP_UNIT, rows, &error),
            &error);
    return rows;
}

static void check_classifier(const struct reference *r)
{
    float *classifier = reference_classifier(r), *images = reference_images(r);
    float *logits = floats(r->images * r->classes);
    fixture_close_to(&r->values, "classifier", classifier, 0, 1e-5);
    for (int64_t i = 0; i < r->images; i++)
        for (int64_t c = 0; c < r->classes; c++)
            for (int64_t d = 0; d < r->dim; d++)
                logits[i * r->classes + c] += 100 * images[i * r->dim + d] *
                                              classifier[c * r->dim + d];
    fixture_close_to(&r->values, "logits", logits, 0, 1e-3);
    free(classifier);
    free(images);
    free(logits);
}

static void check_metrics(const struct reference *r)
{
    struct clip_error error;
    float *classifier = reference_classifier(r), *images = reference_images(r);
    int64_t *labels = widened(fixture_tensor(&r->values, "labels"));
    int64_t *expected = widened(fixture_tensor(&r->values, "predictions"));
    int64_t *predictions = calloc((size_t)r->images, sizeof *predictions);
    struct clip_zeroshot_result result;
    test_ok(clip_zeroshot_score(&(struct clip_zeroshot_rows){images, labels, classifier, r->images,
                                                             r->classes, r->dim},
                                predictions, &result, &error),
            &error);
    for (int64_t i = 0; i < r->images; i++) assert_int_equal(predictions[i], expected[i]);
    assert_int_equal(result.n, r->images);
    test_close_f64("acc1", result.acc1, fixture_number(r->metrics, "acc1"), 0, 1e-9);
    test_close_f64("acc5", result.acc5, fixture_number(r->metrics, "acc5"), 0, 1e-9);
    test_close_f64("mean_per_class_recall", result.mean_per_class_recall,
                   fixture_number(r->metrics, "mean_per_class_recall"), 0, 1e-9);
    const json_t *recalls = json_object_get(r->metrics, "per_class_recall");
    for (int64_t c = 0; c < r->classes; c++) {
        char key[24];
        snprintf(key, sizeof key, "%lld", (long long)c);
        assert_true(isnan(result.recall[c]) == (json_object_get(recalls, key) == NULL));
        if (!isnan(result.recall[c]))
            test_close_f64(key, result.recall[c], fixture_number(recalls, key), 0, 1e-9);
    }
    clip_zeroshot_release(&result);
    free(predictions);
    free(expected);
    free(labels);
    free(images);
    free(classifier);
}

/* The rank that decides acc5 is that of the reference's five best. */
static void check_top5(const struct reference *r)
{
    struct clip_error error;
    float *classifier = reference_classifier(r), *images = reference_images(r);
    const struct clip_tensor *top = fixture_tensor(&r->values, "top5");
    const int32_t *top5 = top->data;
    struct clip_zeroshot_result result;
    for (int64_t i = 0; i < r->images; i++)
        for (int64_t c = 0; c < r->classes; c++) {
            bool among = false;
            for (int64_t k = 0; k < top->shape[1]; k++) among |= top5[i * top->shape[1] + k] == c;
            test_ok(
                clip_zeroshot_score(&(struct clip_zeroshot_rows){images + i * r->dim, &c,
                                                                 classifier, 1, r->classes, r->dim},
                                    NULL, &result, &error),
                &error);
            assert_true(result.acc5 == (among ? 1.0 : 0.0));
            clip_zeroshot_release(&result);
        }
    free(images);
    free(classifier);
}

static void for_each_reference(void (*check)(const struct reference *r))
{
    int count = 0;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct reference r;
        if (!open_reference(&r, i)) continue;
        check(&r);
        close_reference(&r);
        count++;
    }
    if (count == 0) test_skip("there is no zeroshot/ in any set of reference values");
}

static void classifier_and_logits_equal_open_clip(void **state)
{
    (void)state;
    for_each_reference(check_classifier);
}

static void accuracies_equal_open_clip(void **state)
{
    (void)state;
    for_each_reference(check_metrics);
}

static void five_best_equal_open_clip(void **state)
{
    (void)state;
    for_each_reference(check_top5);
}

/* ---- classification by hand ---- */

static void equal_logits_go_to_the_lower_class(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_zeroshot_result result;
    const float classifier[6 * 2] = {1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0};
    const float images[] = {1, 0, 1, 0, 1, 0};
    const int64_t labels[] = {0, 4, 5};
    int64_t predictions[3];
    test_ok(clip_zeroshot_score(&(struct clip_zeroshot_rows){images, labels, classifier, 3, 6, 2},
                                predictions, &result, &error),
            &error);
    for (int i = 0; i < 3; i++) assert_int_equal(predictions[i], 0);
    test_close_f64("acc1", result.acc1, 1.0 / 3, 0, 1e-12);
    test_close_f64("acc5", result.acc5, 2.0 / 3, 0, 1e-12);
    clip_zeroshot_release(&result);
}

static void few_classes_have_no_acc5(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_zeroshot_result result;
    const float classifier[] = {1, 0, 0, 1}, image[] = {1, 0};
    const int64_t label = 0;
    test_ok(clip_zeroshot_score(&(struct clip_zeroshot_rows){image, &label, classifier, 1, 2, 2},
                                NULL, &result, &error),
            &error);
    assert_true(isnan(result.acc5));
    assert_true(isnan(result.recall[1]));
    test_close_f64("mean", result.mean_per_class_recall, 1, 0, 0);
    clip_zeroshot_release(&result);
    test_fails(clip_zeroshot_score(&(struct clip_zeroshot_rows){image, &label, classifier, 0, 2, 2},
                                   NULL, &result, &error),
               &error, CLIP_ERR_DATA, "no image");
}

static void many_images_count_as_few_do(void **state)
{
    (void)state;
    enum { N = 700, CLASSES = 7, DIM = 5 }; /* more than one block of logits */
    struct clip_error error;
    struct clip_zeroshot_result all;
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, 0);
    float *images = floats(N * DIM), classifier[CLASSES * DIM];
    int64_t labels[N], right = 0;
    for (int i = 0; i < N * DIM; i++) images[i] = clip_rng_normal(&rng);
    for (int i = 0; i < CLASSES * DIM; i++) classifier[i] = clip_rng_normal(&rng);
    for (int i = 0; i < N; i++) labels[i] = clip_rng_below(&rng, CLASSES);
    for (int i = 0; i < N; i++) {
        struct clip_zeroshot_result one;
        test_ok(clip_zeroshot_score(&(struct clip_zeroshot_rows){images + i * DIM, labels + i,
                                                                 classifier, 1, CLASSES, DIM},
                                    NULL, &one, &error),
                &error);
        right += one.acc1 > 0.5;
        clip_zeroshot_release(&one);
    }
    test_ok(clip_zeroshot_score(
                &(struct clip_zeroshot_rows){images, labels, classifier, N, CLASSES, DIM}, NULL,
                &all, &error),
            &error);
    test_close_f64("acc1", all.acc1, (double)right / N, 0, 1e-12);
    clip_zeroshot_release(&all);
    free(images);
}

/* ---- retrieval ---- */

static void check_recalls(const json_t *expected, const char *side, const struct clip_recalls *got)
{
    const struct {
        const char *name;
        double value;
    } values[] = {
        {"recall@1", got->at_1},       {"recall@5", got->at_5},           {"recall@10", got->at_10},
        {"mean_rank", got->mean_rank}, {"median_rank", got->median_rank},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_%s", side, values[i].name);
        test_close_f64(key, values[i].value, fixture_number(expected, key), 0, 1e-9);
    }
}

static void check_ranks(const struct clip_bundle *bundle, const char *name, const int64_t *got)
{
    const struct clip_tensor *expected = fixture_tensor(bundle, "%s", name);
    for (int64_t i = 0; i < clip_tensor_count(expected); i++)
        assert_int_equal(got[i], ((const int32_t *)expected->data)[i]);
}

static void check_retrieval(const char *root, const char *path, const char *set, const char *ties)
{
    struct clip_error error;
    struct clip_bundle bundle = fixture_read(root, path);
    json_t *metrics = fixture_json(root, "zeroshot/retrieval.json");
    const struct clip_tensor *images = fixture_tensor(&bundle, "image_embeds");
    int64_t *text_image = widened(fixture_tensor(&bundle, "text_image"));
    int64_t n = images->shape[0], m = fixture_tensor(&bundle, "text_image")->shape[0];
    int64_t *text_rank = calloc((size_t)m, sizeof *text_rank);
    int64_t *image_rank = calloc((size_t)n, sizeof *image_rank);
    struct clip_retrieval_result result;
    char name[96];
    test_ok(clip_retrieval_score(&(struct clip_retrieval_rows){images->data,
                                                               fixture_f32(&bundle, "text_embeds"),
                                                               text_image, n, m, images->shape[1]},
                                 text_rank, image_rank, &result, &error),
            &error);
    const char *suffix = strcmp(ties, "all") == 0 ? "" : ".lower_index_first";
    snprintf(name, sizeof name, "image_retrieval.rank%s", suffix);
    check_ranks(&bundle, name, text_rank);
    snprintf(name, sizeof name, "text_retrieval.rank%s", suffix);
    check_ranks(&bundle, name, image_rank);
    const json_t *expected = json_object_get(json_object_get(metrics, set), ties);
    check_recalls(expected, "image_retrieval", &result.image_retrieval);
    check_recalls(expected, "text_retrieval", &result.text_retrieval);
    free(text_rank);
    free(image_rank);
    free(text_image);
    json_decref(metrics);
    clip_bundle_release(&bundle);
}

static void retrieval_equals_clip_benchmark(void **state)
{
    (void)state;
    int count = 0;
    for (int i = 0; test_root(i) != NULL; i++) {
        if (test_root_file(i, "zeroshot/retrieval_random.safetensors") == NULL) continue;
        check_retrieval(test_root(i), "zeroshot/retrieval_random.safetensors", "random", "all");
        count++;
    }
    if (count == 0) test_skip("there is no retrieval_random.safetensors");
}

static void retrieval_breaks_ties_by_lower_index(void **state)
{
    (void)state;
    int count = 0;
    for (int i = 0; test_root(i) != NULL; i++) {
        if (test_root_file(i, "zeroshot/retrieval_ties.safetensors") == NULL) continue;
        check_retrieval(test_root(i), "zeroshot/retrieval_ties.safetensors", "ties",
                        "lower_index_first");
        count++;
    }
    if (count == 0) test_skip("there is no retrieval_ties.safetensors");
}

static void an_image_without_caption_is_only_an_item(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_retrieval_result r;
    const float images[] = {1, 0, 0, 1, 0.6f, 0.8f}, texts[] = {0.6f, 0.8f, 0, 1};
    const int64_t text_image[] = {0, 1};
    int64_t image_rank[3], text_rank[2];
    test_ok(clip_retrieval_score(&(struct clip_retrieval_rows){images, texts, text_image, 3, 2, 2},
                                 text_rank, image_rank, &r, &error),
            &error);
    assert_int_equal(text_rank[0], 3); /* 0.6 behind 1 and 0.8 */
    assert_int_equal(text_rank[1], 1);
    assert_int_equal(image_rank[0], 1);
    assert_int_equal(image_rank[1], 1);
    assert_int_equal(image_rank[2], 0);
    test_close_f64("mean", r.image_retrieval.mean_rank, 2, 0, 0);
    test_close_f64("median", r.image_retrieval.median_rank, 2, 0, 0);
    test_close_f64("text recall", r.text_retrieval.at_1, 1, 0, 0);
    test_fails(
        clip_retrieval_score(&(struct clip_retrieval_rows){images, texts, text_image, 0, 0, 2},
                             NULL, NULL, &r, &error),
        &error, CLIP_ERR_DATA, "no image");
}

/* ---- names, sets, intervals ---- */

/* A class of two names is the mean over both; an empty name counts as none. */
static void several_names_are_one_class(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(5);
    struct clip_embedder *e = NULL;
    struct clip_templates templates;
    struct clip_buffer called = {0};
    const char *names[] = {"a dog|a red circle", "|a dog||a red circle|", "a dog", "a red circle"};
    float rows[4 * 24], mean[24], prompts[4 * 24];
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    test_ok(
        clip_template_set(clip_choice_find(clip_template_set_name, "small"), &templates, &error),
        &error);
    templates.count = 2;
    test_ok(
        clip_zeroshot_classifier(e, (char *const *)(uintptr_t)names, 4, &templates, rows, &error),
        &error);
    for (int i = 0; i < 4; i++) {
        struct clip_buffer text = {0};
        test_ok(clip_template_fill(templates.lines[i % 2], names[2 + i / 2], &text, &error),
                &error);
        const char *one = text.data;
        test_ok(clip_embedder_texts(e, &one, 1, CLIP_RAW, prompts + i * 24, NULL, &error), &error);
        clip_buffer_release(&text);
    }
    clip_zeroshot_average(prompts, 1, 4, 24, mean);
    test_same_f32("two names", rows, mean, 24);
    test_same_f32("with empty ones", rows + 24, mean, 24);
    const char *none[] = {"||"};
    test_fails(
        clip_zeroshot_classifier(e, (char *const *)(uintptr_t)none, 1, &templates, rows, &error),
        &error, CLIP_ERR_DATA, "no name");
    test_ok(clip_zeroshot_called(names[1], &called, &error), &error);
    assert_string_equal(called.data, "a dog");
    clip_buffer_release(&called);
    clip_templates_release(&templates);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* Computed from the formula in Python. */
static void intervals_are_wilsons(void **state)
{
    (void)state;
    static const struct {
        int64_t hits, n;
        double low, high;
    } cases[] = {
        {8, 10, 0.4901625, 0.9433178},    {0, 10, 0, 0.2775328},
        {10, 10, 0.7224672, 1},           {1, 2, 0.0945312, 0.9054688},
        {173, 180, 0.9219152, 0.9810367}, {0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double low, high;
        clip_zeroshot_interval(cases[i].hits, cases[i].n, &low, &high);
        test_close_f64("low", low, cases[i].low, 0, 1e-6);
        test_close_f64("high", high, cases[i].high, 0, 1e-6);
    }
}

static void template_sets_are_templates(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_templates set;
    char all[64];
    assert_string_equal(clip_choice_list(clip_template_set_name, "|", all, sizeof all),
                        "plain|photo|many|small|zh");
    for (int i = 0; clip_template_set_name(i) != NULL; i++) {
        test_ok(clip_template_set(i, &set, &error), &error);
        assert_true(set.count >= (i == 0 ? 1 : 8));
        for (int64_t k = 0; k < set.count; k++) {
            assert_non_null(strstr(set.lines[k], "{}"));
            for (int64_t j = 0; j < k; j++) assert_string_not_equal(set.lines[j], set.lines[k]);
        }
        clip_templates_release(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classifier_and_logits_equal_open_clip),
        cmocka_unit_test(accuracies_equal_open_clip),
        cmocka_unit_test(five_best_equal_open_clip),
        cmocka_unit_test(equal_logits_go_to_the_lower_class),
        cmocka_unit_test(few_classes_have_no_acc5),
        cmocka_unit_test(many_images_count_as_few_do),
        cmocka_unit_test(several_names_are_one_class),
        cmocka_unit_test(intervals_are_wilsons),
        cmocka_unit_test(template_sets_are_templates),
        cmocka_unit_test(retrieval_equals_clip_benchmark),
        cmocka_unit_test(retrieval_breaks_ties_by_lower_index),
        cmocka_unit_test(an_image_without_caption_is_only_an_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
