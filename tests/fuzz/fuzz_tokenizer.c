/* Any bytes as a tokenizer file, and as a caption for what was read or for bytes alone. The first
 * byte cuts the input in two: the file's lines and the caption. Captions are learned from as well.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was encoded must decode, and again give a file that parses to the same. */
static void use(const struct clip_tokenizer *tokenizer, const char *text, size_t n)
{
    struct clip_error error;
    for (int cleaning = 0; cleaning < 2; cleaning++) {
        struct clip_ids ids = {0};
        struct clip_buffer back = {0};
        bool cut = false;
        if (clip_tokenizer_encode(tokenizer, text, n, cleaning, 0, &ids, &cut, &error) == CLIP_OK) {
            if (ids.count < 2 || cut) abort();
            if (clip_tokenizer_decode(tokenizer, ids.ids, ids.count, &back, &error) != CLIP_OK) {
                abort();
            }
        } else if (ids.count != 0 || error.message[0] == '\0') {
            abort();
        }
        clip_buffer_release(&back);
        clip_ids_release(&ids);
    }
    size_t size;
    const char *lines = clip_tokenizer_text(tokenizer, &size);
    struct clip_tokenizer *again = NULL;
    if (clip_tokenizer_parse(&again, lines, size, "again", &error) != CLIP_OK) abort();
    if (clip_tokenizer_vocab_size(again) != clip_tokenizer_vocab_size(tokenizer)) abort();
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
