/* What the contrastive losses share: logits computed a block of rows at a time, never N x M. Texts
 * past the N pairs are hard negatives: candidates of every picture, nobody's positive. */
#ifndef CLIP_AUTOGRAD_OPS_LOGITS_H
#define CLIP_AUTOGRAD_OPS_LOGITS_H

#include "autograd/ops/parallel.h"

enum {
    LOSS_IMAGE,
    LOSS_TEXT,
    LOSS_SCALE,
    LOSS_BIAS,
    LOSS_IDS
};                        /* inputs of both losses; BIAS and IDS may be NULL */
enum { LOSS_ROWS = 128 }; /* rows of logits at a time */

static inline int64_t loss_pairs(const struct clip_node *n) { return n->in[LOSS_IMAGE]->shape[0]; }
static inline int64_t loss_texts(const struct clip_node *n) { return n->in[LOSS_TEXT]->shape[0]; }

/* s [m,M] = exp(logit_scale) image[i0..i0+m) text^T */
void clip_logits_block(const struct clip_node *n, int64_t i0, int64_t m, float *s);

/* Given g [m,M] = d loss / d logits: dimage[i0..i0+m) += e g text, dtext += e g^T image[i0..], e =
 * exp(logit_scale). */
void clip_logits_block_backward(const struct clip_node *n, int64_t i0, int64_t m, const float *g);

/* Are pairs i and j below N positives of each other: the same pair, or the same id. */
static inline bool loss_positive(const int32_t *ids, int64_t i, int64_t j)
{
    return ids != NULL ? ids[i] == ids[j] : i == j;
}

#endif
