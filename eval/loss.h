/* The loss of a model on a data set it did not learn from. */
#ifndef CLIP_EVAL_LOSS_H
#define CLIP_EVAL_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"
#include "model/loss.h"

struct clip_loss_result {
    double loss;        /* mean over pairs of their batch's loss, as open_clip's validation */
    int64_t n, batches; /* pairs and batches counted */
    int64_t skipped;    /* pairs that could not be used */
    int64_t batch_size;
    const struct clip_loss *kind;
};

/* `kind` NULL: the loss that the model was trained with (model/loss.h). Each pair is told from the
 * others of its batch, so the loss depends on batch_size (kind->chance says how) and only losses of
 * one batch size compare. The pairs come in order; the last batch may be smaller and counts by its
 * pairs. */
clip_status clip_loss_run(const struct clip_embedder *embedder, const struct clip_dataset *dataset,
                          const struct clip_loss *kind, int64_t batch_size, bool quiet,
                          struct clip_loss_result *result, struct clip_error *error);

#endif
