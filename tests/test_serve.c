/* The page's server itself: the page's files, its limits, thousands of odd requests.
 * tests/test_api.c has the requests one by one; the page is driven in a browser by
 * tests/page.sh. */
#include "tests/support.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/rng.h"
#include "serve/store.h"
#include "serve/visitors.h"
#include "tests/served.h"

static void the_page_and_its_parts_are_there(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    static const struct {
        const char *target, *type, *word;
    } parts[] = {
        {"/", "text/html", "<title>"},
        {"/?text=a+dog", "text/html", "<title>"},
        {"/page.css", "text/css", "prefers-color-scheme"},
        {"/page.js", "text/javascript", "/api/search"},
        {"/detail.js", "text/javascript", "/api/image"},
        {"/words.js", "text/javascript", "Describe an image"},
        {"/icon.svg", "image/svg+xml", "<svg"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct reply r = served_get(&s, parts[i].target);
        reply_expect(&r, 200, parts[i].target);
        assert_non_null(strstr(r.all.data, parts[i].type));
        assert_non_null(strstr(r.body, parts[i].word));
        assert_non_null(strstr(r.all.data, "default-src 'none'"));
        assert_non_null(strstr(r.all.data, "nosniff"));
        clip_buffer_release(&r.all);
    }
    struct reply r = served_get(&s, "/");
    assert_null(strstr(r.body, "http://"));
    assert_null(strstr(r.body, "https://")); /* nothing from outside */
    clip_buffer_release(&r.all);
    r = served_request(&s, "HEAD", "/", "", NULL, 0);
    reply_expect(&r, 200, "HEAD /");
    assert_int_equal(r.body_size, 0);
    clip_buffer_release(&r.all);
    served_close(&s);
}

static void thumbnails_in_memory_are_bounded(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    struct clip_error error;
    struct clip_store *store;
    struct clip_buffer first = {0}, again;
    enum { MOST = 6000 };
    test_ok(clip_store_create(&store, 1000000, MOST, &error), &error);
    for (int round = 0; round < 3; round++)
        for (int64_t i = 0; i < SERVED_IMAGES; i++) {
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
    served_close(&s);
}

static void another_host_is_not_answered(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
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
        struct reply r = served_exchange(&s, text, (size_t)n);
        reply_expect(&r, cases[i].code, cases[i].host);
        clip_buffer_release(&r.all);
    }
    served_close(&s);
}

static void too_much_is_refused(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    char *large = calloc(1, CLIP_API_BODY + 1), target[3000] = "/api/search?text=";
    struct reply r = served_request(&s, "POST", "/api/search", "", large, CLIP_API_BODY + 1);
    reply_expect(&r, 413, "a large body");
    clip_buffer_release(&r.all);
    memset(target + strlen(target), 'a', CLIP_API_TEXT_BYTES + 1);
    r = served_get(&s, target);
    reply_expect(&r, 400, "a long text");
    clip_buffer_release(&r.all);
    strcpy(target, "/api/search?text=a");
    for (int i = 0; i < CLIP_API_TERMS; i++) strcat(target, "&text=a");
    r = served_get(&s, target);
    reply_expect(&r, 400, "many texts");
    clip_buffer_release(&r.all);
    memset(large, 'a', 200000);
    memcpy(large, "GET /", 5);
    r = served_exchange(&s, large, 200000); /* a line without an end */
    assert_true(r.code == 0 || (r.code >= 400 && r.code < 500));
    clip_buffer_release(&r.all);
    free(large);
    served_close(&s);
}

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
    struct served s;
    served_open(&s);
    char bytes[4096];
    int answered = 0, refused = 0, cut = 0;
    for (uint64_t i = 0; i < REQUESTS; i++) {
        struct clip_rng rng = clip_rng_at(5, CLIP_RNG_TEST, 0, i);
        size_t n = make_odd(bytes, sizeof bytes, &rng);
        int fd = served_connect_for(&s, patience);
        if (clip_rng_below(&rng, 8) == 0) { /* it breaks off, and nobody waits for the answer */
            n = clip_rng_below(&rng, (uint32_t)n - 400);
            cut += send(fd, bytes, n, MSG_NOSIGNAL) >= 0;
            close(fd);
            continue;
        }
        struct reply r = served_exchange_on(fd, bytes, n);
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
    json_t *about = served_json(&s, "/api/about"); /* and it goes on */
    json_decref(about);
    served_close(&s);
}

static void silent_visitors_do_not_stop_the_others(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = served_connect(&s);
        assert_int_equal(send(fds[i], "GET /pic", 8, MSG_NOSIGNAL), 8);
    }
    json_t *about = served_json(&s, "/api/about");
    json_decref(about);
    served_close(&s);
    for (int i = 0; i < 20; i++) close(fds[i]);
}

