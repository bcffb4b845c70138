#include "data/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "data/text/tokenizer_internal.h"

#ifndef CLIP_PREFIX
#define CLIP_PREFIX "/usr/local"
#endif

enum { FILE_MAX = 64 << 20 }; /* bytes unpacked; OpenAI's file has 3 MB */
static const char clip_file[] = "bpe_simple_vocab_16e6.txt.gz";

/* folder/name where that is there; NULL otherwise, *status telling whether memory was short. */
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

/* The path of CLIP's own vocabulary. free() it; NULL with *error filled. */
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
    if (is_clip && (*out)->merge_count != CLIP_BPE_MERGES_MAX) {
        int64_t merges = (*out)->merge_count;
        clip_tokenizer_free(*out);
        *out = NULL;
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s holds %lld merges, but CLIP's vocabulary has %d: it is cut or "
                           "another tokenizer; fetch it again, or name the file instead of clip",
                           path, (long long)merges, CLIP_BPE_MERGES_MAX));
    }
out:
    clip_buffer_release(&bytes);
    free(path);
    return status;
}

void clip_tokenizer_free(struct clip_tokenizer *tokenizer)
{
    if (tokenizer == NULL) return;
    clip_unigram_free(tokenizer->unigram);
    clip_splitter_release(&tokenizer->splitter);
    clip_int_map_release(&tokenizer->merges);
    clip_buffer_release(&tokenizer->text);
    clip_buffer_release(&tokenizer->bytes);
    free(tokenizer->made);
    free(tokenizer->byte_offset);
    free(tokenizer->ends_word);
    free(tokenizer);
}

void clip_tokenizer_pad(struct clip_tokenizer *tokenizer, int32_t pad)
{
    tokenizer->pads = true;
    tokenizer->pad = pad;
}

int64_t clip_tokenizer_vocab_size(const struct clip_tokenizer *tokenizer)
{
    if (tokenizer->unigram != NULL) return clip_unigram_size(tokenizer->unigram);
    return CLIP_BPE_BASE + tokenizer->merge_count + CLIP_BPE_ENDS;
}

int32_t clip_tokenizer_start(const struct clip_tokenizer *tokenizer)
{
    if (tokenizer->unigram != NULL) return -1;
    return (int32_t)clip_tokenizer_vocab_size(tokenizer) - 2;
}

int32_t clip_tokenizer_end(const struct clip_tokenizer *tokenizer)
{
    if (tokenizer->unigram != NULL) return clip_unigram_end(tokenizer->unigram);
    return (int32_t)clip_tokenizer_vocab_size(tokenizer) - 1;
}

bool clip_tokenizer_is_unigram(const struct clip_tokenizer *tokenizer)
{
    return tokenizer->unigram != NULL;
}

const char *clip_tokenizer_text(const struct clip_tokenizer *tokenizer, size_t *size)
{
    *size = tokenizer->text.size;
    return tokenizer->text.data;
}

clip_status clip_tokenizer_decode(const struct clip_tokenizer *tokenizer, const int32_t *ids,
                                  int64_t count, struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t vocab_size = clip_tokenizer_vocab_size(tokenizer);
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= vocab_size) {
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "id %d is outside the vocabulary of %lld; decode with the tokenizer "
                               "that made it",
                               ids[i], (long long)vocab_size));
        }
        if (tokenizer->unigram != NULL) {
            if (ids[i] != clip_tokenizer_end(tokenizer))
                CLIP_TRY(clip_unigram_decode(tokenizer->unigram, ids[i], out, error));
            continue;
        }
        if (ids[i] >= vocab_size - CLIP_BPE_ENDS) continue;
        int64_t from = tokenizer->byte_offset[ids[i]], to = tokenizer->byte_offset[ids[i] + 1];
        CLIP_TRY(clip_buffer_append(out, tokenizer->bytes.data + from, (size_t)(to - from), error));
        if (tokenizer->ends_word[ids[i]]) CLIP_TRY(clip_buffer_append(out, " ", 1, error));
    }
out:
    return status;
}

/* All of `text` as one gzip member without name or time. */
static clip_status pack(struct clip_buffer *out, const char *text, size_t size,
                        struct clip_error *error)
{
    z_stream stream = {0};
    if (size > FILE_MAX || deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                                        Z_DEFAULT_STRATEGY) != Z_OK)
        return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for packing %zu bytes", size);
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
