/* CLIP's byte-level BPE in a tokenizer.json (github.com/huggingface/tokenizers). Such a file
 * describes a whole pipeline, and each of its parts must be exactly CLIP's. */
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "data/text/tokenizer_internal.h"

static clip_status unknown(const char *name, const char *what, const json_t *value,
                           struct clip_error *error)
{
    const char *text = json_string_value(value);
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s: the tokenizer's %s (%.60s) is not CLIP's, so its ids would be wrong "
                     "here; use a tokenizer of CLIP's kind",
                     name, what, text != NULL ? text : "another value");
}

/* Is it a sequence of steps of these types? */
static bool is_sequence(const json_t *object, const char *key, const char *const *types, size_t n)
{
    const json_t *steps = json_object_get(object, key);
    if (!clip_json_is(object, "type", "Sequence") || json_array_size(steps) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (!clip_json_is(json_array_get(steps, i), "type", types[i])) return false;
    return true;
}

/* Is the pattern CLIP's, with or without the two literals before it? */
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
        !clip_json_is(json_object_get(replace, "pattern"), "Regex", "\\s+") ||
        !clip_json_is(replace, "content", " "))
        return unknown(name, "normalizer", json_object_get(normalizer, "type"), error);
    if (!is_sequence(pre, "pretokenizers", cutting, 2) ||
        !is_clip_pattern(json_array_get(pieces, 0)) ||
        !json_is_true(json_object_get(json_array_get(pieces, 0), "invert")) ||
        json_is_true(json_object_get(json_array_get(pieces, 1), "add_prefix_space")))
        return unknown(name, "pre_tokenizer", json_object_get(pre, "type"), error);
    if (!clip_json_is(model, "end_of_word_suffix", "</w>"))
        return unknown(name, "end_of_word_suffix", suffix, error);
    if (json_is_true(json_object_get(model, "byte_fallback")) ||
        json_is_true(json_object_get(model, "ignore_merges")) ||
        json_is_number(json_object_get(model, "dropout")))
        return unknown(name, "model", json_object_get(model, "type"), error);
    return CLIP_OK;
}

/* Turns merges, "a b" or ["a", "b"], into lines of CLIP's text format. */
static clip_status merge_lines(const json_t *merges, const char *name, struct clip_buffer *out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t i;
    json_t *merge;
    /* a header of ours promises that there are none; after another there has to be one */
    bool none = json_is_array(merges) && json_array_size(merges) == 0;
    CLIP_TRY(clip_buffer_printf(out, error, "#version: 0.2%s", none ? " - clip.c, 0 merges" : ""));
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

/* Lists the ids of added tokens by their texts; of equal texts the last one counts. */
static clip_status list_added(struct clip_string_map *ids, const json_t *added,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_entry *entry;
    size_t i;
    json_t *token;
    json_array_foreach(added, i, token)
    {
        const char *content = json_string_value(json_object_get(token, "content"));
        if (content == NULL) continue;
        CLIP_TRY(clip_string_map_add(ids, content, strlen(content), 0, &entry, error));
        entry->value = json_integer_value(json_object_get(token, "id"));
    }
out:
    return status;
}

/* Checks that an id's `spelling` is in the vocabulary (or among the added tokens) with that id. If
 * a text is spelled twice, the later one is meant. `spelling` keeps its text. */
static clip_status check_id(const struct clip_tokenizer *t, const json_t *vocabulary,
                            const struct clip_string_map *added, int32_t id,
                            struct clip_buffer *spelling, bool *fine, struct clip_error *error)
{
    size_t mine = spelling->size;
    const char *text = spelling->data;
    int64_t place = clip_string_map_find(added, text, mine);
    *fine = place >= 0 ? place == id : has_id(vocabulary, text, id);
    if (*fine) return CLIP_OK;
    int64_t later = json_integer_value(json_object_get(vocabulary, text));
    if (later <= id || later >= t->vocab_size) return CLIP_OK;
    clip_status status = clip_tokenizer_spell(t, (int32_t)later, spelling, error);
    if (status != CLIP_OK) return status;
    *fine = spelling->size == 2 * mine && memcmp(spelling->data, spelling->data + mine, mine) == 0;
    spelling->data[mine] = '\0';
    return CLIP_OK;
}

clip_status clip_bpe_check_vocabulary(const struct clip_tokenizer *t, const json_t *vocabulary,
                                      const json_t *added, const char *name,
                                      struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer spelling = {0};
    struct clip_string_map ids = {.borrows = true};
    bool fine;
    size_t i;
    json_t *token;
    CLIP_TRY(list_added(&ids, added, error));
    for (int32_t id = 0; id < t->vocab_size; id++) {
        spelling.size = 0;
        CLIP_TRY(clip_tokenizer_spell(t, id, &spelling, error));
        CLIP_TRY(check_id(t, vocabulary, &ids, id, &spelling, &fine, error));
        if (!fine)
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s: \"%.60s\" does not have the id %d that its place among the "
                               "merges gives; only vocabularies in CLIP's order can be read",
                               name, spelling.data, (int)id));
    }
    json_array_foreach(added, i, token)
    {
        if (json_integer_value(json_object_get(token, "id")) < t->vocab_size) continue;
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the added token \"%.60s\" is not one of CLIP's; remove it, or "
                           "train with a tokenizer of your own",
                           name, json_string_value(json_object_get(token, "content"))));
    }
out:
    clip_string_map_release(&ids);
    clip_buffer_release(&spelling);
    return status;
}

clip_status clip_bpe_read_json(struct clip_tokenizer **out, const json_t *root, const char *name,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer lines = {0};
    const json_t *model = json_object_get(root, "model");
    *out = NULL;
    if (!clip_json_is(model, "type", "BPE")) return CLIP_OK;
    CLIP_TRY(check_clip(root, model, name, error));
    CLIP_TRY(merge_lines(json_object_get(model, "merges"), name, &lines, error));
    CLIP_TRY(clip_bpe_read_merges(out, lines.data, lines.size, name, error));
    CLIP_TRY(clip_bpe_check_vocabulary(*out, json_object_get(model, "vocab"),
                                       json_object_get(root, "added_tokens"), name, error));
out:
    clip_buffer_release(&lines);
    if (status != CLIP_OK) {
        clip_tokenizer_free(*out);
        *out = NULL;
    }
    return status;
}
