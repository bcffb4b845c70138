/* The tensors of a training checkpoint.
 *
 *   model/NAME                      the weights as everyone reads them; with LoRA, the sum of both
 *   ema/NAME                        the same with the moving average of what is trained
 *   optimizer/exp_avg[_sq]/NAME     AdamW's moments, of what is trained
 *   base/NAME, lora/NAME,           with LoRA, for going on: the frozen weights that have a path,
 *   lora_ema/NAME                   the paths, and their moving average
 *
 * With LoRA the paths are written a second time as a small file of their own, in the form that PEFT
 * loads over the Hugging Face export of the model that --init named. */
#ifndef CLIP_TRAIN_CHECKPOINT_H
#define CLIP_TRAIN_CHECKPOINT_H

#include "checkpoints/bundle.h"
#include "train/setup.h"

/* Moments that several processes have parts of: while process 0 writes a checkpoint, each tensor is
 * gathered just before it is written, so that no process needs memory for all. Between begin and
 * end process 0 writes, once or several times, and the others give (which returns at process 0's
 * end). begin may fail; agree on it first. */
struct clip_moments_gather {
    const struct clip_setup *setup;
    float *room; /* of process 0, for one tensor */
    int64_t *bounds;
};
struct clip_moment { /* what process 0 asks for */
    int64_t param;   /* -1: nothing more */
    bool second;
};
clip_status clip_moments_begin(struct clip_moments_gather *gather, const struct clip_setup *setup,
                               struct clip_error *error);
void clip_moments_give(struct clip_moments_gather *gather);
void clip_moments_end(struct clip_moments_gather *gather);

/* Adds them, and what a MODEL is read by. Data is borrowed from the setup, its step's average, and
 * from *sums [2], which are to be freed (clip_model_free) when the bundle is written: the merged
 * weights and averages, or NULL. */
clip_status clip_checkpoint_add(struct clip_bundle *bundle, const struct clip_setup *setup,
                                struct clip_model *sums[2], struct clip_moments_gather *gather,
                                struct clip_error *error);
/* Fills weights, average and moments from a checkpoint of the same configuration. */
clip_status clip_checkpoint_restore(struct clip_setup *setup, const struct clip_bundle *bundle,
                                    struct clip_error *error);

/* FOLDER/adapter/adapter_model.safetensors and adapter_config.json: the paths, of the moving
 * average where there is one. `base` is the model that they stand beside, for the reader. */
clip_status clip_adapter_write(const struct clip_setup *setup, const char *folder, const char *base,
                               struct clip_error *error);

#endif
