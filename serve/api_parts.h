/* What the api's files share: a request on its way to its answer, and what it asks for. */
#ifndef CLIP_SERVE_API_PARTS_H
#define CLIP_SERVE_API_PARTS_H

#include <pthread.h>

#include "core/json.h"
#include "search/query.h"
#include "search/search.h"
#include "serve/api.h"
#include "serve/catalogue.h"
#include "serve/store.h"

struct clip_api {
    const struct clip_embedder *embedder;
    struct clip_catalogue *catalogue;
    struct clip_store *store;
    int threads;
    pthread_mutex_t computing; /* one query at a time has all the threads */
};

struct clip_api_call { /* one request */
    struct clip_api *api;
    struct clip_api_request request;
    const char *rest;               /* of the path, behind the route's */
    const struct clip_shown *shown; /* the index as it was when the request came */
    const struct clip_index *index; /* shown's */
};

/* ---- parameters (api_parameters.c) ---- */

/* Those that take parameters. */
enum clip_api_request_kind {
    CLIP_API_IMAGES = 1,
    CLIP_API_SEARCH = 2,
    CLIP_API_CLASSIFY = 4,
    CLIP_API_DETAIL = 8,
};
enum clip_api_order { CLIP_API_FIRST_ORDER, CLIP_API_NEWEST, CLIP_API_OLDEST };

struct clip_api_asked {
    struct clip_query query; /* text, minus, like, unlike, image */
    const char *labels[CLIP_API_LABELS];
    int64_t label_count;
    const char *under, *template; /* NULL: not given */
    int64_t offset, limit;
    enum clip_api_order order; /* not the first: by date */
    double least;              /* similarity; -INFINITY: any */
};
/* Fills *out with those of the call's parameters that such a request takes, each checked before
 * anything is computed; the others are ignored, so that a link of another version still opens.
 * The image in the body, where there is one, is a part of the query. false where one is wrong:
 * *response refuses it by its name. Release *out in either case. */
bool clip_api_take(const struct clip_api_call *call, enum clip_api_request_kind kind,
                   struct clip_api_asked *out, struct clip_api_response *response);
void clip_api_asked_release(struct clip_api_asked *asked);

/* Digits alone; -1 for anything else. */
int64_t clip_api_number(const char *text);
/* *row = the row of image `number`; false with *out filled where there is none (any more). `key`:
 * the parameter that asks, "" for none. */
bool clip_api_find_row(const struct clip_api_call *call, const char *key, int64_t number,
                       int64_t *row, struct clip_api_response *out);

/* ---- answers (api.c) ---- */

/* Answers 200 with the value, which is released. */
void clip_api_answer_json(struct clip_api_response *out, json_t *value);
/* A failure further down. `sent`: the data that failed was sent with the request, so it is the
 * visitor's fault; the rest is ours. */
void clip_api_refuse_failure(struct clip_api_response *out, bool sent,
                             const struct clip_error *error);

/* ---- requests ---- */

void clip_api_about(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_images(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_search(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_detail(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_classify(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_thumbnail(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_image(const struct clip_api_call *call, struct clip_api_response *out);
void clip_api_file(const struct clip_api_call *call, struct clip_api_response *out);

#endif
