/* CRC-32 (ISO 3309, as in gzip and PNG), computed by several threads; the result is the same for
 * any number of them. */
#ifndef CLIP_CHECKPOINTS_CHECKSUM_H
#define CLIP_CHECKPOINTS_CHECKSUM_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

/* The sum of n bytes, continued from `crc` (0 at the start). */
uint32_t clip_crc32(uint32_t crc, const void *bytes, size_t n);

enum { CLIP_CHECKSUM_BYTES = 32 << 20 };
/* The sum of bytes `begin` to `end` of an open file, which is read piece by piece, so that a large
 * file needs no more memory than CLIP_CHECKSUM_BYTES. `name` is for messages; a file that ends
 * earlier is CLIP_ERR_FORMAT. */
clip_status clip_crc32_file(uint32_t *out, int fd, int64_t begin, int64_t end, const char *name,
                            struct clip_error *error);

#endif
