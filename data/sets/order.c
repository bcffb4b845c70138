#include "data/sets/order.h"

#include <math.h>
#include <stdlib.h>

#include "core/memory.h"

/* Attempts to replace a bad sample by one of its own set; that may have no good one. */
enum { OWN_ATTEMPTS = 100 };

struct part {
    int64_t begin, count; /* samples, or shards, [begin, begin + count) */
    int64_t per_shard;    /* 1 without a stream */
    int64_t quota;        /* its draws in a block */
    int64_t round;        /* the one that `items` has the permutation of; -1: none */
    /* of a stream: the draws of this group of shards in this round, in their order */
    int64_t group, group_round, *draws;
};

struct clip_order {
    int64_t count, length;
    uint64_t seed;
    bool shuffle;
    bool once; /* no sample is drawn twice in an epoch: a round is an epoch */
    struct part *parts;
    int64_t part_count;
    int64_t shard_group;
    int64_t *items; /* [count] samples, or shards: part after part, in the order of its round */
    /* [CLIP_ORDER_BLOCK] whose draw each one of `block` is, and which of its draws there; NULL with
     * one part */
    int64_t *owners, *ranks;
    int64_t block; /* -1: none */
};

/* Shares CLIP_ORDER_BLOCK by the weights: rounded down, and the rest to the largest remainders. */
static clip_status set_quotas(struct clip_order *order, const struct clip_order_part *given,
                              struct clip_error *error)
{
    double sum = 0;
    int64_t left = CLIP_ORDER_BLOCK;
    for (int64_t k = 0; k < order->part_count; k++) sum += given[k].weight;
    for (int64_t k = 0; k < order->part_count; k++) {
        order->parts[k].quota = (int64_t)floor(given[k].weight / sum * CLIP_ORDER_BLOCK);
        left -= order->parts[k].quota;
    }
    for (; left > 0; left--) {
        int64_t most = 0;
        double lead = -CLIP_ORDER_BLOCK;
        for (int64_t k = 0; k < order->part_count; k++) {
            double over = given[k].weight / sum * CLIP_ORDER_BLOCK - (double)order->parts[k].quota;
            if (over > lead) {
                lead = over;
                most = k;
            }
        }
        order->parts[most].quota++;
    }
    for (int64_t k = 0; k < order->part_count; k++)
        if (order->parts[k].quota == 0)
            return clip_fail(error, CLIP_ERR_USAGE,
                             "the weight %g of set %lld is less than a ten-thousandth of their sum "
                             "%g; raise it or leave the set out",
                             given[k].weight, (long long)k + 1, sum);
    return CLIP_OK;
}

static clip_status set_parts(struct clip_order *order, const struct clip_order_options *options,
                             struct clip_error *error)
{
    const struct clip_order_part whole = {.end = order->count, .weight = 1};
    const struct clip_order_part *given = options->part_count > 0 ? options->parts : &whole;
    int64_t begin = 0;
    bool streamed = options->shard_group > 0;
    for (int64_t k = 0; k < order->part_count; k++) {
        if (!(given[k].weight > 0 && isfinite(given[k].weight)))
            return clip_fail(error, CLIP_ERR_USAGE,
                             "the weight %g of set %lld is not a number above 0", given[k].weight,
                             (long long)k + 1);
        order->parts[k] = (struct part){.begin = begin,
                                        .count = given[k].end - begin,
                                        .per_shard = streamed ? given[k].per_shard : 1,
                                        .round = -1,
                                        .group = -1};
        if (order->parts[k].count < 1)
            return clip_fail(error, CLIP_ERR_DATA,
                             "set %lld has no samples; leave it out, and its weight",
                             (long long)k + 1);
        begin = given[k].end;
    }
    return set_quotas(order, given, error);
}

clip_status clip_order_check(const struct clip_order_part *parts, int64_t count,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_order_options options = {.parts = parts, .part_count = count};
    struct clip_order order = {.part_count = count};
    CLIP_NEW(order.parts, count);
    CLIP_TRY(set_parts(&order, &options, error));
out:
    free(order.parts);
    return status;
}

clip_status clip_order_create(struct clip_order **out, int64_t samples,
                              const struct clip_order_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_order *order = NULL;
    *out = NULL;
    CLIP_NEW(order, 1);
    order->count = samples;
    order->length = options->length > 0 ? options->length : samples;
    order->seed = options->seed;
    order->shuffle = options->shuffle;
    order->part_count = options->part_count > 0 ? options->part_count : 1;
    order->shard_group = options->shard_group;
    order->once = options->shard_group == 0 && order->part_count == 1 && order->length == samples;
    order->block = -1;
    if (!options->shuffle) goto done;
    CLIP_NEW(order->parts, order->part_count);
    CLIP_TRY(set_parts(order, options, error));
    CLIP_NEW(order->items, samples);
    for (int64_t k = 0; k < order->part_count && order->shard_group > 0; k++) {
        struct part *part = &order->parts[k];
        CLIP_NEW(part->draws, clip_min_i64(order->shard_group, part->count) * part->per_shard);
    }
    if (order->part_count > 1) {
        CLIP_NEW(order->owners, CLIP_ORDER_BLOCK);
        CLIP_NEW(order->ranks, CLIP_ORDER_BLOCK);
    }
done:
    *out = order;
    order = NULL;
out:
    clip_order_free(order);
    return status;
}

