#include <assert.h>
#include <math.h>
#include <string.h>

#include "autograd/ops.h"
#include "autograd/ops/operand.h"
#include "autograd/ops/parallel.h"

/* Scaled dot-product attention within each of B packed sequences (Vaswani et al. 2017, equation 1),
 * head by head: p = softmax(q k^T / sqrt(W)), y = p v.   qkv [T,3D]: q, k, v side by side, H heads
 * of width W = D/H in each   y [T,D] offsets i32 [B+1]: sequence s holds rows offsets[s] to
 * offsets[s+1]; causal: row i sees rows up to i dv += p^T dy    dp = dy v^T    ds = p (dp - sum(p
 * dp)) / sqrt(W)    dq += ds k    dk += ds^T q Scores exist for TILE rows of one head at a time;
 * backward computes them again (as in FlashAttention, Dao et al. 2022). A row's sum(p dp) equals
 * sum(dy y), but where p is 0 and 1 it is dp to the bit, so that ds is 0. Backward reads qkv and
 * offsets. */
enum { QKV, OFFSETS, TILE = 64 };

struct attention_args {
    int64_t heads, longest; /* longest: rows of the longest sequence */
    bool causal;
    bool adds; /* backward: dqkv is added to, not overwritten */
};

/* One head of one sequence. */
struct head {
    int64_t begin, rows, d, width, stride; /* first row, rows, D, W, 3D */
    struct clip_operand q, k, v;
    int64_t h;
    float scale;
    bool causal, bf16;
};

/* The rows of an operand from row i on, or its columns. */
static struct clip_operand from(struct clip_operand x, int64_t i)
{
    x.data = (const char *)x.data + (size_t)i * (x.bf16 ? 2 : sizeof(float));
    return x;
}
static struct clip_operand transposed(struct clip_operand x)
{
    x.transpose = true;
    return x;
}

static struct head head_at(const struct clip_node *n, int64_t i)
{
    const struct attention_args *args = n->args;
    const int32_t *offsets = n->in[OFFSETS]->data;
    int64_t s = i / args->heads, h = i % args->heads, d = clip_tensor_width(n->out),
            w = d / args->heads;
    struct clip_operand q = from(clip_op_operand(n->in[QKV], 3 * d), offsets[s] * 3 * d + h * w);
    return (struct head){
        offsets[s],
        offsets[s + 1] - offsets[s],
        d,
        w,
        3 * d,
        q,
        from(q, d),
        from(q, 2 * d),
        h,
        1.0f / sqrtf((float)w),
        args->causal,
        clip_op_bf16(n),
    };
}

/* Each thread has two tiles of scores [TILE, longest]. */
static int64_t tile_floats(const struct clip_node *n)
{
    return TILE * ((const struct attention_args *)n->args)->longest;
}

static size_t attention_scratch(const struct clip_node *n, bool backward)
{
    (void)backward;
    return (size_t)(clip_threads_count() * 2 * tile_floats(n)) * sizeof(float);
}

static float *thread_tiles(const struct clip_node *n)
{
    return (float *)n->scratch + clip_thread_number() * 2 * tile_floats(n);
}

/* s = q[i0..i0+m) k[0..seen)^T / sqrt(W) */
static void scores(const struct head *a, int64_t i0, int64_t m, int64_t seen, float *s)
{
    clip_gemm_serial(&(struct clip_gemm){
        .m = m, .n = seen, .k = a->width, .alpha = a->scale, .multiply_bf16 = a->bf16,
        .a = from(a->q, i0 * a->stride), .b = transposed(a->k), .c = {s, seen}});
}

static void forward_head(const struct head *a, struct clip_matrix y, float *s)
{
    for (int64_t i0 = 0; i0 < a->rows; i0 += TILE) {
        int64_t m = a->rows - i0 < TILE ? a->rows - i0 : TILE, seen = a->causal ? i0 + m : a->rows;
        scores(a, i0, m, seen, s);
        for (int64_t i = 0; i < m; i++) {
            int64_t mine = a->causal ? i0 + i + 1 : seen;
            clip_kernels()->softmax(s + i * seen, mine);
            memset(s + i * seen + mine, 0, (size_t)(seen - mine) * sizeof *s);
        }
        clip_gemm_serial(&(struct clip_gemm){
            .m = m, .n = a->width, .k = seen, .alpha = 1, .multiply_bf16 = a->bf16,
            .a = {s, seen}, .b = a->v, .c = y});
        y.data = (char *)y.data + (size_t)(m * a->d) * (y.bf16 ? 2 : sizeof(float));
    }
}

static void forward_heads(struct clip_node *n, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        struct head a = head_at(n, i);
        struct clip_matrix y = clip_op_matrix(n->out, a.d);
        size_t at = (size_t)(a.begin * a.d + a.h * a.width) * clip_dtype_size(n->out->dtype);
        y.data = (char *)y.data + at;
        forward_head(&a, y, thread_tiles(n));
    }
}

static void attention_forward(struct clip_node *n)
{
    const struct attention_args *args = n->args;
    clip_op_ranges(n, (clip_tensor_count(n->in[OFFSETS]) - 1) * args->heads, 1, forward_heads);
}

