/* Exporting: a model in the files of other programs, read back and compared before it counts.
 *
 *   HDF5         the native file             SAFETENSORS  open_clip's names and our description
 *   HUGGINGFACE  a folder for transformers   OPEN_CLIP    a folder for open_clip
 *   ONNX         both towers as one graph    GGUF         clip.cpp's names
 *
 * docs/export.md says what stands in each. The bytes depend on weights, description and tokenizer
 * alone. Files and folders appear whole or not at all. */
#ifndef CLIP_FORMATS_MODEL_EXPORT_H
#define CLIP_FORMATS_MODEL_EXPORT_H

#include "formats/model_file.h"

enum clip_export_format {
    CLIP_EXPORT_HDF5,
    CLIP_EXPORT_SAFETENSORS,
    CLIP_EXPORT_HUGGINGFACE,
    CLIP_EXPORT_OPEN_CLIP,
    CLIP_EXPORT_ONNX,
    CLIP_EXPORT_GGUF,
};
const char *clip_export_format_name(int format); /* "hdf5", ...; core/choice.h */

struct clip_export_options {
    enum clip_export_format format;
    enum clip_dtype dtype; /* F32, F16 or BF16, rounded to nearest; a weight that F16 cannot hold is
                            * refused by name */
    bool replace;          /* a folder with an earlier export; a file is always replaced */
    bool split;            /* ONNX: vision_model.onnx and text_model.onnx in a folder */
    /* Asked before a folder takes its place, and behind a file's writing: what fails it is no
     * export. NULL: weights and texts alone are read back. Not for ONNX, which is not opened. */
    clip_status (*check)(const struct clip_model_file *file, const char *path,
                         enum clip_dtype dtype, struct clip_error *error);
};

const char *clip_export_dtype_name(int dtype); /* "f32", ...; core/choice.h */

/* Writes to `path`, a file or (HUGGINGFACE, OPEN_CLIP, ONNX in two) a folder. A model without a
 * tokenizer is written without one, which the caller should say. What the format cannot express is
 * refused by name (CLIP_ERR_DATA). */
clip_status clip_model_export(const struct clip_model_file *file, const char *path,
                              const struct clip_export_options *options, struct clip_error *error);

#endif
