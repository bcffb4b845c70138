/* y = f x, f a constant
 *   x, y of any shape
 *   dx += f dy
 * Backward reads nothing. */
#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, GRAIN = 16384 };

struct scale_args {
    float factor;
};

static void scale_forward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct scale_args *args = n->args;
    clip_kernels()->scale((float *)n->out->data + begin, args->factor,
                          (const float *)n->in[X]->data + begin, end - begin);
}

static void scale_forward(struct clip_node *n)
{
    clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, scale_forward_range);
}

static void scale_backward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct scale_args *args = n->args;
    clip_kernels()->axpy(n->in[X]->grad + begin, args->factor, n->out->grad + begin, end - begin);
}

static void scale_backward(struct clip_node *n)
{
    if (n->in[X]->needs_grad)
        clip_op_ranges(n, clip_tensor_count(n->out), GRAIN, scale_backward_range);
}

static const struct clip_op scale = {
    .name = "scale", .forward = scale_forward, .backward = scale_backward};

struct clip_tensor *clip_scale(struct clip_tape *t, struct clip_tensor *x, float factor)
{
    struct scale_args args = {factor};
    const struct clip_op_call call = {
        .ndim = x->ndim, .shape = x->shape, .inputs = {x}, .args = &args, .args_size = sizeof args};
    return clip_tape_record(t, &scale, &call);
}
