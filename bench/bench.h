/* Measuring: what clip_bench prints. Every figure stands beside the machine's own limit, measured
 * in the same run. */
#ifndef CLIP_BENCH_BENCH_H
#define CLIP_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

/* Multiply-adds a second (counted as two) that all threads reach on registers alone, in float32 or
 * on bfloat16 pairs: the best but one of seven rounds. */
double clip_bench_peak_flops(bool bf16);
double clip_bench_median(const double *values, int64_t n, double *room /* [n] */);

#endif
