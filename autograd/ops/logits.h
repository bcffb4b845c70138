/* What the contrastive losses share: logits computed tile by tile, never N x M. Texts past the N
 * pairs are hard negatives: candidates of every image, nobody's positive. */
#ifndef CLIP_AUTOGRAD_OPS_LOGITS_H
#define CLIP_AUTOGRAD_OPS_LOGITS_H

#include "autograd/ops/parallel.h"

/* Inputs of both losses; BIAS and IDS may be NULL. */
enum { LOSS_IMAGE, LOSS_TEXT, LOSS_SCALE, LOSS_BIAS, LOSS_IDS };

/* Logits of images [i0, i0 + m) and texts [j0, j0 + cols), rows of `cols`: a tile is worked on
 * while it lies in the cache. */
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

/* The tile that begins at (i0, j0), its logits computed: s = exp(logit_scale) image text^T. */
struct loss_tile clip_logits_tile(const struct clip_node *n, int64_t i0, int64_t j0, float *s);
/* Once s is d loss / d logits: dimage[i0..] += e s text, dtext[j0..] += e s^T image, e =
 * exp(logit_scale). */
void clip_logits_tile_backward(const struct clip_node *n, const struct loss_tile *tile);

#endif
