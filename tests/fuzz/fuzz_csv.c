/* Any bytes as a csv; its last byte chooses the separator. */
#include "tests/fuzz/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const separators[] = {"auto", "comma", "tab", ";"};
    struct clip_dataset_options options = rows_options(bytes, n);
    struct clip_dataset *set = NULL;
    struct clip_error error = {0};
    options.csv_separator = separators[n > 0 ? bytes[n - 1] % 4 : 0];
    clip_status status =
        clip_dataset_csv_parse(&set, (const char *)bytes, n, "fuzz.csv", &options, &error);
    rows_use(status, set, &error);
    return 0;
}
