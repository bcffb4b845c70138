/* Requests that are answered with lists: the folders, the images in order, what a search finds. */
#include <math.h>
#include <stdlib.h>

#include "serve/api_parts.h"

void clip_api_about(const struct clip_api_call *call, struct clip_api_response *out)
{
    clip_status status = CLIP_OK;
    struct clip_error error_here, *error = &error_here;
    const struct clip_shown *shown = call->shown;
    json_t *answer = NULL, *folders = json_array();
    for (int64_t i = 0; i < shown->folder_count; i++)
        CLIP_TRY(clip_json_add(folders, error, "{s:s, s:I}", "path", shown->folders[i].path,
                               "count", (json_int_t)shown->folders[i].count));
    CLIP_TRY(clip_json_pack(&answer, error, "{s:I, s:I, s:s, s:s, s:I, s:O}", "count",
                            (json_int_t)call->index->live, "version", (json_int_t)shown->version,
                            "model", call->index->model, "precision",
                            clip_index_precision_name(call->index->precision), "dim",
                            (json_int_t)call->index->dim, "folders", folders));
    clip_api_answer_json(out, answer);
out:
    json_decref(folders);
    if (status != CLIP_OK) clip_api_refuse_failure(out, false, error);
}

static clip_status add_result(const struct clip_api_call *call, json_t *results, int64_t row,
                              const float *score, struct clip_error *error)
{
    const struct clip_copies *copies = &call->shown->copies;
    json_int_t number = call->shown->first + row, n = copies->size[copies->group[row]];
    json_int_t time = clip_index_time(call->index, row) / 1000000000;
    const char *path = clip_index_name(call->index, row);
    if (score == NULL)
        return clip_json_add(results, error, "{s:I, s:s, s:I, s:I}", "number", number, "path", path,
                             "time", time, "copies", n);
    return clip_json_add(results, error, "{s:I, s:s, s:I, s:I, s:f}", "number", number, "path",
                         path, "time", time, "copies", n, "score", (double)*score);
}

/* The rows that take part, copies folded: all of them, or those under a folder; *made is to be
 * released. *images: how many they stand for. */
static clip_status choose_filter(const struct clip_api_call *call,
                                 const struct clip_api_asked *asked,
                                 struct clip_search_filter *made,
                                 const struct clip_search_filter **out, int64_t *images,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = &call->shown->folded;
    *images = call->shown->all.count;
    if (asked->under == NULL || asked->under[0] == '\0') return CLIP_OK;
    *out = made;
    CLIP_TRY(clip_search_filter_make(made, call->index, &asked->under, 1, error));
    *images = made->count;
    CLIP_TRY(clip_copies_fold(&call->shown->copies, call->index, made, error));
out:
    return status;
}

/* The i-th row of the index in this order. */
static int64_t row_at(const struct clip_api_call *call, enum clip_api_order order, int64_t i)
{
    if (order == CLIP_API_FIRST_ORDER) return i;
    return call->shown->newest[order == CLIP_API_NEWEST ? i : call->index->count - 1 - i];
}

/* ---- all images ---- */

static clip_status list_images(const struct clip_api_call *call, const struct clip_api_asked *asked,
                               json_t **answer, struct clip_error *error)
{
    clip_status status;
    struct clip_search_filter made = {0};
    const struct clip_search_filter *filter;
    json_t *results = json_array();
    int64_t images, seen = 0, end = asked->offset + asked->limit;
    CLIP_TRY(choose_filter(call, asked, &made, &filter, &images, error));
    for (int64_t i = 0; i < call->index->count && seen < end; i++) {
        int64_t row = row_at(call, asked->order, i);
        if (filter->skip[row] || seen++ < asked->offset) continue;
        CLIP_TRY(add_result(call, results, row, NULL, error));
    }
    CLIP_TRY(clip_json_pack(answer, error, "{s:I, s:I, s:I, s:O}", "total",
                            (json_int_t)filter->count, "searched", (json_int_t)images, "offset",
                            (json_int_t)asked->offset, "results", results));
out:
    json_decref(results);
    clip_search_filter_release(&made);
    return status;
}

void clip_api_images(const struct clip_api_call *call, struct clip_api_response *out)
{
    struct clip_api_asked asked;
    struct clip_error error;
    json_t *answer = NULL;
    if (clip_api_take(call, CLIP_API_IMAGES, &asked, out)) {
        if (list_images(call, &asked, &answer, &error) != CLIP_OK)
            clip_api_refuse_failure(out, false, &error);
        else
            clip_api_answer_json(out, answer);
    }
    clip_api_asked_release(&asked);
}

/* ---- search ---- */

