/* Validation while training: loss and retrieval on [data] val_data, accuracy on [zeroshot] images,
 * and both on an older task's [probe]. */
#ifndef CLIP_TRAIN_VALIDATE_H
#define CLIP_TRAIN_VALIDATE_H

#include <jansson.h>

#include "embed/embedder.h"
#include "formats/model_file.h"
#include "train/setup.h"

/* The model as it is now, to be looked at: its moving average where there is one. Nothing may train
 * between open and close; close in any case. */
struct clip_trained {
    struct clip_model_file file;
    struct clip_embedder *embedder;
};
clip_status clip_trained_open(struct clip_trained *trained, const struct clip_setup *setup,
                              struct clip_error *error);
void clip_trained_close(struct clip_trained *trained);

/* One object with "val_loss", "image_retrieval_recall@1" ..., "acc1", "acc5", "probe_acc1",
 * "probe_image_retrieval_recall@1" ..., whichever the configuration asks for. Measured with the
 * moving average of the weights where there is one. `first`: captions that the context cuts are
 * warned of, which are the same ones each time. NULL with *error filled. */
json_t *clip_validate(const struct clip_setup *setup, bool first, struct clip_error *error);

#endif
