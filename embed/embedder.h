/* The embedder as the programs use it: the public part (clip/clip.h), and what is beneath it. */
#ifndef CLIP_EMBED_EMBEDDER_H
#define CLIP_EMBED_EMBEDDER_H

#include "clip/clip.h"
#include "core/status.h"

struct clip_model_file;

/* An embedder over a model that is in memory and stays the caller's; it must outlive it. With
 * options->pack it is the model that is packed (clip_model_pack), and stays so: for weights that
 * change no more, and while nobody else uses the model. */
clip_status clip_embedder_create(struct clip_embedder **out, const struct clip_model_file *file,
                                 const struct clip_embedder_options *options,
                                 struct clip_error *error);
int64_t clip_embedder_max_pixels(const struct clip_embedder *embedder);
bool clip_embedder_raw_weights(const struct clip_embedder *embedder); /* as its options say */
bool clip_embedder_upright(const struct clip_embedder *embedder);     /* as its options say */
const struct clip_model_file *clip_embedder_file(const struct clip_embedder *embedder);

const char *clip_layer_name(int layer); /* "last", "penultimate"; core/choice.h */

/* What image generators are guided by.
 * grad [n,3,S,S]: the gradient of u_i . d_i by image i's (normalised) pixels, u_i its embedding
 * divided by its length, d_i [E] row i of `directions`; where that is a text's unit row, u_i . d_i
 * is their cosine. cosines [n] or NULL: the products themselves. The model is one that is not in
 * training. */
clip_status clip_embedder_pixel_grad(const struct clip_embedder *embedder, const float *pixels,
                                     int64_t n, const float *directions, float *cosines,
                                     float *grad, struct clip_error *error);

#endif
