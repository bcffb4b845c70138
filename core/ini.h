/* INI files through inih: sections, keys, values, with the line each stands in. */
#ifndef CLIP_CORE_INI_H
#define CLIP_CORE_INI_H

#include <stddef.h>

#include "core/status.h"

/* Called for each `key = value` in order; a status other than CLIP_OK stops the reading and is
 * returned. `line` counts from 1; `section` is "" before the first. Comments begin with ';' or '#'
 * at the start of a line, or with ';' after white space. Indented lines are ordinary lines: there
 * are no continued values. */
typedef clip_status (*clip_ini_handler)(void *context, const char *section, const char *key,
                                        const char *value, int line, struct clip_error *error);

/* A syntax error, a line beyond inih's 200 bytes, a section's name beyond its 49, or a NUL byte is
 * a sentence with PATH:LINE (CLIP_ERR_FORMAT). */
clip_status clip_ini_read(const char *path, clip_ini_handler handler, void *context,
                          struct clip_error *error);
/* The same from memory, for tests and fuzzing; `name` stands for the path. */
clip_status clip_ini_parse(const char *bytes, size_t n, const char *name, clip_ini_handler handler,
                           void *context, struct clip_error *error);

#endif
