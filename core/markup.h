/* Appends text and bytes to a buffer as parts of an HTML, SVG or XML file. */
#ifndef CLIP_CORE_MARKUP_H
#define CLIP_CORE_MARKUP_H

#include "core/memory.h"
#include "core/status.h"

/* Appends the text with &, <, >, " and ' escaped, for use between tags and inside quotes. Control
 * characters, which XML does not allow, become '?'. */
clip_status clip_markup_text(struct clip_buffer *out, const char *text, struct clip_error *error);
/* Appends the bytes in base64 (RFC 4648, section 4), as in a data: URI. */
clip_status clip_markup_base64(struct clip_buffer *out, const void *bytes, size_t n,
                               struct clip_error *error);
/* Decodes n characters of base64, padded with '=' and without other characters, and appends the
 * bytes; CLIP_ERR_FORMAT if they are not base64. */
clip_status clip_markup_from_base64(struct clip_buffer *out, const char *text, size_t n,
                                    struct clip_error *error);

#endif
