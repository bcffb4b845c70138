#include "core/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/escape.h"

clip_status clip_fail(struct clip_error *error, clip_status status, const char *format, ...)
{
    char text[2 * sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clip_escape(error->message, sizeof error->message, text);
    error->status = status;
    return status;
}

clip_status clip_status_of(int reason)
{
    switch (reason) {
    case ENOENT:
    case ENOTDIR: return CLIP_ERR_NOT_FOUND;
    case ENOMEM: return CLIP_ERR_MEMORY;
    case EIO:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case EROFS:
    case ESTALE:
    case ENODEV:
    case ETIMEDOUT:
    case EREMOTEIO: return CLIP_ERR_MACHINE;
    default: return CLIP_ERR_IO;
    }
}

bool clip_machine_failed(clip_status status)
{
    return status == CLIP_ERR_MEMORY || status == CLIP_ERR_MACHINE;
}

clip_status clip_error_prefix(struct clip_error *error, const char *format, ...)
{
    char text[2 * sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = n < 0 ? 0 : strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", error->message);
    clip_escape(error->message, sizeof error->message, text);
    return error->status;
}
