/* y = x Phi(x), Phi the normal distribution function
 *   x, y of any shape
 *   dx += dy (Phi(x) + x phi(x)), phi the normal density
 * Hendrycks and Gimpel 2016, the exact form. Backward reads x. */
#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, GRAIN = 16384 };

static void gelu_forward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    clip_kernels()->gelu((float *)n->out->data + begin, (const float *)n->in[X]->data + begin,
                         end - begin);
}

static void gelu_forward(struct clip_node *n)
{
    clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, gelu_forward_range);
}

static void gelu_backward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    clip_kernels()->gelu_backward(n->in[X]->grad + begin, n->out->grad + begin,
                                  (const float *)n->in[X]->data + begin, end - begin);
}

static void gelu_backward(struct clip_node *n)
{
    if (n->in[X]->needs_grad)
        clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, gelu_backward_range);
}

static const struct clip_op gelu = {
    .name = "gelu",
    .forward = gelu_forward,
    .backward = gelu_backward,
    .again = gelu_forward,
    .reads = CLIP_READS_INPUT(X),
};

struct clip_tensor *clip_gelu(struct clip_tape *t, struct clip_tensor *x)
{
    const struct clip_op_call call = {.ndim = x->ndim, .shape = x->shape, .inputs = {x}};
    return clip_tape_record(t, &gelu, &call);
}
