/* Embeddings of a tower that is wholly locked (LiT, Zhai et al. 2022): computed once and kept, so
 * that an epoch costs the other tower alone.
 *
 *   images  where they are not augmented: each sample's row is computed before the first step and
 *             kept in the run's folder, with what it depends on; the loader then decodes nothing
 *   captions  by their tokens, each when it first comes, in memory: any source of captions, hard
 *             negatives too
 *
 * A row is computed by itself, so it has the same bits whenever that is: a run that goes on after a
 * stop gives what one without a stop gives. */
#ifndef CLIP_TRAIN_LOCKED_H
#define CLIP_TRAIN_LOCKED_H

#include "data/sets/loader.h"
#include "model/model.h"

struct clip_setup;
struct clip_locked;

enum clip_cache_locked { CLIP_CACHE_LOCKED_AUTO, CLIP_CACHE_LOCKED_OFF };
const char *clip_cache_locked_name(int cache); /* "auto", "off"; core/choice.h */

/* *out NULL: no tower is locked and to be kept ([train] cache_locked). `folder`: the run's. */
clip_status clip_locked_open(struct clip_locked **out, const struct clip_setup *setup,
                             const char *folder, bool quiet, struct clip_error *error);
void clip_locked_free(struct clip_locked *locked); /* NULL is fine */

/* Does it keep images, or captions? NULL keeps nothing. */
bool clip_locked_images(const struct clip_locked *locked);
bool clip_locked_texts(const struct clip_locked *locked);
/* [count of train_data]: which samples' images could be read; NULL where they are not kept. */
const bool *clip_locked_usable(const struct clip_locked *locked);
/* Computes what is new in the batch; its rows can then be asked for. */
clip_status clip_locked_prepare(struct clip_locked *locked, const struct clip_batch *batch,
                                struct clip_error *error);
/* The unit row [E] of the prepared batch's image i, or of its text i (negatives behind). */
const float *clip_locked_image(const struct clip_locked *locked, const struct clip_batch *batch,
                               int64_t i);
const float *clip_locked_text(const struct clip_locked *locked, int64_t i);

#endif
