/* Learning a tokenizer: against the textbook algorithm, the same for any order of captions, in any
 * language, and quickly. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "data/text/tokenizer.h"
#include "data/text/tokenizer_internal.h"
#include "tests/tokens.h"

struct captions {
    const char *texts[4096];
    size_t sizes[4096];
    int64_t count;
    struct clip_buffer bytes;
};

static void split_lines(struct captions *captions)
{
    captions->count = 0;
    for (const char *at = captions->bytes.data; *at != '\0' && captions->count < 4096;) {
        size_t n = strcspn(at, "\n");
        captions->texts[captions->count] = at;
        captions->sizes[captions->count++] = n;
        at += n + (at[n] == '\n');
    }
}

static struct captions *read_captions(const char *path)
{
    struct captions *captions = calloc(1, sizeof *captions);
    struct clip_error error;
    assert_non_null(captions);
    test_ok(clip_file_read(path, 64 << 20, &captions->bytes, &error), &error);
    split_lines(captions);
    return captions;
}

static struct captions *toy_captions(void)
{
    return read_captions("tests/reference/tokens/toy_captions.txt");
}

static void free_captions(struct captions *captions)
{
    clip_buffer_release(&captions->bytes);
    free(captions);
}

static struct clip_buffer learn(const struct captions *captions, int64_t vocab_size)
{
    struct clip_buffer out = {0};
    struct clip_error error;
    test_ok(clip_tokenizer_train(captions->texts, captions->sizes, captions->count, vocab_size,
                                 CLIP_TEXT_OPEN_CLIP, &out, &error),
            &error);
    return out;
}

static struct clip_tokenizer *parse(const struct clip_buffer *text)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    test_ok(clip_tokenizer_parse(&tokenizer, text->data, text->size, "learned", &error), &error);
    return tokenizer;
}

/* ---- The textbook: count every pair anew before each merge ---- */

enum { BOOK_NODES = 1 << 15, BOOK_MERGES = 400 };
struct book {
    struct clip_alphabet alphabet;
    int32_t symbols[BOOK_NODES]; /* words one after another, -1 behind each */
    int64_t n;
    int32_t left[BOOK_MERGES], right[BOOK_MERGES];
};

static clip_status book_word(void *context, enum clip_piece_kind kind, const char *piece, size_t n,
                             struct clip_error *error)
{
    struct book *book = context;
    (void)error;
    assert_int_equal(kind, CLIP_PIECE_WORD);
    assert_true(book->n + (int64_t)n < BOOK_NODES);
    for (size_t i = 0; i < n; i++) {
        book->symbols[book->n++] = book->alphabet.symbol[(unsigned char)piece[i]] +
                                   (i + 1 == n ? 256 : 0);
    }
    book->symbols[book->n++] = -1;
    return CLIP_OK;
}

/* Replaces a pair everywhere, from left to right in each word. */
static void book_merge(struct book *book, int32_t left, int32_t right, int32_t made)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < book->n; i++) {
        bool here = i + 1 < book->n && book->symbols[i] == left && book->symbols[i + 1] == right;
        book->symbols[kept++] = here ? made : book->symbols[i];
        i += here;
    }
    book->n = kept;
}

/* The pair that occurs most, at least twice; among equals the one of the first symbols. */
static bool book_best(const struct book *book, int32_t symbols, int32_t *counts, int32_t best[2])
{
    int32_t most = 1;
    memset(counts, 0, (size_t)symbols * (size_t)symbols * sizeof *counts);
    for (int64_t i = 0; i + 1 < book->n; i++) {
        if (book->symbols[i] < 0 || book->symbols[i + 1] < 0) continue;
        counts[book->symbols[i] * symbols + book->symbols[i + 1]]++;
    }
    for (int32_t pair = 0; pair < symbols * symbols; pair++) {
        if (counts[pair] <= most) continue;
        most = counts[pair];
        best[0] = pair / symbols;
        best[1] = pair % symbols;
    }
    return most > 1;
}

