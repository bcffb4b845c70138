/* Exporting: the formats' common parts, the two formats of ours, and the door. */
#include "formats/model_export.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/convert.h"
#include "core/choice.h"
#include "formats/architectures.h"
#include "formats/export_parts.h"
#include "kernels/bf16.h"

const char *clip_export_format_name(int format)
{
    static const char *const names[] = {
        [CLIP_EXPORT_HDF5] = "hdf5",
        [CLIP_EXPORT_SAFETENSORS] = "safetensors",
        [CLIP_EXPORT_HUGGINGFACE] = "huggingface",
        [CLIP_EXPORT_OPEN_CLIP] = "open_clip",
        [CLIP_EXPORT_ONNX] = "onnx",
        [CLIP_EXPORT_GGUF] = "gguf",
    };
    return CLIP_NAME_OF(names, format);
}

const char *clip_export_dtype_name(int dtype)
{
    static const char *const names[] = {
        [CLIP_F32] = "f32",
        [CLIP_F16] = "f16",
        [CLIP_BF16] = "bf16",
    };
    return CLIP_NAME_OF(names, dtype);
}

/* ---- Common parts ---- */

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
    char *dump = value != NULL ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    if (dump == NULL) {
        status = clip_fail(error, CLIP_ERR_MEMORY,
                           "%s cannot be written: a value is not finite, a "
                           "text is not UTF-8, or memory is short",
                           name);
        goto out;
    }
    CLIP_TRY(clip_buffer_append(&text, dump, strlen(dump), error));
    CLIP_TRY(clip_buffer_append(&text, "\n", 1, error));
    CLIP_TRY(clip_export_text(folder, name, &text, error));
out:
    clip_buffer_release(&text);
    free(dump);
    json_decref(value);
    return status;
}

/* ---- Our own formats ---- */

/* `all` with its tensors in the type asked for. PyTorch's readers look for "format": "pt" in a
 * safetensors file. */
static clip_status convert(struct clip_bundle *out, const struct clip_bundle *all, bool native,
                           enum clip_dtype dtype, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < all->tensor_count; i++)
        CLIP_TRY(clip_export_add(out, all->tensors[i].name, &all->tensors[i].tensor, dtype, error));
    for (int64_t i = 0; i < all->text_count; i++) {
        const struct clip_bundle_text *text = &all->texts[i];
        bool pt = !native && strcmp(text->key, "format") == 0;
        CLIP_TRY(clip_bundle_add_text(out, text->key, pt ? "pt" : text->value, pt ? 2 : text->size,
                                      error));
    }
out:
    return status;
}

static clip_status export_ours(const struct clip_export *export, bool native,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle all = {0}, written = {0}, read = {0};
    CLIP_TRY(clip_model_file_add(&all, export->file, native ? "model/" : "", error));
    CLIP_TRY(convert(&written, &all, native, export->dtype, error));
    if (native) {
        CLIP_TRY(clip_hdf5_write(export->path, &written, error));
        CLIP_TRY(clip_hdf5_read(export->path, NULL, &read, error));
        CLIP_TRY(clip_export_compare(&written, &read, export->path, error));
    } else {
        CLIP_TRY(clip_export_safetensors(export->path, &written, error));
    }
out:
    clip_bundle_release(&read);
    clip_bundle_release(&written);
    clip_bundle_release(&all);
    return status;
}

static clip_status export_hdf5(const struct clip_export *export, struct clip_error *error)
{
    return export_ours(export, true, error);
}

static clip_status export_safetensors(const struct clip_export *export, struct clip_error *error)
{
    return export_ours(export, false, error);
}

/* ---- The door ---- */

/* Every file that a folder of ours may hold. */
static const char *const folder_files[] = {
    "config.json",
    "model.safetensors",
    "open_clip_config.json",
    "open_clip_model.safetensors",
    "preprocessor_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vision_model.onnx",
    "vision_model.onnx.data",
    "text_model.onnx",
    "text_model.onnx.data",
    NULL,
};

static const struct writer {
    clip_status (*write)(const struct clip_export *export, struct clip_error *error);
    bool folder;
} writers[] = {
    [CLIP_EXPORT_HDF5] = {export_hdf5, false},
    [CLIP_EXPORT_SAFETENSORS] = {export_safetensors, false},
    [CLIP_EXPORT_HUGGINGFACE] = {clip_export_huggingface, true},
    [CLIP_EXPORT_OPEN_CLIP] = {clip_export_open_clip, true},
    [CLIP_EXPORT_ONNX] = {clip_export_onnx, false},
    [CLIP_EXPORT_GGUF] = {clip_export_gguf, false},
};

clip_status clip_model_export(const struct clip_model_file *file, const char *path,
                              const struct clip_export_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_atomic_folder folder = {0};
    static const struct writer onnx_split = {clip_export_onnx_split, true};
    const struct writer *writer = options->split ? &onnx_split : &writers[options->format];
    struct clip_export export = {file, path, options->dtype};
    enum clip_dtype dtype = options->dtype;
    if (dtype != CLIP_F32 && dtype != CLIP_F16 && dtype != CLIP_BF16) {
        return clip_fail(error, CLIP_ERR_USAGE,
                         "weights cannot be exported as %s; expected f32, "
                         "f16 or bf16",
                         clip_dtype_name(dtype));
    }
    if (options->split && options->format != CLIP_EXPORT_ONNX) {
        return clip_fail(error, CLIP_ERR_USAGE,
                         "a model in format %s is not split; --split goes with --format onnx",
                         clip_export_format_name(options->format));
    }
    if (!writer->folder) return writer->write(&export, error);
    CLIP_TRY(
        clip_atomic_folder_begin(&folder, path, options->replace ? folder_files : NULL, error));
    export.path = folder.temporary;
    CLIP_TRY(writer->write(&export, error));
    CLIP_TRY(clip_atomic_folder_commit(&folder, error));
out:
    clip_atomic_folder_abort(&folder);
    return status;
}
