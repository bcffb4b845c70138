/* A list of images from several places (files, folders, data sets), embedded in order. */
#ifndef CLIP_EMBED_IMAGES_H
#define CLIP_EMBED_IMAGES_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/progress.h"
#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"

struct clip_images { /* start from {0} */
    struct clip_images_part *sources;
    int64_t source_count, count;
    struct clip_names unread; /* folders and files that had to be passed over: named on stderr */
    struct clip_arena arena;
};

/* Each argument is a folder (its images, at any depth), a data set, or else an image file; it is
 * read later whether that is one. Opening a data set may fail, and says why. */
clip_status clip_images_open(struct clip_images *out, const char *const *arguments, int64_t n,
                             struct clip_error *error);
/* The same, which ends with CLIP_ERR_INTERRUPTED once *stop is not 0 (NULL: never). */
clip_status clip_images_open_until(struct clip_images *out, const char *const *arguments, int64_t n,
                                   const volatile sig_atomic_t *stop, struct clip_error *error);
/* Says on stderr how many images each folder and data set among the arguments has, and as what it
 * was read. */
void clip_images_say(const struct clip_images *images);
/* One data set, which stays the caller's: image i is that of sample i. */
clip_status clip_images_over(struct clip_images *out, const struct clip_dataset *dataset,
                             struct clip_error *error);
void clip_images_release(struct clip_images *images);

/* Its path, or its place in a tar: "TAR/name". Lives as long as the list. */
const char *clip_images_name(const struct clip_images *images, int64_t i);
/* Is the name a path (or a place in a tar), rather than what a packed set calls the image? */
bool clip_images_is_path(const struct clip_images *images, int64_t i);
/* first[i] [count]: the lowest number whose image has the same name. */
clip_status clip_images_unique(const struct clip_images *images, int64_t *first,
                               struct clip_error *error);

/* The size and time (nanoseconds since 1970) of the file that image i lies in: its own, or the
 * tar's. Both -1 where that cannot be told. */
void clip_images_stat(const struct clip_images *images, int64_t i, int64_t *size, int64_t *time);

/* The bytes of image i's file; *out is overwritten, and the caller's to release. */
clip_status clip_images_read(const struct clip_images *images, int64_t i, struct clip_buffer *out,
                             struct clip_error *error);

/* What somebody wants to know and to say while images are embedded. */
struct clip_images_watch {
    /* Is asked for each image that was read, in order, by one thread: bytes of the k-th. true: it
     * has filled row [E], and the image need not be embedded. */
    bool (*reuse)(void *context, int64_t k, const struct clip_buffer *bytes, float *row);
    void *context;
    const volatile sig_atomic_t *stop; /* not 0: end with CLIP_ERR_INTERRUPTED; or NULL */
    struct clip_progress *progress;    /* the caller's line, of which `before` are done already */
    int64_t before;
    int64_t done; /* how many of the n were, also after a failure */
};

struct clip_images_options { /* {0}: all images, unit rows, a progress line */
    const int64_t *which;    /* [n] the images to embed, in this order; NULL: all of them */
    int64_t n;
    enum clip_row_kind kind;
    bool quiet;                      /* no progress line */
    struct clip_images_watch *watch; /* or NULL */
};

/* Embeds the n images (options->which) into out [n,E]. One that cannot be read is named on stderr,
 * has good[i] false, a row of zeros, and is counted in *bad. What is not done when a watch stops it
 * or it fails is not touched. */
clip_status clip_images_embed(const struct clip_images *images,
                              const struct clip_embedder *embedder,
                              const struct clip_images_options *options, float *out, bool *good,
                              int64_t *bad, struct clip_error *error);
/* All of them into out [count,E] and good [count]; of images with one name one is computed. */
clip_status clip_images_embed_all(const struct clip_images *images,
                                  const struct clip_embedder *embedder, enum clip_row_kind kind,
                                  bool quiet, float *out, bool *good, struct clip_error *error);

#endif
