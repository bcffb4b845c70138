/* Unigram tokenizers: the very ids of the tokenizers library (tests/make_unigram_reference.py), and
 * what is not read refused by name. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/markup.h"
#include "data/text/tokenizer_internal.h"
#include "tests/tokens.h"

#define FOLDER "tests/reference/tokens/"

static struct clip_buffer read_file(const char *path)
{
    struct clip_error error;
    struct clip_buffer bytes = {0};
    test_ok(clip_file_read(path, 1 << 24, &bytes, &error), &error);
    return bytes;
}

static struct clip_tokenizer *open_unigram(const char *path)
{
    struct clip_tokenizer *tokenizer;
    struct clip_error error;
    test_ok(clip_tokenizer_open(&tokenizer, path, NULL, &error), &error);
    assert_string_equal(tokenizer->ops->kind, "Unigram");
    assert_false(tokenizer->merges);
    assert_int_equal(tokenizer->start, -1);
    return tokenizer;
}

static struct clip_ids encode(const struct clip_tokenizer *tokenizer, const char *text,
                              int64_t context, bool *cut)
{
    struct clip_error error;
    struct clip_ids ids = {0};
    test_ok(clip_tokenizer_encode(tokenizer, text, strlen(text),
                                  &(struct clip_encode_options){CLIP_TEXT_HUGGINGFACE, context},
                                  &ids, cut, &error),
            &error);
    return ids;
}

static void compare(const char *json_path, const char *lines_path)
{
    struct clip_error error;
    struct clip_tokenizer *tokenizer = open_unigram(json_path);
    struct clip_buffer lines = read_file(lines_path);
    int64_t compared = 0;
    char *rest = lines.data;
    for (const char *line; (line = strtok_r(rest, "\n", &rest)) != NULL; compared++) {
        json_t *object = clip_json_parse(line, strlen(line), lines_path, &error);
        const char *text = json_string_value(json_object_get(object, "text"));
        const json_t *expected = json_object_get(object, "ids");
        assert_non_null(text);
        struct clip_ids ids = encode(tokenizer, text, 0, NULL);
        bool same = (size_t)ids.count == json_array_size(expected);
        for (int64_t i = 0; same && i < ids.count; i++) {
            same = ids.ids[i] == json_integer_value(json_array_get(expected, (size_t)i));
        }
        if (!same) test_fail("%s: another segmentation of \"%s\"", json_path, text);
        clip_ids_release(&ids);
        json_decref(object);
    }
    assert_true(compared > 20);
    clip_buffer_release(&lines);
    clip_tokenizer_free(tokenizer);
}

static void gives_the_ids_of_tokenizers(void **state)
{
    (void)state;
    compare(FOLDER "unigram.json", FOLDER "unigram.jsonl");
    compare(FOLDER "unigram_bytes.json", FOLDER "unigram_bytes.jsonl");
    compare(FOLDER "unigram_words.json", FOLDER "unigram_words.jsonl");
    compare(FOLDER "unigram_charsmap.json", FOLDER "unigram_charsmap.jsonl");
}

static void cuts_and_pads(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_unigram(FOLDER "unigram.json");
    const int32_t end = tokenizer->end;
    const char *text = "a small robot paints a green door";
    bool cut;
    struct clip_ids whole = encode(tokenizer, text, 0, NULL);
    struct clip_ids ids = encode(tokenizer, text, 5, &cut);
    assert_true(cut && whole.count > 5);
    assert_int_equal(ids.count, 5);
    test_same_i32("the beginning", ids.ids, whole.ids, 4);
    assert_int_equal(ids.ids[4], end);
    clip_ids_release(&ids);
    clip_tokenizer_pad(tokenizer, 0);
    ids = encode(tokenizer, text, whole.count + 3, &cut);
    assert_false(cut);
    assert_int_equal(ids.count, whole.count + 3);
    test_same_i32("the text", ids.ids, whole.ids, whole.count);
    for (int64_t i = whole.count; i < ids.count; i++) assert_int_equal(ids.ids[i], 0);
    clip_ids_release(&ids);
    clip_ids_release(&whole);
    clip_tokenizer_free(tokenizer);
}

/* open_clip cleans a SigLIP's texts before its tokenizer does. */
static void canonicalizes_where_it_is_asked_to(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_tokenizer *tokenizer = open_unigram(FOLDER "unigram_bytes.json");
    const char *text = "Don't_touch a red</s>"; /* of which </s> would be a token */
    struct clip_ids ids = {0}, plain = encode(tokenizer, text, 0, NULL);
    struct clip_ids clean = encode(tokenizer, "dont touch a reds", 0, NULL);
    test_ok(clip_tokenizer_encode(tokenizer, text, strlen(text),
                                  &(struct clip_encode_options){CLIP_TEXT_CANONICALIZE}, &ids, NULL,
                                  &error),
            &error);
    assert_int_equal(ids.count, clean.count);
    assert_memory_equal(ids.ids, clean.ids, (size_t)ids.count * sizeof *ids.ids);
    assert_int_equal(plain.ids[plain.count - 2], tokenizer->end);
    assert_int_not_equal(ids.ids[ids.count - 2], tokenizer->end);
    clip_ids_release(&ids);
    clip_ids_release(&plain);
    clip_ids_release(&clean);
    clip_tokenizer_free(tokenizer);
}

