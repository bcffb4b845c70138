#include "serve/api.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/threads.h"
#include "data/image/image.h"
#include "eval/template_sets.h"
#include "eval/zeroshot.h"
#include "search/query.h"
#include "search/search.h"
#include "serve/catalogue.h"
#include "serve/store.h"

static const size_t CACHE_BYTES = (size_t)96 << 20;

struct clip_api {
    const struct clip_embedder *embedder;
    struct clip_catalogue *catalogue;
    struct clip_store *store;
    int threads;
    pthread_mutex_t computing; /* one query at a time has all the threads */
};

struct answering { /* one request */
    struct clip_api *api;
    const struct clip_shown *shown; /* the index as it was when the request came */
    const struct clip_index *index; /* shown's */
};

/* A request's parameters, each of which is checked before anything is computed. */
struct asked {
    const char *texts[CLIP_API_LABELS]; /* of text and minus, or labels */
    double signs[CLIP_API_LABELS];
    int64_t text_count;
    int64_t images[CLIP_API_TERMS]; /* rows of like and unlike, or of `image` */
    double image_signs[CLIP_API_TERMS];
    int64_t image_count;
    const char *under, *template;
    int64_t offset, limit;
};

/* ---- starting ---- */

clip_status clip_api_create(struct clip_api **out, const char *path,
                            const struct clip_embedder *embedder, int threads,
                            struct clip_error *error)
{
    clip_status status;
    struct clip_api *api = NULL;
    CLIP_NEW(api, 1);
    pthread_mutex_init(&api->computing, NULL);
    api->embedder = embedder;
    api->threads = threads;
    CLIP_TRY(clip_catalogue_create(&api->catalogue, path, embedder, error));
    CLIP_TRY(clip_store_create(&api->store, CLIP_API_PIXELS, CACHE_BYTES, error));
    *out = api;
out:
    if (status != CLIP_OK) clip_api_free(api);
    return status;
}

void clip_api_free(struct clip_api *api)
{
    if (api == NULL) return;
    clip_store_free(api->store);
    clip_catalogue_free(api->catalogue);
    pthread_mutex_destroy(&api->computing);
    free(api);
}

int64_t clip_api_count(struct clip_api *api)
{
    const struct clip_shown *shown = clip_catalogue_take(api->catalogue);
    int64_t count = shown->index.live;
    clip_catalogue_give(api->catalogue, shown);
    return count;
}

/* ---- answers ---- */

static void answer_json(struct clip_api_response *out, int code, json_t *value)
{
    struct clip_error ignored;
    out->code = code;
    out->type = "application/json";
    out->body.size = 0;
    if (value == NULL || clip_json_append(&out->body, value, &ignored) != CLIP_OK) out->code = 500;
    json_decref(value);
}

void clip_api_refuse(struct clip_api_response *out, int code, const char *format, ...)
{
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_t *sentence = json_string(text);
    answer_json(out, code,
                json_pack("{s:o}", "error",
                          sentence != NULL ? sentence : json_string("that is not UTF-8")));
}

/* A failure further down: data that was sent is the visitor's fault, the rest is ours. */
static void refuse_failure(struct clip_api_response *out, bool sent, const struct clip_error *error)
{
    int code = error->status == CLIP_ERR_USAGE ? 400 : 500;
    if (error->status == CLIP_ERR_FORMAT || error->status == CLIP_ERR_DATA) code = sent ? 422 : 410;
    if (error->status == CLIP_ERR_NOT_FOUND || error->status == CLIP_ERR_IO) code = 410;
    clip_api_refuse(out, code, "%s", error->message);
}

static json_t *result_of(const struct answering *a, const struct clip_hit *hit, bool scored)
{
    json_t *item = json_pack("{s:I, s:s}", "number", (json_int_t)(a->shown->first + hit->number),
                             "path", clip_index_name(a->index, hit->number));
    if (scored) json_object_set_new(item, "score", json_real((double)hit->score));
    return item;
}

/* ---- parameters ---- */

/* Digits alone, at most `most`; -1 for anything else. */
static int64_t parse_number(const char *text, int64_t most)
{
    size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 15 || text[digits] != '\0') return -1;
    int64_t value = strtoll(text, NULL, 10);
    return value <= most ? value : -1;
}

/* *row = the image's row; false with *out filled where there is none (any more). `key`: what was
 * asked with, "" for nothing. */
