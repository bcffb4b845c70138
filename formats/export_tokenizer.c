/* A tokenizer's files as transformers' CLIPTokenizer saves and reads them: vocab.json and
 * merges.txt for every version, tokenizer.json for the tokenizers library alone. */
#include <stdlib.h>
#include <string.h>

#include "formats/export_parts.h"

#define START "<|startoftext|>"
#define END "<|endoftext|>"

/* {"!": 0, ...}; where two ids are spelled alike the later one is meant, as in open_clip. */
static clip_status make_vocabulary(const struct clip_tokenizer *tokenizer, json_t **out,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer spelling = {0};
    json_t *vocabulary = json_object();
    int64_t count = tokenizer->vocab_size;
    for (int32_t id = 0; id < count; id++) {
        spelling.size = 0;
        CLIP_TRY(clip_tokenizer_spell(tokenizer, id, &spelling, error));
        if (json_object_set_new(vocabulary, spelling.data, json_integer(id)) != 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "memory is short for the vocabulary"));
    }
    *out = vocabulary;
    vocabulary = NULL;
out:
    json_decref(vocabulary);
    clip_buffer_release(&spelling);
    return status;
}

/* The merges of CLIP's text format, without its header; *n bytes, no line feed at the end. */
static const char *merge_lines(const struct clip_tokenizer *tokenizer, size_t *n)
{
    const char *text = tokenizer->text.data;
    *n = tokenizer->text.size;
    const char *first = memchr(text, '\n', *n);
    *n = first != NULL ? *n - (size_t)(first + 1 - text) : 0;
    while (*n > 0 && first[*n] == '\n') --*n;
    return first != NULL ? first + 1 : text;
}

json_t *clip_export_merges(const struct clip_tokenizer *tokenizer)
{
    size_t n;
    const char *at = merge_lines(tokenizer, &n), *end = at + n;
    json_t *list = json_array();
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        clip_json_push(&list, json_stringn(at, (size_t)(stop - at)));
        at = stop + 1;
    }
    return list;
}

static json_t *special_token(int32_t id, const char *content)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content", content,
                     "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
}

/* The pipeline that transformers' CLIPTokenizer builds. */
static json_t *fast_tokenizer(const struct clip_tokenizer *tokenizer, json_t *vocabulary)
{
    static const char pattern[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|"
                                  "[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
    int32_t start = tokenizer->start, end = tokenizer->end;
    json_t *normalizer = json_pack("{s:s, s:[{s:s}, {s:s, s:{s:s}, s:s}, {s:s}]}", "type",
                                   "Sequence", "normalizers", "type", "NFC", "type", "Replace",
                                   "pattern", "Regex", "\\s+", "content", " ", "type", "Lowercase");
    json_t *pre_tokenizer = json_pack(
        "{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, {s:s, s:b, s:b, s:b}]}", "type", "Sequence",
        "pretokenizers", "type", "Split", "pattern", "Regex", pattern, "behavior", "Removed",
        "invert", 1, "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1);
    json_t *post_processor = json_pack("{s:s, s:[s, i], s:[s, i], s:b, s:b}", "type",
                                       "RobertaProcessing", "sep", END, (int)end, "cls", START,
                                       (int)start, "trim_offsets", 0, "add_prefix_space", 0);
    json_t *decoder = json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 1,
                                "trim_offsets", 1, "use_regex", 1);
    json_t *model = json_pack("{s:s, s:n, s:s, s:s, s:s, s:b, s:b, s:b, s:O, s:o}", "type", "BPE",
                              "dropout", "unk_token", END, "continuing_subword_prefix", "",
                              "end_of_word_suffix", "</w>", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", 0, "vocab", vocabulary, "merges",
                              clip_export_merges(tokenizer));
    return json_pack("{s:s, s:n, s:n, s:[o, o], s:o, s:o, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", special_token(start, START),
                     special_token(end, END), "normalizer", normalizer, "pre_tokenizer",
                     pre_tokenizer, "post_processor", post_processor, "decoder", decoder, "model",
                     model);
}

/* A tokenizer.json as it came, and what texts are filled up with. */
static clip_status export_json(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_tokenizer *tokenizer = export->file->tokenizer;
    const struct clip_model_file *file = export->file;
    struct clip_buffer pad = {0}, end = {0};
    CLIP_TRY(clip_export_text(export->path, "tokenizer.json", &tokenizer->text, error));
    CLIP_TRY(clip_tokenizer_spell(tokenizer, tokenizer->end, &end, error));
    CLIP_TRY(clip_tokenizer_spell(tokenizer, (int32_t)file->ids.pad, &pad, error));
    CLIP_TRY(clip_export_json(export->path, "tokenizer_config.json",
                              json_pack("{s:s, s:s, s:s, s:I}", "tokenizer_class",
                                        "PreTrainedTokenizerFast", "eos_token", end.data,
                                        "pad_token", pad.data, "model_max_length",
                                        (json_int_t)file->model->config.context_length),
                              error));
out:
    clip_buffer_release(&pad);
    clip_buffer_release(&end);
    return status;
}

clip_status clip_export_tokenizer(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_tokenizer *tokenizer = export->file->tokenizer;
    const struct clip_model_file *file = export->file;
    struct clip_buffer merges = {0}, pad = {0};
    json_t *vocabulary = NULL;
    if (tokenizer == NULL) return CLIP_OK;
    if (!tokenizer->merges) return export_json(export, error);
    CLIP_TRY(make_vocabulary(tokenizer, &vocabulary, error));
    int32_t filler = tokenizer->end; /* only whole rows have it read */
    if (file->model->config.text.whole_rows) filler = (int32_t)file->ids.pad;
    CLIP_TRY(clip_tokenizer_spell(tokenizer, filler, &pad, error));
    CLIP_TRY(clip_export_json(export->path, "tokenizer.json", fast_tokenizer(tokenizer, vocabulary),
                              error));
    CLIP_TRY(clip_export_json(export->path, "vocab.json", json_incref(vocabulary), error));
    size_t n;
    const char *lines = merge_lines(tokenizer, &n);
    CLIP_TRY(clip_buffer_printf(&merges, error, "#version: 0.2%s\n",
                                n == 0 ? " - clip.c, 0 merges" : ""));
    CLIP_TRY(clip_buffer_append(&merges, lines, n, error));
    CLIP_TRY(clip_buffer_append(&merges, "\n", n > 0 ? 1 : 0, error));
    CLIP_TRY(clip_export_text(export->path, "merges.txt", &merges, error));
    CLIP_TRY(clip_export_json(export->path, "tokenizer_config.json",
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I}", "tokenizer_class",
                                        "CLIPTokenizer", "bos_token", START, "eos_token", END,
                                        "unk_token", END, "pad_token", pad.data, "add_prefix_space",
                                        0, "model_max_length",
                                        (json_int_t)file->model->config.context_length),
                              error));
    CLIP_TRY(clip_export_json(export->path, "special_tokens_map.json",
                              json_pack("{s:s, s:s, s:s, s:s}", "bos_token", START, "eos_token",
                                        END, "unk_token", END, "pad_token", pad.data),
                              error));
out:
    clip_buffer_release(&merges);
    clip_buffer_release(&pad);
    json_decref(vocabulary);
    return status;
}
