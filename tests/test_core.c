/* core/: errors, memory, random numbers, threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/choice.h"
#include "core/count.h"
#include "core/escape.h"
#include "core/json.h"
#include "core/markup.h"
#include "core/rng.h"
#include "core/threads.h"
#include "tests/support.h"

/* ---- words ---- */

static void one_of_a_thing_has_no_ending(void **state)
{
    (void)state;
    assert_string_equal(CLIP_COUNT(1, "image"), "1 image");
    assert_string_equal(CLIP_COUNT(0, "image"), "0 images");
    assert_string_equal(CLIP_COUNT(2, "bad sample"), "2 bad samples");
    assert_string_equal(CLIP_COUNT(-1, "class"), "-1 classes");
    assert_string_equal(CLIP_COUNT(1, "class"), "1 class");
    assert_string_equal(CLIP_COUNT(3, "entry"), "3 entries");
    assert_string_equal(CLIP_COUNT(3, "key"), "3 keys");
    assert_string_equal(CLIP_COUNT(3, "mix"), "3 mixes");
    assert_string_equal(CLIP_COUNT(1, "image or batch"), "1 image or batch");
    assert_string_equal(CLIP_COUNT(3, "image or batch"), "3 images or batches");
    assert_string_equal(clip_counted_name(&(struct clip_counted){{0}}, 2, "text"), "texts");
    assert_string_equal(clip_counted_word(1, "was", "were"), "was");
    assert_string_equal(clip_counted_word(0, "was", "were"), "were");
}

static void escapes(const char *text, const char *expected)
{
    char out[256], again[256];
    assert_int_equal(clip_escape(out, sizeof out, text), strlen(text));
    assert_string_equal(out, expected);
    clip_escape(again, sizeof again, out);
    assert_string_equal(again, expected); /* twice is once */
}

static void controls_are_spelled(void **state)
{
    (void)state;
    escapes("", "");
    escapes("a b.png", "a b.png");
    escapes("C:\\new\\x1b", "C:\\new\\x1b");
    escapes("\033[31m", "\\x1b[31m");
    escapes("a\nb\tc\rd\a\177", "a\\nb\\tc\\rd\\x07\\x7f");
    escapes("gr\u00f6\u00dfer \u4e2d\u6587 \U0001f642", "gr\u00f6\u00dfer \u4e2d\u6587 \U0001f642");
    escapes("\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u0080\\u009b\\u009f\xc2\xa0"); /* C1 */
    escapes("\u202a\u202e\u2066\u2069\u200e\u200f\u061c",                         /* Bidi_Control */
            "\\u202a\\u202e\\u2066\\u2069\\u200e\\u200f\\u061c");
    escapes("\u2028\u2029\u200d", "\\u2028\\u2029\u200d"); /* lines; what joins emoji stays */
    escapes("\x9b\xff\xc3", "\\x9b\\xff\\xc3");            /* not UTF-8, and cut */
    escapes("\xc0\x9b\xe0\x82\x9b\xed\xa0\x80",            /* overlong, a surrogate */
            "\\xc0\\x9b\\xe0\\x82\\x9b\\xed\\xa0\\x80");
    escapes("\xf4\x8f\xbf\xbf\xf4\x90\x80\x80", "\xf4\x8f\xbf\xbf\\xf4\\x90\\x80\\x80");
}

static void spelling_takes_what_fits(void **state)
{
    (void)state;
    char out[8];
    const char *text = "ab\033\033";
    assert_int_equal(clip_escape(out, sizeof out, text), 3);
    assert_string_equal(out, "ab\\x1b");
    assert_int_equal(clip_escape(out, 3, "a\u00f6"), 1); /* no half of a character */
    assert_string_equal(out, "a");
    assert_int_equal(clip_escape(out, 1, "a"), 0);
    assert_string_equal(out, "");
}

static void messages_spell_names(void **state)
{
    (void)state;
    struct clip_error error;
    clip_fail(&error, CLIP_ERR_IO, "%s is missing", "a\033[2J\n.png");
    assert_string_equal(error.message, "a\\x1b[2J\\n.png is missing");
    clip_error_prefix(&error, "%s", "\b.csv");
    assert_string_equal(error.message, "\\x08.csv: a\\x1b[2J\\n.png is missing");
}

/* ---- status ---- */

