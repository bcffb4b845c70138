/* Exporting: the two formats of ours, and the door. */
#include "formats/model_export.h"

#include <string.h>

#include "core/choice.h"
#include "formats/export_parts.h"

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

static clip_status check(const struct clip_export *export,
                         const struct clip_export_options *options, struct clip_error *error)
{
    if (options->check == NULL || options->format == CLIP_EXPORT_ONNX) return CLIP_OK;
    return options->check(export->file, export->path, export->dtype, error);
}

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
    if (!writer->folder) {
        status = writer->write(&export, error);
        return status == CLIP_OK ? check(&export, options, error) : status;
    }
    CLIP_TRY(
        clip_atomic_folder_begin(&folder, path, options->replace ? folder_files : NULL, error));
    export.path = folder.temporary;
    CLIP_TRY(writer->write(&export, error));
    CLIP_TRY(check(&export, options, error));
    CLIP_TRY(clip_atomic_folder_commit(&folder, error));
out:
    clip_atomic_folder_abort(&folder);
    return status;
}
