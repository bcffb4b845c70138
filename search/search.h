/* Exact search in an index: it finds the best rows for a query (query.h). */
#ifndef CLIP_SEARCH_SEARCH_H
#define CLIP_SEARCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "embed/embedder.h"
#include "search/index.h"

struct clip_hit {
    int64_t number; /* of the row in the index */
    float score;    /* the row's cosine with the query */
};

/* Says which rows take part. skip [count] is true for a row that is left out; NULL: none is. */
struct clip_search_filter {
    bool *skip;
    int64_t count; /* rows that take part */
};
/* The rows that are not removed and, where n > 0, whose path lies in one of the folders (at any
 * depth, however both are spelled; relative ones count from the index's base).
 * clip_search_filter_release it. */
clip_status clip_search_filter_make(struct clip_search_filter *out, const struct clip_index *index,
                                    const char *const *folders, int64_t n,
                                    struct clip_error *error);
void clip_search_filter_release(struct clip_search_filter *filter);

/* hits [k] = the k best rows for a unit query [dim], the best first; among equals the lower number
 * comes first. *found <= k. The search reads every row once, and its result does not depend on the
 * number of threads.
 *
 * If an index of bf16 or int8 rows keeps its f32 rows, the search finds the best
 * CLIP_SEARCH_CANDIDATES(k) rows by the small ones, and orders these by their f32 rows, whose
 * scores it returns. */
#define CLIP_SEARCH_CANDIDATES(k) (10 * (k) + 100)
clip_status clip_index_search(const struct clip_index *index,
                              const struct clip_search_filter *filter, const float *query,
                              int64_t k, struct clip_hit *hits, int64_t *found,
                              struct clip_error *error);

#endif
