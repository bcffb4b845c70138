/* Pieces of an HDF5 file, with their checksums (hdf5_inside.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/hdf5_inside.h"

void clip_hdf5_block_release(struct clip_hdf5_block *block)
{
    free(block->bytes);
    *block = (struct clip_hdf5_block){0};
}

clip_status clip_hdf5_damaged(struct clip_hdf5_inside *inside, const char *what)
{
    return clip_fail(inside->error, CLIP_ERR_FORMAT,
                     "%s: %s is damaged or not as clip.c writes it; use another copy or an older "
                     "checkpoint",
                     inside->path, what);
}

static uint32_t rotate(uint32_t x, int k) { return x << k | x >> (32 - k); }

static uint32_t word(const unsigned char *p, size_t n)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n && i < 4; i++) value |= (uint32_t)p[i] << 8 * i;
    return value;
}

/* The hash adds the bytes to (a, b, c) in groups of twelve and mixes after each group. The last
 * group, which may be shorter, is mixed in another way. */
uint32_t clip_hdf5_sum(const unsigned char *p, size_t n)
{
    static const int mix[6] = {4, 6, 8, 16, 19, 4}, last[7] = {14, 11, 25, 16, 4, 14, 24};
    uint32_t x[3];
    x[0] = x[1] = x[2] = 0xdeadbeef + (uint32_t)n;
    for (; n > 12; p += 12, n -= 12) {
        for (int i = 0; i < 3; i++) x[i] += word(p + 4 * i, 4);
        for (int i = 0; i < 6; i++) {
            uint32_t *to = &x[i % 3], *from = &x[(i + 2) % 3], *other = &x[(i + 1) % 3];
            *to = (*to - *from) ^ rotate(*from, mix[i]);
            *from += *other;
        }
    }
    if (n == 0) return x[2];
    for (size_t i = 0; 4 * i < n; i++) x[i] += word(p + 4 * i, n - 4 * i);
    for (int i = 0; i < 7; i++) {
        uint32_t *to = &x[(i + 2) % 3], from = x[(i + 1) % 3];
        *to = (*to ^ from) - rotate(from, last[i]);
    }
    return x[2];
}

clip_status clip_hdf5_pread(struct clip_hdf5_inside *inside, uint64_t address, void *out,
                            uint64_t n)
{
    uint64_t room = (uint64_t)(inside->size - inside->base);
    if (address > room || n > room - address)
        return clip_hdf5_damaged(inside, "what points into it or out of it");
    int64_t at = inside->base + (int64_t)address;
    for (uint64_t done = 0; done < n;) {
        ssize_t got = pread(inside->fd, (char *)out + done, n - done, (off_t)(at + (int64_t)done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            clip_status failed = got < 0 ? clip_status_of(errno) : CLIP_ERR_FORMAT;
            return clip_fail(inside->error, failed, "%s: reading failed (%s); check the disk",
                             inside->path,
                             got < 0 ? strerror(errno) : "the file became shorter meanwhile");
        }
        done += (uint64_t)got;
    }
    return CLIP_OK;
}

clip_status clip_hdf5_block_read(struct clip_hdf5_inside *inside, uint64_t address, uint64_t size,
                                 const char *signature, struct clip_hdf5_block *block)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = inside->error;
    clip_hdf5_block_release(block);
    size_t head = signature != NULL ? strlen(signature) : 0;
    if (size > (uint64_t)inside->budget || (signature != NULL && size < head + 4))
        return clip_hdf5_damaged(inside, "its list of tensors");
    inside->budget -= (int64_t)size;
    CLIP_NEW(block->bytes, (int64_t)size + 1);
    CLIP_TRY(clip_hdf5_pread(inside, address, block->bytes, size));
    block->size = size;
    if (signature == NULL) return CLIP_OK;
    block->size = size - 4;
    block->at = head;
    if (memcmp(block->bytes, signature, head) != 0 ||
        clip_hdf5_sum(block->bytes, block->size) != word(block->bytes + block->size, 4))
        CLIP_TRY(clip_hdf5_damaged(inside, "its list of tensors"));
out:
    if (status != CLIP_OK) clip_hdf5_block_release(block);
    return status;
}

clip_status clip_hdf5_block_check(struct clip_hdf5_inside *inside, struct clip_hdf5_block *block)
{
    static const unsigned char zeros[4];
    const unsigned char *bytes = clip_hdf5_take_bytes(block, 4);
    if (bytes == NULL) return clip_hdf5_damaged(inside, "its list of tensors");
    unsigned char *place = block->bytes + (bytes - block->bytes);
    uint32_t sum = word(place, 4);
    memcpy(place, zeros, 4);
    return clip_hdf5_sum(block->bytes, block->size) == sum
               ? CLIP_OK
               : clip_hdf5_damaged(inside, "its list of tensors");
}

const unsigned char *clip_hdf5_take_bytes(struct clip_hdf5_block *block, size_t n)
{
    if (n > block->size - block->at) {
        block->past = true;
        block->at = block->size;
        return NULL;
    }
    const unsigned char *bytes = block->bytes + block->at;
    block->at += n;
    return bytes;
}

uint64_t clip_hdf5_take(struct clip_hdf5_block *block, size_t n)
{
    uint64_t value = 0;
    const unsigned char *bytes = clip_hdf5_take_bytes(block, n);
    if (bytes == NULL) return 0;
    for (size_t i = n; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}
