/* Any bytes as Chinese-CLIP's pair of files; the first byte says where the second file begins. */
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int file_of(const uint8_t *bytes, size_t n, char *path, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) abort();
    snprintf(path, size, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct clip_dataset_options options = rows_options(bytes, n);
    struct clip_dataset *set = NULL;
    struct clip_error error = {0};
    struct clip_sample sample = {0};
    char paths[2][64];
    if (n == 0) return 0;
    size_t rest = n - 1, cut = bytes[0] < rest ? bytes[0] : rest;
    int images = file_of(bytes + 1, cut, paths[0], sizeof paths[0]);
    int texts = file_of(bytes + 1 + cut, rest - cut, paths[1], sizeof paths[1]);
    clip_status status = clip_dataset_muge_pair(&set, paths[0], paths[1], &options, &error);
    for (int64_t i = 0; set != NULL && i < set->count; i++) {
        struct clip_error reading = {0};
        rows_check(set->ops->read(set, i, NULL, &sample, &reading), &reading);
    }
    rows_use(status, set, &error);
    clip_sample_release(&sample);
    close(images);
    close(texts);
    return 0;
}
