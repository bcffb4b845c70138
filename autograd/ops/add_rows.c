/* y[r] = x[r] + w[ids[r]]
 *   x, y [R,D]   w [P,D]   ids i32 [R]
 *   dx += dy    dw[ids[r]] += dy[r]
 * Positional embeddings. Backward reads only ids. It cuts dw into columns, so that rows with the
 * same id are added in order. */

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, W, IDS };

static void add_rows_forward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t width = clip_tensor_width(n->out);
    const float *x = n->in[X]->data, *w = n->in[W]->data;
    const int32_t *ids = n->in[IDS]->data;
    float *y = n->out->data;
    for (int64_t r = begin; r < end; r++)
        clip_kernels()->add(y + r * width, x + r * width, w + ids[r] * width, width);
}

static void add_rows_forward(struct clip_node *n)
{
    clip_op_rows(n, clip_tensor_rows(n->out), clip_tensor_width(n->out), add_rows_forward_range);
}

static void add_rows_columns(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t width = clip_tensor_width(n->out), rows = clip_tensor_rows(n->out);
    const int32_t *ids = n->in[IDS]->data;
    for (int64_t r = 0; r < rows; r++)
        clip_kernels()->accumulate(n->in[W]->grad + ids[r] * width + begin,
                                   n->out->grad + r * width + begin, end - begin);
}

static void add_rows_backward(struct clip_node *n)
{
    if (n->in[X]->needs_grad) clip_op_pass(n, n->in[X]);
    if (n->in[W]->needs_grad) clip_op_ranges(n, clip_tensor_width(n->out), 64, add_rows_columns);
}

static const struct clip_op add_rows = {
    .name = "add_rows",
    .forward = add_rows_forward,
    .backward = add_rows_backward,
    .reads = CLIP_READS_INPUT(IDS),
    .passes = 1 + X,
};

struct clip_tensor *clip_add_rows(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w,
                                  struct clip_tensor *ids)
{
    CLIP_OP_ASSERT(t, w->ndim == 2 && clip_tensor_width(x) == w->shape[1]);
    CLIP_OP_ASSERT(t, ids->dtype == CLIP_I32 && clip_tensor_count(ids) == clip_tensor_rows(x));
    int64_t shape[2] = {clip_tensor_rows(x), clip_tensor_width(x)};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {x, w, ids}};
    return clip_tape_record(t, &add_rows, &call);
}
