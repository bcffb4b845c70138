/* Tokenizers as Hugging Face keeps them beside weights: tokenizer.json, vocab.json + merges.txt.
 *
 * A tokenizer.json (github.com/huggingface/tokenizers) describes a whole pipeline. Two are known
 * here: CLIP's byte-level BPE, whose parts must be just CLIP's, and Unigram (tokenizer_unigram.c).
 * What a file asks for beyond that is refused by name, so that no text is cut differently in
 * silence. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "data/text/tokenizer_internal.h"

enum { JSON_LIMIT = 256 << 20 }; /* bytes; Gemma's tokenizer.json has 34 million */

/* ---- CLIP's byte-level BPE ---- */

static clip_status unknown(const char *name, const char *what, const json_t *value,
                           struct clip_error *error)
{
    const char *text = json_string_value(value);
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s: the tokenizer's %s (%.60s) is not CLIP's, so its ids would be wrong "
                     "here; use a tokenizer of CLIP's kind",
                     name, what, text != NULL ? text : "another value");
}

static bool is_text(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL && strcmp(value, text) == 0;
}

static bool is_type(const json_t *object, const char *type)
{
    return is_text(object, "type", type);
}

/* A sequence of steps of these types. */
static bool is_sequence(const json_t *object, const char *key, const char *const *types, size_t n)
{
    const json_t *steps = json_object_get(object, key);
    if (!is_type(object, "Sequence") || json_array_size(steps) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (!is_type(json_array_get(steps, i), types[i])) return false;
    return true;
}

/* The pattern is CLIP's, with or without the two literals before it. */
static bool is_clip_pattern(const json_t *split)
{
    static const char tail[] = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
    static const char head[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|";
    const char *regex =
        json_string_value(json_object_get(json_object_get(split, "pattern"), "Regex"));
    if (regex == NULL) return false;
    if (strncmp(regex, head, strlen(head)) == 0) regex += strlen(head);
    return strcmp(regex, tail) == 0;
}

static clip_status check_clip(const json_t *root, const json_t *model, const char *name,
                              struct clip_error *error)
{
    static const char *const cleaning[] = {"NFC", "Replace", "Lowercase"};
    static const char *const cutting[] = {"Split", "ByteLevel"};
    const json_t *normalizer = json_object_get(root, "normalizer");
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    const json_t *replace = json_array_get(json_object_get(normalizer, "normalizers"), 1);
    const json_t *pieces = json_object_get(pre, "pretokenizers");
    const json_t *suffix = json_object_get(model, "end_of_word_suffix");
    if (!is_sequence(normalizer, "normalizers", cleaning, 3) ||
        !is_text(json_object_get(replace, "pattern"), "Regex", "\\s+") ||
        !is_text(replace, "content", " "))
        return unknown(name, "normalizer", json_object_get(normalizer, "type"), error);
    if (!is_sequence(pre, "pretokenizers", cutting, 2) ||
        !is_clip_pattern(json_array_get(pieces, 0)) ||
        !json_is_true(json_object_get(json_array_get(pieces, 0), "invert")) ||
        json_is_true(json_object_get(json_array_get(pieces, 1), "add_prefix_space")))
        return unknown(name, "pre_tokenizer", json_object_get(pre, "type"), error);
    if (!is_text(model, "end_of_word_suffix", "</w>"))
        return unknown(name, "end_of_word_suffix", suffix, error);
    if (json_is_true(json_object_get(model, "byte_fallback")) ||
        json_is_true(json_object_get(model, "ignore_merges")) ||
        json_is_number(json_object_get(model, "dropout")))
        return unknown(name, "model", json_object_get(model, "type"), error);
    return CLIP_OK;
}

/* "a b" or ["a", "b"], a line each, as CLIP's text format. */
static clip_status merge_lines(const json_t *merges, const char *name, struct clip_buffer *out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t i;
    json_t *merge;
    CLIP_TRY(clip_buffer_printf(out, error, "#version: 0.2"));
    json_array_foreach(merges, i, merge)
    {
        const char *whole = json_string_value(merge);
        const char *left = json_string_value(json_array_get(merge, 0));
        const char *right = json_string_value(json_array_get(merge, 1));
        if (whole != NULL) {
            CLIP_TRY(clip_buffer_printf(out, error, "\n%s", whole));
        } else if (left != NULL && right != NULL && json_array_size(merge) == 2) {
            CLIP_TRY(clip_buffer_printf(out, error, "\n%s %s", left, right));
        } else {
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                               "%s: merge %zu is no pair of symbols; the file is damaged", name,
                               i + 1));
        }
    }
out:
    return status;
}

