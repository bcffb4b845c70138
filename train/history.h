/* A run's logs read back as columns of numbers: log.jsonl and metrics.jsonl, for charts. */
#ifndef CLIP_TRAIN_HISTORY_H
#define CLIP_TRAIN_HISTORY_H

#include "core/memory.h"
#include "core/status.h"

struct clip_history { /* start from {0} */
    int64_t rows;
    struct clip_history_column {
        const char *key;
        double *values; /* [rows]; NaN where a line has no such number */
        int64_t capacity;
    } * columns;
    int64_t count, capacity;
    struct clip_arena names;
};

/* Each line an object; its numbers become columns, in the order of their first line. A last line
 * without its end, which a run may just be writing, is left out; a file that is not there gives no
 * rows. A line that is no object is CLIP_ERR_FORMAT. */
clip_status clip_history_read(struct clip_history *out, const char *path, struct clip_error *error);
void clip_history_release(struct clip_history *history);
/* NULL: no such column. */
const double *clip_history_find(const struct clip_history *history, const char *key);
/* Does the column say where a line stands in the run, and measures nothing? */
bool clip_history_is_position(const char *key);
/* The last finite value; NaN: none. */
double clip_history_last(const struct clip_history *history, const char *key);

#endif
