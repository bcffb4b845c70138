/* h = x w1^T + b1, a = activation(h), y = a w2^T + b2 + residual
 *   x [R,D]   w1 [F,D]   b1 [F]   w2 [N,F]   b2 [N]   h, a [R,F]   residual, y [R,N]
 *   dw2 += dy^T a    db2 += column sums of dy    dh = (dy w2) activation'(h)
 *   dw1 += dh^T x    db1 += column sums of dh    dx += dh w1    dresidual += dy
 * Vaswani et al. 2017, section 3.3. Backward reads x, w1, b1 and w2, and h kept from forward; with
 * `keep` false nothing is kept and h is computed again. The residual's gradient is y's, as it
 * is. */

#include "autograd/ops.h"
#include "autograd/ops/operand.h"
#include "autograd/ops/parallel.h"

enum { X, W1, B1, W2, B2, RESIDUAL, GRAIN = 16384 };

struct mlp_args {
    enum clip_activation activation;
    bool keep;
};

static int64_t hidden(const struct clip_node *n) { return n->in[W1]->shape[0]; }

/* Elements of one matrix [R,F]; it is stored in the tape's dtype. */
static int64_t hidden_count(const struct clip_node *n)
{
    return clip_tensor_rows(n->in[X]) * hidden(n);
}

static size_t hidden_bytes(const struct clip_node *n)
{
    size_t bytes = (size_t)hidden_count(n) * clip_dtype_size(n->tape->dtype);
    return (bytes + 63) / 64 * 64;
}

static bool keeps(const struct clip_node *n)
{
    return ((const struct mlp_args *)n->args)->keep && n->out->needs_grad;
}

static size_t mlp_saved(const struct clip_node *n) { return keeps(n) ? hidden_bytes(n) : 0; }

/* Forward needs a; backward needs a, dh, and h where it was not kept. */
static size_t mlp_scratch(const struct clip_node *n, bool backward)
{
    return (backward ? keeps(n) ? 2 : 3 : 1) * hidden_bytes(n);
}

static char *h_of(const struct clip_node *n)
{
    return keeps(n) ? n->saved : (char *)n->scratch + 2 * hidden_bytes(n);
}

/* to = activation(h), h = x w1^T + b1; h itself is written to `h` unless that is NULL. */
static void first_product(const struct clip_node *n, void *to, enum clip_activation activation,
                          void *h)
{
    int64_t rows = clip_tensor_rows(n->in[X]), d = clip_tensor_width(n->in[X]), f = hidden(n);
    bool bf16 = clip_op_bf16(n);
    clip_gemm(&(struct clip_gemm){.m = rows,
                                  .n = f,
                                  .k = d,
                                  .alpha = 1,
                                  .multiply_bf16 = bf16,
                                  .a = clip_op_operand(n->in[X], d),
                                  .b = clip_op_transposed(n->in[W1], d),
                                  .bias = n->in[B1]->data,
                                  .activation = activation,
                                  .pre_activation = {h, f, bf16},
                                  .c = {to, f, bf16}});
}

static void mlp_forward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->in[X]), f = hidden(n), width = clip_tensor_width(n->out);
    bool bf16 = clip_op_bf16(n);
    first_product(n, n->scratch, ((const struct mlp_args *)n->args)->activation, n->saved);
    clip_gemm(&(struct clip_gemm){.m = rows,
                                  .n = width,
                                  .k = f,
                                  .alpha = 1,
                                  .multiply_bf16 = bf16,
                                  .a = {n->scratch, f, .bf16 = bf16},
                                  .b = clip_op_transposed(n->in[W2], f),
                                  .bias = n->in[B2]->data,
                                  .residual = clip_op_matrix(n->in[RESIDUAL], width),
                                  .c = clip_op_matrix(n->out, width)});
}

