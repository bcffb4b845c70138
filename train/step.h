/* One training step: both encoders, the loss over the batch, backward, clipping, AdamW (Radford et
 * al. 2021, figure 3).
 *
 * With micro_batch below the batch, the gradient is still that of the whole batch's loss, in the
 * memory of a piece (GradCache, Gao et al. 2021): embeddings of all pieces without gradients, the
 * loss and its gradient by the embeddings, then each piece once more with the gradient of its
 * embeddings. */
#ifndef CLIP_TRAIN_STEP_H
#define CLIP_TRAIN_STEP_H

#include "data/sets/loader.h"
#include "model/model.h"
#include "optim/optim.h"
#include "train/config.h"
#include "train/locked.h"
#include "train/teacher.h"

struct clip_step_options {
    struct clip_config_train train; /* as configured: batch_size is the most pairs of a step */
    struct clip_config_optim optim;
    int64_t steps;                      /* of the run, which the schedule spans */
    bool negatives;                     /* batches may have hard negatives, as many as pairs */
    const struct clip_teacher *teacher; /* borrowed; NULL: none */
};

struct clip_step_result {
    double loss;        /* of the batch, before the update */
    double lr;          /* used */
    double grad_norm;   /* of all trained parameters, before clipping */
    double logit_scale; /* the parameter (a logarithm), after the update and the clamp to [0, ln
                           100] */
};

struct clip_step {
    struct clip_step_options options;
    struct clip_schedule schedule;
    struct clip_model *model; /* borrowed; in training mode, locks already set */
    struct clip_tape *tape;
    struct clip_adamw *adamw;
    struct clip_locked *locked; /* borrowed, set after clip_step_create; NULL: nothing is kept */
    float *ema;                 /* laid out like the model's data, of what is trained; or NULL */
    int32_t *keep;              /* [batch_size, kept patches] */
    float *embeds, *grads;      /* micro-batches: images, then captions and negatives [.., E] */
    int32_t *offsets;           /* micro-batches: [micro_batch + 1] */
};

/* The model must be in training mode (clip_model_train) with its locks set; its weights start the
 * moving average. */
clip_status clip_step_create(struct clip_step **out, struct clip_model *model,
                             const struct clip_step_options *options, struct clip_error *error);
void clip_step_free(struct clip_step *step);
/* adamw->step counts the updates. A loss or gradient that is not finite is CLIP_ERR_DIVERGED, the
 * weights as they were. */
clip_status clip_step_run(struct clip_step *step, const struct clip_batch *batch,
                          struct clip_step_result *result, struct clip_error *error);
/* Bytes of activations that a step with `tokens` text tokens in all will need at once (planned,
 * nothing is computed). */
clip_status clip_step_plan(struct clip_step *step, int64_t tokens, size_t *bytes,
                           struct clip_error *error);
#endif
