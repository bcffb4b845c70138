#include "search/query.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

void clip_query_release(struct clip_query *query)
{
    for (int64_t i = 0; i < query->count; i++) free(query->terms[i].text);
    free(query->terms);
    *query = (struct clip_query){0};
}

int64_t clip_query_count(const struct clip_query *query, enum clip_query_kind kind)
{
    int64_t n = 0;
    for (int64_t i = 0; i < query->count; i++) n += query->terms[i].kind == kind;
    return n;
}

/* ---- terms ---- */

/* Splits "snow::0.5" into "snow" and 0.5. Without "::NUMBER" at the end the weight is 1. The caller
 * must free() *text. */
static clip_status split_weight(const char *written, char **text, double *weight,
                                struct clip_error *error)
{
    const char *mark = NULL;
    for (const char *at = strstr(written, "::"); at != NULL; at = strstr(at + 1, "::")) mark = at;
    char *end = NULL;
    double value = mark != NULL ? strtod(mark + 2, &end) : 1;
    bool weighted = mark != NULL && end != mark + 2 && *end == '\0' && fabs(value) <= 1e6;
    *weight = weighted ? value : 1;
    *text =
        clip_string_copy_n(written, weighted ? (size_t)(mark - written) : strlen(written), error);
    return *text != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

/* Appends the term and takes over its text. */
static clip_status add(struct clip_query *q, const struct clip_query_term *term,
                       struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&q->terms, &q->capacity, q->count + 1, sizeof *q->terms, error);
    if (status != CLIP_OK) {
        free(term->text);
        return status;
    }
    q->terms[q->count++] = *term;
    return CLIP_OK;
}

static clip_status add_written(struct clip_query *q, enum clip_query_kind kind, const char *written,
                               bool minus, struct clip_error *error)
{
    struct clip_query_term term = {.kind = kind};
    clip_status status = split_weight(written, &term.text, &term.weight, error);
    if (status != CLIP_OK) return status;
    if (minus) term.weight = -term.weight;
    if (kind == CLIP_QUERY_IMAGE) term.image.path = term.text;
    return add(q, &term, error);
}

clip_status clip_query_add_text(struct clip_query *q, const char *text, bool minus,
                                struct clip_error *error)
{
    return add_written(q, CLIP_QUERY_TEXT, text, minus, error);
}

clip_status clip_query_add_file(struct clip_query *q, const char *path, bool minus,
                                struct clip_error *error)
{
    return add_written(q, CLIP_QUERY_IMAGE, path, minus, error);
}

clip_status clip_query_add_bytes(struct clip_query *q, const void *bytes, size_t size,
                                 struct clip_error *error)
{
    const struct clip_query_term term = {
        .kind = CLIP_QUERY_IMAGE, .weight = 1, .image = {.bytes = bytes, .size = size}};
    return add(q, &term, error);
}

clip_status clip_query_add_row(struct clip_query *q, int64_t row, bool minus,
                               struct clip_error *error)
{
    const struct clip_query_term term = {
        .kind = CLIP_QUERY_ROW, .weight = minus ? -1 : 1, .row = row};
    return add(q, &term, error);
}

/* ---- rows ---- */

/* rows [texts,E] = the rows of the texts. */
static clip_status embed_texts(const struct clip_query *q, const struct clip_embedder *e,
                               float *rows, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = clip_query_count(q, CLIP_QUERY_TEXT), at = 0;
    const char **texts = NULL;
    if (n == 0) return CLIP_OK;
    CLIP_NEW(texts, n);
    for (int64_t i = 0; i < q->count; i++)
        if (q->terms[i].kind == CLIP_QUERY_TEXT) texts[at++] = q->terms[i].text;
    CLIP_TRY(clip_embedder_texts(e, texts, n, CLIP_UNIT, rows, NULL, error));
out:
    free(texts);
    return status;
}

/* rows [images,E] = the rows of the images. */
static clip_status embed_images(const struct clip_query *q, const struct clip_embedder *e,
                                float *rows, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = clip_query_count(q, CLIP_QUERY_IMAGE), at = 0;
    struct clip_image_source *images = NULL;
    if (n == 0) return CLIP_OK;
    CLIP_NEW(images, n);
    for (int64_t i = 0; i < q->count; i++)
        if (q->terms[i].kind == CLIP_QUERY_IMAGE) images[at++] = q->terms[i].image;
    CLIP_TRY(clip_embedder_images(e, images, n, CLIP_UNIT, rows, NULL, error));
out:
    free(images);
    return status;
}

clip_status clip_query_embed(const struct clip_query *q, const struct clip_embedder *e,
                             const struct clip_index *index, float *rows, double *weights,
                             struct clip_error *error)
{
    int64_t dim = clip_embedder_dim(e), at = 0;
    for (int kind = CLIP_QUERY_TEXT; weights != NULL && kind <= CLIP_QUERY_IMAGE; kind++)
        for (int64_t i = 0; i < q->count; i++)
            if ((int)q->terms[i].kind == kind) weights[at++] = q->terms[i].weight;
    clip_status status = embed_texts(q, e, rows, error);
    if (status != CLIP_OK) return status;
    rows += clip_query_count(q, CLIP_QUERY_TEXT) * dim;
    for (int64_t i = 0; i < q->count; i++) {
        if (q->terms[i].kind != CLIP_QUERY_ROW) continue;
        clip_index_row(index, q->terms[i].row, rows);
        rows += dim;
    }
    return embed_images(q, e, rows, error);
}

/* ---- their sum ---- */

/* out [dim] = normalise(sum of weights[i] rows[i]), rows [n,dim]. The sum is in double. */
static clip_status combine(const float *rows, const double *weights, int64_t n, int64_t dim,
                           float *out, struct clip_error *error)
{
    double squares = 0;
    for (int64_t d = 0; d < dim; d++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += weights[i] * (double)rows[i * dim + d];
        out[d] = (float)sum;
        squares += sum * sum;
    }
    if (!(sqrt(squares) > 1e-6))
        return clip_fail(error, CLIP_ERR_DATA,
                         "the queries cancel each other out; ask for something else or change a "
                         "weight");
    clip_rows_normalise(out, 1, dim);
    return CLIP_OK;
}

clip_status clip_query_resolve(const struct clip_query *q, const struct clip_embedder *e,
                               const struct clip_index *index, float *out, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(e);
    float *rows = NULL;
    double *weights = NULL;
    if (q->count == 0)
        return clip_fail(error, CLIP_ERR_USAGE, "the query is empty; look for a text or an image");
    CLIP_NEW(rows, q->count * dim);
    CLIP_NEW(weights, q->count);
    CLIP_TRY(clip_query_embed(q, e, index, rows, weights, error));
    CLIP_TRY(combine(rows, weights, q->count, dim, out, error));
out:
    free(rows);
    free(weights);
    return status;
}
