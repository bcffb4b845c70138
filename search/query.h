/* A query consists of terms: texts, images, and images of the index. A search looks for what is
 * like a term, or unlike it. Together they make one unit row:
 *
 *   q = normalise(sum over the terms of weight row)   row, q [E]
 *
 * The sum takes the texts first, then the rows of the index, then the images, each kind in the
 * order in which it was added. So the program and the page get the same bits from the same
 * terms. */
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
    double weight;                  /* negative: look for what is unlike this */
    char *text;                     /* the text, or the path of an image file */
    struct clip_image_source image; /* its bytes belong to the caller */
    int64_t row;                    /* number of a row of the index */
};

struct clip_query { /* start from {0} */
    struct clip_query_term *terms;
    int64_t count, capacity;
};
void clip_query_release(struct clip_query *query);
int64_t clip_query_count(const struct clip_query *query, enum clip_query_kind kind);

/* A text, or the path of an image file, may end in a weight from -1e6 to 1e6, as in "snow::0.5".
 * Anything else behind "::" belongs to the text. `minus` turns the weight's sign. */
clip_status clip_query_add_text(struct clip_query *query, const char *text, bool minus,
                                struct clip_error *error);
clip_status clip_query_add_file(struct clip_query *query, const char *path, bool minus,
                                struct clip_error *error);
/* Adds an image by the bytes of its file, which must live as long as the query. */
clip_status clip_query_add_bytes(struct clip_query *query, const void *bytes, size_t size,
                                 struct clip_error *error);
/* Adds an image of the index by its row, which must exist. */
clip_status clip_query_add_row(struct clip_query *query, int64_t row, bool minus,
                               struct clip_error *error);

/* rows [count,E] = the unit row of each term, in the order of the sum, and weights [count] or NULL
 * their weights. `index` may be NULL if no term is a row of it. It fails as the embedder does: if
 * an image cannot be read, a text is not UTF-8, or a tower that a term needs was not opened. */
clip_status clip_query_embed(const struct clip_query *query, const struct clip_embedder *embedder,
                             const struct clip_index *index, float *rows, double *weights,
                             struct clip_error *error);
/* out [E] = the query's row. It fails as clip_query_embed does, with CLIP_ERR_USAGE if there is no
 * term, and with CLIP_ERR_DATA if the terms cancel each other out. */
clip_status clip_query_resolve(const struct clip_query *query, const struct clip_embedder *embedder,
                               const struct clip_index *index, float *out,
                               struct clip_error *error);

#endif
