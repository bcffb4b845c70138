/* Progress on stderr: a live line on a terminal, else a plain line now and then, and nothing when
 * quiet. */
#ifndef CLIP_CORE_PROGRESS_H
#define CLIP_CORE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct clip_progress {
    const char *what; /* "training", "embedding" */
    const char *unit; /* the name of one: "pair", "image" */
    int64_t total;    /* 0: unknown */
    bool quiet, terminal;
    double started, shown; /* clip_seconds() */
    int64_t first;         /* the count at the start, so that a resumed run shows the right rate */
};

void clip_progress_start(struct clip_progress *progress, const char *what, const char *unit,
                         int64_t first, int64_t total, bool quiet);
/* Shows the count, the rate and the time left, followed by `note` (may be NULL): at most ten times
 * per second on a terminal, else every 10 s. */
void clip_progress_update(struct clip_progress *progress, int64_t count, const char *note);
void clip_progress_end(struct clip_progress *progress); /* clears the live line */

double clip_seconds(void); /* of a monotonic clock */
enum { CLIP_TIME_TEXT = 32 };
void clip_duration_text(char text[CLIP_TIME_TEXT], double seconds); /* "3 min 20 s" */
void clip_now_text(char text[CLIP_TIME_TEXT]); /* here and now, "2026-11-24 14:20" */

/* Writes one line to stderr, "PROGRAM: warning: ...", above a live progress line. */
void clip_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes one plain line to stderr, above a live progress line: news of a run, not its result. */
void clip_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
