/* Text as code points: UTF-8 in and out, canonical composition, lower case, white space.
 *
 * Cleaning works on arrays of code points and goes back to UTF-8 at its end, so that no step needs
 * to know about bytes. Every int32_t in a clip_points is a Unicode scalar value. */
#ifndef CLIP_DATA_TEXT_TEXT_POINTS_H
#define CLIP_DATA_TEXT_TEXT_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

struct clip_points { /* start from {0} */
    int32_t *at;
    int64_t count, capacity;
};

void clip_points_release(struct clip_points *points);
clip_status clip_points_add(struct clip_points *points, int32_t point, struct clip_error *error);
void clip_points_swap(struct clip_points *a, struct clip_points *b);

/* Appends n bytes of UTF-8. Overlong forms, surrogates and cut sequences are CLIP_ERR_DATA; the
 * sentence names the byte, counted from 0. */
clip_status clip_points_decode(struct clip_points *out, const char *text, size_t n,
                               struct clip_error *error);
/* Appends them to `out` as UTF-8. */
clip_status clip_points_encode(const struct clip_points *points, struct clip_buffer *out,
                               struct clip_error *error);

/* Unicode's canonical composition (NFC, UAX 15), in time linear in the text. */
clip_status clip_points_compose(struct clip_points *points, struct clip_error *error);

/* Lower case, each character on its own (only U+0130 becomes two). With `final_sigma` a capital
 * sigma that ends a word becomes the final form (SpecialCasing.txt, Final_Sigma). */
clip_status clip_points_lower(struct clip_points *points, bool final_sigma,
                              struct clip_error *error);

/* Unicode's White_Space; with `python` also U+001C..U+001F, which Python's str.split takes too. */
bool clip_point_is_space(int32_t point, bool python);
/* Runs of white space become one space; none is left at the ends. */
void clip_points_squeeze(struct clip_points *points, bool python);

#endif
