#include "bench/bench_search.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/progress.h"
#include "core/rng.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "search/search.h"

enum { CENTRES = 2000, SEGMENT = 65536, BLOCK = 4096 };

/* ---- rows ---- */

struct drawing {
    int64_t first, count, dim;
    const float *centres; /* [CENTRES,dim] */
    float *rows;
};

/* Row `number`: its centre and as much noise again. Queries have numbers behind all rows. */
static void draw_row(float *row, const float *centres, int64_t dim, int64_t number)
{
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 2, (uint64_t)number);
    const float *centre = centres + (int64_t)clip_rng_below(&rng, CENTRES) * dim;
    for (int64_t d = 0; d < dim; d++) row[d] = centre[d] + 0.7f * clip_rng_normal(&rng);
    clip_rows_normalise(row, 1, dim);
}

static void draw_block(void *context, int64_t i)
{
    const struct drawing *d = context;
    draw_row(d->rows + i * d->dim, d->centres, d->dim, d->first + i);
}

static clip_status draw_centres(float **out, int64_t dim, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 1, 0);
    CLIP_NEW(*out, CENTRES * dim);
    for (int64_t i = 0; i < CENTRES * dim; i++) (*out)[i] = clip_rng_normal(&rng);
out:
    return status;
}

static clip_status fill_index(struct clip_index *index, int64_t count, const float *centres,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct drawing drawing = {.dim = index->dim, .centres = centres};
    int64_t most = count < SEGMENT ? count : SEGMENT;
    const char **names = NULL;
    CLIP_NEW(drawing.rows, most * index->dim);
    CLIP_NEW(names, most);
    for (int64_t i = 0; i < most; i++) names[i] = "";
    for (int64_t i = 0; i < count; i += SEGMENT) {
        drawing.first = i;
        drawing.count = count - i < SEGMENT ? count - i : SEGMENT;
        clip_parallel_for(drawing.count, draw_block, &drawing);
        const struct clip_index_rows rows = {
            .count = drawing.count, .rows = drawing.rows, .names = names};
        CLIP_TRY(clip_index_add(index, &rows, error));
    }
out:
    free(drawing.rows);
    free(names);
    return status;
}

/* ---- reading ---- */

struct reading {
    const struct clip_index_segment *segment;
    int64_t floats; /* of the segment's rows, taken as floats */
    double *sums;
};

static void read_block(void *context, int64_t i)
{
    const struct reading *r = context;
    int64_t begin = i * BLOCK * 64, n = r->floats - begin;
    if (n > BLOCK * 64) n = BLOCK * 64;
    r->sums[i] = clip_kernels()->sum((const float *)r->segment->rows + begin, n);
}

/* Seconds to read the rows that a query reads, once. */
static double read_rows(const struct clip_index *index, int64_t row_bytes, double *sums)
{
    double started = clip_seconds();
    for (int64_t k = 0; k < index->segment_count; k++) {
        struct reading r = {&index->segments[k], 0, sums};
        r.floats = r.segment->count * row_bytes / 4;
        clip_parallel_for((r.floats + BLOCK * 64 - 1) / (BLOCK * 64), read_block, &r);
    }
    return clip_seconds() - started;
}

/* ---- measuring ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int64_t n)
{
    qsort(values, (size_t)n, sizeof *values, by_size);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* How many of `found` are in `right`. */
static int64_t count_common(const struct clip_hit *found, const struct clip_hit *right, int64_t k)
{
    int64_t common = 0;
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) common += found[i].number == right[j].number;
    return common;
}

/* Each query once by the rows and once more by the f32 rows that are kept beside them. */
static clip_status measure_recall(const struct clip_index *index,
                                  const struct clip_bench_search_options *o, const float *centres,
                                  double *recall, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_hit *found = NULL, *right = NULL;
    float *query = NULL;
    int64_t common = 0, n, m;
    struct clip_index full = *index, own = *index;
    struct clip_index_segment *segments = NULL;
    CLIP_NEW(segments, index->segment_count);
    CLIP_NEW(found, o->top);
    CLIP_NEW(right, o->top);
    CLIP_NEW(query, o->dim);
    full.precision = CLIP_INDEX_F32;
    full.segments = segments;
    own.keeps_exact = o->exact;
    memcpy(segments, index->segments, (size_t)index->segment_count * sizeof *segments);
    for (int64_t k = 0; k < index->segment_count; k++) segments[k].rows = segments[k].exact;
    for (int64_t q = 0; q < o->queries; q++) {
        draw_row(query, centres, o->dim, o->rows + q);
        CLIP_TRY(clip_index_search(&own, NULL, query, o->top, found, &n, error));
        CLIP_TRY(clip_index_search(&full, NULL, query, o->top, right, &m, error));
        common += count_common(found, right, n < m ? n : m);
    }
    *recall = (double)common / (double)(o->queries * (o->top < o->rows ? o->top : o->rows));
out:
    free(segments);
    free(found);
    free(right);
    free(query);
    return status;
}

static clip_status time_queries(const struct clip_index *index,
                                const struct clip_bench_search_options *o, const float *centres,
                                struct clip_bench_search_result *r, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    double *query_seconds = NULL, *read_seconds = NULL, *ratios = NULL, *sums = NULL;
    struct clip_hit *hits = NULL;
    float *query = NULL;
    int64_t found, row_bytes = (int64_t)r->bytes / o->rows;
    CLIP_NEW(query_seconds, o->queries);
    CLIP_NEW(read_seconds, o->queries);
    CLIP_NEW(ratios, o->queries);
    CLIP_NEW(sums, SEGMENT * o->dim / (BLOCK * 64) + 1);
    CLIP_NEW(hits, o->top);
    CLIP_NEW(query, o->dim);
    read_rows(index, row_bytes, sums);
    for (int64_t q = 0; q < o->queries; q++) {
        draw_row(query, centres, o->dim, o->rows + q);
        read_seconds[q] = read_rows(index, row_bytes, sums);
        double started = clip_seconds();
        CLIP_TRY(clip_index_search(index, NULL, query, o->top, hits, &found, error));
        query_seconds[q] = clip_seconds() - started;
        ratios[q] = query_seconds[q] / read_seconds[q];
    }
    r->query_seconds = median(query_seconds, o->queries);
    r->read_seconds = median(read_seconds, o->queries);
    r->ratio = median(ratios, o->queries);
    r->bytes_per_second = r->bytes / r->read_seconds;
out:
    free(query_seconds);
    free(read_seconds);
    free(ratios);
    free(sums);
    free(hits);
    free(query);
    return status;
}

clip_status clip_bench_search(const struct clip_bench_search_options *o,
                              struct clip_bench_search_result *r, struct clip_error *error)
{
    clip_status status;
    static const double widths[] = {4, 2, 1};
    float *centres = NULL;
    bool small = o->precision != CLIP_INDEX_F32;
    struct clip_index index = {.dim = o->dim, .precision = o->precision, .keeps_exact = small};
    *r = (struct clip_bench_search_result){.recall = 1};
    r->bytes = (double)o->rows * (double)o->dim * widths[o->precision];
    CLIP_TRY(draw_centres(&centres, o->dim, error));
    CLIP_TRY(fill_index(&index, o->rows, centres, error));
    if (small) CLIP_TRY(measure_recall(&index, o, centres, &r->recall, error));
    index.keeps_exact = small && o->exact;
    CLIP_TRY(time_queries(&index, o, centres, r, error));
out:
    free(centres);
    clip_index_release(&index);
    return status;
}
