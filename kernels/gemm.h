/* Matrix multiplication, with the steps that surround it in a network done in the same pass.
 *
 *     v = alpha op(A) op(B)             sums in float32
 *     v += C                            where `accumulate`
 *     v += bias                         one row [n]; NULL: left out, as every step below
 *     pre_activation = v                kept for backward
 *     v = activation(v)
 *     v += residual                     [m,n]
 *     v *= activation'(derivative_at)   [m,n]; derivative_at is what went into the activation
 *     C = v
 *
 * op(A) is m x k, op(B) is k x n, C is m x n; op(X) is X, or X^T where `transpose` is set. Each
 * matrix has its own storage, float32 or bfloat16, with rows of `ld` elements. Storage does not
 * decide the precision of the product: with multiply_bf16 both operands are rounded to bfloat16 (to
 * nearest, ties to even) while they are packed, whatever they are stored in, so that float32
 * weights and gradients need no bfloat16 copy.
 *
 * Products of two bfloat16 are exact in float32. A sum of k of them is within k 2^-24 sum |a b| of
 * the true sum in any order (Higham 2002, section 3.1), plus k 2^-126 times the largest factor,
 * because vdpbf16ps and tdpbf16ps take denormals for zero. So any two instruction sets are within
 * twice that of each other (tests/test_functions.c).
 *
 * The bits of C are the same for any number of threads, and a row of C is the same whatever other
 * rows there are (m = 1 or m = 1000): only n and k decide in which order sums are taken. (OpenBLAS,
 * CLIP_KERNELS=openblas, keeps the first promise but not the second: see
 * clip_gemm_rows_independent.)
 *
 * Nothing is allocated once a thread has its packing memory (core/threads.h), and nothing fails.
 *
 * The words that all gemm_*.c use:
 *
 *     set            the kernels of one instruction set for one kind of unit: ref, avx2, avx512
 *                    (float32), bf16, amx (pairs of bfloat16)
 *     native         by one of these sets, not by OpenBLAS
 *     unit           4 bytes along k: one float32, or a pair of bfloat16
 *     lane           one 4-byte element of a vector register; LANES is how many there are
 *     register tile  mr x nr sums that stay in registers while the kernel walks along k;
 *                    mr and nr are the set's `rows` and `columns`
 *     block of k     the units of k whose products are summed in one walk (`depth`)
 *     strip          up to mr rows of op(A) in one block of k, packed
 *     panel          up to nr columns of op(B) in one block of k, packed
 *     tile           the part of C that one thread computes at a time
 *     along k        a matrix lies along k if neighbours in a stored row are neighbours in k
 *                    (A as it is, B transposed); else it lies across k, one stored row for each k
 *     unpacked       read where it lies in memory; only float32 that lies along k can be
 *     prepacked      op(B) packed once for many products (clip_gemm_pack)
 *     mode           how a product is made: which set, rounded or not, in pairs or not, and how
 *                    deep a block of k is
 *     prefetch       memory that is asked for before it is needed
 *     finish         the steps from the bias on, done row by row when a tile's sums are complete
 *     workspace      memory that a thread packs operands into
 *
 * The loops follow BLIS (Van Zee and van de Geijn 2015, "BLIS: A Framework for Rapidly
 * Instantiating BLAS Functionality", figure 1), whose names for them stand on the right:
 *
 *     for some columns of op(B)                  gemm_packed.c               jc, in steps of nc
 *       for some blocks of k                                                 pc, in steps of kc
 *         pack these panels of op(B)             in threads
 *         for some rows of op(A)                                             ic, in steps of mc
 *           pack these strips of op(A)           in threads
 *           for each tile of C                   gemm.c, in threads
 *             for each block of k                gemm_native.c
 *               for each strip                                               ir, in steps of mr
 *                 for each panel                 gemm_avx512.h and others    jr, in steps of nr
 *                   the register tile                                        micro-kernel
 *
 * Unlike in BLIS the strip is the outer of the two inner loops: it stays in the first cache while
 * the panels of the tile pass, which stay in the second. A product of few rows packs nothing in
 * advance: each tile packs all of op(A), then one panel of op(B) after the other. */
#ifndef CLIP_KERNELS_GEMM_H
#define CLIP_KERNELS_GEMM_H

#include <stddef.h>

#include "kernels/kernels.h"

/* Prepacked op(B), for many products of the same precision (clip_gemm_pack). */
struct clip_panels {
    void *units;    /* the caller's memory of clip_gemm_panels_bytes, 64-byte aligned */
    bool bf16;      /* packed for products with multiply_bf16 */
    bool transpose; /* the operand's `transpose`; a product with the other one reads its data */
};

struct clip_operand {
    const void *data; /* float32, or bfloat16 where bf16 */
    int64_t ld;       /* elements from row to row as stored, before transposing */
    bool transpose, bf16;
    const struct clip_panels *panels; /* of B: all of the same matrix, prepacked; or NULL */
};

struct clip_matrix { /* rows of n elements, `ld` elements apart; data NULL: there is none */
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
    struct clip_matrix pre_activation, residual, derivative_at;
    /* With derivative_at, `activation` says whose derivative; v itself is not activated. */
};

/* Computes the product above. m, n or k may be 0. C must not overlap what is read, except that C
 * and `residual` may be the same matrix. Runs in threads, or in the calling thread where that is
 * inside clip_parallel_for, with the same bits. */
void clip_gemm(const struct clip_gemm *g);

/* Bytes of the workspace that the calling thread packs operands into, beside the smaller one that
 * every thread has. Of g only the sizes and multiply_bf16 are read. */
size_t clip_gemm_workspace_bytes(const struct clip_gemm *g);

/* Prepacks a B that does not change: packs op(B) [k,n] into panels->units, of
 * clip_gemm_panels_bytes bytes, as panels->bf16 and panels->transpose (b's) say. Products with it
 * give the same bits and spend no time on packing B. */
size_t clip_gemm_panels_bytes(int64_t n, int64_t k, bool multiply_bf16);
void clip_gemm_pack(const struct clip_operand *b, int64_t n, int64_t k,
                    const struct clip_panels *panels);

bool clip_gemm_rows_independent(void); /* of C: a row's bits do not depend on the others */

/* For measuring the machine: does `rounds` rounds of independent multiply-adds in registers, of
 * float32 or of what multiply_bf16 uses. Returns how many floating-point operations that was, and
 * writes a value that depends on all of them. */
double clip_multiply_adds(bool bf16, int64_t rounds, float *out);

#endif
