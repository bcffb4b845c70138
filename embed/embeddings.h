/* Embeddings as named matrices, and the files that hold them: .h5, .safetensors, .npy. */
#ifndef CLIP_EMBED_EMBEDDINGS_H
#define CLIP_EMBED_EMBEDDINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoints/bundle.h"
#include "core/memory.h"
#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"
#include "embed/images.h"

struct clip_embeddings { /* start from {0} */
    struct clip_bundle bundle;
    struct clip_arena data;
    /* Of clip_embeddings_from_images and _from_pairs: */
    const char **names; /* [count] the images of the rows */
    int64_t count;      /* rows */
    int64_t skipped;    /* images, folders or pairs that could not be used, and have no row */
};
void clip_embeddings_release(struct clip_embeddings *embeddings);

/* A zeroed float matrix [rows,width] under `name`, to fill. */
clip_status clip_embeddings_add(struct clip_embeddings *embeddings, const char *name, int64_t rows,
                                int64_t width, float **data, struct clip_error *error);

/* The same of any shape. */
clip_status clip_embeddings_add_shape(struct clip_embeddings *embeddings, const char *name,
                                      int ndim, const int64_t *shape, float **data,
                                      struct clip_error *error);

struct clip_embeddings_extras { /* {0} or NULL: none */
    bool states;                /* hidden states, of `layer` */
    enum clip_layer layer;
    bool grad; /* pixel_grad */
};

/* From a safetensors file with `pixel_values` [n,3,S,S] (a float type, normalised already) and
 * `input_ids` [m,T] (I32 or I64, padded as clip_embedder_ids wants), either or both, as they are:
 * image_features, image_embeds [n,E] and text_features, text_embeds [m,E] (before and after
 * normalisation), and with both logits_per_image [n,m] = exp(logit_scale) cosine + logit_bias.
 * Extras:
 *   states  hidden_states and hidden_states_ln [m,T,text_width], before and after the last
 *           LayerNorm, padding run as it stands; vision_hidden_states and vision_hidden_states_ln
 *           [n,patches+1,vision_width]
 *   grad    pixel_grad [n,3,S,S], the gradient of sum over i of cosine(image i, text i) by
 *           pixel_values; needs both, and n = m */
clip_status clip_embeddings_from_tensors(struct clip_embeddings *out,
                                         const struct clip_embedder *embedder, const char *path,
                                         const struct clip_embeddings_extras *extras,
                                         struct clip_error *error);
/* Adds hidden_states and hidden_states_ln of ids [n,length], as above. */
clip_status clip_embeddings_add_states(struct clip_embeddings *out,
                                       const struct clip_embedder *embedder, const int32_t *ids,
                                       int64_t n, int64_t length, enum clip_layer layer,
                                       struct clip_error *error);

/* "image_embeds" [count,E]: a row for each image that can be read, in order (one that is listed
 * twice has two rows, computed once), and their names, which live as long as *out. The others are
 * named on stderr; CLIP_ERR_DATA where none is left. `quiet`: no progress line. */
clip_status clip_embeddings_from_images(struct clip_embeddings *out,
                                        const struct clip_embedder *embedder,
                                        const struct clip_images *images, enum clip_row_kind kind,
                                        bool quiet, struct clip_error *error);

/* "image_embeds" and "text_embeds" [count,E], a row for each sample of the data set that can be
 * used, in order (class folders: the caption of the first template), their images' names, which
 * live as long as the data set, and the model's "logit_scale" (a logarithm): what distillation
 * reads. The others are named on stderr; CLIP_ERR_DATA where none is left. */
clip_status clip_embeddings_from_pairs(struct clip_embeddings *out,
                                       const struct clip_embedder *embedder,
                                       const struct clip_dataset *dataset, enum clip_row_kind kind,
                                       bool quiet, struct clip_error *error);

/* CLIP_ERR_USAGE unless the name ends in .h5, .safetensors or .npy, the latter only where there is
 * one matrix to write: asked before the work begins. */
clip_status clip_embeddings_check(const char *path, bool several, struct clip_error *error);
/* Writes all matrices and, with `names` not NULL, n names as the text "names", a JSON list. For
 * .npy the list goes into a file beside it, PATH.names.json. Atomic. */
clip_status clip_embeddings_write(struct clip_embeddings *embeddings, const char *path,
                                  const char *const *names, int64_t n, struct clip_error *error);

/* The text "names" of such a file: *names is an array of `*count` strings in the arena. */
clip_status clip_names_from_json(const char *text, size_t size, const char *path,
                                 struct clip_arena *arena, const char ***names, int64_t *count,
                                 struct clip_error *error);

#endif
