/* Cleaning: what is done to a text before it is cut into pieces.
 *
 * huggingface (transformers' CLIPTokenizer): NFC, white space to single spaces, each character to
 * lower case.
 *
 * open_clip (SimpleTokenizer, clean="lower"): ftfy.fix_text's repairs, html.unescape twice, white
 * space to single spaces, Python's str.lower. All of ftfy's repairs are here but one, its guess at
 * text that was once decoded with the wrong code page ("schÃ¶n"): such text stays as it is.
 *
 * canonicalize (open_clip's clean="canonicalize", from big_vision, which SigLIP's texts go
 * through): the same, but before lower case "_" becomes a space and the rest of ASCII's punctuation
 * is dropped. */
#ifndef CLIP_DATA_TEXT_TEXT_CLEAN_H
#define CLIP_DATA_TEXT_TEXT_CLEAN_H

#include "core/memory.h"
#include "core/status.h"
#include "data/text/text_points.h"
#include "data/text/tokenizer.h"

/* Appends the cleaned text to `out`. Text that is not UTF-8 is CLIP_ERR_DATA; the error names the
 * byte. */
clip_status clip_text_clean(const char *text, size_t n, enum clip_text_cleaning cleaning,
                            struct clip_buffer *out, struct clip_error *error);

/* Python's html.unescape (WHATWG HTML, character references): &name; and &name by the longest known
 * prefix, &#10; and &#xA; with the corrections for Windows-1252. */
clip_status clip_text_unescape(struct clip_points *text, struct clip_error *error);
/* ftfy's more careful version: only references that end in a semicolon, and names in capitals. */
clip_status clip_text_unescape_strict(struct clip_points *text, struct clip_error *error);
/* What a byte 0x80..0x9F means in Windows-1252; the byte itself if it means nothing there. */
int32_t clip_text_windows_1252(int32_t byte);

/* ftfy.fix_text without fix_encoding, applied line by line until nothing changes: character
 * references, C1 codes as Windows-1252, Latin ligatures, full-width and half-width forms, curly
 * quotes, line breaks, terminal escapes, control characters, NFC. */
clip_status clip_text_repair(struct clip_points *text, struct clip_error *error);

#endif
