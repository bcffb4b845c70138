/* CRC-32 by zlib: pieces of a fixed size are summed in parallel and joined by crc32_combine. */
#include "checkpoints/checksum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/memory.h"
#include "core/threads.h"

#define PIECE ((int64_t)2 << 20)
#define PIECES (CLIP_CHECKSUM_BYTES / PIECE) /* in one round */

struct round {
    int fd;                     /* -1: from memory */
    const unsigned char *bytes; /* the round's bytes, if they are in memory */
    unsigned char *buffer;      /* or memory to read them into */
    int64_t begin, n;           /* where the round begins in the file, and its length */
    uint32_t crc[PIECES];
    int failed[PIECES]; /* errno of a failed read; -1: the file ended */
};

static int64_t piece_size(const struct round *round, int64_t i)
{
    int64_t rest = round->n - i * PIECE;
    return rest < PIECE ? rest : PIECE;
}

static void take_piece(void *context, int64_t i)
{
    struct round *round = context;
    int64_t n = piece_size(round, i), at = 0;
    const unsigned char *bytes = round->bytes + i * PIECE;
    round->failed[i] = 0;
    while (round->fd >= 0 && at < n) {
        ssize_t got = pread(round->fd, round->buffer + i * PIECE + at, (size_t)(n - at),
                            (off_t)(round->begin + i * PIECE + at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            round->failed[i] = got < 0 ? errno : -1;
            return;
        }
        at += got;
    }
    round->crc[i] = (uint32_t)crc32_z(0, bytes, (size_t)n);
}

/* Takes the next pieces of what is left (up to `end`) and joins their sums to *crc. Returns 0, or a
 * reason as in round.failed. */
static int take_round(struct round *round, int64_t end, uint32_t *crc)
{
    round->n = clip_min_i64(end - round->begin, CLIP_CHECKSUM_BYTES);
    int64_t count = (round->n + PIECE - 1) / PIECE;
    clip_parallel_for(count, take_piece, round);
    for (int64_t i = 0; i < count; i++) {
        if (round->failed[i] != 0) return round->failed[i];
        *crc = (uint32_t)crc32_combine(*crc, round->crc[i], (z_off_t)piece_size(round, i));
    }
    return 0;
}

uint32_t clip_crc32(uint32_t crc, const void *bytes, size_t n)
{
    struct round round = {.fd = -1};
    while (round.begin < (int64_t)n) {
        round.bytes = (const unsigned char *)bytes + round.begin;
        take_round(&round, (int64_t)n, &crc);
        round.begin += round.n;
    }
    return crc;
}

clip_status clip_crc32_file(uint32_t *out, int fd, int64_t begin, int64_t end, const char *name,
                            struct clip_error *error)
{
    struct round round = {.fd = fd, .begin = begin};
    int64_t room = clip_min_i64(end - begin, CLIP_CHECKSUM_BYTES);
    int reason = 0;
    round.buffer = clip_array_new(room, 1, error);
    if (round.buffer == NULL) return CLIP_ERR_MEMORY;
    round.bytes = round.buffer;
    *out = 0;
    while (round.begin < end && reason == 0) {
        reason = take_round(&round, end, out);
        round.begin += round.n;
    }
    free(round.buffer);
    if (reason > 0) {
        return clip_fail(error, clip_status_of(reason), "%s: reading failed (%s); check the disk",
                         name, strerror(reason));
    }
    if (reason < 0) {
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the file became shorter while it was read; try again", name);
    }
    return CLIP_OK;
}
