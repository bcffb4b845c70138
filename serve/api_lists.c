/* Requests that are answered with lists: the folders, the images in order, what a search finds. */
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
    json_int_t number = call->shown->first + row;
    const char *path = clip_index_name(call->index, row);
    if (score == NULL)
        return clip_json_add(results, error, "{s:I, s:s}", "number", number, "path", path);
    return clip_json_add(results, error, "{s:I, s:s, s:f}", "number", number, "path", path, "score",
                         (double)*score);
}

/* The rows that take part: all of them, or those under a folder; *made is to be released. */
static clip_status choose_filter(const struct clip_api_call *call,
                                 const struct clip_api_asked *asked,
                                 struct clip_search_filter *made,
                                 const struct clip_search_filter **out, struct clip_error *error)
{
    *out = &call->shown->all;
    if (asked->under == NULL || asked->under[0] == '\0') return CLIP_OK;
    *out = made;
    return clip_search_filter_make(made, call->index, &asked->under, 1, error);
}

/* ---- images in the order of the index ---- */

static clip_status list_images(const struct clip_api_call *call, const struct clip_api_asked *asked,
                               json_t **answer, struct clip_error *error)
{
    clip_status status;
    struct clip_search_filter made = {0};
    const struct clip_search_filter *filter;
    json_t *results = json_array();
    int64_t seen = 0, end = asked->offset + asked->limit;
    CLIP_TRY(choose_filter(call, asked, &made, &filter, error));
    for (int64_t row = 0; row < call->index->count && seen < end; row++) {
        if (filter->skip[row] || seen++ < asked->offset) continue;
        CLIP_TRY(add_result(call, results, row, NULL, error));
    }
    CLIP_TRY(clip_json_pack(answer, error, "{s:I, s:I, s:O}", "total", (json_int_t)filter->left,
                            "offset", (json_int_t)asked->offset, "results", results));
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

static clip_status search(const struct clip_api_call *call, const struct clip_api_asked *asked,
                          json_t **answer, struct clip_error *error)
{
    clip_status status;
    struct clip_search_filter made = {0};
    const struct clip_search_filter *filter;
    struct clip_hit *hits = NULL;
    float *query = NULL;
    int64_t found = 0, end = asked->offset + asked->limit;
    json_t *results = json_array();
    CLIP_TRY(choose_filter(call, asked, &made, &filter, error));
    CLIP_NEW(hits, end);
    CLIP_NEW(query, call->index->dim);
    CLIP_TRY(clip_query_resolve(&asked->query, call->api->embedder, call->index, query, error));
    CLIP_TRY(clip_index_search(call->index, filter, query, end, hits, &found, error));
    for (int64_t i = asked->offset; i < found; i++)
        CLIP_TRY(add_result(call, results, hits[i].number, &hits[i].score, error));
    CLIP_TRY(clip_json_pack(answer, error, "{s:I, s:I, s:I, s:O}", "total",
                            (json_int_t)clip_min_i64(filter->left, CLIP_API_DEPTH), "searched",
                            (json_int_t)filter->left, "offset", (json_int_t)asked->offset,
                            "results", results));
out:
    json_decref(results);
    clip_search_filter_release(&made);
    free(hits);
    free(query);
    return status;
}

/* The query with the image in the body, and whether there is anything to look for. */
static bool complete_query(const struct clip_api_call *call, struct clip_api_asked *asked,
                           struct clip_api_response *out)
{
    struct clip_error error;
    const struct clip_api_request *r = &call->request;
    if (r->body_size > 0 &&
        clip_query_add_bytes(&asked->query, r->body, r->body_size, &error) != CLIP_OK)
        clip_api_refuse_failure(out, false, &error);
    else if (asked->query.count == 0)
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
    if (clip_api_take(call, CLIP_API_SEARCH, &asked, out) && complete_query(call, &asked, out)) {
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
