/* libclip: embeddings of images and texts by a CLIP model (Radford et al. 2021), for your own
 * programs. Images and texts go in, rows of floats come out; the cosine of two rows says how well
 * they fit.
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
 * Memory: every array is the caller's, in and out. It has the shape that stands beside it, one row
 * after the other: [n,E] is n * E elements. The library does not keep it after the call. A string
 * that the library returns belongs to the embedder and lives as long as it does.
 *
 * Errors: what can fail returns a clip_status and, when it is not CLIP_OK, has filled the caller's
 * clip_error with one whole sentence: it names the file or sample, says what is wrong and what to
 * do. `error` is never NULL; it is written to on failure alone. After a failure the output may be
 * filled in part. Every such call may fail with CLIP_ERR_MEMORY or CLIP_ERR_MACHINE, and with
 * CLIP_ERR_USAGE for an enumerator that it does not know. The library never ends the program.
 *
 * Threads: an embedder is never changed after it is opened, and each call works in memory of its
 * own, so any number of threads may call with one embedder at once. Free it when no thread is in a
 * call any more. A call itself uses as many threads as clip_threads_set allows; they wait for the
 * next call afterwards. A child of fork has none of them, so it calls clip_threads_set(1) first.
 *
 * A row depends on its image or text and on the weights alone: it is the same to the bit whatever
 * else is in the call, and with any number of threads.
 *
 * Versions: the library's name is libclip.so.1. The number changes when a program that was built
 * before would not run any more; until then functions, enumerators and members are added, and none
 * is removed or changed. A structure that the caller fills (clip_embedder_options,
 * clip_image_source) grows at its end, and 0 in a new member means what was done before it was
 * there: begin with {0}, or name the members that you set. Its size goes with each call: C and C++
 * call the inline functions at the end of this header, which pass the size that the program was
 * compiled with; a foreign function interface calls the ..._sized functions. A newer library takes
 * missing members for 0. An older one refuses, with CLIP_ERR_USAGE, members that it does not know
 * and that are not 0. clip_error, which the library fills, never changes. A status that a program
 * does not know is a failure like the others. */
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
    CLIP_ERR_IO,          /* the system refused: permission, a folder that is a file, ... */
    CLIP_ERR_FORMAT,      /* a file's bytes are not what its format demands */
    CLIP_ERR_DATA,        /* well-formed, but of no use here: wrong shape, empty set, bad samples */
    CLIP_ERR_MEMORY,      /* allocation failed or a size would overflow */
    CLIP_ERR_DIVERGED,    /* the loss is not a finite number */
    CLIP_ERR_INTERRUPTED, /* a signal or the caller asked to stop; what was to be saved is saved */
    CLIP_ERR_BUSY,        /* another process holds the folder */
    CLIP_ERR_MACHINE,     /* the machine failed: I/O error, full disk, too many open files */
} clip_status;

struct clip_error {
    clip_status status;
    char message[1024]; /* UTF-8, NUL-terminated, cut at the end of a character when longer */
};

/* What follows, up to the end of this, is all that the shared library shows. */
#pragma GCC visibility push(default)

const char *clip_version(void); /* of the library that runs, "0.1.0"; a constant */

/* ---- Opening ---- */

struct clip_embedder; /* a model, its tokenizer and its preprocessing */

enum clip_embedder_use { CLIP_USE_BOTH, CLIP_USE_IMAGES, CLIP_USE_TEXTS };

enum clip_log_level {
    CLIP_LOG_NOTE,    /* what was found, with `say` */
    CLIP_LOG_WARNING, /* what had to be assumed and may be wrong, what cannot be had */
};

struct clip_embedder_options {  /* {0}: the defaults */
    const char *tokenizer;      /* a tokenizer file, or "clip"; NULL: the model's own */
    bool raw_weights;           /* the weights as trained where their moving average is there too */
    int64_t max_pixels;         /* images with more are refused; 0: 100 million */
    enum clip_embedder_use use; /* only this tower is read; the other's calls are refused */
    bool say;                   /* what was found of another project's model is a note */
    bool checksum;              /* the model's checksum is wanted, which reads every weight */
    bool bf16;                  /* multiply bfloat16, with float32 sums: near, and faster */
    bool pack;                  /* for many calls: weights are packed once, in one more copy */

    /* Gets each note and warning, a whole sentence in UTF-8 without an end of line, which lives
     * until the function returns; nothing is written to stderr. NULL: each is a line on stderr. */
    void (*log)(void *context, enum clip_log_level level, const char *message);
    /* Is asked between the pieces of a call (at most 64 images or texts, or 4 for each thread):
     * true ends the call with CLIP_ERR_INTERRUPTED. NULL: calls go on to their end. */
    bool (*cancelled)(void *context);
    /* The first argument of both. The thread that is in the call calls them; where several threads
     * use one embedder, several may be in them at once. They must not throw an exception or jump
     * out. Today only opening logs, and it cannot be cancelled. */
    void *context;

