#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/progress.h"

void clip_log_write(const struct clip_log *log, enum clip_log_level level, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (log != NULL && log->write != NULL)
        log->write(log->context, level, text);
    else if (level == CLIP_LOG_WARNING)
        clip_warn("%s", text);
    else
        clip_say("%s", text);
}
