/* A run's folder: lock, logs, checkpoints.
 *
 *   config.ini  log.jsonl  metrics.jsonl  last.h5  best.h5  checkpoints/step_N.h5  report.html
 *   starts.jsonl  and with [train] tensorboard its events
 *
 * A checkpoint is written once, as checkpoints/step_N.h5; last.h5 and best.h5 are further names
 * (hard links, or copies where the file system has none) that replace the older file by a rename.
 * The older file stays whole until the new one is safe. */
#ifndef CLIP_TRAIN_RUN_H
#define CLIP_TRAIN_RUN_H

#include <jansson.h>

#include "checkpoints/bundle.h"
#include "core/status.h"
#include "data/text/tokenizer.h"

#define CLIP_RUN_STARTS "starts.jsonl"               /* train/starts.h */
#define CLIP_RUN_EVENTS "events.out.tfevents.0.clip" /* TensorBoard looks for "tfevents" */

struct clip_run {
    char *folder;
    int lock; /* file descriptor; -1: none */
    int64_t keep;
};

/* Creates the folder where it is not there, and locks it. */
clip_status clip_run_open(struct clip_run *run, const char *folder, int64_t keep,
                          struct clip_error *error);
void clip_run_close(struct clip_run *run);
bool clip_run_holds_a_run(const struct clip_run *run); /* something of an earlier run is there */
bool clip_run_has_checkpoint(const struct clip_run *run);
/* Removes what an earlier run wrote, and nothing else. */
clip_status clip_run_wipe(const struct clip_run *run, struct clip_error *error);
/* Writes FOLDER/name atomically. */
clip_status clip_run_write(const struct clip_run *run, const char *name, const char *text, size_t n,
                           struct clip_error *error);

/* Appends one object as a line to log.jsonl, metrics.jsonl or starts.jsonl. */
clip_status clip_run_log(const struct clip_run *run, const char *name, const json_t *line,
                         struct clip_error *error);
/* Keeps the lines of log.jsonl and metrics.jsonl whose "step" is at most `step`; a cut last line
 * goes too. */
clip_status clip_run_rewind_logs(const struct clip_run *run, int64_t step,
                                 struct clip_error *error);

/* Writes checkpoints/step_N.h5, makes it last.h5 (and best.h5), then removes the oldest beyond
 * `keep`. */
clip_status clip_run_save(const struct clip_run *run, const struct clip_bundle *bundle,
                          int64_t step, bool best, struct clip_error *error);
/* last.h5 and best.h5 follow from what the newest checkpoint says: that of `step`, whose best was
 * that of `best_step` (0: none). A run that was killed between writing a checkpoint and naming it
 * gets the names that it was about to get. */
clip_status clip_run_mend(const struct clip_run *run, int64_t step, int64_t best_step,
                          struct clip_error *error);
/* Reads the newest checkpoint that is whole, trying older ones in turn and naming the broken ones
 * on stderr. CLIP_ERR_NOT_FOUND when there is none. */
clip_status clip_run_newest(const struct clip_run *run, struct clip_bundle *out, char *name,
                            size_t name_size, struct clip_error *error);
/* The folder of a run that another process has open: to read from. */
clip_status clip_run_follow(struct clip_run *run, const char *folder, struct clip_error *error);
/* [train] world_size of the newest checkpoint, 1 in one from before there were slices; 0 where
 * there is no checkpoint. */
clip_status clip_run_world_size(const char *folder, int64_t *world, struct clip_error *error);
/* The tokenizer that this checkpoint carries; the run need not be open. */
clip_status clip_run_tokenizer(const char *folder, struct clip_tokenizer **out,
                               struct clip_error *error);

#endif
