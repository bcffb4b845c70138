#include <assert.h>
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/logits.h"

/* SigLIP's sigmoid loss (Zhai et al. 2023, algorithm 1).   image [N,E], text [M,E] unit rows, M >=
 * N, logit_scale and bias scalars
 *   S = exp(logit_scale) image text^T + bias [N,M]
 *   y = 1/N sum_ij log(1 + exp(-z_ij S_ij)),   z +1 for positives, else -1: texts N to M are hard
 *   negatives
 *   dS = -z sigmoid(-z S) dy / N
 *   dimage += e dS text    dtext += e dS^T image    dlogit_scale += sum(dS (S - bias))
 *   dbias += sum(dS),   e = exp(logit_scale)
 * S is computed LOSS_ROWS rows at a time, in forward and again in backward. Backward reads all
 * inputs. */

static double *row_sums(const struct clip_node *n) { return n->scratch; } /* two a row */
static float *block(const struct clip_node *n) { return (float *)(row_sums(n) + 2 * LOSS_ROWS); }

static size_t sigmoid_scratch(const struct clip_node *n, bool backward)
{
    (void)backward;
    return 2 * LOSS_ROWS * sizeof(double) + (size_t)(LOSS_ROWS * loss_texts(n)) * sizeof(float);
}

struct block_at {
    struct clip_node *node;
    int64_t i0;
};

static const int32_t *ids_of(const struct clip_node *n)
{
    return n->in[LOSS_IDS] != NULL ? n->in[LOSS_IDS]->data : NULL;
}
static float bias_of(const struct clip_node *n) { return *(const float *)n->in[LOSS_BIAS]->data; }

static void forward_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    const struct clip_node *n = at->node;
    const int32_t *ids = ids_of(n);
    const float *s = block(n) + r * loss_texts(n), bias = bias_of(n);
    double sum = 0;
    for (int64_t j = 0; j < loss_texts(n); j++) {
        float u = j < loss_pairs(n) && loss_positive(ids, at->i0 + r, j)
                      ? -(s[j] + bias)
                      : s[j] + bias; /* log(1 + exp(u)), without overflow */
        sum += (double)((u > 0 ? u : 0) + log1pf(expf(-fabsf(u))));
    }
    row_sums(n)[2 * r] = sum;
}

static void sigmoid_loss_forward(struct clip_node *n)
{
    int64_t pairs = loss_pairs(n);
    double loss = 0;
    for (int64_t i0 = 0; i0 < pairs; i0 += LOSS_ROWS) {
        struct block_at at = {n, i0};
        int64_t m = pairs - i0 < LOSS_ROWS ? pairs - i0 : LOSS_ROWS;
        clip_logits_block(n, i0, m, block(n));
        clip_parallel_for(m, forward_row, &at);
        for (int64_t r = 0; r < m; r++) loss += row_sums(n)[2 * r];
    }
    *(float *)n->out->data = (float)(loss / (double)pairs);
}

/* The block's logits become the block's gradient; row_sums gets sum(dS (S - bias)) and sum(dS) of
 * each row. */
static void backward_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    const struct clip_node *n = at->node;
    const int32_t *ids = ids_of(n);
    float *s = block(n) + r * loss_texts(n), bias = bias_of(n),
          f = n->out->grad[0] / (float)loss_pairs(n);
    double scale_sum = 0, bias_sum = 0;
    for (int64_t j = 0; j < loss_texts(n); j++) {
        bool positive = j < loss_pairs(n) && loss_positive(ids, at->i0 + r, j);
        float z = positive ? 1.0f : -1.0f;
        float g = -z * f / (1.0f + expf(z * (s[j] + bias)));
        scale_sum += (double)g * (double)s[j];
        bias_sum += (double)g;
        s[j] = g;
    }
    row_sums(n)[2 * r] = scale_sum;
    row_sums(n)[2 * r + 1] = bias_sum;
}

static void sigmoid_loss_backward(struct clip_node *n)
{
    int64_t pairs = loss_pairs(n);
    double d_scale = 0, d_bias = 0;
    for (int64_t i0 = 0; i0 < pairs; i0 += LOSS_ROWS) {
        struct block_at at = {n, i0};
        int64_t m = pairs - i0 < LOSS_ROWS ? pairs - i0 : LOSS_ROWS;
        clip_logits_block(n, i0, m, block(n));
        clip_parallel_for(m, backward_row, &at);
        for (int64_t r = 0; r < m; r++) {
            d_scale += row_sums(n)[2 * r];
            d_bias += row_sums(n)[2 * r + 1];
        }
        clip_logits_block_backward(n, i0, m, block(n));
    }
    if (n->in[LOSS_SCALE]->needs_grad) n->in[LOSS_SCALE]->grad[0] += (float)d_scale;
    if (n->in[LOSS_BIAS]->needs_grad) n->in[LOSS_BIAS]->grad[0] += (float)d_bias;
}

static const struct clip_op sigmoid_loss = {
    .name = "sigmoid_loss",
    .forward = sigmoid_loss_forward,
    .backward = sigmoid_loss_backward,
    .reads = CLIP_READS_INPUT(LOSS_IMAGE) | CLIP_READS_INPUT(LOSS_TEXT) |
             CLIP_READS_INPUT(LOSS_SCALE) | CLIP_READS_INPUT(LOSS_BIAS) |
             CLIP_READS_INPUT(LOSS_IDS),
    .scratch = sigmoid_scratch,
};

struct clip_tensor *clip_sigmoid_loss(struct clip_tape *t, struct clip_tensor *image,
                                      struct clip_tensor *text, struct clip_tensor *logit_scale,
                                      struct clip_tensor *logit_bias, struct clip_tensor *ids)
{
    assert(image->ndim == 2 && text->ndim == 2 && logit_bias != NULL);
    assert(image->shape[0] <= text->shape[0] && image->shape[1] == text->shape[1]);
    assert(ids == NULL || (ids->dtype == CLIP_I32 && clip_tensor_count(ids) == image->shape[0]));
    struct clip_tensor *inputs[] = {image, text, logit_scale, logit_bias, ids};
    return clip_tape_record(t, &sigmoid_loss, 0, NULL, 5, inputs, NULL, 0);
}
