/* Two 64-bit hashes of bytes. One is fast and the same everywhere: it tells whether a file's
 * content was seen before. The other depends on a secret: it is for tables whose keys come from
 * files. */
#ifndef CLIP_CORE_HASH_H
#define CLIP_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 with seed 0 (Collet, "xxHash fast digest algorithm", version 0.1.1). It is the same on
 * every machine. It is no defence against somebody who makes two contents with equal hashes. bytes
 * may be NULL if n is 0. */
uint64_t clip_hash64(const void *bytes, size_t n);

/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012). Who does not know
 * the secret can neither predict a hash nor choose bytes with equal hashes. */
uint64_t clip_hash_keyed(const uint64_t secret[2], const void *bytes, size_t n);
/* The sixteen random bytes that the system gave this process when it started. Nothing that is
 * written or printed may depend on them. */
void clip_hash_secret(uint64_t secret[2]);

#endif
