/* clip_bench step: the training step of a configuration, on real captions or made-up ones. */
#ifndef CLIP_BENCH_BENCH_STEP_H
#define CLIP_BENCH_BENCH_STEP_H

#include "train/config.h"

struct clip_bench_step_options {
    int64_t batch_size, steps;
    bool profile;
    const char *data; /* csv or tsv of captions; "synthetic": each fills half the context */
};

struct clip_bench_step_result {
    double *seconds; /* [steps], after one step that is not counted; the caller frees it */
    int64_t steps;
    double pairs_per_second; /* by the median */
    double flops_per_step, flops_per_second, peak_flops_per_second;
    double tokens_per_caption;
    int64_t peak_rss_bytes;
    struct clip_profile profile; /* of the counted steps, where it was asked for */
};

/* Pixels are random; captions are rows 0, 7, 14 ... of the data by the CLIP vocabulary, whose ids
 * fold into a smaller vocab_size (id mod (vocab_size - 2) + 1, the end token vocab_size - 1).
 * Timed: forward, backward, clipping, update. */
clip_status clip_bench_step(const struct clip_config *config,
                            const struct clip_bench_step_options *options,
                            struct clip_bench_step_result *result, struct clip_error *error);

#endif