static bool find_row(const struct answering *a, const char *key, int64_t number, int64_t *row,
                     struct clip_api_response *out)
{
    const char *colon = key[0] != '\0' ? ": " : "";
    *row = number - a->shown->first;
    if (number < a->shown->first)
        clip_api_refuse(out, 410,
                        "%s%sthe index was put together anew since image %" PRId64
                        " was shown; load the page again",
                        key, colon, number);
    else if (*row >= a->index->count || a->shown->all.skip[*row])
        clip_api_refuse(out, 404, "%s%sthere is no image %" PRId64 " in the index", key, colon,
                        number);
    else
        return true;
    return false;
}

static bool take_text(struct asked *q, const char *key, const char *value, int64_t most,
                      struct clip_api_response *out)
{
    size_t n = strlen(value);
    json_t *string = n <= CLIP_API_TEXT_BYTES ? json_string(value) : NULL; /* NULL: no UTF-8 */
    json_decref(string);
    if (q->text_count == most) {
        clip_api_refuse(out, 400, "%s: more than %lld of them; leave some out", key,
                        (long long)most);
    } else if (string == NULL || n == 0) {
        clip_api_refuse(out, 400, "%s: expected a text of 1 to %d bytes of UTF-8", key,
                        CLIP_API_TEXT_BYTES);
    } else {
        q->signs[q->text_count] = strcmp(key, "minus") == 0 ? -1 : 1;
        q->texts[q->text_count++] = value;
        return true;
    }
    return false;
}

static bool take_image(const struct answering *a, struct asked *q, const char *key,
                       const char *value, int64_t most, struct clip_api_response *out)
{
    int64_t number = parse_number(value, INT64_MAX), row;
    if (q->image_count == most)
        clip_api_refuse(out, 400, "%s: more than %lld images; leave some out", key,
                        (long long)most);
    else if (number < 0)
        clip_api_refuse(out, 400, "%s: expected an image's number", key);
    else if (find_row(a, key, number, &row, out)) {
        q->image_signs[q->image_count] = strcmp(key, "unlike") == 0 ? -1 : 1;
        q->images[q->image_count++] = row;
        return true;
    }
    return false;
}

/* Reads those of the parameters that `known` (words between blanks) names; false with *out filled
 * where one is wrong. */
static bool take_parameters(const struct answering *a, const struct clip_api_request *r,
                            const char *known, struct asked *q, struct clip_api_response *out)
{
    *q = (struct asked){.limit = 60};
    for (int64_t i = 0; i < r->parameter_count; i++) {
        const char *key = r->parameters[i].key, *value = r->parameters[i].value;
        const char *place = strstr(known, key);
        size_t n = strlen(key);
        if (n == 0 || strchr(key, ' ') != NULL || place == NULL || place[n] != ' ' ||
            place[-1] != ' ') {
            clip_api_refuse(out, 400, "there is no parameter \"%.60s\" here; there are:%s", key,
                            known);
            return false;
        }
        if (strcmp(key, "text") == 0 || strcmp(key, "minus") == 0) {
            if (!take_text(q, key, value, CLIP_API_TERMS, out)) return false;
        } else if (strcmp(key, "label") == 0) {
            if (!take_text(q, key, value, CLIP_API_LABELS, out)) return false;
        } else if (strcmp(key, "image") == 0) {
            if (!take_image(a, q, key, value, 1, out)) return false;
        } else if (strcmp(key, "like") == 0 || strcmp(key, "unlike") == 0) {
            if (!take_image(a, q, key, value, CLIP_API_TERMS, out)) return false;
        } else if (strcmp(key, "under") == 0 || strcmp(key, "template") == 0) {
            if (strlen(value) > CLIP_API_TEXT_BYTES) {
                clip_api_refuse(out, 400, "%s: longer than %d bytes", key, CLIP_API_TEXT_BYTES);
                return false;
            }
            if (key[0] == 'u')
                q->under = value;
            else
                q->template = value;
        } else {
            int64_t number = parse_number(value, key[0] == 'l' ? CLIP_API_LIMIT : INT64_MAX);
            if (number < 0 || (key[0] == 'l' && number == 0)) {
                clip_api_refuse(out, 400, "%s: expected a whole number%s", key,
                                key[0] == 'l' ? " from 1 to 200" : "");
                return false;
            }
            if (key[0] == 'l')
                q->limit = number;
            else
                q->offset = number;
        }
    }
    return true;
}

