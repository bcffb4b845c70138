/* The vocabulary as text: how each id is spelled, and whether it is CLIP's own. */
#include <string.h>
#include <zlib.h>

#include "data/text/tokenizer_internal.h"

#define CLIP_MERGES_CRC32 0x3fc60dfdu /* of the first 48894 merges of bpe_simple_vocab_16e6.txt */

clip_status clip_tokenizer_spell(const struct clip_tokenizer *tokenizer, int32_t id,
                                 struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_alphabet *alphabet = &tokenizer->alphabet;
    if (id < 0 || id >= clip_tokenizer_vocab_size(tokenizer)) {
        return clip_fail(error, CLIP_ERR_DATA, "there is no id %d in a vocabulary of %lld", (int)id,
                         (long long)clip_tokenizer_vocab_size(tokenizer));
    }
    if (tokenizer->unigram != NULL)
        return clip_buffer_printf(out, error, "%s", clip_unigram_name(tokenizer->unigram, id));
    if (id == clip_tokenizer_start(tokenizer))
        return clip_buffer_printf(out, error, "<|startoftext|>");
    if (id == clip_tokenizer_end(tokenizer)) return clip_buffer_printf(out, error, "<|endoftext|>");
    for (int64_t i = tokenizer->byte_offset[id]; i < tokenizer->byte_offset[id + 1]; i++) {
        int32_t symbol = alphabet->symbol[(unsigned char)tokenizer->bytes.data[i]];
        CLIP_TRY(clip_buffer_printf(out, error, "%s", alphabet->spelling[symbol]));
    }
    if (tokenizer->ends_word[id]) CLIP_TRY(clip_buffer_printf(out, error, "</w>"));
out:
    return status;
}

int64_t clip_tokenizer_id(const struct clip_tokenizer *tokenizer, const char *spelling)
{
    struct clip_buffer mine = {0};
    struct clip_error ignored;
    int64_t id = clip_tokenizer_vocab_size(tokenizer) - 1; /* the ends are asked for most */
    for (; id >= 0; id--) {
        mine.size = 0;
        if (clip_tokenizer_spell(tokenizer, (int32_t)id, &mine, &ignored) != CLIP_OK)
            id = 0;
        else if (strcmp(mine.data, spelling) == 0)
            break;
    }
    clip_buffer_release(&mine);
    return id;
}

bool clip_tokenizer_is_clip(const struct clip_tokenizer *tokenizer)
{
    const struct clip_buffer *text = &tokenizer->text;
    const char *merges = text->data != NULL ? memchr(text->data, '\n', text->size) : NULL;
    if (tokenizer->merge_count != CLIP_BPE_MERGES_MAX || merges == NULL) return false;
    merges++;
    size_t n = text->size - (size_t)(merges - text->data);
    while (n > 0 && merges[n - 1] == '\n') n--;
    return crc32_z(0, (const unsigned char *)merges, n) == CLIP_MERGES_CRC32;
}
