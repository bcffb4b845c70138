/* Tokenizer files: what may be read, where clip is looked for, and a sentence for every way in
 * which a file can be wrong. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/rng.h"
#include "data/text/tokenizer.h"

static const char toy_path[] = "tests/reference/tokens/toy_merges.txt.gz";
static const char clip_name[] = "bpe_simple_vocab_16e6.txt.gz";

static struct clip_tokenizer *open_tokenizer(const char *path)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    test_ok(clip_tokenizer_open(&tokenizer, path, NULL, &error), &error);
    assert_non_null(tokenizer);
    return tokenizer;
}

static void refused(const char *text, const char *word)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    test_fails(clip_tokenizer_parse(&tokenizer, text, strlen(text), "a.txt", &error), &error,
               CLIP_ERR_FORMAT, word);
    assert_null(tokenizer);
    assert_non_null(strstr(error.message, "a.txt"));
}

static int64_t merges_of(const char *text)
{
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    test_ok(clip_tokenizer_parse(&tokenizer, text, strlen(text), "a.txt", &error), &error);
    int64_t merges = tokenizer->vocab_size - 514;
    clip_tokenizer_free(tokenizer);
    return merges;
}

static void same_tokenizer(const struct clip_tokenizer *a, const struct clip_tokenizer *b)
{
    assert_int_equal(a->text.size, b->text.size);
    assert_memory_equal(a->text.data, b->text.data, a->text.size);
    assert_true(clip_tokenizer_equal(a, b));
}

static void text_format(void **state)
{
    (void)state;
    assert_int_equal(merges_of("#version: 0.2\na b\nab c</w>"), 2);
    assert_int_equal(merges_of("#version: 0.2\na b\nab c</w>\n"), 2);
    assert_int_equal(merges_of("#version: 0.2\r\na b\r\nab c</w>\r\n"), 2);
    assert_int_equal(merges_of("\"bpe_simple_vocab_16e6.txt#version: 0.2\na b"), 1);
    assert_int_equal(merges_of("whatever\na b"), 1);
    assert_int_equal(merges_of("#version: 0.2 - clip.c, 0 merges"), 0);
    assert_int_equal(merges_of("#version: 0.2\n\xC4\xA0 \xC3\xBF</w>"), 1); /* U+0120, U+00FF */
}

static void damaged_text(void **state)
{
    (void)state;
    refused("", "is empty");
    refused("hello", "is no tokenizer");
    refused("#version: 0.2\n", "is cut");
    refused("i n\nt h", "a.txt:1: \"i n\" is a merge, but the first line must be a header");
    refused("\x89PNG\r\n\x1A\n", "a.txt:1: \"?PNG\" is no header");
    refused("#version\na b\nab", "a.txt:3: \"ab\" is not a merge");
    refused("#version\na b\n\nb c", "a.txt:3: \"\" is not a merge");
    refused("#version\na b\n\n", "a.txt:3: \"\" is not a merge");
    refused("#version\na  b", "a.txt:2: \"a  b\" is not a merge");
    refused("#version\na b c", "is not a merge");
    refused("#version\n a b", "is not a merge");
    refused("#version\nab ", "is not a merge");
    refused("#version\nab c", "a.txt:2: \"ab c\" begins with a symbol that no line above makes");
    refused("#version\na b\na xy</w>", "a.txt:3: \"a xy</w>\" ends with a symbol");
    refused("#version\na b</", "the file is cut or damaged");
    refused("#version\na \xC2\xA0", "ends with a symbol"); /* U+00A0 spells no byte */
    refused("#version\na</w> b", "joins something behind a word's end");
    refused("#version\na b\nc d\na b", "a.txt:4: the same merge stands in line 2 already");
    refused("#version: 0.2 - clip.c, 3 merges\na b\nab c",
            "is cut: its header promises 3 merges, but 2 follow");
    refused("#version: 0.2 - clip.c, 1 merges\na b\nab c", "promises 1 merge, but 2 follow");
    refused("#version: 0.2 - clip.c, 3", "a header without its end");
    refused("#version: 0.2 - clip.c, ", "a header without its end");
    refused("#version: 0.2 - clip.c, 99999999999999999999 merges\na b", "is cut");
}

static void damaged_bytes(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    const char nul[] = "#version\na b\n\0 c\n";
    test_fails(clip_tokenizer_parse(&tokenizer, nul, sizeof nul - 1, "a.txt", &error), &error,
               CLIP_ERR_FORMAT, "a.txt:3: \"? c\" begins with a symbol");
    assert_null(tokenizer);
    char *longer = malloc(3000);
    assert_non_null(longer);
    memset(longer, 'x', 3000);
    test_fails(clip_tokenizer_parse(&tokenizer, longer, 3000, "a.txt", &error), &error,
               CLIP_ERR_FORMAT, "is no header line");
    free(longer);
}

