/* u = x a^T
 * y[:, columns of part k] = residual + scale u_k b_k^T, k = 0 .. n - 1; elsewhere y = residual
 *   x [R,D]   a [n r,D]   b [n w,r]   u [R,n r]   residual [R,N] or none   y [R,N]
 *   The N columns are `parts` parts of w = N / parts columns (3 where query, key and value lie side
 *   by side). The n parts that are in the set `which` have a low-rank path.
 *   du_k = scale dy_k b_k    db_k += scale dy_k^T u_k    da += du^T x    dx += du a
 *   dresidual += dy
 * The low-rank path beside a linear layer whose weight is frozen, as that layer's residual input
 * (LoRA, Hu et al. 2021, equation 3). Backward reads x, a and b, and u kept from forward. */
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/operand.h"
#include "autograd/ops/parallel.h"

enum { X, A, B, RESIDUAL };

static const struct clip_lora_args *args_of(const struct clip_node *n) { return n->args; }
static int64_t rank_of(const struct clip_node *n) { return n->in[B]->shape[1]; }
static int64_t part_width(const struct clip_node *n)
{
    return n->out->shape[1] / args_of(n)->parts;
}

static size_t u_bytes(const struct clip_node *n)
{
    return (size_t)(n->out->shape[0] * n->in[A]->shape[0]) * sizeof(float);
}

static size_t lora_scratch(const struct clip_node *n, bool backward)
{
    return backward ? u_bytes(n) : 0; /* du */
}

/* The number that part p of the columns has among the parts with a path, or -1. */
static int place_of(const struct clip_node *n, int p)
{
    int place = 0;
    for (int i = 0; i < p; i++) place += args_of(n)->which >> i & 1;
    return args_of(n)->which >> p & 1 ? place : -1;
}

static void lora_forward(struct clip_node *n)
{
    const struct clip_tensor *x = n->in[X], *a = n->in[A], *residual = n->in[RESIDUAL];
    int64_t rows = n->out->shape[0], width = n->out->shape[1], d = clip_tensor_width(x);
    int64_t r = rank_of(n), w = part_width(n), all = a->shape[0];
    float *u = n->saved, *y = n->out->data;
    clip_gemm(&(struct clip_gemm){.m = rows,
                                  .n = all,
                                  .k = d,
                                  .alpha = 1,
                                  .multiply_bf16 = clip_op_bf16(n),
                                  .a = clip_op_operand(x, d),
                                  .b = {a->data, d, .transpose = true},
                                  .c = {u, all}});
    if (residual != NULL)
        memcpy(y, residual->data, (size_t)(rows * width) * sizeof *y);
    else
        clip_op_zero(y, rows * width);
    for (int p = 0; p < args_of(n)->parts; p++) {
        int k = place_of(n, p);
        if (k < 0) continue;
        clip_gemm(&(struct clip_gemm){
            .m = rows,
            .n = w,
            .k = r,
            .alpha = args_of(n)->scale,
            .multiply_bf16 = clip_op_bf16(n),
            .a = {u + k * r, all},
            .b = {(const float *)n->in[B]->data + k * w * r, r, .transpose = true},
            .c = {y + p * w, width},
            .accumulate = true});
    }
}

static void lora_backward(struct clip_node *n)
{
    struct clip_tensor *x = n->in[X], *a = n->in[A], *b = n->in[B], *residual = n->in[RESIDUAL];
    int64_t rows = n->out->shape[0], width = n->out->shape[1], d = clip_tensor_width(x);
    int64_t r = rank_of(n), w = part_width(n), all = a->shape[0];
    const float *u = n->saved, *dy = n->out->grad;
    float *du = n->scratch;
    bool bf16 = clip_op_bf16(n), adds = b->needs_grad && clip_grad_adds(b);
    for (int p = 0; p < args_of(n)->parts; p++) {
        int k = place_of(n, p);
        if (k < 0) continue;
        const float *dy_k = dy + p * w, *b_k = (const float *)b->data + k * w * r;
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = r,
                                      .k = w,
                                      .alpha = args_of(n)->scale,
                                      .multiply_bf16 = bf16,
                                      .a = {dy_k, width},
                                      .b = {b_k, r},
                                      .c = {du + k * r, all}});
        if (b->needs_grad)
            clip_gemm(&(struct clip_gemm){.m = w,
                                          .n = r,
                                          .k = rows,
                                          .alpha = args_of(n)->scale,
                                          .multiply_bf16 = bf16,
                                          .a = {dy_k, width, .transpose = true},
                                          .b = {u + k * r, all},
                                          .c = {b->grad + k * w * r, r},
                                          .accumulate = adds});
    }
    if (a->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = all,
                                      .n = d,
                                      .k = rows,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {du, all, .transpose = true},
                                      .b = clip_op_operand(x, d),
                                      .c = {a->grad, d},
                                      .accumulate = clip_grad_adds(a)});
    if (x->needs_grad)
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = d,
                                      .k = all,
                                      .alpha = 1,
                                      .multiply_bf16 = bf16,
                                      .a = {du, all},
                                      .b = {a->data, d},
                                      .c = {x->grad, d},
                                      .accumulate = clip_grad_adds(x)});
    if (residual != NULL && residual->needs_grad) clip_op_pass(n, residual);
}

static const struct clip_op lora = {
    .name = "lora",
    .forward = lora_forward,
    .backward = lora_backward,
    .overwrites = true,
    .passes = 1 + RESIDUAL,
    .reads = CLIP_READS_INPUT(X) | CLIP_READS_INPUT(A) | CLIP_READS_INPUT(B),
    .saved = u_bytes,
    .scratch = lora_scratch,
};

struct clip_tensor *clip_lora(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *a,
                              struct clip_tensor *b, struct clip_tensor *residual,
                              const struct clip_lora_args *args)
{
    int64_t n = __builtin_popcount(args->which), parts = args->parts;
    int64_t r = b->shape[1], w = n > 0 ? b->shape[0] / n : 0;
    CLIP_OP_ASSERT(t, parts > 0 && n > 0 && args->which >> parts == 0);
    CLIP_OP_ASSERT(t, clip_tensor_width(x) == a->shape[1] && a->shape[0] == n * r &&
                          b->shape[0] == n * w);
    int64_t shape[2] = {clip_tensor_rows(x), parts * w};
    CLIP_OP_ASSERT(t, residual == NULL || (residual->dtype == CLIP_F32 &&
                                           clip_tensor_count(residual) == shape[0] * shape[1]));
    const struct clip_op_call call = {.ndim = 2,
                                      .shape = shape,
                                      .inputs = {x, a, b, residual},
                                      .args = args,
                                      .args_size = sizeof *args};
    return clip_tape_record(t, &lora, &call);
}
