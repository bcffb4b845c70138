/* What the page's server answers to each request, and what it refuses, over a real socket. */
#include "tests/support.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/image/image.h"
#include "search/index_update.h"
#include "search/search.h"
#include "serve/store.h"
#include "tests/served.h"
#include "tests/small_model.h"

/* ---- good requests ---- */

static void images_come_in_order_and_page_by_page(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    json_t *about = served_json(&s, "/api/about"), *all = served_json(&s, "/api/images");
    assert_int_equal(json_integer_value(json_object_get(about, "count")), SERVED_IMAGES - 1);
    assert_int_equal(json_array_size(json_object_get(about, "folders")), 1);
    assert_int_equal(json_integer_value(json_object_get(all, "total")), SERVED_IMAGES - 1);
    assert_int_equal(reply_count(all), SERVED_IMAGES - 1);
    for (size_t i = 0; i < reply_count(all); i++)
        assert_int_equal(reply_number(all, i), (int64_t)(i < 3 ? i : i + 1)); /* 3 is removed */
    json_t *part = served_json(&s, "/api/images?offset=5&limit=4");
    assert_int_equal(reply_count(part), 4);
    assert_int_equal(reply_number(part, 0), 6);
    json_t *none = served_json(&s, "/api/images?under=/nowhere"),
           *end = served_json(&s, "/api/images?offset=999999999999");
    assert_int_equal(reply_count(none), 0);
    assert_int_equal(json_integer_value(json_object_get(none, "total")), 0);
    assert_int_equal(reply_count(end), 0);
    json_decref(about);
    json_decref(all);
    json_decref(part);
    json_decref(none);
    json_decref(end);
    served_close(&s);
}

static void searching_finds_what_search_finds(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    struct clip_error error;
    const char *text = "a red circle";
    float rows[2 * 24], query[24];
    const double weights[] = {0.5, -1};
    struct clip_hit hits[SERVED_IMAGES];
    int64_t found;
    test_ok(clip_embedder_texts(s.e, &text, 1, CLIP_UNIT, rows, NULL, &error), &error);
    clip_index_row(&s.index, 7, rows + 24);
    for (int d = 0; d < 24; d++)
        query[d] = (float)(weights[0] * (double)rows[d] + weights[1] * (double)rows[24 + d]);
    clip_rows_normalise(query, 1, 24);
    test_ok(clip_index_search(&s.index, NULL, query, SERVED_IMAGES, hits, &found, &error), &error);
    json_t *answer = served_json(&s, "/api/search?text=a%20red+circle%3A%3A0.5&unlike=7&limit=100");
    assert_int_equal(reply_count(answer), found);
    for (size_t i = 0; i < reply_count(answer); i++) {
        const json_t *item = json_array_get(json_object_get(answer, "results"), i);
        assert_int_equal(reply_number(answer, i), hits[i].number);
        test_close_f64("score", json_real_value(json_object_get(item, "score")),
                       (double)hits[i].score, 0, 0);
        assert_string_equal(json_string_value(json_object_get(item, "path")),
                            clip_index_name(&s.index, hits[i].number));
    }
    json_decref(answer);
    answer = served_json(&s, "/api/search?text=a%20red+circle%3A%3A0.5&unlike=7&offset=2&limit=3");
    assert_int_equal(reply_count(answer), 3);
    assert_int_equal(reply_number(answer, 0), hits[2].number);
    json_decref(answer);
    answer = served_json(&s, "/api/search?like=8&limit=1");
    assert_int_equal(reply_number(answer, 0), 8);
    json_decref(answer);
    served_close(&s);
}