static void error_is_one_sentence_with_its_status(void **state)
{
    (void)state;
    struct clip_error error;
    assert_int_equal(clip_fail(&error, CLIP_ERR_DATA, "%s:%d: no", "a.csv", 3), CLIP_ERR_DATA);
    assert_string_equal(error.message, "a.csv:3: no");
    assert_int_equal(clip_error_prefix(&error, "runs/%d", 7), CLIP_ERR_DATA);
    assert_string_equal(error.message, "runs/7: a.csv:3: no");
    clip_fail(&error, CLIP_ERR_IO, "again: %s", error.message); /* its own message as argument */
    assert_string_equal(error.message, "again: runs/7: a.csv:3: no");
}

static void long_error_is_cut_between_characters(void **state)
{
    (void)state;
    struct clip_error error;
    char text[3001] = "x";
    for (int i = 0; i < 999; i++) memcpy(text + 1 + 3 * i, "\xE7\x8C\xAB", 3);
    clip_fail(&error, CLIP_ERR_DATA, "%s", text);
    size_t n = strlen(error.message);
    assert_int_equal(n, 1 + 3 * ((sizeof error.message - 2) / 3));
    assert_memory_equal(error.message + n - 3, "\xE7\x8C\xAB", 3);
    clip_error_prefix(&error, "prefix");
    assert_memory_equal(error.message, "prefix: x", 9);
}

/* ---- choices ---- */

static const char *size_name(int size)
{
    static const char *const names[] = {"small", "smaller", "large"};
    return CLIP_NAME_OF(names, size);
}

static void a_choice_is_a_whole_word(void **state)
{
    (void)state;
    char all[32], few[12];
    assert_string_equal(size_name(1), "smaller");
    assert_null(size_name(-1));
    assert_null(size_name(3));
    assert_int_equal(clip_choice_find(size_name, "small"), 0);
    assert_int_equal(clip_choice_find(size_name, "smaller"), 1);
    assert_int_equal(clip_choice_find(size_name, "large"), 2);
    static const char *const none[] = {"", "smal", "smallest", "Small", "small|smaller", "large "};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(clip_choice_find(size_name, none[i]), -1);
    assert_string_equal(clip_choice_list(size_name, "|", all, sizeof all), "small|smaller|large");
    assert_string_equal(clip_choice_list(size_name, ", ", few, sizeof few), "small, smal");
}

/* ---- memory ---- */

static void products_and_arrays_are_checked(void **state)
{
    (void)state;
    struct clip_error error;
    int64_t product;
    size_t size;
    assert_true(clip_mul_i64(1 << 20, 1 << 20, &product) && product == INT64_C(1) << 40);
    assert_false(clip_mul_i64(INT64_C(1) << 40, INT64_C(1) << 40, &product));
    assert_false(clip_mul_i64(INT64_MIN, -1, &product));
    assert_false(clip_mul_size(SIZE_MAX / 2, 3, &size));
    assert_null(clip_array_new(-1, 4, &error));
    assert_int_equal(error.status, CLIP_ERR_MEMORY);
    assert_null(clip_array_new(INT64_MAX, 16, &error));
    void *none = clip_array_new(0, 4, &error);
    assert_non_null(none);
    free(none);
    int32_t *array = clip_array_new(1001, sizeof *array, &error);
    assert_non_null(array);
    assert_int_equal((uintptr_t)array % 64, 0);
    for (int i = 0; i < 1001; i++) assert_int_equal(array[i], 0);
    free(array);
}

static void array_grows_zeroed_and_keeps(void **state)
{
    (void)state;
    struct clip_error error;
    int64_t *array = NULL, capacity = 0;
    for (int64_t i = 0; i < 1000; i++) {
        test_ok(clip_array_grow(&array, &capacity, i + 1, sizeof *array, &error), &error);
        assert_int_equal(array[i], 0);
        array[i] = i * i;
    }
    assert_true(capacity >= 1000 && capacity < 3000);
    for (int64_t i = 0; i < 1000; i++) assert_int_equal(array[i], i * i);
    int64_t *before = array;
    test_fails(clip_array_grow(&array, &capacity, INT64_MAX, sizeof *array, &error), &error,
               CLIP_ERR_MEMORY, "more than memory");
    assert_ptr_equal(array, before);
    free(array);
}

