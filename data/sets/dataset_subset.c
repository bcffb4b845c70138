/* A part of a data set: some of its samples under new numbers. */
#include <stdlib.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

struct subset {
    struct clip_dataset base;
    struct clip_dataset_ops ops;
    const struct clip_dataset *whole; /* borrowed */
    int64_t *samples;                 /* [count] their numbers in `whole` */
};

static const struct subset *subset_of(const struct clip_dataset *dataset)
{
    return (const struct subset *)dataset;
}

static clip_status subset_read(const struct clip_dataset *dataset, int64_t index,
                               struct clip_rng *rng, struct clip_sample *out,
                               struct clip_error *error)
{
    const struct subset *s = subset_of(dataset);
    return s->whole->ops->read(s->whole, s->samples[index], rng, out, error);
}

static clip_status subset_caption(const struct clip_dataset *dataset, int64_t index,
                                  struct clip_rng *rng, struct clip_buffer *out,
                                  struct clip_error *error)
{
    const struct subset *s = subset_of(dataset);
    return s->whole->ops->caption(s->whole, s->samples[index], rng, out, error);
}

static clip_status subset_negative(const struct clip_dataset *dataset, int64_t index,
                                   struct clip_buffer *out, struct clip_error *error)
{
    const struct subset *s = subset_of(dataset);
    return s->whole->ops->negative(s->whole, s->samples[index], out, error);
}

static const char *subset_image_name(const struct clip_dataset *dataset, int64_t index)
{
    const struct subset *s = subset_of(dataset);
    return s->whole->ops->image_name(s->whole, s->samples[index]);
}

static void subset_free(struct clip_dataset *dataset)
{
    struct subset *s = (struct subset *)dataset;
    free(s->samples);
    free(s->base.group);
    free(s);
}

/* Numbers the groups anew, in the order of appearance, so that they are in [0, count). */
static clip_status number_groups(struct subset *s, struct clip_error *error)
{
    clip_status status;
    int64_t *number = NULL, groups = 0;
    CLIP_NEW(number, s->whole->count);
    CLIP_NEW(s->base.group, s->base.count);
    for (int64_t i = 0; i < s->base.count; i++) {
        int64_t group = s->whole->group[s->samples[i]];
        if (number[group] == 0) number[group] = ++groups;
        s->base.group[i] = number[group] - 1;
    }
out:
    free(number);
    return status;
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo), and a multiplication that spreads it. It decides which
 * samples a split holds out, also in every run that is resumed, so it must not change. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (; *name != '\0'; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001B3);
    return (hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15);
}

/* Is the image with this name among the `share` that is held out? It depends only on the name, so
 * that added rows move none of the others. */
static bool is_held(const char *name, double share)
{
    return (double)(hash_name(name) >> 11) / 9007199254740992.0 < share; /* 2^53 */
}

clip_status clip_dataset_split(struct clip_dataset **out, const struct clip_dataset *whole,
                               double share, bool held, const int64_t **samples,
                               struct clip_error *error)
{
    clip_status status;
    struct subset *s = NULL;
    CLIP_NEW(s, 1);
    s->ops = (struct clip_dataset_ops){
        .name = whole->ops->name,
        .read = subset_read,
        .caption = subset_caption,
        .negative = whole->ops->negative != NULL ? subset_negative : NULL,
        .image_name = subset_image_name,
        .free = subset_free,
    };
    s->base.ops = &s->ops;
    memcpy(s->base.captions, whole->captions, sizeof s->base.captions);
    s->whole = whole;
    CLIP_NEW(s->samples, whole->count);
    for (int64_t i = 0; i < whole->count; i++)
        if (is_held(whole->ops->image_name(whole, i), share) == held)
            s->samples[s->base.count++] = i;
    CLIP_TRY(number_groups(s, error));
    if (samples != NULL) *samples = s->samples;
    *out = &s->base;
    s = NULL;
out:
    if (s != NULL) subset_free(&s->base);
    return status;
}
