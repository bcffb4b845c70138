/* y = softmax(q k^T / sqrt(W)) v, for each head of each of B packed sequences
 *   qkv [T,3D]: q, k, v side by side, in each of them H heads of width W = D/H   y [T,D]
 *   offsets i32 [B+1]: sequence s has rows offsets[s] to offsets[s+1]
 *   causal: row i sees rows up to i
 * Vaswani et al. 2017, equation 1. kernels/attention.h has the gradients' formulas. Backward reads
 * qkv and offsets. */
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/operand.h"
#include "autograd/ops/parallel.h"
#include "kernels/attention.h"

enum { QKV, OFFSETS };

struct attention_args {
    int64_t heads, longest; /* longest: rows of the longest sequence */
    bool causal;
    bool adds; /* backward: dqkv is added to, not overwritten */
};

static int64_t head_width(const struct clip_node *n)
{
    return clip_tensor_width(n->out) / ((const struct attention_args *)n->args)->heads;
}

/* Bytes of one thread's workspace. */
static size_t thread_workspace(const struct clip_node *n, bool backward)
{
    const struct attention_args *args = n->args;
    size_t bytes = clip_attention_workspace_bytes(args->longest, head_width(n), backward);
    return (bytes + 63) / 64 * 64;
}

static size_t attention_scratch(const struct clip_node *n, bool backward)
{
    return (size_t)clip_threads_count() * thread_workspace(n, backward);
}

static void *room_of(const struct clip_node *n, bool backward)
{
    return (char *)n->scratch + (size_t)clip_thread_number() * thread_workspace(n, backward);
}

/* One head of one sequence: its first row, and its first one among D columns. */
struct place {
    int64_t row, column;
};

static struct clip_attention head_at(const struct clip_node *n, int64_t i, struct place *place)
{
    const struct attention_args *args = n->args;
    const int32_t *offsets = n->in[OFFSETS]->data;
    int64_t s = i / args->heads, d = clip_tensor_width(n->out), w = head_width(n);
    size_t element = clip_dtype_size(n->in[QKV]->dtype), apart = (size_t)d * element;
    *place = (struct place){offsets[s], i % args->heads * w};
    const char *q = (const char *)n->in[QKV]->data +
                    (size_t)(place->row * 3 * d + place->column) * element;
    return (struct clip_attention){
        .rows = offsets[s + 1] - offsets[s],
        .width = w,
        .q = q,
        .k = q + apart,
        .v = q + 2 * apart,
        .ld = 3 * d,
        .bf16 = n->in[QKV]->dtype == CLIP_BF16,
        .causal = args->causal,
        .multiply_bf16 = clip_op_bf16(n),
        .scale = 1.0f / sqrtf((float)w),
    };
}

static void forward_heads(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t d = clip_tensor_width(n->out);
    for (int64_t i = begin; i < end; i++) {
        struct place at;
        struct clip_attention head = head_at(n, i, &at);
        struct clip_matrix y = clip_op_matrix(n->out, d);
        y.data = (char *)y.data + (size_t)(at.row * d + at.column) * clip_dtype_size(n->out->dtype);
        clip_attention_forward(&head, &y, room_of(n, false));
    }
}

static int64_t all_heads(const struct clip_node *n)
{
    int64_t sequences = clip_tensor_count(n->in[OFFSETS]) - 1;
    return sequences * ((const struct attention_args *)n->args)->heads;
}

static void attention_forward(struct clip_node *n)
{
    clip_op_ranges(n, all_heads(n), 1, forward_heads);
}

static void backward_heads(struct clip_node *n, int64_t begin, int64_t end)
{
    const struct attention_args *args = n->args;
    int64_t d = clip_tensor_width(n->out);
    for (int64_t i = begin; i < end; i++) {
        struct place at;
        struct clip_attention head = head_at(n, i, &at);
        float *dq = n->in[QKV]->grad + at.row * 3 * d + at.column;
        const struct clip_attention_gradients gradients = {
            n->out->grad + at.row * d + at.column, d, dq, dq + d, dq + 2 * d, 3 * d, args->adds};
        clip_attention_backward(&head, &gradients, room_of(n, true));
    }
}

static void attention_backward(struct clip_node *n)
{
    struct attention_args *args = n->args;
    if (!n->in[QKV]->needs_grad) return;
    args->adds = clip_grad_adds(n->in[QKV]);
    clip_op_ranges(n, all_heads(n), 1, backward_heads);
}

static const struct clip_op attention = {
    .name = "attention",
    .forward = attention_forward,
    .backward = attention_backward,
    .reads = CLIP_READS_INPUT(QKV) | CLIP_READS_INPUT(OFFSETS),
    .overwrites = true,
    .scratch = attention_scratch,
};

/* Rows of the longest sequence, rounded up to a multiple of 16. Planning cannot read the offsets:
 * it assumes that all sequences have one length, which mostly gives the same number. */
static int64_t longest_sequence(const struct clip_tape *t, const struct clip_tensor *offsets,
                                int64_t rows)
{
    int64_t sequences = clip_tensor_count(offsets) - 1, longest = 1;
    const int32_t *at = t->plan ? NULL : offsets->data;
    if (at == NULL && sequences > 0) longest = (rows + sequences - 1) / sequences;
    for (int64_t s = 0; at != NULL && s < sequences; s++)
        if (at[s + 1] - at[s] > longest) longest = at[s + 1] - at[s];
    return (longest + 15) / 16 * 16;
}

struct clip_tensor *clip_attention(struct clip_tape *t, struct clip_tensor *qkv,
                                   struct clip_tensor *offsets, int64_t heads, bool causal)
{
    int64_t d = clip_tensor_width(qkv) / 3;
    CLIP_OP_ASSERT(t, clip_tensor_width(qkv) == 3 * d && heads > 0 && d % heads == 0 &&
                          offsets->dtype == CLIP_I32);
    int64_t shape[2] = {clip_tensor_rows(qkv), d};
    struct attention_args args = {heads, longest_sequence(t, offsets, shape[0]), causal, false};
    const struct clip_op_call call = {.dtype = t->dtype,
                                      .ndim = 2,
                                      .shape = shape,
                                      .inputs = {qkv, offsets},
                                      .args = &args,
                                      .args_size = sizeof args};
    return clip_tape_record(t, &attention, &call);
}
