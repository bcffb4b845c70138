/* The page's server: what it answers, over real sockets, to good requests and to thousands of odd
 * ones. The page itself is driven in a browser by tests/page.sh. */
#include "tests/support.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/json.h"
#include "core/rng.h"
#include "data/image/image.h"
#include "search/index_update.h"
#include "search/search.h"
#include "serve/http.h"
#include "serve/store.h"
#include "tests/small_model.h"

enum { IMAGES = 14 };

struct scene {
    const char *folder, *path;
    struct clip_model_file *file;
    struct clip_embedder *e;
    struct clip_index index;
    struct clip_api *api;
    struct clip_http *http;
};

/* A served index of images 0.png .. 13.png; row 3 is removed, and 5.png is wide. */
static void open_scene(struct scene *s)
{
    *s = (struct scene){.folder = test_folder(), .path = test_path(test_folder(), "a.index")};
    struct clip_error error;
    struct clip_index_options options = {.quiet = true, .segment_rows = 5};
    struct clip_index_changes changes;
    char name[16];
    if (!clip_http_built_in) test_skip("built without libmicrohttpd");
    for (int i = 0; i < IMAGES; i++) {
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
    assert_int_equal(changes.count, IMAGES - 1);
    test_ok(clip_index_open(&s->index, s->path, &error), &error);
    test_ok(clip_api_create(&s->api, s->path, s->e, 1, &error), &error);
    test_ok(clip_http_start(&s->http, s->api, "127.0.0.1", 0, &error), &error);
}

static void close_scene(struct scene *s)
{
    clip_http_stop(s->http);
    clip_api_free(s->api);
    clip_index_release(&s->index);
    clip_embedder_free(s->e);
    clip_model_file_free(s->file);
}

/* ---- a client ---- */

/* A client that gives up when nothing comes for so long. */
static int connect_for(const struct scene *s, struct timeval limit)
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

static int connect_to(const struct scene *s)
{
    return connect_for(s, (struct timeval){.tv_sec = 60});
}

/* What comes back until the server closes; code 0: nothing that is HTTP. */
struct reply {
    int code;
    struct clip_buffer all;
    const char *body;
    size_t body_size;
};

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

static struct reply exchange_on(int fd, const void *bytes, size_t n)
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

static struct reply exchange(const struct scene *s, const void *bytes, size_t n)
{
    return exchange_on(connect_to(s), bytes, n);
}

static struct reply request(const struct scene *s, const char *method, const char *target,
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
    struct reply r = exchange(s, out.data, out.size);
    clip_buffer_release(&out);
    return r;
}

static struct reply get(const struct scene *s, const char *target)
{
    return request(s, "GET", target, "", NULL, 0);
}

static void expect(const struct reply *r, int code, const char *what)
{
    if (r->code != code)
        test_fail("%s: answered with %d instead of %d: %.300s", what, r->code, code, r->all.data);
}

/* The answer as JSON; json_decref it. */
static json_t *json_of(struct reply *r, const char *what)
{
    struct clip_error error;
    json_t *value = clip_json_parse(r->body, r->body_size, what, &error);
    if (value == NULL) test_fail("%s: %s", what, error.message);
    clip_buffer_release(&r->all);
    return value;
}

static json_t *get_json(const struct scene *s, const char *target)
{
    struct reply r = get(s, target);
    expect(&r, 200, target);
    return json_of(&r, target);
}

static int64_t number_at(const json_t *answer, size_t i)
{
    const json_t *item = json_array_get(json_object_get(answer, "results"), i);
    return json_integer_value(json_object_get(item, "number"));
}

static size_t results(const json_t *answer)
{
    return json_array_size(json_object_get(answer, "results"));
}

/* ---- good requests ---- */

static void the_page_and_its_parts_are_there(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    static const struct {
        const char *target, *type, *word;
    } parts[] = {
        {"/", "text/html", "<title>"},
        {"/?text=a+dog", "text/html", "<title>"},
        {"/page.css", "text/css", "prefers-color-scheme"},
        {"/page.js", "text/javascript", "/api/search"},
        {"/icon.svg", "image/svg+xml", "<svg"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct reply r = get(&s, parts[i].target);
        expect(&r, 200, parts[i].target);
        assert_non_null(strstr(r.all.data, parts[i].type));
        assert_non_null(strstr(r.body, parts[i].word));
        assert_non_null(strstr(r.all.data, "default-src 'none'"));
        assert_non_null(strstr(r.all.data, "nosniff"));
        clip_buffer_release(&r.all);
    }
    struct reply r = get(&s, "/");
    assert_null(strstr(r.body, "http://"));
    assert_null(strstr(r.body, "https://")); /* nothing from outside */
    clip_buffer_release(&r.all);
    r = request(&s, "HEAD", "/", "", NULL, 0);
    expect(&r, 200, "HEAD /");
    assert_int_equal(r.body_size, 0);
    clip_buffer_release(&r.all);
    close_scene(&s);
}

static void images_come_in_order_and_page_by_page(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    json_t *about = get_json(&s, "/api/about"), *all = get_json(&s, "/api/images");
    assert_int_equal(json_integer_value(json_object_get(about, "count")), IMAGES - 1);
    assert_int_equal(json_array_size(json_object_get(about, "folders")), 1);
    assert_int_equal(json_integer_value(json_object_get(all, "total")), IMAGES - 1);
    assert_int_equal(results(all), IMAGES - 1);
    for (size_t i = 0; i < results(all); i++)
        assert_int_equal(number_at(all, i), (int64_t)(i < 3 ? i : i + 1)); /* 3 is removed */
    json_t *part = get_json(&s, "/api/images?offset=5&limit=4");
    assert_int_equal(results(part), 4);
    assert_int_equal(number_at(part, 0), 6);
    json_t *none = get_json(&s, "/api/images?under=/nowhere"),
           *end = get_json(&s, "/api/images?offset=999999999999");
    assert_int_equal(results(none), 0);
    assert_int_equal(json_integer_value(json_object_get(none, "total")), 0);
    assert_int_equal(results(end), 0);
    json_decref(about);
    json_decref(all);
    json_decref(part);
    json_decref(none);
    json_decref(end);
    close_scene(&s);
}

/* What the server finds is what a search finds. */
static void searching_finds_what_search_finds(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_error error;
    const char *text = "a red circle";
    float rows[2 * 24], query[24];
    const double weights[] = {0.5, -1};
    struct clip_hit hits[IMAGES];
    int64_t found;
    test_ok(clip_embedder_texts(s.e, &text, 1, CLIP_UNIT, rows, NULL, &error), &error);
    clip_index_row(&s.index, 7, rows + 24);
    for (int d = 0; d < 24; d++)
        query[d] = (float)(weights[0] * (double)rows[d] + weights[1] * (double)rows[24 + d]);
    clip_rows_normalise(query, 1, 24);
    test_ok(clip_index_search(&s.index, NULL, query, IMAGES, hits, &found, &error), &error);
    json_t *answer = get_json(&s, "/api/search?text=a%20red+circle%3A%3A0.5&unlike=7&limit=100");
    assert_int_equal(results(answer), found);
    for (size_t i = 0; i < results(answer); i++) {
        const json_t *item = json_array_get(json_object_get(answer, "results"), i);
        assert_int_equal(number_at(answer, i), hits[i].number);
        test_close_f64("score", json_real_value(json_object_get(item, "score")),
                       (double)hits[i].score, 0, 0);
        assert_string_equal(json_string_value(json_object_get(item, "path")),
                            clip_index_name(&s.index, hits[i].number));
    }
    json_decref(answer);
    answer = get_json(&s, "/api/search?text=a%20red+circle%3A%3A0.5&unlike=7&offset=2&limit=3");
    assert_int_equal(results(answer), 3);
    assert_int_equal(number_at(answer, 0), hits[2].number);
    json_decref(answer);
    answer = get_json(&s, "/api/search?like=8&limit=1");
    assert_int_equal(number_at(answer, 0), 8);
    json_decref(answer);
    close_scene(&s);
}

static void a_sent_image_finds_itself_and_is_classified(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_error error;
    struct clip_buffer bytes;
    test_ok(clip_file_read(test_path(s.folder, "09.png"), 1 << 20, &bytes, &error), &error);
    struct reply r = request(&s, "POST", "/api/search?limit=2", "", bytes.data, bytes.size);
    expect(&r, 200, "POST /api/search");
    json_t *answer = json_of(&r, "search");
    assert_int_equal(number_at(answer, 0), 9);
    assert_int_equal(results(answer), 2);
    json_decref(answer);
    const char *targets[] = {"/api/classify?label=a&label=b&label=%C3%A4&image=9",
                             "/api/classify?label=a&label=b&label=%C3%A4"};
    double p[2][3], sum = 0;
    for (int i = 0; i < 2; i++) {
        r = request(&s, i == 0 ? "GET" : "POST", targets[i], "", bytes.data,
                    i == 0 ? 0 : bytes.size);
        expect(&r, 200, targets[i]);
        answer = json_of(&r, "classify");
        for (size_t k = 0; k < 3; k++)
            p[i][k] = json_real_value(json_object_get(
                json_array_get(json_object_get(answer, "labels"), k), "probability"));
        json_decref(answer);
    }
    for (int k = 0; k < 3; k++) {
        test_close_f64("row and bytes", p[1][k], p[0][k], 0, 1e-9);
        sum += p[0][k];
    }
    test_close_f64("sum", sum, 1, 0, 1e-9);
    clip_buffer_release(&bytes);
    close_scene(&s);
}

static void images_and_thumbnails_are_served_by_number(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_error error;
    struct clip_buffer file;
    struct clip_image image = {0};
    const struct clip_image_limits limits = {.max_pixels = 1000000};
    test_ok(clip_file_read(test_path(s.folder, "05.png"), 1 << 20, &file, &error), &error);
    struct reply r = get(&s, "/image/5");
    expect(&r, 200, "/image/5");
    assert_int_equal(r.body_size, file.size);
    assert_memory_equal(r.body, file.data, file.size);
    assert_non_null(strstr(r.all.data, "image/png"));
    clip_buffer_release(&r.all);
    r = get(&s, "/thumbnail/5");
    expect(&r, 200, "/thumbnail/5");
    assert_non_null(strstr(r.all.data, clip_image_small_type));
    test_ok(clip_image_decode((const uint8_t *)r.body, r.body_size, &limits, &image, &error),
            &error);
    assert_int_equal(image.width, CLIP_THUMBNAIL_SIDE);
    assert_int_equal(image.height, 14);
    char etag[64], header[96];
    assert_int_equal(sscanf(strstr(r.all.data, "ETag: "), "ETag: %63s", etag), 1);
    clip_buffer_release(&r.all);
    snprintf(header, sizeof header, "If-None-Match: %s\r\n", etag);
    r = request(&s, "GET", "/thumbnail/5", header, NULL, 0);
    expect(&r, 304, "If-None-Match");
    clip_buffer_release(&r.all);
    clip_image_release(&image);
    clip_buffer_release(&file);
    close_scene(&s);
}

static void thumbnails_in_memory_are_bounded(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_error error;
    struct clip_store *store;
    struct clip_buffer first = {0}, again;
    enum { MOST = 6000 };
    test_ok(clip_store_create(&store, 1000000, MOST, &error), &error);
    for (int round = 0; round < 3; round++)
        for (int64_t i = 0; i < IMAGES; i++) {
            if (i == 3) continue;
            test_ok(clip_store_thumbnail(store, &s.index, i, &again, &error), &error);
            assert_true(clip_store_held(store) <= MOST);
            if (i == 0 && round == 0)
                first = again;
            else if (i == 0)
                assert_memory_equal(again.data, first.data, first.size);
            if (i > 0 || round > 0) clip_buffer_release(&again);
        }
    assert_true(clip_store_held(store) > 0);
    clip_buffer_release(&first);
    clip_store_free(store);
    close_scene(&s);
}

/* Images that were added show without a restart (tests/test_catalogue.c has the rest). Put
 * together anew, rows move: an old number is nobody's, rather than another image's. */
static void a_changed_index_is_noticed(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_error error;
    struct clip_index_options options = {.quiet = true};
    struct clip_index_changes changes;
    small_image(s.folder, "new.png", 40, 30, 77);
    test_ok(clip_index_update_images(s.path, s.e, &s.folder, 1, &options, &changes, &error),
            &error);
    json_t *all = get_json(&s, "/api/images");
    assert_int_equal(results(all), IMAGES);
    assert_int_equal(number_at(all, IMAGES - 1), IMAGES);
    json_decref(all);
    test_ok(clip_index_compact(s.path, &options, &changes, &error), &error);
    static const struct {
        const char *target;
        int code;
        const char *word;
    } asked[] = {
        {"/api/images", 200, "{\"total\":14,\"offset\":0,\"results\":[{\"number\":15,"},
        {"/image/5", 410, "load the page again"},
        {"/api/search?like=5", 410, "like: the index was put together anew"},
        {"/image/28", 200, "image/png"},
        {"/image/29", 404, "no image 29"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct reply r = get(&s, asked[i].target);
        expect(&r, asked[i].code, asked[i].target);
        if (strstr(r.all.data, asked[i].word) == NULL)
            test_fail("%s: %.300s without %s", asked[i].target, r.all.data, asked[i].word);
        clip_buffer_release(&r.all);
    }
    close_scene(&s);
}

/* ---- wrong requests ---- */

static void each_wrong_request_has_its_answer(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    static const struct {
        int code;
        const char *method, *target, *headers, *body;
    } cases[] = {
        {404, "GET", "/nothing", "", ""},
        {404, "GET", "/page.html", "", ""},
        {404, "GET", "/../../etc/passwd", "", ""},
        {404, "GET", "/%2e%2e/%2e%2e/etc/passwd", "", ""},
        {400, "GET", "/image/../../../etc/passwd", "", ""},
        {400, "GET", "/image/%2Fetc%2Fpasswd", "", ""},
        {400, "GET", "/image/", "", ""},
        {400, "GET", "/image/-1", "", ""},
        {400, "GET", "/image/1e0", "", ""},
        {400, "GET", "/image/%201", "", ""},
        {400, "GET", "/image/99999999999999999999", "", ""},
        {404, "GET", "/image/14", "", ""},
        {404, "GET", "/image/3", "", ""}, /* removed */
        {404, "GET", "/thumbnail/999999", "", ""},
        {405, "DELETE", "/image/1", "", ""},
        {405, "PUT", "/", "", "x"},
        {405, "POST", "/api/about", "", "x"},
        {405, "BREW", "/api/search", "", ""},
        {400, "GET", "/api/search", "", ""},
        {400, "POST", "/api/search", "", ""},
        {400, "GET", "/api/search?text=", "", ""},
        {400, "GET", "/api/search?text=%FF", "", ""},
        {400, "GET", "/api/search?text=a%00b", "", ""},
        {400, "GET", "/api/search?like=x", "", ""},
        {404, "GET", "/api/search?like=3", "", ""},
        {400, "GET", "/api/search?text=a&limit=0", "", ""},
        {400, "GET", "/api/search?text=a&limit=201", "", ""},
        {400, "GET", "/api/search?text=a&offset=-1", "", ""},
        {400, "GET", "/api/search?text=a&offset=20000", "", ""},
        {422, "GET", "/api/search?text=a&minus=a", "", ""},
        {422, "POST", "/api/search", "", "this is no image"},
        {422, "POST", "/api/classify?label=a", "", "this is no image"},
        {400, "GET", "/api/classify?label=a", "", ""},
        {400, "GET", "/api/classify?image=1", "", ""},
        {400, "GET", "/api/classify?label=a&image=1&template=a", "", ""},
        {400, "GET", "/api/classify?label=a&image=1&image=2", "", ""},
        {400, "POST", "/api/classify?label=a&image=1", "", "x"},
        {403, "GET", "/", "Origin: http://elsewhere.example\r\n", ""},
        {403, "GET", "/api/about", "Sec-Fetch-Site: cross-site\r\n", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reply r = request(&s, cases[i].method, cases[i].target, cases[i].headers,
                                 cases[i].body, strlen(cases[i].body));
        expect(&r, cases[i].code, cases[i].target);
        if (r.code == 405) assert_non_null(strstr(r.all.data, "Allow: GET, HEAD"));
        json_t *answer = json_of(&r, cases[i].target);
        assert_true(json_is_string(json_object_get(answer, "error")));
        json_decref(answer);
    }
    close_scene(&s);
}

/* A link of another version of the page still opens: what a request does not know it ignores, also
 * where another request would refuse the value. */
static void unknown_parameters_are_ignored(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    static const char *const pairs[][2] = {
        {"/api/about?x=1&limit=none&=", "/api/about"},
        {"/api/images?limit=4&text=&view=wide&image=x", "/api/images?limit=4"},
        {"/api/search?text=a+dog&txet=b&label=&image=x&text%20minus=a&utm_source=mail",
         "/api/search?text=a+dog"},
        {"/api/classify?image=1&label=a&limit=0&like=x&text=", "/api/classify?image=1&label=a"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        json_t *odd = get_json(&s, pairs[i][0]), *plain = get_json(&s, pairs[i][1]);
        assert_true(json_equal(odd, plain));
        json_decref(odd);
        json_decref(plain);
    }
    close_scene(&s);
}

static void a_wrong_value_is_refused_by_its_name(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    static const char *const cases[][2] = {
        {"/api/images?limit=1x", "limit: expected a whole number from 1 to 200"},
        {"/api/images?offset=-1", "offset: expected a whole number"},
        {"/api/search?text=a&limit=201", "limit: expected a whole number from 1 to 200"},
        {"/api/search?minus=%FF", "minus: expected a text of 1 to 1000 bytes of UTF-8"},
        {"/api/search?text=a&unlike=x", "unlike: expected an image's number"},
        {"/api/search?text=a&unlike=3", "unlike: there is no image 3 in the index"},
        {"/api/classify?label=", "label: expected a text of 1 to 1000 bytes of UTF-8"},
        {"/api/classify?label=a&image=1&image=2", "image: at most 1 can be given"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reply r = get(&s, cases[i][0]);
        assert_true(r.code == 400 || r.code == 404);
        json_t *answer = json_of(&r, cases[i][0]);
        assert_string_equal(json_string_value(json_object_get(answer, "error")), cases[i][1]);
        json_decref(answer);
    }
    close_scene(&s);
}

static void another_host_is_not_answered(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    static const struct {
        const char *host;
        int code;
    } cases[] = {
        {"Host: localhost:8080\r\n", 200},
        {"Host: 127.0.0.1\r\n", 200},
        {"Host: [::1]:1\r\n", 200},
        {"Host: evil.example\r\n", 403},
        {"Host: localhost.evil.example\r\n", 403},
        {"Host: localhost:80x\r\n", 403},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n%sConnection: close\r\n\r\n",
                         cases[i].host);
        struct reply r = exchange(&s, text, (size_t)n);
        expect(&r, cases[i].code, cases[i].host);
        clip_buffer_release(&r.all);
    }
    close_scene(&s);
}

static void too_much_is_refused(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    char *large = calloc(1, CLIP_API_BODY + 1), target[3000] = "/api/search?text=";
    struct reply r = request(&s, "POST", "/api/search", "", large, CLIP_API_BODY + 1);
    expect(&r, 413, "a large body");
    clip_buffer_release(&r.all);
    memset(target + strlen(target), 'a', CLIP_API_TEXT_BYTES + 1);
    r = get(&s, target);
    expect(&r, 400, "a long text");
    clip_buffer_release(&r.all);
    strcpy(target, "/api/search?text=a");
    for (int i = 0; i < CLIP_API_TERMS; i++) strcat(target, "&text=a");
    r = get(&s, target);
    expect(&r, 400, "many texts");
    clip_buffer_release(&r.all);
    memset(large, 'a', 200000);
    memcpy(large, "GET /", 5);
    r = exchange(&s, large, 200000); /* a line without an end */
    assert_true(r.code == 0 || (r.code >= 400 && r.code < 500));
    clip_buffer_release(&r.all);
    free(large);
    close_scene(&s);
}

static void an_image_that_is_gone_is_told(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    unlink(test_path(s.folder, "00.png"));
    test_write_text(s.folder, "01.png", "no image any more, and not short either");
    static const char *const targets[] = {"/image/0", "/thumbnail/0", "/image/1", "/thumbnail/1"};
    for (int i = 0; i < 4; i++) {
        struct reply r = get(&s, targets[i]);
        expect(&r, 410, targets[i]);
        assert_null(strstr(r.all.data, "ETag"));
        clip_buffer_release(&r.all);
    }
    close_scene(&s);
}

/* ---- odd requests ---- */

/* One of some requests with a few bytes changed, put in or doubled. What follows it ends whatever
 * the change has left open, as far as that can be. */
static size_t make_odd(char *out, size_t room, struct clip_rng *rng)
{
    static const char *const starts[] = {
        "GET /api/search?text=a+dog&minus=people&limit=3 HTTP/1.1\r\nHost: localhost\r\n",
        "GET /api/images?offset=2&limit=5&under=%2Ftmp HTTP/1.1\r\nHost: localhost\r\n",
        "GET /thumbnail/2 HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"a\"\r\n",
        "GET /image/4 HTTP/1.1\r\nHost: localhost\r\n",
        "POST /api/search?limit=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n",
        "POST /api/classify?label=a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n",
        "GET /api/classify?image=1&label=cat&template=a+{} HTTP/1.1\r\nHost: localhost\r\n",
    };
    static const char end[] = "Connection: close\r\n\r\n4\r\nGIF8\r\n0\r\n\r\n";
    static const char pieces[] = "%00%ff/..\\?&=\r\n: \x80\xff{}0123456789ag\0\x01HTTP";
    const char *start = starts[clip_rng_below(rng, 7)];
    size_t n = strlen(start);
    memcpy(out, start, n);
    for (uint32_t k = clip_rng_below(rng, 5); k > 0; k--) {
        size_t at = clip_rng_below(rng, (uint32_t)n), m = 1 + clip_rng_below(rng, 3);
        size_t from = clip_rng_below(rng, sizeof pieces - 4);
        uint32_t what = clip_rng_below(rng, 3);
        if (what == 2) m = n - at < 40 ? n - at : 40;
        if (what == 0) out[at] = pieces[from];
        if (what == 0 || n + m >= room / 2) continue;
        memmove(out + at + m, out + at, n - at);
        if (what == 1) memcpy(out + at, pieces + from, m);
        n += m;
    }
    memcpy(out + n, end, sizeof end - 1);
    n += sizeof end - 1;
    memset(out + n, 'x', 400);
    return n + 400;
}

static void thousands_of_odd_requests_do_no_harm(void **state)
{
    (void)state;
    enum { REQUESTS = 4000 };
    const struct timeval patience = {.tv_usec = 50000}; /* for what waits for more of a body */
    struct scene s;
    open_scene(&s);
    char bytes[4096];
    int answered = 0, refused = 0, cut = 0;
    for (uint64_t i = 0; i < REQUESTS; i++) {
        struct clip_rng rng = clip_rng_at(5, CLIP_RNG_TEST, 0, i);
        size_t n = make_odd(bytes, sizeof bytes, &rng);
        int fd = connect_for(&s, patience);
        if (clip_rng_below(&rng, 8) == 0) { /* it breaks off, and nobody waits for the answer */
            n = clip_rng_below(&rng, (uint32_t)n - 400);
            cut += send(fd, bytes, n, MSG_NOSIGNAL) >= 0;
            close(fd);
            continue;
        }
        struct reply r = exchange_on(fd, bytes, n);
        if (r.code >= 500 && r.code != 501 && r.code != 505)
            test_fail("odd request %llu: answered with %d: %.300s", (unsigned long long)i, r.code,
                      r.all.data);
        answered += r.code == 200;
        refused += r.code >= 400;
        assert_null(strstr(r.all.data, "root:"));
        clip_buffer_release(&r.all);
    }
    printf("of %d odd requests %d were answered, %d refused, %d broken off\n", REQUESTS, answered,
           refused, cut);
    assert_true(answered > 100 && refused > 100 && cut > 100);
    json_t *about = get_json(&s, "/api/about"); /* and it goes on */
    json_decref(about);
    close_scene(&s);
}

/* Visitors who say nothing take connections, and others are still answered; stopping does not wait
 * for them. */
static void silent_visitors_do_not_stop_the_others(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = connect_to(&s);
        assert_int_equal(send(fds[i], "GET /pic", 8, MSG_NOSIGNAL), 8);
    }
    json_t *about = get_json(&s, "/api/about");
    json_decref(about);
    close_scene(&s);
    for (int i = 0; i < 20; i++) close(fds[i]);
}

static void wrong_addresses_are_told(void **state)
{
    (void)state;
    struct scene s;
    open_scene(&s);
    struct clip_error error;
    struct clip_http *http = NULL;
    test_fails(clip_http_start(&http, s.api, "localhost", 0, &error), &error, CLIP_ERR_USAGE,
               "localhost");
    test_fails(clip_http_start(&http, s.api, "127.0.0.1", clip_http_port(s.http), &error), &error,
               CLIP_ERR_IO, "cannot be listened on");
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_and_its_parts_are_there),
        cmocka_unit_test(images_come_in_order_and_page_by_page),
        cmocka_unit_test(searching_finds_what_search_finds),
        cmocka_unit_test(a_sent_image_finds_itself_and_is_classified),
        cmocka_unit_test(images_and_thumbnails_are_served_by_number),
        cmocka_unit_test(a_changed_index_is_noticed),
        cmocka_unit_test(thumbnails_in_memory_are_bounded),
        cmocka_unit_test(each_wrong_request_has_its_answer),
        cmocka_unit_test(unknown_parameters_are_ignored),
        cmocka_unit_test(a_wrong_value_is_refused_by_its_name),
        cmocka_unit_test(another_host_is_not_answered),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(an_image_that_is_gone_is_told),
        cmocka_unit_test(thousands_of_odd_requests_do_no_harm),
        cmocka_unit_test(silent_visitors_do_not_stop_the_others),
        cmocka_unit_test(wrong_addresses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
