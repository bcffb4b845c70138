/* Strings to numbers: the one hash table of the program for keys that are bytes.
 *
 * Entries stand one behind the other in the order in which they were added: an entry's place serves
 * as the key's number, and what is made of a map never depends on how it hashes.
 * Who owns the keys is said once for each map: started from {0} it copies them into memory of its
 * own; started from {.borrows = true} it points to the caller's, which must outlive it.
 *
 * Keys may come from a file that somebody made on purpose. They are hashed by SipHash under random
 * bytes of this process (core/hash.h), so nobody can choose keys that meet in one slot, and adding
 * or finding takes a constant time on average whatever the keys are. */
#ifndef CLIP_CORE_STRING_MAP_H
#define CLIP_CORE_STRING_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

struct clip_string_entry {
    const char *key; /* n bytes, NUL bytes among them allowed; a copy has a NUL behind it */
    size_t n;
    int64_t value; /* the caller's, who may change it */
};

struct clip_string_map {
    struct clip_string_entry *entries; /* [count] in the order in which they were added */
    int64_t count, capacity;
    bool borrows;       /* the keys are the caller's */
    uint64_t *slots;    /* [slot_count] upper half: of the hash; lower: entry's number + 1, or 0 */
    int64_t slot_count; /* 0 or a power of two; at most two thirds are taken */
    uint64_t secret[2]; /* of the hash */
    struct clip_arena keys;
};
void clip_string_map_release(struct clip_string_map *map); /* {0} then */
/* No entry is left, the room for them is. For a map that borrows. */
void clip_string_map_clear(struct clip_string_map *map);

/* *entry = the key's entry: the one that is there already, as it is, or a new one at the end with
 * this value. It may move when the next one is added. */
clip_status clip_string_map_add(struct clip_string_map *map, const char *key, size_t n,
                                int64_t value, struct clip_string_entry **entry,
                                struct clip_error *error);
/* *number = the key's place among the entries, which a new one has for its value as well. For maps
 * that are filled by this alone: equal keys get equal numbers 0, 1, 2, ... */
clip_status clip_string_map_number(struct clip_string_map *map, const char *key, size_t n,
                                   int64_t *number, struct clip_error *error);
/* The value of the key; -1: it is not there. */
int64_t clip_string_map_find(const struct clip_string_map *map, const char *key, size_t n);

#endif
