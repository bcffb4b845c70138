/* A map from strings to numbers: the program's only hash table for keys that are bytes.
 *
 * Entries are kept in the order in which they were added. An entry's place serves as the key's
 * number, and nothing that is made from a map depends on how it hashes. A map that starts from {0}
 * copies its keys into its own memory; one that starts from {.borrows = true} points to the
 * caller's keys, which must outlive it.
 *
 * Keys may come from a file that somebody made on purpose. They are hashed by SipHash with random
 * bytes of this process (core/hash.h), so nobody can choose keys that share a slot, and adding or
 * finding takes constant time on average whatever the keys are. */
#ifndef CLIP_CORE_STRING_MAP_H
#define CLIP_CORE_STRING_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

struct clip_string_entry {
    const char *key; /* n bytes, which may include NUL bytes; a copy has a NUL behind it */
    size_t n;
    int64_t value; /* belongs to the caller, who may change it */
};

struct clip_string_map {
    struct clip_string_entry *entries; /* [count] in the order in which they were added */
    int64_t count, capacity;
    bool borrows; /* the keys are the caller's */
    /* [slot_count] upper half: part of the hash; lower half: the entry's number + 1, or 0 */
    uint64_t *slots;
    int64_t slot_count; /* 0 or a power of two; at most two thirds are taken */
    uint64_t secret[2]; /* of the hash */
    struct clip_arena keys;
};
void clip_string_map_release(struct clip_string_map *map); /* {0} then */
/* Removes all entries but keeps their memory. Only for a map that borrows its keys. */
void clip_string_map_clear(struct clip_string_map *map);

/* *entry becomes the key's entry: the existing one, unchanged, or a new one at the end with this
 * value. The entry may move when the next one is added. */
clip_status clip_string_map_add(struct clip_string_map *map, const char *key, size_t n,
                                int64_t value, struct clip_string_entry **entry,
                                struct clip_error *error);
/* *number becomes the key's place among the entries; a new entry also has it as its value. For maps
 * that are filled only by this function: equal keys get equal numbers 0, 1, 2, ... */
clip_status clip_string_map_number(struct clip_string_map *map, const char *key, size_t n,
                                   int64_t *number, struct clip_error *error);
/* The key's value; -1 if the key is not there. */
int64_t clip_string_map_find(const struct clip_string_map *map, const char *key, size_t n);

#endif
