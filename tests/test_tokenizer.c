/* The tokenizer: the very ids of transformers and open_clip, with CLIP's vocabulary where it is
 * there and with a toy one that always is. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/threads.h"
#include "data/text/text_clean.h"
#include "data/text/tokenizer.h"
#include "tests/tokens.h"

static const char toy_path[] = "tests/reference/tokens/toy_merges.txt.gz";
static const char *const cleaning_names[2] = {"open_clip", "huggingface"};

static struct clip_tokenizer *open_tokenizer(const char *path)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    test_ok(clip_tokenizer_open(&tokenizer, path, NULL, &error), &error);
    assert_non_null(tokenizer);
    return tokenizer;
}

static struct clip_tokenizer *open_clip_vocabulary(void)
{
    const char *path = test_data("clip/bpe_simple_vocab_16e6.txt.gz");
    if (path == NULL) test_skip("CLIP's vocabulary is not there");
    return open_tokenizer(path);
}

static struct clip_tokenizer *parse(const char *text)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    test_ok(clip_tokenizer_parse(&tokenizer, text, strlen(text), "a.txt", &error), &error);
    assert_non_null(tokenizer);
    return tokenizer;
}

static struct clip_ids encode(const struct clip_tokenizer *tokenizer, const char *text,
                              enum clip_text_cleaning cleaning)
{
    struct clip_ids ids = {0};
    struct clip_error error;
    test_ok(clip_tokenizer_encode(tokenizer, text, strlen(text),
                                  &(struct clip_encode_options){cleaning}, &ids, NULL, &error),
            &error);
    return ids;
}

/* ---- Lines of JSON ---- */

static bool same_ids(const struct clip_ids *ids, const json_t *expected)
{
    if ((size_t)ids->count != json_array_size(expected)) return false;
    for (int64_t i = 0; i < ids->count; i++) {
        if (ids->ids[i] != json_integer_value(json_array_get(expected, (size_t)i))) return false;
    }
    return true;
}

/* Calls check for each line of a .jsonl file and gives the number of lines. */
static int64_t each_line(const char *path, void (*check)(const json_t *line, void *context),
                         void *context)
{
    struct clip_buffer bytes = {0};
    struct clip_error error;
    test_ok(clip_file_read(path, 64 << 20, &bytes, &error), &error);
    int64_t lines = 0;
    for (const char *at = bytes.data; *at != '\0'; lines++) {
        size_t n = strcspn(at, "\n");
        json_t *line = clip_json_parse(at, n, path, &error);
        if (line == NULL) test_fail("%s", error.message);
        check(line, context);
        json_decref(line);
        at += n + (at[n] == '\n');
    }
    clip_buffer_release(&bytes);
    return lines;
}

static const char *text_of(const json_t *line)
{
    const char *text = json_string_value(json_object_get(line, "text"));
    if (text == NULL) test_fail("a line has no text");
    return text;
}

/* The byte of a character that was decoded with Windows-1252 or Latin-1; a space may have been a
 * byte A0. 0: it is in neither. */
static int wrong_byte(int32_t point)
{
    if (point == ' ') return 0xA0;
    for (int byte = 0x80; byte < 0xA0; byte++) {
        if (clip_text_windows_1252(byte) == point) return byte;
    }
    return point >= 0x80 && point <= 0xFF ? (int)point : 0;
}

/* Whether some characters are UTF-8 read as Windows-1252: what ftfy's guess, which is not here, may
 * change. */
static bool looks_wrongly_decoded(const char *text)
{
    struct clip_points points = {0};
    struct clip_error error;
    test_ok(clip_points_decode(&points, text, strlen(text), &error), &error);
    bool found = false;
    for (int64_t i = 0; i < points.count && !found; i++) {
        int lead = points.at[i] == ' ' ? 0 : wrong_byte(points.at[i]), n = 0;
        int wanted = lead >= 0xC2 && lead < 0xE0   ? 1
                     : lead >= 0xE0 && lead < 0xF0 ? 2
                     : lead >= 0xF0 && lead < 0xF5 ? 3
                                                   : 99;
        while (i + 1 + n < points.count && n < wanted) {
            int byte = wrong_byte(points.at[i + 1 + n]);
            if (byte < 0x80 || byte > 0xBF) break;
            n++;
        }
        found = n == wanted;
    }
    clip_points_release(&points);
    return found;
}

