/* What gemm.c and its roads share; for kernels/ alone. */
#ifndef CLIP_KERNELS_GEMM_PARTS_H
#define CLIP_KERNELS_GEMM_PARTS_H

#include "kernels/gemm.h"

/* A part of C: rows [row, row + m), columns [column, column + n). */
struct clip_tile {
    int64_t row, m, column, n;
};

/* Is there more to do than to store alpha op(A) op(B) (+ C)? */
bool clip_gemm_has_finish(const struct clip_gemm *g);
/* May sums wait in C itself until they are finished? */
bool clip_gemm_sums_in_c(const struct clip_gemm *g);

/* One tile on OpenBLAS, in the calling thread (gemm_openblas.c). */
void clip_gemm_openblas(const struct clip_gemm *g, const struct clip_tile *tile);

bool clip_kernels_openblas(void); /* products are to be made by OpenBLAS (table.c) */

#endif
