/* A query: texts, images and images of the index, each looked for or looked away from, which
 * together are one unit row.
 *
 *   q = normalise(sum over the terms of weight row)   row, q [E]
 *
 * The sum runs over the texts, then the index's rows, then the images, each in the order in which
 * they were added, so a query has the same bits wherever it was written down. */
#ifndef CLIP_SEARCH_QUERY_H
#define CLIP_SEARCH_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "embed/embedder.h"
#include "search/index.h"

enum clip_query_kind { CLIP_QUERY_TEXT, CLIP_QUERY_ROW, CLIP_QUERY_IMAGE };

struct clip_query_term {
    enum clip_query_kind kind;
    double weight;                  /* negative: look for what is unlike */
    char *text;                     /* of a text; the path of an image that is a file */
    struct clip_image_source image; /* its bytes stay the caller's */
    int64_t row;                    /* of the index */
};

struct clip_query { /* start from {0} */
    struct clip_query_term *terms;
    int64_t count, capacity;
};
void clip_query_release(struct clip_query *query);
int64_t clip_query_count(const struct clip_query *query, enum clip_query_kind kind);

/* A text, and a file's path, may end in a weight (at most a million either way): "snow::0.5". What
 * is no such number belongs to the text. `minus`: look for what is unlike this. */
clip_status clip_query_add_text(struct clip_query *query, const char *text, bool minus,
                                struct clip_error *error);
clip_status clip_query_add_file(struct clip_query *query, const char *path, bool minus,
                                struct clip_error *error);
/* An image file's bytes, which have to live as long as the query. */
clip_status clip_query_add_bytes(struct clip_query *query, const void *bytes, size_t size,
                                 struct clip_error *error);
/* Row `row` of the index, which has to be one. */
clip_status clip_query_add_row(struct clip_query *query, int64_t row, bool minus,
                               struct clip_error *error);

/* rows [count,E]: each term's unit row, in the order of the sum; weights [count] or NULL. `index`
 * NULL: no term is a row. Fails where the embedder does: an image that cannot be read, a text that
 * is not UTF-8, a tower that was not opened. */
clip_status clip_query_embed(const struct clip_query *query, const struct clip_embedder *embedder,
                             const struct clip_index *index, float *rows, double *weights,
                             struct clip_error *error);
/* out [E]: the query. Fails as clip_query_embed does; CLIP_ERR_USAGE where there is no term,
 * CLIP_ERR_DATA where the terms cancel each other out. */
clip_status clip_query_resolve(const struct clip_query *query, const struct clip_embedder *embedder,
                               const struct clip_index *index, float *out,
                               struct clip_error *error);

#endif