/* ---- lists ---- */

static void answer_about(const struct answering *a, const struct clip_api_request *r,
                         struct clip_api_response *out)
{
    struct asked q;
    if (!take_parameters(a, r, " ", &q, out)) return;
    json_t *folders = json_array();
    for (int64_t i = 0; i < a->shown->folder_count; i++)
        json_array_append_new(folders, json_pack("{s:s, s:I}", "path", a->shown->folders[i].path,
                                                 "count", (json_int_t)a->shown->folders[i].count));
    answer_json(out, 200,
                json_pack("{s:I, s:I, s:s, s:s, s:I, s:o}", "count", (json_int_t)a->index->live,
                          "version", (json_int_t)a->shown->version, "model", a->index->model,
                          "precision", clip_index_precision_name(a->index->precision), "dim",
                          (json_int_t)a->index->dim, "folders", folders));
}

/* The rows that take part: all of them, or those under a folder (*own is then to be released). */
static clip_status choose_filter(const struct answering *a, const struct asked *q,
                                 struct clip_search_filter *own,
                                 const struct clip_search_filter **out, struct clip_error *error)
{
    *own = (struct clip_search_filter){0};
    *out = &a->shown->all;
    if (q->under == NULL || q->under[0] == '\0') return CLIP_OK;
    *out = own;
    return clip_search_filter_make(own, a->index, &q->under, 1, error);
}

static void answer_images(const struct answering *a, const struct clip_api_request *r,
                          struct clip_api_response *out)
{
    struct asked q;
    struct clip_error error;
    struct clip_search_filter own;
    const struct clip_search_filter *filter;
    if (!take_parameters(a, r, " offset limit under ", &q, out)) return;
    if (choose_filter(a, &q, &own, &filter, &error) != CLIP_OK) {
        refuse_failure(out, false, &error);
        return;
    }
    json_t *results = json_array();
    int64_t seen = 0;
    for (int64_t row = 0; row < a->index->count && seen < q.offset + q.limit; row++) {
        struct clip_hit hit = {row, 0};
        if (filter->skip[row]) continue;
        if (seen++ >= q.offset) json_array_append_new(results, result_of(a, &hit, false));
    }
    answer_json(out, 200,
                json_pack("{s:I, s:I, s:o}", "total", (json_int_t)filter->left, "offset",
                          (json_int_t)q.offset, "results", results));
    clip_search_filter_release(&own);
}

/* ---- search ---- */

static clip_status make_query(const struct asked *q, const struct clip_api_request *r,
                              struct clip_query *query, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < q->text_count; i++)
        CLIP_TRY(clip_query_add_text(query, q->texts[i], q->signs[i] < 0, error));
    for (int64_t i = 0; i < q->image_count; i++)
        CLIP_TRY(clip_query_add_row(query, q->images[i], q->image_signs[i] < 0, error));
    if (r->body_size > 0) CLIP_TRY(clip_query_add_bytes(query, r->body, r->body_size, error));
out:
    return status;
}

static clip_status search(const struct answering *a, const struct asked *q,
                          const struct clip_api_request *r, json_t **answer,
                          struct clip_error *error)
{
    clip_status status;
    struct clip_search_filter own = {0};
    const struct clip_search_filter *filter;
    struct clip_hit *hits = NULL;
    struct clip_query query = {0};
    float *row = NULL;
    int64_t found = 0;
    json_t *results = NULL;
    CLIP_TRY(choose_filter(a, q, &own, &filter, error));
    CLIP_NEW(hits, q->offset + q->limit);
    CLIP_NEW(row, a->index->dim);
    CLIP_TRY(make_query(q, r, &query, error));
    CLIP_TRY(clip_query_resolve(&query, a->api->embedder, a->index, row, error));
    CLIP_TRY(clip_index_search(a->index, filter, row, q->offset + q->limit, hits, &found, error));
    results = json_array();
    for (int64_t i = q->offset; i < found; i++)
        json_array_append_new(results, result_of(a, &hits[i], true));
    int64_t total = filter->left < CLIP_API_DEPTH ? filter->left : CLIP_API_DEPTH;
    *answer = json_pack("{s:I, s:I, s:I, s:o}", "total", (json_int_t)total, "searched",
                        (json_int_t)filter->left, "offset", (json_int_t)q->offset, "results",
                        results);
out:
    clip_search_filter_release(&own);
    clip_query_release(&query);
    free(hits);
    free(row);
    return status;
}

