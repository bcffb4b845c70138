/* INI text: whatever the bytes are, each pair that comes out lies within them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct seen {
    size_t bytes;
    int line;
};

static clip_status look(void *context, const char *section, const char *key, const char *value,
                        int line, struct clip_error *error)
{
    struct seen *seen = context;
    seen->bytes += strlen(key) + strlen(value);
    if (line < seen->line || *key == '\0' || strlen(section) > 49) abort();
    seen->line = line;
    if (strcmp(key, "stop") == 0) return clip_fail(error, CLIP_ERR_USAGE, "stopped at %d", line);
    return CLIP_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct clip_error error = {0};
    struct seen seen = {0, 0};
    clip_status status = clip_ini_parse((const char *)bytes, n, "fuzz.ini", look, &seen, &error);
    if (seen.bytes > n) abort();
    if (status != CLIP_OK && (error.status != status || error.message[0] == '\0')) abort();
    return 0;
}
