/* Scaled dot-product attention of one head over one sequence, T rows of width W:
 *
 *     p = softmax(q k^T scale)      causal: row i sees rows up to i
 *     y = p v
 *     dv += p^T dy    dp = dy v^T    ds = p (dp - sum(p dp)) scale    dq += ds k    dk += ds^T q
 *
 * (Vaswani et al. 2017, equation 1.) Scores exist for one strip of rows at a time, in backward for
 * a tile of at most 84 rows, which computes them again from q and k (as in FlashAttention, Dao et
 * al. 2022). A row's sum(p dp) equals sum(dy y); it is taken because, where p is 0 and 1, it equals
 * dp to the bit, so that ds is 0.
 *
 * q, k and v are stored alike, as float32 or bfloat16. With multiply_bf16 everything that is
 * multiplied, p and ds too, is rounded to bfloat16; sums and the softmax are float32. A row's bits
 * depend only on the rows that it sees. These functions are serial: threads share out the heads. */
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

/* Bytes of the workspace for sequences of up to `rows`; it must be 64-byte aligned. */
size_t clip_attention_workspace_bytes(int64_t rows, int64_t width, bool backward);

/* Writes y [T,W]. */
void clip_attention_forward(const struct clip_attention *a, const struct clip_matrix *y,
                            void *workspace);

struct clip_attention_gradients {
    const float *dy; /* [T,W] */
    int64_t dy_ld;
    float *dq, *dk, *dv; /* [T,W] each */
    int64_t ld;
    bool adds; /* gradients are added to what is there; else they are written over it */
};
void clip_attention_backward(const struct clip_attention *a,
                             const struct clip_attention_gradients *g, void *workspace);

#endif
