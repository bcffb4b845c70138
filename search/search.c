#include "search/search.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "search/index_place.h"

/* ---- filters ---- */

clip_status clip_search_filter_make(struct clip_search_filter *out, const struct clip_index *index,
                                    const char *const *folders, int64_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_names places = {0};
    struct clip_buffer place = {0};
    *out = (struct clip_search_filter){0};
    CLIP_NEW(out->skip, index->count);
    for (int64_t f = 0; f < n; f++) {
        CLIP_TRY(clip_index_place(&place, index->base, folders[f], error));
        CLIP_TRY(clip_names_add(&places, place.data, error));
    }
    for (int64_t k = 0; k < index->segment_count; k++) {
        const struct clip_index_segment *s = &index->segments[k];
        for (int64_t i = 0; i < s->count; i++) {
            bool in = n == 0;
            if (n > 0) CLIP_TRY(clip_index_place(&place, index->base, s->names[i], error));
            for (int64_t f = 0; f < n && !in; f++)
                in = clip_index_lies_in(place.data, places.names[f]);
            out->skip[s->first + i] = s->removed[i] || !in;
            out->count += in && !s->removed[i];
        }
    }
out:
    clip_names_release(&places);
    clip_buffer_release(&place);
    return status;
}

void clip_search_filter_release(struct clip_search_filter *filter)
{
    free(filter->skip);
    *filter = (struct clip_search_filter){0};
}

/* ---- search ---- */

enum { BLOCK = 1024 }; /* rows that one thread takes at once */

struct scoring {
    const struct clip_index *index;
    const bool *skip; /* [count] of the index; NULL: only removed rows are skipped */
    const float *query;
    const int16_t *rounded; /* the query for int8 rows: query[d] = unit rounded[d] */
    float unit;
    float *scores; /* [count] of the index; -INFINITY for a row that does not take part */
    float *best;   /* [blocks] the best score in each block */
};

/* Scores rows i .. i + n - 1 of one segment. */
static void score_rows(const struct scoring *s, const struct clip_index_segment *segment, int64_t i,
                       int64_t n)
{
    int64_t dim = s->index->dim;
    float *out = s->scores + segment->first + i;
    const bool *skip = s->skip != NULL ? s->skip + segment->first + i : segment->removed + i;
    if (s->index->precision == CLIP_INDEX_F32) {
        clip_kernels()->scores(out, (const float *)segment->rows + i * dim, s->query, n, dim);
    } else if (s->index->precision == CLIP_INDEX_BF16) {
        const uint16_t *rows = segment->rows;
        clip_kernels()->scores_bf16(out, rows + i * dim, s->query, n, dim);
    } else {
        const int8_t *rows = segment->rows;
        clip_kernels()->scores_int8(out, rows + i * dim, s->rounded, n, dim);
        for (int64_t r = 0; r < n; r++) out[r] *= segment->scales[i + r] * s->unit;
    }
    for (int64_t r = 0; r < n; r++) /* a row of NaN (from a damaged file) never takes part */
        if (skip[r] || !(out[r] >= -FLT_MAX)) out[r] = -INFINITY;
}

/* Scores a block of rows, which may be in several segments. */
static void score_block(void *context, int64_t block)
{
    const struct scoring *s = context;
    int64_t row = block * BLOCK, end = row + BLOCK;
    float best = -INFINITY;
    if (end > s->index->count) end = s->index->count;
    const struct clip_index_segment *segment = clip_index_segment_of(s->index, row);
    for (; row < end; segment++) {
        int64_t stop = segment->first + segment->count;
        if (stop > end) stop = end;
        score_rows(s, segment, row - segment->first, stop - row);
        for (; row < stop; row++) best = s->scores[row] > best ? s->scores[row] : best;
    }
    s->best[block] = best;
}

/* rounded[d] = round(query[d] / unit), with a unit as small as 15 bits and the sum of a row
 * allow. */
static float round_query(int16_t *rounded, const float *query, int64_t dim)
{
    float largest = 0;
    double most = fmin(32767, floor(16777215.0 / (double)dim)); /* 128 most dim < 2^31 */
    for (int64_t d = 0; d < dim; d++) largest = fmaxf(largest, fabsf(query[d]));
    float unit = largest > 0 ? largest / (float)most : 1;
    for (int64_t d = 0; d < dim; d++) rounded[d] = (int16_t)lrintf(query[d] / unit);
    return unit;
}

