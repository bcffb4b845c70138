/* Two hash maps for the tokenizer: byte strings to numbers, and pairs of symbols to numbers. */
#ifndef CLIP_DATA_TEXT_TOKENIZER_MAPS_H
#define CLIP_DATA_TEXT_TOKENIZER_MAPS_H

#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

/* Byte strings to numbers; the map keeps copies of its keys. Start from {0}. */
struct clip_string_entry {
    const char *bytes; /* NULL: the place is free */
    size_t n;
    uint64_t hash;
    int64_t value;
};
struct clip_string_map {
    struct clip_string_entry *places; /* a power of two of them, at most half taken */
    int64_t size, count;
    struct clip_arena keys;
};
/* The entry of that key, made with value -1 where it is new; it moves with the next put. NULL with
 * *error filled. */
struct clip_string_entry *clip_string_map_put(struct clip_string_map *map, const char *bytes,
                                              size_t n, struct clip_error *error);
/* Its value; -1 where it is not there. */
int64_t clip_string_map_get(const struct clip_string_map *map, const char *bytes, size_t n);
void clip_string_map_release(struct clip_string_map *map);

/* Pairs of symbols, each 0 or more, to numbers 0 or more. Start from {0}. */
struct clip_pair_entry {
    int32_t left, right;
    int32_t value; /* plus one; 0: the place is free */
};
struct clip_pair_map {
    struct clip_pair_entry *places;
    int64_t size, count;
};
clip_status clip_pair_map_put(struct clip_pair_map *map, int32_t left, int32_t right, int32_t value,
                              struct clip_error *error);
void clip_pair_map_release(struct clip_pair_map *map);

static inline uint64_t clip_pair_hash(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio: the high bits mix well */
    return key >> 20;
}

/* Its number; -1 where the pair is not there. */
static inline int32_t clip_pair_map_get(const struct clip_pair_map *map, int32_t left,
                                        int32_t right)
{
    if (map->size == 0) return -1;
    uint64_t mask = (uint64_t)map->size - 1, at = clip_pair_hash(left, right) & mask;
    while (map->places[at].value != 0) {
        if (map->places[at].left == left && map->places[at].right == right) break;
        at = (at + 1) & mask;
    }
    return map->places[at].value - 1;
}

#endif
