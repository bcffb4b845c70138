/* clip_bench gemm: the products of a model's training step, each beside the machine's peak. */
#ifndef CLIP_BENCH_BENCH_GEMM_H
#define CLIP_BENCH_BENCH_GEMM_H

#include "core/status.h"
#include "model/model.h"

struct clip_bench_product {
    const char *name; /* "vision in_proj" */
    int64_t rows, width, depth; /* y [rows,width] = x [rows,depth] w [width,depth]^T */
    int64_t calls;              /* in one step */
    /* operations a second of y, of dx = dy w, of dw += dy^T x */
    double forward, dx, dw;
};

enum { CLIP_BENCH_PRODUCTS = 12 };

struct clip_bench_gemm_result {
    struct clip_bench_product products[CLIP_BENCH_PRODUCTS];
    int64_t count;
    double flops_per_second; /* of all of them, as often as a step makes them */
    double peak_flops_per_second;
};

struct clip_bench_gemm_options {
    int64_t batch_size, tokens; /* pairs, and text tokens in all */
    bool bf16;                  /* multiply bfloat16, of operands stored so where a step has them */
    double seconds;             /* for each figure */
};

/* The list alone; how many. */
int64_t clip_bench_products(const struct clip_model_config *config, int64_t batch_size,
                            int64_t tokens, struct clip_bench_product *products);

clip_status clip_bench_gemm(const struct clip_model_config *config,
                            const struct clip_bench_gemm_options *options,
                            struct clip_bench_gemm_result *result, struct clip_error *error);

#endif