static bool has_id(const json_t *vocabulary, const char *spelling, int64_t id)
{
    const json_t *value = json_object_get(vocabulary, spelling);
    return json_is_integer(value) && json_integer_value(value) == id;
}

/* The ids of the vocabulary are those that the merges' order gives, as in every CLIP's. `added` may
 * hold the two ends. */
static clip_status check_vocabulary(const struct clip_tokenizer *t, const json_t *vocabulary,
                                    const json_t *added, const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer spelling = {0};
    int64_t count = clip_tokenizer_vocab_size(t);
    size_t i;
    json_t *token;
    for (int32_t id = 0; id < count; id++) {
        spelling.size = 0;
        CLIP_TRY(clip_tokenizer_spell(t, id, &spelling, error));
        bool fine = has_id(vocabulary, spelling.data, id);
        json_array_foreach(added, i, token)
        {
            if (is_text(token, "content", spelling.data))
                fine = json_integer_value(json_object_get(token, "id")) == id;
        }
        if (!fine) { /* it may be spelled twice: then the later one is meant */
            int64_t later = json_integer_value(json_object_get(vocabulary, spelling.data));
            size_t mine = spelling.size;
            if (later > id && later < count)
                CLIP_TRY(clip_tokenizer_spell(t, (int32_t)later, &spelling, error));
            fine = spelling.size == 2 * mine &&
                   memcmp(spelling.data, spelling.data + mine, mine) == 0;
            spelling.data[mine] = '\0';
        }
        if (!fine) {
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s: \"%.60s\" does not have the id %d that its place among the "
                               "merges gives; only vocabularies in CLIP's order can be read",
                               name, spelling.data, (int)id));
        }
    }
    json_array_foreach(added, i, token)
    {
        int64_t id = json_integer_value(json_object_get(token, "id"));
        if (id < count) continue;
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the added token \"%.60s\" is not one of CLIP's; remove it, or "
                           "train with a tokenizer of your own",
                           name, json_string_value(json_object_get(token, "content"))));
    }
out:
    clip_buffer_release(&spelling);
    return status;
}

static clip_status parse_bpe(struct clip_tokenizer **out, const json_t *root, const json_t *model,
                             const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer lines = {0};
    CLIP_TRY(check_clip(root, model, name, error));
    CLIP_TRY(merge_lines(json_object_get(model, "merges"), name, &lines, error));
    CLIP_TRY(clip_tokenizer_parse(out, lines.data, lines.size, name, error));
    CLIP_TRY(check_vocabulary(*out, json_object_get(model, "vocab"),
                              json_object_get(root, "added_tokens"), name, error));
out:
    clip_buffer_release(&lines);
    return status;
}

static clip_status parse_unigram(struct clip_tokenizer **out, const json_t *root, const char *bytes,
                                 size_t n, const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    CLIP_NEW(*out, 1);
    CLIP_TRY(clip_unigram_read(&(*out)->unigram, root, name, error));
    CLIP_TRY(clip_buffer_append(&(*out)->text, bytes, n, error));
out:
    return status;
}

