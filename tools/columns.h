/* Tables on a terminal: how wide a text is there, and texts filled up to a width. What a terminal
 * would obey is spelled (core/escape.h), and counts as spelled. */
#ifndef CLIP_TOOLS_COLUMNS_H
#define CLIP_TOOLS_COLUMNS_H

#include <stdint.h>

int clip_columns_width(const char *text); /* columns of a terminal that a UTF-8 text takes */
/* Prints the text and blanks up to `width`. */
void clip_columns_print(const char *text, int width);
/* The widest of n texts, at most `most`. */
int clip_columns_widest(const char *const *texts, int64_t n, int most);
/* A bar of 24 columns at most, for a share of 1. */
void clip_columns_bar(double share);

#endif