    bool upright; /* images are turned as their EXIF orientation says; else they are as stored */
};

/* clip_embedder_open(out, model, options, error)
 * Opens MODEL: a run folder, a native .h5, a folder, cached id or file of transformers',
 * open_clip's or OpenAI's weights, a .gguf of clip.cpp. `options` NULL: the defaults, whatever
 * options_size is. The strings are not kept. *out is the caller's to free, NULL after a failure.
 * CLIP_ERR_NOT_FOUND, CLIP_ERR_IO, CLIP_ERR_FORMAT, CLIP_ERR_DATA: of the files. */
clip_status clip_embedder_open_sized(struct clip_embedder **out, const char *model,
                                     const struct clip_embedder_options *options,
                                     size_t options_size, struct clip_error *error);
void clip_embedder_free(struct clip_embedder *embedder); /* NULL is fine */

int64_t clip_embedder_dim(const struct clip_embedder *embedder);        /* E, floats per row */
int64_t clip_embedder_image_size(const struct clip_embedder *embedder); /* S, pixels per side */
int64_t clip_embedder_context(const struct clip_embedder *embedder);    /* T, tokens, at most */
const char *clip_embedder_source(const struct clip_embedder *embedder); /* the model's file */
/* The model's checksum, the same in every format: 8 hexadecimal digits; "" unless it was wanted. */
const char *clip_embedder_checksum(const struct clip_embedder *embedder);
double clip_embedder_logit_scale(const struct clip_embedder *embedder); /* exp of the parameter */
double clip_embedder_logit_bias(const struct clip_embedder *embedder);  /* 0: there is none */

/* How many threads the calls from this thread use, from its next one on. n < 1: all the processor's
 * cores. */
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
    size_t size;        /* of `bytes` */
    const uint8_t *rgb; /* [height,width,3] */
    int64_t width, height;
};

/* clip_embedder_images(embedder, images, n, kind, out, failures, error)
 * n images, embedded: decodes (several at once), resizes, crops, normalises, embeds. out [n,E].
 * `failures` [n] or NULL: with it an image that cannot be read leaves a row of zeros and its reason
 * in failures[i] (whose status is CLIP_OK for the others); without it such an image fails the call.
 * CLIP_ERR_NOT_FOUND, CLIP_ERR_IO, CLIP_ERR_FORMAT, CLIP_ERR_DATA: of an image.
 * CLIP_ERR_USAGE: the model was opened for texts alone. CLIP_ERR_INTERRUPTED. */
clip_status clip_embedder_images_sized(const struct clip_embedder *embedder,
                                       const struct clip_image_source *images, size_t image_size,
                                       int64_t n, enum clip_row_kind kind, float *out,
                                       struct clip_error *failures, struct clip_error *error);

/* n texts, embedded: UTF-8, NUL-terminated. out [n,E]. *cut (or NULL): how many were longer than
 * the context and were cut.
 * CLIP_ERR_DATA: the model came without a tokenizer, or a text is not UTF-8. CLIP_ERR_USAGE: it was
 * opened for images alone. CLIP_ERR_INTERRUPTED. */
clip_status clip_embedder_texts(const struct clip_embedder *embedder, const char *const *texts,
                                int64_t n, enum clip_row_kind kind, float *out, int64_t *cut,
                                struct clip_error *error);

/* ---- Embedding in two steps ---- */

/* clip_embedder_preprocess(embedder, images, n, pixels, failures, error)
 * n images as what the vision tower reads: decoded, resized, cropped, and each value
 * (value / 255 - mean) / std of its channel. pixels [n,3,S,S]. `failures` and errors as for
 * clip_embedder_images; a failed image leaves zeros, and a model opened for texts alone will do. */
clip_status clip_embedder_preprocess_sized(const struct clip_embedder *embedder,
                                           const struct clip_image_source *images,
                                           size_t image_size, int64_t n, float *pixels,
                                           struct clip_error *failures, struct clip_error *error);

/* Those pixels, embedded. pixels [n,3,S,S], out [n,E].
 * CLIP_ERR_USAGE: the model was opened for texts alone. CLIP_ERR_INTERRUPTED. */
clip_status clip_embedder_pixels(const struct clip_embedder *embedder, const float *pixels,
                                 int64_t n, enum clip_row_kind kind, float *out,
                                 struct clip_error *error);

/* What fills a row of token ids after its text, in place of a certain id. */
enum clip_padding {
    CLIP_PAD_MODEL = -1, /* as the model's own tokenizer fills it (transformers: mostly the end
                          * token; open_clip and OpenAI: 0) */
    CLIP_PAD_END = -2,   /* the end token */
};

/* n texts as what the text tower reads: whole rows of token ids, start and end token included where
 * the model has them, filled up with `padding` (an id, or one of enum clip_padding). ids [n,T].
 * *cut and errors as for clip_embedder_texts. */
