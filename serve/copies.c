#include "serve/copies.h"

#include <stdbool.h>
#include <stdlib.h>

#include "core/int_map.h"
#include "core/memory.h"

clip_status clip_copies_find(struct clip_copies *out, const struct clip_index *index,
                             struct clip_error *error)
{
    clip_status status;
    struct clip_int_map groups = {0};
    *out = (struct clip_copies){0};
    CLIP_NEW(out->group, index->count);
    CLIP_NEW(out->size, index->count);
    for (int64_t k = 0; k < index->segment_count; k++) {
        const struct clip_index_segment *s = &index->segments[k];
        for (int64_t i = 0; i < s->count; i++) {
            uint64_t hash = (uint64_t)s->hashes[i];
            int64_t group = clip_int_map_find(&groups, hash);
            if (group < 0) {
                group = out->count++;
                CLIP_TRY(clip_int_map_put(&groups, hash, group, error));
            }
            out->group[s->first + i] = group;
            out->size[group] += !s->removed[i];
        }
    }
out:
    clip_int_map_release(&groups);
    if (status != CLIP_OK) clip_copies_release(out);
    return status;
}

void clip_copies_release(struct clip_copies *copies)
{
    free(copies->group);
    free(copies->size);
    *copies = (struct clip_copies){0};
}

clip_status clip_copies_fold(const struct clip_copies *copies, const struct clip_index *index,
                             struct clip_search_filter *filter, struct clip_error *error)
{
    clip_status status;
    bool *seen = NULL;
    CLIP_NEW(seen, copies->count);
    for (int64_t row = 0; row < index->count; row++) {
        if (filter->skip[row]) continue;
        if (seen[copies->group[row]]) {
            filter->skip[row] = true;
            filter->count--;
        }
        seen[copies->group[row]] = true;
    }
out:
    free(seen);
    return status;
}
