/* y = x w
 *   x [R,D]   w [D,N]   y [R,N]
 *   dx += dy w^T    dw += x^T dy
 * CLIP stores its two projections this way round. Backward reads x and w. */

#include "autograd/ops.h"
#include "autograd/ops/operand.h"

enum { X, W };

static void project_forward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->in[X]), d = clip_tensor_width(n->in[X]),
            width = n->in[W]->shape[1];
    clip_gemm(&(struct clip_gemm){.m = rows,
                                  .n = width,
                                  .k = d,
                                  .alpha = 1,
                                  .multiply_bf16 = clip_op_bf16(n),
                                  .a = clip_op_operand(n->in[X], d),
                                  .b = clip_op_operand(n->in[W], width),
                                  .c = {n->out->data, width}});
}

static void project_backward(struct clip_node *n)
{
    struct clip_tensor *x = n->in[X], *w = n->in[W];
    int64_t rows = clip_tensor_rows(x), d = clip_tensor_width(x), width = w->shape[1];
    const float *dy = n->out->grad;
    bool bf16 = clip_op_bf16(n);
    if (x->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = d,
                                      .k = width,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dy, width},
                                      .b = {w->data, width, .transpose = true},
                                      .c = {x->grad, d},
                                      .accumulate = clip_grad_adds(x)});
    if (w->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = d,
                                      .n = width,
                                      .k = rows,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = clip_op_transposed(x, d),
                                      .b = {dy, width},
                                      .c = {w->grad, width},
                                      .accumulate = clip_grad_adds(w)});
}

static const struct clip_op project = {
    .name = "project",
    .forward = project_forward,
    .backward = project_backward,
    .reads = CLIP_READS_INPUT(X) | CLIP_READS_INPUT(W),
    .overwrites = true,
};

struct clip_tensor *clip_project(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w)
{
    CLIP_OP_ASSERT(t, w->ndim == 2 && clip_tensor_width(x) == w->shape[0]);
    int64_t shape[2] = {clip_tensor_rows(x), w->shape[1]};
    const struct clip_op_call call = {.ndim = 2, .shape = shape, .inputs = {x, w}};
    return clip_tape_record(t, &project, &call);
}