static void files(void **state)
{
    (void)state;
    const char *folder = test_folder();
    struct clip_tokenizer *toy = open_tokenizer(toy_path), *plain, *packed, *refused_one = NULL;
    struct clip_error error;
    size_t size = toy->text.size;
    const char *text = toy->text.data;
    const char *plain_path = test_path(folder, "a.txt"), *packed_path = test_path(folder, "a.GZ");
    test_ok(clip_tokenizer_save(plain_path, text, size, &error), &error);
    test_ok(clip_tokenizer_save(packed_path, text, size, &error), &error);
    plain = open_tokenizer(plain_path);
    packed = open_tokenizer(packed_path);
    same_tokenizer(toy, plain);
    same_tokenizer(toy, packed);

    struct clip_buffer bytes = {0}, again = {0};
    test_ok(clip_file_read(packed_path, 1 << 20, &bytes, &error), &error);
    assert_true(bytes.size < size / 2);
    test_ok(clip_tokenizer_save(packed_path, text, size, &error), &error);
    test_ok(clip_file_read(packed_path, 1 << 20, &again, &error), &error);
    assert_int_equal(bytes.size, again.size);
    assert_memory_equal(bytes.data, again.data, bytes.size);
    for (size_t n = 12; n < bytes.size; n += bytes.size / 7) {
        const char *cut = test_write(folder, "cut.gz", bytes.data, n);
        test_fails(clip_tokenizer_open(&refused_one, cut, NULL, &error), &error, CLIP_ERR_FORMAT,
                   "cut.gz");
        assert_null(refused_one);
    }
    bytes.data[bytes.size / 2] ^= 0x10;
    const char *flipped = test_write(folder, "flipped.gz", bytes.data, bytes.size);
    test_fails(clip_tokenizer_open(&refused_one, flipped, NULL, &error), &error, CLIP_ERR_FORMAT,
               "flipped.gz");
    test_fails(clip_tokenizer_open(&refused_one, test_path(folder, "none.txt"), NULL, &error),
               &error, CLIP_ERR_NOT_FOUND, "none.txt");
    clip_buffer_release(&bytes);
    clip_buffer_release(&again);
    clip_tokenizer_free(toy);
    clip_tokenizer_free(plain);
    clip_tokenizer_free(packed);
}

static void file_that_unpacks_to_too_much(void **state)
{
    (void)state;
    const char *path = test_path(test_folder(), "bomb.gz");
    static const char zeros[1 << 16];
    gzFile stream = gzopen(path, "wb1");
    assert_non_null(stream);
    for (int i = 0; i < 1025; i++) assert_int_equal(gzwrite(stream, zeros, sizeof zeros), 65536);
    assert_int_equal(gzclose(stream), Z_OK);
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    assert_int_not_equal(clip_tokenizer_open(&tokenizer, path, NULL, &error), CLIP_OK);
    assert_null(tokenizer);
    assert_non_null(strstr(error.message, "bomb.gz"));
}

/* Any cut and any changed byte gives a tokenizer or a sentence, never a crash. */
static void every_cut_and_many_flips(void **state)
{
    (void)state;
    struct clip_tokenizer *toy = open_tokenizer(toy_path);
    size_t size = toy->text.size;
    const char *text = toy->text.data;
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, 0);
    struct clip_tokenizer *got = NULL;
    struct clip_error error;
    for (size_t n = 0; n < size; n += 1 + clip_rng_below(&rng, 40)) {
        assert_int_equal(clip_tokenizer_parse(&got, text, n, "cut", &error), CLIP_ERR_FORMAT);
        assert_null(got);
    }
    char *copy = malloc(size);
    assert_non_null(copy);
    for (int i = 0; i < 200; i++) {
        memcpy(copy, text, size);
        copy[clip_rng_below(&rng, (uint32_t)size)] ^= (char)(1 << clip_rng_below(&rng, 8));
        if (clip_tokenizer_parse(&got, copy, size, "flipped", &error) == CLIP_OK) {
            clip_tokenizer_free(got);
        } else {
            assert_non_null(strstr(error.message, "flipped"));
        }
    }
    free(copy);
    clip_tokenizer_free(toy);
}

