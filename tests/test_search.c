/* Exact search in an index that is in memory. test_index.c has those on the disk. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/rng.h"
#include "core/threads.h"
#include "kernels/bf16.h"
#include "kernels/kernels.h"
#include "search/query.h"
#include "search/search.h"
#include "tests/small_model.h"

/* An index in memory: n random unit rows named "0", "1", ... in segments of 700; `levels` > 0 makes
 * the numbers coarse, so that scores tie. *kept (or NULL): the rows, to free(). */
static struct clip_index random_index(int64_t n, int64_t dim, int levels, uint64_t seed,
                                      enum clip_index_precision precision, bool exact, float **kept)
{
    enum { SEGMENT = 700 };
    struct clip_error error;
    struct clip_index index = {.dim = dim, .precision = precision, .keeps_exact = exact};
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 0, 0);
    float *rows = calloc((size_t)(n * dim + 1), sizeof *rows);
    char(*text)[32] = calloc((size_t)n + 1, sizeof *text);
    const char **names = calloc((size_t)n + 1, sizeof *names);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t d = 0; d < dim; d++)
            rows[i * dim + d] = levels > 0 ? (float)clip_rng_below(&rng, (uint32_t)levels)
                                           : clip_rng_normal(&rng);
        snprintf(text[i], sizeof *text, "%s/%lld", i % 2 ? "odd" : "even", (long long)i);
        names[i] = text[i];
    }
    if (levels == 0) clip_rows_normalise(rows, n, dim);
    for (int64_t i = 0; i < n; i += SEGMENT) {
        const struct clip_index_rows part = {
            .count = n - i < SEGMENT ? n - i : SEGMENT, .rows = rows + i * dim, .names = names + i};
        test_ok(clip_index_add(&index, &part, &error), &error);
    }
    assert_int_equal(index.count, n);
    free(names);
    free(text);
    if (kept != NULL)
        *kept = rows;
    else
        free(rows);
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

/* The k best of n rows are those of a sort by exact scores; skip_every > 0: each such row is marked
 * as removed. */
static void check_search(int64_t n, int64_t k, int levels, uint64_t seed, int64_t skip_every)
{
    enum { DIM = 12 };
    struct clip_error error;
    float *rows;
    struct clip_index index = random_index(n, DIM, levels, seed, CLIP_INDEX_F32, false, &rows);
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 1, 0);
    struct clip_hit *hits = calloc((size_t)k, sizeof *hits);
    struct scored *all = calloc((size_t)n, sizeof *all);
    float query[DIM];
    int64_t found = -1, left = 0;
    for (int d = 0; d < DIM; d++)
        query[d] = levels > 0 ? (float)clip_rng_below(&rng, 3) : clip_rng_normal(&rng);
    for (int64_t i = 0; i < n; i++) {
        const struct clip_index_segment *s = clip_index_segment_of(&index, i);
        if (skip_every > 0 && i % skip_every == 0) {
            s->removed[i - s->first] = true;
            continue;
        }
        for (int d = 0; d < DIM; d++)
            all[left].score += (double)rows[i * DIM + d] * (double)query[d];
        all[left++].number = i;
    }
    qsort(all, (size_t)left, sizeof *all, compare_scored);
    test_ok(clip_index_search(&index, NULL, query, k, hits, &found, &error), &error);
    assert_int_equal(found, k < left ? k : left);
    for (int64_t i = 0; i < found; i++) {
        test_close_f64("score", (double)hits[i].score, all[i].score, 1e-5, 1e-5);
        if (levels > 0) assert_int_equal(hits[i].number, all[i].number);
    }
    free(rows);
    free(all);
    free(hits);
    clip_index_release(&index);
}

static void search_is_exact(void **state)
{
    (void)state;
    check_search(1, 1, 0, 1, 0);
    check_search(10, 3, 0, 2, 0);
    check_search(10, 10, 0, 3, 0);
    check_search(10, 25, 0, 4, 0);
    check_search(3000, 17, 0, 5, 0); /* several segments and blocks */
}

static void removed_rows_are_not_found(void **state)
{
    (void)state;
    check_search(1, 1, 0, 1, 1);
    check_search(10, 10, 2, 2, 3);
    check_search(3000, 100, 3, 3, 2);
    check_search(3000, 3000, 0, 4, 7);
}

