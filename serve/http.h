/* The page's HTTP server: sockets and limits around api.h, by libmicrohttpd (http_microhttpd.c;
 * where that is not there, http_none.c says so). */
#ifndef CLIP_SERVE_HTTP_H
#define CLIP_SERVE_HTTP_H

#include <stdbool.h>

#include "core/status.h"
#include "serve/api.h"

enum {
    CLIP_HTTP_THREADS = 6, /* requests that are worked on at once */
    /* visitors.h says who is cut for whom */
    CLIP_HTTP_CONNECTIONS = 64, /* at once, */
    CLIP_HTTP_PER_ADDRESS = 32, /* of one address */
    CLIP_HTTP_SECONDS = 15, /* from the connection, or the last answer, to the end of headers, */
    CLIP_HTTP_BODY_SECONDS = 60,    /* from there to the end of the body, */
    CLIP_HTTP_ANSWER_SECONDS = 300, /* and until the answer is taken */
    CLIP_HTTP_HEADER_BYTES = 32 << 10,
};

extern const bool clip_http_built_in; /* was it built with libmicrohttpd? */

struct clip_http;
/* Listens on address:port (an IPv4 or IPv6 address in digits; port 0: any free one) and answers
 * from threads of its own until clip_http_stop. Where the address is a loopback one, requests that
 * name another host than this machine are refused (a web page elsewhere cannot ask). */
clip_status clip_http_start(struct clip_http **out, struct clip_api *api, const char *address,
                            int port, struct clip_error *error);
int clip_http_port(const struct clip_http *http);
/* Cuts the connections whose time is over; a new connection does the same. To be called now and
 * then. */
void clip_http_sweep(struct clip_http *http);
/* Ends what is being answered, then closes. NULL is fine. */
void clip_http_stop(struct clip_http *http);

#endif
