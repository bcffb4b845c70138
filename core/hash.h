/* Two 64-bit hashes of bytes: a fast one, the same everywhere, to tell whether a file's content is
 * one that was seen before; and one under a secret, for tables whose keys come from files. */
#ifndef CLIP_CORE_HASH_H
#define CLIP_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 with seed 0 (Collet, "xxHash fast digest algorithm", version 0.1.1), the same on every
 * machine. It is no defence against somebody who wants two contents to look alike. bytes may be
 * NULL where n is 0. */
uint64_t clip_hash64(const void *bytes, size_t n);

/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): who does not know
 * the secret can neither foretell a hash nor choose bytes whose hashes are equal. */
uint64_t clip_hash_keyed(const uint64_t secret[2], const void *bytes, size_t n);
/* The sixteen random bytes that the system gave this process when it started. Nothing that is
 * written or printed may depend on them. */
void clip_hash_secret(uint64_t secret[2]);

#endif