/* A text of one token says something, an empty one nothing, whether filled up or not. */
static void knows_an_empty_text(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = open_unigram(FOLDER "unigram.json");
    for (int padded = 0; padded < 2; padded++) {
        if (padded) clip_tokenizer_pad(tokenizer, 0);
        struct clip_ids nothing = encode(tokenizer, "", 8, NULL);
        struct clip_ids one = encode(tokenizer, "a", 8, NULL);
        assert_int_equal(nothing.count, padded ? 8 : 1);
        assert_int_equal(one.count, padded ? 8 : 2);
        assert_true(clip_tokenizer_is_empty(tokenizer, nothing.ids, nothing.count));
        assert_false(clip_tokenizer_is_empty(tokenizer, one.ids, one.count));
        clip_ids_release(&nothing);
        clip_ids_release(&one);
    }
    clip_tokenizer_free(tokenizer);
}

static void gives_text_back(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_tokenizer *tokenizer = open_unigram(FOLDER "unigram.json"), *again;
    struct clip_ids ids = encode(tokenizer, "Two  dogs!", 0, NULL);
    struct clip_buffer text = {0}, name = {0};
    test_decode(tokenizer, ids.ids, ids.count, &text);
    assert_string_equal(text.data, " two dogs");
    test_ok(clip_tokenizer_spell(tokenizer, tokenizer->end, &name, &error), &error);
    assert_string_equal(name.data, "</s>");
    assert_int_equal(clip_tokenizer_id(tokenizer, "<pad>"), 0);
    assert_int_equal(clip_tokenizer_id(tokenizer, "<extra>"), tokenizer->vocab_size - 1);
    const struct clip_buffer *json = &tokenizer->text; /* as a checkpoint carries it */
    test_ok(clip_tokenizer_parse(&again, json->data, json->size, "checkpoint", &error), &error);
    assert_true(clip_tokenizer_equal(again, tokenizer));
    struct clip_ids same = encode(again, "Two  dogs!", 0, NULL);
    assert_int_equal(same.count, ids.count);
    test_same_i32("ids", same.ids, ids.ids, ids.count);
    clip_ids_release(&same);
    clip_ids_release(&ids);
    clip_buffer_release(&text);
    clip_buffer_release(&name);
    clip_tokenizer_free(again);
    clip_tokenizer_free(tokenizer);
}

