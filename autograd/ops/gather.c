/* y[r] = x[rows[r]]
 *   x [T,D]   rows i32 [R]   y [R,D]
 *   dx[rows[r]] += dy[r]
 * The rows of end-of-text tokens and classes. Backward reads only rows. */
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, ROWS };

static void gather_forward(struct clip_node *n)
{
    int64_t width = clip_tensor_width(n->out), count = clip_tensor_rows(n->out);
    const int32_t *rows = n->in[ROWS]->data;
    const float *x = n->in[X]->data;
    float *y = n->out->data;
    for (int64_t r = 0; r < count; r++)
        memcpy(y + r * width, x + rows[r] * width, (size_t)width * sizeof *y);
}

static void gather_backward(struct clip_node *n)
{
    int64_t width = clip_tensor_width(n->out), count = clip_tensor_rows(n->out);
    const int32_t *rows = n->in[ROWS]->data;
    if (!n->in[X]->needs_grad) return;
    for (int64_t r = 0; r < count; r++)
        clip_kernels()->accumulate(n->in[X]->grad + rows[r] * width, n->out->grad + r * width,
                                   width);
}

static const struct clip_op gather = {
    .name = "gather",
    .forward = gather_forward,
    .backward = gather_backward,
    .reads = CLIP_READS_INPUT(ROWS),
};

struct clip_tensor *clip_gather(struct clip_tape *t, struct clip_tensor *x,
                                struct clip_tensor *rows)
{
    CLIP_OP_ASSERT(t, rows->dtype == CLIP_I32);
    int64_t shape[2] = {clip_tensor_count(rows), clip_tensor_width(x)};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {x, rows}};
    return clip_tape_record(t, &gather, &call);
}
