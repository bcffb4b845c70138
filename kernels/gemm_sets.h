/* All sets; table.c decides which of them the processor runs. */
#ifndef CLIP_KERNELS_GEMM_SETS_H
#define CLIP_KERNELS_GEMM_SETS_H

#include "kernels/gemm_parts.h"

/* float32 */
extern const struct clip_gemm_set clip_gemm_ref, clip_gemm_avx2, clip_gemm_avx512;
/* pairs of bfloat16 */
extern const struct clip_gemm_set clip_gemm_bf16, clip_gemm_amx;

#endif