void clip_order_free(struct clip_order *order)
{
    if (order == NULL) return;
    for (int64_t k = 0; order->parts != NULL && k < order->part_count; k++)
        free(order->parts[k].draws);
    void *arrays[] = {order->parts, order->items, order->owners, order->ranks, order};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

int64_t clip_order_length(const struct clip_order *order) { return order->length; }

/* Says whose each draw of the block is. */
static void mix(struct clip_order *order, int64_t block)
{
    int64_t at = 0;
    struct clip_rng rng = clip_rng_at(order->seed, CLIP_RNG_MIX, 0, (uint64_t)block);
    for (int64_t k = 0; k < order->part_count; k++)
        for (int64_t i = 0; i < order->parts[k].quota; i++) order->owners[at++] = k;
    clip_rng_shuffle(&rng, order->owners, CLIP_ORDER_BLOCK);
    /* a set's draws are counted as they come, so that its rounds follow each other */
    for (int64_t k = 0; k < order->part_count; k++) {
        int64_t rank = 0;
        for (at = 0; at < CLIP_ORDER_BLOCK; at++)
            if (order->owners[at] == k) order->ranks[at] = rank++;
    }
    order->block = block;
}

static void permute(struct clip_order *order, int64_t k, int64_t round)
{
    struct part *part = &order->parts[k];
    int64_t *items = order->items + part->begin;
    if (part->round == round) return;
    for (int64_t i = 0; i < part->count; i++) items[i] = part->begin + i;
    struct clip_rng rng = clip_rng_at(order->seed, CLIP_RNG_SHUFFLE, (uint32_t)round, (uint64_t)k);
    clip_rng_shuffle(&rng, items, part->count);
    part->round = round;
}

/* Where a draw stands: of which part, in which of its rounds, and where in that. */
struct place {
    int64_t part, round, at;
};

static struct place find(struct clip_order *order, int64_t epoch, int64_t index)
{
    int64_t k = 0, draw = epoch * order->length + index;
    if (order->part_count > 1) {
        int64_t block = draw / CLIP_ORDER_BLOCK, at = draw % CLIP_ORDER_BLOCK;
        if (order->block != block) mix(order, block);
        k = order->owners[at];
        draw = block * order->parts[k].quota + order->ranks[at];
    }
    int64_t size = order->parts[k].count * order->parts[k].per_shard;
    return (struct place){.part = k, .round = draw / size, .at = draw % size};
}

/* The group of shards that a draw is of: the first of them in the order of the round, and how many
 * draws the group has. */
static int64_t group_of(const struct clip_order *order, const struct place *place, int64_t *draws)
{
    const struct part *part = &order->parts[place->part];
    int64_t first = place->at / (order->shard_group * part->per_shard) * order->shard_group;
    *draws = clip_min_i64(order->shard_group, part->count - first) * part->per_shard;
    return first;
}

/* The sample that is draw `draw` of the group. */
static int64_t streamed(const struct clip_order *order, const struct place *place, int64_t first,
                        int64_t draw)
{
    const struct part *part = &order->parts[place->part];
    int64_t shard = order->items[part->begin + first + draw / part->per_shard];
    return shard + (place->round * part->per_shard + draw % part->per_shard) * order->count;
}

static int64_t stream_at(struct clip_order *order, const struct place *place)
{
    struct part *part = &order->parts[place->part];
    int64_t draws, first = group_of(order, place, &draws);
    if (part->group != first || part->group_round != place->round) {
        uint64_t key = (uint64_t)place->part << 32 | (uint64_t)first;
        struct clip_rng rng = clip_rng_at(order->seed, CLIP_RNG_GROUP, (uint32_t)place->round, key);
        for (int64_t i = 0; i < draws; i++) part->draws[i] = i;
        clip_rng_shuffle(&rng, part->draws, draws);
        part->group = first;
        part->group_round = place->round;
    }
    int64_t at = place->at - first * part->per_shard;
    return streamed(order, place, first, part->draws[at]);
}

struct clip_draw clip_order_at(struct clip_order *order, int64_t epoch, int64_t index)
{
    if (!order->shuffle) return (struct clip_draw){index, (uint64_t)index};
    const struct place place = find(order, epoch, index);
    permute(order, place.part, place.round);
    int64_t sample;
    uint64_t key;
    if (order->shard_group > 0) {
        sample = stream_at(order, &place);
        key = (uint64_t)sample;
    } else {
        sample = order->items[order->parts[place.part].begin + place.at];
        key = (uint64_t)sample;
        if (!order->once) key += (uint64_t)place.round * (uint64_t)order->count;
    }
    return (struct clip_draw){sample, key & ((UINT64_C(1) << 56) - 1)};
}

int64_t clip_order_replace(struct clip_order *order, int64_t epoch, int64_t index, int64_t attempt,
                           struct clip_rng *rng)
{
    const struct place place = find(order, epoch, index);
    const struct part *part = &order->parts[place.part];
    int64_t draws;
    bool own = attempt < OWN_ATTEMPTS;
    if (order->shard_group == 0)
        return own ? part->begin + clip_rng_index(rng, part->count)
                   : clip_rng_index(rng, order->count);
    permute(order, place.part, place.round);
    int64_t first = group_of(order, &place, &draws);
    if (own) return streamed(order, &place, first, clip_rng_index(rng, draws));
    return streamed(order, &place, 0, clip_rng_index(rng, part->count * part->per_shard));
}
