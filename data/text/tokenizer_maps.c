#include "data/text/tokenizer_maps.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 64 };

/* FNV-1a over the bytes, then a multiply to spread it over the low bits. */
static uint64_t hash_bytes(const char *bytes, size_t n)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001B3);
    return hash ^ hash >> 29;
}

static struct clip_string_entry *string_place(const struct clip_string_map *map, uint64_t hash,
                                              const char *bytes, size_t n)
{
    uint64_t mask = (uint64_t)map->size - 1, at = hash & mask;
    for (;; at = (at + 1) & mask) {
        struct clip_string_entry *place = &map->places[at];
        if (place->bytes == NULL) return place;
        if (place->hash == hash && place->n == n && memcmp(place->bytes, bytes, n) == 0)
            return place;
    }
}

static clip_status string_map_grow(struct clip_string_map *map, struct clip_error *error)
{
    struct clip_string_map grown = *map;
    grown.size = map->size == 0 ? FIRST_SIZE : map->size * 2;
    grown.places = clip_array_new(grown.size, sizeof *grown.places, error);
    if (grown.places == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < map->size; i++) {
        struct clip_string_entry *old = &map->places[i];
        if (old->bytes != NULL) *string_place(&grown, old->hash, old->bytes, old->n) = *old;
    }
    free(map->places);
    *map = grown;
    return CLIP_OK;
}

struct clip_string_entry *clip_string_map_put(struct clip_string_map *map, const char *bytes,
                                              size_t n, struct clip_error *error)
{
    if (2 * (map->count + 1) > map->size && string_map_grow(map, error) != CLIP_OK) return NULL;
    uint64_t hash = hash_bytes(bytes, n);
    struct clip_string_entry *place = string_place(map, hash, bytes, n);
    if (place->bytes == NULL) {
        const char *copy = clip_arena_string(&map->keys, bytes, n, error);
        if (copy == NULL) return NULL;
        *place = (struct clip_string_entry){copy, n, hash, -1};
        map->count++;
    }
    return place;
}

int64_t clip_string_map_get(const struct clip_string_map *map, const char *bytes, size_t n)
{
    if (map->size == 0) return -1;
    const struct clip_string_entry *place = string_place(map, hash_bytes(bytes, n), bytes, n);
    return place->bytes == NULL ? -1 : place->value;
}

void clip_string_map_release(struct clip_string_map *map)
{
    free(map->places);
    clip_arena_release(&map->keys);
    *map = (struct clip_string_map){0};
}

static struct clip_pair_entry *pair_place(const struct clip_pair_map *map, int32_t left,
                                          int32_t right)
{
    uint64_t mask = (uint64_t)map->size - 1, at = clip_pair_hash(left, right) & mask;
    while (map->places[at].value != 0 &&
           (map->places[at].left != left || map->places[at].right != right))
        at = (at + 1) & mask;
    return &map->places[at];
}

clip_status clip_pair_map_put(struct clip_pair_map *map, int32_t left, int32_t right, int32_t value,
                              struct clip_error *error)
{
    if (2 * (map->count + 1) > map->size) {
        struct clip_pair_map grown = {.count = map->count};
        grown.size = map->size == 0 ? FIRST_SIZE : map->size * 2;
        grown.places = clip_array_new(grown.size, sizeof *grown.places, error);
        if (grown.places == NULL) return CLIP_ERR_MEMORY;
        for (int64_t i = 0; i < map->size; i++) {
            struct clip_pair_entry *old = &map->places[i];
            if (old->value != 0) *pair_place(&grown, old->left, old->right) = *old;
        }
        free(map->places);
        *map = grown;
    }
    struct clip_pair_entry *place = pair_place(map, left, right);
    map->count += place->value == 0;
    *place = (struct clip_pair_entry){left, right, value + 1};
    return CLIP_OK;
}

void clip_pair_map_release(struct clip_pair_map *map)
{
    free(map->places);
    *map = (struct clip_pair_map){0};
}
