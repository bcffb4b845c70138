/* The training run of a reference set (training/): its model, its data as batches, its settings as
 * a step's options. */
#ifndef CLIP_TESTS_TRAINING_RUN_H
#define CLIP_TESTS_TRAINING_RUN_H

#include "tests/fixture.h"
#include "train/step.h"

/* A run's data, as the files have it. */
struct training {
    const char *root;
    json_t *config;
    struct clip_bundle data;
    struct clip_model *model;
    struct clip_step_options options;
    char warmup[24];                /* which the options name */
    int64_t pairs, context, pixels; /* an image's floats */
    struct clip_batch batch;        /* own memory for `capacity` pairs */
    int64_t capacity;
};

/* For batches of `times` the run's own size. With the sigmoid loss the model has a logit_bias,
 * which the files lack. */
void training_open(struct training *r, const char *root, int64_t times);
void training_open_for(struct training *r, const char *root, int64_t times, bool sigmoid);
void training_close(struct training *r);
/* The initial weights again. */
void training_reset(struct training *r);
/* The pairs order[begin, begin + n) of the file; the memory is the run's. */
const struct clip_batch *training_batch(struct training *r, int64_t begin, int64_t n);

/* With the options as they are now; clip_step_free it. */
struct clip_step *training_step_new(struct training *r);
/* One step, or a failed test. */
struct clip_step_result training_step(struct clip_step *step, const struct clip_batch *batch);

#endif