static void equal_scores_come_in_order_of_number(void **state)
{
    (void)state;
    check_search(40, 40, 2, 6, 0);
    check_search(2500, 100, 3, 7, 0);
    check_search(2500, 2500, 2, 8, 0);
    check_search(64, 1, 1, 9, 0); /* all rows equal */
}

static void search_does_not_depend_on_threads(void **state)
{
    (void)state;
    struct clip_error error;
    float *rows;
    struct clip_index index = random_index(5000, 24, 0, 10, CLIP_INDEX_F32, false, &rows);
    struct clip_hit hits[2][50];
    int64_t found;
    int threads = clip_threads_count();
    for (int t = 0; t < 2; t++) {
        clip_threads_set(1 + 2 * t);
        test_ok(clip_index_search(&index, NULL, rows, 50, hits[t], &found, &error), &error);
        assert_int_equal(hits[t][0].number, 0); /* a row's best match is itself */
    }
    clip_threads_set(threads);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(hits[1][i].number, hits[0][i].number);
        test_same_f32("score", &hits[1][i].score, &hits[0][i].score, 1);
    }
    free(rows);
    clip_index_release(&index);
}

/* The last rows of a block go through the kernel as the others do: the same row, the same bits. */
static void a_score_does_not_depend_on_the_place(void **state)
{
    (void)state;
    enum { N = 11, WIDTH = 37 };
    struct clip_rng rng = clip_rng_at(3, CLIP_RNG_TEST, 0, 0);
    float row[N][WIDTH], query[WIDTH], out[N];
    uint16_t half[N][WIDTH];
    int8_t small[N][WIDTH];
    int16_t whole[WIDTH];
    for (int d = 0; d < WIDTH; d++) {
        query[d] = clip_rng_normal(&rng);
        float value = clip_rng_normal(&rng);
        whole[d] = (int16_t)(d % 2 ? 32767 : -3 * d);
        for (int i = 0; i < N; i++) {
            row[i][d] = value;
            half[i][d] = clip_bf16_round(value);
            small[i][d] = (int8_t)(d * 7 - 100);
        }
    }
    for (int kind = 0; kind < 3; kind++)
        for (int64_t n = 1; n <= N; n++) {
            if (kind == 0) clip_kernels()->scores(out, row[0], query, n, WIDTH);
            if (kind == 1) clip_kernels()->scores_bf16(out, half[0], query, n, WIDTH);
            if (kind == 2) clip_kernels()->scores_int8(out, small[0], whole, n, WIDTH);
            double expected = 0;
            for (int d = 0; d < WIDTH; d++)
                expected += kind == 0   ? (double)query[d] * (double)row[0][d]
                            : kind == 1 ? (double)query[d] * (double)clip_bf16_widen(half[0][d])
                                        : (double)whole[d] * small[0][d];
            test_close_f64("score", (double)out[0], expected, 1e-5, 1e-4);
            for (int64_t i = 1; i < n; i++) test_same_f32("place", &out[i], &out[0], 1);
        }
}

static void an_empty_index_finds_nothing(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index = random_index(0, 4, 0, 1, CLIP_INDEX_F32, false, NULL);
    struct clip_hit hit;
    const float query[4] = {1, 0, 0, 0};
    int64_t found = -1;
    test_ok(clip_index_search(&index, NULL, query, 1, &hit, &found, &error), &error);
    assert_int_equal(found, 0);
    clip_index_release(&index);
}

/* Rows that are no numbers (from a damaged file) are never found, and disturb no others. */
static void rows_that_are_no_numbers_are_passed_over(void **state)
{
    (void)state;
    struct clip_error error;
    const float rows[] = {NAN, 0, 1, 0, INFINITY, 0, 0, 1, -INFINITY, 1}, query[] = {1, 0};
    const char *names[] = {"a", "b", "c", "d", "e"};
    struct clip_index index = {.dim = 2};
    struct clip_hit hits[5];
    int64_t found;
    const struct clip_index_rows all = {.count = 5, .rows = rows, .names = names};
    test_ok(clip_index_add(&index, &all, &error), &error);
    test_ok(clip_index_search(&index, NULL, query, 5, hits, &found, &error), &error);
    assert_int_equal(hits[found - 2].number, 1);
    assert_int_equal(hits[found - 1].number, 3);
    for (int64_t i = 0; i < found; i++) assert_false(isnan(hits[i].score));
    clip_index_release(&index);
}

/* ---- precisions and filters ---- */

