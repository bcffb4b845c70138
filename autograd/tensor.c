#include "autograd/tensor.h"

#include <assert.h>

size_t clip_dtype_size(enum clip_dtype dtype)
{
    static const size_t sizes[] = {
        [CLIP_F32] = 4, [CLIP_F16] = 2, [CLIP_BF16] = 2,
        [CLIP_I32] = 4, [CLIP_I64] = 8, [CLIP_U8] = 1,
    };
    return sizes[dtype];
}

const char *clip_dtype_name(enum clip_dtype dtype)
{
    static const char *const names[] = {
        [CLIP_F32] = "F32", [CLIP_F16] = "F16", [CLIP_BF16] = "BF16",
        [CLIP_I32] = "I32", [CLIP_I64] = "I64", [CLIP_U8] = "U8",
    };
    return names[dtype];
}

int64_t clip_tensor_count(const struct clip_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->ndim; i++) count *= tensor->shape[i];
    return count;
}

int64_t clip_tensor_width(const struct clip_tensor *tensor)
{
    return tensor->ndim == 0 ? 1 : tensor->shape[tensor->ndim - 1];
}

int64_t clip_tensor_rows(const struct clip_tensor *tensor)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < tensor->ndim; i++) rows *= tensor->shape[i];
    return rows;
}

struct clip_tensor clip_tensor_view(enum clip_dtype dtype, void *data, int ndim,
                                    const int64_t *shape)
{
    assert(ndim >= 0 && ndim <= CLIP_MAX_DIMS);
    struct clip_tensor tensor = {.dtype = dtype, .ndim = ndim, .data = data};
    for (int i = 0; i < ndim; i++) tensor.shape[i] = shape[i];
    return tensor;
}

struct clip_tensor clip_tensor_f32(float *data, int64_t rows, int64_t width)
{
    return clip_tensor_view(CLIP_F32, data, 2, (const int64_t[]){rows, width});
}

struct clip_tensor clip_tensor_i32(int32_t *data, int64_t n)
{
    return clip_tensor_view(CLIP_I32, data, 1, (const int64_t[]){n});
}