static void spell(const struct book *book, int32_t symbol, struct clip_buffer *out)
{
    struct clip_error error;
    if (symbol >= 512) {
        spell(book, book->left[symbol - 512], out);
        spell(book, book->right[symbol - 512], out);
        return;
    }
    test_ok(clip_buffer_printf(out, &error, "%s%s", book->alphabet.spelling[symbol % 256],
                               symbol < 256 ? "" : "</w>"),
            &error);
}

static void as_the_textbook(void **state)
{
    (void)state;
    enum { MERGES = 120, SYMBOLS = 512 + MERGES };
    struct captions *captions = toy_captions();
    struct book *book = calloc(1, sizeof *book);
    int32_t *counts = calloc((size_t)SYMBOLS * SYMBOLS, sizeof *counts);
    struct clip_splitter splitter = {0};
    struct clip_error error;
    assert_non_null(book);
    assert_non_null(counts);
    clip_alphabet_init(&book->alphabet);
    test_ok(clip_splitter_init(&splitter, &error), &error);
    for (int64_t i = 0; i < captions->count; i++) {
        test_ok(clip_splitter_run(&splitter, captions->texts[i], captions->sizes[i],
                                  CLIP_TEXT_OPEN_CLIP, book_word, book, &error),
                &error);
    }
    struct clip_buffer expected = {0}, got = learn(captions, SYMBOLS + 2);
    test_ok(clip_buffer_printf(&expected, &error, "#version: 0.2 - clip.c, %d merges", MERGES),
            &error);
    for (int32_t m = 0; m < MERGES; m++) {
        int32_t best[2] = {0, 0};
        assert_true(book_best(book, SYMBOLS, counts, best));
        book->left[m] = best[0];
        book->right[m] = best[1];
        book_merge(book, best[0], best[1], 512 + m);
        test_ok(clip_buffer_append(&expected, "\n", 1, &error), &error);
        spell(book, best[0], &expected);
        test_ok(clip_buffer_append(&expected, " ", 1, &error), &error);
        spell(book, best[1], &expected);
    }
    assert_string_equal(got.data, expected.data);
    clip_splitter_release(&splitter);
    clip_buffer_release(&got);
    clip_buffer_release(&expected);
    free(counts);
    free(book);
    free_captions(captions);
}

static void the_committed_toy(void **state)
{
    (void)state;
    struct captions *captions = toy_captions();
    struct clip_buffer learned = learn(captions, 900);
    struct clip_tokenizer *toy = NULL;
    struct clip_error error;
    test_ok(clip_tokenizer_open(&toy, "tests/reference/tokens/toy_merges.txt.gz", NULL, &error),
            &error);
    assert_int_equal(toy->text.size, learned.size);
    assert_memory_equal(toy->text.data, learned.data, learned.size);
    clip_tokenizer_free(toy);
    clip_buffer_release(&learned);
    free_captions(captions);
}

static void any_order_of_captions(void **state)
{
    (void)state;
    struct captions *captions = toy_captions();
    struct clip_buffer first = learn(captions, 700);
    for (int64_t i = 0; i < captions->count / 2; i++) {
        int64_t j = captions->count - 1 - i;
        const char *text = captions->texts[i];
        size_t size = captions->sizes[i];
        captions->texts[i] = captions->texts[j];
        captions->sizes[i] = captions->sizes[j];
        captions->texts[j] = text;
        captions->sizes[j] = size;
    }
    struct clip_buffer second = learn(captions, 700);
    assert_string_equal(first.data, second.data);
    clip_buffer_release(&first);
    clip_buffer_release(&second);
    free_captions(captions);
}

