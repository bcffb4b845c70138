#include "data/sets/positives.h"

#include <stdlib.h>

#include "core/memory.h"

static int32_t find_root(int32_t *parent, int32_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

static void join(int32_t *parent, int32_t i, int32_t j)
{
    i = find_root(parent, i);
    j = find_root(parent, j);
    if (i < j) parent[j] = i;
    if (j < i) parent[i] = j;
}

/* Joins a pair with the first one that has the same key. */
static clip_status join_equal(struct clip_positives *p, const char *key, size_t n, int32_t i,
                              struct clip_error *error)
{
    struct clip_string_entry *first;
    clip_status status = clip_string_map_add(&p->seen, key, n, i, &first, error);
    if (status == CLIP_OK) join(p->parent, i, (int32_t)first->value);
    return status;
}

clip_status clip_positives_number(struct clip_positives *p, int64_t n, const int64_t *groups,
                                  const char *captions, const size_t *ends, int32_t *ids,
                                  struct clip_error *error)
{
    clip_status status;
    p->seen.borrows = true;
    CLIP_TRY(clip_array_grow(&p->parent, &p->capacity, n, sizeof *p->parent, error));
    for (int32_t i = 0; i < n; i++) p->parent[i] = i;
    clip_string_map_clear(&p->seen);
    for (int32_t i = 0; i < n; i++)
        CLIP_TRY(join_equal(p, (const char *)&groups[i], sizeof groups[i], i, error));
    clip_string_map_clear(&p->seen);
    for (int32_t i = 0; i < n; i++) {
        size_t begin = i > 0 ? ends[i - 1] : 0;
        CLIP_TRY(join_equal(p, captions + begin, ends[i] - begin, i, error));
    }
    for (int32_t i = 0; i < n; i++) ids[i] = find_root(p->parent, i);
out:
    return status;
}

void clip_positives_release(struct clip_positives *p)
{
    free(p->parent);
    clip_string_map_release(&p->seen);
    *p = (struct clip_positives){0};
}
