/* Retrieval between images and captions, counted as in CLIP_benchmark: recall@k is the share of
 * queries that have at least one match among the k best. "image_retrieval" looks for the image of a
 * caption, "text_retrieval" for any caption of an image. */
#ifndef CLIP_EVAL_RETRIEVAL_H
#define CLIP_EVAL_RETRIEVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"

struct clip_recalls {
    double at_1, at_5, at_10;      /* recall@k */
    double mean_rank, median_rank; /* of each query's best match; ranks count from 1 */
};

struct clip_retrieval_result {
    int64_t images, texts; /* images and captions that took part */
    int64_t skipped;       /* pairs that did not, because image or caption cannot be used */
    int64_t cut;           /* captions that were longer than the context */
    struct clip_recalls image_retrieval, text_retrieval;
    /* clip_retrieval_run sets these if the data set has hard negatives (csv_negative_key): the
     * number of captions that have one, and the share of them that fit their image better than the
     * negative does. Chance is a half. */
    int64_t negatives;
    double negative_accuracy;
};

struct clip_retrieval_rows {
    const float *images;       /* [n,E] */
    const float *texts;        /* [m,E] */
    const int64_t *text_image; /* [m] each caption's image */
    int64_t n, m, dim;         /* dim is E */
};
/* Ranks all images for each caption and all captions for each image. Scores are dot products; among
 * equal ones the lower number comes first. The median of an even number of ranks is the mean of the
 * middle two. text_rank [m] and image_rank [n], or NULL, get the rank of each query; an image
 * without a caption has rank 0 and does not count. Only a block of scores is in memory at a time,
 * never n m. */
clip_status clip_retrieval_score(const struct clip_retrieval_rows *rows, int64_t *text_rank,
                                 int64_t *image_rank, struct clip_retrieval_result *result,
                                 struct clip_error *error);

/* Embeds a data set and scores it. Samples that have the same image are captions of that image. A
 * pair that cannot be used is named on stderr and counted. */
clip_status clip_retrieval_run(const struct clip_embedder *embedder,
                               const struct clip_dataset *dataset, bool quiet,
                               struct clip_retrieval_result *result, struct clip_error *error);

#endif
