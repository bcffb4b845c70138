#include <assert.h>
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/logits.h"

/* Symmetric InfoNCE (Radford et al. 2021, section 2.3 and figure 3), with hard negatives (NegCLIP,
 * Yuksekgonul et al. 2023, section 4).   image [N,E], text [M,E] unit rows, M >= N, logit_scale
 * scalar
 *   S = exp(logit_scale) image text^T [N,M]
 *   y = 1/(2N) sum_{i<N} (lse(S[i,:]) - mean_{j in P(i)} S[i,j])
 *     + 1/(2N) sum_{j<N} (lse(S[:,j]) - mean_{i in P(j)} S[i,j])
 *   P(i): the pairs that share i's id, or i alone. Texts N to M are candidates of every picture and
 *   have no picture to find: rows have M columns, and only the first N columns count.
 *   dS = (softmax of rows + [j < N] softmax of columns - 2 [j in P(i)] / |P(i)|) dy / (2N)
 *   dimage += e dS text    dtext += e dS^T image    dlogit_scale += sum(dS S),   e =
 *   exp(logit_scale)
 * S is computed LOSS_ROWS rows at a time, in forward and again in backward; maximum [N] and log of
 * the sum of exponentials [N] of rows and of columns, and 1/|P(i)| [N], are kept. Backward reads
 * image, text, logit_scale and ids. */

static float *row_max(const struct clip_node *n) { return n->saved; }
static float *row_log(const struct clip_node *n) { return (float *)n->saved + loss_pairs(n); }
static float *column_max(const struct clip_node *n)
{
    return (float *)n->saved + 2 * loss_pairs(n);
}
static float *column_log(const struct clip_node *n)
{
    return (float *)n->saved + 3 * loss_pairs(n);
}
static float *share(const struct clip_node *n) { return (float *)n->saved + 4 * loss_pairs(n); }
static const int32_t *ids_of(const struct clip_node *n)
{
    return n->in[LOSS_IDS] != NULL ? n->in[LOSS_IDS]->data : NULL;
}

/* Scratch: one double a row, column sums, a block of logits; backward: one row of logits a thread.
 */
static double *row_sums(const struct clip_node *n) { return n->scratch; }
static double *column_sums(const struct clip_node *n) { return row_sums(n) + LOSS_ROWS; }
static float *block(const struct clip_node *n) { return (float *)(column_sums(n) + loss_pairs(n)); }
static float *thread_row(const struct clip_node *n)
{
    return block(n) + (LOSS_ROWS + clip_thread_number()) * loss_texts(n);
}

static size_t infonce_saved(const struct clip_node *n)
{
    return 5 * (size_t)loss_pairs(n) * sizeof(float);
}

static size_t infonce_scratch(const struct clip_node *n, bool backward)
{
    size_t pairs = (size_t)loss_pairs(n), texts = (size_t)loss_texts(n),
           copies = backward ? (size_t)clip_threads_count() : 0;
    return (LOSS_ROWS + pairs) * sizeof(double) + (LOSS_ROWS + copies) * texts * sizeof(float);
}

struct block_at {
    struct clip_node *node;
    int64_t i0, m;
};

static void count_positives(struct clip_node *n, int64_t begin, int64_t end)
{
    const int32_t *ids = ids_of(n);
    for (int64_t i = begin; i < end; i++) {
        int64_t count = ids == NULL ? 1 : 0;
        for (int64_t j = 0; ids != NULL && j < loss_pairs(n); j++) count += ids[i] == ids[j];
        share(n)[i] = 1.0f / (float)count;
    }
}

/* Log-sum-exp of row i of the block, and the part of the loss in its positives: -2 mean S, counting
 * row and column alike. */
static void forward_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    struct clip_node *n = at->node;
    int64_t pairs = loss_pairs(n), texts = loss_texts(n), i = at->i0 + r;
    const int32_t *ids = ids_of(n);
    const float *s = block(n) + r * texts;
    float max = clip_kernels()->max(s, texts);
    double log_sum = log(clip_kernels()->sum_exp(s, max, texts)), positives = 0;
    if (ids == NULL) positives = (double)s[i];
    for (int64_t j = 0; ids != NULL && j < pairs; j++)
        if (ids[i] == ids[j]) positives += (double)s[j];
    row_max(n)[i] = max;
    row_log(n)[i] = (float)log_sum;
    row_sums(n)[r] = (double)max + log_sum - 2 * positives * (double)share(n)[i];
}

