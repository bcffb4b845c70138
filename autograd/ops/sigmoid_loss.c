/* S = exp(logit_scale) image text^T + bias
 * y = 1/N sum_ij log(1 + exp(-z_ij S_ij))
 *   image [N,E], text [M,E] unit rows, M >= N   logit_scale, bias, y scalars   ids i32 [N] or none
 *   z_ij is +1 where i and j are a pair or share an id, else -1; texts N to M are hard negatives.
 *   dS = -z sigmoid(-z S) dy / N
 *   dimage += e dS text    dtext += e dS^T image
 *   dlogit_scale += sum(dS (S - bias))    dbias += sum(dS)
 *   where e = exp(logit_scale)
 * SigLIP's loss (Zhai et al. 2023, algorithm 1). S is computed tile by tile, in forward and again
 * in backward. Backward reads all inputs. */
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/logits.h"

/* Scratch memory: two doubles for each row of a tile, two kinds of terms [column blocks,N], one
 * tile of logits. */
static double *row_sums(const struct clip_node *n) { return n->scratch; }
static double *terms(const struct clip_node *n, int kind)
{
    return row_sums(n) + 2 * LOSS_ROWS + kind * loss_column_blocks(n) * loss_pairs(n);
}
static float *tile_scratch(const struct clip_node *n) { return (float *)terms(n, 2); }

static size_t sigmoid_scratch(const struct clip_node *n, bool backward)
{
    (void)backward;
    size_t doubles = 2 * (size_t)loss_column_blocks(n) * (size_t)loss_pairs(n);
    return (2 * LOSS_ROWS + doubles) * sizeof(double) + (size_t)loss_tile_size(n) * sizeof(float);
}

/* Keeps the sums of the tile's rows, of one kind or both. */
static void keep_terms(const struct clip_node *n, const struct loss_tile *t, int kinds)
{
    for (int kind = 0; kind < kinds; kind++) {
        double *to = terms(n, kind) + t->j0 / LOSS_COLS * loss_pairs(n) + t->i0;
        for (int64_t r = 0; r < t->m; r++) to[r] = row_sums(n)[2 * r + kind];
    }
}

struct tile_at {
    struct clip_node *node;
    struct loss_tile tile;
};

static float bias_of(const struct clip_node *n) { return *(const float *)n->in[LOSS_BIAS]->data; }

/* The first positive of row r from column j of the tile on; t->cols if there is none. */
static int64_t next_positive(const struct clip_node *n, const struct loss_tile *t, int64_t r,
                             int64_t j)
{
    const int32_t *ids = n->in[LOSS_IDS] != NULL ? n->in[LOSS_IDS]->data : NULL;
    int64_t i = t->i0 + r, end = loss_pairs(n) - t->j0;
    if (end > t->cols) end = t->cols;
    if (ids == NULL) return i >= t->j0 + j && i < t->j0 + end ? i - t->j0 : t->cols;
    while (j < end && ids[t->j0 + j] != ids[i]) j++;
    return j < end ? j : t->cols;
}

/* Flips the sign of row r's positives, so that the row holds z S but for the bias, which the
 * kernels add. */
static void flip_positives(const struct clip_node *n, const struct loss_tile *t, int64_t r)
{
    float *s = t->s + r * t->cols, bias = bias_of(n);
    for (int64_t j = next_positive(n, t, r, 0); j < t->cols; j = next_positive(n, t, r, j + 1))
        s[j] = -(s[j] + bias) - bias;
}

static void forward_row(void *context, int64_t r)
{
    const struct tile_at *at = context;
    const struct loss_tile *t = &at->tile;
    flip_positives(at->node, t, r);
    row_sums(at->node)[2 * r] =
        clip_kernels()->sum_softplus(t->s + r * t->cols, bias_of(at->node), t->cols);
}

static void sigmoid_loss_forward(struct clip_node *n)
{
    struct loss_region region;
    struct tile_at at = {.node = n};
    for (int64_t r = 0; clip_loss_region(n, r, &region); r++) {
        if (!region.rows) continue;
        for (int64_t k = 0; clip_logits_tile(n, &region, k, tile_scratch(n), &at.tile); k++) {
            clip_parallel_for(at.tile.m, forward_row, &at);
            keep_terms(n, &at.tile, 1);
        }
    }
    double loss = clip_loss_sum(n, terms(n, 0));
    *(float *)n->out->data = (float)(loss / (double)loss_pairs(n));
}

/* Turns row r of the tile into its gradient; its row_sums become sum(dS (S - bias)) and sum(dS). */
static void backward_row(void *context, int64_t r)
{
    const struct tile_at *at = context;
    const struct clip_node *n = at->node;
    const struct loss_tile *t = &at->tile;
    float *s = t->s + r * t->cols, bias = bias_of(n), f = n->out->grad[0] / (float)loss_pairs(n);
    double *sums = row_sums(n) + 2 * r;
    flip_positives(n, t, r);
    clip_kernels()->sigmoid_row(s, bias, f, sums, t->cols);
    /* a positive's -(S - bias) - 2 bias counted as S - bias, its gradient with the wrong sign */
    for (int64_t j = next_positive(n, t, r, 0); j < t->cols; j = next_positive(n, t, r, j + 1)) {
        sums[0] += 2 * (double)bias * (double)s[j];
        sums[1] -= 2 * (double)s[j];
        s[j] = -s[j];
    }
}

static void sigmoid_loss_backward(struct clip_node *n)
{
    struct loss_region region;
    struct tile_at at = {.node = n};
    for (int64_t r = 0; clip_loss_region(n, r, &region); r++)
        for (int64_t k = 0; clip_logits_tile(n, &region, k, tile_scratch(n), &at.tile); k++) {
            clip_parallel_for(at.tile.m, backward_row, &at);
            if (region.rows) keep_terms(n, &at.tile, 2);
            clip_logits_tile_backward(n, &region, &at.tile);
        }
    double d_scale = clip_loss_sum(n, terms(n, 0)), d_bias = clip_loss_sum(n, terms(n, 1));
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
    CLIP_OP_ASSERT(t, image->ndim == 2 && text->ndim == 2 && logit_bias != NULL);
    CLIP_OP_ASSERT(t, image->shape[0] <= text->shape[0] && image->shape[1] == text->shape[1]);
    CLIP_OP_ASSERT(t, ids == NULL ||
                          (ids->dtype == CLIP_I32 && clip_tensor_count(ids) == image->shape[0]));
    const struct clip_op_call call = {.inputs = {image, text, logit_scale, logit_bias, ids}};
    return clip_tape_record(t, &sigmoid_loss, &call);
}
