/* p = softmax(k q / sqrt(W)), y = p v, for each head: one query attends to B packed sequences
 *   q [1,D]   kv [T,2D]: k, v side by side, in each of them H heads of width W = D/H   y [B,D]
 *   offsets i32 [B+1]: sequence s has rows offsets[s] to offsets[s+1]
 *   dv += p dy    dp = v dy    ds = p (dp - sum(p dp)) / sqrt(W)    dk += ds q    dq += ds k
 * Lee et al. 2019, "Set Transformer": pooling by multihead attention with one seed vector; SigLIP.
 * Backward reads q, kv and offsets, and computes the scores again. dq gathers over all sequences:
 * each (sequence, head) keeps its ds, and then each head adds up its part of dq in order. */
#include <math.h>
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { Q, KV, OFFSETS };

struct attention_pool_args {
    int64_t heads;
};

struct seen { /* what one head sees of one sequence */
    const float *q, *k, *v;
    int64_t begin, rows, d, width, stride, at; /* at: the head's first column */
    float scale;
};

static struct seen seen_at(const struct clip_node *n, int64_t i)
{
    const struct attention_pool_args *args = n->args;
    const int32_t *offsets = n->in[OFFSETS]->data;
    int64_t s = i / args->heads, h = i % args->heads, d = clip_tensor_width(n->out);
    int64_t w = d / args->heads, begin = offsets[s];
    const float *k = (const float *)n->in[KV]->data + begin * 2 * d + h * w;
    return (struct seen){
        .q = (const float *)n->in[Q]->data + h * w,
        .k = k,
        .v = k + d,
        .begin = begin,
        .rows = offsets[s + 1] - begin,
        .d = d,
        .width = w,
        .stride = 2 * d,
        .at = h * w,
        .scale = 1.0f / sqrtf((float)w),
    };
}

/* One row of T floats per head: p in forward; in backward p, and dp, which becomes ds. */
static size_t attention_pool_scratch(const struct clip_node *n, bool backward)
{
    const struct attention_pool_args *args = n->args;
    return (size_t)(args->heads * clip_tensor_rows(n->in[KV])) * sizeof(float) * (backward ? 2 : 1);
}

static float *row_of(const struct clip_node *n, const struct seen *a, int which)
{
    const struct attention_pool_args *args = n->args;
    int64_t total = clip_tensor_rows(n->in[KV]), head = a->at / a->width;
    return (float *)n->scratch + (which * args->heads + head) * total + a->begin;
}

static void weigh(const struct seen *a, float *p)
{
    for (int64_t r = 0; r < a->rows; r++)
        p[r] = a->scale * clip_kernels()->dot(a->q, a->k + r * a->stride, a->width);
    clip_kernels()->softmax(p, a->rows);
}

static void attention_pool_forward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        struct seen a = seen_at(n, i);
        const struct attention_pool_args *args = n->args;
        float *p = row_of(n, &a, 0), *y = (float *)n->out->data + i / args->heads * a.d + a.at;
        weigh(&a, p);
        memset(y, 0, (size_t)a.width * sizeof *y);
        for (int64_t r = 0; r < a.rows; r++)
            clip_kernels()->axpy(y, p[r], a.v + r * a.stride, a.width);
    }
}

static void attention_pool_forward(struct clip_node *n)
{
    const struct attention_pool_args *args = n->args;
    clip_op_ranges(n, clip_tensor_rows(n->out) * args->heads, 1, attention_pool_forward_range);
}

static void backward_range(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct attention_pool_args *args = n->args;
    for (int64_t i = begin; i < end; i++) {
        struct seen a = seen_at(n, i);
        const float *dy = n->out->grad + i / args->heads * a.d + a.at;
        float *p = row_of(n, &a, 0), *ds = row_of(n, &a, 1), delta;
        weigh(&a, p);
        for (int64_t r = 0; r < a.rows; r++)
            ds[r] = clip_kernels()->dot(dy, a.v + r * a.stride, a.width);
        delta = clip_kernels()->dot(p, ds, a.rows);
        clip_kernels()->softmax_backward(ds, p, delta, a.scale, a.rows);
        if (!n->in[KV]->needs_grad) continue;
        float *dk = n->in[KV]->grad + a.begin * a.stride + a.at;
        for (int64_t r = 0; r < a.rows; r++) {
            clip_kernels()->axpy(dk + r * a.stride, ds[r], a.q, a.width);
            clip_kernels()->axpy(dk + r * a.stride + a.d, p[r], dy, a.width);
        }
    }
}

/* Heads [begin, end) of dq. */
static void query_range(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct attention_pool_args *args = n->args;
    for (int64_t h = begin; h < end; h++) {
        for (int64_t s = 0; s < clip_tensor_rows(n->out); s++) {
            struct seen a = seen_at(n, s * args->heads + h);
            const float *ds = row_of(n, &a, 1);
            for (int64_t r = 0; r < a.rows; r++)
                clip_kernels()->axpy(n->in[Q]->grad + a.at, ds[r], a.k + r * a.stride, a.width);
        }
    }
}

static void attention_pool_backward(struct clip_node *n)
{
    const struct attention_pool_args *args = n->args;
    if (!n->in[Q]->needs_grad && !n->in[KV]->needs_grad) return;
    clip_op_ranges(n, clip_tensor_rows(n->out) * args->heads, 1, backward_range);
    if (n->in[Q]->needs_grad) clip_op_ranges(n, args->heads, 1, query_range);
}

static const struct clip_op attention_pool = {
    .name = "attention_pool",
    .forward = attention_pool_forward,
    .backward = attention_pool_backward,
    .reads = CLIP_READS_INPUT(Q) | CLIP_READS_INPUT(KV) | CLIP_READS_INPUT(OFFSETS),
    .scratch = attention_pool_scratch,
};

struct clip_tensor *clip_attention_pool(struct clip_tape *t, struct clip_tensor *q,
                                        struct clip_tensor *kv, struct clip_tensor *offsets,
                                        int64_t heads)
{
    int64_t d = clip_tensor_width(q);
    CLIP_OP_ASSERT(t, q->dtype == CLIP_F32 && kv->dtype == CLIP_F32 && offsets->dtype == CLIP_I32);
    CLIP_OP_ASSERT(t, clip_tensor_rows(q) == 1 && clip_tensor_width(kv) == 2 * d);
    CLIP_OP_ASSERT(t, heads > 0 && d % heads == 0);
    int64_t shape[2] = {clip_tensor_count(offsets) - 1, d};
    struct attention_pool_args args = {heads};
    const struct clip_op_call call = {.ndim = 2,
                                      .shape = shape,
                                      .inputs = {q, kv, offsets},
                                      .args = &args,
                                      .args_size = sizeof args};
    return clip_tape_record(t, &attention_pool, &call);
}
