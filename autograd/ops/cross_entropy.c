/* y = mean over rows r of logsumexp(logits[r]) - logits[r][labels[r]]
 *   logits [R,N]   labels i32 [R]   y scalar
 *   dlogits[r][j] += (softmax(logits[r])[j] - [j = labels[r]]) dy / R
 * torch.nn.functional.cross_entropy. Backward reads logits and labels, and logsumexp [R] kept from
 * forward. */
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

enum { LOGITS, LABELS };

static size_t cross_entropy_saved(const struct clip_node *n)
{
    return (size_t)clip_tensor_rows(n->in[LOGITS]) * sizeof(float);
}

static void cross_entropy_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t width = clip_tensor_width(n->in[LOGITS]);
    float *logsumexp = n->saved;
    for (int64_t r = begin; r < end; r++) {
        const float *x = (const float *)n->in[LOGITS]->data + r * width;
        float max = clip_kernels()->max(x, width);
        logsumexp[r] = max + (float)log(clip_kernels()->sum_exp(x, max, width));
    }
}

static void cross_entropy_forward(struct clip_node *n)
{
    int64_t rows = clip_tensor_rows(n->in[LOGITS]), width = clip_tensor_width(n->in[LOGITS]);
    const float *x = n->in[LOGITS]->data, *logsumexp = n->saved;
    const int32_t *labels = n->in[LABELS]->data;
    clip_op_rows(n, rows, width, cross_entropy_rows);
    double loss = 0;
    for (int64_t r = 0; r < rows; r++)
        loss += (double)logsumexp[r] - (double)x[r * width + labels[r]];
    *(float *)n->out->data = (float)(loss / (double)rows);
}

static void cross_entropy_backward_rows(struct clip_node *n, int64_t begin, int64_t end)
{
    int64_t rows = clip_tensor_rows(n->in[LOGITS]), width = clip_tensor_width(n->in[LOGITS]);
    const float *x = n->in[LOGITS]->data, *logsumexp = n->saved;
    const int32_t *labels = n->in[LABELS]->data;
    float f = n->out->grad[0] / (float)rows, *dx = n->in[LOGITS]->grad, *p = n->scratch;
    for (int64_t r = begin; r < end; r++) {
        clip_kernels()->exp_shift(p + r * width, x + r * width, logsumexp[r], width);
        clip_kernels()->axpy(dx + r * width, f, p + r * width, width);
        dx[r * width + labels[r]] -= f;
    }
}

static size_t cross_entropy_scratch(const struct clip_node *n, bool backward)
{
    return backward ? (size_t)clip_tensor_count(n->in[LOGITS]) * sizeof(float) : 0;
}

static void cross_entropy_backward(struct clip_node *n)
{
    if (!n->in[LOGITS]->needs_grad) return;
    clip_op_rows(n, clip_tensor_rows(n->in[LOGITS]), clip_tensor_width(n->in[LOGITS]),
                 cross_entropy_backward_rows);
}

static const struct clip_op cross_entropy = {
    .name = "cross_entropy",
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
    .reads = CLIP_READS_INPUT(LOGITS) | CLIP_READS_INPUT(LABELS),
    .saved = cross_entropy_saved,
    .scratch = cross_entropy_scratch,
};

struct clip_tensor *clip_cross_entropy(struct clip_tape *t, struct clip_tensor *logits,
                                       struct clip_tensor *labels)
{
    CLIP_OP_ASSERT(t, labels->dtype == CLIP_I32 &&
                          clip_tensor_count(labels) == clip_tensor_rows(logits));
    const struct clip_op_call call = {.inputs = {logits, labels}};
    return clip_tape_record(t, &cross_entropy, &call);
}
