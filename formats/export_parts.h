/* What the formats of formats/model_export.c share; not for other files.
 *
 * Each format has a writer: it fills a bundle with the model's tensors, as they are named there and
 * in the type asked for, writes it, reads it back and compares. */
#ifndef CLIP_FORMATS_EXPORT_PARTS_H
#define CLIP_FORMATS_EXPORT_PARTS_H

#include "core/json.h"
#include "formats/model_export.h"

struct clip_export {
    const struct clip_model_file *file;
    const char *path; /* the file to write, or the folder to fill */
    enum clip_dtype dtype;
};

/* The model's towers are of an architecture that has a name; else a sentence. */
clip_status clip_export_check_architecture(const struct clip_model_file *file,
                                           struct clip_error *error);

/* Adds a float32 tensor to `out`, in `dtype` (a copy in the bundle's arena unless F32). */
clip_status clip_export_add(struct clip_bundle *out, const char *name,
                            const struct clip_tensor *tensor, enum clip_dtype dtype,
                            struct clip_error *error);
/* Adds all of the model's weights, in the export's type, by the layout's names. */
clip_status clip_export_layout(const struct clip_export *export, enum clip_layout layout,
                               struct clip_bundle *out, struct clip_error *error);
/* Tensors and texts are the same, bit for bit; else a sentence about `path`. */
clip_status clip_export_compare(const struct clip_bundle *written, const struct clip_bundle *read,
                                const char *path, struct clip_error *error);
/* Writes `written` as safetensors to folder/name, reads it back and compares. */
clip_status clip_export_safetensors(const char *path, const struct clip_bundle *written,
                                    struct clip_error *error);
/* Writes a text to folder/name, reads it back and compares. */
clip_status clip_export_text(const char *folder, const char *name, const struct clip_buffer *text,
                             struct clip_error *error);
/* The same for JSON, indented, a line feed behind; takes the reference (NULL: it could not be
 * made). */
clip_status clip_export_json(const char *folder, const char *name, json_t *value,
                             struct clip_error *error);

/* vocab.json, merges.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json, as
 * transformers' CLIPTokenizer reads them; nothing where the model has no tokenizer. */
clip_status clip_export_tokenizer(const struct clip_export *export, struct clip_error *error);
/* The merges as a list of texts, ["t h", "th e</w>", ...]. */
json_t *clip_export_merges(const struct clip_tokenizer *tokenizer);

clip_status clip_export_huggingface(const struct clip_export *export, struct clip_error *error);
clip_status clip_export_open_clip(const struct clip_export *export, struct clip_error *error);
clip_status clip_export_onnx(const struct clip_export *export, struct clip_error *error);
/* vision_model.onnx and text_model.onnx in a folder. */
clip_status clip_export_onnx_split(const struct clip_export *export, struct clip_error *error);
clip_status clip_export_gguf(const struct clip_export *export, struct clip_error *error);

#endif