static void buffer_appends_and_stays_terminated(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer buffer = {0};
    for (int i = 0; i < 500; i++) {
        test_ok(clip_buffer_append(&buffer, "a\0b", 3, &error), &error);
        test_ok(clip_buffer_printf(&buffer, &error, "%03d", i), &error);
        assert_int_equal(buffer.data[buffer.size], 0);
    }
    assert_int_equal(buffer.size, 3000);
    assert_memory_equal(buffer.data + 2994, "a\0b499", 6);
    test_fails(clip_buffer_reserve(&buffer, SIZE_MAX, &error), &error, CLIP_ERR_MEMORY, "memory");
    clip_buffer_release(&buffer);
    assert_null(buffer.data);
    test_ok(clip_buffer_append(&buffer, NULL, 0, &error), &error);
    assert_string_equal(buffer.data, "");
    clip_buffer_release(&buffer);
}

static void arena_pieces_are_apart_aligned_and_zeroed(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_arena arena = {0};
    unsigned char *pieces[300];
    int64_t sizes[300];
    for (int i = 0; i < 300; i++) {
        sizes[i] = i % 50 == 49 ? 100000 : i * 7 % 997;
        pieces[i] = clip_arena_alloc(&arena, sizes[i], 1, &error);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (int64_t k = 0; k < sizes[i]; k++) assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], i + 1, (size_t)sizes[i]);
    }
    for (int i = 0; i < 300; i++)
        for (int64_t k = 0; k < sizes[i]; k++)
            assert_int_equal(pieces[i][k], (unsigned char)(i + 1));
    assert_string_equal(clip_arena_string(&arena, "caption!", 7, &error), "caption");
    assert_null(clip_arena_alloc(&arena, INT64_MAX, 8, &error));
    assert_null(clip_arena_alloc(&arena, -5, 8, &error));
    clip_arena_release(&arena);
    assert_null(arena.first);
}

/* ---- random numbers ---- */

/* The vectors published with the paper's code (Random123, kat_vectors: philox4x32 10). */
static void philox_meets_the_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        clip_philox(out, known[i].counter, known[i].key);
        assert_memory_equal(out, known[i].expected, sizeof out);
    }
}

static void streams_differ_in_every_part_of_their_key(void **state)
{
    (void)state;
    struct clip_rng streams[] = {
        clip_rng_at(1, CLIP_RNG_TEST, 2, 3),
        clip_rng_at(2, CLIP_RNG_TEST, 2, 3),
        clip_rng_at(1 + (UINT64_C(1) << 32), CLIP_RNG_TEST, 2, 3),
        clip_rng_at(1, CLIP_RNG_AUGMENT, 2, 3),
        clip_rng_at(1, CLIP_RNG_TEST, 3, 3),
        clip_rng_at(1, CLIP_RNG_TEST, 2, 4),
        clip_rng_at(1, CLIP_RNG_TEST, 2, 3 + (UINT64_C(1) << 32)),
    };
    enum { N = sizeof streams / sizeof *streams };
    uint32_t first[N][8];
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 8; k++) first[i][k] = clip_rng_u32(&streams[i]);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++) assert_memory_not_equal(first[i], first[j], sizeof first[i]);
    struct clip_rng again = clip_rng_at(1, CLIP_RNG_TEST, 2, 3);
    for (int k = 0; k < 8; k++) assert_int_equal(clip_rng_u32(&again), first[0][k]);
}

/* Chi-squared with 6 degrees of freedom: above 27.9 in one of 10,000 fair runs; and this run is
 * always the same. */
static void below_is_uniform(void **state)
{
    (void)state;
    struct clip_rng rng = clip_rng_at(5, CLIP_RNG_TEST, 0, 1);
    enum { N = 70000 };
    int64_t counts[7] = {0};
    for (int i = 0; i < N; i++) counts[clip_rng_below(&rng, 7)]++;
    double chi = 0;
    for (int i = 0; i < 7; i++) chi += pow((double)counts[i] - N / 7.0, 2) / (N / 7.0);
    assert_true(chi < 27.9);
    /* n = 3 * 2^30: by taking the remainder of 32 bits, the lowest third would come up half of the
     * time. Three thirds, 20,000 draws: each 6667 +- 67. */
    int64_t thirds[3] = {0};
    for (int i = 0; i < 20000; i++) {
        uint32_t draw = clip_rng_below(&rng, 3u << 30);
        assert_true(draw < 3u << 30);
        thirds[draw >> 30]++;
    }
    for (int i = 0; i < 3; i++) assert_in_range(thirds[i], 6667 - 300, 6667 + 300);
    for (int i = 0; i < 100; i++) assert_int_equal(clip_rng_below(&rng, 1), 0);
}

