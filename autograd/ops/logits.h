/* What the contrastive losses share: logits are computed tile by tile, and the N x M matrix of them
 * never exists. Texts behind the N pairs are hard negatives: candidates for every image, and the
 * positive of none. */
#ifndef CLIP_AUTOGRAD_OPS_LOGITS_H
#define CLIP_AUTOGRAD_OPS_LOGITS_H

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

/* Computes the tile that begins at (i0, j0): s = exp(logit_scale) image text^T. */
struct loss_tile clip_logits_tile(const struct clip_node *n, int64_t i0, int64_t j0, float *s);
/* When s holds d loss / d logits: dimage[i0..] += e s text, dtext[j0..] += e s^T image, where
 * e = exp(logit_scale). */
void clip_logits_tile_backward(const struct clip_node *n, const struct loss_tile *tile);

#endif