static bool is_better(const struct clip_hit *a, const struct clip_hit *b)
{
    return a->score > b->score || (a->score == b->score && a->number < b->number);
}

/* Moves heap[i] down to its place. A parent is never better than its children, so the worst of the
 * best is on top. */
static void sink(struct clip_hit *heap, int64_t n, int64_t i)
{
    struct clip_hit moved = heap[i];
    for (int64_t child = 2 * i + 1; child < n; i = child, child = 2 * i + 1) {
        if (child + 1 < n && is_better(&heap[child], &heap[child + 1])) child++;
        if (!is_better(&moved, &heap[child])) break;
        heap[i] = heap[child];
        heap[child] = moved;
    }
}

/* Turns a heap into a list with the best first. */
static void sort_heap(struct clip_hit *heap, int64_t k)
{
    for (int64_t last = k - 1; last > 0; last--) {
        struct clip_hit worst = heap[0];
        heap[0] = heap[last];
        heap[last] = worst;
        sink(heap, last, 0);
    }
}

/* Writes the k best of n scores to `heap`, the best first, and returns how many there are. It
 * passes over a block that has no better score than the worst of the k. */
static int64_t take_best(const float *scores, const float *best, int64_t n, struct clip_hit *heap,
                         int64_t k)
{
    int64_t held = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i % BLOCK == 0 && held == k && !(best[i / BLOCK] > heap[0].score)) {
            i += BLOCK - 1;
            continue;
        }
        if (held == k && !(scores[i] > heap[0].score))
            continue; /* among equals the earlier one is better */
        if (scores[i] == -INFINITY) continue;
        struct clip_hit hit = {i, scores[i]};
        if (held < k) {
            heap[held++] = hit;
            for (int64_t at = held / 2 - 1; held == k && at >= 0; at--) sink(heap, k, at);
            continue;
        }
        heap[0] = hit;
        sink(heap, k, 0);
    }
    for (int64_t at = held / 2 - 1; held < k && at >= 0; at--) sink(heap, held, at);
    sort_heap(heap, held);
    return held;
}

/* Scores the candidates by their f32 rows and sorts them by these scores. */
static void rank_again(const struct clip_index *index, const float *query, struct clip_hit *hits,
                       int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const struct clip_index_segment *s = clip_index_segment_of(index, hits[i].number);
        clip_kernels()->scores(&hits[i].score, s->exact + (hits[i].number - s->first) * index->dim,
                               query, 1, index->dim);
        if (!(hits[i].score >= -FLT_MAX)) hits[i].score = -INFINITY;
    }
    for (int64_t i = n / 2 - 1; i >= 0; i--) sink(hits, n, i);
    sort_heap(hits, n);
}

clip_status clip_index_search(const struct clip_index *index,
                              const struct clip_search_filter *filter, const float *query,
                              int64_t k, struct clip_hit *hits, int64_t *found,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    bool reranks = index->keeps_exact && index->precision != CLIP_INDEX_F32;
    int64_t wanted = k < index->count ? k : index->count;
    int64_t candidates = reranks ? CLIP_SEARCH_CANDIDATES(wanted) : wanted;
    float *scores = NULL;
    struct clip_hit *best = NULL;
    int16_t *rounded = NULL;
    int64_t blocks = (index->count + BLOCK - 1) / BLOCK;
    struct scoring scoring = {.index = index, .query = query};
    *found = 0;
    if (candidates > index->count) candidates = index->count;
    if (wanted < 1) return CLIP_OK;
    CLIP_NEW(scores, index->count);
    CLIP_NEW(scoring.best, blocks);
    CLIP_NEW(best, candidates);
    if (index->precision == CLIP_INDEX_INT8) {
        CLIP_NEW(rounded, index->dim);
        scoring.unit = round_query(rounded, query, index->dim);
        scoring.rounded = rounded;
    }
    scoring.scores = scores;
    scoring.skip = filter != NULL ? filter->skip : NULL;
    clip_parallel_for(blocks, score_block, &scoring);
    *found = take_best(scores, scoring.best, index->count, best, candidates);
    if (reranks) rank_again(index, query, best, *found);
    if (*found > wanted) *found = wanted;
    memcpy(hits, best, (size_t)*found * sizeof *hits);
out:
    free(scores);
    free(scoring.best);
    free(best);
    free(rounded);
    return status;
}
