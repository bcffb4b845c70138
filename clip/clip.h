/* libclip: embeddings of images and texts by a CLIP model (Radford et al. 2021), for programs of
 * one's own. Images and texts go in, rows of floats come out; the cosine of two rows says how
 * well they fit.
 *
 *     #include <clip/clip.h>
 *     struct clip_embedder *e;
 *     struct clip_error error;
 *     if (clip_embedder_open(&e, "runs/small", NULL, &error) != CLIP_OK) puts(error.message);
 *     const char *texts[] = {"a red circle", "a dog"};
 *     float *rows = malloc(2 * (size_t)clip_embedder_dim(e) * sizeof *rows);
 *     clip_embedder_texts(e, texts, 2, CLIP_UNIT, rows, NULL, &error);
 *     clip_embedder_free(e);
 *
 *     cc use.c $(pkg-config --cflags --libs clip)
 *
 * Errors: what can fail returns a clip_status and, when it is not CLIP_OK, has filled the caller's
 * clip_error with one whole sentence: it names the file or sample, says what is wrong and what to
 * do. `error` is never NULL; it is written to on failure alone. Warnings (about a model without a
 * description, say) are lines on stderr.
 *
 * Threads: an embedder is never changed after it is opened, and each call works in memory of its
 * own, so any number of threads may call with one embedder at once. A call itself uses as many
 * threads as clip_threads_set allows.
 *
 * A row depends on its image or text and on the weights alone: it is the same to the bit whatever
 * else is in the call, and with any number of threads. */
#ifndef CLIP_C_CLIP_H
#define CLIP_C_CLIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum clip_status {
    CLIP_OK = 0,
    CLIP_ERR_USAGE,       /* asked for what does not exist: option, key, value */
    CLIP_ERR_NOT_FOUND,   /* a file or folder is not there */
    CLIP_ERR_IO,          /* the system refused: permission, full disk, ... */
    CLIP_ERR_FORMAT,      /* a file's bytes are not what its format demands */
    CLIP_ERR_DATA,        /* well-formed, but of no use here: wrong shape, empty set, bad samples */
    CLIP_ERR_MEMORY,      /* allocation failed or a size would overflow */
    CLIP_ERR_DIVERGED,    /* the loss is not a finite number */
    CLIP_ERR_INTERRUPTED, /* a signal asked to stop; what was to be saved is saved */
    CLIP_ERR_BUSY,        /* another process holds the folder */
} clip_status;

struct clip_error {
    clip_status status;
    char message[1024]; /* UTF-8, NUL-terminated, cut at the end of a character when longer */
};

/* What follows is all that the shared library shows. */
#pragma GCC visibility push(default)

const char *clip_version(void); /* "0.1.0" */

/* ---- Opening ---- */

struct clip_embedder; /* a model, its tokenizer and its preprocessing */

enum clip_embedder_use { CLIP_USE_BOTH, CLIP_USE_IMAGES, CLIP_USE_TEXTS };

struct clip_embedder_options {  /* {0}: the defaults */
    const char *tokenizer;      /* a tokenizer file, or "clip"; NULL: the model's own */
    bool raw_weights;           /* the weights as trained where their moving average is there too */
    int64_t max_pixels;         /* images with more are refused; 0: 100 million */
    enum clip_embedder_use use; /* only this tower is read; the other's calls are refused */
    bool say;                   /* what was found of another project's model is a line on stderr */
    bool checksum;              /* the model's checksum is wanted, which reads every weight */
    bool bf16;                  /* multiply bfloat16, with float32 sums: near, and faster */
    bool pack;                  /* for many calls: weights are packed once, in one more copy */
};

/* MODEL: a run folder, a native .h5, a folder, cached id or file of transformers', open_clip's or
 * OpenAI's weights, a .gguf of clip.cpp. `options` NULL: the defaults. */
clip_status clip_embedder_open(struct clip_embedder **out, const char *model,
                               const struct clip_embedder_options *options,
                               struct clip_error *error);
void clip_embedder_free(struct clip_embedder *embedder); /* NULL is fine */

int64_t clip_embedder_dim(const struct clip_embedder *embedder);        /* E, floats a row */
int64_t clip_embedder_image_size(const struct clip_embedder *embedder); /* S */
int64_t clip_embedder_context(const struct clip_embedder *embedder);    /* tokens a text, at most */
const char *clip_embedder_source(const struct clip_embedder *embedder); /* the model's file */
double clip_embedder_logit_scale(const struct clip_embedder *embedder); /* exp of the parameter */
double clip_embedder_logit_bias(const struct clip_embedder *embedder);  /* 0 where there is none */

/* For calls from this thread. n < 1: all the processor's cores. */
void clip_threads_set(int n);

/* ---- Embedding ---- */

enum clip_row_kind {
    CLIP_UNIT, /* length 1 (Radford et al. 2021, figure 3): dot products are cosines */
    CLIP_RAW,  /* as the projection gives them */
};

/* An image: a file, an image file's bytes, or decoded 8-bit RGB; what is not used stays 0. */
struct clip_image_source {
    const char *path;
    const void *bytes;
    size_t size;
    const uint8_t *rgb; /* [height,width,3] */
    int64_t width, height;
};

/* Decodes (several at once), resizes, crops, normalises, embeds. out [n,E]. `failures` [n] or NULL:
 * with it an image that cannot be read leaves a row of zeros and its reason in failures[i] (whose
 * status is CLIP_OK for the others); without it such an image fails the call. */
clip_status clip_embedder_images(const struct clip_embedder *embedder,
                                 const struct clip_image_source *images, int64_t n,
                                 enum clip_row_kind kind, float *out, struct clip_error *failures,
                                 struct clip_error *error);

/* Texts in UTF-8. out [n,E]. *cut (or NULL): how many were longer than the context and were cut.
 * CLIP_ERR_DATA when the model came without a tokenizer or a text is not UTF-8. */
clip_status clip_embedder_texts(const struct clip_embedder *embedder, const char *const *texts,
                                int64_t n, enum clip_row_kind kind, float *out, int64_t *cut,
                                struct clip_error *error);

/* Pixels that are preprocessed already: [n,3,S,S], normalised. */
clip_status clip_embedder_pixels(const struct clip_embedder *embedder, const float *pixels,
                                 int64_t n, enum clip_row_kind kind, float *out,
                                 struct clip_error *error);

/* Token ids [n,length], padded: a row ends at the model's end token, the first where it comes twice
 * (transformers' pooling; its first id where there is none), or at its largest id (open_clip's);
 * what stands behind it is never looked at. */
clip_status clip_embedder_ids(const struct clip_embedder *embedder, const int32_t *ids, int64_t n,
                              int64_t length, enum clip_row_kind kind, float *out,
                              struct clip_error *error);

/* ---- Comparing ---- */

/* out [n,m] = a [n,dim] b [m,dim]^T, sums in double: of unit rows, the cosines. */
void clip_similarity(double *out, const float *a, int64_t n, const float *b, int64_t m,
                     int64_t dim);
/* Zero-shot classification: each row of cosines [n,m], of n images with m labels, becomes the
 * labels' probabilities, softmax(logit_scale * cosine). In place. */
void clip_embedder_probabilities(const struct clip_embedder *embedder, double *cosines, int64_t n,
                                 int64_t m);
/* Each row of [n,dim] divided by max(its length, 1e-12), sums in double. */
void clip_rows_normalise(float *rows, int64_t n, int64_t dim);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
