/* Text as code points: reading and writing UTF-8, canonical composition, lower case, white space.
 *
 * Cleaning works on arrays of code points and returns to UTF-8 at its end, so no step needs to know
 * about bytes. Every int32_t in a clip_points is a Unicode scalar value. */
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

/* Appends n bytes of UTF-8. Overlong forms, surrogates and incomplete sequences are CLIP_ERR_DATA;
 * the error names the byte, counted from 0. */
clip_status clip_points_decode(struct clip_points *out, const char *text, size_t n,
                               struct clip_error *error);
/* Appends the points to `out` as UTF-8. */
clip_status clip_points_encode(const struct clip_points *points, struct clip_buffer *out,
                               struct clip_error *error);

/* Unicode's canonical composition (NFC, UAX 15), in time linear in the text. */
clip_status clip_points_compose(struct clip_points *points, struct clip_error *error);

/* Lower case of each character by itself (only U+0130 becomes two). With `final_sigma`, a capital
 * sigma that ends a word becomes the final form (SpecialCasing.txt, Final_Sigma). */
clip_status clip_points_lower(struct clip_points *points, bool final_sigma,
                              struct clip_error *error);

/* Is it in Unicode's White_Space; with `python` also in U+001C..U+001F, as for Python's
 * str.split? */
bool clip_point_is_space(int32_t point, bool python);
/* Turns each run of white space into one space, and drops those at the ends. */
void clip_points_squeeze(struct clip_points *points, bool python);

#endif
