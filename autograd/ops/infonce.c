/* S = exp(logit_scale) image text^T
 * y = 1/(2N) sum_{i<N} (lse(S[i,:]) - mean_{j in P(i)} S[i,j])
 *   + 1/(2N) sum_{j<N} (lse(S[:,j]) - mean_{i in P(j)} S[i,j])
 *   image [N,E], text [M,E] unit rows, M >= N   S [N,M]   logit_scale, y scalars
 *   ids i32 [N] or none: P(i) are the pairs that share i's id, or i alone
 *   Texts N to M are candidates of every image and have no image to find: rows of S have M columns,
 *   and only the first N columns count as columns.
 *   dS = (softmax of rows + [j < N] softmax of columns - 2 [j in P(i)] / |P(i)|) dy / (2N)
 *   dimage += e dS text    dtext += e dS^T image    dlogit_scale += sum(dS S)
 *   where e = exp(logit_scale)
 * Symmetric InfoNCE (Radford et al. 2021, section 2.3 and figure 3), with hard negatives (NegCLIP,
 * Yuksekgonul et al. 2023, section 4). S is computed tile by tile, in forward and again in
 * backward. Backward reads image, text, logit_scale and ids, and what forward kept: of rows and of
 * columns the maximum [N] and the log of the sum of exponentials [N], and 1/|P(i)| [N]. */
#include <math.h>

#include "autograd/ops.h"
#include "autograd/ops/logits.h"

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

/* Scratch memory: two doubles for each row of a tile, the columns' sums or terms [N], the terms of
 * rows [N] or, backward, [column blocks,N], one tile of logits. */
static double *row_sums(const struct clip_node *n) { return n->scratch; }
static double *row_positives(const struct clip_node *n) { return row_sums(n) + LOSS_ROWS; }
static double *column_sums(const struct clip_node *n) { return row_positives(n) + LOSS_ROWS; }
static double *terms(const struct clip_node *n) { return column_sums(n) + loss_pairs(n); }
static float *tile_room(const struct clip_node *n)
{
    return (float *)(terms(n) + loss_column_blocks(n) * loss_pairs(n));
}

static size_t infonce_saved(const struct clip_node *n)
{
    return 5 * (size_t)loss_pairs(n) * sizeof(float);
}

static size_t infonce_scratch(const struct clip_node *n, bool backward)
{
    (void)backward;
    size_t doubles = (size_t)(1 + loss_column_blocks(n)) * (size_t)loss_pairs(n);
    return (2 * LOSS_ROWS + doubles) * sizeof(double) + (size_t)loss_tile_size(n) * sizeof(float);
}