static void uniform_and_normal_have_their_moments(void **state)
{
    (void)state;
    struct clip_rng rng = clip_rng_at(5, CLIP_RNG_TEST, 0, 2);
    enum { N = 200000 };
    double mean = 0, square = 0, fourth = 0, uniform = 0, range = 0;
    for (int i = 0; i < N; i++) {
        double x = (double)clip_rng_normal(&rng), u = clip_rng_range(&rng, 0, 1);
        double r = clip_rng_range(&rng, -3, 5);
        assert_true(u >= 0 && u < 1 && r >= -3 && r < 5 && fabs(x) < 7);
        mean += x / N;
        square += x * x / N;
        fourth += x * x * x * x / N;
        uniform += u / N;
        range += r / N;
    }
    /* Five standard errors each: 1, sqrt 2, sqrt 96, 1/sqrt 12, 8/sqrt 12, over sqrt N. */
    test_close_f64("mean of normal", mean, 0, 0, 5 / sqrt(N));
    test_close_f64("variance of normal", square, 1, 0, 5 * sqrt(2) / sqrt(N));
    test_close_f64("fourth moment of normal", fourth, 3, 0, 5 * sqrt(96) / sqrt(N));
    test_close_f64("mean of uniform", uniform, 0.5, 0, 5 / sqrt(12.0 * N));
    test_close_f64("mean of range", range, 1, 0, 5 * 8 / sqrt(12.0 * N));
}

static void shuffle_is_a_fair_permutation(void **state)
{
    (void)state;
    struct clip_rng rng = clip_rng_at(5, CLIP_RNG_TEST, 0, 3);
    enum { N = 1000 };
    int64_t items[N];
    bool seen[N] = {false};
    int64_t fixed = 0;
    for (int64_t i = 0; i < N; i++) items[i] = i;
    clip_rng_shuffle(&rng, items, N);
    for (int64_t i = 0; i < N; i++) {
        assert_in_range(items[i], 0, N - 1);
        assert_false(seen[items[i]]);
        seen[items[i]] = true;
        fixed += items[i] == i;
    }
    assert_true(fixed < 10); /* one on average */
    int64_t orders[6] = {0};
    for (int i = 0; i < 12000; i++) {
        int64_t three[3] = {0, 1, 2};
        clip_rng_shuffle(&rng, three, 3);
        orders[three[0] * 2 + (three[1] > three[2])]++;
    }
    for (int i = 0; i < 6; i++) assert_in_range(orders[i], 2000 - 200, 2000 + 200);
    clip_rng_shuffle(&rng, items, 0);
    clip_rng_shuffle(&rng, items, 1);
}

/* ---- threads ---- */

struct visits {
    int64_t counts[5000];
    int most_threads;
};

static void visit(void *context, int64_t i)
{
    struct visits *visits = context;
    int thread = clip_thread_number();
    assert_true(thread >= 0 && thread < clip_threads_count());
    visits->counts[i]++;
}

static void visit_nested(void *context, int64_t i)
{
    struct visits *visits = (struct visits *)context + i;
    clip_parallel_for(100, visit, visits);
}

static void every_index_is_visited_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 31, 5000};
    for (int threads = 1; threads <= 4; threads++) {
        clip_threads_set(threads);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct visits visits = {{0}, 0};
            clip_parallel_for(sizes[s], visit, &visits);
            for (int64_t i = 0; i < 5000; i++) assert_int_equal(visits.counts[i], i < sizes[s]);
        }
        struct visits *nested = calloc(8, sizeof *nested);
        assert_non_null(nested);
        clip_parallel_for(8, visit_nested, nested);
        for (int k = 0; k < 8; k++)
            for (int64_t i = 0; i < 5000; i++) assert_int_equal(nested[k].counts[i], i < 100);
        free(nested);
    }
    clip_threads_set(0);
    assert_true(clip_threads_count() >= 1);
}

/* ---- base64 ---- */