/* The share of the ten best by f32 that another index finds, over some queries. */
static double recall_at_10(enum clip_index_precision precision, bool exact)
{
    enum { N = 20000, DIM = 64, QUERIES = 20 };
    struct clip_error error;
    struct clip_index full = random_index(N, DIM, 0, 5, CLIP_INDEX_F32, false, NULL);
    struct clip_index other = random_index(N, DIM, 0, 5, precision, exact, NULL);
    struct clip_rng rng = clip_rng_at(6, CLIP_RNG_TEST, 0, 0);
    int same = 0;
    for (int q = 0; q < QUERIES; q++) {
        float query[DIM];
        struct clip_hit a[10], b[10];
        int64_t found;
        for (int d = 0; d < DIM; d++) query[d] = clip_rng_normal(&rng);
        clip_rows_normalise(query, 1, DIM);
        test_ok(clip_index_search(&full, NULL, query, 10, a, &found, &error), &error);
        test_ok(clip_index_search(&other, NULL, query, 10, b, &found, &error), &error);
        assert_int_equal(found, 10);
        for (int i = 0; i < 10; i++)
            for (int j = 0; j < 10; j++) {
                if (a[i].number != b[j].number) continue;
                same++;
                if (exact)
                    test_same_f32("score", &b[j].score, &a[i].score, 1);
                else
                    test_close_f64("score", (double)b[j].score, (double)a[i].score, 0, 4e-3);
            }
    }
    clip_index_release(&full);
    clip_index_release(&other);
    return same / (10.0 * QUERIES);
}

static void small_rows_find_nearly_all_and_kept_rows_all(void **state)
{
    (void)state;
    test_close_f64("int8 with f32 rows", recall_at_10(CLIP_INDEX_INT8, true), 1, 0, 0);
    test_close_f64("bf16 with f32 rows", recall_at_10(CLIP_INDEX_BF16, true), 1, 0, 0);
    double int8 = recall_at_10(CLIP_INDEX_INT8, false), bf16 = recall_at_10(CLIP_INDEX_BF16, false);
    printf("recall@10: int8 %.3f, bf16 %.3f\n", int8, bf16);
    assert_true(int8 > 0.9 && bf16 > 0.97);
    assert_true(int8 < 1); /* else this tests nothing */
}

static void small_rows_are_rounded_to_nearest(void **state)
{
    (void)state;
    struct clip_error error;
    const float rows[] = {0.5f, -1, 0.25f, 0.00393f, 0, 0, 0, 0};
    const char *names[] = {"a", "zeros"};
    const struct clip_index_rows all = {.count = 2, .rows = rows, .names = names};
    struct clip_index index = {.dim = 4, .precision = CLIP_INDEX_INT8};
    float out[4];
    test_ok(clip_index_add(&index, &all, &error), &error);
    const int8_t expected[] = {64, -127, 32, 0, 0, 0, 0, 0}; /* 63.5 to the even one */
    assert_memory_equal(index.segments[0].rows, expected, sizeof expected);
    clip_index_row(&index, 0, out);
    test_close("widened", out, rows, 4, 0, 0.5 / 127);
    clip_index_row(&index, 1, out);
    test_same_f32("zeros", out, rows + 4, 4);
    clip_index_release(&index);
}

static void a_filter_leaves_only_a_folder(void **state)
{
    (void)state;
    struct clip_error error;
    float *rows;
    struct clip_index index = random_index(1500, 8, 0, 4, CLIP_INDEX_F32, false, &rows);
    const char *folders[] = {"odd/", "none"}, *part[] = {"od"};
    struct clip_search_filter filter;
    struct clip_hit *hits = calloc(1500, sizeof *hits);
    int64_t found;
    index.segments[0].removed[1] = true;
    test_ok(clip_search_filter_make(&filter, &index, folders, 2, &error), &error);
    assert_int_equal(filter.count, 749);
    test_ok(clip_index_search(&index, &filter, rows, 1500, hits, &found, &error), &error);
    assert_int_equal(found, 749);
    for (int64_t i = 0; i < found; i++) assert_int_equal(hits[i].number % 2, 1);
    clip_search_filter_release(&filter);
    test_ok(clip_search_filter_make(&filter, &index, part, 1, &error), &error);
    assert_int_equal(filter.count, 0);
    clip_search_filter_release(&filter);
    free(hits);
    free(rows);
    clip_index_release(&index);
}

/* ---- queries ---- */

