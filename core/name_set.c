#include "core/name_set.h"

#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

void clip_name_set_release(struct clip_name_set *set)
{
    free(set->names);
    free(set->numbers);
    *set = (struct clip_name_set){0};
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo), folded so that the low bits know of the high ones. */
static uint64_t hash(const char *name)
{
    uint64_t h = 14695981039346656037u;
    for (; *name != '\0'; name++) h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h ^ h >> 32;
}

/* The slot that holds `name`, or the empty one where it belongs. */
static int64_t slot_of(const struct clip_name_set *set, const char *name)
{
    int64_t mask = set->slots - 1, i = (int64_t)(hash(name) & (uint64_t)mask);
    while (set->names[i] != NULL && strcmp(set->names[i], name) != 0) i = (i + 1) & mask;
    return i;
}

static clip_status grow(struct clip_name_set *set, struct clip_error *error)
{
    clip_status status;
    struct clip_name_set larger = {.slots = set->slots > 0 ? set->slots * 2 : 64};
    CLIP_NEW(larger.names, larger.slots);
    CLIP_NEW(larger.numbers, larger.slots);
    for (int64_t i = 0; i < set->slots; i++) {
        if (set->names[i] == NULL) continue;
        int64_t slot = slot_of(&larger, set->names[i]);
        larger.names[slot] = set->names[i];
        larger.numbers[slot] = set->numbers[i];
    }
    larger.count = set->count;
    clip_name_set_release(set);
    *set = larger;
    return CLIP_OK;
out:
    clip_name_set_release(&larger);
    return status;
}

clip_status clip_name_set_add(struct clip_name_set *set, const char *name, int64_t number,
                              int64_t *found, struct clip_error *error)
{
    if (set->count >= set->slots / 2) { /* at most half full */
        clip_status status = grow(set, error);
        if (status != CLIP_OK) return status;
    }
    int64_t slot = slot_of(set, name);
    if (set->names[slot] == NULL) {
        set->names[slot] = name;
        set->numbers[slot] = number;
        set->count++;
    }
    *found = set->numbers[slot];
    return CLIP_OK;
}

int64_t clip_name_set_find(const struct clip_name_set *set, const char *name)
{
    if (set->slots == 0) return -1;
    int64_t slot = slot_of(set, name);
    return set->names[slot] != NULL ? set->numbers[slot] : -1;
}
