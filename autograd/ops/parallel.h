/* Cutting an op's work into pieces for clip_parallel_for: by size alone, so that results do not
 * depend on threads. */
#ifndef CLIP_AUTOGRAD_OPS_PARALLEL_H
#define CLIP_AUTOGRAD_OPS_PARALLEL_H

#include <stdint.h>

#include "autograd/tape.h"
#include "core/threads.h"
#include "kernels/gemm.h"

/* A loop body over [begin, end) of rows, columns or elements. */
typedef void (*clip_range_fn)(struct clip_node *node, int64_t begin, int64_t end);

/* Calls fn for pieces of [0, n) of `grain` each. */
void clip_op_ranges(struct clip_node *node, int64_t n, int64_t grain, clip_range_fn fn);
/* The same for rows of `width` floats, in pieces of about 16,384 floats. */
void clip_op_rows(struct clip_node *node, int64_t rows, int64_t width, clip_range_fn fn);

/* y = 0.  n floats, in pieces. */
void clip_op_zero(float *y, int64_t n);

/* For an op that passes its gradient on: adds out's gradient to that of `in`, which is NULL where
 * the tape hands it over instead. For an op that overwrites: `in` may be empty. */
void clip_op_pass(const struct clip_node *node, struct clip_tensor *in);
/* db += column sums of dy [rows, width of b], float32 or bfloat16; db may be empty. */
void clip_op_bias(struct clip_tensor *b, const void *dy, bool dy_bf16, int64_t rows);

#endif