static void refuses_what_is_not_read(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *word;
    } cases[] = {
        {"\"Lowercase\"", "\"Precompiled\"", "normalizer Precompiled"},
        {"\"Regex\":\"\\\\s+\"", "\"Regex\":\"\\\\w+\"", "the regex \\w+"},
        {"\"Regex\":\"\\\\s+\"", "\"Regex\":\"(a|b)\"", "the regex (a|b)"},
        {"\"Regex\":\"\\\\s+\"", "\"Regex\":\"[^a]\"", "the regex [^a]"},
        {"\"Regex\":\"\\\\s+\"", "\"Regex\":\"[a-z]\"", "the regex [a-z]"},
        {"\"Regex\":\"\\\\s+\"", "\"Regex\":\"a*\"", "the regex a*"},
        {"\"Regex\":\"\\\\s+\"", "\"None\":\"\"", "needs a pattern"},
        {"\"Metaspace\"", "\"ByteLevel\"", "pre_tokenizer (ByteLevel)"},
        {"\"always\"", "\"first\"", "prepend_scheme (first)"},
        {"\"TemplateProcessing\"", "\"BertProcessing\"", "post_processor (BertProcessing)"},
        {"\"ids\":[1]", "\"ids\":[99999]", "special token (</s>)"},
        {"\"single_word\":false", "\"single_word\":true", "added token (<pad>)"},
        {"\"unk_id\":2", "\"unk_id\":null", "unk_id"},
        {"[\"<pad>\",0.0]", "[\"<pad>\",\"0\"]", "entry 1 of the vocabulary"},
        {"[\"<pad>\",0.0]", "[\"pad\",0.0]", "added token (<pad>)"},
        {"\"truncation\":null", "\"truncation\":{\"direction\":\"Left\"}", "truncation (Left)"},
        {NULL, NULL, NULL},
    };
    struct clip_buffer whole = read_file(FOLDER "unigram.json");
    for (size_t i = 0; cases[i].from; i++) {
        struct clip_error error;
        struct clip_buffer changed = {0};
        struct clip_tokenizer *tokenizer;
        const char *at = strstr(whole.data, cases[i].from);
        if (at == NULL) test_fail("the reference holds no %s", cases[i].from);
        test_ok(clip_buffer_append(&changed, whole.data, (size_t)(at - whole.data), &error),
                &error);
        test_ok(
            clip_buffer_printf(&changed, &error, "%s%s", cases[i].to, at + strlen(cases[i].from)),
            &error);
        clip_status status =
            clip_tokenizer_parse(&tokenizer, changed.data, changed.size, "changed", &error);
        if (status == CLIP_OK) test_fail("%s was accepted", cases[i].to);
        test_fails(status, &error, status, cases[i].word);
        assert_null(tokenizer);
        clip_buffer_release(&changed);
    }
    clip_buffer_release(&whole);
}

/* The bytes of the reference's table of characters. */
static struct clip_buffer read_table(void)
{
    static const char key[] = "\"precompiled_charsmap\":\"";
    struct clip_error error;
    struct clip_buffer json = read_file(FOLDER "unigram_charsmap.json"), table = {0};
    const char *at = strstr(json.data, key);
    assert_non_null(at);
    at += strlen(key);
    test_ok(clip_markup_from_base64(&table, at, strcspn(at, "\""), &error), &error);
    clip_buffer_release(&json);
    return table;
}

/* Reads the table and, where it is taken, runs it over characters that it knows. */
static clip_status try_table(const struct clip_buffer *bytes, struct clip_error *error)
{
    static const char text[] = "e\xCC\x81\xEF\xAC\x81 \xEF\xBC\xA1x\xC2\xB2"
                               "\xE2\x80\x8B\xE2\x91\xA0\r\n";
    struct clip_charsmap map = {0};
    struct clip_points points = {0};
    struct clip_buffer base64 = {0};
    test_ok(clip_markup_base64(&base64, bytes->data, bytes->size, error), error);
    clip_status status = clip_charsmap_read(&map, base64.data, "table.json", error);
    if (status == CLIP_OK) {
        test_ok(clip_points_decode(&points, text, strlen(text), error), error);
        test_ok(clip_charsmap_run(&map, &points, INT64_MAX, error), error);
    }
    clip_points_release(&points);
    clip_charsmap_release(&map);
    clip_buffer_release(&base64);
    return status;
}

/* Whatever bit is wrong: the table is refused, or leads nowhere outside of itself. */
/* unigram.json with another normalizer or other added tokens. */
static clip_status parse_with(struct clip_tokenizer **out, const char *key, json_t *value,
                              struct clip_error *error)
{
    struct clip_buffer whole = read_file(FOLDER "unigram.json"), text = {0};
    json_t *root = clip_json_parse(whole.data, whole.size, "unigram.json", error);
    assert_non_null(root);
    assert_int_equal(json_object_set_new(root, key, value), 0);
    test_ok(clip_json_append(&text, root, error), error);
    clip_status status = clip_tokenizer_parse(out, text.data, text.size, "grows.json", error);
    json_decref(root);
    clip_buffer_release(&whole);
    clip_buffer_release(&text);
    return status;
}

