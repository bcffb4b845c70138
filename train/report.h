/* report.html: a run to look at, in one file without outside parts; and several runs side by side.
 * All is there without script, which adds values under the pointer and smoothing. Curves come from
 * the run's own logs, so that a resumed run's page goes on. */
#ifndef CLIP_TRAIN_REPORT_H
#define CLIP_TRAIN_REPORT_H

#include "train/samples.h"
#include "train/setup.h"

enum clip_report_state {
    CLIP_REPORT_TRAINING,
    CLIP_REPORT_INTERRUPTED, /* by a signal */
    CLIP_REPORT_FAILED,
    CLIP_REPORT_STOPPED_EARLY,
    CLIP_REPORT_FINISHED
};

struct clip_report { /* what the logs do not tell */
    const struct clip_setup *setup;
    const char *folder; /* of the run */
    enum clip_report_state state;
    const char *failure;  /* of CLIP_REPORT_FAILED: the sentence */
    double seconds, left; /* the run has taken, and will take at most; NaN: not known */
    int64_t step, samples_seen;
    struct clip_loader_counts counts; /* since the run was started or resumed */
    const struct clip_names *bad;     /* the first of them */
    const struct clip_samples *samples;
    const char *metric; /* what best.h5 is chosen by */
    int64_t best_step;  /* 0: none yet */
    double best;
};

/* Writes FOLDER/report.html, atomically. */
clip_status clip_report_write(const struct clip_report *report, struct clip_error *error);

/* Runs (folders with log.jsonl) in one page: one chart per key with one line per run, a table
 * of their last and best figures, and the keys of their config.ini that differ. */
clip_status clip_report_compare(const char *const *runs, int64_t n, const char *path,
                                struct clip_error *error);

#endif
