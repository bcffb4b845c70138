/* What the contrastive losses share: logits are computed tile by tile, and the N x M matrix of them
 * never exists. Texts behind the N pairs are hard negatives: candidates for every image, and the
 * positive of none. */
#ifndef CLIP_AUTOGRAD_OPS_LOGITS_H
#define CLIP_AUTOGRAD_OPS_LOGITS_H

#include "autograd/ops.h"
#include "autograd/ops/parallel.h"

/* Inputs of both losses; BIAS and IDS may be NULL. */
enum { LOSS_IMAGE, LOSS_TEXT, LOSS_SCALE, LOSS_BIAS, LOSS_IDS };

/* The logits of images [i0, i0 + m) and texts [j0, j0 + cols), in rows of `cols`. A tile is so
 * small that it stays in the cache while it is worked on. */
enum { LOSS_ROWS = 768, LOSS_COLS = 1536 };
struct loss_tile {
    int64_t i0, m, j0, cols;
    float *s;
};

static inline int64_t loss_pairs(const struct clip_node *n) { return n->in[LOSS_IMAGE]->shape[0]; }
static inline int64_t loss_texts(const struct clip_node *n) { return n->in[LOSS_TEXT]->shape[0]; }

/* Floats of the largest tile of this loss. */
static inline int64_t loss_tile_size(const struct clip_node *n)
{
    int64_t rows = loss_pairs(n) < LOSS_ROWS ? loss_pairs(n) : LOSS_ROWS;
    return rows * (loss_texts(n) < LOSS_COLS ? loss_texts(n) : LOSS_COLS);
}

/* A part of the logits: rows [i0, i1) and columns [j0, j1), of which the caller wants what belongs
 * to rows, to columns, or both: statistics, and the gradients of images or of texts. */
struct loss_region {
    int64_t i0, i1, j0, j1;
    bool rows, columns;
};
/* Region number k of the loss; false behind the last. Without a share (autograd/ops.h) there is
 * one, all of it, for both. With one there are three for each of the process' slices: its images
 * and all texts, for rows; all images and its texts, and all images and its hard negatives, for
 * columns. */
bool clip_loss_region(const struct clip_node *n, int64_t k, struct loss_region *region);
/* Tile number k of a region, from left to right and then down: s = exp(logit_scale) image text^T;
 * false behind the last. */
bool clip_logits_tile(const struct clip_node *n, const struct loss_region *region, int64_t k,
                      float *s, struct loss_tile *tile);
/* When s holds d loss / d logits: for rows dimage[i0..] += e s text, for columns dtext[j0..] +=
 * e s^T image, where e = exp(logit_scale). */
void clip_logits_tile_backward(const struct clip_node *n, const struct loss_region *region,
                               const struct loss_tile *tile);

/* Makes the process' rows [N] everybody's; without a share they are. */
static inline void loss_gather(const struct clip_node *n, void *rows, size_t bytes)
{
    const struct clip_loss_share *share = n->tape->share;
    if (share != NULL) share->gather(share->context, rows, bytes);
}

/* What the rows of one block of columns add to the gradient of the temperature (and the bias): they
 * are added in an order that does not depend on the regions. */
static inline int64_t loss_column_blocks(const struct clip_node *n)
{
    return (loss_texts(n) + LOSS_COLS - 1) / LOSS_COLS;
}
/* terms [column blocks,N] -> their sum, by blocks of rows, then blocks of columns, then rows. */
double clip_loss_sum(const struct clip_node *n, double *terms);

#endif
