/* Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as
 * easy as 1, 2, 3").
 *
 * A stream is a pure function of (seed, purpose, epoch, sample). No state is carried from sample to
 * sample, worker to worker or run to run, so the draws for a sample are the same whichever thread
 * makes them, and after any resume. */
#ifndef CLIP_CORE_RNG_H
#define CLIP_CORE_RNG_H

#include <stdint.h>

/* What a stream is for. The values are part of what a checkpoint means: never renumber them. */
enum clip_rng_purpose {
    CLIP_RNG_INIT = 1,    /* sample: the parameter's number */
    CLIP_RNG_SHUFFLE = 2, /* epoch: the round; sample: 0, or the set of a mixture (order.h) */
    CLIP_RNG_AUGMENT = 3, /* sample: the draw's key (order.h): the sample's number, mostly */
    CLIP_RNG_CAPTION = 4, /* which caption or template: the draw's key */
    CLIP_RNG_PATCHES = 5, /* patch dropout: the draw's key */
    CLIP_RNG_DRAW = 6,    /* demo images: image's number */
    CLIP_RNG_BENCH = 7,
    CLIP_RNG_TEST = 8,
    CLIP_RNG_GUIDE = 9,    /* clip_guide: epoch the step, sample the view; first image: epoch 0 */
    CLIP_RNG_REPLACE = 10, /* in a bad sample's place: the position in the epoch */
    CLIP_RNG_MIX = 11,     /* which set of a mixture: epoch 0, the block's number (order.h) */
    CLIP_RNG_GROUP = 12,   /* a group of a stream's shards: the round; the set and the group */
};

struct clip_rng {
    uint32_t key[2];     /* the seed */
    uint32_t counter[4]; /* block number, epoch, sample's low word, its high 24 bits and purpose */
    uint32_t block[4];
    int used; /* of block */
};

/* Samples must be below 2^56. A stream has 2^34 numbers. */
struct clip_rng clip_rng_at(uint64_t seed, enum clip_rng_purpose purpose, uint32_t epoch,
                            uint64_t sample);
/* The function itself, for the known-answer test: out = philox4x32-10(counter, key). */
void clip_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

uint32_t clip_rng_u32(struct clip_rng *rng);
uint32_t clip_rng_below(struct clip_rng *rng, uint32_t n); /* uniform in [0, n), unbiased; n > 0 */
int64_t clip_rng_index(struct clip_rng *rng, int64_t n);   /* the same for n of more than 32 bits */
double clip_rng_range(struct clip_rng *rng, double low, double high); /* [low, high), 53 bits */
/* Normal with mean 0 and variance 1 (Box-Muller, cosine branch). Each takes two draws and is at
 * most 6.7 from 0. */
float clip_rng_normal(struct clip_rng *rng);
void clip_rng_shuffle(struct clip_rng *rng, int64_t *items, int64_t n); /* Fisher-Yates */

#endif