static void base64_goes_there_and_back(void **state)
{
    (void)state;
    struct clip_error error;
    char bytes[40];
    for (size_t n = 0; n < sizeof bytes; n++) {
        struct clip_buffer text = {0}, back = {0};
        bytes[n] = (char)(37 * n * n + 11);
        test_ok(clip_markup_base64(&text, bytes, n, &error), &error);
        test_ok(clip_markup_from_base64(&back, text.data, text.size, &error), &error);
        assert_int_equal(back.size, n);
        assert_memory_equal(back.data, bytes, n);
        clip_buffer_release(&text);
        clip_buffer_release(&back);
    }
    static const char *const wrong[] = {
        "a", "ab", "abc", "abcde", "ab=c", "a===", "====", "ab c", "ab\n=", "abc=abc=", "ab-_"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct clip_buffer back = {0};
        test_fails(clip_markup_from_base64(&back, wrong[i], strlen(wrong[i]), &error), &error,
                   CLIP_ERR_FORMAT, "is not base64");
        clip_buffer_release(&back);
    }
}

/* ---- JSON ---- */

static void a_wrong_json_is_one_line(void **state)
{
    (void)state;
    struct clip_error error;
    static const char text[] = "{\"a\\\n\": 1}"; /* jansson shows what is near, as it stands */
    assert_null(clip_json_parse(text, strlen(text), "a.json", &error));
    assert_non_null(strstr(error.message, "invalid escape"));
    assert_null(strchr(error.message, '\n'));
}

/* A list that could not be built is never one that is shorter. */
/* json.dumps of Python writes NaN and Infinity bare; in a text they are letters. */
static void json_as_python_writes_it(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": NaN, \"b\": [-Infinity, Infinity, 1],\n"
                               " \"NaN\": \"NaN, \\\"Infinity\"}";
    static const char *const wrong[] = {"[-NaN]", "[NaNNaN]", "[1NaN]",
                                        "[NaN",   "{NaN: 1}", "[nan]"};
    struct clip_error error;
    json_t *value = clip_json_parse(text, strlen(text), "a.json", &error);
    assert_non_null(value);
    assert_true(json_is_null(json_object_get(value, "a")));
    assert_true(json_is_null(json_array_get(json_object_get(value, "b"), 0)));
    assert_true(json_is_null(json_array_get(json_object_get(value, "b"), 1)));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(value, "b"), 2)), 1);
    assert_true(clip_json_is(value, "NaN", "NaN, \"Infinity"));
    json_decref(value);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(clip_json_parse(wrong[i], strlen(wrong[i]), "a.json", &error));
}

