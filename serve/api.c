#include "serve/api.h"

#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "serve/api_parts.h"

static const size_t CACHE_BYTES = (size_t)96 << 20;

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

/* ---- requests ---- */

static void answer_file(const struct clip_page_file *file, struct clip_api_response *out)
{
    struct clip_error error;
    out->code = 200;
    out->type = file->type;
    if (clip_buffer_append(&out->body, file->data, file->size, &error) != CLIP_OK)
        clip_api_refuse_failure(out, false, &error);
}

struct route {
    const char *path; /* whole, or its beginning where it ends in '/' */
    bool post;        /* takes a body too */
    void (*answer)(const struct clip_api_call *call, struct clip_api_response *out);
};
static const struct route routes[] = {
    {"/api/about", false, clip_api_about},      {"/api/images", false, clip_api_images},
    {"/api/image", false, clip_api_detail},     {"/api/search", true, clip_api_search},
    {"/api/classify", true, clip_api_classify}, {"/thumbnail/", false, clip_api_thumbnail},
    {"/image/", false, clip_api_image},         {"/file/", false, clip_api_file},
};

/* NULL where there is none. *rest: the path behind the route's. */
static const struct route *find_route(const char *path, const char **rest)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t n = strlen(routes[i].path);
        if (strncmp(path, routes[i].path, n) != 0) continue;
        *rest = path + n;
        if (routes[i].path[n - 1] == '/' || **rest == '\0') return &routes[i];
    }
    return NULL;
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
    struct clip_api_call call = {.api = api, .request = *request};
    const struct route *route = find_route(request->path, &call.rest);
    *out = (struct clip_api_response){0};
    if (!takes(request, route != NULL && route->post, out)) return;
    if (strcmp(request->method, "POST") != 0) call.request.body_size = 0;
    for (const struct clip_page_file *file = clip_page_files; file->path != NULL; file++)
        if (strcmp(request->path, file->path) == 0) {
            answer_file(file, out);
            return;
        }
    if (route == NULL) {
        clip_api_refuse(out, 404, "there is nothing here; the page is at /");
        return;
    }
    clip_threads_set(api->threads);
    call.shown = clip_catalogue_take(api->catalogue);
    call.index = &call.shown->index;
    route->answer(&call, out);
    clip_catalogue_give(api->catalogue, call.shown);
}
