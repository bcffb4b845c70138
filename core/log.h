/* News of a call for whoever asked for it: a function of the caller's, else lines on stderr.
 *
 * A message is a whole sentence, without an end of line. The function is called by the thread that
 * has the news, before the call that it belongs to returns. */
#ifndef CLIP_CORE_LOG_H
#define CLIP_CORE_LOG_H

#include "clip/clip.h" /* enum clip_log_level, which is public */

struct clip_log { /* {0}: stderr */
    void (*write)(void *context, enum clip_log_level level, const char *message);
    void *context;
};

/* `log` NULL: stderr. There a warning is a line of clip_warn's, and a note one of clip_say's. */
void clip_log_write(const struct clip_log *log, enum clip_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
