/* How a run was started: starts.jsonl in its folder, one line for its start and for each --resume.
 *
 *   {"time": "2026-12-01 04:20", "step": 0, "command": "clip_train --config a.ini", "cpu":
 *    "AMD EPYC 9R14", "threads": 2, "processes": 1, "kernels": "avx512", "version": "0.1.0",
 *    "warnings": []} */
#ifndef CLIP_TRAIN_STARTS_H
#define CLIP_TRAIN_STARTS_H

#include "core/json.h"
#include "train/run.h"
#include "train/setup.h"

/* Appends the line of a start at `step`. `command`: as it was typed; NULL: not known. The warnings
 * are those of the setup so far. */
clip_status clip_starts_add(const struct clip_run *run, const struct clip_setup *setup,
                            const char *command, int64_t step, struct clip_error *error);
/* The lines of FOLDER, an array that the caller releases; empty where there is no such file. Lines
 * that are not whole are left out. NULL: memory or the machine failed. */
json_t *clip_starts_read(const char *folder, struct clip_error *error);

#endif
