/* Any bytes as a safetensors file: read or refused, and what was read can be touched to its end. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/fuzz/touch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clip_bundle bundle = {0};
    struct clip_error error;
    if (clip_safetensors_parse(data, size, "fuzz", &bundle, &error) != CLIP_OK) {
        if (error.message[0] == 0 || bundle.tensor_count != 0) abort();
        return 0;
    }
    touch(&bundle);
    for (int64_t i = 0; i < bundle.tensor_count; i++)
        if (clip_bundle_find(&bundle, bundle.tensors[i].name) != &bundle.tensors[i].tensor) abort();
    clip_bundle_release(&bundle);
    return 0;
}
