/* The index and exact search in it. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "core/threads.h"
#include "eval/search.h"
#include "eval/texts.h"
#include "tests/small_model.h"

/* An index without a model: n random unit rows named "0", "1", ...; `levels` > 0 makes the numbers
 * coarse, so that scores tie. */
static struct clip_index random_index(int64_t n, int64_t dim, int levels, uint64_t seed)
{
    struct clip_error error;
    struct clip_index index = {.dim = dim};
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 0, 0);
    float row[64];
    char name[24];
    index.model = clip_string_copy("/models/a.h5", &error);
    index.model_checksum = clip_string_copy("0123abcd", &error);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t d = 0; d < dim; d++)
            row[d] = levels > 0 ? (float)clip_rng_below(&rng, (uint32_t)levels)
                                : clip_rng_normal(&rng);
        if (levels == 0) clip_rows_normalise(row, 1, dim);
        snprintf(name, sizeof name, "%lld", (long long)i);
        test_ok(clip_index_add(&index, name, row, &error), &error);
    }
    return index;
}

struct scored {
    double score;
    int64_t number;
};

static int compare_scored(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->number > y->number) - (x->number < y->number);
}

static void check_search(int64_t n, int64_t k, int levels, uint64_t seed)
{
    enum { DIM = 12 };
    struct clip_error error;
    struct clip_index index = random_index(n, DIM, levels, seed);
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 1, 0);
    struct clip_hit *hits = calloc((size_t)k, sizeof *hits);
    struct scored *all = calloc((size_t)n, sizeof *all);
    float query[DIM];
    int64_t found = -1;
    for (int d = 0; d < DIM; d++)
        query[d] = levels > 0 ? (float)clip_rng_below(&rng, 3) : clip_rng_normal(&rng);
    for (int64_t i = 0; i < n; i++) {
        for (int d = 0; d < DIM; d++)
            all[i].score += (double)index.rows[i * DIM + d] * (double)query[d];
        all[i].number = i;
    }
    qsort(all, (size_t)n, sizeof *all, compare_scored);
    test_ok(clip_index_search(&index, query, k, hits, &found, &error), &error);
    assert_int_equal(found, k < n ? k : n);
    for (int64_t i = 0; i < found; i++) {
        test_close_f64("score", (double)hits[i].score, all[i].score, 1e-5, 1e-5);
        if (levels > 0) assert_int_equal(hits[i].number, all[i].number);
    }
    free(all);
    free(hits);
    clip_index_release(&index);
}

static void search_is_exact(void **state)
{
    (void)state;
    check_search(1, 1, 0, 1);
    check_search(10, 3, 0, 2);
    check_search(10, 10, 0, 3);
    check_search(10, 25, 0, 4);
    check_search(3000, 17, 0, 5); /* several blocks */
}

static void equal_scores_come_in_order_of_number(void **state)
{
    (void)state;
    check_search(40, 40, 2, 6);
    check_search(2500, 100, 3, 7);
    check_search(2500, 2500, 2, 8);
    check_search(64, 1, 1, 9); /* all rows equal */
}

static void search_does_not_depend_on_threads(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index = random_index(5000, 24, 0, 10);
    struct clip_hit hits[2][50];
    int64_t found;
    int threads = clip_threads_count();
    for (int t = 0; t < 2; t++) {
        clip_threads_set(1 + 2 * t);
        test_ok(clip_index_search(&index, index.rows, 50, hits[t], &found, &error), &error);
        assert_int_equal(hits[t][0].number, 0); /* a row's best match is itself */
    }
    clip_threads_set(threads);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(hits[1][i].number, hits[0][i].number);
        test_same_f32("score", &hits[1][i].score, &hits[0][i].score, 1);
    }
    clip_index_release(&index);
}

static void an_empty_index_finds_nothing(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index = random_index(0, 4, 0, 1);
    struct clip_hit hit;
    const float query[4] = {1, 0, 0, 0};
    int64_t found = -1;
    test_ok(clip_index_search(&index, query, 1, &hit, &found, &error), &error);
    assert_int_equal(found, 0);
    clip_index_release(&index);
}

static void an_index_is_read_back(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index = random_index(300, 8, 0, 11), got;
    const char *path = test_path(test_folder(), "a.index");
    const float row[8] = {1};
    index.texts = true;
    test_ok(clip_index_add(&index, "ä dog, \"two\" dogs\tand a cat", row, &error), &error);
    test_ok(clip_index_write(&index, path, &error), &error);
    test_ok(clip_index_read(&got, path, &error), &error);
    assert_int_equal(got.count, 301);
    assert_int_equal(got.dim, 8);
    assert_true(got.texts);
    assert_string_equal(got.model, "/models/a.h5");
    assert_string_equal(got.model_checksum, "0123abcd");
    test_same_f32("rows", got.rows, index.rows, 301 * 8);
    for (int64_t i = 0; i < 301; i++) assert_string_equal(got.names[i], index.names[i]);
    assert_true(clip_index_has(&got, "299"));
    assert_false(clip_index_has(&got, "300"));
    clip_index_release(&got);
    clip_index_release(&index);
}

