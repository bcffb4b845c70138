/* Text and bytes as parts of an HTML, SVG or XML file, appended to a buffer. */
#ifndef CLIP_CORE_MARKUP_H
#define CLIP_CORE_MARKUP_H

#include "core/memory.h"
#include "core/status.h"

/* The text with &, <, >, " and ' escaped, for between tags and inside quotes; control characters,
 * which no XML file may hold, become '?'. */
clip_status clip_markup_text(struct clip_buffer *out, const char *text, struct clip_error *error);
/* Base64 (RFC 4648, section 4), as in a data: URI. */
clip_status clip_markup_base64(struct clip_buffer *out, const void *bytes, size_t n,
                               struct clip_error *error);
/* Appends the bytes that n characters of base64, padded with '=' and nothing else between them,
 * stand for; CLIP_ERR_FORMAT where they are none. */
clip_status clip_markup_from_base64(struct clip_buffer *out, const char *text, size_t n,
                                    struct clip_error *error);

#endif
