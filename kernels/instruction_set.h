/* For files that are compiled once for each instruction set
 * (-DCLIP_INSTRUCTION_SET=ref|avx2|avx512, with -march to match): their functions' names end in the
 * instruction set's. */
#ifndef CLIP_KERNELS_INSTRUCTION_SET_H
#define CLIP_KERNELS_INSTRUCTION_SET_H

#include "kernels/gemm.h"

#ifndef CLIP_INSTRUCTION_SET
#define CLIP_INSTRUCTION_SET ref
#endif
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

/* in finish.c: the table's finish_row */
void PASTE(clip_finish_row_, CLIP_INSTRUCTION_SET)(const struct clip_gemm *g, int64_t row,
                                                   int64_t column, const float *sums, int64_t n);
/* in pixels.c: the table's weigh_bytes and turn_bytes */
void PASTE(clip_weigh_bytes_, CLIP_INSTRUCTION_SET)(uint8_t *dst, const uint8_t *src, int64_t step,
                                                    const int32_t *k, int64_t taps, int64_t n);
void PASTE(clip_turn_bytes_, CLIP_INSTRUCTION_SET)(uint8_t *dst, int64_t dst_step,
                                                   const uint8_t *src, int64_t src_step,
                                                   int64_t rows, int64_t columns);

#endif