/* An index of the unit vectors 0, 1 and 2, and a model that was opened for texts alone. */
static void open_unit_vectors(struct clip_index *index, struct clip_model_file **file,
                              struct clip_embedder **e)
{
    struct clip_error error;
    static const char *const names[] = {"0", "1", "2"};
    static const int64_t zeros[3];
    *file = small_model(1);
    (*file)->towers = CLIP_TOWERS_TEXT;
    test_ok(clip_embedder_create(e, *file, NULL, &error), &error);
    int64_t dim = clip_embedder_dim(*e);
    float *rows = calloc((size_t)(3 * dim), sizeof *rows);
    for (int64_t i = 0; i < 3; i++) rows[i * dim + i] = 1;
    const struct clip_index_rows segment = {3, rows, names, zeros, zeros, zeros};
    *index = (struct clip_index){.dim = dim};
    test_ok(clip_index_add(index, &segment, &error), &error);
    free(rows);
}

/* Row k of the index, times[k] times; a negative number looks away from it. */
static void add_rows(struct clip_query *query, const int *times)
{
    struct clip_error error;
    for (int64_t k = 0; k < 3; k++)
        for (int i = 0; i < abs(times[k]); i++)
            test_ok(clip_query_add_row(query, k, times[k] < 0, &error), &error);
}

static void queries_add_up(void **state)
{
    (void)state;
    static const struct {
        int times[3];
        float expected[3];
    } cases[] = {
        {{1, 2, -2}, {1.0f / 3, 2.0f / 3, -2.0f / 3}},
        {{1, 0, 0}, {1, 0, 0}},
        {{0, 0, -1}, {0, 0, -1}},
    };
    struct clip_error error;
    struct clip_index index;
    struct clip_model_file *file;
    struct clip_embedder *e;
    open_unit_vectors(&index, &file, &e);
    float *out = calloc((size_t)index.dim, sizeof *out);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_query query = {0};
        add_rows(&query, cases[i].times);
        test_ok(clip_query_resolve(&query, e, &index, out, &error), &error);
        test_close("sum", out, cases[i].expected, 3, 0, i == 0 ? 1e-7 : 0);
        for (int64_t d = 3; d < index.dim; d++) assert_true(out[d] == 0);
        clip_query_release(&query);
    }
    struct clip_query query = {0};
    test_fails(clip_query_resolve(&query, e, &index, out, &error), &error, CLIP_ERR_USAGE,
               "the query is empty");
    add_rows(&query, (const int[]){0, 1, 0});
    add_rows(&query, (const int[]){0, -1, 0});
    test_fails(clip_query_resolve(&query, e, &index, out, &error), &error, CLIP_ERR_DATA, "cancel");
    clip_query_release(&query);
    free(out);
    clip_index_release(&index);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* Texts, rows and images, in whatever order they came, are one sum: normalise(0.5 text - row 7
 * - file + bytes). */
static void a_query_is_the_same_in_any_order(void **state)
{
    (void)state;
    enum { TEXT, ROW, FILE_, BYTES, TERMS };
    static const int orders[][TERMS] = {
        {TEXT, ROW, FILE_, BYTES}, {FILE_, ROW, TEXT, BYTES}, {FILE_, BYTES, ROW, TEXT}};
    static const double weights[TERMS] = {0.5, -1, -1, 1};
    struct clip_error error;
    struct clip_model_file *file = small_model(1);
    struct clip_embedder *e;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    int64_t dim = clip_embedder_dim(e);
    float *rows = calloc((size_t)(TERMS * dim), sizeof *rows);
    float *expected = calloc((size_t)dim, sizeof *expected);
    float *out = calloc((size_t)dim, sizeof *out);
    const char *folder = test_folder(), *text = "a red circle";
    small_image(folder, "a.png", 40, 30, 1);
    small_image(folder, "b.png", 30, 40, 2);
    const char *path = test_path(folder, "a.png");
    char written[4096];
    struct clip_buffer bytes;
    test_ok(clip_file_read(test_path(folder, "b.png"), 1 << 20, &bytes, &error), &error);
    const struct clip_image_source images[] = {{.path = path},
                                               {.bytes = bytes.data, .size = bytes.size}};
    for (int64_t d = 0; d < dim; d++) rows[ROW * dim + d] = (float)(d % 5) - 2;
    clip_rows_normalise(rows + ROW * dim, 1, dim);
    static const int64_t zero;
    static const char *const name = "0";
    const struct clip_index_rows segment = {1, rows + ROW * dim, &name, &zero, &zero, &zero};
    struct clip_index index = {.dim = dim};
    test_ok(clip_index_add(&index, &segment, &error), &error);
    test_ok(clip_embedder_texts(e, &text, 1, CLIP_UNIT, rows, NULL, &error), &error);
    test_ok(clip_embedder_images(e, images, 2, CLIP_UNIT, rows + FILE_ * dim, NULL, &error),
            &error);
    for (int64_t d = 0; d < dim; d++) {
        double sum = 0;
        for (int t = 0; t < TERMS; t++) sum += weights[t] * (double)rows[t * dim + d];
        expected[d] = (float)sum;
    }
    clip_rows_normalise(expected, 1, dim);
    snprintf(written, sizeof written, "%s::1", path);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        struct clip_query query = {0};
        for (int k = 0; k < TERMS; k++) {
            int term = orders[i][k];
            test_ok(term == TEXT  ? clip_query_add_text(&query, "a red circle::0.5", false, &error)
                    : term == ROW ? clip_query_add_row(&query, 0, true, &error)
                    : term == FILE_ ? clip_query_add_file(&query, written, true, &error)
                                    : clip_query_add_bytes(&query, bytes.data, bytes.size, &error),
                    &error);
        }
        test_ok(clip_query_resolve(&query, e, &index, out, &error), &error);
        test_same_f32("query", out, expected, dim);
        clip_query_release(&query);
    }
    clip_buffer_release(&bytes);
    clip_index_release(&index);
    clip_embedder_free(e);
    clip_model_file_free(file);
    free(rows);
    free(expected);
    free(out);
}

