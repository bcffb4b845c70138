/* Reads zip archives in memory (a mapped file): PKWARE's APPNOTE.TXT 6.3, stored and deflated
 * entries, Zip64. The central directory decides; every entry's own header must agree with it, and
 * no two entries may share bytes. */
#ifndef CLIP_CHECKPOINTS_ZIP_H
#define CLIP_CHECKPOINTS_ZIP_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

struct clip_zip_entry {
    const char *name;           /* NUL-terminated, no NUL within */
    uint64_t header, data;      /* where its own header and its data begin in the archive */
    uint64_t packed_size, size; /* bytes in the archive, and unpacked */
    uint32_t crc;               /* of the unpacked bytes */
    int method;                 /* 0 stored, 8 deflated */
};

struct clip_zip { /* start from {0} */
    const unsigned char *bytes;
    size_t n;
    const char *path;               /* for messages; borrowed */
    struct clip_zip_entry *entries; /* sorted by name */
    int64_t count;
    struct clip_arena arena; /* entries and names */
};

/* Do the bytes begin as a zip archive does? */
bool clip_zip_is(const void *bytes, size_t n);
/* Opens an archive. Its bytes belong to the caller and must outlive it. */
clip_status clip_zip_open(struct clip_zip *out, const void *bytes, size_t n, const char *path,
                          struct clip_error *error);
void clip_zip_release(struct clip_zip *zip);
const struct clip_zip_entry *clip_zip_find(const struct clip_zip *zip, const char *name);
/* Reads an entry's bytes (entry->size of them) and verifies their checksum. Stored bytes stay in
 * the archive's own memory, others are unpacked into `arena`, aligned to 16 bytes. An entry whose
 * size is more than deflate can make of its bytes is refused before memory is taken. */
clip_status clip_zip_read(const struct clip_zip *zip, const struct clip_zip_entry *entry,
                          struct clip_arena *arena, const unsigned char **data,
                          struct clip_error *error);

#endif