struct comparison {
    const struct clip_tokenizer *tokenizer;
    int64_t same[2], repaired, wrong;
    bool guess_allowed; /* open_clip's ids were made with all of ftfy */
};

static void compare_line(const json_t *line, void *context)
{
    struct comparison *c = context;
    const char *text = text_of(line);
    const char *kind = json_string_value(json_object_get(line, "kind"));
    if (kind == NULL) kind = "";
    for (int cleaning = 0; cleaning < 2; cleaning++) {
        const json_t *expected = json_object_get(line, "ids");
        const json_t *other = json_object_get(line, "open_clip_ids");
        if (cleaning == CLIP_TEXT_OPEN_CLIP && other != NULL) expected = other;
        struct clip_ids ids = encode(c->tokenizer, text, cleaning);
        if (same_ids(&ids, expected)) {
            c->same[cleaning]++;
        } else if (cleaning == CLIP_TEXT_OPEN_CLIP && c->guess_allowed &&
                   (strcmp(kind, "mojibake") == 0 || looks_wrongly_decoded(text))) {
            printf("  only ftfy's repair of wrongly decoded text changes: %s\n", text);
            c->repaired++;
        } else {
            printf("  %s: other ids for: %s\n", cleaning_names[cleaning], text);
            c->wrong++;
        }
        clip_ids_release(&ids);
    }
}

static void check_comparison(const struct comparison *c, const char *path, int64_t lines)
{
    printf("  %s: %lld lines; the same: huggingface %lld, open_clip %lld; %lld need ftfy's guess\n",
           path, (long long)lines, (long long)c->same[CLIP_TEXT_HUGGINGFACE],
           (long long)c->same[CLIP_TEXT_OPEN_CLIP], (long long)c->repaired);
    assert_true(lines > 0);
    assert_int_equal(c->wrong, 0);
    assert_int_equal(c->same[CLIP_TEXT_HUGGINGFACE], lines);
    assert_int_equal(c->same[CLIP_TEXT_OPEN_CLIP] + c->repaired, lines);
    assert_true(c->repaired * 10 <= lines); /* a few lines, no more */
}

static void ids_of_clips_vocabulary(void **state)
{
    (void)state;
    const char *path = NULL;
    for (int i = 0; test_root(i) != NULL && path == NULL; i++) {
        path = test_root_file(i, "tokens/clip_tokens.jsonl");
    }
    if (path == NULL) test_skip("the large set of fixtures is not there");
    struct clip_tokenizer *tokenizer = open_clip_vocabulary();
    struct comparison c = {.tokenizer = tokenizer, .guess_allowed = true};
    check_comparison(&c, path, each_line(path, compare_line, &c));
    clip_tokenizer_free(tokenizer);
}

static void ids_of_the_toy_vocabulary(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    struct comparison c = {.tokenizer = tokenizer};
    const char *path = "tests/reference/tokens/toy_tokens.jsonl";
    check_comparison(&c, path, each_line(path, compare_line, &c));
    clip_tokenizer_free(tokenizer);
}

/* open_clip pads with 0, transformers with the end. */
static void compare_cut(const json_t *line, void *context)
{
    const struct clip_tokenizer *tokenizer = context;
    const char *text = text_of(line);
    int64_t length = json_integer_value(json_object_get(line, "context_length"));
    for (int cleaning = 0; cleaning < 2; cleaning++) {
        const json_t *expected =
            json_object_get(line, cleaning == CLIP_TEXT_OPEN_CLIP ? "open_clip" : "hf");
        struct clip_ids ids = {0};
        struct clip_error error;
        bool cut = false;
        test_ok(clip_tokenizer_encode(tokenizer, text, strlen(text),
                                      &(struct clip_encode_options){cleaning, length}, &ids, &cut,
                                      &error),
                &error);
        assert_in_range(ids.count, 1, length);
        int32_t padding = cleaning == CLIP_TEXT_OPEN_CLIP ? 0 : tokenizer->end;
        for (int64_t i = 0; i < length; i++) {
            int32_t got = i < ids.count ? ids.ids[i] : padding;
            if (got != json_integer_value(json_array_get(expected, (size_t)i))) {
                test_fail("%s: id %lld of %s is %d", cleaning_names[cleaning], (long long)i, text,
                          got);
            }
        }
        struct clip_ids whole = encode(tokenizer, text, cleaning);
        assert_int_equal(cut, whole.count > length);
        clip_ids_release(&whole);
        clip_ids_release(&ids);
    }
}

