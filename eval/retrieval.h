/* Retrieval between images and captions, counted as CLIP_benchmark counts it: recall@k is the
 * share of queries with at least one of their own among the k best. "image_retrieval" looks for the
 * image of a caption, "text_retrieval" for any of an image's captions. */
#ifndef CLIP_EVAL_RETRIEVAL_H
#define CLIP_EVAL_RETRIEVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"

struct clip_recalls {
    double at_1, at_5, at_10;      /* recall@k */
    double mean_rank, median_rank; /* of each query's best; ranks count from 1 */
};

struct clip_retrieval_result {
    int64_t images, texts; /* images and captions that took part */
    int64_t skipped;       /* pairs that did not: image or caption not usable */
    int64_t cut;           /* captions that were longer than the context */
    struct clip_recalls image_retrieval, text_retrieval;
    /* Of clip_retrieval_run, where the set has hard negatives (csv_negative_key): captions that
     * have one, and the share of them that fit their image better than it; chance is a half. */
    int64_t negatives;
    double negative_accuracy;
};

struct clip_retrieval_rows {
    const float *images;       /* [n,E] */
    const float *texts;        /* [m,E] */
    const int64_t *text_image; /* [m] each caption's image */
    int64_t n, m, dim;         /* dim: E */
};
/* Scores are dot products;
 * among equal ones the lower number comes first. The median of an even number of ranks is the mean
 * of the middle two. text_rank [m], image_rank [n] or NULL: each query's rank (an image without a
 * caption has 0 and counts nowhere). Holds a block of scores at a time, never n m. */
clip_status clip_retrieval_score(const struct clip_retrieval_rows *rows, int64_t *text_rank,
                                 int64_t *image_rank, struct clip_retrieval_result *result,
                                 struct clip_error *error);

/* All of it, over a data set: samples with one image are that image's captions. What cannot be
 * used is named on stderr and counted. */
clip_status clip_retrieval_run(const struct clip_embedder *embedder,
                               const struct clip_dataset *dataset, bool quiet,
                               struct clip_retrieval_result *result, struct clip_error *error);

#endif
