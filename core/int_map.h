/* A map from 64-bit integers to numbers. Two 32-bit integers make one key.
 *
 * As with core/string_map.h, keys may be chosen by somebody who means harm. They are mixed with
 * random bytes of this process, so that nobody can know which keys share a slot. */
#ifndef CLIP_CORE_INT_MAP_H
#define CLIP_CORE_INT_MAP_H

#include <stdint.h>

#include "core/status.h"

struct clip_int_slot {
    uint64_t key;
    int64_t value; /* the value plus one; 0: the slot is free */
};
struct clip_int_map {            /* start from {0} */
    struct clip_int_slot *slots; /* [slot_count] */
    int64_t slot_count;          /* 0 or a power of two; at most half of the slots are taken */
    int64_t count;
    uint64_t secret[2];
};
void clip_int_map_release(struct clip_int_map *map);

/* Sets the key's value, which must be 0 or more. */
clip_status clip_int_map_put(struct clip_int_map *map, uint64_t key, int64_t value,
                             struct clip_error *error);

/* The key's slot, or the free one where it belongs; slot_count must be above 0. The hash multiplies
 * twice, each time after adding a secret, and mixes the upper half into the lower one in between
 * (as in the last step of MurmurHash3). */
static inline struct clip_int_slot *clip_int_map_slot(const struct clip_int_map *map, uint64_t key)
{
    uint64_t x = (key ^ map->secret[0]) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 32 ^ map->secret[1]) * UINT64_C(0xC2B2AE3D27D4EB4F);
    uint64_t mask = (uint64_t)map->slot_count - 1, at = x >> 32 & mask;
    while (map->slots[at].value != 0 && map->slots[at].key != key) at = (at + 1) & mask;
    return &map->slots[at];
}

/* The key's value; -1 if the key is not there. */
static inline int64_t clip_int_map_find(const struct clip_int_map *map, uint64_t key)
{
    return map->slot_count > 0 ? clip_int_map_slot(map, key)->value - 1 : -1;
}

#endif
