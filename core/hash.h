/* A fast 64-bit hash of bytes, to tell whether a file's content is one that was seen before. It is
 * no defence against somebody who wants two contents to look alike. */
#ifndef CLIP_CORE_HASH_H
#define CLIP_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 with seed 0 (Collet, "xxHash fast digest algorithm", version 0.1.1), the same on every
 * machine. bytes may be NULL where n is 0. */
uint64_t clip_hash64(const void *bytes, size_t n);

#endif