clip_status clip_embedder_tokenize(const struct clip_embedder *embedder, const char *const *texts,
                                   int64_t n, int32_t padding, int32_t *ids, int64_t *cut,
                                   struct clip_error *error);

/* Token ids, embedded. ids [n,length], padded: a row ends at the model's end token, the first where
 * it comes twice (transformers' pooling; its first id where there is none), or at its largest id
 * (open_clip's); what stands behind it is not read, except by models that read their padding too
 * (SigLIP). out [n,E].
 * CLIP_ERR_DATA: an id that the vocabulary does not have, a row that is longer than T up to its
 * end, a length under 1. CLIP_ERR_USAGE: the model was opened for images alone.
 * CLIP_ERR_INTERRUPTED. */
clip_status clip_embedder_ids(const struct clip_embedder *embedder, const int32_t *ids, int64_t n,
                              int64_t length, enum clip_row_kind kind, float *out,
                              struct clip_error *error);

/* ---- Hidden states: what image generators are conditioned on ---- */

enum clip_layer {
    CLIP_LAST,        /* after the last block */
    CLIP_PENULTIMATE, /* after the last but one ("clip skip 2") */
};

int64_t clip_embedder_text_width(const struct clip_embedder *embedder);   /* D of a text's */
int64_t clip_embedder_vision_width(const struct clip_embedder *embedder); /* D of an image's */
int64_t clip_embedder_image_tokens(const struct clip_embedder *embedder); /* P: patches, and the
                                                                            * class token if any */

/* Hidden states of rows of token ids [n,length], length at most T, run whole: padding is part of
 * the sequence (where attention is causal, it changes nothing up to a row's end token).
 *   states [n,length,D]   x after the block that `layer` names
 *   normed [n,length,D]   ln_final(x)
 * Either may be NULL. transformers' CLIPTextModel calls `normed` of CLIP_LAST last_hidden_state,
 * `states` of CLIP_PENULTIMATE hidden_states[-2]. Errors as for clip_embedder_ids. */
clip_status clip_embedder_text_states(const struct clip_embedder *embedder, const int32_t *ids,
                                      int64_t n, int64_t length, enum clip_layer layer,
                                      float *states, float *normed, struct clip_error *error);

/* The same of preprocessed images [n,3,S,S]: states and normed [n,P,D], before and after ln_post,
 * the class token first where there is one. transformers' CLIPVisionModel calls `states` of
 * CLIP_LAST last_hidden_state. Errors as for clip_embedder_pixels. */
clip_status clip_embedder_image_states(const struct clip_embedder *embedder, const float *pixels,
                                       int64_t n, enum clip_layer layer, float *states,
                                       float *normed, struct clip_error *error);

/* ---- Comparing: nothing here fails ---- */

/* out[i,j] = sum over d of a[i,d] b[j,d], in double: of unit rows, the cosines.
 *   out [n,m]   a [n,dim]   b [m,dim] */
void clip_similarity(double *out, const float *a, int64_t n, const float *b, int64_t m,
                     int64_t dim);
/* Zero-shot classification: the cosines [n,m] of n images with m labels become the labels'
 * probabilities, in place.
 *   p[i,j] = exp(s c[i,j]) / sum over k of exp(s c[i,k]),   s = clip_embedder_logit_scale */
void clip_embedder_probabilities(const struct clip_embedder *embedder, double *cosines, int64_t n,
                                 int64_t m);
/* rows[i] = rows[i] / max(|rows[i]|, 1e-12), in place, its length |rows[i]| in double.
 *   rows [n,dim] */
void clip_rows_normalise(float *rows, int64_t n, int64_t dim);

#pragma GCC visibility pop

/* ---- What C and C++ call: with the structures' sizes as they were compiled ---- */

static inline clip_status clip_embedder_open(struct clip_embedder **out, const char *model,
                                             const struct clip_embedder_options *options,
                                             struct clip_error *error)
{
    return clip_embedder_open_sized(out, model, options, sizeof *options, error);
}

static inline clip_status clip_embedder_images(const struct clip_embedder *embedder,
                                               const struct clip_image_source *images, int64_t n,
                                               enum clip_row_kind kind, float *out,
                                               struct clip_error *failures,
                                               struct clip_error *error)
{
    return clip_embedder_images_sized(embedder, images, sizeof *images, n, kind, out, failures,
                                      error);
}

static inline clip_status clip_embedder_preprocess(const struct clip_embedder *embedder,
                                                   const struct clip_image_source *images,
                                                   int64_t n, float *pixels,
                                                   struct clip_error *failures,
                                                   struct clip_error *error)
{
    return clip_embedder_preprocess_sized(embedder, images, sizeof *images, n, pixels, failures,
                                          error);
}

#ifdef __cplusplus
}
#endif

#endif
