/* Several data sets as one, in order: A::B. Each reads its own samples. */
#include <stdlib.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

struct join {
    struct clip_dataset base;
    struct clip_dataset_ops ops;
    struct clip_dataset **parts; /* [part_count] */
    int64_t part_count;
    int64_t *ends; /* [part_count] the number behind part i's last sample */
};

/* The part that sample *index is in; *index becomes its number there. */
static const struct clip_dataset *part_of(const struct clip_dataset *dataset, int64_t *index)
{
    const struct join *join = (const struct join *)dataset;
    int64_t low = 0, high = join->part_count - 1;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (*index < join->ends[middle])
            high = middle;
        else
            low = middle + 1;
    }
    if (low > 0) *index -= join->ends[low - 1];
    return join->parts[low];
}

static clip_status join_read(const struct clip_dataset *dataset, int64_t index,
                             struct clip_rng *rng, struct clip_sample *out,
                             struct clip_error *error)
{
    const struct clip_dataset *part = part_of(dataset, &index);
    return part->ops->read(part, index, rng, out, error);
}

static clip_status join_caption(const struct clip_dataset *dataset, int64_t index,
                                struct clip_rng *rng, struct clip_buffer *out,
                                struct clip_error *error)
{
    const struct clip_dataset *part = part_of(dataset, &index);
    return part->ops->caption(part, index, rng, out, error);
}

static clip_status join_negative(const struct clip_dataset *dataset, int64_t index,
                                 struct clip_buffer *out, struct clip_error *error)
{
    const struct clip_dataset *part = part_of(dataset, &index);
    if (part->ops->negative != NULL) return part->ops->negative(part, index, out, error);
    out->size = 0;
    return CLIP_OK;
}

static const char *join_image_name(const struct clip_dataset *dataset, int64_t index)
{
    const struct clip_dataset *part = part_of(dataset, &index);
    return part->ops->image_name(part, index);
}

static void join_free(struct clip_dataset *dataset)
{
    struct join *join = (struct join *)dataset;
    for (int64_t i = 0; i < join->part_count; i++) clip_dataset_free(join->parts[i]);
    free(join->parts);
    free(join->ends);
    free(join->base.group);
    clip_names_release(&join->base.unread);
    free(join);
}

/* The groups of a part follow those of the parts before it, but images that are files are the same
 * wherever they are named. */
static clip_status join_groups(struct join *join, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map images = {0};
    int64_t first = 0, *group = NULL, number;
    CLIP_NEW(join->base.group, join->base.count);
    CLIP_NEW(group, join->base.count); /* by an image's number: its first group */
    for (int64_t p = 0; p < join->part_count; p++) {
        const struct clip_dataset *part = join->parts[p];
        for (int64_t i = 0; i < part->count; i++) {
            int64_t *mine = &join->base.group[first + i];
            *mine = first + part->group[i];
            if (!part->paths || part->classes != NULL) continue;
            const char *name = part->ops->image_name(part, i);
            int64_t before = images.count;
            CLIP_TRY(clip_string_map_number(&images, name, strlen(name), &number, error));
            if (number == before) group[number] = *mine;
            *mine = group[number];
        }
        first += part->count;
    }
out:
    free(group);
    clip_string_map_release(&images);
    return status;
}

clip_status clip_dataset_join(struct clip_dataset **out, struct clip_dataset **parts, int64_t count,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct join *join = NULL;
    bool negatives = false;
    *out = NULL;
    CLIP_NEW(join, 1);
    CLIP_NEW(join->parts, count);
    CLIP_NEW(join->ends, count);
    join->base.paths = true;
    for (int64_t i = 0; i < count; i++) {
        join->parts[i] = parts[i];
        parts[i] = NULL;
        join->part_count++;
        join->base.count += join->parts[i]->count;
        join->ends[i] = join->base.count;
        join->base.paths = join->base.paths && join->parts[i]->paths;
        negatives = negatives || join->parts[i]->ops->negative != NULL;
        for (int64_t k = 0; k < join->parts[i]->unread.count; k++)
            CLIP_TRY(clip_names_add(&join->base.unread, join->parts[i]->unread.names[k], error));
    }
    join->ops = (struct clip_dataset_ops){.name = "several sets",
                                          .read = join_read,
                                          .caption = join_caption,
                                          .negative = negatives ? join_negative : NULL,
                                          .image_name = join_image_name,
                                          .free = join_free};
    join->base.ops = &join->ops;
    CLIP_TRY(join_groups(join, error));
    *out = &join->base;
    join = NULL;
out:
    if (join != NULL) join_free(&join->base);
    return status;
}
