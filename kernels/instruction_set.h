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
/* pixels.c; the table's weigh_bytes and turn_bytes */
void PASTE(clip_weigh_bytes_, CLIP_ROWS)(uint8_t *dst, const uint8_t *src, int64_t step,
                                         const int32_t *k, int64_t taps, int64_t n);
void PASTE(clip_turn_bytes_, CLIP_ROWS)(uint8_t *dst, int64_t dst_step, const uint8_t *src,
                                        int64_t src_step, int64_t rows, int64_t columns);

#endif
