/* The first block of a native file, HDF5's "user block", which libhdf5 and h5py skip:
 *
 *   clip.c checkpoint 1
 *   bytes 00000000000001234567      of the whole file
 *   crc32 89abcdef                  of everything behind the block
 *
 * then zeros up to 512 bytes. It is checked before libhdf5 sees the file, so a cut or a flipped bit
 * anywhere is found by us, not by a parser that trusts what it reads. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/checksum.h"
#include "checkpoints/hdf5_parts.h"
#include "core/count.h"
#include "core/file.h"

#define MAGIC "clip.c checkpoint "
#define VERSION 1

static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

clip_status clip_hdf5_seal(char block[CLIP_HDF5_BLOCK], int fd, int64_t size, const char *name,
                           struct clip_error *error)
{
    uint32_t crc;
    clip_status status = clip_crc32_file(&crc, fd, CLIP_HDF5_BLOCK, size, name, error);
    if (status != CLIP_OK) return status;
    memset(block, 0, CLIP_HDF5_BLOCK);
    snprintf(block, CLIP_HDF5_BLOCK, MAGIC "%d\nbytes %020lld\ncrc32 %08x\n", VERSION,
             (long long)size, (unsigned)crc);
    return CLIP_OK;
}

/* HDF5's signature is at 0, or behind somebody else's user block at 512, 1024, 2048, ... */
static bool has_signature(int fd, int64_t size)
{
    unsigned char bytes[sizeof signature];
    for (int64_t at = 0; at <= size; at = at ? 2 * at : 512)
        if (pread(fd, bytes, sizeof bytes, (off_t)at) == (ssize_t)sizeof bytes &&
            memcmp(bytes, signature, sizeof bytes) == 0)
            return true;
    return false;
}

static bool has_magic(const void *bytes, size_t n)
{
    return n >= strlen(MAGIC) && memcmp(bytes, MAGIC, strlen(MAGIC)) == 0;
}

/* Fails with the sentence for a file that does not begin with our magic. */
static clip_status refuse_foreign(int fd, int64_t size, const char *name, struct clip_error *error)
{
    if (has_signature(fd, size)) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: this HDF5 file does not begin as a checkpoint of clip.c does; it is "
                         "damaged, or another program wrote it",
                         name);
    }
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: this is no HDF5 file; give a checkpoint that clip_train or clip_export "
                     "wrote",
                     name);
}

/* Reads the first block (and adds a NUL), and compares the length that it says. */
static clip_status read_block(char block[CLIP_HDF5_BLOCK + 1], int fd, int64_t size,
                              const char *name, struct clip_error *error)
{
    memset(block, 0, CLIP_HDF5_BLOCK + 1);
    ssize_t n = pread(fd, block, CLIP_HDF5_BLOCK, 0);
    if (n < 0) {
        return clip_fail(error, clip_status_of(errno), "%s: reading failed (%s); check the disk",
                         name, strerror(errno));
    }
    if (!has_magic(block, (size_t)n)) return refuse_foreign(fd, size, name, error);
    char *end;
    long version = strtol(block + strlen(MAGIC), &end, 10);
    if (*end == '\n' && version != VERSION) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the checkpoint is of format %ld and this program reads format %d; "
                         "use the clip.c that wrote it, or a newer one",
                         name, version, VERSION);
    }
    int64_t written = 0;
    if (sscanf(end, "\nbytes %" SCNd64 "\n", &written) != 1 || n < CLIP_HDF5_BLOCK ||
        size < CLIP_HDF5_BLOCK || size != written) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the checkpoint has %s where %lld were written; it was cut or "
                         "damaged, use another copy or an older checkpoint",
                         name, CLIP_COUNT(size, "byte"), (long long)written);
    }
    return CLIP_OK;
}

clip_status clip_hdf5_check_length(int fd, int64_t size, const char *name, struct clip_error *error)
{
    char block[CLIP_HDF5_BLOCK + 1];
    return read_block(block, fd, size, name, error);
}

clip_status clip_hdf5_check(int fd, int64_t size, const char *name, struct clip_error *error)
{
    char block[CLIP_HDF5_BLOCK + 1], expected[CLIP_HDF5_BLOCK];
    clip_status status = read_block(block, fd, size, name, error);
    if (status != CLIP_OK) return status;
    status = clip_hdf5_seal(expected, fd, size, name, error);
    if (status != CLIP_OK) return status;
    if (memcmp(expected, block, CLIP_HDF5_BLOCK) != 0) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the checksum of the checkpoint does not match its bytes; it was "
                         "damaged or changed by another program, use another copy or an older "
                         "checkpoint",
                         name);
    }
    return CLIP_OK;
}

bool clip_hdf5_is(const char *path)
{
    char start[sizeof MAGIC];
    int fd = clip_path_is_special(path) ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    ssize_t n = pread(fd, start, sizeof start, 0);
    bool is = n > 0 && (has_magic(start, (size_t)n) || has_signature(fd, CLIP_HDF5_BLOCK));
    close(fd);
    return is;
}
