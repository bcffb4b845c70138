/* Training: from a configuration to a run's folder. */
#ifndef CLIP_TRAIN_TRAINER_H
#define CLIP_TRAIN_TRAINER_H

#include <signal.h>

#include "core/comm.h"
#include "train/config.h"

struct clip_train_options {
    const char *init; /* MODEL whose weights training starts from; NULL: from random ones */
    bool resume;      /* go on with the run in [train] output */
    bool force;       /* overwrite a run that is there; with resume: go on though the configuration
                         changed */
    bool quiet;
    struct clip_comm *comm; /* borrowed: the processes that train together; NULL: one alone */
    const char *command;    /* the command line as typed, for the run's page; NULL: not known */
    /* A signal's number: save and return CLIP_ERR_INTERRUPTED; NULL: never. */
    const volatile sig_atomic_t *stop;
};

struct clip_train_summary {
    int64_t step, steps, samples; /* done, of the run, pairs seen */
    bool was_finished;            /* there was nothing left to do */
    bool stopped_early;           /* by [train] early_stop */
    const char *metric;           /* what the best checkpoint was chosen by */
    double best;                  /* its value; NaN: never measured */
    int64_t best_step;
    int64_t peak_rss_bytes; /* most memory the process had */
    int64_t passed_over;    /* of what lies in folders of data, because it could not be read */
};

/* [train] output must be set. The configuration may be completed: the model's description from
 * `init`. */
clip_status clip_train_run(struct clip_config *config, const struct clip_train_options *options,
                           struct clip_train_summary *summary, struct clip_error *error);

struct clip_train_forecast { /* --dry-run */
    int64_t samples, steps, steps_per_epoch, parameters, trained;
    double tokens_per_caption, flops_per_step;
    int64_t weights_bytes;                /* with gradients and moments */
    int64_t activation_bytes, peak_bytes; /* of a step; of the whole process */
};
/* Reads configuration and data, trains nothing, writes nothing. */
clip_status clip_train_forecast(struct clip_config *config,
                                const struct clip_train_options *options,
                                struct clip_train_forecast *forecast, struct clip_error *error);

#endif
