/* Measuring: what clip_bench prints. Every figure stands beside the machine's own limit, measured
 * in the same run. */
#ifndef CLIP_TRAIN_BENCH_H
#define CLIP_TRAIN_BENCH_H

#include <stdint.h>

/* Multiply-adds a second (counted as two) that all threads reach on registers alone: the best but
 * one of seven rounds. */
double clip_bench_peak_flops(void);
/* Bytes a second that all threads read from memory: the best but one of seven rounds over
 * 256 MB; 0 when memory is short. */
double clip_bench_bandwidth(void);
int64_t clip_bench_peak_rss(void); /* most bytes of memory this process had so far */

#endif
