/* What a run was trained on, in a few bytes: a resumed run must go on with the same data. */
#ifndef CLIP_TRAIN_DATA_MARK_H
#define CLIP_TRAIN_DATA_MARK_H

#include <jansson.h>

#include "train/setup.h"

/* For the checkpoint's state: {"train_data": {"samples", "mark"}, "val_data": the same or null,
 * "tokenizer": mark, "templates": mark or null}. A mark is a hash: of names and captions of up to
 * 20,000 evenly spaced samples (images are known by name: their bytes are not read), of the
 * tokenizer's file, of the templates' lines. json_decref it; NULL with *error filled. */
json_t *clip_data_mark(const struct clip_setup *setup, struct clip_error *error);
/* Appends to `out`, joined by ", and ", what differs: "train_data had 400 samples and has 100".
 * `before` may be NULL, of a checkpoint that knows none: nothing differs. */
clip_status clip_data_mark_differences(const json_t *before, const json_t *now,
                                       struct clip_buffer *out, struct clip_error *error);

#endif