static void cut_as_clip_cuts(void **state)
{
    (void)state;
    const char *path = NULL;
    for (int i = 0; test_root(i) != NULL && path == NULL; i++) {
        path = test_root_file(i, "tokens/truncation.jsonl");
    }
    if (path == NULL) test_skip("the large set of fixtures is not there");
    struct clip_tokenizer *tokenizer = open_clip_vocabulary();
    assert_true(each_line(path, compare_cut, tokenizer) > 0);
    clip_tokenizer_free(tokenizer);
}

/* ---- Encoding ---- */

static void cut_to_few(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    struct clip_ids ids = {0};
    struct clip_error error;
    struct clip_ids whole = encode(tokenizer, "a cat", CLIP_TEXT_OPEN_CLIP);
    assert_int_equal(whole.ids[0], tokenizer->start);
    assert_int_equal(whole.ids[whole.count - 1], tokenizer->end);
    for (int64_t length = 1; length <= whole.count + 1; length++) {
        bool cut = false;
        int64_t before = ids.count; /* what is there stays: batches are packed */
        test_ok(clip_tokenizer_encode(tokenizer, "a cat", 5,
                                      &(struct clip_encode_options){CLIP_TEXT_OPEN_CLIP, length},
                                      &ids, &cut, &error),
                &error);
        int64_t n = length < whole.count ? length : whole.count;
        assert_int_equal(ids.count, before + n);
        assert_int_equal(cut, length < whole.count);
        test_same_i32("ids", ids.ids + before, whole.ids, n - 1);
        assert_int_equal(ids.ids[ids.count - 1], tokenizer->end);
    }
    clip_ids_release(&ids);
    clip_ids_release(&whole);
    clip_tokenizer_free(tokenizer);
}

static void text_that_cannot_be_read(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    const char *const texts[] = {"ab\xFF", "ab\xFF<|endoftext|>", "\xC3\xA9\xE4<|endoftext|>b"};
    struct clip_ids ids = {0};
    struct clip_error error;
    for (int cleaning = 0; cleaning < 2; cleaning++) {
        for (size_t i = 0; i < 3; i++) {
            test_fails(clip_tokenizer_encode(tokenizer, texts[i], strlen(texts[i]),
                                             &(struct clip_encode_options){cleaning}, &ids, NULL,
                                             &error),
                       &error, CLIP_ERR_DATA, "not UTF-8 at byte 2");
            assert_int_equal(ids.count, 0);
        }
    }
    const char late[] = "a<|endoftext|>b\xFF";
    test_fails(clip_tokenizer_encode(tokenizer, late, strlen(late),
                                     &(struct clip_encode_options){CLIP_TEXT_HUGGINGFACE}, &ids,
                                     NULL, &error),
               &error, CLIP_ERR_DATA, "byte 15");
    assert_int_equal(ids.count, 0);
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
}

static void nothing_but_the_ends(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    const char *const texts[] = {"", " ", "\t\n \xC2\xA0\xE3\x80\x80"};
    for (int cleaning = 0; cleaning < 2; cleaning++) {
        for (size_t i = 0; i < 3; i++) {
            struct clip_ids ids = encode(tokenizer, texts[i], cleaning);
            assert_int_equal(ids.count, 2);
            clip_ids_release(&ids);
        }
    }
    clip_tokenizer_free(tokenizer);
}

static void decodes_what_it_encoded(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    const char *const texts[] = {"a red cat , on the table ! ", "\xE5\x9C\xA8\xE9\x9B\xAA ",
                                 ("stra\xC3\x9F"
                                  "e \xF0\x9F\x98\x80 "),
                                 "\x01 ", ""};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct clip_ids ids = encode(tokenizer, texts[i], CLIP_TEXT_HUGGINGFACE);
        struct clip_buffer out = {0};
        test_decode(tokenizer, ids.ids, ids.count, &out);
        assert_string_equal(out.size > 0 ? out.data : "", texts[i]);
        clip_buffer_release(&out);
        clip_ids_release(&ids);
    }
    clip_tokenizer_free(tokenizer);
}

