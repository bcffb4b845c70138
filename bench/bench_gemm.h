/* clip_bench gemm: the products of a model's training step, each beside the machine's peak. */
#ifndef CLIP_BENCH_BENCH_GEMM_H
#define CLIP_BENCH_BENCH_GEMM_H

#include "core/status.h"
#include "model/model.h"

struct clip_bench_product {
    struct clip_model_product of;
    double forward, dx, dw; /* operations a second of y, of dx = dy w, of dw += dy^T x */
};

struct clip_bench_gemm_result {
    struct clip_bench_product products[CLIP_MODEL_PRODUCTS];
    int64_t count;
    double flops_per_second; /* of all of them, as often as a step makes them */
    double peak_flops_per_second;
};

struct clip_bench_gemm_options {
    int64_t batch_size, tokens; /* pairs, and text tokens in all */
    bool bf16;                  /* multiply bfloat16, of operands stored so where a step has them */
    double seconds;             /* for each figure */
};

clip_status clip_bench_gemm(const struct clip_model_config *config,
                            const struct clip_bench_gemm_options *options,
                            struct clip_bench_gemm_result *result, struct clip_error *error);

#endif
