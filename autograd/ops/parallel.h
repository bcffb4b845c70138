/* Cuts an op's work into pieces for clip_parallel_for. Pieces depend only on sizes, so results do
 * not depend on the number of threads. */
#ifndef CLIP_AUTOGRAD_OPS_PARALLEL_H
#define CLIP_AUTOGRAD_OPS_PARALLEL_H

#include <stdint.h>

#include "autograd/tape.h"
#include "core/threads.h"
#include "kernels/gemm.h"

/* A loop's body: works on rows, columns or elements [begin, end). */
typedef void (*clip_range_fn)(struct clip_node *node, int64_t begin, int64_t end);

/* Calls fn for pieces of [0, n) of `grain` each. */
void clip_op_ranges(struct clip_node *node, int64_t n, int64_t grain, clip_range_fn fn);
/* The same for rows of `width` floats, in pieces of about 16,384 floats. */
void clip_op_rows(struct clip_node *node, int64_t rows, int64_t width, clip_range_fn fn);

/* y = 0, in pieces.  n floats */
void clip_op_zero(float *y, int64_t n);

/* For an op that passes its gradient on as it is: adds out's gradient to that of `in`, unless this
 * is NULL because the tape will hand it out's memory (clip_op.passes). The op must have
 * `overwrites`, because in's gradient may still be empty. */
void clip_op_pass(const struct clip_node *node, struct clip_tensor *in);
/* db += column sums of dy [rows, width of b], which is float32 or bfloat16. db may be empty. */
void clip_op_bias(struct clip_tensor *b, const void *dy, bool dy_bf16, int64_t rows);

#endif