/* The lowest merge goes first everywhere, from left to right; then the next. */
static void merges_in_order(void **state)
{
    (void)state;
    const char *text = "#version: t\na a\naa a</w>\nb aa\nc c</w>\nc c";
    struct clip_tokenizer *tokenizer = parse(text);
    assert_int_equal(tokenizer->vocab_size, 512 + 5 + 2);
    int32_t a = 'a' - '!', a_end = a + 256, aa = 512, aaa_end = 513, baa = 514, cc_end = 515;
    const struct {
        const char *text;
        int32_t ids[6];
        int n;
    } cases[] = {
        {"a", {a_end}, 1},
        {"aa", {a, a_end}, 2},
        {"aaa", {aaa_end}, 1},
        {"aaaa", {aa, a, a_end}, 3},
        {"aaaaa", {aa, aaa_end}, 2},
        {"baaa", {'b' - '!', aaa_end}, 2},
        {"baab", {baa, 'b' - '!' + 256}, 2},
        {"ccc", {'c' - '!', cc_end}, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct clip_ids ids = encode(tokenizer, cases[i].text, CLIP_TEXT_OPEN_CLIP);
        assert_int_equal(ids.count, cases[i].n + 2);
        test_same_i32(cases[i].text, ids.ids + 1, cases[i].ids, cases[i].n);
        clip_ids_release(&ids);
    }
    clip_tokenizer_free(tokenizer);
}

/* Two merges that make the same text: the id is the later one's, for both. */
static void later_of_equal_symbols(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer =
        parse("#version: t\na b\nb c</w>\nab c</w>\na bc</w>\nx a\nd abc</w>");
    struct clip_ids ids = encode(tokenizer, "abc xabc dabc", CLIP_TEXT_OPEN_CLIP);
    const int32_t expected[] = {515, 'x' - '!', 515, 517};
    assert_int_equal(ids.count, 6);
    test_same_i32("ids", ids.ids + 1, expected, 4);
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
}

static void long_words(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    const char *const units[] = {"a", "!", "\xE7\x8C\xAB", "the", "<", "\xCC\x87"};
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        struct clip_buffer text = {0}, back = {0};
        struct clip_error error;
        while (text.size < 300000) {
            test_ok(clip_buffer_append(&text, units[u], strlen(units[u]), &error), &error);
        }
        for (int cleaning = 0; cleaning < 2; cleaning++) {
            struct clip_ids ids = encode(tokenizer, text.data, cleaning);
            back.size = 0;
            test_decode(tokenizer, ids.ids, ids.count, &back);
            assert_int_equal(back.size, text.size + 1);
            assert_memory_equal(back.data, text.data, text.size);
            clip_ids_release(&ids);
        }
        clip_buffer_release(&text);
        clip_buffer_release(&back);
    }
    clip_tokenizer_free(tokenizer);
}

enum { THREAD_TEXTS = 64 };
struct threaded {
    const struct clip_tokenizer *tokenizer;
    struct clip_ids ids[THREAD_TEXTS];
    clip_status status[THREAD_TEXTS];
};

static void encode_numbered(void *context, int64_t i)
{
    struct threaded *t = context;
    struct clip_error error;
    char text[96];
    int n = snprintf(text, sizeof text, "the %lld red cats \xE7\x8C\xAB &amp; the harbour %lld",
                     (long long)i % 8, (long long)i % 8);
    t->status[i] = clip_tokenizer_encode(t->tokenizer, text, (size_t)n,
                                         &(struct clip_encode_options){i % 8 < 4}, &t->ids[i], NULL,
                                         &error);
}

static void threads_share_one(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_tokenizer(toy_path);
    struct threaded t = {.tokenizer = tokenizer};
    clip_threads_set(4);
    clip_parallel_for(THREAD_TEXTS, encode_numbered, &t);
    clip_threads_set(0);
    for (int i = 0; i < THREAD_TEXTS; i++) {
        assert_int_equal(t.status[i], CLIP_OK);
        assert_int_equal(t.ids[i].count, t.ids[i % 8].count);
        test_same_i32("ids", t.ids[i].ids, t.ids[i % 8].ids, t.ids[i].count);
    }
    for (int i = 0; i < THREAD_TEXTS; i++) clip_ids_release(&t.ids[i]);
    clip_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_clips_vocabulary),  cmocka_unit_test(ids_of_the_toy_vocabulary),
        cmocka_unit_test(cut_as_clip_cuts),         cmocka_unit_test(cut_to_few),
        cmocka_unit_test(text_that_cannot_be_read), cmocka_unit_test(nothing_but_the_ends),
        cmocka_unit_test(decodes_what_it_encoded),  cmocka_unit_test(merges_in_order),
        cmocka_unit_test(later_of_equal_symbols),   cmocka_unit_test(long_words),
        cmocka_unit_test(threads_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
