/* Any bytes as a csv: opened or refused with a sentence; every row's caption can be asked for. */
#include <stdlib.h>

#include "data/dataset.h"
#include "data/dataset_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const separators[] = {"auto", "comma", "tab", ";"};
    struct clip_dataset_options options = {
        .csv_separator = separators[n > 0 ? bytes[n - 1] % 4 : 0],
        .csv_img_key = n > 1 && bytes[n - 2] % 2 ? "f" : NULL,
        .csv_caption_key = n > 1 && bytes[n - 2] % 2 ? "t" : NULL,
        .csv_negative_key = n > 1 && bytes[n - 2] / 4 % 2 ? "n" : NULL,
        .images_only = n > 1 && bytes[n - 2] % 4 == 3,
    };
    struct clip_dataset *set = NULL;
    struct clip_error error = {0};
    struct clip_buffer caption = {0};
    if (clip_dataset_csv_parse(&set, (const char *)bytes, n, "fuzz.csv", &options, &error) !=
        CLIP_OK) {
        if (set != NULL || error.message[0] == '\0') abort();
        return 0;
    }
    if (set->count < 1) abort();
    for (int64_t i = 0; i < set->count; i++) {
        if (set->group[i] < 0 || set->group[i] >= set->count) abort();
        if (set->ops->image_name(set, i) == NULL) abort();
        error.message[0] = '\0';
        if (set->ops->caption(set, i, NULL, &caption, &error) != CLIP_OK &&
            error.message[0] == '\0')
            abort();
        error.message[0] = '\0';
        if (set->ops->negative(set, i, &caption, &error) != CLIP_OK && error.message[0] == '\0')
            abort();
    }
    clip_buffer_release(&caption);
    clip_dataset_free(set);
    return 0;
}
