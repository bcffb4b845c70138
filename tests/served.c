#include "tests/served.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "search/index_update.h"
#include "tests/small_model.h"

void served_open(struct served *s)
{
    *s = (struct served){.folder = test_folder(), .path = test_path(test_folder(), "a.index")};
    struct clip_error error;
    struct clip_index_options options = {.quiet = true, .segment_rows = 5};
    struct clip_index_changes changes;
    char name[16];
    if (!clip_http_built_in) test_skip("built without libmicrohttpd");
    for (int i = 0; i < SERVED_IMAGES; i++) {
        snprintf(name, sizeof name, "%02d.png", i);
        small_image(s->folder, name, i == 5 ? 700 : 40, 30, (uint64_t)i);
    }
    s->file = small_model(1);
    test_ok(clip_model_file_sum(s->file, &error), &error);
    test_ok(clip_embedder_create(&s->e, s->file, NULL, &error), &error);
    for (int round = 0; round < 2; round++) {
        test_ok(clip_index_update_images(s->path, s->e, &s->folder, 1, &options, &changes, &error),
                &error);
        unlink(test_path(s->folder, "03.png"));
    }
    assert_int_equal(changes.count, SERVED_IMAGES - 1);
    test_ok(clip_index_open(&s->index, s->path, &error), &error);
    test_ok(clip_api_create(&s->api, s->path, s->e, 1, &error), &error);
    test_ok(clip_http_start(&s->http, s->api, "127.0.0.1", 0, &error), &error);
}

void served_close(struct served *s)
{
    clip_http_stop(s->http);
    clip_api_free(s->api);
    clip_index_release(&s->index);
    clip_embedder_free(s->e);
    clip_model_file_free(s->file);
}

/* ---- a client ---- */

int served_connect_for(const struct served *s, struct timeval limit)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)clip_http_port(s->http)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof place), 0);
    return fd;
}

int served_connect(const struct served *s)
{
    return served_connect_for(s, (struct timeval){.tv_sec = 60});
}

/* Is the answer there, as long as it says it is? */
static bool is_whole(struct clip_buffer *all)
{
    size_t length;
    all->data[all->size] = '\0';
    const char *end = strstr(all->data, "\r\n\r\n"), *at = strstr(all->data, "Content-Length: ");
    if (end == NULL || at == NULL || at > end || sscanf(at, "Content-Length: %zu", &length) != 1)
        return false;
    return all->size - (size_t)(end + 4 - all->data) >= length;
}

struct reply served_exchange_on(int fd, const void *bytes, size_t n)
{
    struct reply r = {0};
    struct clip_error error;
    for (size_t at = 0; at < n;) {
        ssize_t sent = send(fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);
        if (sent <= 0) break; /* the server may hang up on what it does not want */
        at += (size_t)sent;
    }
    shutdown(fd, SHUT_WR);
    for (;;) {
        test_ok(clip_buffer_reserve(&r.all, 65536, &error), &error);
        ssize_t got = recv(fd, r.all.data + r.all.size, 65536, 0);
        if (got <= 0) break;
        r.all.size += (size_t)got;
        if (is_whole(&r.all)) break;
    }
    close(fd);
    r.all.data[r.all.size] = '\0';
    if (sscanf(r.all.data, "HTTP/1.%*d %d", &r.code) != 1) r.code = 0;
    const char *body = strstr(r.all.data, "\r\n\r\n");
    if (body != NULL) {
        r.body = body + 4;
        r.body_size = r.all.size - (size_t)(r.body - r.all.data);
    }
    return r;
}

struct reply served_exchange(const struct served *s, const void *bytes, size_t n)
{
    return served_exchange_on(served_connect(s), bytes, n);
}

struct reply served_request(const struct served *s, const char *method, const char *target,
                            const char *headers, const void *body, size_t body_size)
{
    struct clip_buffer out = {0};
    struct clip_error error;
    test_ok(clip_buffer_printf(&out, &error,
                               "%s %s HTTP/1.1\r\nHost: localhost\r\n"
                               "Connection: close\r\n%s",
                               method, target, headers),
            &error);
    if (body_size > 0 || strcmp(method, "POST") == 0)
        test_ok(clip_buffer_printf(&out, &error, "Content-Length: %zu\r\n", body_size), &error);
    test_ok(clip_buffer_append(&out, "\r\n", 2, &error), &error);
    test_ok(clip_buffer_append(&out, body, body_size, &error), &error);
    struct reply r = served_exchange(s, out.data, out.size);
    clip_buffer_release(&out);
    return r;
}

struct reply served_get(const struct served *s, const char *target)
{
    return served_request(s, "GET", target, "", NULL, 0);
}

void reply_expect(const struct reply *r, int code, const char *what)
{
    if (r->code != code)
        test_fail("%s: answered with %d instead of %d: %.300s", what, r->code, code, r->all.data);
}

json_t *reply_json(struct reply *r, const char *what)
{
    struct clip_error error;
    json_t *value = clip_json_parse(r->body, r->body_size, what, &error);
    if (value == NULL) test_fail("%s: %s", what, error.message);
    clip_buffer_release(&r->all);
    return value;
}

json_t *served_json(const struct served *s, const char *target)
{
    struct reply r = served_get(s, target);
    reply_expect(&r, 200, target);
    return reply_json(&r, target);
}

int64_t reply_number(const json_t *answer, size_t i)
{
    const json_t *item = json_array_get(json_object_get(answer, "results"), i);
    return json_integer_value(json_object_get(item, "number"));
}

size_t reply_count(const json_t *answer)
{
    return json_array_size(json_object_get(answer, "results"));
}
