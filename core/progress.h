/* Progress on stderr: a live line where it is a terminal, a plain line now and then where it is
 * not, nothing when quiet. */
#ifndef CLIP_CORE_PROGRESS_H
#define CLIP_CORE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct clip_progress {
    const char *what; /* "training", "embedding" */
    const char *unit; /* "pairs", "images" */
    int64_t total;    /* 0: not known */
    bool quiet, terminal;
    double started, shown; /* clip_seconds() */
    int64_t first;         /* count at start, so that a resumed run's rate is right */
};

void clip_progress_start(struct clip_progress *progress, const char *what, const char *unit,
                         int64_t first, int64_t total, bool quiet);
/* Shows count, rate and time left, with `note` (may be NULL) behind; at most ten times a second on
 * a terminal, every 10 s else. */
void clip_progress_update(struct clip_progress *progress, int64_t count, const char *note);
void clip_progress_end(struct clip_progress *progress); /* clears the live line */

double clip_seconds(void); /* monotonic clock */

/* One line on stderr, "PROGRAM: warning: ...", shown above a live progress line. */
void clip_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One plain line on stderr, shown above a live progress line: news of a run, not its result. */
void clip_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
