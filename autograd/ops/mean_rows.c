/* y[s] = the mean of x[r] over the rows r of sequence s
 *   x [T,D]   y [B,D]
 *   offsets i32 [B+1]: sequence s has rows offsets[s] to offsets[s+1], at least one
 *   dx[r] += dy[s] / rows of s
 * Backward reads only offsets. */
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, OFFSETS };

static void mean_rows_forward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t d = clip_tensor_width(n->out);
    const int32_t *offsets = n->in[OFFSETS]->data;
    const float *x = n->in[X]->data;
    for (int64_t s = begin; s < end; s++) {
        float *y = (float *)n->out->data + s * d,
              share = 1.0f / (float)(offsets[s + 1] - offsets[s]);
        memset(y, 0, (size_t)d * sizeof *y);
        for (int32_t r = offsets[s]; r < offsets[s + 1]; r++)
            clip_kernels()->axpy(y, share, x + r * d, d);
    }
}

static void mean_rows_forward(struct clip_node *n)
{
    clip_op_ranges(n, clip_tensor_rows(n->out), 1, mean_rows_forward_range);
}

static void mean_rows_backward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t d = clip_tensor_width(n->out);
    const int32_t *offsets = n->in[OFFSETS]->data;
    for (int64_t s = begin; s < end; s++) {
        float share = 1.0f / (float)(offsets[s + 1] - offsets[s]);
        for (int32_t r = offsets[s]; r < offsets[s + 1]; r++)
            clip_kernels()->axpy(n->in[X]->grad + r * d, share, n->out->grad + s * d, d);
    }
}

static void mean_rows_backward(struct clip_node *n)
{
    if (n->in[X]->needs_grad)
        clip_op_ranges(n, clip_tensor_rows(n->out), 1, mean_rows_backward_range);
}

static const struct clip_op mean_rows = {
    .name = "mean_rows",
    .forward = mean_rows_forward,
    .backward = mean_rows_backward,
    .reads = CLIP_READS_INPUT(OFFSETS),
};

struct clip_tensor *clip_mean_rows(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *offsets)
{
    CLIP_OP_ASSERT(t, x->dtype == CLIP_F32 && offsets->dtype == CLIP_I32);
    int64_t shape[2] = {clip_tensor_count(offsets) - 1, clip_tensor_width(x)};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {x, offsets}};
    return clip_tape_record(t, &mean_rows, &call);
}
