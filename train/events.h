/* TensorBoard's event files: what `tensorboard --logdir runs` reads.
 *
 * A file is a row of records (TensorFlow, "TFRecord"): length u64, masked CRC-32C of the length
 * u32, the bytes, masked CRC-32C of the bytes u32, little-endian. Each record is an Event
 * (tensorflow/core/util/event.proto) in protobuf's encoding:
 *   Event    wall_time = 1 double, step = 2 int64, file_version = 3 string, summary = 5 Summary
 *   Summary  value = 1 Value, repeated
 *   Value    tag = 1 string, simple_value = 2 float
 * The first record of a file holds file_version "brain.Event:2". */
#ifndef CLIP_TRAIN_EVENTS_H
#define CLIP_TRAIN_EVENTS_H

#include <jansson.h>

#include "core/memory.h"
#include "core/status.h"

/* CRC-32C (Castagnoli) and TensorFlow's mask of it: rotated right by 15, plus 0xa282ead8. */
uint32_t clip_crc32c(const void *bytes, size_t n);
uint32_t clip_crc32c_masked(const void *bytes, size_t n);

/* Makes PATH ready to go on after `step`: a new file, or what is there cut to the whole records
 * whose step is at most `step`. */
clip_status clip_events_open(const char *path, int64_t step, struct clip_error *error);
/* Appends one event: each finite number of `line` but step, epoch and samples, as "GROUP/key", at
 * the line's step and the time now. */
clip_status clip_events_add(const char *path, const char *group, const json_t *line,
                            struct clip_error *error);

/* Appends to `kept` the whole records of `bytes`, in order, whose step is at most `step`, up to the
 * first that is damaged. For clip_events_open, tests and fuzzing. */
clip_status clip_events_keep(const void *bytes, size_t n, int64_t step, struct clip_buffer *kept,
                             struct clip_error *error);

#endif
