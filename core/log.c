#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/escape.h"
#include "core/progress.h"

void clip_log_write(const struct clip_log *log, enum clip_log_level level, const char *format, ...)
{
    char raw[4096], text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    clip_escape(text, sizeof text, raw);
    if (log != NULL && log->write != NULL)
        log->write(log->context, level, text);
    else if (level == CLIP_LOG_WARNING)
        clip_warn("%s", text);
    else
        clip_say("%s", text);
}
