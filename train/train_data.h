/* [data] train_data: a set, sets that are mixed by weights, or a stream of tar shards. */
#ifndef CLIP_TRAIN_TRAIN_DATA_H
#define CLIP_TRAIN_TRAIN_DATA_H

#include "train/setup.h"

/* Opens it: the setup's train_data, parts and shard_group. */
clip_status clip_train_data_open(struct clip_setup *setup,
                                 const struct clip_dataset_options *options,
                                 struct clip_error *error);
/* Can it be mixed as the weights say, and what validation took be missed? */
clip_status clip_train_data_check(const struct clip_setup *setup, struct clip_error *error);

#endif