static void a_name_is_there_once(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index = random_index(5, 4, 0, 12);
    const float row[4] = {0, 0, 0, 1};
    float before[4];
    memcpy(before, index.rows + 8, sizeof before);
    test_ok(clip_index_add(&index, "2", row, &error), &error);
    assert_int_equal(index.count, 5);
    test_same_f32("the row that was there", index.rows + 8, before, 4);
    clip_index_release(&index);
}

/* ---- wrong files ---------------------------------------------------------------------------- */

static const struct clip_bundle_text good_texts[] = {
    {"format", "clip.c index 1", 14}, {"kind", "images", 6}, {"model", "m", 1},
    {"model_checksum", "c", 1},       {"names", "[\"a\", \"b\"]", 10},
};

/* An index file with one text changed (value NULL: left out) and embeddings of this shape. */
static const char *odd_index(const char *key, const char *value, int64_t rows, int64_t width)
{
    struct clip_error error;
    struct clip_bundle bundle = {0};
    const char *path = test_path(test_folder(), "odd.index");
    float data[16] = {0};
    const struct clip_tensor tensor = clip_tensor_f32(data, rows, width);
    if (rows >= 0) test_ok(clip_bundle_add(&bundle, "embeddings", &tensor, &error), &error);
    for (size_t i = 0; i < sizeof good_texts / sizeof *good_texts; i++) {
        const char *use = good_texts[i].value;
        if (strcmp(key, good_texts[i].key) == 0) use = value;
        if (use == NULL) continue;
        test_ok(clip_bundle_add_text(&bundle, good_texts[i].key, use, strlen(use), &error), &error);
    }
    test_ok(clip_hdf5_write(path, &bundle, &error), &error);
    clip_bundle_release(&bundle);
    return path;
}

static void files_that_are_no_index_are_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index;
    test_ok(clip_index_read(&index, odd_index("", "", 2, 3), &error), &error);
    clip_index_release(&index);
    const struct {
        const char *key, *value;
        int64_t rows, width;
        const char *word;
    } cases[] = {
        {"names", NULL, 2, 3, "names"},
        {"model", NULL, 2, 3, "model"},
        {"format", "clip.c index 9", 2, 3, "clip.c index 9"},
        {"names", "[\"a\"]", 2, 3, "1 names for 2"},
        {"names", "{}", 2, 3, "no JSON list"},
        {"names", "[1, 2]", 2, 3, "no string"},
        {"names", "[", 2, 3, "odd.index"},
        {"", "", -1, 3, "no F32 matrix"},
        {"", "", 0, 3, "2 names for 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_fails(clip_index_read(&index, odd_index(cases[i].key, cases[i].value, cases[i].rows,
                                                     cases[i].width),
                                   &error),
                   &error, CLIP_ERR_FORMAT, cases[i].word);
    const char *path = test_write_text(test_folder(), "text.index", "no index at all");
    assert_int_not_equal(clip_index_read(&index, path, &error), CLIP_OK);
    assert_non_null(strstr(error.message, "text.index"));
    test_fails(clip_index_read(&index, test_path(test_folder(), "none.index"), &error), &error,
               CLIP_ERR_NOT_FOUND, "none.index");
}

/* ---- with a model --------------------------------------------------------------------------- */

static struct clip_embedder *embedder_over(const struct clip_model_file *file)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    return e;
}

