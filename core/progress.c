#include "core/progress.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/count.h"
#include "core/escape.h"

#define ERASE_LINE "\r\033[K"

static const double terminal_interval = 0.1, plain_interval = 10.0; /* seconds */

double clip_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void clip_progress_start(struct clip_progress *progress, const char *what, const char *unit,
                         int64_t first, int64_t total, bool quiet)
{
    double now = clip_seconds();
    *progress = (struct clip_progress){
        .what = what,
        .unit = unit,
        .total = total,
        .quiet = quiet,
        .terminal = isatty(STDERR_FILENO) == 1,
        .started = now,
        .shown = now,
        .first = first,
    };
}

static int columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col - 1;
    return 79;
}

/* "8 s", "3 min 20 s" or "2 h 05 min" */
void clip_duration_text(char text[CLIP_TIME_TEXT], double seconds)
{
    if (seconds > 3e7) seconds = 3e7;
    long s = (long)(seconds + 0.5);
    if (s < 60)
        snprintf(text, CLIP_TIME_TEXT, "%ld s", s);
    else if (s < 3600)
        snprintf(text, CLIP_TIME_TEXT, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, CLIP_TIME_TEXT, "%ld h %02ld min", s / 3600, s / 60 % 60);
}

void clip_now_text(char text[CLIP_TIME_TEXT])
{
    time_t now = time(NULL);
    struct tm parts;
    localtime_r(&now, &parts);
    strftime(text, CLIP_TIME_TEXT, "%Y-%m-%d %H:%M", &parts);
}

void clip_progress_update(struct clip_progress *progress, int64_t count, const char *note)
{
    double now = clip_seconds();
    double interval = progress->terminal ? terminal_interval : plain_interval;
    if (progress->quiet || now - progress->shown < interval) return;
    progress->shown = now;

    double elapsed = now - progress->started;
    double rate = elapsed > 0 ? (double)(count - progress->first) / elapsed : 0;
    char share[64] = "", left[64] = "", raw[512], line[512];
    if (progress->total > 0) {
        snprintf(share, sizeof share, "/%lld (%.0f %%)", (long long)progress->total,
                 100.0 * (double)count / (double)progress->total);
        if (rate > 0 && count < progress->total) {
            char duration[CLIP_TIME_TEXT];
            clip_duration_text(duration, (double)(progress->total - count) / rate);
            snprintf(left, sizeof left, ", %s left", duration);
        }
    }
    const int64_t all = progress->total > 0 ? progress->total : count;
    const char *unit = clip_counted_name(&(struct clip_counted){{0}}, all, progress->unit);
    snprintf(raw, sizeof raw, "%s: %lld%s %s, %.*f/s%s%s%s", progress->what, (long long)count,
             share, unit, rate < 10 ? 1 : 0, rate, left, note != NULL ? ", " : "",
             note != NULL ? note : "");
    size_t room = progress->terminal ? (size_t)columns() + 1 : sizeof line;
    clip_escape(line, room < sizeof line ? room : sizeof line, raw);
    if (progress->terminal)
        fprintf(stderr, ERASE_LINE "%s", line);
    else
        fprintf(stderr, "%s\n", line);
    fflush(stderr);
}

void clip_progress_end(struct clip_progress *progress)
{
    if (progress->terminal && !progress->quiet) {
        fputs(ERASE_LINE, stderr);
        fflush(stderr);
    }
}

/* The whole line is one write, because several threads may warn at once. */
static void write_line(const char *program, const char *format, va_list arguments)
{
    char raw[4096], text[2048];
    const char *erase = isatty(STDERR_FILENO) == 1 ? ERASE_LINE : "";
    vsnprintf(raw, sizeof raw, format, arguments);
    clip_escape(text, sizeof text, raw);
    fprintf(stderr, "%s%s%s%s\n", erase, program, program[0] != '\0' ? ": warning: " : "", text);
}

void clip_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(program_invocation_short_name, format, arguments);
    va_end(arguments);
}

void clip_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line("", format, arguments);
    va_end(arguments);
}
