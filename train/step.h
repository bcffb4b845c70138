/* One training step: both encoders, the loss over the batch, backward, clipping, AdamW (Radford et
 * al. 2021, figure 3).
 *
 * The batch is cut into slices, which processes share (train/slices.h). Each process embeds its own
 * slices and gets the embeddings of all. It computes its slices' rows of the loss, whose gradient
 * goes back through the towers, slice by slice. The gradients are summed, each process updates its
 * part of the parameters and sends it to the others.
 *
 * A tape keeps each slice's forward until the loss is known. With micro_batch below the pairs of a
 * process there is no memory for that, and the forward is computed a second time (GradCache, Gao et
 * al. 2021), in pieces of at most micro_batch pairs. */
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
    struct clip_comm *comm;             /* borrowed; NULL: one process */
    const struct clip_teacher *teacher; /* borrowed; NULL: none */
};

struct clip_step_result {
    double loss;        /* of the batch, before the update */
    double lr;          /* used */
    double grad_norm;   /* of all trained parameters, before clipping */
    double logit_scale; /* the parameter (a logarithm), after the update and the clamp to [0, ln
                           100] */
};

struct clip_step_part; /* what is on one tape: a slice, or a piece of one */

struct clip_step {
    struct clip_step_options options;
    struct clip_schedule schedule;
    struct clip_model *model; /* borrowed; in training mode, locks already set */
    struct clip_slices *slices;
    int64_t slice_size; /* pairs of a slice */
    bool holds;         /* the slices' forwards are kept: one part for each */
    struct clip_step_part *parts;
    int64_t part_count;
    struct clip_tape *tape;      /* the first part's */
    struct clip_tape *loss_tape; /* the loss stands alone */
    struct clip_adamw *adamw;
    struct clip_locked *locked; /* borrowed, set after clip_step_create; NULL: nothing is kept */
    /* the moving average of what the process updates, floats [adamw->begin, adamw->end) of the
     * layout of gradients; or NULL */
    float *ema;
    float
        *average;  /* as clip_step_average made it; NULL since the last step of several processes */
    int32_t *keep; /* [pairs of the process, kept patches] */
    struct clip_shared *shared; /* what all processes know of the batch */
    int64_t *negatives;         /* [slices of the process + 1], struct clip_loss_share's */
};

/* The model must be in training mode (clip_model_train) with its locks set; its weights start the
 * moving average. */
clip_status clip_step_create(struct clip_step **out, struct clip_model *model,
                             const struct clip_step_options *options, struct clip_error *error);
void clip_step_free(struct clip_step *step);
/* adamw->step counts the updates. Collective; `batch` has the process' own pairs. A loss or
 * gradient that is not finite is CLIP_ERR_DIVERGED, the weights as they were. */
clip_status clip_step_run(struct clip_step *step, const struct clip_batch *batch,
                          struct clip_step_result *result, struct clip_error *error);
/* Makes step->average the whole moving average, laid out like the gradients, until the next step
 * (of several processes it lies in the memory of the gradients); NULL: there is none.
 * Collective. */
void clip_step_average(struct clip_step *step);
/* Bytes of activations that a step with `tokens` text tokens in all will need at once (planned,
 * nothing is computed). */
clip_status clip_step_plan(struct clip_step *step, int64_t tokens, size_t *bytes,
                           struct clip_error *error);
/* Maps that memory in advance, for captions as long as the context allows. What is not touched
 * costs nothing. Where there are several processes it comes before the first step, so that none of
 * them can fail while the others wait for its rows of the loss. */
clip_status clip_step_reserve(struct clip_step *step, struct clip_error *error);
#endif
