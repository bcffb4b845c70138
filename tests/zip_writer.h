/* Writes zip archives for tests: stored, deflated, with Zip64 fields. */
#ifndef CLIP_TESTS_ZIP_WRITER_H
#define CLIP_TESTS_ZIP_WRITER_H

#include <stdint.h>

#include "tests/support.h"

struct zip_writer { /* start from {0}; clip_buffer_release both */
    struct clip_buffer file, directory;
    int count;
    bool zip64; /* sizes and places in 64 bits, in extra fields and the end */
};
/* Adds an entry; its data begins at a multiple of 64, as PyTorch's do. */
void zip_add(struct zip_writer *zip, const char *name, const void *bytes, size_t n, bool deflated);
/* Writes the directory and the end behind the entries; the archive is zip->file. */
void zip_finish(struct zip_writer *zip);

/* The archive of torch.save with that pickle and storages 0, 1, ... */
struct zip_storage {
    const void *bytes;
    size_t n;
};
struct zip_writer zip_of_torch(const void *pickle, size_t n, const struct zip_storage *storages,
                               int count, bool deflated, bool zip64);

#endif
