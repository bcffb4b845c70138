/* Any bytes as an index of shards, each of which holds one weight named like itself: read or
 * refused in a sentence. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoints/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static clip_status read_one(const char *path, struct clip_bundle *out, struct clip_error *error)
{
    static float number = 1;
    const struct clip_tensor tensor = clip_tensor_f32(&number, 1, 1);
    const char *name = clip_path_name(path);
    if (strchr(path, '/') == NULL || strstr(path, "/../") != NULL) abort();
    return clip_bundle_add(out, name, &tensor, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct clip_bundle bundle = {0};
    struct clip_error error = {0};
    char path[64];
    int fd = memfd_create("index", 0);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    clip_status status = clip_shards_read(path, read_one, &bundle, &error);
    if (status != CLIP_OK && (error.message[0] == '\0' || bundle.tensor_count != 0)) abort();
    clip_bundle_release(&bundle);
    close(fd);
    return 0;
}
