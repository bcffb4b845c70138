/* y[r] = w[ids[r]]
 *   w [V,D]   ids i32 [R]   y [R,D]
 *   dw[ids[r]] += dy[r]
 * Backward reads only ids. It cuts dw into columns, so that rows with the same id are added in
 * order. */
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { W, IDS };

static void embedding_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t width = clip_tensor_width(n->out);
    const float *w = n->in[W]->data;
    const int32_t *ids = n->in[IDS]->data;
    float *y = n->out->data;
    for (int64_t r = begin; r < end; r++)
        memcpy(y + r * width, w + ids[r] * width, (size_t)width * sizeof *y);
}

static void embedding_forward(struct clip_node *n)
{
    clip_op_rows(n, clip_tensor_rows(n->out), clip_tensor_width(n->out), embedding_rows);
}

static void embedding_columns(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t width = clip_tensor_width(n->out), rows = clip_tensor_rows(n->out);
    const int32_t *ids = n->in[IDS]->data;
    for (int64_t r = 0; r < rows; r++)
        clip_kernels()->accumulate(n->in[W]->grad + ids[r] * width + begin,
                                   n->out->grad + r * width + begin, end - begin);
}

static void embedding_backward(struct clip_node *n)
{
    if (n->in[W]->needs_grad) clip_op_ranges(n, clip_tensor_width(n->out), 64, embedding_columns);
}

static const struct clip_op embedding = {
    .name = "embedding",
    .forward = embedding_forward,
    .backward = embedding_backward,
    .reads = CLIP_READS_INPUT(IDS),
};

struct clip_tensor *clip_embedding(struct clip_tape *t, struct clip_tensor *w,
                                   struct clip_tensor *ids)
{
    CLIP_OP_ASSERT(t, w->ndim == 2 && ids->dtype == CLIP_I32);
    int64_t shape[2] = {clip_tensor_count(ids), w->shape[1]};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {w, ids}};
    return clip_tape_record(t, &embedding, &call);
}
