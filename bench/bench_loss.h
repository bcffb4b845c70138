/* clip_bench loss: InfoNCE forward and backward over a large batch, beside the rate of its products
 * alone. */
#ifndef CLIP_BENCH_BENCH_LOSS_H
#define CLIP_BENCH_BENCH_LOSS_H

#include <stdint.h>

#include "core/status.h"

struct clip_bench_loss_result {
    double forward_seconds, backward_seconds; /* the medians of all runs */
    double flops_per_second;      /* 8 N^2 D of products, by the time of both directions */
    double gemm_flops_per_second; /* those products alone, in the same tiles */
    double peak_flops_per_second;
    int64_t workspace_bytes, peak_rss_bytes;
};

/* N pairs of unit rows of D, drawn; `runs` runs after one that is not counted. */
clip_status clip_bench_loss(int64_t pairs, int64_t dim, int64_t runs,
                            struct clip_bench_loss_result *result, struct clip_error *error);

#endif
