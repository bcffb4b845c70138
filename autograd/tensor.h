/* A tensor: an element type, a shape, and where its elements lie, row-major and contiguous. It owns
 * nothing.
 *
 * Data belongs to the parameter buffer, a mapped file, a batch, or the tape's workspace. A gradient
 * is float32 of the same shape, and belongs to the gradient buffer or the workspace. */
#ifndef CLIP_AUTOGRAD_TENSOR_H
#define CLIP_AUTOGRAD_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum clip_dtype { CLIP_F32, CLIP_F16, CLIP_BF16, CLIP_I32, CLIP_I64, CLIP_U8 };

#define CLIP_MAX_DIMS 4

struct clip_node;
struct clip_panels;

struct clip_tensor {
    enum clip_dtype dtype;
    int ndim; /* 0: a scalar */
    int64_t shape[CLIP_MAX_DIMS];
    void *data;
    float *grad;                      /* NULL: none yet, or none wanted */
    bool needs_grad;                  /* backward should reach it */
    struct clip_node *node;           /* the op that made it; NULL for parameters and inputs */
    const struct clip_panels *panels; /* the same numbers packed for products, or NULL */
    bool grad_empty; /* grad has no value yet: who adds to it first overwrites it */
};

size_t clip_dtype_size(enum clip_dtype dtype);
/* "F32", "F16", "BF16", "I32", "I64", "U8", as safetensors names them. */
const char *clip_dtype_name(enum clip_dtype dtype);

int64_t clip_tensor_count(const struct clip_tensor *tensor); /* elements */
/* Rows and width of the tensor as a matrix: the product of the leading dimensions, and the last
 * one. */
int64_t clip_tensor_rows(const struct clip_tensor *tensor);
int64_t clip_tensor_width(const struct clip_tensor *tensor);

/* A tensor over memory that the caller keeps. */
struct clip_tensor clip_tensor_view(enum clip_dtype dtype, void *data, int ndim,
                                    const int64_t *shape);
struct clip_tensor clip_tensor_f32(float *data, int64_t rows, int64_t width); /* [rows, width] */
struct clip_tensor clip_tensor_i32(int32_t *data, int64_t n);                 /* [n] */

#endif
