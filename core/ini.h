/* INI files, read by inih: sections, keys and values, each with its line number. */
#ifndef CLIP_CORE_INI_H
#define CLIP_CORE_INI_H

#include <stddef.h>

#include "core/status.h"

/* Called for each `key = value` in order. A status other than CLIP_OK stops the reading and is
 * returned. `line` counts from 1; `section` is "" before the first one. Comments begin with ';' or
 * '#' at the start of a line, or with ';' after white space. An indented line is an ordinary line:
 * values do not continue on the next line. */
typedef clip_status (*clip_ini_handler)(void *context, const char *section, const char *key,
                                        const char *value, int line, struct clip_error *error);

/* Reads a file. A syntax error, a line of more than inih's 200 bytes, a section name of more than
 * its 49 bytes, or a NUL byte is reported as PATH:LINE with CLIP_ERR_FORMAT. */
clip_status clip_ini_read(const char *path, clip_ini_handler handler, void *context,
                          struct clip_error *error);
/* The same from memory, for tests and fuzzing; `name` takes the place of the path. */
clip_status clip_ini_parse(const char *bytes, size_t n, const char *name, clip_ini_handler handler,
                           void *context, struct clip_error *error);

#endif