/* Each sends a byte now and then, so none of them is silent. */
static void tricklers_do_not_stop_the_others(void **state)
{
    (void)state;
    enum { SLOW = 200, ROUNDS = 10 };
    struct served s;
    served_open(&s);
    int fds[SLOW];
    for (int i = 0; i < SLOW; i++) {
        fds[i] = served_connect(&s);
        send(fds[i], "GET /", 5, MSG_NOSIGNAL);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SLOW; i++) {
            if (send(fds[i], "a", 1, MSG_NOSIGNAL) == 1) continue;
            close(fds[i]); /* it was cut, and comes again */
            fds[i] = served_connect(&s);
            send(fds[i], "GET /", 5, MSG_NOSIGNAL);
        }
        json_t *found = served_json(&s, "/api/search?text=a+dog&limit=3");
        json_decref(found);
    }
    served_close(&s);
    for (int i = 0; i < SLOW; i++) close(fds[i]);
}

/* A visitor of the last of these addresses, at our end of a pair of sockets. */
static struct clip_visitor *enter(struct clip_visitors *all, int pair[2], uint32_t address,
                                  double now)
{
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    return clip_visitors_enter(all, pair[0], (const struct sockaddr *)&from, now);
}

static bool was_cut(const int pair[2])
{
    char byte;
    return recv(pair[1], &byte, 1, MSG_DONTWAIT) == 0;
}

static void whose_time_is_over_is_cut(void **state)
{
    (void)state;
    enum { MOST = CLIP_HTTP_CONNECTIONS + 2, A = 0x0a000001, B, C };
    struct clip_error error;
    struct clip_visitors *all;
    struct clip_visitor *v[MOST];
    int pairs[MOST][2];
    test_ok(clip_visitors_create(&all, &error), &error);
    for (int i = 0; i < 3; i++) v[i] = enter(all, pairs[i], A, 100);
    clip_visitors_turn(all, v[1], CLIP_VISITOR_BODY, 101);
    clip_visitors_turn(all, v[2], CLIP_VISITOR_ANSWER, 102);
    clip_visitors_turn(all, v[1], CLIP_VISITOR_BODY, 150); /* a byte more is no new start */
    clip_visitors_sweep(all, 100 + CLIP_HTTP_SECONDS);
    assert_false(was_cut(pairs[0]));
    clip_visitors_sweep(all, 100.5 + CLIP_HTTP_SECONDS);
    assert_true(was_cut(pairs[0]) && !was_cut(pairs[1]));
    clip_visitors_sweep(all, 101.5 + CLIP_HTTP_BODY_SECONDS);
    assert_true(was_cut(pairs[1]) && !was_cut(pairs[2]));
    clip_visitors_sweep(all, 102.5 + CLIP_HTTP_ANSWER_SECONDS);
    assert_true(was_cut(pairs[2]));
    for (int i = 0; i < 3; i++) {
        clip_visitors_leave(all, v[i]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    /* One address has its share; its oldest that is awaited goes, not one that is answered. */
    for (int i = 0; i < CLIP_HTTP_PER_ADDRESS; i++)
        v[i] = enter(all, pairs[i], A, 1000 + i / 100.0);
    clip_visitors_turn(all, v[0], CLIP_VISITOR_ANSWER, 1000);
    int n = CLIP_HTTP_PER_ADDRESS;
    for (int i = 0; i < n; i++) assert_false(was_cut(pairs[i]));
    v[n] = enter(all, pairs[n], B, 1000.5);
    for (int i = 0; i < n; i++) assert_false(was_cut(pairs[i]));
    n++;
    v[n] = enter(all, pairs[n], A, 1000.5);
    assert_true(was_cut(pairs[1]) && !was_cut(pairs[0]) && !was_cut(pairs[n]));
    n++;
    /* All have theirs. */
    for (; n <= CLIP_HTTP_CONNECTIONS; n++) {
        assert_false(was_cut(pairs[2]));
        v[n] = enter(all, pairs[n], n % 2 == 0 ? B : C, 1001);
    }
    v[n] = enter(all, pairs[n], C + 1, 1002);
    n++;
    assert_true(was_cut(pairs[2]));
    assert_false(was_cut(pairs[0]) || was_cut(pairs[n - 1]));
    for (int i = 0; i < n; i++) {
        clip_visitors_leave(all, v[i]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    clip_visitors_free(all);
}

static void wrong_addresses_are_told(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    struct clip_error error;
    struct clip_http *http = NULL;
    test_fails(clip_http_start(&http, s.api, "localhost", 0, &error), &error, CLIP_ERR_USAGE,
               "localhost");
    test_fails(clip_http_start(&http, s.api, "127.0.0.1", clip_http_port(s.http), &error), &error,
               CLIP_ERR_IO, "cannot be listened on");
    served_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_and_its_parts_are_there),
        cmocka_unit_test(thumbnails_in_memory_are_bounded),
        cmocka_unit_test(another_host_is_not_answered),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(thousands_of_odd_requests_do_no_harm),
        cmocka_unit_test(silent_visitors_do_not_stop_the_others),
        cmocka_unit_test(tricklers_do_not_stop_the_others),
        cmocka_unit_test(whose_time_is_over_is_cut),
        cmocka_unit_test(wrong_addresses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
