/* Float formats of weight files: float32 to and from IEEE half precision (F16). bfloat16 is
 * kernels/bf16.h. */
#ifndef CLIP_CHECKPOINTS_CONVERT_H
#define CLIP_CHECKPOINTS_CONVERT_H

#include <stdint.h>

/* Widening is exact. Narrowing rounds to nearest, ties to even, as IEEE 754 and PyTorch do: values
 * that are too large become infinite, small ones denormal, and a NaN stays a NaN. */
float clip_f16_to_f32(uint16_t half);
uint16_t clip_f32_to_f16(float value);

#endif