clip_status clip_tokenizer_parse_json(struct clip_tokenizer **out, const char *bytes, size_t n,
                                      const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = NULL;
    json_t *root = clip_json_parse(bytes, n, name, error);
    if (root == NULL) return error->status;
    const json_t *model = json_object_get(root, "model");
    if (is_type(model, "BPE")) {
        status = parse_bpe(out, root, model, name, error);
    } else if (is_type(model, "Unigram")) {
        status = parse_unigram(out, root, bytes, n, name, error);
    } else {
        const char *type = json_string_value(json_object_get(model, "type"));
        status = clip_fail(error, CLIP_ERR_DATA,
                           "%s: the tokenizer's model is %.40s; BPE and Unigram can be read (is "
                           "this a tokenizer.json?)",
                           name, type != NULL ? type : "not named");
    }
    json_decref(root);
    if (status != CLIP_OK) {
        clip_tokenizer_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- Folders ---- */

/* folder/name read whole; out->data is NULL where it is not there. */
static clip_status read_beside(const char *folder, const char *name, char **path,
                               struct clip_buffer *out, struct clip_error *error)
{
    *out = (struct clip_buffer){0};
    *path = clip_path_join(folder, name, error);
    if (*path == NULL) return error->status;
    return clip_path_exists(*path) ? clip_file_read(*path, JSON_LIMIT, out, error) : CLIP_OK;
}

static clip_status open_vocabulary(struct clip_tokenizer **out, const char *folder,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *vocab_path = NULL, *merges_path = NULL;
    struct clip_buffer vocab = {0}, merges = {0};
    json_t *vocabulary = NULL;
    CLIP_TRY(read_beside(folder, "vocab.json", &vocab_path, &vocab, error));
    CLIP_TRY(read_beside(folder, "merges.txt", &merges_path, &merges, error));
    if (vocab.data == NULL || merges.data == NULL) goto out;
    vocabulary = clip_json_parse(vocab.data, vocab.size, vocab_path, error);
    if (vocabulary == NULL) CLIP_TRY(error->status);
    CLIP_TRY(clip_tokenizer_parse(out, merges.data, merges.size, merges_path, error));
    CLIP_TRY(check_vocabulary(*out, vocabulary, NULL, vocab_path, error));
out:
    json_decref(vocabulary);
    clip_buffer_release(&vocab);
    clip_buffer_release(&merges);
    free(vocab_path);
    free(merges_path);
    return status;
}

clip_status clip_tokenizer_open_folder(struct clip_tokenizer **out, const char *folder,
                                       struct clip_error *error)
{
    char *path;
    struct clip_buffer json;
    *out = NULL;
    clip_status status = read_beside(folder, "tokenizer.json", &path, &json, error);
    if (status == CLIP_OK && json.data != NULL)
        status = clip_tokenizer_parse_json(out, json.data, json.size, path, error);
    else if (status == CLIP_OK)
        status = open_vocabulary(out, folder, error);
    clip_buffer_release(&json);
    free(path);
    if (status != CLIP_OK) {
        clip_tokenizer_free(*out);
        *out = NULL;
    }
    return status;
}

/* The token's text under `key`: a text, or an object with "content". */
static const char *token_text(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    return json_string_value(value);
}

clip_status clip_tokenizer_read_pad(const struct clip_tokenizer *t, const char *folder,
                                    int64_t *pad, struct clip_error *error)
{
    static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json"};
    clip_status status = CLIP_OK;
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found && status == CLIP_OK; i++) {
        char *path;
        struct clip_buffer text;
        status = read_beside(folder, names[i], &path, &text, error);
        /* transformers writes model_max_length = 1e30 without an exponent where there is none */
        json_t *root = status == CLIP_OK && text.data != NULL
                           ? clip_json_parse_reals(text.data, text.size, path, error)
                           : NULL;
        if (status == CLIP_OK && text.data != NULL && root == NULL) status = error->status;
        const char *token = token_text(root, "pad_token");
        int64_t id = token != NULL ? clip_tokenizer_id(t, token) : -1;
        found = token != NULL;
        if (id >= 0) *pad = id;
        json_decref(root);
        clip_buffer_release(&text);
        free(path);
    }
    return status;
}
