/* Exact search in an index: the best rows for a query (query.h). */
#ifndef CLIP_SEARCH_SEARCH_H
#define CLIP_SEARCH_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "embed/embedder.h"
#include "search/index.h"

struct clip_hit {
    int64_t number; /* in the index */
    float score;    /* cosine with the query */
};

/* Which rows take part: skip [count], true for a row that is left out; or NULL. */
struct clip_search_filter {
    bool *skip;
    int64_t count; /* rows that take part */
};
/* The rows that are not removed and, where n > 0, whose path lies in one of the folders (at any
 * depth; compared as text). clip_search_filter_release it. */
clip_status clip_search_filter_make(struct clip_search_filter *out, const struct clip_index *index,
                                    const char *const *folders, int64_t n,
                                    struct clip_error *error);
void clip_search_filter_release(struct clip_search_filter *filter);

/* The k best rows for a unit query [dim], best first, lower number first among equals; the same for
 * any number of threads. Every row is looked at once. hits [k]; *found <= k.
 *
 * An index of bf16 or int8 rows that keeps its f32 rows is searched by the former, and the best
 * CLIP_SEARCH_CANDIDATES(k) of them are ordered by the latter, whose scores are what hits hold. */
#define CLIP_SEARCH_CANDIDATES(k) (10 * (k) + 100)
clip_status clip_index_search(const struct clip_index *index,
                              const struct clip_search_filter *filter, const float *query,
                              int64_t k, struct clip_hit *hits, int64_t *found,
                              struct clip_error *error);

#endif