static void answer_search(const struct answering *a, const struct clip_api_request *r,
                          struct clip_api_response *out)
{
    struct asked q;
    struct clip_error error;
    json_t *answer = NULL;
    if (!take_parameters(a, r, " text minus like unlike under offset limit ", &q, out)) return;
    if (q.text_count + q.image_count == 0 && r->body_size == 0) {
        clip_api_refuse(out, 400, "say what to look for: text, like, or an image in the body");
        return;
    }
    if (q.offset + q.limit > CLIP_API_DEPTH) {
        clip_api_refuse(out, 400, "offset: only the first %d results can be seen", CLIP_API_DEPTH);
        return;
    }
    pthread_mutex_lock(&a->api->computing);
    clip_status status = search(a, &q, r, &answer, &error);
    pthread_mutex_unlock(&a->api->computing);
    if (status != CLIP_OK)
        refuse_failure(out, true, &error);
    else
        answer_json(out, 200, answer);
}

/* ---- classifying ---- */

/* Each label in the template, embedded: rows [labels,dim]. */
static clip_status embed_labels(const struct answering *a, const struct asked *q, float *rows,
                                struct clip_error *error)
{
    clip_status status;
    struct clip_templates templates = {0};
    const char *line = q->template != NULL && q->template[0] ? q->template : "a photo of a {}";
    CLIP_TRY(clip_template_one(line, &templates, error));
    CLIP_TRY(clip_zeroshot_classifier(a->api->embedder, (char *const *)(uintptr_t)q->texts,
                                      q->text_count, &templates, rows, error));
out:
    clip_templates_release(&templates);
    return status;
}

/* p [labels] as clip_embedder_probabilities has it. */
static clip_status classify(const struct answering *a, const struct asked *q,
                            const struct clip_api_request *r, double *p, struct clip_error *error)
{
    clip_status status;
    int64_t dim = a->index->dim, n = q->text_count;
    struct clip_query asked = {0};
    float *rows = NULL, *image = NULL;
    CLIP_NEW(rows, n * dim);
    CLIP_NEW(image, dim);
    CLIP_TRY(embed_labels(a, q, rows, error));
    CLIP_TRY(q->image_count > 0 ? clip_query_add_row(&asked, q->images[0], false, error)
                                : clip_query_add_bytes(&asked, r->body, r->body_size, error));
    CLIP_TRY(clip_query_embed(&asked, a->api->embedder, a->index, image, NULL, error));
    clip_similarity(p, image, 1, rows, n, dim);
    clip_embedder_probabilities(a->api->embedder, p, 1, n);
out:
    clip_query_release(&asked);
    free(rows);
    free(image);
    return status;
}

static void answer_classify(const struct answering *a, const struct clip_api_request *r,
                            struct clip_api_response *out)
{
    struct asked q;
    struct clip_error error;
    double p[CLIP_API_LABELS];
    if (!take_parameters(a, r, " image label template ", &q, out)) return;
    if (q.text_count == 0 || (q.image_count == 1) == (r->body_size > 0)) {
        clip_api_refuse(out, 400,
                        "give at least one label, and one image: its number, or in the "
                        "body");
        return;
    }
    pthread_mutex_lock(&a->api->computing);
    clip_status status = classify(a, &q, r, p, &error);
    pthread_mutex_unlock(&a->api->computing);
    if (status != CLIP_OK) {
        refuse_failure(out, true, &error);
        return;
    }
    json_t *labels = json_array();
    for (int64_t i = 0; i < q.text_count; i++)
        json_array_append_new(labels,
                              json_pack("{s:s, s:f}", "label", q.texts[i], "probability", p[i]));
    answer_json(out, 200, json_pack("{s:o}", "labels", labels));
}

/* ---- images ---- */