static void again_adds_only_what_is_new(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(1);
    struct clip_embedder *e = embedder_over(file);
    struct clip_index index;
    const char *folder = test_folder();
    int64_t added = 0, bad = 0;
    test_ok(clip_index_start(&index, e, false, &error), &error);
    for (int round = 0; round < 2; round++) {
        struct clip_pictures pictures = {0};
        small_picture(folder, round == 0 ? "b.png" : "a.png", 40, 40, (uint64_t)round);
        const char *arguments[] = {folder, folder};
        test_ok(clip_pictures_open(&pictures, arguments, 2, &error), &error);
        test_ok(clip_index_add_pictures(&index, e, &pictures, true, &added, &bad, &error), &error);
        assert_int_equal(added, 1);
        assert_int_equal(bad, 0);
        clip_pictures_release(&pictures);
    }
    assert_int_equal(index.count, 2);
    assert_string_equal(index.names[0], test_path(folder, "b.png"));
    assert_string_equal(index.names[1], test_path(folder, "a.png"));
    for (int i = 0; i < 2; i++) {
        const struct clip_picture picture = {.path = index.names[i]};
        float row[24];
        struct clip_hit hit;
        int64_t found;
        test_ok(clip_embedder_pictures(e, &picture, 1, CLIP_UNIT, row, NULL, &error), &error);
        test_ok(clip_index_search(&index, row, 1, &hit, &found, &error), &error);
        assert_int_equal(hit.number, i);
        test_close_f64("itself", (double)hit.score, 1, 0, 1e-5);
    }
    clip_index_release(&index);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void texts_are_indexed_once_and_not_empty(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *e = embedder_over(file);
    struct clip_index index;
    const char *texts[] = {"a dog", "", "a red circle", "a dog"};
    int64_t added = 0;
    test_ok(clip_index_start(&index, e, true, &error), &error);
    test_ok(clip_index_add_texts(&index, e, texts, 4, true, &added, &error), &error);
    assert_int_equal(added, 2);
    test_ok(clip_index_add_texts(&index, e, texts, 4, true, &added, &error), &error);
    assert_int_equal(added, 0);
    assert_int_equal(index.count, 2);
    assert_string_equal(index.names[1], "a red circle");
    clip_index_release(&index);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void an_index_belongs_to_its_weights(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *one = small_model(3), *other = small_model(4), *same = small_model(3);
    struct clip_embedder *e = embedder_over(one), *o = embedder_over(other);
    struct clip_embedder *s = embedder_over(same);
    struct clip_index index;
    test_ok(clip_index_start(&index, e, false, &error), &error);
    test_ok(clip_index_check(&index, e, "a.index", &error), &error);
    test_ok(clip_index_check(&index, s, "a.index", &error), &error);
    test_fails(clip_index_check(&index, o, "a.index", &error), &error, CLIP_ERR_DATA, "a.index");
    clip_index_release(&index);
    clip_embedder_free(e);
    clip_embedder_free(o);
    clip_embedder_free(s);
    clip_model_file_free(one);
    clip_model_file_free(other);
    clip_model_file_free(same);
}

/* ---- queries -------------------------------------------------------------------------------- */

static void queries_add_up_by_weight(void **state)
{
    (void)state;
    struct clip_error error;
    const float rows[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    const double weights[] = {1, 2, -2}, none[] = {1, 0, 0}, cancel[] = {1, -1};
    const float expected[] = {1.0f / 3, 2.0f / 3, -2.0f / 3}, twice[] = {0, 1, 0, 0, 1, 0};
    float out[3];
    test_ok(clip_query_combine(rows, weights, 3, 3, out, &error), &error);
    test_close("sum", out, expected, 3, 0, 1e-7);
    test_ok(clip_query_combine(rows, none, 3, 3, out, &error), &error);
    test_same_f32("one alone", out, rows, 3);
    test_fails(clip_query_combine(twice, cancel, 2, 3, out, &error), &error, CLIP_ERR_DATA,
               "cancel");
}

static void weights_stand_behind_two_colons(void **state)
{
    (void)state;
    const struct {
        const char *given, *word;
        double weight;
    } cases[] = {
        {"snow", "snow", 1},         {"snow::0.5", "snow", 0.5},     {"a::b", "a::b", 1},
        {"a::b::-2", "a::b", -2},    {"snow::", "snow::", 1},        {"snow::1x", "snow::1x", 1},
        {"snow::nan", "snow::nan", 1}, {"x::1e9", "x::1e9", 1},      {"::3", "", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_error error;
        char *word = NULL;
        double weight = 0;
        test_ok(clip_query_split(cases[i].given, &word, &weight, &error), &error);
        assert_string_equal(word, cases[i].word);
        test_close_f64(cases[i].given, weight, cases[i].weight, 0, 0);
        free(word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_is_exact),
        cmocka_unit_test(equal_scores_come_in_order_of_number),
        cmocka_unit_test(search_does_not_depend_on_threads),
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(an_index_is_read_back),
        cmocka_unit_test(a_name_is_there_once),
        cmocka_unit_test(files_that_are_no_index_are_refused),
        cmocka_unit_test(again_adds_only_what_is_new),
        cmocka_unit_test(texts_are_indexed_once_and_not_empty),
        cmocka_unit_test(an_index_belongs_to_its_weights),
        cmocka_unit_test(queries_add_up_by_weight),
        cmocka_unit_test(weights_stand_behind_two_colons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
