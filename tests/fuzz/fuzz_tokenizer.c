/* Any bytes as a tokenizer file, and as a caption for what was read or for bytes alone. The first
 * byte cuts the input in two: the file's lines and the caption. Captions are learned from as well.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was encoded must be spelled, and the text must parse to the same tokenizer. */
static void use(const struct clip_tokenizer *tokenizer, const char *text, size_t n)
{
    struct clip_error error;
    for (int cleaning = 0; cleaning < 2; cleaning++) {
        struct clip_ids ids = {0};
        struct clip_buffer spelling = {0};
        bool cut = false;
        if (clip_tokenizer_encode(tokenizer, text, n, &(struct clip_encode_options){cleaning}, &ids,
                                  &cut, &error) == CLIP_OK) {
            if (ids.count < 1 || ids.ids[ids.count - 1] != tokenizer->end || cut) abort();
            for (int64_t i = 0; i < ids.count; i++)
                if (clip_tokenizer_spell(tokenizer, ids.ids[i], &spelling, &error) != CLIP_OK)
                    abort();
        } else if (ids.count != 0 || error.message[0] == '\0') {
            abort();
        }
        clip_buffer_release(&spelling);
        clip_ids_release(&ids);
    }
    const struct clip_buffer *lines = &tokenizer->text;
    struct clip_tokenizer *again = NULL;
    if (clip_tokenizer_parse(&again, lines->data, lines->size, "again", &error) != CLIP_OK) abort();
    if (!clip_tokenizer_equal(again, tokenizer)) abort();
    if (again->vocab_size != tokenizer->vocab_size) abort();
    clip_tokenizer_free(again);
}

static void learn(const char *text, size_t n)
{
    struct clip_buffer out = {0};
    struct clip_error error;
    if (clip_tokenizer_train(&text, &n, 1, 540, CLIP_TEXT_OPEN_CLIP, &out, &error) == CLIP_OK) {
        struct clip_tokenizer *learned = NULL;
        if (clip_tokenizer_parse(&learned, out.data, out.size, "learned", &error) != CLIP_OK) {
            abort();
        }
        use(learned, text, n);
        clip_tokenizer_free(learned);
    }
    clip_buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    size_t lines = (size - 1) * data[0] / 255;
    const char *file = (const char *)data + 1, *text = file + lines;
    size_t n = size - 1 - lines;
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error;
    if (clip_tokenizer_parse(&tokenizer, file, lines, "input", &error) == CLIP_OK) {
        use(tokenizer, text, n);
    } else if (tokenizer != NULL || error.message[0] == '\0') {
        abort();
    }
    clip_tokenizer_free(tokenizer);
    learn(text, n);
    return 0;
}
