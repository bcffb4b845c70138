/* Tokenizers in files: which kind a file holds, where CLIP's own is looked for, what transformers
 * keeps beside weights, and writing. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/count.h"
#include "core/file.h"
#include "core/json.h"
#include "data/text/tokenizer_internal.h"

#ifndef CLIP_PREFIX
#define CLIP_PREFIX "/usr/local"
#endif

enum {
    FILE_MAX = 64 << 20,   /* bytes unpacked; OpenAI's file has 3 MB */
    JSON_LIMIT = 256 << 20 /* bytes; Gemma's tokenizer.json has 34 million */
};
static const char clip_file[] = "bpe_simple_vocab_16e6.txt.gz";

/* ---- which kind? ---- */

/* The readers of the kinds that a tokenizer.json may hold. A new kind is a file and a row here. */
static clip_tokenizer_reader *const readers[] = {clip_bpe_read_json, clip_unigram_read_json};

static clip_status parse_json(struct clip_tokenizer **out, const char *bytes, size_t n,
                              const char *name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = NULL;
    json_t *root = clip_json_parse(bytes, n, name, error);
    if (root == NULL) return error->status;
    for (size_t i = 0; i < sizeof readers / sizeof *readers && *out == NULL; i++)
        CLIP_TRY(readers[i](out, root, name, error));
    if (*out == NULL) {
        const json_t *type = json_object_get(json_object_get(root, "model"), "type");
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the tokenizer's model is %.40s; BPE and Unigram can be read (is "
                           "this a tokenizer.json?)",
                           name, json_is_string(type) ? json_string_value(type) : "not named"));
    }
    if (!(*out)->merges) CLIP_TRY(clip_buffer_append(&(*out)->text, bytes, n, error));
out:
    json_decref(root);
    if (status != CLIP_OK) {
        clip_tokenizer_free(*out);
        *out = NULL;
    }
    return status;
}

clip_status clip_tokenizer_parse(struct clip_tokenizer **out, const char *bytes, size_t n,
                                 const char *name, struct clip_error *error)
{
    size_t blanks = 0;
    while (blanks < n && isspace((unsigned char)bytes[blanks])) blanks++;
    if (blanks < n && bytes[blanks] == '{') return parse_json(out, bytes, n, name, error);
    return clip_bpe_read_merges(out, bytes, n, name, error);
}

/* ---- TOKENIZER ---- */

/* folder/name if it exists, else NULL; *status tells whether memory was short. */
static char *find_in(const char *folder, clip_status *status, struct clip_error *error)
{
    char *path = clip_path_join(folder, clip_file, error);
    if (path == NULL) {
        *status = error->status;
    } else if (!clip_path_exists(path)) {
        free(path);
        path = NULL;
    }
    return path;
}

/* The path of CLIP's own vocabulary, which the caller must free(); NULL with *error filled. */
static char *find_clip(const char *beside, struct clip_error *error)
{
    static const char share[] = CLIP_PREFIX "/share/clip";
    const char *wish = getenv("CLIP_BPE");
    clip_status status = CLIP_OK;
    char *path = NULL;
    if (beside != NULL) path = find_in(beside, &status, error);
    if (path == NULL && status == CLIP_OK && wish != NULL && *wish != '\0') {
        if (clip_path_is_folder(wish)) {
            path = find_in(wish, &status, error);
        } else if (clip_path_exists(wish)) {
            path = clip_string_copy(wish, error);
            if (path == NULL) status = error->status;
        }
        if (path == NULL && status == CLIP_OK) {
            status = clip_fail(error, CLIP_ERR_NOT_FOUND,
                               "%s: $CLIP_BPE names it, but there is no "
                               "%s; set it to where that file lies",
                               wish, clip_file);
        }
    }
    if (path == NULL && status == CLIP_OK) path = find_in(share, &status, error);
    if (path == NULL && status == CLIP_OK) {
        clip_fail(error, CLIP_ERR_NOT_FOUND,
                  "CLIP's vocabulary %s is not there: not in %s, $CLIP_BPE is not set, not in %s; "
                  "take it from the repository of OpenAI's CLIP (clip/%s) or open_clip "
                  "(src/open_clip/%s) and set CLIP_BPE to its path, or train a tokenizer of your "
                  "own with clip_data tokenizer train",
                  clip_file, beside != NULL ? beside : "the model's folder", share, clip_file,
                  clip_file);
    }
    return path;
}

clip_status clip_tokenizer_open(struct clip_tokenizer **out, const char *tokenizer,
                                const char *beside, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer bytes = {0};
    bool is_clip = strcmp(tokenizer, "clip") == 0;
    *out = NULL;
    char *path = is_clip ? find_clip(beside, error) : clip_string_copy(tokenizer, error);
    if (path == NULL) return error->status;
    CLIP_TRY(clip_file_read_gzip(path, FILE_MAX, &bytes, error));
    CLIP_TRY(clip_tokenizer_parse(out, bytes.data, bytes.size, path, error));
    int64_t merges = (*out)->merges ? (*out)->vocab_size - CLIP_BPE_BASE - CLIP_BPE_ENDS : 0;
    if (is_clip && merges != CLIP_BPE_MERGES_MAX) {
        clip_tokenizer_free(*out);
        *out = NULL;
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s holds %s, but CLIP's vocabulary has %d: it is cut or another "
                           "tokenizer; fetch it again, or name the file instead of clip",
                           path, CLIP_COUNT(merges, "merge"), CLIP_BPE_MERGES_MAX));
    }
out:
    clip_buffer_release(&bytes);
    free(path);
    return status;
}

/* ---- folders ---- */

/* Reads folder/name; out->data is NULL if it does not exist. */
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
    CLIP_TRY(clip_bpe_read_merges(out, merges.data, merges.size, merges_path, error));
    CLIP_TRY(clip_bpe_check_vocabulary(*out, vocabulary, NULL, vocab_path, error));
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
        status = parse_json(out, json.data, json.size, path, error);
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

/* The token's text under `key`, which is a text, or an object with "content". */
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
        /* if there is no maximum, transformers writes model_max_length as 1e30 without an
         * exponent */
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

/* ---- writing ---- */

/* Packs all of `text` as one gzip member without name or time. */
static clip_status pack(struct clip_buffer *out, const char *text, size_t size,
                        struct clip_error *error)
{
    z_stream stream = {0};
    if (size > FILE_MAX || deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                                        Z_DEFAULT_STRATEGY) != Z_OK)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for packing %s",
                         CLIP_COUNT(size, "byte"));
    clip_status status = CLIP_OK;
    int code = Z_OK;
    unsigned char chunk[16384];
    stream.next_in = (Bytef *)(uintptr_t)text; /* zlib does not write to it */
    stream.avail_in = (uInt)size;
    while (status == CLIP_OK && code == Z_OK) {
        stream.next_out = chunk;
        stream.avail_out = sizeof chunk;
        code = deflate(&stream, Z_FINISH);
        status = clip_buffer_append(out, chunk, sizeof chunk - stream.avail_out, error);
    }
    deflateEnd(&stream);
    return status;
}

clip_status clip_tokenizer_save(const char *path, const char *text, size_t size,
                                struct clip_error *error)
{
    if (!clip_path_has_suffix(path, ".gz")) return clip_file_write(path, text, size, error);
    clip_status status = CLIP_OK;
    struct clip_buffer packed = {0};
    CLIP_TRY(pack(&packed, text, size, error));
    CLIP_TRY(clip_file_write(path, packed.data, packed.size, error));
out:
    clip_buffer_release(&packed);
    return status;
}
