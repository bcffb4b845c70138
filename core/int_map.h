/* Whole numbers to numbers: the hash table for keys of 64 bits. Pairs of 32 bits make one.
 *
 * As with core/string_map.h, keys may be chosen by somebody who means harm: they are mixed with
 * random bytes of this process, so that nobody can know which meet in one slot. */
#ifndef CLIP_CORE_INT_MAP_H
#define CLIP_CORE_INT_MAP_H

#include <stdint.h>

#include "core/status.h"

struct clip_int_slot {
    uint64_t key;
    int64_t value; /* plus one; 0: the slot is free */
};
struct clip_int_map {            /* start from {0} */
    struct clip_int_slot *slots; /* [slot_count] */
    int64_t slot_count;          /* 0 or a power of two; at most half are taken */
    int64_t count;
    uint64_t secret[2];
};
void clip_int_map_release(struct clip_int_map *map);

/* The key's value (0 or more) is this one from now on. */
clip_status clip_int_map_put(struct clip_int_map *map, uint64_t key, int64_t value,
                             struct clip_error *error);

/* The key's slot, or the free one where it belongs; slot_count > 0. Two multiplications, between
 * which the upper half comes down (as in MurmurHash3's last step), each behind a secret. */
static inline struct clip_int_slot *clip_int_map_slot(const struct clip_int_map *map, uint64_t key)
{
    uint64_t x = (key ^ map->secret[0]) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 32 ^ map->secret[1]) * UINT64_C(0xC2B2AE3D27D4EB4F);
    uint64_t mask = (uint64_t)map->slot_count - 1, at = x >> 32 & mask;
    while (map->slots[at].value != 0 && map->slots[at].key != key) at = (at + 1) & mask;
    return &map->slots[at];
}

/* The key's value; -1: it is not there. */
static inline int64_t clip_int_map_find(const struct clip_int_map *map, uint64_t key)
{
    return map->slot_count > 0 ? clip_int_map_slot(map, key)->value - 1 : -1;
}

#endif
