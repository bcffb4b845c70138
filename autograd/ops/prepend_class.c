/* y[b,0] = c, y[b,1+k] = x[b,k]
 *   x [B*K,D]   c [D]   y [B*(K+1),D]
 *   dx[b,k] += dy[b,1+k]    dc += sum over b of dy[b,0]
 * Dosovitskiy et al. 2021, the class token. Backward reads nothing. */
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, C };

struct prepend_args {
    int64_t batch;
};

static void prepend_images(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct prepend_args *args = n->args;
    int64_t d = clip_tensor_width(n->out), k = clip_tensor_rows(n->in[X]) / args->batch;
    const float *x = n->in[X]->data;
    float *y = n->out->data;
    for (int64_t b = begin; b < end; b++) {
        memcpy(y + b * (k + 1) * d, n->in[C]->data, (size_t)d * sizeof *y);
        memcpy(y + (b * (k + 1) + 1) * d, x + b * k * d, (size_t)(k * d) * sizeof *y);
    }
}

static void prepend_class_forward(struct clip_node *n)
{
    const struct prepend_args *args = n->args;
    clip_op_ranges(n, args->batch, 1, prepend_images);
}

static void prepend_dx_images(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct prepend_args *args = n->args;
    int64_t d = clip_tensor_width(n->out), k = clip_tensor_rows(n->in[X]) / args->batch;
    for (int64_t b = begin; b < end; b++)
        clip_kernels()->accumulate(n->in[X]->grad + b * k * d, n->out->grad + (b * (k + 1) + 1) * d,
                                   k * d);
}

static void prepend_class_backward(struct clip_node *n)
{
    const struct prepend_args *args = n->args;
    int64_t d = clip_tensor_width(n->out), rows = clip_tensor_rows(n->out) / args->batch;
    if (n->in[X]->needs_grad) clip_op_ranges(n, args->batch, 1, prepend_dx_images);
    if (n->in[C]->needs_grad)
        clip_kernels()->column_sum(n->in[C]->grad, n->out->grad, false, args->batch, d, rows * d);
}

static const struct clip_op prepend_class = {
    .name = "prepend_class",
    .forward = prepend_class_forward,
    .backward = prepend_class_backward,
};

struct clip_tensor *clip_prepend_class(struct clip_tape *t, struct clip_tensor *x,
                                       struct clip_tensor *c, int64_t batch)
{
    int64_t rows = clip_tensor_rows(x), d = clip_tensor_width(x);
    CLIP_OP_ASSERT(t, batch > 0 && rows % batch == 0 && clip_tensor_count(c) == d);
    int64_t shape[2] = {rows + batch, d};
    struct prepend_args args = {batch};
    const struct clip_op_call call = {
        .ndim = 2, .shape = shape, .inputs = {x, c}, .args = &args, .args_size = sizeof args};
    return clip_tape_record(t, &prepend_class, &call);
}
