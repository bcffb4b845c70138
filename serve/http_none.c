#include "serve/http.h"

const bool clip_http_built_in = false;

clip_status clip_http_start(struct clip_http **out, struct clip_api *api, const char *address,
                            int port, struct clip_error *error)
{
    (void)api;
    (void)address;
    (void)port;
    *out = 0;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "this clip_search was built without libmicrohttpd, so it serves no page; "
                     "install libmicrohttpd-dev and build again");
}

int clip_http_port(const struct clip_http *http)
{
    (void)http;
    return 0;
}

void clip_http_sweep(struct clip_http *http) { (void)http; }

void clip_http_stop(struct clip_http *http) { (void)http; }