/* A query asks only the towers that its terms need. */
static void words_need_no_image_tower(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_index index;
    struct clip_model_file *file;
    struct clip_embedder *e;
    open_unit_vectors(&index, &file, &e);
    float *out = calloc((size_t)index.dim, sizeof *out);
    struct clip_query query = {0};
    test_ok(clip_query_add_text(&query, "a dog", false, &error), &error);
    test_ok(clip_query_resolve(&query, e, &index, out, &error), &error);
    test_ok(clip_query_add_file(&query, "none.png", false, &error), &error);
    test_fails(clip_query_resolve(&query, e, &index, out, &error), &error, CLIP_ERR_USAGE,
               "texts alone");
    clip_query_release(&query);
    free(out);
    clip_index_release(&index);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void weights_stand_behind_two_colons(void **state)
{
    (void)state;
    const struct {
        const char *written, *text;
        double weight;
    } cases[] = {
        {"snow", "snow", 1},           {"snow::0.5", "snow", 0.5}, {"a::b", "a::b", 1},
        {"a::b::-2", "a::b", -2},      {"snow::", "snow::", 1},    {"snow::1x", "snow::1x", 1},
        {"snow::nan", "snow::nan", 1}, {"x::1e9", "x::1e9", 1},    {"::3", "", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_error error;
        struct clip_query query = {0};
        test_ok(clip_query_add_text(&query, cases[i].written, false, &error), &error);
        test_ok(clip_query_add_text(&query, cases[i].written, true, &error), &error);
        test_ok(clip_query_add_file(&query, cases[i].written, false, &error), &error);
        assert_int_equal(query.count, 3);
        for (int k = 0; k < 3; k++) {
            assert_string_equal(query.terms[k].text, cases[i].text);
            test_close_f64(cases[i].written, query.terms[k].weight,
                           k == 1 ? -cases[i].weight : cases[i].weight, 0, 0);
        }
        clip_query_release(&query);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_is_exact),
        cmocka_unit_test(removed_rows_are_not_found),
        cmocka_unit_test(equal_scores_come_in_order_of_number),
        cmocka_unit_test(search_does_not_depend_on_threads),
        cmocka_unit_test(a_score_does_not_depend_on_the_place),
        cmocka_unit_test(an_empty_index_finds_nothing),
        cmocka_unit_test(rows_that_are_no_numbers_are_passed_over),
        cmocka_unit_test(small_rows_find_nearly_all_and_kept_rows_all),
        cmocka_unit_test(small_rows_are_rounded_to_nearest),
        cmocka_unit_test(a_filter_leaves_only_a_folder),
        cmocka_unit_test(queries_add_up),
        cmocka_unit_test(a_query_is_the_same_in_any_order),
        cmocka_unit_test(words_need_no_image_tower),
        cmocka_unit_test(weights_stand_behind_two_colons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
