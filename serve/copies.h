/* Which images of an index are the same file, byte by byte, as their contents' hashes tell: the
 * page shows one of them, and how many there are. */
#ifndef CLIP_SERVE_COPIES_H
#define CLIP_SERVE_COPIES_H

#include <stdint.h>

#include "core/status.h"
#include "search/index.h"
#include "search/search.h"

struct clip_copies {
    int64_t *group; /* [rows of the index]: rows of the same content have the same number */
    int64_t *size;  /* [count] how many of a group's rows are not removed */
    int64_t count;  /* groups, fewer than rows or as many */
};
clip_status clip_copies_find(struct clip_copies *out, const struct clip_index *index,
                             struct clip_error *error);
void clip_copies_release(struct clip_copies *copies);

/* Leaves only the first of each group's rows that take part. */
clip_status clip_copies_fold(const struct clip_copies *copies, const struct clip_index *index,
                             struct clip_search_filter *filter, struct clip_error *error);

#endif
