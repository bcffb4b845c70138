/* clip_bench embed: images and texts through their towers, one at a time and in batches, beside
 * the machine's peak. */
#ifndef CLIP_BENCH_BENCH_EMBED_H
#define CLIP_BENCH_BENCH_EMBED_H

#include "formats/model_file.h"

struct clip_bench_embed_options {
    int64_t batch_size, tokens; /* of the larger batch; tokens per text */
    int64_t runs;               /* of each figure, after one that is not counted */
    bool bf16;
};

struct clip_bench_embed_rate {
    double items_per_second, flops_per_second; /* by the median */
};

struct clip_bench_embed_result {
    struct clip_bench_embed_rate images[2], texts[2]; /* alone; in a batch */
    double peak_flops_per_second;
};

/* Pixels and ids are drawn: preprocessing and tokenizing are not part of it. */
clip_status clip_bench_embed(const struct clip_model_file *file,
                             const struct clip_bench_embed_options *options,
                             struct clip_bench_embed_result *result, struct clip_error *error);

#endif
