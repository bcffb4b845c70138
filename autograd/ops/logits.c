#include "autograd/ops/logits.h"

#include <math.h>

static float scale_of(const struct clip_node *n)
{
    return expf(*(const float *)n->in[LOSS_SCALE]->data);
}

bool clip_loss_region(const struct clip_node *n, int64_t k, struct loss_region *region)
{
    const struct clip_loss_share *share = n->tape->share;
    int64_t pairs = loss_pairs(n), texts = loss_texts(n), slice = k / 3;
    *region = (struct loss_region){0, pairs, 0, texts, true, true};
    if (share == NULL) return k == 0;
    if (slice >= share->count) return false;
    int64_t first = (share->first + slice) * share->pairs;
    region->rows = k % 3 == 0;
    region->columns = !region->rows;
    if (k % 3 == 0) {
        region->i0 = first;
        region->i1 = first + share->pairs;
    } else if (k % 3 == 1) {
        region->j0 = first;
        region->j1 = first + share->pairs;
    } else {
        region->j0 = pairs + (share->negatives != NULL ? share->negatives[slice] : 0);
        region->j1 = pairs + (share->negatives != NULL ? share->negatives[slice + 1] : 0);
    }
    return true;
}

bool clip_logits_tile(const struct clip_node *n, const struct loss_region *region, int64_t k,
                      float *s, struct loss_tile *tile)
{
    int64_t e = clip_tensor_width(n->in[LOSS_IMAGE]);
    int64_t across = (region->j1 - region->j0 + LOSS_COLS - 1) / LOSS_COLS;
    if (across == 0) return false;
    int64_t i0 = region->i0 + k / across * LOSS_ROWS, j0 = region->j0 + k % across * LOSS_COLS;
    struct loss_tile t = {i0, region->i1 - i0, j0, region->j1 - j0, s};
    if (t.m <= 0) return false;
    if (t.m > LOSS_ROWS) t.m = LOSS_ROWS;
    if (t.cols > LOSS_COLS) t.cols = LOSS_COLS;
    clip_gemm(&(struct clip_gemm){
        .m = t.m,
        .n = t.cols,
        .k = e,
        .alpha = scale_of(n),
        .a = {(const float *)n->in[LOSS_IMAGE]->data + i0 * e, e},
        .b = {(const float *)n->in[LOSS_TEXT]->data + j0 * e, e, .transpose = true},
        .c = {s, t.cols}});
    *tile = t;
    return true;
}

double clip_loss_sum(const struct clip_node *n, double *terms)
{
    int64_t pairs = loss_pairs(n), blocks = loss_column_blocks(n);
    double sum = 0;
    for (int64_t b = 0; b < blocks; b++) loss_gather(n, terms + b * pairs, sizeof *terms);
    for (int64_t i0 = 0; i0 < pairs; i0 += LOSS_ROWS)
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t i = i0; i < pairs && i < i0 + LOSS_ROWS; i++) sum += terms[b * pairs + i];
    return sum;
}

void clip_logits_tile_backward(const struct clip_node *n, const struct loss_region *region,
                               const struct loss_tile *t)
{
    struct clip_tensor *image = n->in[LOSS_IMAGE], *text = n->in[LOSS_TEXT];
    int64_t e = clip_tensor_width(image);
    float scale = scale_of(n);
    if (image->needs_grad && region->rows)
        clip_gemm(&(struct clip_gemm){.m = t->m,
                                      .n = e,
                                      .k = t->cols,
                                      .alpha = scale,
                                      .a = {t->s, t->cols},
                                      .b = {(const float *)text->data + t->j0 * e, e},
                                      .c = {image->grad + t->i0 * e, e},
                                      .accumulate = true});
    if (text->needs_grad && region->columns)
        clip_gemm(&(struct clip_gemm){.m = t->cols,
                                      .n = e,
                                      .k = t->m,
                                      .alpha = scale,
                                      .a = {t->s, t->cols, .transpose = true},
                                      .b = {(const float *)image->data + t->i0 * e, e},
                                      .c = {text->grad + t->j0 * e, e},
                                      .accumulate = true});
}
