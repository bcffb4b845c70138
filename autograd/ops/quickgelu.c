/* y = x s, s = sigmoid(1.702 x)
 *   x, y of any shape
 *   dx += dy s (1 + 1.702 x (1 - s))
 * Hendrycks and Gimpel 2016, the approximation; OpenAI's CLIP. Backward reads x. */
#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, GRAIN = 16384 };

static void quickgelu_forward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    clip_kernels()->quickgelu((float *)n->out->data + begin, (const float *)n->in[X]->data + begin,
                              end - begin);
}

static void quickgelu_forward(struct clip_node *n)
{
    clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, quickgelu_forward_range);
}

static void quickgelu_backward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    clip_kernels()->quickgelu_backward(n->in[X]->grad + begin, n->out->grad + begin,
                                       (const float *)n->in[X]->data + begin, end - begin);
}

static void quickgelu_backward(struct clip_node *n)
{
    if (n->in[X]->needs_grad)
        clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, quickgelu_backward_range);
}

static const struct clip_op quickgelu = {
    .name = "quickgelu",
    .forward = quickgelu_forward,
    .backward = quickgelu_backward,
    .again = quickgelu_forward,
    .reads = CLIP_READS_INPUT(X),
};

struct clip_tensor *clip_quickgelu(struct clip_tape *t, struct clip_tensor *x)
{
    const struct clip_op_call call = {.ndim = x->ndim, .shape = x->shape, .inputs = {x}};
    return clip_tape_record(t, &quickgelu, &call);
}
