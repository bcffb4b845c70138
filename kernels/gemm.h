/* Matrix multiplication, with what surrounds it in a network done on the way.
 *
 *     v = alpha op(A) op(B)             sums in float32
 *     v += C         where accumulate
 *     v += bias      a row [n]          (NULL: none; so for all that follows)
 *     before = v     kept for backward
 *     v = activation(v)
 *     v += residual  [m,n]
 *     v *= activation'(derivative_at)   [m,n]: the gradient by what went into an activation
 *     C = v
 *
 * op(A) is m x k, op(B) k x n, C m x n; op transposes where `transpose` says so. Each matrix has
 * its own storage, float32 or bfloat16, with rows of `ld` elements. Storage is one thing and the
 * precision of the product another: with multiply_bf16 both operands are rounded to bfloat16 (to
 * nearest, ties to even) as they are packed, whatever they are stored in, so that float32 weights
 * and gradients need no bfloat16 copy.
 *
 * A sum of k bfloat16 products, which are exact in float32, is within k 2^-24 sum |a b| of the true
 * one in any order (Higham 2002, section 3.1), plus k 2^-126 times the largest factor, since
 * vdpbf16ps and tdpbf16ps take denormals for zero; so any two sets are within twice that of each
 * other (tests/test_functions.c).
 *
 * The same bits for any number of threads, and for a row of C whatever other rows there are
 * (m = 1 or m = 1000): only n and k decide how sums are taken. (OpenBLAS, CLIP_KERNELS=openblas,
 * keeps the first promise but not the second: clip_gemm_rows_apart.)
 *
 * Nothing is allocated once a thread has its packing memory (core/threads.h), and nothing fails. */
#ifndef CLIP_KERNELS_GEMM_H
#define CLIP_KERNELS_GEMM_H

#include <stddef.h>

#include "kernels/kernels.h"

/* op(B) packed once for many products of the same precision (clip_gemm_pack). */
struct clip_panels {
    void *units;    /* clip_gemm_panels_bytes, 64-byte aligned */
    bool bf16;      /* multiply_bf16 */
    bool transpose; /* the operand's: a product that takes it the other way round reads its data */
};

struct clip_operand {
    const void *data; /* float32, or bfloat16 where bf16 */
    int64_t ld;       /* elements from row to row as stored, before transposing */
    bool transpose, bf16;
    const struct clip_panels *panels; /* of B, all n and k: the same matrix packed, or NULL */
};

struct clip_matrix { /* rows of n elements, ld apart; data NULL: absent */
    void *data;
    int64_t ld;
    bool bf16;
};

struct clip_gemm {
    int64_t m, n, k;
    float alpha; /* to be set: there is no default */
    struct clip_operand a, b;
    struct clip_matrix c;
    bool multiply_bf16;
    bool accumulate; /* C is float32 then */
    const float *bias;
    enum clip_activation activation;
    struct clip_matrix before, residual, derivative_at;
    /* derivative_at uses `activation` for its derivative, and v itself is not activated. */
};

/* m, n or k may be 0. C overlaps nothing that is read but itself, or `residual` where both are the
 * same matrix. Threaded, but inside clip_parallel_for in the calling thread; the same bits. */
void clip_gemm(const struct clip_gemm *g);

/* Bytes that the calling thread packs operands into, beside what every thread has: of g, its sizes
 * and multiply_bf16 alone are read. */
size_t clip_gemm_room(const struct clip_gemm *g);

/* For a B that stays as it is: packs op(B) [k,n] into panels->units, as panels->bf16 and
 * panels->transpose (b's) say. Products with it give the same bits, and spend no time on packing
 * it. */
size_t clip_gemm_panels_bytes(int64_t n, int64_t k, bool multiply_bf16);
void clip_gemm_pack(const struct clip_operand *b, int64_t n, int64_t k,
                    const struct clip_panels *panels);

bool clip_gemm_rows_apart(void); /* a row's bits do not depend on the other rows */

/* For measuring the machine: `rounds` rounds of independent multiply-adds in registers, of float32
 * or of what multiply_bf16 uses; returns how many floating-point operations that was and writes a
 * value that depends on all of them. */
double clip_multiply_adds(bool bf16, int64_t rounds, float *out);

#endif