/* A smaller vocabulary is the beginning of a larger one. */
static void sizes(void **state)
{
    (void)state;
    struct captions *captions = toy_captions();
    struct clip_buffer large = learn(captions, 650);
    const int64_t wanted[] = {514, 515, 600, 650};
    for (size_t i = 0; i < 4; i++) {
        struct clip_buffer small = learn(captions, wanted[i]);
        struct clip_tokenizer *tokenizer = parse(&small);
        assert_int_equal(tokenizer->vocab_size, wanted[i]);
        const char *lines = strchr(small.data, '\n'), *all = strchr(large.data, '\n');
        if (lines != NULL) assert_memory_equal(lines, all, strlen(lines));
        assert_int_not_equal(small.data[small.size - 1], '\n'); /* open_clip would count it */
        clip_tokenizer_free(tokenizer);
        clip_buffer_release(&small);
    }
    clip_buffer_release(&large);
    free_captions(captions);
}

static void learns(const char *text, const char *merges)
{
    struct captions *captions = calloc(1, sizeof *captions);
    struct clip_error error;
    assert_non_null(captions);
    test_ok(clip_buffer_append(&captions->bytes, text, strlen(text), &error), &error);
    split_lines(captions);
    struct clip_buffer out = learn(captions, 1000);
    const char *lines = strchr(out.data, '\n');
    assert_string_equal(lines != NULL ? lines + 1 : "", merges);
    clip_tokenizer_free(parse(&out));
    clip_buffer_release(&out);
    free_captions(captions);
}

static void small_cases(void **state)
{
    (void)state;
    learns("x", "");
    learns("ab", ""); /* nothing occurs twice */
    learns("ab ab", "a b</w>");
    learns("ab\nab", "a b</w>");
    learns("ba ba ab ab", "a b</w>\nb a</w>"); /* a tie: a stands before b */
    learns("aaaa", "a a");                     /* then two are left, once */
    learns("aaaaaaaa", "a a\naa aa");
    learns("AB ab Ab", "a b</w>");
    learns("1234 1234", ""); /* digits stand alone */
    learns("abc abc", "a b\nab c</w>");
    learns("\xE7\x8C\xAB \xE7\x8C\xAB", "\xC3\xA7 \xC4\xAE\n\xC3\xA7\xC4\xAE \xC2\xAB</w>");
    learns("<end_of_text> <end_of_text> x", ""); /* an end is no word */
}

static void refusals(void **state)
{
    (void)state;
    const char *texts[3] = {"a cat", " ", "\xFF"};
    const size_t lengths[3] = {5, 1, 1};
    struct clip_buffer out = {0};
    struct clip_error error;
    const int64_t sizes_refused[] = {-1, 0, 513, 49409, INT64_MAX};
    for (size_t i = 0; i < 5; i++) {
        test_fails(clip_tokenizer_train(texts, lengths, 1, sizes_refused[i], CLIP_TEXT_OPEN_CLIP,
                                        &out, &error),
                   &error, CLIP_ERR_USAGE, "514");
    }
    test_fails(
        clip_tokenizer_train(texts + 1, lengths + 1, 1, 600, CLIP_TEXT_OPEN_CLIP, &out, &error),
        &error, CLIP_ERR_DATA, "no word");
    test_fails(clip_tokenizer_train(NULL, NULL, 0, 600, CLIP_TEXT_OPEN_CLIP, &out, &error), &error,
               CLIP_ERR_DATA, "no word");
    test_fails(clip_tokenizer_train(texts, lengths, 3, 600, CLIP_TEXT_OPEN_CLIP, &out, &error),
               &error, CLIP_ERR_DATA, "caption 3: the text is not UTF-8 at byte 0");
    assert_int_equal(out.size, 0);
    clip_buffer_release(&out);
}

/* Every id of the vocabulary but the ends decodes to a text of its own. */
static void no_text_twice(void **state)
{
    (void)state;
    struct captions *captions = toy_captions();
    struct clip_buffer learned = learn(captions, 900);
    struct clip_tokenizer *tokenizer = parse(&learned);
    struct clip_string_map seen = {0};
    struct clip_error error;
    for (int32_t id = 0; id < tokenizer->start; id++) {
        struct clip_buffer text = {0};
        test_decode(tokenizer, &id, 1, &text);
        struct clip_string_entry *entry;
        test_ok(clip_string_map_add(&seen, text.data, text.size, id, &entry, &error), &error);
        if (entry->value != id && id != ' ')
            test_fail("ids %lld and %d are \"%s\"", (long long)entry->value, id, text.data);
        clip_buffer_release(&text);
    }
    clip_string_map_release(&seen);
    clip_tokenizer_free(tokenizer);
    clip_buffer_release(&learned);
    free_captions(captions);
}

