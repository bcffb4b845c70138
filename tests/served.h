/* A small index that is served, and a client that asks it: for tests of serve/. */
#ifndef CLIP_TESTS_SERVED_H
#define CLIP_TESTS_SERVED_H

#include <sys/time.h>

#include "core/json.h"
#include "formats/model_file.h"
#include "search/index.h"
#include "serve/http.h"
#include "tests/support.h"

enum { SERVED_IMAGES = 14 };

struct served {
    const char *folder, *path;
    struct clip_model_file *file;
    struct clip_embedder *e;
    struct clip_index index;
    struct clip_api *api;
    struct clip_http *http;
};

/* A served index of images 00.png .. 13.png; row 3 is removed, and 05.png is wide. Skips the test
 * where the programs were built without libmicrohttpd. */
void served_open(struct served *s);
void served_close(struct served *s);

/* ---- a client ---- */

/* What comes back until the server closes; code 0: nothing that is HTTP. */
struct reply {
    int code;
    struct clip_buffer all;
    const char *body;
    size_t body_size;
};

int served_connect(const struct served *s);
/* A client that gives up when nothing comes for so long. */
int served_connect_for(const struct served *s, struct timeval limit);
/* Sends the bytes as they are, and closes. clip_buffer_release the reply's `all`. */
struct reply served_exchange_on(int fd, const void *bytes, size_t n);
struct reply served_exchange(const struct served *s, const void *bytes, size_t n);
struct reply served_request(const struct served *s, const char *method, const char *target,
                            const char *headers, const void *body, size_t body_size);
struct reply served_get(const struct served *s, const char *target);
/* A GET that has to be answered with 200 and JSON; json_decref it. */
json_t *served_json(const struct served *s, const char *target);

/* Fails the test, which calls the request `what`, unless the code is this one. */
void reply_expect(const struct reply *r, int code, const char *what);
/* The answer as JSON, and releases the reply; json_decref it. */
json_t *reply_json(struct reply *r, const char *what);
/* The number of result i, and how many results there are. */
int64_t reply_number(const json_t *answer, size_t i);
size_t reply_count(const json_t *answer);

#endif
