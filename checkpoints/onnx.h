/* ONNX (https://github.com/onnx/onnx, docs/IR.md; operators of opset 17, IR version 8): a graph
 * under construction, and its file.
 *
 *     struct clip_onnx *o;
 *     clip_status status = clip_onnx_create(&o, &error);
 *     clip_onnx_input(o, "x", CLIP_F32, "batch,3");
 *     clip_onnx_weight(o, "w", &tensor);
 *     const char *y = CLIP_ONNX_NODE(o, "Gemm", "transB=1", "x", "w");
 *     clip_onnx_output(o, "y", y, CLIP_F32, "batch,4");
 *     status = clip_onnx_write(o, "a.onnx", CLIP_ONNX_LIMIT, &error);
 *
 * The first failure makes every later call do nothing; clip_onnx_write reports it. What is built in
 * is chosen by the Makefile: onnx.c with protobuf-c and the format's own onnx.proto, or
 * onnx_none.c, whose create fails with a sentence. */
#ifndef CLIP_CHECKPOINTS_ONNX_H
#define CLIP_CHECKPOINTS_ONNX_H

#include "autograd/tensor.h"
#include "core/status.h"

struct clip_onnx;

clip_status clip_onnx_create(struct clip_onnx **out, struct clip_error *error);
void clip_onnx_free(struct clip_onnx *onnx); /* accepts NULL */

/* Adds an input. `shape` is a list of sizes with commas, and a name for a size that is free:
 * "batch,3,224,224". */
void clip_onnx_input(struct clip_onnx *onnx, const char *name, enum clip_dtype dtype,
                     const char *shape);
/* Makes `value` the graph's output `name`. */
void clip_onnx_output(struct clip_onnx *onnx, const char *name, const char *value,
                      enum clip_dtype dtype, const char *shape);
/* Adds an initializer, F32, F16, BF16 or I64; the data is borrowed until the graph is freed.
 * Returns the name of its value as float32 (after a Cast for the half types) or I64. */
const char *clip_onnx_weight(struct clip_onnx *onnx, const char *name,
                             const struct clip_tensor *tensor);
/* Adds a constant list of numbers, or a single one without dimensions, which is copied. Returns the
 * name of its value. */
const char *clip_onnx_ints(struct clip_onnx *onnx, const int64_t *values, int64_t n);
const char *clip_onnx_float(struct clip_onnx *onnx, float value);

/* Adds a node and returns the name of its first output ("" after a failure). `attributes` are
 * separated by blanks: integers as in "axis=1", real numbers (with a point or an exponent) as in
 * "epsilon=1e-05", lists as in "perm=[0,2,1]". "outputs=3" is no attribute but the number of
 * outputs, whose names are the first's with ".1", ".2" added. `inputs` ends with NULL. */
const char *clip_onnx_node(struct clip_onnx *onnx, const char *op, const char *attributes,
                           const char *const *inputs);
#define CLIP_ONNX_NODE(onnx, op, attributes, ...)                                                  \
    clip_onnx_node((onnx), (op), (attributes), (const char *const[]){__VA_ARGS__, NULL})

/* Adds a text to the model (metadata_props); it is copied. */
void clip_onnx_text(struct clip_onnx *onnx, const char *key, const char *text);

/* bytes of a file, about protobuf's limit */
#define CLIP_ONNX_LIMIT (((size_t)1 << 31) - (1 << 20))

/* Writes the file atomically and reads it back: it must parse, and hold every weight to the bit and
 * the same graph. If it would have more than `limit` bytes, the weights' data goes to PATH.data
 * beside it (external data, docs/ExternalData.md), which is written first. */
clip_status clip_onnx_write(struct clip_onnx *onnx, const char *path, size_t limit,
                            struct clip_error *error);

#endif
