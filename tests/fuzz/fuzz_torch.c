/* Any bytes as one of PyTorch's archives, and as the pickle in one: read or refused in a sentence,
 * and what was read can be touched to its end. The first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/pickle.h"
#include "tests/fuzz/touch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool any(const char *name) { return strchr(name, ' ') != NULL; }

static void as_pickle(const uint8_t *data, size_t size)
{
    struct clip_arena arena = {0};
    struct clip_pickle_value *root = NULL;
    struct clip_error error = {0};
    if (clip_pickle_parse(data, size, "fuzz", any, &arena, &root, &error) == CLIP_OK) {
        if (root == NULL) abort();
        clip_pickle_get(root, "state_dict");
    } else if (error.message[0] == '\0') {
        abort();
    }
    clip_arena_release(&arena);
}

static void as_archive(const uint8_t *data, size_t size)
{
    struct clip_bundle bundle = {0};
    struct clip_error error = {0};
    if (clip_torch_parse(data, size, "fuzz", &bundle, &error) != CLIP_OK) {
        if (error.message[0] == '\0' || bundle.tensor_count != 0) abort();
        return;
    }
    touch(&bundle);
    clip_bundle_release(&bundle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] & 1)
        as_pickle(data + 1, size - 1);
    else
        as_archive(data + 1, size - 1);
    return 0;
}
