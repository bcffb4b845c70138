/* The loss of a model on a data set that it was not trained on. */
#ifndef CLIP_EVAL_LOSS_H
#define CLIP_EVAL_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"
#include "model/loss.h"

struct clip_loss_result {
    double loss; /* mean over the pairs of the loss of their batch, as in open_clip's validation */
    int64_t n, batches; /* pairs and batches that took part */
    int64_t skipped;    /* pairs that could not be used */
    int64_t batch_size;
    const struct clip_loss *kind;
};

/* Measures a loss; `kind` NULL is the loss that the model was trained with (model/loss.h). It
 * compares each pair with the others of its batch, so it depends on batch_size (kind->chance says
 * how), and only losses of the same batch size can be compared. The pairs come in order. The last
 * batch may be smaller, and counts by its pairs. */
clip_status clip_loss_run(const struct clip_embedder *embedder, const struct clip_dataset *dataset,
                          const struct clip_loss *kind, int64_t batch_size, bool quiet,
                          struct clip_loss_result *result, struct clip_error *error);

#endif
