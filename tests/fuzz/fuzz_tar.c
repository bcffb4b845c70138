/* Any bytes as a tar: scanned or refused with a sentence; every entry that the scan found can be
 * read or is refused with a sentence, as webdataset and as plain images. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/sets/dataset.h"
#include "data/sets/dataset_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_all(const struct clip_dataset *set)
{
    struct clip_sample sample = {0};
    struct clip_error error = {0};
    for (int64_t i = 0; i < set->count && i < 64; i++) {
        error.message[0] = '\0';
        if (set->ops->read(set, i, NULL, &sample, &error) != CLIP_OK && error.message[0] == '\0')
            abort();
        if (set->ops->image_name(set, i) == NULL) abort();
    }
    clip_sample_release(&sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct clip_dataset_options options = {.images_only = n % 2 == 0};
    struct clip_tar tar;
    struct clip_dataset *set = NULL;
    struct clip_error error = {0};
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (clip_tar_open(&tar, path, &error) == CLIP_OK) {
        clip_status status = CLIP_OK;
        if (n % 4 != 3) status = clip_dataset_webdataset_open(&set, &tar, 1, &options, &error);
        if (status == CLIP_OK && set == NULL)
            status = clip_dataset_folder_tar(&set, &tar, &options, &error);
        if (status == CLIP_OK) read_all(set);
        clip_tar_close(&tar);
    }
    if (set == NULL && error.message[0] == '\0') abort();
    clip_dataset_free(set);
    close(fd);
    return 0;
}