static void activate_range(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct mlp_args *args = n->args;
    size_t at = (size_t)begin * clip_dtype_size(n->tape->dtype);
    clip_kernels()->activate((char *)n->scratch + at, h_of(n) + at, clip_op_bf16(n),
                             args->activation, end - begin);
}

static void mlp_backward(struct clip_node *n)
{
    const struct mlp_args *args = n->args;
    struct clip_tensor *x = n->in[X], *w1 = n->in[W1], *w2 = n->in[W2], *r = n->in[RESIDUAL];
    int64_t rows = clip_tensor_rows(x), d = clip_tensor_width(x), f = hidden(n);
    int64_t width = clip_tensor_width(n->out);
    bool bf16 = clip_op_bf16(n);
    const float *dy = n->out->grad;
    char *a = n->scratch, *dh = a + hidden_bytes(n), *h = h_of(n);
    if (!keeps(n)) first_product(n, h, CLIP_NO_ACTIVATION, NULL);
    if (w2->needs_grad) {
        clip_op_ranges(n, hidden_count(n), GRAIN, activate_range);
        clip_gemm(&(struct clip_gemm){.m = width,
                                      .n = f,
                                      .k = rows,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dy, width, .transpose = true},
                                      .b = {a, f, .bf16 = bf16},
                                      .c = {w2->grad, f},
                                      .accumulate = clip_grad_adds(w2)});
    }
    if (n->in[B2]->needs_grad) clip_op_bias(n->in[B2], dy, false, rows);
    if (x->needs_grad || w1->needs_grad || n->in[B1]->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = f,
                                      .k = width,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dy, width},
                                      .b = {w2->data, f},
                                      .activation = args->activation,
                                      .derivative_at = {h, f, bf16},
                                      .c = {dh, f, bf16}});
    if (w1->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = f,
                                      .n = d,
                                      .k = rows,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dh, f, .transpose = true, .bf16 = bf16},
                                      .b = clip_op_operand(x, d),
                                      .c = {w1->grad, d},
                                      .accumulate = clip_grad_adds(w1)});
    if (n->in[B1]->needs_grad) clip_op_bias(n->in[B1], dh, bf16, rows);
    if (x->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = d,
                                      .k = f,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {dh, f, .bf16 = bf16},
                                      .b = {w1->data, d},
                                      .c = {x->grad, d},
                                      .accumulate = clip_grad_adds(x)});
    if (r != NULL && r->needs_grad) clip_op_pass(n, r);
}

static const struct clip_op mlp = {
    .name = "mlp",
    .forward = mlp_forward,
    .backward = mlp_backward,
    .reads = CLIP_READS_INPUT(X) | CLIP_READS_INPUT(W1) | CLIP_READS_INPUT(B1) |
             CLIP_READS_INPUT(W2),
    .overwrites = true,
    .passes = 1 + RESIDUAL,
    .saved = mlp_saved,
    .scratch = mlp_scratch,
};

struct clip_tensor *clip_mlp(struct clip_tape *t, struct clip_tensor *x,
                             const struct clip_mlp_weights *w, enum clip_activation activation,
                             bool keep, struct clip_tensor *residual)
{
    int64_t d = clip_tensor_width(x), f = w->w1->shape[0], width = w->w2->shape[0];
    CLIP_OP_ASSERT(t, w->w1->shape[1] == d && w->w2->shape[1] == f);
    CLIP_OP_ASSERT(t, clip_tensor_count(w->b1) == f && clip_tensor_count(w->b2) == width);
    int64_t shape[2] = {clip_tensor_rows(x), width};
    CLIP_OP_ASSERT(t, residual == NULL || clip_tensor_count(residual) == shape[0] * width);
    struct mlp_args args = {activation, keep};
    const struct clip_op_call call = {.ndim = 2,
                                      .shape = shape,
                                      .inputs = {x, w->w1, w->b1, w->w2, w->b2, residual},
                                      .args = &args,
                                      .args_size = sizeof args};
    return clip_tape_record(t, &mlp, &call);
}