static void spelled_ids(void **state)
{
    (void)state;
    static const char *const spellings[] = {"!",       "\xC4\xA0</w>",    "th",
                                            "the</w>", "<|startoftext|>", "<|endoftext|>"};
    static const int32_t ids[] = {0, 256 + 220, 512, 513, 514, 515};
    const char text[] = "header\nt h\nth e</w>\n";
    struct clip_error error;
    struct clip_tokenizer *tokenizer = NULL;
    test_ok(clip_tokenizer_parse(&tokenizer, text, strlen(text), "a.txt", &error), &error);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct clip_buffer out = {0};
        test_ok(clip_tokenizer_spell(tokenizer, ids[i], &out, &error), &error);
        assert_string_equal(out.data, spellings[i]);
        clip_buffer_release(&out);
    }
    struct clip_buffer none = {0};
    test_fails(clip_tokenizer_spell(tokenizer, 516, &none, &error), &error, CLIP_ERR_DATA, "516");
    test_fails(clip_tokenizer_spell(tokenizer, -1, &none, &error), &error, CLIP_ERR_DATA, "-1");
    assert_false(clip_tokenizer_is_clip(tokenizer));
    clip_tokenizer_free(tokenizer);
}

static void clips_vocabulary(void **state)
{
    (void)state;
    const char *path = test_data("clip/bpe_simple_vocab_16e6.txt.gz");
    if (path == NULL) test_skip("CLIP's vocabulary is not there");
    struct clip_tokenizer *tokenizer = open_tokenizer(path), *again = NULL;
    struct clip_error error;
    assert_int_equal(tokenizer->vocab_size, 49408);
    assert_int_equal(tokenizer->start, 49406);
    assert_int_equal(tokenizer->end, 49407);
    size_t size = tokenizer->text.size, lines = 0;
    const char *text = tokenizer->text.data;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    assert_int_equal(lines, 48894); /* what a checkpoint carries: no unused merge */
    assert_true(clip_tokenizer_is_clip(tokenizer));
    test_ok(clip_tokenizer_parse(&again, text, size, "again", &error), &error);
    assert_true(clip_tokenizer_is_clip(again));
    same_tokenizer(tokenizer, again);
    clip_tokenizer_free(again);

    char *folder = clip_path_folder(path, &error);
    assert_non_null(folder);
    test_ok(clip_tokenizer_open(&again, "clip", folder, &error), &error);
    free(folder);
    same_tokenizer(tokenizer, again);
    clip_tokenizer_free(again);
    setenv("CLIP_BPE", path, 1);
    test_ok(clip_tokenizer_open(&again, "clip", test_folder(), &error), &error);
    same_tokenizer(tokenizer, again);
    clip_tokenizer_free(again);
    unsetenv("CLIP_BPE");
    clip_tokenizer_free(tokenizer);
}

static void where_clip_is_looked_for(void **state)
{
    (void)state;
    const char *empty = test_folder(), *full = test_folder();
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    struct clip_buffer toy = {0};
    test_ok(clip_file_read(toy_path, 1 << 20, &toy, &error), &error);
    test_write(full, clip_name, toy.data, toy.size);
    clip_buffer_release(&toy);
    unsetenv("CLIP_BPE");
    /* The toy is found each time, and is not CLIP's. */
    test_fails(clip_tokenizer_open(&tokenizer, "clip", full, &error), &error, CLIP_ERR_FORMAT,
               "but CLIP's vocabulary has 48894");
    setenv("CLIP_BPE", full, 1);
    test_fails(clip_tokenizer_open(&tokenizer, "clip", empty, &error), &error, CLIP_ERR_FORMAT,
               full);
    setenv("CLIP_BPE", test_path(full, clip_name), 1);
    test_fails(clip_tokenizer_open(&tokenizer, "clip", NULL, &error), &error, CLIP_ERR_FORMAT,
               full);
    setenv("CLIP_BPE", test_path(empty, "none.gz"), 1);
    test_fails(clip_tokenizer_open(&tokenizer, "clip", NULL, &error), &error, CLIP_ERR_NOT_FOUND,
               "none.gz: $CLIP_BPE");
    setenv("CLIP_BPE", "", 1);
    clip_status status = clip_tokenizer_open(&tokenizer, "clip", empty, &error);
    if (status != CLIP_OK) { /* it is not installed either */
        assert_int_equal(status, CLIP_ERR_NOT_FOUND);
        assert_non_null(strstr(error.message, clip_name));
        assert_non_null(strstr(error.message, "$CLIP_BPE"));
        assert_non_null(strstr(error.message, "/share/clip"));
    }
    clip_tokenizer_free(tokenizer);
    unsetenv("CLIP_BPE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_format),
        cmocka_unit_test(damaged_text),
        cmocka_unit_test(damaged_bytes),
        cmocka_unit_test(files),
        cmocka_unit_test(file_that_unpacks_to_too_much),
        cmocka_unit_test(every_cut_and_many_flips),
        cmocka_unit_test(spelled_ids),
        cmocka_unit_test(clips_vocabulary),
        cmocka_unit_test(where_clip_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