/* A value at the beginning of more bytes: `position` is behind it in those bytes. */
static void json_value_of_many(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [NaN, \"]}\"]}, {\"b\": 1}";
    json_error_t fault;
    json_t *value =
        clip_json_load(text, strlen(text), JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &fault);
    assert_non_null(value);
    assert_string_equal(text + fault.position, ", {\"b\": 1}");
    json_decref(value);
    value = clip_json_load("NaN, 2", 6, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &fault);
    assert_true(json_is_null(value));
    assert_int_equal(fault.position, 3);
    json_decref(value);
}

static void json_that_cannot_be_built_is_told(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer text = {0};
    json_t *list = json_array(), *object = NULL;
    test_ok(clip_json_add(list, &error, "{s:s, s:f}", "label", "a", "probability", 0.5), &error);
    test_fails(clip_json_add(list, &error, "{s:s}", "label", "\xff"), &error, CLIP_ERR_DATA,
               "UTF-8");
    test_fails(clip_json_add(NULL, &error, "i", 1), &error, CLIP_ERR_MEMORY, "memory");
    assert_int_equal(json_array_size(list), 1);
    test_ok(clip_json_pack(&object, &error, "{s:O, s:i}", "labels", list, "n", 1), &error);
    test_ok(clip_json_append(&text, object, &error), &error);
    assert_string_equal(text.data, "{\"labels\":[{\"label\":\"a\",\"probability\":0.5}],\"n\":1}");
    json_decref(object);
    object = NULL;
    test_fails(clip_json_pack(&object, &error, "{s:O, s:s}", "labels", list, "path", "\xff"),
               &error, CLIP_ERR_DATA, "UTF-8");
    test_fails(clip_json_pack(&object, &error, "{s:O}", "labels", NULL), &error, CLIP_ERR_MEMORY,
               "memory");
    json_decref(list);
    clip_buffer_release(&text);
}

#ifndef __has_feature /* gcc */
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* jansson doubles its buffer for a token, from 16 to 32 MB at last, for which there is no room. */
static void json_that_memory_is_short_for_is_refused(void **state)
{
    (void)state;
    enum { SIZE = 20000000, ROOM = 40000000 };
    struct clip_error error;
    struct rlimit before, less;
    long long pages = 0;
    if (SANITIZED) skip();               /* they take more addresses than any limit allows */
    if (getenv("UNDER") != NULL) skip(); /* valgrind tells of what jansson leaves when it is left */
    char *text = malloc(SIZE);
    assert_non_null(text);
    memset(text, 'a', SIZE);
    memcpy(text, "[\"", 2);
    memcpy(text + SIZE - 2, "\"]", 2);
    clip_json_watch_memory();
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lld", &pages), 1);
    fclose(file);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    less = before;
    less.rlim_cur = (rlim_t)(pages * sysconf(_SC_PAGESIZE) + ROOM);
    assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    json_t *value = clip_json_parse(text, SIZE, "a.json", &error);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_null(value);
    assert_int_equal(error.status, CLIP_ERR_MEMORY);
    assert_non_null(strstr(error.message, "memory is short for reading a.json"));
    value = clip_json_parse(text, SIZE, "a.json", &error);
    assert_int_equal(json_string_length(json_array_get(value, 0)), SIZE - 4);
    json_decref(value);
    json_set_alloc_funcs(malloc, free);
    free(text);
}

static int64_t allocations, failing; /* of jansson's: made, and the one that fails */

static void *malloc_that_fails_once(size_t n)
{
    return allocations++ == failing ? NULL : malloc(n);
}

/* json_dumps drops a key where its buffer cannot grow for it. */
static void json_is_dumped_whole_or_not(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer whole = {0}, text = {0};
    json_t *object = json_object();
    char key[32];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "a key of number %d", i);
        clip_json_set(&object, key, json_integer(i));
    }
    test_ok(clip_json_dump(&whole, object, JSON_INDENT(2), &error), &error);
    json_set_alloc_funcs(malloc_that_fails_once, free);
    for (failing = 0; failing < 100; failing++) {
        allocations = 0;
        text.size = 0;
        if (clip_json_dump(&text, object, JSON_INDENT(2), &error) == CLIP_OK)
            assert_string_equal(text.data, whole.data);
    }
    assert_true(allocations > 0 && allocations < 100); /* each of them failed once */
    json_set_alloc_funcs(malloc, free);
    json_decref(object);
    clip_buffer_release(&whole);
    clip_buffer_release(&text);
}

/* A name of any bytes, and a number that JSON does not know. */
static void json_of_what_json_does_not_hold(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b\xff", "\xc3\xa4"};
    json_t *list = clip_json_texts(names, 3);
    clip_json_push(&list, clip_json_number(NAN));
    clip_json_push(&list, clip_json_number(0.5));
    assert_int_equal(json_array_size(list), 5);
    assert_string_equal(json_string_value(json_array_get(list, 1)), "b?");
    assert_string_equal(json_string_value(json_array_get(list, 2)), "\xc3\xa4");
    assert_true(json_is_null(json_array_get(list, 3)));
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_are_spelled),
        cmocka_unit_test(spelling_takes_what_fits),
        cmocka_unit_test(messages_spell_names),
        cmocka_unit_test(one_of_a_thing_has_no_ending),
        cmocka_unit_test(error_is_one_sentence_with_its_status),
        cmocka_unit_test(long_error_is_cut_between_characters),
        cmocka_unit_test(a_choice_is_a_whole_word),
        cmocka_unit_test(products_and_arrays_are_checked),
        cmocka_unit_test(array_grows_zeroed_and_keeps),
        cmocka_unit_test(buffer_appends_and_stays_terminated),
        cmocka_unit_test(arena_pieces_are_apart_aligned_and_zeroed),
        cmocka_unit_test(philox_meets_the_known_answers),
        cmocka_unit_test(streams_differ_in_every_part_of_their_key),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(uniform_and_normal_have_their_moments),
        cmocka_unit_test(shuffle_is_a_fair_permutation),
        cmocka_unit_test(every_index_is_visited_once),
        cmocka_unit_test(base64_goes_there_and_back),
        cmocka_unit_test(a_wrong_json_is_one_line),
        cmocka_unit_test(json_as_python_writes_it),
        cmocka_unit_test(json_value_of_many),
        cmocka_unit_test(json_that_cannot_be_built_is_told),
        cmocka_unit_test(json_that_memory_is_short_for_is_refused),
        cmocka_unit_test(json_is_dumped_whole_or_not),
        cmocka_unit_test(json_of_what_json_does_not_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
