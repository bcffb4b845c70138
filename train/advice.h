/* What goes wrong in silence, said before a run begins: each a sentence on stderr that names the
 * key and what to do. Nothing here ends a run. */
#ifndef CLIP_TRAIN_ADVICE_H
#define CLIP_TRAIN_ADVICE_H

#include "train/setup.h"

/* `tuning`: the weights are those of another model (--init), still as they came.
 *   schedule     a warmup longer than the run; a moving average slower than the run
 *   lr           one for training from scratch while tuning
 *   activation   the other GELU fits the weights better, by the loss of a batch
 *   repeats      images or captions that repeat within batches, without multi_positive
 *   length       captions that the context cuts
 *   leaks        validation images that are trained on
 *   few          fewer than 100 pairs of validation, with early_stop by a recall
 * Reads captions, and one batch of at most CLIP_ADVICE_PAIRS while tuning. The status is that of
 * the reading. */
enum { CLIP_ADVICE_PAIRS = 64 };
clip_status clip_advise(struct clip_setup *setup, bool tuning, struct clip_error *error);

/* The losses of a batch with the model's activation and with the other GELU. *suspect: the other is
 * better by a tenth, and better than chance. `loss`: what the weights were trained with; where the
 * model lacks what it needs, or NULL, the model's own. */
clip_status clip_activation_check(struct clip_model *model, const struct clip_loss *loss,
                                  const struct clip_batch *batch, double losses[2], bool *suspect,
                                  struct clip_error *error);

#endif