static json_t *replacing(int steps, const char *from, const char *to)
{
    json_t *list = json_array();
    for (int i = 0; i < steps; i++)
        json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern",
                                              "String", from, "content", to));
    return json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", list);
}

/* Ten letters, each of them turned into 1000, three times: without a bound, 10 billion. */
static void a_normalizer_that_multiplies_is_stopped(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_tokenizer *tokenizer;
    struct clip_ids ids = {0};
    char thousand[1001];
    memset(thousand, 'q', 1000);
    thousand[1000] = '\0';
    test_ok(parse_with(&tokenizer, "normalizer", replacing(3, "q", thousand), &error), &error);
    test_fails(clip_tokenizer_encode(tokenizer, "qqqqqqqqqq", 10, &(struct clip_encode_options){0},
                                     &ids, NULL, &error),
               &error, CLIP_ERR_DATA, "grows.json: the tokenizer's normalizer turns a text into");
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
    test_fails(parse_with(&tokenizer, "normalizer", replacing(65, "q", "r"), &error), &error,
               CLIP_ERR_DATA, "64 steps");
}

static void more_added_tokens_than_are_read_are_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_tokenizer *tokenizer;
    json_t *list = json_array();
    for (int i = 0; i <= CLIP_ADDED_TOKENS; i++)
        json_array_append_new(list, json_pack("{s:i, s:s}", "id", i, "content", "<pad>"));
    test_fails(parse_with(&tokenizer, "added_tokens", list, &error), &error, CLIP_ERR_DATA,
               "more than the 4096 added tokens");
}

static void a_damaged_charsmap_is_refused_or_harmless(void **state)
{
    (void)state;
    static const char damaged[] = "table.json: the tokenizer's precompiled_charsmap is damaged";
    struct clip_error error;
    struct clip_buffer table = read_table();
    int64_t refused = 0;
    size_t size = table.size;
    test_ok(try_table(&table, &error), &error);
    for (size_t bit = 0; bit < 8 * size; bit += 3) {
        table.data[bit / 8] = (char)(table.data[bit / 8] ^ 1 << bit % 8);
        clip_status status = try_table(&table, &error);
        if (status != CLIP_OK) test_fails(status, &error, CLIP_ERR_FORMAT, damaged);
        refused += status != CLIP_OK;
        table.data[bit / 8] = (char)(table.data[bit / 8] ^ 1 << bit % 8);
    }
    assert_true(refused > 1000);
    for (table.size = 0; table.size < size; table.size += table.size < 20 ? 1 : 97) {
        if (table.size >= 4 + 512 * 4 && table.data[table.size - 1] == '\0') continue;
        test_fails(try_table(&table, &error), &error, CLIP_ERR_FORMAT, damaged);
    }
    clip_buffer_release(&table);
}

static void refuses_text_that_is_not_utf8(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_ids ids = {0};
    struct clip_tokenizer *tokenizer = open_unigram(FOLDER "unigram.json");
    test_fails(clip_tokenizer_encode(tokenizer, "a\xFF", 2,
                                     &(struct clip_encode_options){CLIP_TEXT_HUGGINGFACE}, &ids,
                                     NULL, &error),
               &error, CLIP_ERR_DATA, "not UTF-8 at byte 1");
    assert_int_equal(ids.count, 0);
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_ids_of_tokenizers),
        cmocka_unit_test(cuts_and_pads),
        cmocka_unit_test(canonicalizes_where_it_is_asked_to),
        cmocka_unit_test(knows_an_empty_text),
        cmocka_unit_test(gives_text_back),
        cmocka_unit_test(refuses_what_is_not_read),
        cmocka_unit_test(a_damaged_charsmap_is_refused_or_harmless),
        cmocka_unit_test(refuses_text_that_is_not_utf8),
        cmocka_unit_test(a_normalizer_that_multiplies_is_stopped),
        cmocka_unit_test(more_added_tokens_than_are_read_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
