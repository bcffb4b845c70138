/* The embedder: a trained model, its tokenizer and its preprocessing opened as one. Pictures and
 * texts go in, rows of embed_dim floats come out; the cosine of two rows says how well they fit.
 *
 *     struct clip_embedder *e;
 *     struct clip_error error;
 *     float rows[2 * 512];
 *     if (clip_embedder_open(&e, "runs/small", NULL, &error) != CLIP_OK) ...  error.message
 *     const char *texts[] = {"a red circle", "a dog"};
 *     clip_embedder_texts(e, texts, 2, CLIP_UNIT, rows, NULL, &error);
 *     clip_embedder_free(e);
 *
 * Threads: an embedder is never changed after it is opened, and each call works in memory of its
 * own, so any number of threads may call with one embedder at once. A call itself uses all the
 * threads that clip_threads_set allows.
 *
 * A row depends on its picture or text and on the weights alone: it is the same to the bit whatever
 * else is in the call, and with any number of threads. */
#ifndef CLIP_EVAL_EMBEDDER_H
#define CLIP_EVAL_EMBEDDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

struct clip_embedder;
struct clip_model_file;

enum clip_embedder_use { CLIP_USE_BOTH, CLIP_USE_PICTURES, CLIP_USE_TEXTS };

struct clip_embedder_options {  /* {0}: the defaults */
    const char *tokenizer;      /* a tokenizer file, or "clip"; NULL: the model's own */
    bool raw_weights;           /* the weights as trained where their moving average is there too */
    int64_t max_pixels;         /* pictures with more are refused; 0: 100 million */
    enum clip_embedder_use use; /* only this tower is read; the other's calls are refused */
    bool checksum;              /* the model's checksum is wanted, which reads every weight */
};

enum clip_row_kind {
    CLIP_UNIT, /* length 1 (Radford et al. 2021, figure 3): dot products are cosines */
    CLIP_RAW,  /* as the projection gives them */
};

/* MODEL: a run folder, a native .h5, a folder, cached id or file of transformers', open_clip's or
 * OpenAI's weights. clip_embedder_free accepts NULL. */
clip_status clip_embedder_open(struct clip_embedder **out, const char *model,
                               const struct clip_embedder_options *options,
                               struct clip_error *error);
/* The same over a model that is in memory and stays the caller's; it must outlive the embedder. */
clip_status clip_embedder_create(struct clip_embedder **out, const struct clip_model_file *file,
                                 const struct clip_embedder_options *options,
                                 struct clip_error *error);
void clip_embedder_free(struct clip_embedder *embedder);

int64_t clip_embedder_dim(const struct clip_embedder *embedder);        /* E, floats a row */
int64_t clip_embedder_image_size(const struct clip_embedder *embedder); /* S */
int64_t clip_embedder_max_pixels(const struct clip_embedder *embedder);
const char *clip_embedder_source(const struct clip_embedder *embedder); /* the model's file */
double clip_embedder_logit_scale(const struct clip_embedder *embedder); /* exp of the parameter */
double clip_embedder_logit_bias(const struct clip_embedder *embedder);  /* 0 where there is none */
const struct clip_model_file *clip_embedder_file(const struct clip_embedder *embedder);

/* A picture: a file, a picture file's bytes, or decoded 8-bit RGB; what is not used stays 0. */
struct clip_picture {
    const char *path;
    const void *bytes;
    size_t size;
    const uint8_t *rgb;
    int64_t width, height;
};

/* Decodes (several at once), resizes, crops, normalises, embeds. out [n,E]. `failures` [n] or NULL:
 * with it a picture that cannot be read leaves a row of zeros and its reason in failures[i] (whose
 * status is CLIP_OK for the others); without it such a picture fails the call. */
clip_status clip_embedder_pictures(const struct clip_embedder *embedder,
                                   const struct clip_picture *pictures, int64_t n,
                                   enum clip_row_kind kind, float *out,
                                   struct clip_error *failures, struct clip_error *error);

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

/* The texts as whole rows of ids [n,context_length], both ends included, filled up with `padding`
 * (as open_clip and OpenAI's own code have it: 0; Stable Diffusion 1: the end token). */
clip_status clip_embedder_encode(const struct clip_embedder *embedder, const char *const *texts,
                                 int64_t n, int32_t padding, int32_t *ids, int64_t *cut,
                                 struct clip_error *error);

/* ---- inside the towers: what image generators are conditioned on, and guided by ---- */

enum clip_layer {
    CLIP_LAST,        /* behind the last block */
    CLIP_PENULTIMATE, /* behind the last but one ("clip skip 2") */
};

/* Hidden states of whole rows: padding is part of the sequence (attention is causal, so it changes
 * nothing up to a row's end token). ids [n,length], length at most context_length; states and
 * normed [n,length,text_width]: before and after ln_final. transformers' CLIPTextModel calls
 * `normed` of CLIP_LAST last_hidden_state, `states` of CLIP_PENULTIMATE hidden_states[-2]. */
clip_status clip_embedder_text_states(const struct clip_embedder *embedder, const int32_t *ids,
                                      int64_t n, int64_t length, enum clip_layer layer,
                                      float *states, float *normed, struct clip_error *error);
/* The same of pictures: [n,tokens,vision_width], the class token first, before and after ln_post.
 * transformers' CLIPVisionModel calls `states` of CLIP_LAST last_hidden_state. */
clip_status clip_embedder_image_states(const struct clip_embedder *embedder, const float *pixels,
                                       int64_t n, enum clip_layer layer, float *states,
                                       float *normed, struct clip_error *error);
int64_t clip_embedder_image_tokens(const struct clip_embedder *embedder); /* patches + 1 */
int64_t clip_embedder_vision_width(const struct clip_embedder *embedder);
int64_t clip_embedder_text_width(const struct clip_embedder *embedder);
int64_t clip_embedder_context(const struct clip_embedder *embedder); /* context_length */
/* The end token, and what the model's own tokenizer fills a row with: as a Hugging Face folder's
 * files say, mostly the end token; else 0 as open_clip's. */
int32_t clip_embedder_end(const struct clip_embedder *embedder);
int32_t clip_embedder_padding(const struct clip_embedder *embedder);

/* grad [n,3,S,S]: the gradient of u_i . d_i by picture i's (normalised) pixels, u_i its embedding
 * divided by its length, d_i [E] row i of `directions`; where that is a text's unit row, u_i . d_i
 * is their cosine. cosines [n] or NULL: the products themselves. The model is one that is not in
 * training. */
clip_status clip_embedder_pixel_grad(const struct clip_embedder *embedder, const float *pixels,
                                     int64_t n, const float *directions, float *cosines,
                                     float *grad, struct clip_error *error);

/* Each row of [n,E] divided by max(its length, 1e-12), sums in double. */
void clip_rows_normalise(float *rows, int64_t n, int64_t dim);

#endif
