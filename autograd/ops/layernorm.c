/* y = (x - mean(x)) * rstd(x) * w + b over the last axis
 *   x, y [R,D]   w, b [D]
 *   dx += rstd (g - mean(g) - xhat mean(g xhat)), g = dy w, xhat = (x - mean) rstd
 *   dw += sum over rows of dy xhat    db += sum over rows of dy
 * Ba, Kiros, Hinton 2016. Backward reads x and w, and mean, rstd [R] kept from forward. */

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { X, W, B };

struct layernorm_args {
    float eps;
};

static float *means(const struct clip_node *n) { return n->saved; }
static float *rstds(const struct clip_node *n)
{
    return (float *)n->saved + clip_tensor_rows(n->in[X]);
}

static size_t layernorm_saved(const struct clip_node *n)
{
    return 2 * (size_t)clip_tensor_rows(n->in[X]) * sizeof(float);
}

static void layernorm_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct layernorm_args *args = n->args;
    int64_t d = clip_tensor_width(n->out);
    size_t at = (size_t)(begin * d) * clip_dtype_size(n->out->dtype);
    clip_kernels()->layernorm(&(struct clip_layernorm){
        .y = (char *)n->out->data + at,
        .y_bf16 = n->out->dtype == CLIP_BF16,
        .mean = means(n) + begin,
        .rstd = rstds(n) + begin,
        .x = (const float *)n->in[X]->data + begin * d,
        .w = n->in[W]->data,
        .b = n->in[B]->data,
        .rows = end - begin,
        .width = d,
        .eps = args->eps,
    });
}

static void layernorm_forward(struct clip_node *n)
{
    clip_op_rows(n, clip_tensor_rows(n->out), clip_tensor_width(n->out), layernorm_rows);
}

static void layernorm_dx_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t d = clip_tensor_width(n->out);
    clip_kernels()->layernorm_dx(&(struct clip_layernorm_gradients){
        .dx = n->in[X]->grad + begin * d,
        .dy = n->out->grad + begin * d,
        .x = (const float *)n->in[X]->data + begin * d,
        .w = n->in[W]->data,
        .mean = means(n) + begin,
        .rstd = rstds(n) + begin,
        .rows = end - begin,
        .cols = d,
        .stride = d,
    });
}

static void layernorm_dw_columns(struct clip_node *n, int64_t begin, int64_t end)
{
    clip_kernels()->layernorm_dw(&(struct clip_layernorm_gradients){
        .dw = n->in[W]->grad + begin,
        .db = n->in[B]->grad + begin,
        .dy = n->out->grad + begin,
        .x = (const float *)n->in[X]->data + begin,
        .mean = means(n),
        .rstd = rstds(n),
        .rows = clip_tensor_rows(n->out),
        .cols = end - begin,
        .stride = clip_tensor_width(n->out),
    });
}

static void layernorm_backward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->out), d = clip_tensor_width(n->out);
    if (n->in[X]->needs_grad) clip_op_rows(n, rows, d, layernorm_dx_rows);
    if (n->in[W]->needs_grad) clip_op_ranges(n, d, 64, layernorm_dw_columns);
}

static const struct clip_op layernorm = {
    .name = "layernorm",
    .forward = layernorm_forward,
    .backward = layernorm_backward,
    .again = layernorm_forward,
    .reads = CLIP_READS_INPUT(X) | CLIP_READS_INPUT(W),
    .saved = layernorm_saved,
};

static struct clip_tensor *record(struct clip_tape *t, enum clip_dtype dtype, struct clip_tensor *x,
                                  struct clip_tensor *w, struct clip_tensor *b, float eps)
{
    CLIP_OP_ASSERT(t, x->dtype == CLIP_F32);
    CLIP_OP_ASSERT(t, clip_tensor_count(w) == clip_tensor_width(x) &&
                          clip_tensor_count(b) == clip_tensor_width(x));
    CLIP_OP_ASSERT(t, w->needs_grad == b->needs_grad); /* they are locked or trained together */
    int64_t shape[2] = {clip_tensor_rows(x), clip_tensor_width(x)};
    struct layernorm_args args = {eps};
    const struct clip_op_call call = {.dtype = dtype,
                                      .ndim = 2,
                                      .shape = shape,
                                      .inputs = {x, w, b},
                                      .args = &args,
                                      .args_size = sizeof args};
    return clip_tape_record(t, &layernorm, &call);
}

struct clip_tensor *clip_layernorm(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *w, struct clip_tensor *b, float eps)
{
    return record(t, CLIP_F32, x, w, b, eps);
}

struct clip_tensor *clip_norm_rows(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *w, struct clip_tensor *b, float eps)
{
    return record(t, t->dtype, x, w, b, eps);
}
