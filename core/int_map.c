#include "core/int_map.h"

#include <stdlib.h>

#include "core/hash.h"
#include "core/memory.h"

enum { FEWEST_SLOTS = 64 };

void clip_int_map_release(struct clip_int_map *map)
{
    free(map->slots);
    *map = (struct clip_int_map){0};
}

static clip_status make_room(struct clip_int_map *map, struct clip_error *error)
{
    if (2 * (map->count + 1) <= map->slot_count) return CLIP_OK;
    struct clip_int_map grown = *map;
    grown.slot_count = map->slot_count == 0 ? FEWEST_SLOTS : 2 * map->slot_count;
    grown.slots = clip_array_new(grown.slot_count, sizeof *grown.slots, error);
    if (grown.slots == NULL) return CLIP_ERR_MEMORY;
    if (map->slot_count == 0) clip_hash_secret(grown.secret);
    for (int64_t i = 0; i < map->slot_count; i++)
        if (map->slots[i].value != 0) *clip_int_map_slot(&grown, map->slots[i].key) = map->slots[i];
    free(map->slots);
    *map = grown;
    return CLIP_OK;
}

clip_status clip_int_map_put(struct clip_int_map *map, uint64_t key, int64_t value,
                             struct clip_error *error)
{
    clip_status status = make_room(map, error);
    if (status != CLIP_OK) return status;
    struct clip_int_slot *slot = clip_int_map_slot(map, key);
    map->count += slot->value == 0;
    *slot = (struct clip_int_slot){key, value + 1};
    return CLIP_OK;
}
