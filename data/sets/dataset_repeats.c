/* What repeats within a data set, and between two of them; asked before training. */
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "data/sets/dataset_internal.h"

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The chance that two different ones of n keys are equal; the keys get sorted. */
static double chance_of_equal(uint64_t *keys, int64_t n)
{
    double pairs = 0;
    qsort(keys, (size_t)n, sizeof *keys, by_value);
    for (int64_t i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && keys[i + run] == keys[i];) run++;
        pairs += (double)run * (double)(run - 1);
    }
    return n > 1 ? pairs / ((double)n * (double)(n - 1)) : 0;
}

clip_status clip_dataset_repeats(const struct clip_dataset *dataset, double *chance,
                                 struct clip_error *error)
{
    enum { SAMPLE = 20000 };
    clip_status status;
    int64_t stride = (dataset->count + SAMPLE - 1) / SAMPLE, n = 0;
    uint64_t *keys[3] = {NULL}; /* images (or classes), captions, and both at once */
    struct clip_buffer caption = {0};
    for (int k = 0; k < 3; k++) CLIP_NEW(keys[k], SAMPLE);
    for (int64_t i = 0; i < dataset->count; i += stride) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_CAPTION, 0, (uint64_t)i);
        status = dataset->ops->caption(dataset, i, &rng, &caption, error);
        if (clip_machine_failed(status)) goto out;
        if (status != CLIP_OK) continue; /* the loader will name bad samples */
        keys[0][n] = (uint64_t)dataset->group[i];
        keys[1][n] = clip_hash64(caption.data, caption.size);
        const uint64_t both[] = {keys[0][n], keys[1][n]};
        keys[2][n++] = clip_hash64(both, sizeof both);
    }
    status = CLIP_OK;
    *chance = chance_of_equal(keys[0], n) + chance_of_equal(keys[1], n) -
              chance_of_equal(keys[2], n);
out:
    for (int k = 0; k < 3; k++) free(keys[k]);
    clip_buffer_release(&caption);
    return status;
}

/* Do the images of two samples have the same bytes? Unreadable ones do not. */
static bool same_bytes(const struct clip_dataset *a, int64_t i, const struct clip_dataset *b,
                       int64_t j, struct clip_sample samples[2])
{
    struct clip_error ignored;
    if (a->ops->read(a, i, NULL, &samples[0], &ignored) != CLIP_OK ||
        b->ops->read(b, j, NULL, &samples[1], &ignored) != CLIP_OK)
        return false;
    const struct clip_buffer *x = &samples[0].image, *y = &samples[1].image;
    return x->size == y->size && memcmp(x->data, y->data, x->size) == 0;
}

clip_status clip_dataset_shared(const struct clip_dataset *a, const struct clip_dataset *b,
                                int64_t *shared, char *example, size_t size,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map names = {0};
    struct clip_sample samples[2] = {{.name = ""}, {.name = ""}};
    int64_t *sample = NULL, number; /* a sample of `a` with this name */
    *shared = 0;
    CLIP_NEW(sample, a->count);
    for (int64_t i = 0; i < a->count; i++) {
        const char *name = a->ops->image_name(a, i);
        CLIP_TRY(clip_string_map_number(&names, name, strlen(name), &number, error));
        sample[number] = i;
    }
    for (int64_t j = 0; j < b->count; j++) {
        const char *name = b->ops->image_name(b, j);
        number = clip_string_map_find(&names, name, strlen(name));
        if (number < 0 || !same_bytes(a, sample[number], b, j, samples)) continue;
        if ((*shared)++ == 0) snprintf(example, size, "%s", name);
    }
out:
    free(sample);
    clip_string_map_release(&names);
    clip_sample_release(&samples[0]);
    clip_sample_release(&samples[1]);
    return status;
}
