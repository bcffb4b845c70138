#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/progress.h"
#include "serve/http.h"
#include "serve/visitors.h"

const bool clip_http_built_in = true;

/* libmicrohttpd's own limit stands this many times above ours: it only stops to accept, which keeps
 * the newest out, and it divides its limit among its threads. */
enum { LIBRARY_LIMIT = 4 };

struct clip_http {
    struct MHD_Daemon *daemon;
    struct clip_api *api;
    struct clip_visitors *visitors;
    bool loopback;
};

struct exchange { /* one request on its way in */
    struct clip_buffer body;
    bool too_large;
};

/* ---- a request ---- */

struct parameters {
    struct clip_api_parameter *items;
    int64_t count, capacity;
    bool refused; /* a NUL byte, or no memory */
};

static enum MHD_Result take_parameter(void *context, enum MHD_ValueKind kind, const char *key,
                                      size_t key_size, const char *value, size_t value_size)
{
    struct parameters *p = context;
    struct clip_error ignored;
    (void)kind;
    if (value == NULL) value = "", value_size = 0;
    if (key == NULL || strlen(key) != key_size || strlen(value) != value_size ||
        clip_array_grow(&p->items, &p->capacity, p->count + 1, sizeof *p->items, &ignored) !=
            CLIP_OK) {
        p->refused = true;
        return MHD_NO;
    }
    p->items[p->count++] = (struct clip_api_parameter){key, value};
    return MHD_YES;
}

/* "localhost:8080" names this machine, as do 127.0.0.1 and [::1]. */
static bool is_own_host(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) != 0) continue;
        const char *rest = host + n;
        if (*rest == ':') rest += 1 + strspn(rest + 1, "0123456789");
        if (*rest == '\0') return true;
    }
    return false;
}

/* Does the request come from our page, or from somebody who typed the address? */
static bool is_welcome(const struct clip_http *http, struct MHD_Connection *connection)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    const char *site = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
    if (http->loopback && (host == NULL || !is_own_host(host))) return false;
    if (site != NULL && strcmp(site, "cross-site") == 0) return false;
    if (origin == NULL) return true;
    const char *at = strstr(origin, "://");
    return host != NULL && at != NULL && strcasecmp(at + 3, host) == 0;
}

/* ---- the answer ---- */

static const struct {
    const char *name, *value;
} headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
     "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

/* value NULL: there is no such header. */
static bool add_header(struct MHD_Response *response, const char *name, const char *value)
{
    return value == NULL || MHD_add_response_header(response, name, value) == MHD_YES;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct clip_api_response *r)
{
    /* libmicrohttpd frees the bytes by free(), as clip_buffer does. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(r->body.size, r->body.data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        clip_buffer_release(&r->body);
        return MHD_NO;
    }
    bool whole = true; /* no answer goes out without its headers */
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        whole = whole && add_header(response, headers[i].name, headers[i].value);
    whole = whole && add_header(response, "Content-Type", r->type) &&
            add_header(response, "Allow", r->allow) &&
            add_header(response, "ETag", r->etag[0] != '\0' ? r->etag : NULL) &&
            add_header(response, "Cache-Control",
                       r->etag[0] != '\0' ? "private, max-age=600" : "no-store");
    enum MHD_Result queued = whole ? MHD_queue_response(connection, (unsigned)r->code, response)
                                   : MHD_NO;
    MHD_destroy_response(response);
    return queued;
}

/* Everything of the request is there. */
static enum MHD_Result answer(struct clip_http *http, struct MHD_Connection *connection,
                              const char *path, const char *method, struct exchange *x)
{
    struct clip_api_response response = {0};
    struct parameters parameters = {0};
    MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, take_parameter, &parameters);
    const struct clip_api_request request = {
        .method = method,
        .path = path,
        .parameters = parameters.items,
        .parameter_count = parameters.count,
        .body = x->body.data,
        .body_size = x->body.size,
        .etag = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match"),
    };
    if (!is_welcome(http, connection))
        clip_api_refuse(&response, 403, "this page is asked from this machine alone");
    else if (x->too_large)
        clip_api_refuse(&response, 413, "the body is larger than the %d MB that are taken",
                        CLIP_API_BODY >> 20);
    else if (parameters.refused)
        clip_api_refuse(&response, 400, "a parameter holds a zero byte");
    else
        clip_api_answer(http->api, &request, &response);
    free(parameters.items);
    return send_answer(connection, &response);
}

static struct clip_visitor *visitor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

/* A connection begins, or is about to be closed. *visitor is ours to keep with it. */
static void on_visitor(void *context, struct MHD_Connection *connection, void **visitor,
                       enum MHD_ConnectionNotificationCode what)
{
    struct clip_http *http = context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        clip_visitors_leave(http->visitors, *visitor);
        *visitor = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL) return;
    int fd = info->connect_fd;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *visitor = clip_visitors_enter(http->visitors, fd, info != NULL ? info->client_addr : NULL,
                                   clip_seconds());
}