/* hits [n], best first -> by date */
static clip_status put_by_date(const struct clip_api_call *call, enum clip_api_order order,
                               struct clip_hit *hits, int64_t n, struct clip_error *error)
{
    clip_status status;
    struct clip_hit *best = NULL;
    int64_t *rank = NULL, next = 0; /* [rows of the index] from 1; 0: not found */
    CLIP_NEW(best, n);
    CLIP_NEW(rank, call->index->count);
    for (int64_t i = 0; i < n; i++) {
        best[i] = hits[i];
        rank[hits[i].number] = i + 1;
    }
    for (int64_t i = 0; next < n; i++) {
        int64_t row = row_at(call, order, i);
        if (rank[row] > 0) hits[next++] = best[rank[row] - 1];
    }
out:
    free(best);
    free(rank);
    return status;
}

/* The best hits that can be seen: hits [*found], to be freed; the best score of all stands in *best
 * (NULL: nothing took part). Where all of them have to be known, to be counted or put by date, they
 * are more than were asked for. */
static clip_status find_hits(const struct clip_api_call *call, const struct clip_api_asked *asked,
                             const struct clip_search_filter *filter, struct clip_hit **hits,
                             int64_t *found, json_t **best, struct clip_error *error)
{
    clip_status status;
    float *query = NULL;
    int64_t most = asked->offset + asked->limit;
    if (asked->order != CLIP_API_FIRST_ORDER) most = CLIP_API_DATED;
    if (isfinite(asked->least)) most = clip_min_i64(filter->count, CLIP_API_DEPTH);
    CLIP_NEW(*hits, most);
    CLIP_NEW(query, call->index->dim);
    CLIP_TRY(clip_query_resolve(&asked->query, call->api->embedder, call->index, query, error));
    CLIP_TRY(clip_index_search(call->index, filter, query, most, *hits, found, error));
    if (*found > 0) CLIP_TRY(clip_json_pack(best, error, "f", (double)(*hits)[0].score));
    while (*found > 0 && (double)(*hits)[*found - 1].score < asked->least) --*found;
    if (asked->order != CLIP_API_FIRST_ORDER)
        CLIP_TRY(put_by_date(call, asked->order, *hits, *found, error));
out:
    free(query);
    return status;
}

static clip_status search(const struct clip_api_call *call, const struct clip_api_asked *asked,
                          json_t **answer, struct clip_error *error)
{
    clip_status status;
    struct clip_search_filter made = {0};
    const struct clip_search_filter *filter;
    struct clip_hit *hits = NULL;
    int64_t images, found = 0, end = asked->offset + asked->limit;
    bool all = asked->order != CLIP_API_FIRST_ORDER || isfinite(asked->least);
    json_t *results = json_array(), *best = NULL;
    CLIP_TRY(choose_filter(call, asked, &made, &filter, &images, error));
    CLIP_TRY(find_hits(call, asked, filter, &hits, &found, &best, error));
    for (int64_t i = asked->offset; i < found && i < end; i++)
        CLIP_TRY(add_result(call, results, hits[i].number, &hits[i].score, error));
    int64_t total = all ? found : clip_min_i64(filter->count, CLIP_API_DEPTH);
    CLIP_TRY(clip_json_pack(answer, error, "{s:I, s:I, s:I, s:O*, s:O}", "total", (json_int_t)total,
                            "searched", (json_int_t)images, "offset", (json_int_t)asked->offset,
                            "best", best, "results", results));
out:
    json_decref(best);
    json_decref(results);
    clip_search_filter_release(&made);
    free(hits);
    return status;
}

/* Is there anything to look for? */
static bool is_complete(const struct clip_api_asked *asked, struct clip_api_response *out)
{
    if (asked->query.count == 0)
        clip_api_refuse(out, 400, "say what to look for: text, like, or an image in the body");
    else if (asked->offset + asked->limit > CLIP_API_DEPTH)
        clip_api_refuse(out, 400, "offset: only the first %d results can be seen", CLIP_API_DEPTH);
    else
        return true;
    return false;
}

void clip_api_search(const struct clip_api_call *call, struct clip_api_response *out)
{
    struct clip_api_asked asked;
    struct clip_error error;
    json_t *answer = NULL;
    if (clip_api_take(call, CLIP_API_SEARCH, &asked, out) && is_complete(&asked, out)) {
        pthread_mutex_lock(&call->api->computing);
        clip_status status = search(call, &asked, &answer, &error);
        pthread_mutex_unlock(&call->api->computing);
        if (status != CLIP_OK)
            clip_api_refuse_failure(out, true, &error);
        else
            clip_api_answer_json(out, answer);
    }
    clip_api_asked_release(&asked);
}
