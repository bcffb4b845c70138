#include "core/hash.h"

#include <string.h>
#include <sys/auxv.h>

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t turn(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

/* Reads a little-endian number from any address. */
static uint64_t word(const unsigned char *p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static uint64_t mix(uint64_t lane, uint64_t input) { return turn(lane + input * P2, 31) * P1; }

static uint64_t join(uint64_t sum, uint64_t lane) { return (sum ^ mix(0, lane)) * P1 + P4; }

uint64_t clip_hash64(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    size_t left = n;
    uint64_t sum = P5;
    if (n >= 32) {
        uint64_t lane[4] = {P1 + P2, P2, 0, 0 - P1};
        for (; left >= 32; p += 32, left -= 32)
            for (int i = 0; i < 4; i++) lane[i] = mix(lane[i], word(p + 8 * i, 8));
        sum = turn(lane[0], 1) + turn(lane[1], 7) + turn(lane[2], 12) + turn(lane[3], 18);
        for (int i = 0; i < 4; i++) sum = join(sum, lane[i]);
    }
    sum += n;
    for (; left >= 8; p += 8, left -= 8) sum = turn(sum ^ mix(0, word(p, 8)), 27) * P1 + P4;
    if (left >= 4) {
        sum = turn(sum ^ word(p, 4) * P1, 23) * P2 + P3;
        p += 4;
        left -= 4;
    }
    for (; left > 0; p++, left--) sum = turn(sum ^ *p * P5, 11) * P1;
    sum = (sum ^ sum >> 33) * P2;
    sum = (sum ^ sum >> 29) * P3;
    return sum ^ sum >> 32;
}

/* ---- a hash under a secret ---- */

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0];
    v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32) + v[3];
    v[2] += v[1];
    v[1] = turn(v[1], 17) ^ v[2];
    v[3] = turn(v[3], 21) ^ v[0];
    v[2] = turn(v[2], 32);
}

uint64_t clip_hash_keyed(const uint64_t secret[2], const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    size_t left = n;
    uint64_t v[4] = {
        secret[0] ^ UINT64_C(0x736F6D6570736575), secret[1] ^ UINT64_C(0x646F72616E646F6D),
        secret[0] ^ UINT64_C(0x6C7967656E657261), secret[1] ^ UINT64_C(0x7465646279746573)};
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t input = word(p, 8);
        v[3] ^= input;
        sip_round(v);
        v[0] ^= input;
    }
    uint64_t last = word(p, (int)left) | (uint64_t)n << 56;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void clip_hash_secret(uint64_t secret[2])
{
    const void *random = (const void *)getauxval(AT_RANDOM);
    memset(secret, 0, 16);
    if (random != NULL) memcpy(secret, random, 16);
}
