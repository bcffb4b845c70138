#include "core/hash.h"

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t turn(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

/* Little-endian, wherever it lies. */
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
