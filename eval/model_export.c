/* Exporting: a model in one file, in a narrower type if asked, read back and compared. */
#include <math.h>
#include <string.h>

#include "checkpoints/convert.h"
#include "eval/model_file.h"

/* A copy of a float32 tensor as F16 or BF16, in the bundle's arena. */
static clip_status narrow(struct clip_bundle *bundle, const char *name, struct clip_tensor *tensor,
                          enum clip_dtype dtype, struct clip_error *error)
{
    int64_t n = clip_tensor_count(tensor);
    const float *from = tensor->data;
    uint16_t *to = clip_arena_alloc(&bundle->arena, n, sizeof *to, error);
    if (!to) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        to[i] = dtype == CLIP_F16 ? clip_f32_to_f16(from[i]) : clip_f32_to_bf16(from[i]);
        float back = dtype == CLIP_F16 ? clip_f16_to_f32(to[i]) : clip_bf16_to_f32(to[i]);
        if (isinf(back) && !isinf(from[i])) {
            return clip_fail(error, CLIP_ERR_DATA,
                             "the weight \"%s\" holds %g, too large for %s; export as %s", name,
                             (double)from[i], clip_dtype_name(dtype),
                             dtype == CLIP_F16 ? "bf16 or f32" : "f32");
        }
    }
    tensor->dtype = dtype;
    tensor->data = to;
    return CLIP_OK;
}

/* What is to be written: `all` with its tensors in `dtype`. */
static clip_status convert(struct clip_bundle *out, const struct clip_bundle *all,
                           enum clip_export_format format, enum clip_dtype dtype,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < all->tensor_count; i++) {
        struct clip_tensor tensor = all->tensors[i].tensor;
        if (dtype != CLIP_F32) {
            CLIP_TRY(narrow(out, all->tensors[i].name, &tensor, dtype, error));
        }
        CLIP_TRY(clip_bundle_add(out, all->tensors[i].name, &tensor, error));
    }
    for (int64_t i = 0; i < all->text_count; i++) {
        const struct clip_bundle_text *text = &all->texts[i];
        bool pt = format == CLIP_EXPORT_SAFETENSORS && strcmp(text->key, "format") == 0;
        /* PyTorch's readers look for "format": "pt" in a safetensors file. */
        CLIP_TRY(clip_bundle_add_text(out, text->key, pt ? "pt" : text->value, pt ? 2 : text->size,
                                      error));
    }
out:
    return status;
}

static bool same_tensor(const struct clip_tensor *a, const struct clip_tensor *b)
{
    if (!b || a->dtype != b->dtype || a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++) {
        if (a->shape[i] != b->shape[i]) return false;
    }
    size_t n = (size_t)clip_tensor_count(a) * clip_dtype_size(a->dtype);
    return n == 0 || memcmp(a->data, b->data, n) == 0;
}

static clip_status compare(const struct clip_bundle *written, const struct clip_bundle *read,
                           const char *path, struct clip_error *error)
{
    const char *differs = NULL;
    for (int64_t i = 0; i < written->tensor_count && !differs; i++) {
        const struct clip_bundle_tensor *entry = &written->tensors[i];
        if (!same_tensor(&entry->tensor, clip_bundle_find(read, entry->name))) {
            differs = entry->name;
        }
    }
    for (int64_t i = 0; i < written->text_count && !differs; i++) {
        const struct clip_bundle_text *text = &written->texts[i];
        const struct clip_bundle_text *other = clip_bundle_text(read, text->key);
        if (!other || text->size != other->size
            || memcmp(text->value, other->value, text->size) != 0) {
            differs = text->key;
        }
    }
    if (!differs && written->tensor_count == read->tensor_count
        && written->text_count == read->text_count) {
        return CLIP_OK;
    }
    return clip_fail(error, CLIP_ERR_IO,
                     "%s: \"%s\" reads back differently from what was written; do not use the "
                     "file, check the disk and export again", path,
                     differs ? differs : "the list of names");
}

clip_status clip_model_export(const struct clip_model_file *file, enum clip_export_format format,
                              const char *path, enum clip_dtype dtype, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle all = {0}, written = {0}, read = {0};
    bool native = format == CLIP_EXPORT_HDF5;
    if (dtype != CLIP_F32 && dtype != CLIP_F16 && dtype != CLIP_BF16) {
        return clip_fail(error, CLIP_ERR_USAGE, "weights cannot be exported as %s; expected f32, "
                         "f16 or bf16", clip_dtype_name(dtype));
    }
    CLIP_TRY(clip_model_file_add(&all, file, native ? "model/" : "", error));
    CLIP_TRY(convert(&written, &all, format, dtype, error));
    if (native) {
        CLIP_TRY(clip_hdf5_write(path, &written, error));
        CLIP_TRY(clip_hdf5_read(path, NULL, &read, error));
    } else {
        CLIP_TRY(clip_safetensors_write(path, &written, error));
        CLIP_TRY(clip_safetensors_read(path, &read, error));
    }
    CLIP_TRY(compare(&written, &read, path, error));
out:
    clip_bundle_release(&read);
    clip_bundle_release(&written);
    clip_bundle_release(&all);
    return status;
}
