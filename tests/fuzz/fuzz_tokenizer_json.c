/* Any bytes as a tokenizer.json: read or refused in a sentence; what was read cuts a text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "data/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "two green  Squares\n, 42 times</s>\xC3\xA9"
                               "e\xCC\x81\xEF\xAC\x81\xEF\xBC\xA1\xC2\xB2\xE2\x80\x8B";
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_error error = {0};
    struct clip_ids ids = {0};
    clip_status status = clip_tokenizer_parse(&tokenizer, (const char *)data, size, "fuzz", &error);
    if (status != CLIP_OK) {
        if (error.message[0] == '\0' || tokenizer != NULL) abort();
        return 0;
    }
    if (clip_tokenizer_encode(tokenizer, text, strlen(text),
                              &(struct clip_encode_options){CLIP_TEXT_HUGGINGFACE, 12}, &ids, NULL,
                              &error) != CLIP_OK)
        abort();
    for (int64_t i = 0; i < ids.count; i++) {
        if (ids.ids[i] < 0 || ids.ids[i] >= tokenizer->vocab_size) abort();
    }
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
    return 0;
}
