/* Which pairs of a batch are positives of each other: those of the same group (the same image, or
 * the same class), and those with the same caption text, joined transitively. */
#ifndef CLIP_DATA_SETS_POSITIVES_H
#define CLIP_DATA_SETS_POSITIVES_H

#include "core/string_map.h"

struct clip_positives { /* scratch memory, start from {0} */
    int32_t *parent;
    int64_t capacity;
    struct clip_string_map seen;
};

/* ids[n]: equal for positives of each other; the number of the first of them. groups [n]; pair i's
 * caption ends at ends[i] of `captions`. */
clip_status clip_positives_number(struct clip_positives *positives, int64_t n,
                                  const int64_t *groups, const char *captions, const size_t *ends,
                                  int32_t *ids, struct clip_error *error);
void clip_positives_release(struct clip_positives *positives);

#endif
