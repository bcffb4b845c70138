/* y = x w^T + b + residual
 *   x [R,D]   w [N,D]   b [N]   residual, y [R,N]
 *   dx += dy w    dw += dy^T x    db += column sums of dy    dresidual += dy
 * Backward reads x and w. The residual's gradient is y's, as it is. */

#include "autograd/ops.h"
#include "autograd/ops/operand.h"
#include "autograd/ops/parallel.h"

enum { X, W, B, RESIDUAL };

static void linear_forward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->in[X]), d = clip_tensor_width(n->in[X]),
            width = n->in[W]->shape[0];
    clip_gemm(&(struct clip_gemm){.m = rows,
                                  .n = width,
                                  .k = d,
                                  .alpha = 1,
                                  .multiply_bf16 = clip_op_bf16(n),
                                  .a = clip_op_operand(n->in[X], d),
                                  .b = clip_op_transposed(n->in[W], d),
                                  .bias = n->in[B] != NULL ? n->in[B]->data : NULL,
                                  .residual = clip_op_matrix(n->in[RESIDUAL], width),
                                  .c = clip_op_matrix(n->out, width)});
}

static void linear_backward(struct clip_node *n)
{
    struct clip_tensor *x = n->in[X], *w = n->in[W], *b = n->in[B], *residual = n->in[RESIDUAL];
    int64_t rows = clip_tensor_rows(x), d = clip_tensor_width(x), width = w->shape[0];
    const float *dy = n->out->grad;
    bool bf16 = clip_op_bf16(n);
    if (x->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = d,
                                      .k = width,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dy, width},
                                      .b = {w->data, d},
                                      .c = {x->grad, d},
                                      .accumulate = clip_grad_adds(x)});
    if (w->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = width,
                                      .n = d,
                                      .k = rows,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dy, width, .transpose = true},
                                      .b = clip_op_operand(x, d),
                                      .c = {w->grad, d},
                                      .accumulate = clip_grad_adds(w)});
    if (b != NULL && b->needs_grad) clip_op_bias(b, dy, false, rows);
    if (residual != NULL && residual->needs_grad) clip_op_pass(n, residual);
}

static const struct clip_op linear = {
    .name = "linear",
    .forward = linear_forward,
    .backward = linear_backward,
    .reads = CLIP_READS_INPUT(X) | CLIP_READS_INPUT(W),
    .overwrites = true,
    .passes = 1 + RESIDUAL,
};

static struct clip_tensor *record(struct clip_tape *t, enum clip_dtype dtype, struct clip_tensor *x,
                                  struct clip_tensor *w, struct clip_tensor *b,
                                  struct clip_tensor *residual)
{
    CLIP_OP_ASSERT(t, w->ndim == 2 && clip_tensor_width(x) == w->shape[1]);
    CLIP_OP_ASSERT(t, b == NULL || clip_tensor_count(b) == w->shape[0]);
    int64_t shape[2] = {clip_tensor_rows(x), w->shape[0]};
    CLIP_OP_ASSERT(t, residual == NULL || clip_tensor_count(residual) == shape[0] * shape[1]);
    const struct clip_op_call call = {
        .dtype = dtype, .ndim = 2, .shape = shape, .inputs = {x, w, b, residual}};
    return clip_tape_record(t, &linear, &call);
}

struct clip_tensor *clip_linear(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w,
                                struct clip_tensor *b, struct clip_tensor *residual)
{
    return record(t, residual == NULL ? t->dtype : CLIP_F32, x, w, b, residual);
}

struct clip_tensor *clip_linear_f32(struct clip_tape *t, struct clip_tensor *x,
                                    struct clip_tensor *w, struct clip_tensor *b)
{
    return record(t, CLIP_F32, x, w, b, NULL);
}
