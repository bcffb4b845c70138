/* What the page's server answers: requests to responses, knowing nothing of sockets.
 *
 *   GET  /                       the page; /page.css and others, its parts
 *   GET  /api/about              {"count", "version", "model", "precision",
 *                                "folders": [{"path", "count"}]}; another version, another index
 *   GET  /api/images             ?offset ?limit ?under ?sort (newest, oldest; or as indexed)
 *   GET  /api/image              ?image: what is known of it
 *   GET  /api/search             ?text ?minus ?like ?unlike (repeated), ?least ?sort ?under
 *                                ?offset ?limit
 *   POST /api/search             the same, and the body is an image to look for
 *   GET  /api/classify           ?image ?label (repeated) ?template
 *   POST /api/classify           ?label (repeated) ?template; the body is the image
 *   GET  /thumbnail/NUMBER       at most CLIP_THUMBNAIL_SIDE pixels
 *   GET  /image/NUMBER           the file as it is
 *
 * Lists are {"total", "searched", "offset", "results": [{"number", "path", "time", "copies",
 * "score"}]}: the total is what can be seen, "searched" how many images took part. Those that are
 * the same file, byte by byte, are one result, and "copies" says how many there are in the index.
 * `least` leaves only results of that similarity; "best" is that of the best one. With `sort` they
 * are put by the files' dates: those that `least` leaves, else the CLIP_API_DATED best.
 *
 * An image is {"number", "path", "size", "time", "copies", "places": [{"number", "path", "file"}]}:
 * bytes and seconds since 1970 where its file is still there; where it and its copies lie, itself
 * first, at most CLIP_API_LIMIT of them.
 *
 * What is wrong is answered with 4xx and {"error": "a sentence"}; an image whose file is gone with
 * 410. A parameter that a request does not take is ignored; a wrong value of one that it takes is
 * refused by name.
 *
 * Images are named by a number, in parameters by their path in the index too; no path from a
 * request reaches the file system. A number stays an image's while the index grows; one from before
 * the index was put together anew is answered with 410 too. Each request is answered from the index
 * as it is on the disk when it comes. */
#ifndef CLIP_SERVE_API_H
#define CLIP_SERVE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "embed/embedder.h"

enum {
    CLIP_API_TERMS = 16, /* of a query, or labels times 16 */
    CLIP_API_LABELS = 256,
    CLIP_API_TEXT_BYTES = 1000, /* of one */
    CLIP_API_LIMIT = 200,       /* results of one answer */
    CLIP_API_DEPTH = 20000,     /* offset + limit of a search */
    CLIP_API_DATED = 200,     /* the best that a search puts by date, where it is given no least */
    CLIP_API_BODY = 32 << 20, /* bytes of an image that is sent */
    CLIP_API_PIXELS = 50000000, /* of any image */
};

struct clip_api;
/* Over the index at `path`, which has to hold images; CLIP_ERR_DATA where it was made by another
 * model than the embedder's. Borrows the embedder. */
clip_status clip_api_create(struct clip_api **out, const char *path,
                            const struct clip_embedder *embedder, int threads,
                            struct clip_error *error);
void clip_api_free(struct clip_api *api);     /* NULL is fine */
int64_t clip_api_count(struct clip_api *api); /* images that are shown */

struct clip_api_parameter { /* NUL-terminated, whatever bytes */
    const char *key, *value;
};
struct clip_api_request {
    const char *method, *path;
    const struct clip_api_parameter *parameters;
    int64_t parameter_count;
    const void *body;
    size_t body_size;
    const char *etag; /* If-None-Match, or NULL */
};
struct clip_api_response {   /* start from {0} */
    int code;                /* 200, 304, 4xx, 5xx */
    const char *type;        /* static */
    const char *allow;       /* of a 405; static, or NULL */
    char etag[24];           /* "" for none */
    struct clip_buffer body; /* the caller's to release */
};

/* Thread-safe. Always fills *out. */
void clip_api_answer(struct clip_api *api, const struct clip_api_request *request,
                     struct clip_api_response *out);
/* {"error": sentence} with this code. */
void clip_api_refuse(struct clip_api_response *out, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The page's files, made into C when building (tools/embed.sh). */
struct clip_page_file {
    const char *path, *type;
    const unsigned char *data;
    size_t size;
};
extern const struct clip_page_file clip_page_files[]; /* ends with {0} */

#endif
