/* For files that are compiled once for each instruction set (-DCLIP_ROWS=ref|avx2|avx512 and -march
 * to match): names that end in it. */
#ifndef CLIP_KERNELS_INSTRUCTION_SET_H
#define CLIP_KERNELS_INSTRUCTION_SET_H

#include "kernels/gemm.h"

#ifndef CLIP_ROWS
#define CLIP_ROWS ref
#endif
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

/* finish.c; the table's finish_row */
void PASTE(clip_finish_row_, CLIP_ROWS)(const struct clip_gemm *g, int64_t row, int64_t column,
                                        const float *sums, int64_t n);

#endif
