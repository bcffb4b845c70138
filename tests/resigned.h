/* Damage inside an HDF5 file that no checksum shows: bytes of its structures are changed, and the
 * structure's own checksum is made to fit again. What remains to stop a reader are its checks. */
#ifndef CLIP_TESTS_RESIGNED_H
#define CLIP_TESTS_RESIGNED_H

#include <string.h>

#include "checkpoints/hdf5_inside.h"
#include "core/rng.h"
#include "tests/support.h"

enum { STRUCTURES = 4096, STRUCTURE_MOST = 4096, HEAP_BLOCK_HEAD = 17 };

struct structure {
    size_t at, size; /* bytes in front of the checksum; of a heap's block all of them */
    bool heap_block; /* the checksum is at HEAP_BLOCK_HEAD, and is that of zeros in its place */
};
struct structures {
    struct structure all[STRUCTURES];
    int count;
};

static inline void put_sum(unsigned char *at, uint32_t sum)
{
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(sum >> 8 * i);
}

static inline bool sum_is(const unsigned char *at, uint32_t sum)
{
    unsigned char expected[4];
    put_sum(expected, sum);
    return memcmp(at, expected, 4) == 0;
}

/* The bytes of the structure at `p`, of which n are left in the file; 0: it is none. A structure
 * ends where its checksum stands. */
static inline size_t measure(unsigned char *p, size_t n, bool *heap_block)
{
    static const char *const signatures[] = {"\211HDF", "OHDR", "OCHK", "FRHP", "FHDB", "FHIB",
                                             "BTHD",    "BTLF", "BTIN", "FAHD", "FADB"};
    size_t k = 0, kinds = sizeof signatures / sizeof *signatures;
    while (k < kinds && (n < 4 || memcmp(p, signatures[k], 4) != 0)) k++;
    if (k == kinds) return 0;
    *heap_block = strcmp(signatures[k], "FHDB") == 0;
    for (size_t size = 512; *heap_block && size <= n && size <= 65536; size *= 2) {
        unsigned char kept[4];
        memcpy(kept, p + HEAP_BLOCK_HEAD, 4);
        memset(p + HEAP_BLOCK_HEAD, 0, 4);
        uint32_t sum = clip_hdf5_sum(p, size);
        memcpy(p + HEAP_BLOCK_HEAD, kept, 4);
        if (sum_is(kept, sum)) return size;
    }
    for (size_t size = 8; !*heap_block && size + 4 <= n && size <= STRUCTURE_MOST; size++)
        if (sum_is(p + size, clip_hdf5_sum(p, size))) return size;
    return 0;
}

static inline void find_structures(const struct clip_buffer *file, struct structures *out)
{
    out->count = 0;
    for (size_t at = 0; at < file->size && out->count < STRUCTURES; at++) {
        bool heap_block = false;
        size_t size = measure((unsigned char *)file->data + at, file->size - at, &heap_block);
        if (size > 0) out->all[out->count++] = (struct structure){at, size, heap_block};
    }
}

/* Changes some bytes of a few structures, then signs each of them again. */
static inline void damage_inside(struct clip_buffer *file, const struct structures *structures,
                                 struct clip_rng *rng)
{
    for (uint32_t k = 1 + clip_rng_below(rng, 3); k-- > 0;) {
        const struct structure *s =
            &structures->all[clip_rng_below(rng, (uint32_t)structures->count)];
        unsigned char *p = (unsigned char *)file->data + s->at;
        size_t width = (size_t)1 << clip_rng_below(rng, 4);
        size_t at = 4 + clip_rng_below(rng, (uint32_t)s->size - 4);
        uint64_t lie = clip_rng_below(rng, 3) == 0 ? UINT64_MAX >> clip_rng_below(rng, 64)
                                                   : clip_rng_below(rng, (uint32_t)file->size);
        bool flip = clip_rng_below(rng, 2) == 0;
        if (flip) p[at] ^= (unsigned char)(1 << clip_rng_below(rng, 8));
        for (size_t i = 0; !flip && i < width && at + i < s->size; i++)
            p[at + i] = (unsigned char)(lie >> 8 * i);
        if (s->heap_block) memset(p + HEAP_BLOCK_HEAD, 0, 4);
        put_sum(s->heap_block ? p + HEAP_BLOCK_HEAD : p + s->size, clip_hdf5_sum(p, s->size));
    }
}

#endif
