/* What a person sees of a run while it goes, beside the trainer's heart: log.jsonl and
 * metrics.jsonl, report.html, and with [train] tensorboard TensorBoard's events. */
#ifndef CLIP_TRAIN_WATCH_H
#define CLIP_TRAIN_WATCH_H

#include "train/report.h"
#include "train/run.h"

struct clip_watch { /* start from {0} */
    const struct clip_run *run;
    const struct clip_setup *setup;
    const struct clip_loader *loader;
    char *events;                /* path; NULL: none wanted */
    struct clip_samples samples; /* as the last fresh page showed them */
    double shown, cost;          /* when the page was last written, and the seconds it took */
    bool failed;                 /* it could not be written, and that was said */
    double seconds;              /* the run had taken, by its log; NaN: there is none */
};

/* After the logs were rewound to `step`; events go on behind it too. Borrows all three. */
clip_status clip_watch_open(struct clip_watch *watch, const struct clip_run *run,
                            const struct clip_setup *setup, const struct clip_loader *loader,
                            int64_t step, struct clip_error *error);
void clip_watch_close(struct clip_watch *watch);

enum clip_watch_log { CLIP_WATCH_TRAINING, CLIP_WATCH_VALIDATION };
/* Appends the line to log.jsonl or metrics.jsonl, and its numbers to the events. */
clip_status clip_watch_line(const struct clip_watch *watch, enum clip_watch_log log,
                            const json_t *line, struct clip_error *error);

/* Writes report.html as things stand; `fresh`: the model looks at the sample pairs anew, as it does
 * for the first page. A page that cannot be written is said once and ends no run. `facts` needs
 * what the trainer knows: state, failure, seconds, left, step, samples_seen, metric, best,
 * best_step. */
void clip_watch_page(struct clip_watch *watch, const struct clip_report *facts, bool fresh);
/* The page is half a minute old, or older where writing it takes long. */
bool clip_watch_is_stale(const struct clip_watch *watch);

#endif
