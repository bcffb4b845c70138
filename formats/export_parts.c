/* What the writers of all formats share. */
#include "formats/export_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/convert.h"
#include "formats/architectures.h"
#include "kernels/bf16.h"

clip_status clip_export_check_architecture(const struct clip_model_file *file,
                                           struct clip_error *error)
{
    if (clip_architecture_of(&file->model->config) != CLIP_ARCHITECTURE_OTHER) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "the model's towers are neither a CLIP's nor a SigLIP's, and this format has "
                     "no name for others; export it as safetensors or hdf5");
}

/* A copy of a float32 tensor as F16 or BF16, in the bundle's arena. */
static clip_status narrow(struct clip_bundle *bundle, const char *name, struct clip_tensor *tensor,
                          enum clip_dtype dtype, struct clip_error *error)
{
    int64_t n = clip_tensor_count(tensor);
    const float *from = tensor->data;
    uint16_t *to = clip_arena_alloc(&bundle->arena, n, sizeof *to, error);
    if (to == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        to[i] = dtype == CLIP_F16 ? clip_f32_to_f16(from[i]) : clip_bf16_round(from[i]);
        float back = dtype == CLIP_F16 ? clip_f16_to_f32(to[i]) : clip_bf16_widen(to[i]);
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

clip_status clip_export_add(struct clip_bundle *out, const char *name,
                            const struct clip_tensor *tensor, enum clip_dtype dtype,
                            struct clip_error *error)
{
    struct clip_tensor copy = *tensor;
    clip_status status = CLIP_OK;
    if (dtype != CLIP_F32) status = narrow(out, name, &copy, dtype, error);
    return status == CLIP_OK ? clip_bundle_add(out, name, &copy, error) : status;
}

static bool same_tensor(const struct clip_tensor *a, const struct clip_tensor *b)
{
    if (b == NULL || a->dtype != b->dtype || a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    size_t n = (size_t)clip_tensor_count(a) * clip_dtype_size(a->dtype);
    return n == 0 || memcmp(a->data, b->data, n) == 0;
}

static clip_status differs(const char *path, const char *what, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_IO,
                     "%s: \"%s\" reads back differently from what was written; do not use the "
                     "file, check the disk and export again",
                     path, what);
}

clip_status clip_export_compare(const struct clip_bundle *written, const struct clip_bundle *read,
                                const char *path, struct clip_error *error)
{
    for (int64_t i = 0; i < written->tensor_count; i++) {
        const struct clip_bundle_tensor *entry = &written->tensors[i];
        if (!same_tensor(&entry->tensor, clip_bundle_find(read, entry->name)))
            return differs(path, entry->name, error);
    }
    for (int64_t i = 0; i < written->text_count; i++) {
        const struct clip_bundle_text *text = &written->texts[i];
        const struct clip_bundle_text *other = clip_bundle_text(read, text->key);
        if (other == NULL || text->size != other->size ||
            memcmp(text->value, other->value, text->size) != 0)
            return differs(path, text->key, error);
    }
    if (written->tensor_count != read->tensor_count || written->text_count != read->text_count)
        return differs(path, "the list of names", error);
    return CLIP_OK;
}

clip_status clip_export_layout(const struct clip_export *export, enum clip_layout layout,
                               struct clip_bundle *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_model *model = export->file->model;
    struct clip_bundle wide = {0}, *first = export->dtype == CLIP_F32 ? out : &wide;
    for (int64_t i = 0; i < model->param_count; i++) {
        CLIP_TRY(
            clip_layout_put(first, layout, model->params[i].name, &model->params[i].tensor, error));
    }
    for (int64_t i = 0; i < wide.tensor_count; i++) {
        CLIP_TRY(clip_export_add(out, wide.tensors[i].name, &wide.tensors[i].tensor, export->dtype,
                                 error));
    }
out:
    clip_bundle_release(&wide);
    return status;
}

clip_status clip_export_safetensors(const char *path, const struct clip_bundle *written,
                                    struct clip_error *error)
{
    struct clip_bundle read = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_safetensors_write(path, written, error));
    CLIP_TRY(clip_safetensors_read(path, &read, error));
    CLIP_TRY(clip_export_compare(written, &read, path, error));
out:
    clip_bundle_release(&read);
    return status;
}

clip_status clip_export_text(const char *folder, const char *name, const struct clip_buffer *text,
                             struct clip_error *error)
{
    struct clip_buffer read = {0};
    clip_status status = CLIP_OK;
    char *path = clip_path_join(folder, name, error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(clip_file_write(path, text->data, text->size, error));
    CLIP_TRY(clip_file_read(path, text->size, &read, error));
    if (read.size != text->size || memcmp(read.data, text->data, read.size) != 0)
        CLIP_TRY(differs(path, name, error));
out:
    clip_buffer_release(&read);
    free(path);
    return status;
}

clip_status clip_export_json(const char *folder, const char *name, json_t *value,
                             struct clip_error *error)
{
    struct clip_buffer text = {0};
    clip_status status = CLIP_OK;
    if (value == NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY,
                           "%s cannot be written: a value is not finite, a "
                           "text is not UTF-8, or memory is short",
                           name));
    CLIP_TRY(clip_json_dump(&text, value, JSON_INDENT(2) | JSON_REAL_PRECISION(15), error));
    CLIP_TRY(clip_buffer_append(&text, "\n", 1, error));
    CLIP_TRY(clip_export_text(folder, name, &text, error));
out:
    clip_buffer_release(&text);
    json_decref(value);
    return status;
}
