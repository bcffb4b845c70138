/* The order of training: which sample stands at a position. It is a pure function of (seed, epoch,
 * position), so nothing else is stored to go on with it.
 *
 * Draws are counted over all epochs: position p of epoch e is draw e * length + p. Samples are
 * drawn without replacement: a set is gone through in rounds, each in a permutation of its own,
 * keyed by (seed, set, round). With one set and epochs of its size a round is an epoch.
 *
 * A stream (docs/data.md) numbers shards instead of samples, for nobody knows how many they hold:
 * of each, per_shard samples are drawn in a round. A round goes through the set's shards in a
 * permutation keyed by (seed, set, round), shard_group of them at a time, and through the draws of
 * such a group in a permutation keyed by (seed, set, round, group). A sample's number is
 * shard + turn * shards, where a shard's turn counts its draws over all rounds: a shard of fewer
 * samples gives some twice, and one of more gives others in the next round.
 *
 * Several sets with weights are mixed in blocks of CLIP_ORDER_BLOCK draws. Each set has the same
 * number of draws in every block, by its weight, and a permutation keyed by (seed, block) says
 * which. So a small set begins anew while a large one has not ended. */
#ifndef CLIP_DATA_SETS_ORDER_H
#define CLIP_DATA_SETS_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/rng.h"
#include "core/status.h"

enum { CLIP_ORDER_BLOCK = 10000 };

struct clip_order_part { /* a set of a mixture */
    int64_t end;         /* the number behind its last sample; the first one begins at 0 */
    double weight;       /* how often it is drawn from, in relation to the others */
    int64_t per_shard;   /* of a stream, where `end` counts shards: draws of each in a round */
};

struct clip_order_options {
    const struct clip_order_part *parts; /* only read when the order is created */
    int64_t part_count;                  /* 0: samples are one set */
    int64_t length;                      /* draws of an epoch; 0: as many as there are samples */
    int64_t shard_group;                 /* of a stream, which has parts; else 0 */
    uint64_t seed;
    bool shuffle; /* false: the samples in order; there are no parts then */
};

struct clip_draw {
    int64_t sample;
    /* what a draw's random numbers are keyed by, beside the epoch: no two draws of an epoch have
     * the same. It is the sample's number where none is drawn twice */
    uint64_t key;
};

/* Fails if a part is empty, or if its weight is so small that it has no draw in a block; the
 * sentence calls it set 1, 2, ... */
clip_status clip_order_check(const struct clip_order_part *parts, int64_t count,
                             struct clip_error *error);
struct clip_order;
/* Fails as the check does. */
clip_status clip_order_create(struct clip_order **out, int64_t samples, /* or shards */
                              const struct clip_order_options *options, struct clip_error *error);
void clip_order_free(struct clip_order *order);            /* accepts NULL */
int64_t clip_order_length(const struct clip_order *order); /* of an epoch */
/* Quick where draws are asked for as they follow each other; only one thread may ask at a time. */
struct clip_draw clip_order_at(struct clip_order *order, int64_t epoch, int64_t index);
/* A sample in the place of a bad one: of the same set, and the same group of shards, or of all
 * after many attempts. */
int64_t clip_order_replace(struct clip_order *order, int64_t epoch, int64_t index, int64_t attempt,
                           struct clip_rng *rng);

#endif
