/* What a fuzz target does with a bundle that was read: every byte of it is there to be touched. */
#ifndef CLIP_TESTS_FUZZ_TOUCH_H
#define CLIP_TESTS_FUZZ_TOUCH_H

#include <stddef.h>

#include "checkpoints/bundle.h"

static inline void touch(const struct clip_bundle *bundle)
{
    unsigned sum = 0;
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        const struct clip_tensor *t = &bundle->tensors[i].tensor;
        size_t n = (size_t)clip_tensor_count(t) * clip_dtype_size(t->dtype);
        for (size_t k = 0; k < n; k++) sum += ((const unsigned char *)t->data)[k];
    }
    volatile unsigned used = sum;
    (void)used;
}

#endif
