/* Any bytes as a native checkpoint. The first byte chooses what the rest is:
 *   0  the file as it is, which the first block's length and checksum must refuse unless whole
 *   1  what follows our magic in the first block, so that versions and numbers are tried
 *   2  what lies behind a first block that is made to fit it, so that the reader gets it */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoints/hdf5_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Puts bytes into the file; a fuzzer without memory for them has nothing to say. */
static void put(int fd, const void *bytes, size_t n)
{
    if (write(fd, bytes, n) != (ssize_t)n) abort();
}

static void put_sealed(int fd, const uint8_t *data, size_t size)
{
    struct clip_error error;
    char block[CLIP_HDF5_BLOCK] = {0};
    put(fd, block, sizeof block);
    put(fd, data, size);
    int64_t whole = (int64_t)(size + sizeof block);
    if (clip_hdf5_seal(block, fd, whole, "fuzz", &error) != CLIP_OK) abort();
    if (pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char magic[] = "clip.c checkpoint 1\nbytes ";
    struct clip_bundle bundle = {0};
    struct clip_error error;
    char path[64];
    if (size == 0) return 0;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (data[0] % 3 == 1) put(fd, magic, strlen(magic));
    if (data[0] % 3 == 2)
        put_sealed(fd, data + 1, size - 1);
    else
        put(fd, data + 1, size - 1);
    clip_hdf5_is(path);
    if (clip_hdf5_read(path, NULL, &bundle, &error) == CLIP_OK)
        clip_bundle_release(&bundle);
    else if (error.message[0] == 0 || bundle.tensor_count != 0)
        abort();
    if (clip_hdf5_map(path, false, &bundle, &error) == CLIP_OK)
        clip_bundle_release(&bundle);
    else if (error.message[0] == 0 || bundle.tensor_count != 0)
        abort();
    close(fd);
    return 0;
}
