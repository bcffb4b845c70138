/* Text for a terminal: what would move its cursor, colour it or turn its lines around is spelled.
 *
 * Names of files, captions and keys come from strangers. Control characters (C0, DEL, C1), the
 * controls of writing direction (Unicode's Bidi_Control: an "exe" read backwards), the separators
 * of lines and bytes that are not UTF-8 are written as "\n", "\t", "\r", "\x1b" (a byte) and
 * "\u202e" (a code point). All else stays, a backslash too: escaping twice is escaping once. */
#ifndef CLIP_CORE_ESCAPE_H
#define CLIP_CORE_ESCAPE_H

#include <stddef.h>
#include <stdio.h>

/* Writes as much of the text, escaped, as fits into `capacity` bytes with the final 0, whole
 * characters only. Returns how many bytes of the text were taken: all, if text[n] is its end. */
size_t clip_escape(char *out, size_t capacity, const char *text);

/* A name as it is printed to `stream`: escaped if that is a terminal, else the text itself, because
 * a script wants the name that opens the file. A very long one ends in "...". */
struct clip_shown {
    char text[4096];
};
const char *clip_shown_on(struct clip_shown *to, FILE *stream, const char *text);

/* The same on stdout, in the text of a call; it lasts until the block ends. */
#define CLIP_SHOWN(text) clip_shown_on(&(struct clip_shown){{0}}, stdout, text)

#endif