static void backward_head(const struct head *a, const float *dy, float *dq, float *p, float *dp)
{
    float *dk = dq + a->d, *dv = dq + 2 * a->d;
    for (int64_t i0 = 0; i0 < a->rows; i0 += TILE) {
        int64_t m = a->rows - i0 < TILE ? a->rows - i0 : TILE, seen = a->causal ? i0 + m : a->rows;
        const float *dy_tile = dy + i0 * a->d;
        scores(a, i0, m, seen, p);
        clip_gemm_serial(&(struct clip_gemm){
            .m = m, .n = seen, .k = a->width, .alpha = 1, .multiply_bf16 = a->bf16,
            .a = {dy_tile, a->d}, .b = transposed(a->v), .c = {dp, seen}});
        for (int64_t i = 0; i < m; i++) {
            int64_t mine = a->causal ? i0 + i + 1 : seen;
            clip_kernels()->softmax(p + i * seen, mine);
            float delta = clip_kernels()->dot(p + i * seen, dp + i * seen, mine);
            clip_kernels()->softmax_backward(dp + i * seen, p + i * seen, delta, a->scale, mine);
            memset(p + i * seen + mine, 0, (size_t)(seen - mine) * sizeof *p);
            memset(dp + i * seen + mine, 0, (size_t)(seen - mine) * sizeof *p);
        }
        clip_gemm_serial(&(struct clip_gemm){
            .m = seen, .n = a->width, .k = m, .alpha = 1, .multiply_bf16 = a->bf16,
            .a = {p, seen, .transpose = true}, .b = {dy_tile, a->d}, .c = {dv, a->stride}, .accumulate = true});
        clip_gemm_serial(&(struct clip_gemm){
            .m = m, .n = a->width, .k = seen, .alpha = 1, .multiply_bf16 = a->bf16,
            .a = {dp, seen}, .b = a->k, .c = {dq + i0 * a->stride, a->stride}, .accumulate = true});
        clip_gemm_serial(&(struct clip_gemm){
            .m = seen, .n = a->width, .k = m, .alpha = 1, .multiply_bf16 = a->bf16,
            .a = {dp, seen, .transpose = true}, .b = from(a->q, i0 * a->stride), .c = {dk, a->stride}, .accumulate = true});
    }
}

static void zero_head(const struct head *a, float *dq)
{
    for (int64_t r = 0; r < a->rows; r++)
        for (int64_t part = 0; part < 3; part++)
            memset(dq + r * a->stride + part * a->d, 0, (size_t)a->width * sizeof *dq);
}

static void backward_heads(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct attention_args *args = n->args;
    for (int64_t i = begin; i < end; i++) {
        struct head a = head_at(n, i);
        int64_t at = a.begin * a.d + a.h * a.width;
        float *tiles = thread_tiles(n);
        float *dq = n->in[QKV]->grad + a.begin * a.stride + a.h * a.width;
        if (!args->adds) zero_head(&a, dq);
        backward_head(&a, n->out->grad + at, dq, tiles, tiles + tile_floats(n));
    }
}

static void attention_backward(struct clip_node *n)
{
    struct attention_args *args = n->args;
    if (!n->in[QKV]->needs_grad) return;
    args->adds = clip_grad_adds(n->in[QKV]);
    clip_op_ranges(n, (clip_tensor_count(n->in[OFFSETS]) - 1) * args->heads, 1, backward_heads);
}

static const struct clip_op attention = {
    .name = "attention",
    .forward = attention_forward,
    .backward = attention_backward,
    .reads = CLIP_READS_INPUT(QKV) | CLIP_READS_INPUT(OFFSETS),
    .overwrites = true,
    .scratch = attention_scratch,
};

/* While planning, offsets are not there to be read: sequences are taken to be of one length. */
static int64_t longest_sequence(const struct clip_tape *t, const struct clip_tensor *offsets,
                                int64_t rows)
{
    int64_t sequences = clip_tensor_count(offsets) - 1, longest = 1;
    if (offsets->data == NULL || t->plan)
        return sequences > 0 ? (rows + sequences - 1) / sequences : 1;
    const int32_t *at = offsets->data;
    for (int64_t s = 0; s < sequences; s++)
        if (at[s + 1] - at[s] > longest) longest = at[s + 1] - at[s];
    return longest;
}

struct clip_tensor *clip_attention(struct clip_tape *t, struct clip_tensor *qkv,
                                   struct clip_tensor *offsets, int64_t heads, bool causal)
{
    int64_t d = clip_tensor_width(qkv) / 3;
    assert(clip_tensor_width(qkv) == 3 * d && heads > 0 && d % heads == 0 &&
           offsets->dtype == CLIP_I32);
    int64_t shape[2] = {clip_tensor_rows(qkv), d};
    struct attention_args args = {heads, longest_sequence(t, offsets, shape[0]), causal, false};
    return clip_tape_record_as(t, t->dtype, &attention, 2, shape, 2,
                               (struct clip_tensor *[]){qkv, offsets}, &args, sizeof args);
}
