/* Any bytes as COCO's captions or an array of pairs. */
#include "tests/fuzz/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct clip_dataset_options options = rows_options(bytes, n);
    struct clip_dataset *set = NULL;
    struct clip_error error = {0};
    clip_status status =
        clip_dataset_coco_parse(&set, (const char *)bytes, n, "f", &options, &error);
    rows_use(status, set, &error);
    return 0;
}
