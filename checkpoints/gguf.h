/* GGUF, the files of ggml's programs (https://github.com/ggml-org/ggml, docs/gguf.md, version 3):
 * named tensors and typed values. */
#ifndef CLIP_CHECKPOINTS_GGUF_H
#define CLIP_CHECKPOINTS_GGUF_H

#include "checkpoints/bundle.h"
#include "core/json.h"

/* `values` is a JSON object of the values beside the tensors. Integers (0 to 2^32 - 1) are written
 * as UINT32, real numbers as FLOAT32, and texts, truth values and lists of one of these kinds as
 * such. Tensors are F32, F16 or BF16, in the bundle's order, aligned to 32 bytes. The file is
 * written atomically; the same arguments give the same bytes. */
clip_status clip_gguf_write(const char *path, const json_t *values,
                            const struct clip_bundle *tensors, struct clip_error *error);

/* Reads versions 2 and 3. *values, which the caller must json_decref, has numbers of every kind as
 * JSON numbers; data stays mapped. Every count, length and offset is checked against the file's
 * size before memory is taken. Quantised tensors, lists of lists and lists of more than 65536
 * numbers are refused by name. */
clip_status clip_gguf_read(const char *path, json_t **values, struct clip_bundle *out,
                           struct clip_error *error);
/* The same from memory that belongs to the caller and outlives the bundle; `name` takes the place
 * of the path. */
clip_status clip_gguf_parse(const void *bytes, size_t n, const char *name, json_t **values,
                            struct clip_bundle *out, struct clip_error *error);
bool clip_gguf_is(const char *path); /* does the file begin with "GGUF"? */

#endif
