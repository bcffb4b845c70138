/* What the fuzz targets of tables share: any bytes as a data set of rows are opened, or refused
 * with a sentence; and every row of one that opens can be asked for. */
#ifndef CLIP_TESTS_FUZZ_ROWS_H
#define CLIP_TESTS_FUZZ_ROWS_H

#include <stdlib.h>

#include "data/sets/dataset_internal.h"

/* The last bytes choose the columns' names, and whether captions are wanted. */
static inline struct clip_dataset_options rows_options(const uint8_t *bytes, size_t n)
{
    unsigned choice = n > 1 ? bytes[n - 2] : 0;
    return (struct clip_dataset_options){
        .csv_img_key = choice % 2 ? "f" : NULL,
        .csv_caption_key = choice % 2 ? "t" : NULL,
        .csv_negative_key = choice / 4 % 2 ? "n" : NULL,
        .images_only = choice % 4 == 3,
    };
}

static inline void rows_check(clip_status status, const struct clip_error *error)
{
    if (status != CLIP_OK && error->message[0] == '\0') abort();
}

/* What the opening gave; frees the set. */
static inline void rows_use(clip_status status, struct clip_dataset *set,
                            const struct clip_error *opening)
{
    struct clip_buffer caption = {0};
    struct clip_error error;
    rows_check(status, opening);
    if ((status == CLIP_OK) != (set != NULL)) abort();
    if (set == NULL) return;
    if (set->count < 1) abort();
    for (int64_t i = 0; i < set->count; i++) {
        if (set->group[i] < 0 || set->group[i] >= set->count) abort();
        if (set->ops->image_name(set, i) == NULL) abort();
        error.message[0] = '\0';
        rows_check(set->ops->caption(set, i, NULL, &caption, &error), &error);
        error.message[0] = '\0';
        if (set->ops->negative != NULL)
            rows_check(set->ops->negative(set, i, &caption, &error), &error);
    }
    clip_buffer_release(&caption);
    clip_dataset_free(set);
}

#endif
