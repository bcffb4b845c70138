/* y = x / max(|x|, 1e-12), row by row
 *   x, y [R,D]
 *   dx += (dy - y (y . dy)) / max(|x|, 1e-12)
 * torch.nn.functional.normalize. Backward reads y, and the inverse norms [R] kept from forward. */
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X };

static size_t l2norm_saved(const struct clip_node *n)
{
    return (size_t)clip_tensor_rows(n->in[X]) * sizeof(float);
}

static void l2norm_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t d = clip_tensor_width(n->out);
    float *inverse = n->saved;
    for (int64_t r = begin; r < end; r++) {
        const float *x = (const float *)n->in[X]->data + r * d;
        double norm = sqrt(clip_kernels()->sum_squares(x, d));
        inverse[r] = (float)(1.0 / (norm > 1e-12 ? norm : 1e-12));
        clip_kernels()->scale((float *)n->out->data + r * d, inverse[r], x, d);
    }
}

static void l2norm_forward(struct clip_node *n)
{
    clip_op_rows(n, clip_tensor_rows(n->out), clip_tensor_width(n->out), l2norm_rows);
}

static void l2norm_backward_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t d = clip_tensor_width(n->out);
    const float *inverse = n->saved;
    for (int64_t r = begin; r < end; r++) {
        const float *y = (const float *)n->out->data + r * d, *dy = n->out->grad + r * d;
        float *dx = n->in[X]->grad + r * d;
        float along = clip_kernels()->dot(y, dy, d);
        clip_kernels()->axpy(dx, inverse[r], dy, d);
        clip_kernels()->axpy(dx, -along * inverse[r], y, d);
    }
}

static void l2norm_backward(struct clip_node *n)
{
    if (n->in[X]->needs_grad)
        clip_op_rows(n, clip_tensor_rows(n->out), clip_tensor_width(n->out), l2norm_backward_rows);
}

static const struct clip_op l2norm = {
    .name = "l2norm",
    .forward = l2norm_forward,
    .backward = l2norm_backward,
    .reads = CLIP_READS_OUTPUT,
    .saved = l2norm_saved,
};

struct clip_tensor *clip_l2norm(struct clip_tape *t, struct clip_tensor *x)
{
    int64_t shape[2] = {clip_tensor_rows(x), clip_tensor_width(x)};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {x}};
    return clip_tape_record(t, &l2norm, &call);
}