/* The content type of an image file, NULL for what is none. */
static const char *image_type(const struct clip_buffer *file)
{
    static const struct {
        const char *start, *type;
        size_t n;
    } kinds[] = {
        {"\xff\xd8\xff", "image/jpeg", 3},
        {"\x89PNG\r\n\x1a\n", "image/png", 8},
        {"GIF8", "image/gif", 4},
        {"BM", "image/bmp", 2},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (file->size > kinds[i].n && memcmp(file->data, kinds[i].start, kinds[i].n) == 0)
            return kinds[i].type;
    if (file->size > 12 && memcmp(file->data, "RIFF", 4) == 0 &&
        memcmp(file->data + 8, "WEBP", 4) == 0)
        return "image/webp";
    return NULL;
}

static void answer_image(const struct answering *a, const struct clip_api_request *r,
                         const char *text, bool small, struct clip_api_response *out)
{
    struct clip_error error;
    int64_t number = parse_number(text, INT64_MAX), row;
    if (number < 0) {
        clip_api_refuse(out, 400, "an image is asked for by its number, as in /image/12");
        return;
    }
    if (!find_row(a, "", number, &row, out)) return;
    const struct clip_index_segment *s = clip_index_segment_of(a->index, row);
    snprintf(out->etag, sizeof out->etag, "\"%016" PRIx64 "%s\"",
             (uint64_t)s->hashes[row - s->first], small ? "t" : "");
    if (r->etag != NULL && strcmp(r->etag, out->etag) == 0) {
        out->code = 304;
        return;
    }
    clip_status status =
        small ? clip_store_thumbnail(a->api->store, a->index, row, &out->body, &error)
              : clip_store_image(a->api->store, a->index, row, &out->body, &error);
    if (status != CLIP_OK) {
        out->etag[0] = '\0';
        refuse_failure(out, false, &error);
        return;
    }
    out->code = 200;
    out->type = small ? clip_image_small_type : image_type(&out->body);
    if (out->type != NULL) return;
    out->etag[0] = '\0';
    clip_api_refuse(out, 410,
                    "image %" PRId64 " is no image any more; bring the index up to "
                    "date",
                    number);
}

/* ---- all of them ---- */

static void answer_file(const struct clip_page_file *file, struct clip_api_response *out)
{
    struct clip_error error;
    out->code = 200;
    out->type = file->type;
    if (clip_buffer_append(&out->body, file->data, file->size, &error) != CLIP_OK)
        refuse_failure(out, false, &error);
}

/* Is the method one of those that the path takes? */
static bool takes(const struct clip_api_request *r, bool post, struct clip_api_response *out)
{
    if (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0) return true;
    if (post && strcmp(r->method, "POST") == 0) {
        if (r->body_size > 0) return true;
        clip_api_refuse(out, 400, "the body is empty; send an image's bytes in it");
        return false;
    }
    clip_api_refuse(out, 405, "%.20s is not done here", r->method);
    out->allow = post ? "GET, HEAD, POST" : "GET, HEAD";
    return false;
}

void clip_api_answer(struct clip_api *api, const struct clip_api_request *request,
                     struct clip_api_response *out)
{
    struct clip_api_request r = *request;
    *out = (struct clip_api_response){0};
    bool post = strcmp(r.path, "/api/search") == 0 || strcmp(r.path, "/api/classify") == 0;
    if (!takes(&r, post, out)) return;
    if (strcmp(r.method, "POST") != 0) r.body_size = 0;
    clip_threads_set(api->threads);
    for (const struct clip_page_file *file = clip_page_files; file->path != NULL; file++)
        if (strcmp(r.path, file->path) == 0) {
            answer_file(file, out);
            return;
        }
    struct answering a = {.api = api, .shown = clip_catalogue_take(api->catalogue)};
    a.index = &a.shown->index;
    if (strcmp(r.path, "/api/about") == 0)
        answer_about(&a, &r, out);
    else if (strcmp(r.path, "/api/images") == 0)
        answer_images(&a, &r, out);
    else if (strcmp(r.path, "/api/search") == 0)
        answer_search(&a, &r, out);
    else if (strcmp(r.path, "/api/classify") == 0)
        answer_classify(&a, &r, out);
    else if (strncmp(r.path, "/thumbnail/", 11) == 0)
        answer_image(&a, &r, r.path + 11, true, out);
    else if (strncmp(r.path, "/image/", 7) == 0)
        answer_image(&a, &r, r.path + 7, false, out);
    else
        clip_api_refuse(out, 404, "there is nothing here; the page is at /");
    clip_catalogue_give(api->catalogue, a.shown);
}
