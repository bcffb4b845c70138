#include "core/string_map.h"

#include <stdlib.h>
#include <string.h>

#include "core/hash.h"

enum { FEWEST_SLOTS = 16 };

void clip_string_map_release(struct clip_string_map *map)
{
    free(map->entries);
    free(map->slots);
    clip_arena_release(&map->keys);
    *map = (struct clip_string_map){0};
}

void clip_string_map_clear(struct clip_string_map *map)
{
    if (map->count > 0) memset(map->slots, 0, (size_t)map->slot_count * sizeof *map->slots);
    map->count = 0;
}

/* The part of a key's hash that its slot keeps in its upper half. */
static uint64_t tag_of(const struct clip_string_map *map, const char *key, size_t n)
{
    return clip_hash_keyed(map->secret, key, n) & UINT64_C(0xFFFFFFFF00000000);
}

/* The slot that holds the key, or the empty one where it belongs. */
static uint64_t *slot_of(const struct clip_string_map *map, uint64_t tag, const char *key, size_t n)
{
    uint64_t mask = (uint64_t)map->slot_count - 1, at = tag >> 32 & mask;
    for (; map->slots[at] != 0; at = (at + 1) & mask) {
        if ((map->slots[at] ^ tag) >> 32 != 0) continue;
        const struct clip_string_entry *entry = &map->entries[(uint32_t)map->slots[at] - 1];
        if (entry->n == n && (n == 0 || memcmp(entry->key, key, n) == 0)) break;
    }
    return &map->slots[at];
}

/* Makes room for one more entry. Slots keep enough of their hashes to be moved without the keys. */
static clip_status make_room(struct clip_string_map *map, struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&map->entries, &map->capacity, map->count + 1, sizeof *map->entries, error);
    if (status != CLIP_OK || 3 * (map->count + 1) <= 2 * map->slot_count) return status;
    if (map->count >= UINT32_MAX / 2)
        return clip_fail(error, CLIP_ERR_DATA,
                         "there are more than %lld different names or texts; split the data",
                         (long long)map->count);
    int64_t count = map->slot_count == 0 ? FEWEST_SLOTS : 2 * map->slot_count;
    uint64_t *slots = clip_array_new(count, sizeof *slots, error), mask = (uint64_t)count - 1;
    if (slots == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < map->slot_count; i++) {
        uint64_t at = map->slots[i] >> 32 & mask;
        if (map->slots[i] == 0) continue;
        while (slots[at] != 0) at = (at + 1) & mask;
        slots[at] = map->slots[i];
    }
    if (map->slot_count == 0) clip_hash_secret(map->secret);
    free(map->slots);
    map->slots = slots;
    map->slot_count = count;
    return CLIP_OK;
}

clip_status clip_string_map_add(struct clip_string_map *map, const char *key, size_t n,
                                int64_t value, struct clip_string_entry **entry,
                                struct clip_error *error)
{
    clip_status status = make_room(map, error);
    if (status != CLIP_OK) return status;
    uint64_t tag = tag_of(map, key, n), *slot = slot_of(map, tag, key, n);
    if (*slot == 0) {
        if (!map->borrows && (key = clip_arena_string(&map->keys, key, n, error)) == NULL)
            return CLIP_ERR_MEMORY;
        map->entries[map->count++] = (struct clip_string_entry){key, n, value};
        *slot = tag | (uint64_t)map->count;
    }
    *entry = &map->entries[(uint32_t)*slot - 1];
    return CLIP_OK;
}

clip_status clip_string_map_number(struct clip_string_map *map, const char *key, size_t n,
                                   int64_t *number, struct clip_error *error)
{
    struct clip_string_entry *entry;
    clip_status status = clip_string_map_add(map, key, n, map->count, &entry, error);
    if (status == CLIP_OK) *number = entry->value;
    return status;
}

int64_t clip_string_map_find(const struct clip_string_map *map, const char *key, size_t n)
{
    if (map->count == 0) return -1;
    uint64_t slot = *slot_of(map, tag_of(map, key, n), key, n);
    return slot != 0 ? map->entries[(uint32_t)slot - 1].value : -1;
}
