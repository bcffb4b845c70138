/* numpy's .npy, version 1.0 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html):
 * "\x93NUMPY", 1, 0, the header's length (2 bytes, little-endian), the header (a Python dict as
 * text, spaces, a newline, ending at a multiple of 64), the elements in C order. */

#include "checkpoints/internal.h"

clip_status clip_npy_write(const char *path, const struct clip_tensor *tensor,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    struct clip_buffer header = {0};
    if (tensor->dtype != CLIP_F32) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: a tensor of type %s cannot be written as .npy; "
                         "only F32 can",
                         path, clip_dtype_name(tensor->dtype));
    }
    CLIP_TRY(clip_buffer_append(&header, "\x93NUMPY\x01\x00\x00\x00", 10, error));
    CLIP_TRY(clip_buffer_printf(&header, error,
                                "{'descr': '<f4', 'fortran_order': False, "
                                "'shape': ("));
    for (int i = 0; i < tensor->ndim; i++) {
        const char *behind = tensor->ndim == 1 ? "," : i + 1 < tensor->ndim ? ", " : "";
        CLIP_TRY(clip_buffer_printf(&header, error, "%lld%s", (long long)tensor->shape[i], behind));
    }
    CLIP_TRY(clip_buffer_printf(&header, error, "), }"));
    while (header.size % 64 != 63) CLIP_TRY(clip_buffer_append(&header, " ", 1, error));
    CLIP_TRY(clip_buffer_append(&header, "\n", 1, error));
    header.data[8] = (char)(unsigned char)((header.size - 10) & 0xff);
    header.data[9] = (char)(unsigned char)((header.size - 10) >> 8);
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    CLIP_TRY(clip_atomic_put(&file, header.data, header.size, error));
    CLIP_TRY(clip_atomic_put(&file, tensor->data, clip_tensor_bytes(tensor), error));
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    clip_buffer_release(&header);
    return status;
}
