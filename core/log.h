/* Messages of a call to the library: they go to a function of the caller's, or to stderr.
 *
 * A message is a whole sentence without an end of line. The function is called in the thread that
 * has the message, before the call that it belongs to returns. */
#ifndef CLIP_CORE_LOG_H
#define CLIP_CORE_LOG_H

#include "clip/clip.h" /* enum clip_log_level, which is public */

struct clip_log { /* {0}: stderr */
    void (*write)(void *context, enum clip_log_level level, const char *message);
    void *context;
};

/* Writes a message. If `log` is NULL or {0}, it goes to stderr: a warning by clip_warn, a note by
 * clip_say. */
void clip_log_write(const struct clip_log *log, enum clip_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