static void a_sent_image_finds_itself_and_is_classified(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    struct clip_error error;
    struct clip_buffer bytes;
    test_ok(clip_file_read(test_path(s.folder, "09.png"), 1 << 20, &bytes, &error), &error);
    struct reply r = served_request(&s, "POST", "/api/search?limit=2", "", bytes.data, bytes.size);
    reply_expect(&r, 200, "POST /api/search");
    json_t *answer = reply_json(&r, "search");
    assert_int_equal(reply_number(answer, 0), 9);
    assert_int_equal(reply_count(answer), 2);
    json_decref(answer);
    const char *targets[] = {"/api/classify?label=a&label=b&label=%C3%A4&image=9",
                             "/api/classify?label=a&label=b&label=%C3%A4"};
    double p[2][3], sum = 0;
    for (int i = 0; i < 2; i++) {
        r = served_request(&s, i == 0 ? "GET" : "POST", targets[i], "", bytes.data,
                           i == 0 ? 0 : bytes.size);
        reply_expect(&r, 200, targets[i]);
        answer = reply_json(&r, "classify");
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
    served_close(&s);
}

static void images_and_thumbnails_are_served_by_number(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    struct clip_error error;
    struct clip_buffer file;
    struct clip_image image = {0};
    const struct clip_image_limits limits = {.max_pixels = 1000000};
    test_ok(clip_file_read(test_path(s.folder, "05.png"), 1 << 20, &file, &error), &error);
    struct reply r = served_get(&s, "/image/5");
    reply_expect(&r, 200, "/image/5");
    assert_int_equal(r.body_size, file.size);
    assert_memory_equal(r.body, file.data, file.size);
    assert_non_null(strstr(r.all.data, "image/png"));
    clip_buffer_release(&r.all);
    r = served_get(&s, "/thumbnail/5");
    reply_expect(&r, 200, "/thumbnail/5");
    assert_non_null(strstr(r.all.data, clip_image_small_type));
    test_ok(clip_image_decode((const uint8_t *)r.body, r.body_size, &limits, &image, &error),
            &error);
    assert_int_equal(image.width, CLIP_THUMBNAIL_SIDE);
    assert_int_equal(image.height, 14);
    char etag[64], header[96];
    assert_int_equal(sscanf(strstr(r.all.data, "ETag: "), "ETag: %63s", etag), 1);
    clip_buffer_release(&r.all);
    snprintf(header, sizeof header, "If-None-Match: %s\r\n", etag);
    r = served_request(&s, "GET", "/thumbnail/5", header, NULL, 0);
    reply_expect(&r, 304, "If-None-Match");
    clip_buffer_release(&r.all);
    clip_image_release(&image);
    clip_buffer_release(&file);
    served_close(&s);
}

static void a_changed_index_is_noticed(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    struct clip_error error;
    struct clip_index_options options = {.quiet = true};
    struct clip_index_changes changes;
    small_image(s.folder, "new.png", 40, 30, 77);
    test_ok(clip_index_update_images(s.path, s.e, &s.folder, 1, &options, &changes, &error),
            &error);
    json_t *all = served_json(&s, "/api/images");
    assert_int_equal(reply_count(all), SERVED_IMAGES);
    assert_int_equal(reply_number(all, SERVED_IMAGES - 1), SERVED_IMAGES);
    json_decref(all);
    test_ok(clip_index_compact(s.path, &options, &changes, &error), &error);
    static const struct {
        const char *target;
        int code;
        const char *word;
    } asked[] = {
        {"/api/images", 200,
         "{\"total\":14,\"searched\":14,\"offset\":0,\"results\":[{\"number\":15,"},
        {"/image/5", 410, "load the page again"},
        {"/api/search?like=5", 410, "like: the index was put together anew"},
        {"/image/28", 200, "image/png"},
        {"/image/29", 404, "no image 29"},
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        struct reply r = served_get(&s, asked[i].target);
        reply_expect(&r, asked[i].code, asked[i].target);
        if (strstr(r.all.data, asked[i].word) == NULL)
            test_fail("%s: %.300s without %s", asked[i].target, r.all.data, asked[i].word);
        clip_buffer_release(&r.all);
    }
    served_close(&s);
}

/* ---- what the page shows of an index ---- */

/* The index is brought up to date with what lies in its folder now. */
static void update(struct served *s)
{
    struct clip_error error;
    struct clip_index_options options = {.quiet = true};
    struct clip_index_changes changes;
    test_ok(clip_index_update_images(s->path, s->e, &s->folder, 1, &options, &changes, &error),
            &error);
}

static void copy_file(const struct served *s, const char *from, const char *to)
{
    struct clip_error error;
    struct clip_buffer bytes;
    test_ok(clip_file_read(test_path(s->folder, from), 1 << 20, &bytes, &error), &error);
    test_ok(clip_file_write(test_path(s->folder, to), bytes.data, bytes.size, &error), &error);
    clip_buffer_release(&bytes);
}

/* What no browser shows is shown as something that each does, and downloaded as it is. */
static void an_image_that_browsers_do_not_know_is_converted(void **state)
{
    (void)state;
    struct served s;
    struct clip_error error;
    struct clip_buffer file;
    struct clip_image image = {0};
    const struct clip_image_limits limits = {.max_pixels = 1000000};
    const char *heic = "tests/fuzz/seeds/fuzz_image/turned_6.heic";
    clip_status status = clip_image_decode_file(heic, &limits, &image, &error);
    if (status != CLIP_OK && strstr(error.message, "install libheif") != NULL)
        test_skip("%s", error.message);
    test_ok(status, &error);
    clip_image_release(&image);
    served_open(&s);
    test_ok(clip_file_read(heic, 1 << 20, &file, &error), &error);
    test_ok(clip_file_write(test_path(s.folder, "14.heic"), file.data, file.size, &error), &error);
    update(&s);
    struct reply r = served_get(&s, "/image/14");
    reply_expect(&r, 200, "/image/14");
    assert_non_null(strstr(r.all.data, clip_image_small_type));
    test_ok(clip_image_decode((const uint8_t *)r.body, r.body_size, &limits, &image, &error),
            &error);
    assert_int_equal(image.width, 64);
    assert_int_equal(image.height, 80);
    clip_image_release(&image);
    clip_buffer_release(&r.all);
    r = served_get(&s, "/file/14");
    reply_expect(&r, 200, "/file/14");
    assert_non_null(strstr(r.all.data, "application/octet-stream"));
    assert_int_equal(r.body_size, file.size);
    assert_memory_equal(r.body, file.data, file.size);
    clip_buffer_release(&r.all);
    clip_buffer_release(&file);
    served_close(&s);
}

static const json_t *field_at(const json_t *answer, size_t i, const char *key)
{
    return json_object_get(json_array_get(json_object_get(answer, "results"), i), key);
}

static json_int_t whole(const json_t *answer, const char *key)
{
    return json_integer_value(json_object_get(answer, key));
}

/* Three files of the same bytes are one result, in whichever part of the index one looks. */
static void copies_are_folded(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    char target[500];
    const char *folder = test_path(s.folder, "s");
    mkdir(folder, 0700);
    copy_file(&s, "05.png", "a copy.png");
    copy_file(&s, "05.png", "s/another.png");
    update(&s);
    for (int k = 0; k < 2; k++) {
        json_t *answer = served_json(&s, k == 0 ? "/api/images" : "/api/search?like=5");
        int folded = 0;
        assert_int_equal(whole(answer, "total"), 13);
        assert_int_equal(whole(answer, "searched"), 15);
        assert_int_equal(reply_count(answer), 13);
        for (size_t i = 0; i < 13; i++) {
            json_int_t n = json_integer_value(field_at(answer, i, "copies"));
            assert_int_equal(n, reply_number(answer, i) == 5 ? 3 : 1);
            folded += n == 3;
        }
        assert_int_equal(folded, 1);
        json_decref(answer);
    }
    snprintf(target, sizeof target, "/api/images?under=%s", folder);
    json_t *part = served_json(&s, target);
    assert_int_equal(reply_count(part), 1);
    assert_int_equal(json_integer_value(field_at(part, 0, "copies")), 3);
    assert_non_null(strstr(json_string_value(field_at(part, 0, "path")), "s/another.png"));
    json_decref(part);
    unlink(test_path(s.folder, "05.png"));
    update(&s);
    json_t *left = served_json(&s, "/api/images?offset=12");
    assert_int_equal(reply_count(left), 1);
    assert_int_equal(json_integer_value(field_at(left, 0, "copies")), 2);
    json_decref(left);
    served_close(&s);
}

static void an_image_is_described(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    char target[500];
    struct stat info;
    const char *file = test_path(s.folder, "05.png");
    const struct timespec times[2] = {{1000000000, 0}, {1577836800, 500000000}};
    copy_file(&s, "05.png", "a copy.png");
    assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
    assert_int_equal(stat(file, &info), 0);
    update(&s);
    snprintf(target, sizeof target, "/api/image?image=%s", file); /* its path in the index */
    json_t *answer = served_json(&s, target), *places = json_object_get(answer, "places");
    assert_string_equal(json_string_value(json_object_get(answer, "path")), file);
    assert_int_equal(whole(answer, "size"), info.st_size);
    assert_int_equal(whole(answer, "time"), 1577836800);
    assert_int_equal(whole(answer, "copies"), 2);
    assert_int_equal(json_array_size(places), 2);
    const json_t *itself = json_array_get(places, 0), *copy = json_array_get(places, 1);
    assert_int_equal(whole(itself, "number"), whole(answer, "number"));
    assert_string_equal(json_string_value(json_object_get(itself, "file")), file);
    assert_string_equal(json_string_value(json_object_get(copy, "file")),
                        test_path(s.folder, "a copy.png"));
    json_decref(answer);
    unlink(file);
    answer = served_json(&s, target);
    assert_null(json_object_get(answer, "size"));
    assert_null(json_object_get(answer, "time"));
    json_decref(answer);
    served_close(&s);
}

static void results_are_cut_at_the_least_similarity(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    char target[200];
    json_t *all = served_json(&s, "/api/search?text=a+dog");
    double best = json_real_value(field_at(all, 0, "score")),
           least = json_real_value(field_at(all, 3, "score"));
    snprintf(target, sizeof target, "/api/search?text=a+dog&least=%.17g", least);
    json_t *cut = served_json(&s, target);
    assert_int_equal(whole(cut, "total"), 4);
    assert_int_equal(whole(cut, "searched"), 13);
    assert_int_equal(reply_count(cut), 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(reply_number(cut, i), reply_number(all, i));
    json_decref(cut);
    strcat(target, "&offset=3&limit=2");
    cut = served_json(&s, target);
    assert_int_equal(reply_count(cut), 1);
    assert_int_equal(reply_number(cut, 0), reply_number(all, 3));
    json_decref(cut);
    cut = served_json(&s, "/api/search?text=a+dog&least=1");
    assert_int_equal(whole(cut, "total"), 0);
    assert_int_equal(reply_count(cut), 0);
    test_close_f64("best", json_real_value(json_object_get(cut, "best")), best, 0, 0);
    json_decref(cut);
    json_decref(all);
    served_close(&s);
}

/* n results, from the newest to the oldest or the other way, none less similar. */
static void check_dated(const struct served *s, const char *target, size_t n, bool newest,
                        double least)
{
    json_t *answer = served_json(s, target);
    assert_int_equal(reply_count(answer), n);
    assert_int_equal(whole(answer, "total"), n);
    for (size_t i = 0; i < n; i++) {
        json_int_t time = json_integer_value(field_at(answer, i, "time")),
                   before = i > 0 ? json_integer_value(field_at(answer, i - 1, "time")) : time;
        assert_true(i == 0 || (newest ? time < before : time > before));
        assert_true(isinf(least) || json_real_value(field_at(answer, i, "score")) >= least);
    }
    json_decref(answer);
}

static void results_are_put_by_date(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    char name[16], target[200];
    for (int i = 0; i < SERVED_IMAGES; i++) { /* 11.png is of the last year, 00.png of the first */
        const struct timespec times[2] = {{0, UTIME_OMIT}, {31536000 * (5 * i % 14 + 20), 0}};
        snprintf(name, sizeof name, "%02d.png", i);
        if (i != 3) assert_int_equal(utimensat(AT_FDCWD, test_path(s.folder, name), times, 0), 0);
    }
    update(&s);
    json_t *best = served_json(&s, "/api/search?text=a+dog");
    double least = json_real_value(field_at(best, 4, "score"));
    check_dated(&s, "/api/images?sort=newest", 13, true, -INFINITY);
    check_dated(&s, "/api/images?sort=oldest", 13, false, -INFINITY);
    check_dated(&s, "/api/search?text=a+dog&sort=newest", 13, true, -1);
    check_dated(&s, "/api/search?text=a+dog&sort=oldest", 13, false, -1);
    snprintf(target, sizeof target, "/api/search?text=a+dog&sort=newest&least=%.17g", least);
    check_dated(&s, target, 5, true, least);
    json_decref(best);
    json_t *last = served_json(&s, "/api/search?text=a+dog&sort=newest&offset=12&limit=5");
    assert_int_equal(reply_count(last), 1);
    assert_non_null(strstr(json_string_value(field_at(last, 0, "path")), "/00.png"));
    json_decref(last);
    served_close(&s);
}

/* An image of the index may be named by its path there. */
static void a_path_names_an_image(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    char target[500];
    for (int k = 0; k < 2; k++) {
        const char *form = k == 0 ? "/api/search?like=%s"
                                  : "/api/classify?label=a&label=b&image=%s";
        snprintf(target, sizeof target, form, "8");
        json_t *number = served_json(&s, target);
        snprintf(target, sizeof target, form, clip_index_name(&s.index, 8));
        json_t *path = served_json(&s, target);
        assert_true(json_equal(number, path));
        json_decref(number);
        json_decref(path);
    }
    served_close(&s);
}

/* ---- wrong requests ---- */

static void each_wrong_request_has_its_answer(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
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
        {404, "GET", "/api/search?like=x", "", ""},
        {404, "GET", "/api/search?like=%2Fetc%2Fpasswd", "", ""},
        {404, "GET", "/api/image?image=/etc/passwd", "", ""},
        {404, "GET", "/api/image?image=3", "", ""},
        {400, "GET", "/api/image", "", ""},
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
        struct reply r = served_request(&s, cases[i].method, cases[i].target, cases[i].headers,
                                        cases[i].body, strlen(cases[i].body));
        reply_expect(&r, cases[i].code, cases[i].target);
        if (r.code == 405) assert_non_null(strstr(r.all.data, "Allow: GET, HEAD"));
        json_t *answer = reply_json(&r, cases[i].target);
        assert_true(json_is_string(json_object_get(answer, "error")));
        json_decref(answer);
    }
    served_close(&s);
}

static void unknown_parameters_are_ignored(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    static const char *const pairs[][2] = {
        {"/api/about?x=1&limit=none&=", "/api/about"},
        {"/api/images?limit=4&text=&view=wide&image=x", "/api/images?limit=4"},
        {"/api/search?text=a+dog&txet=b&label=&image=x&text%20minus=a&utm_source=mail",
         "/api/search?text=a+dog"},
        {"/api/classify?image=1&label=a&limit=0&like=x&text=", "/api/classify?image=1&label=a"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        json_t *odd = served_json(&s, pairs[i][0]), *plain = served_json(&s, pairs[i][1]);
        assert_true(json_equal(odd, plain));
        json_decref(odd);
        json_decref(plain);
    }
    served_close(&s);
}

static void a_wrong_value_is_refused_by_its_name(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    static const char *const cases[][2] = {
        {"/api/images?limit=1x", "limit: expected a whole number from 1 to 200"},
        {"/api/images?offset=-1", "offset: expected a whole number"},
        {"/api/search?text=a&limit=201", "limit: expected a whole number from 1 to 200"},
        {"/api/search?minus=%FF", "minus: expected a text of 1 to 1000 bytes of UTF-8"},
        {"/api/search?text=a&unlike=x", "unlike: there is no image \"x\" in the index"},
        {"/api/search?text=a&least=1.5", "least: expected a similarity from -1 to 1"},
        {"/api/search?text=a&least=nan", "least: expected a similarity from -1 to 1"},
        {"/api/search?text=a&least=0.2x", "least: expected a similarity from -1 to 1"},
        {"/api/images?sort=up", "sort: expected newest or oldest"},
        {"/api/search?text=a&unlike=3", "unlike: there is no image 3 in the index"},
        {"/api/classify?label=", "label: expected a text of 1 to 1000 bytes of UTF-8"},
        {"/api/classify?label=a&image=1&image=2", "image: at most 1 can be given"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reply r = served_get(&s, cases[i][0]);
        assert_true(r.code == 400 || r.code == 404);
        json_t *answer = reply_json(&r, cases[i][0]);
        assert_string_equal(json_string_value(json_object_get(answer, "error")), cases[i][1]);
        json_decref(answer);
    }
    served_close(&s);
}

static void an_image_that_is_gone_is_told(void **state)
{
    (void)state;
    struct served s;
    served_open(&s);
    unlink(test_path(s.folder, "00.png"));
    test_write_text(s.folder, "01.png", "no image any more, and not short either");
    static const char *const targets[] = {"/image/0", "/thumbnail/0", "/image/1", "/thumbnail/1"};
    for (int i = 0; i < 4; i++) {
        struct reply r = served_get(&s, targets[i]);
        reply_expect(&r, 410, targets[i]);
        assert_null(strstr(r.all.data, "ETag"));
        clip_buffer_release(&r.all);
    }
    served_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_come_in_order_and_page_by_page),
        cmocka_unit_test(searching_finds_what_search_finds),
        cmocka_unit_test(a_sent_image_finds_itself_and_is_classified),
        cmocka_unit_test(images_and_thumbnails_are_served_by_number),
        cmocka_unit_test(an_image_that_browsers_do_not_know_is_converted),
        cmocka_unit_test(a_changed_index_is_noticed),
        cmocka_unit_test(copies_are_folded),
        cmocka_unit_test(an_image_is_described),
        cmocka_unit_test(results_are_cut_at_the_least_similarity),
        cmocka_unit_test(results_are_put_by_date),
        cmocka_unit_test(a_path_names_an_image),
        cmocka_unit_test(each_wrong_request_has_its_answer),
        cmocka_unit_test(unknown_parameters_are_ignored),
        cmocka_unit_test(a_wrong_value_is_refused_by_its_name),
        cmocka_unit_test(an_image_that_is_gone_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