struct tile_at {
    struct clip_node *node;
    struct loss_tile tile;
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

/* How many of the tile's columns belong to pairs and not to hard negatives. */
static int64_t paired(const struct clip_node *n, const struct loss_tile *t)
{
    int64_t left = loss_pairs(n) - t->j0;
    return left < 0 ? 0 : left < t->cols ? left : t->cols;
}

/* Adds up s over the positives of row r. */
static double positives(const struct clip_node *n, const struct loss_tile *t, int64_t r)
{
    const int32_t *ids = ids_of(n);
    const float *s = t->s + r * t->cols;
    int64_t i = t->i0 + r, cols = paired(n, t);
    double sum = 0;
    if (ids == NULL) return i >= t->j0 && i < t->j0 + cols ? (double)s[i - t->j0] : 0;
    for (int64_t j = 0; j < cols; j++)
        if (ids[i] == ids[t->j0 + j]) sum += (double)s[j];
    return sum;
}

/* Adds row r of the tile to the row's running maximum and sum of exponentials and to the sum of its
 * positives. */
static void forward_row(void *context, int64_t r)
{
    const struct tile_at *at = context;
    struct clip_node *n = at->node;
    const struct loss_tile *t = &at->tile;
    const float *s = t->s + r * t->cols;
    float *max = row_max(n) + t->i0 + r, top = clip_kernels()->max(s, t->cols);
    if (t->j0 == 0) {
        *max = top;
        row_sums(n)[r] = row_positives(n)[r] = 0;
    } else if (top > *max) {
        row_sums(n)[r] *= exp((double)*max - (double)top);
        *max = top;
    }
    row_sums(n)[r] += clip_kernels()->sum_exp(s, *max, t->cols);
    row_positives(n)[r] += positives(n, t, r);
}

static void forward_columns(void *context, int64_t c)
{
    const struct tile_at *at = context;
    struct clip_node *n = at->node;
    const struct loss_tile *t = &at->tile;
    int64_t begin = c * 64, cols = paired(n, t) - begin;
    clip_kernels()->column_logsumexp(column_max(n) + t->j0 + begin, column_sums(n) + t->j0 + begin,
                                     t->s + begin, t->m, cols < 64 ? cols : 64, t->cols);
}

/* The rows of a tile that ends their region's columns: their logs, and what they add to the loss,
 * with -2 times the mean of the positives, which counts both the rows' and the columns' share. */
static void finish_rows(struct clip_node *n, const struct loss_tile *t)
{
    for (int64_t r = 0; r < t->m; r++) {
        int64_t i = t->i0 + r;
        double log_sum = log(row_sums(n)[r]);
        row_log(n)[i] = (float)log_sum;
        terms(n)[i] = (double)row_max(n)[i] + log_sum -
                      2 * row_positives(n)[r] * (double)share(n)[i];
    }
}

/* The same of the columns that belong to pairs, when all their rows are through. */
static void finish_columns(struct clip_node *n, const struct loss_region *region)
{
    for (int64_t j = region->j0; j < region->j1 && j < loss_pairs(n); j++) {
        double log_sum = log(column_sums(n)[j]);
        column_log(n)[j] = (float)log_sum;
        column_sums(n)[j] = (double)column_max(n)[j] + log_sum;
    }
}

static void forward_region(struct clip_node *n, const struct loss_region *region)
{
    struct tile_at at = {.node = n};
    if (!region->rows && region->j0 >= loss_pairs(n)) return; /* hard negatives are no columns */
    for (int64_t k = 0; clip_logits_tile(n, region, k, tile_room(n), &at.tile); k++) {
        int64_t columns = paired(n, &at.tile);
        if (region->rows) clip_parallel_for(at.tile.m, forward_row, &at);
        if (region->columns) clip_parallel_for((columns + 63) / 64, forward_columns, &at);
        if (region->rows && at.tile.j0 + at.tile.cols == region->j1) finish_rows(n, &at.tile);
    }
    if (region->columns) finish_columns(n, region);
}

/* Makes everybody's what backward reads, and adds up what rows and columns make of the loss. */
static double sum_all(struct clip_node *n)
{
    int64_t pairs = loss_pairs(n);
    float *kept[] = {row_max(n), row_log(n), column_max(n), column_log(n)};
    double loss = 0;
    for (int i = 0; i < 4; i++) loss_gather(n, kept[i], sizeof *kept[i]);
    loss_gather(n, terms(n), sizeof(double));
    loss_gather(n, column_sums(n), sizeof(double));
    for (int64_t i0 = 0; i0 < pairs; i0 += LOSS_ROWS) {
        double rows = 0;
        for (int64_t i = i0; i < pairs && i < i0 + LOSS_ROWS; i++) rows += terms(n)[i];
        loss += rows;
    }
    for (int64_t j = 0; j < pairs; j++) loss += column_sums(n)[j];
    return loss;
}

static void infonce_forward(struct clip_node *n)
{
    int64_t pairs = loss_pairs(n);
    struct loss_region region;
    clip_op_rows(n, pairs, pairs, count_positives);
    for (int64_t j = 0; j < pairs; j++) {
        column_max(n)[j] = -INFINITY;
        column_sums(n)[j] = 0;
    }
    for (int64_t k = 0; clip_loss_region(n, k, &region); k++) forward_region(n, &region);
    *(float *)n->out->data = (float)(sum_all(n) / (2.0 * (double)pairs));
}

/* Turns row r of the tile into its gradient; row_sums[r] becomes its sum(dS S). */
static void backward_row(void *context, int64_t r)
{
    const struct tile_at *at = context;
    struct clip_node *n = at->node;
    const struct loss_tile *t = &at->tile;
    const int32_t *ids = ids_of(n);
    int64_t i = t->i0 + r, cols = paired(n, t);
    float *s = t->s + r * t->cols, f = n->out->grad[0] / (2.0f * (float)loss_pairs(n));
    float pull = 2 * f * share(n)[i];
    double sum = -(double)pull * positives(n, t, r);
    const struct clip_infonce_row row = {.max = row_max(n)[i],
                                         .log_sum = row_log(n)[i],
                                         .column_max = column_max(n) + t->j0,
                                         .column_log_sum = column_log(n) + t->j0,
                                         .f = f,
                                         .paired = cols,
                                         .n = t->cols};
    sum += clip_kernels()->infonce_row(s, &row);
    if (ids == NULL && i >= t->j0 && i < t->j0 + cols) s[i - t->j0] -= pull;
    for (int64_t j = 0; ids != NULL && j < cols; j++)
        if (ids[i] == ids[t->j0 + j]) s[j] -= pull;
    row_sums(n)[r] = sum;
}

static void backward_region(struct clip_node *n, const struct loss_region *region)
{
    struct tile_at at = {.node = n};
    for (int64_t k = 0; clip_logits_tile(n, region, k, tile_room(n), &at.tile); k++) {
        double *sums = terms(n) + at.tile.j0 / LOSS_COLS * loss_pairs(n) + at.tile.i0;
        clip_parallel_for(at.tile.m, backward_row, &at);
        for (int64_t r = 0; r < at.tile.m && region->rows; r++) sums[r] = row_sums(n)[r];
        clip_logits_tile_backward(n, region, &at.tile);
    }
}

static void infonce_backward(struct clip_node *n)
{
    struct loss_region region;
    for (int64_t k = 0; clip_loss_region(n, k, &region); k++) backward_region(n, &region);
    double d_scale = clip_loss_sum(n, terms(n));
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
    CLIP_OP_ASSERT(t, image->ndim == 2 && text->ndim == 2);
    CLIP_OP_ASSERT(t, image->shape[0] <= text->shape[0] && image->shape[1] == text->shape[1]);
    CLIP_OP_ASSERT(t, ids == NULL ||
                          (ids->dtype == CLIP_I32 && clip_tensor_count(ids) == image->shape[0]));
    const struct clip_op_call call = {.inputs = {image, text, logit_scale, NULL, ids}};
    return clip_tape_record(t, &infonce, &call);
}
