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

/* Adds them, and what a MODEL is read by. Data is borrowed from the setup and from *sums [2], which
 * are to be freed (clip_model_free) when the bundle is written: the merged weights and averages, or
 * NULL. */
clip_status clip_checkpoint_add(struct clip_bundle *bundle, const struct clip_setup *setup,
                                struct clip_model *sums[2], struct clip_error *error);
/* Fills weights, average and moments from a checkpoint of the same configuration. */
clip_status clip_checkpoint_restore(struct clip_setup *setup, const struct clip_bundle *bundle,
                                    struct clip_error *error);

/* FOLDER/adapter/adapter_model.safetensors and adapter_config.json: the paths, of the moving
 * average where there is one. `base` is the model that they stand beside, for the reader. */
clip_status clip_adapter_write(const struct clip_setup *setup, const char *folder, const char *base,
                               struct clip_error *error);

#endif