/* What was learned makes fewer tokens of the captions, and they come back. */
static void captions_come_back(void **state)
{
    (void)state;
    struct captions *captions = toy_captions();
    struct clip_buffer learned = learn(captions, 900), letters = learn(captions, 514);
    struct clip_tokenizer *tokenizer = parse(&learned), *bytes = parse(&letters);
    struct clip_ids ids = {0}, plain = {0};
    struct clip_error error;
    for (int64_t i = 0; i < captions->count; i++) {
        const char *text = captions->texts[i];
        size_t n = captions->sizes[i];
        test_ok(clip_tokenizer_encode(tokenizer, text, n,
                                      &(struct clip_encode_options){CLIP_TEXT_OPEN_CLIP}, &ids,
                                      NULL, &error),
                &error);
        test_ok(clip_tokenizer_encode(bytes, text, n,
                                      &(struct clip_encode_options){CLIP_TEXT_OPEN_CLIP}, &plain,
                                      NULL, &error),
                &error);
    }
    assert_true(ids.count * 3 < plain.count);
    struct clip_buffer a = {0}, b = {0};
    test_decode(tokenizer, ids.ids, ids.count, &a);
    test_decode(bytes, plain.ids, plain.count, &b);
    assert_string_equal(a.data, b.data);
    clip_buffer_release(&a);
    clip_buffer_release(&b);
    clip_ids_release(&ids);
    clip_ids_release(&plain);
    clip_tokenizer_free(tokenizer);
    clip_tokenizer_free(bytes);
    clip_buffer_release(&learned);
    clip_buffer_release(&letters);
    free_captions(captions);
}

static void chinese_captions(void **state)
{
    (void)state;
    const char *path = test_data("flickr8k/train_zh.tsv");
    if (path == NULL) test_skip("the Chinese captions are not there");
    struct captions *captions = read_captions(path);
    for (int64_t i = 0; i < captions->count; i++) { /* the caption behind the path */
        const char *tab = memchr(captions->texts[i], '\t', captions->sizes[i]);
        assert_non_null(tab);
        captions->sizes[i] -= (size_t)(tab + 1 - captions->texts[i]);
        captions->texts[i] = tab + 1;
    }
    double start = clip_seconds();
    struct clip_buffer learned = learn(captions, 514 + 2000);
    printf("  %lld captions, 2000 merges: %.2f s\n", (long long)captions->count,
           clip_seconds() - start);
    struct clip_tokenizer *tokenizer = parse(&learned);
    struct clip_ids ids = {0};
    struct clip_error error;
    size_t bytes = 0;
    assert_int_equal(tokenizer->vocab_size, 2514);
    for (int64_t i = 0; i < captions->count; i++) {
        bytes += captions->sizes[i];
        test_ok(clip_tokenizer_encode(tokenizer, captions->texts[i], captions->sizes[i],
                                      &(struct clip_encode_options){CLIP_TEXT_OPEN_CLIP}, &ids,
                                      NULL, &error),
                &error);
    }
    /* A character has three bytes; each caption has its two ends. */
    assert_true((size_t)(ids.count - 2 * captions->count) * 3 < bytes);
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
    clip_buffer_release(&learned);
    free_captions(captions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_textbook),       cmocka_unit_test(the_committed_toy),
        cmocka_unit_test(any_order_of_captions), cmocka_unit_test(sizes),
        cmocka_unit_test(small_cases),           cmocka_unit_test(refusals),
        cmocka_unit_test(no_text_twice),         cmocka_unit_test(captions_come_back),
        cmocka_unit_test(chinese_captions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
