/* Any bytes as a config.json, preprocessor_config.json, open_clip_config.json or
 * adapter_config.json (the first byte chooses): read or refused in a sentence, and what was read of
 * a model can be written and read again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "formats/model_adapter.h"
#include "formats/model_description.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clip_model_description d = clip_model_description_default(), again;
    struct clip_error error = {0};
    struct clip_buffer text = {0};
    if (size == 0) return 0;
    const char *json = (const char *)data + 1;
    if (data[0] % 4 == 3) {
        struct clip_adapter adapter;
        if (clip_adapter_parse(&adapter, json, size - 1, "fuzz", &error) != CLIP_OK) {
            if (error.message[0] == '\0') abort();
            return 0;
        }
        if (adapter.rank < 1 || adapter.base == NULL) abort();
        clip_adapter_release(&adapter);
        return 0;
    }
    d.config.embed_dim = 8;
    clip_model_description_unify(&d);
    bool found = false;
    clip_status status =
        data[0] % 4 == 0
            ? clip_model_description_parse_huggingface(json, size - 1, "fuzz", &d, &error)
        : data[0] % 8 == 1 ? clip_preprocessor_parse(json, size - 1, "fuzz", &d, &found, &error)
        : data[0] % 8 == 5 ? clip_processor_parse(json, size - 1, "fuzz", &d, &found, &error)
                           : clip_model_description_parse(json, size - 1, "fuzz", &d, &error);
    if (status != CLIP_OK) {
        if (error.message[0] == '\0') abort();
        return 0;
    }
    if (clip_model_description_format(&d, &text, &error) == CLIP_OK &&
        clip_model_description_parse(text.data, text.size, "again", &again, &error) != CLIP_OK)
        abort();
    clip_buffer_release(&text);
    return 0;
}
