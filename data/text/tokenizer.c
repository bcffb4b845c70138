/* What tokenizers of all kinds do. */
#include "data/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "data/text/tokenizer_internal.h"

void clip_ids_release(struct clip_ids *ids)
{
    free(ids->ids);
    *ids = (struct clip_ids){0};
}

clip_status clip_ids_add(struct clip_ids *ids, int32_t id, struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids, error);
    if (status == CLIP_OK) ids->ids[ids->count++] = id;
    return status;
}

void clip_tokenizer_free(struct clip_tokenizer *tokenizer)
{
    if (tokenizer == NULL) return;
    clip_buffer_release(&tokenizer->text);
    tokenizer->ops->free(tokenizer);
}

void clip_tokenizer_pad(struct clip_tokenizer *tokenizer, int32_t pad)
{
    tokenizer->pads = true;
    tokenizer->pad = pad;
}

clip_status clip_tokenizer_encode(const struct clip_tokenizer *tokenizer, const char *text,
                                  size_t n, const struct clip_encode_options *options,
                                  struct clip_ids *out, bool *cut, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t first = out->count, context_length = options->context_length;
    if (cut != NULL) *cut = false;
    CLIP_TRY(tokenizer->ops->encode(tokenizer, text, n, options->cleaning, out, error));
    if (context_length > 0 && out->count - first > context_length) {
        out->count = first + context_length;
        out->ids[out->count - 1] = tokenizer->end;
        if (cut != NULL) *cut = true;
    }
    while (tokenizer->pads && out->count - first < context_length)
        CLIP_TRY(clip_ids_add(out, tokenizer->pad, error));
out:
    if (status != CLIP_OK) out->count = first;
    return status;
}

bool clip_tokenizer_is_empty(const struct clip_tokenizer *tokenizer, const int32_t *ids,
                             int64_t count)
{
    int64_t ends = tokenizer->start >= 0 ? 2 : 1;
    while (tokenizer->pads && count > ends && ids[count - 1] == tokenizer->pad) count--;
    return count <= ends;
}

clip_status clip_tokenizer_spell(const struct clip_tokenizer *tokenizer, int32_t id,
                                 struct clip_buffer *out, struct clip_error *error)
{
    if (id < 0 || id >= tokenizer->vocab_size)
        return clip_fail(error, CLIP_ERR_DATA, "there is no id %d in a vocabulary of %lld", (int)id,
                         (long long)tokenizer->vocab_size);
    return tokenizer->ops->spell(tokenizer, id, out, error);
}

bool clip_tokenizer_equal(const struct clip_tokenizer *a, const struct clip_tokenizer *b)
{
    return a->text.size == b->text.size && memcmp(a->text.data, b->text.data, a->text.size) == 0;
}

int64_t clip_tokenizer_id(const struct clip_tokenizer *tokenizer, const char *spelling)
{
    struct clip_buffer mine = {0};
    struct clip_error ignored;
    int64_t id = tokenizer->vocab_size - 1; /* the ends are asked for most often */
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
