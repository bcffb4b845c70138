/* Any bytes as a GGUF file: read or refused, and what was read can be touched to its end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "checkpoints/gguf.h"
#include "tests/fuzz/touch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clip_bundle bundle = {0};
    struct clip_error error;
    json_t *values;
    if (clip_gguf_parse(data, size, "fuzz", &values, &bundle, &error) != CLIP_OK) {
        if (error.message[0] == 0 || bundle.tensor_count != 0 || values) abort();
        return 0;
    }
    touch(&bundle);
    json_decref(values);
    clip_bundle_release(&bundle);
    return 0;
}
