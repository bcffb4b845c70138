/* Scaled dot-product attention of one head over one sequence, T rows of width W:
 *
 *     p = softmax(q k^T scale)      causal: row i sees rows up to i
 *     y = p v
 *     dv += p^T dy    dp = dy v^T    ds = p (dp - sum(p dp)) scale    dq += ds k    dk += ds^T q
 *
 * (Vaswani et al. 2017, equation 1.) Scores exist for a strip of rows at a time, in backward for a
 * tile of at most 84, and are computed again there from q and k (as in FlashAttention, Dao et al.
 * 2022). A row's sum(p dp) equals sum(dy y), but where p is 0 and 1 it is dp to the bit, so that ds
 * is 0.
 *
 * q, k and v are stored alike, float32 or bfloat16; with multiply_bf16 all that is multiplied, p
 * and ds too, is rounded to bfloat16, and sums and the softmax are float32. A row's bits depend on
 * the rows it sees alone, and on nothing outside the sequence. Serial: heads are what threads
 * share. */
#ifndef CLIP_KERNELS_ATTENTION_H
#define CLIP_KERNELS_ATTENTION_H

#include <stddef.h>

#include "kernels/gemm.h"

struct clip_attention {
    int64_t rows, width; /* T, W */
    const void *q, *k, *v;
    int64_t ld; /* elements from row to row of q, k, v */
    bool bf16, causal, multiply_bf16;
    float scale;
};

/* Bytes of memory to work in, for sequences of up to `rows`; 64-byte aligned. */
size_t clip_attention_room(int64_t rows, int64_t width, bool backward);

/* y [T,W], written. */
void clip_attention_forward(const struct clip_attention *a, const struct clip_matrix *y,
                            void *room);

struct clip_attention_gradients {
    const float *dy; /* [T,W] */
    int64_t dy_ld;
    float *dq, *dk, *dv; /* [T,W] each */
    int64_t ld;
    bool adds; /* they are added to; else written */
};
void clip_attention_backward(const struct clip_attention *a,
                             const struct clip_attention_gradients *g, void *room);

#endif
