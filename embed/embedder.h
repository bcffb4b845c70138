/* The embedder as the programs use it: the public part (clip/clip.h), and what is beneath it or goes
 * inside the towers. */
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
const struct clip_model_file *clip_embedder_file(const struct clip_embedder *embedder);

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
const char *clip_layer_name(int layer); /* "last", "penultimate"; core/choice.h */

/* Hidden states of whole rows: padding is part of the sequence (attention is causal, so it changes
 * nothing up to a row's end token). ids [n,length], length at most context_length; states and
 * normed [n,length,text_width]: before and after ln_final. transformers' CLIPTextModel calls
 * `normed` of CLIP_LAST last_hidden_state, `states` of CLIP_PENULTIMATE hidden_states[-2]. */
clip_status clip_embedder_text_states(const struct clip_embedder *embedder, const int32_t *ids,
                                      int64_t n, int64_t length, enum clip_layer layer,
                                      float *states, float *normed, struct clip_error *error);
/* The same of images: [n,tokens,vision_width], the class token first, before and after ln_post.
 * transformers' CLIPVisionModel calls `states` of CLIP_LAST last_hidden_state. */
clip_status clip_embedder_image_states(const struct clip_embedder *embedder, const float *pixels,
                                       int64_t n, enum clip_layer layer, float *states,
                                       float *normed, struct clip_error *error);
int64_t clip_embedder_image_tokens(const struct clip_embedder *embedder); /* patches + 1 */
int64_t clip_embedder_vision_width(const struct clip_embedder *embedder);
int64_t clip_embedder_text_width(const struct clip_embedder *embedder);
/* The end token, and what the model's own tokenizer fills a row with: as a Hugging Face folder's
 * files say, mostly the end token; else 0 as open_clip's. */
int32_t clip_embedder_end(const struct clip_embedder *embedder);
int32_t clip_embedder_padding(const struct clip_embedder *embedder);

/* grad [n,3,S,S]: the gradient of u_i . d_i by image i's (normalised) pixels, u_i its embedding
 * divided by its length, d_i [E] row i of `directions`; where that is a text's unit row, u_i . d_i
 * is their cosine. cosines [n] or NULL: the products themselves. The model is one that is not in
 * training. */
clip_status clip_embedder_pixel_grad(const struct clip_embedder *embedder, const float *pixels,
                                     int64_t n, const float *directions, float *cosines,
                                     float *grad, struct clip_error *error);

#endif