/* What libmicrohttpd calls: once when the headers are there, for each piece of the body, and a last
 * time without one. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *size, void **state)
{
    struct clip_http *http = context;
    struct exchange *x = *state;
    struct clip_error ignored;
    (void)version;
    if (x == NULL) {
        x = calloc(1, sizeof *x);
        if (x == NULL) return MHD_NO;
        clip_visitors_turn(http->visitors, visitor_of(connection), CLIP_VISITOR_BODY,
                           clip_seconds());
        *state = x;
        return MHD_YES;
    }
    if (*size > 0) {
        if (x->body.size + *size > CLIP_API_BODY ||
            clip_buffer_append(&x->body, data, *size, &ignored) != CLIP_OK) {
            x->too_large = true; /* the rest is read and thrown away, so that the answer arrives */
            x->body.size = 0;
        }
        *size = 0;
        return MHD_YES;
    }
    clip_visitors_turn(http->visitors, visitor_of(connection), CLIP_VISITOR_ANSWER, clip_seconds());
    return answer(http, connection, path, method, x);
}

static void on_end(void *context, struct MHD_Connection *connection, void **state,
                   enum MHD_RequestTerminationCode code)
{
    struct clip_http *http = context;
    struct exchange *x = *state;
    (void)code;
    clip_visitors_turn(http->visitors, visitor_of(connection), CLIP_VISITOR_HEADERS,
                       clip_seconds());
    if (x != NULL) clip_buffer_release(&x->body);
    free(x);
    *state = NULL;
}

/* ---- starting and stopping ---- */

union listener {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

/* 127.0.0.1, ::1, 0.0.0.0, ... */
static bool parse_address(const char *address, int port, union listener *out, bool *loopback)
{
    *out = (union listener){0};
    if (inet_pton(AF_INET, address, &out->four.sin_addr) == 1) {
        out->four.sin_family = AF_INET;
        out->four.sin_port = htons((uint16_t)port);
        *loopback = ntohl(out->four.sin_addr.s_addr) >> 24 == 127;
        return true;
    }
    if (inet_pton(AF_INET6, address, &out->six.sin6_addr) != 1) return false;
    out->six.sin6_family = AF_INET6;
    out->six.sin6_port = htons((uint16_t)port);
    *loopback = IN6_IS_ADDR_LOOPBACK(&out->six.sin6_addr);
    return true;
}

/* The library's own messages are about visitors who hung up. */
static void ignore_message(void *context, const char *format, va_list arguments)
{
    (void)context;
    (void)format;
    (void)arguments;
}

clip_status clip_http_start(struct clip_http **out, struct clip_api *api, const char *address,
                            int port, struct clip_error *error)
{
    union listener at;
    bool loopback;
    if (!parse_address(address, port, &at, &loopback))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "\"%s\" is no address; expected digits, as in 127.0.0.1 or ::1", address);
    struct clip_http *http = clip_array_new(1, sizeof *http, error);
    if (http == NULL) return CLIP_ERR_MEMORY;
    http->api = api;
    http->loopback = loopback;
    if (clip_visitors_create(&http->visitors, error) != CLIP_OK) {
        free(http);
        return CLIP_ERR_MEMORY;
    }
    /* poll, since with epoll the library keeps a visitor who broke off until the time is over. */
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    if (at.any.sa_family == AF_INET6) flags |= MHD_USE_IPv6;
    errno = 0;
    http->daemon = MHD_start_daemon(
        flags, (uint16_t)port, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER,
        ignore_message, NULL, MHD_OPTION_SOCK_ADDR, &at.any, MHD_OPTION_NOTIFY_COMPLETED, on_end,
        http, MHD_OPTION_NOTIFY_CONNECTION, on_visitor, http, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(LIBRARY_LIMIT * CLIP_HTTP_CONNECTIONS), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)CLIP_HTTP_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CLIP_HTTP_HEADER_BYTES, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)CLIP_HTTP_THREADS,
        MHD_OPTION_END);
    if (http->daemon == NULL) {
        int reason = errno;
        clip_visitors_free(http->visitors);
        free(http);
        return clip_fail(error, CLIP_ERR_IO,
                         "%s, port %d, cannot be listened on%s%s; is another server there? Choose "
                         "another --port",
                         address, port, reason != 0 ? ": " : "",
                         reason != 0 ? strerror(reason) : "");
    }
    *out = http;
    return CLIP_OK;
}

int clip_http_port(const struct clip_http *http)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info != NULL ? info->port : 0;
}

void clip_http_sweep(struct clip_http *http)
{
    clip_visitors_sweep(http->visitors, clip_seconds());
}

void clip_http_stop(struct clip_http *http)
{
    if (http == NULL) return;
    MHD_stop_daemon(http->daemon);
    clip_visitors_free(http->visitors);
    free(http);
}