static void forward_columns(void *context, int64_t c)
{
    const struct block_at *at = context;
    struct clip_node *n = at->node;
    int64_t pairs = loss_pairs(n), begin = c * 64, cols = pairs - begin < 64 ? pairs - begin : 64;
    clip_kernels()->column_logsumexp(column_max(n) + begin, column_sums(n) + begin,
                                     block(n) + begin, at->m, cols, loss_texts(n));
}

static void infonce_forward(struct clip_node *n)
{
    int64_t pairs = loss_pairs(n);
    double loss = 0;
    clip_op_rows(n, pairs, pairs, count_positives);
    for (int64_t j = 0; j < pairs; j++) {
        column_max(n)[j] = -INFINITY;
        column_sums(n)[j] = 0;
    }
    for (int64_t i0 = 0; i0 < pairs; i0 += LOSS_ROWS) {
        struct block_at at = {n, i0, pairs - i0 < LOSS_ROWS ? pairs - i0 : LOSS_ROWS};
        clip_logits_block(n, i0, at.m, block(n));
        clip_parallel_for(at.m, forward_row, &at);
        clip_parallel_for((pairs + 63) / 64, forward_columns, &at);
        for (int64_t r = 0; r < at.m; r++) loss += row_sums(n)[r];
    }
    for (int64_t j = 0; j < pairs; j++) {
        double log_sum = log(column_sums(n)[j]);
        column_log(n)[j] = (float)log_sum;
        loss += (double)column_max(n)[j] + log_sum;
    }
    *(float *)n->out->data = (float)(loss / (2.0 * (double)pairs));
}

/* The block's logits become the block's gradient; row_sums gets sum(dS S) of each row. */
static void backward_row(void *context, int64_t r)
{
    const struct block_at *at = context;
    struct clip_node *n = at->node;
    int64_t pairs = loss_pairs(n), texts = loss_texts(n), i = at->i0 + r;
    const int32_t *ids = ids_of(n);
    float *s = block(n) + r * texts, *copy = thread_row(n);
    float f = n->out->grad[0] / (2.0f * (float)pairs);
    clip_kernels()->scale(copy, 1, s, texts);
    clip_kernels()->infonce_row(s, row_max(n)[i], row_log(n)[i], column_max(n), column_log(n), f,
                                pairs);
    if (texts > pairs) {
        clip_kernels()->exp_shift(s + pairs, s + pairs, row_max(n)[i], texts - pairs);
        clip_kernels()->scale(s + pairs, f * expf(-row_log(n)[i]), s + pairs, texts - pairs);
    }
    if (ids == NULL) s[i] -= 2 * f;
    for (int64_t j = 0; ids != NULL && j < pairs; j++)
        if (ids[i] == ids[j]) s[j] -= 2 * f * share(n)[i];
    row_sums(n)[r] = (double)clip_kernels()->dot(s, copy, texts);
}

static void infonce_backward(struct clip_node *n)
{
    int64_t pairs = loss_pairs(n);
    double d_scale = 0;
    for (int64_t i0 = 0; i0 < pairs; i0 += LOSS_ROWS) {
        struct block_at at = {n, i0, pairs - i0 < LOSS_ROWS ? pairs - i0 : LOSS_ROWS};
        clip_logits_block(n, i0, at.m, block(n));
        clip_parallel_for(at.m, backward_row, &at);
        for (int64_t r = 0; r < at.m; r++) d_scale += row_sums(n)[r];
        clip_logits_block_backward(n, i0, at.m, block(n));
    }
    if (n->in[LOSS_SCALE]->needs_grad) n->in[LOSS_SCALE]->grad[0] += (float)d_scale;
}

static const struct clip_op infonce = {
    .name = "infonce",
    .forward = infonce_forward,
    .backward = infonce_backward,
    .reads = CLIP_READS_INPUT(LOSS_IMAGE) | CLIP_READS_INPUT(LOSS_TEXT) |
             CLIP_READS_INPUT(LOSS_SCALE) | CLIP_READS_INPUT(LOSS_IDS),
    .saved = infonce_saved,
    .scratch = infonce_scratch,
};

struct clip_tensor *clip_infonce(struct clip_tape *t, struct clip_tensor *image,
                                 struct clip_tensor *text, struct clip_tensor *logit_scale,
                                 struct clip_tensor *ids)
{
    assert(image->ndim == 2 && text->ndim == 2);
    assert(image->shape[0] <= text->shape[0] && image->shape[1] == text->shape[1]);
    assert(ids == NULL || (ids->dtype == CLIP_I32 && clip_tensor_count(ids) == image->shape[0]));
    struct clip_tensor *inputs[] = {image, text, logit_scale, NULL, ids};
    return clip_tape_record(t, &infonce, 0, NULL, 5, inputs, NULL, 0);
}
