#include "core/rng.h"

#include <math.h>
#include <string.h>

void clip_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0;
        uint64_t b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; /* the golden ratio and sqrt(3) - 1, as fractions of 2^32 */
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct clip_rng clip_rng_at(uint64_t seed, enum clip_rng_purpose purpose, uint32_t epoch,
                            uint64_t sample)
{
    struct clip_rng rng = {
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, epoch, (uint32_t)sample,
                    ((uint32_t)(sample >> 32) & 0xFFFFFFu) | (uint32_t)purpose << 24},
        .used = 4,
    };
    return rng;
}

uint32_t clip_rng_u32(struct clip_rng *rng)
{
    if (rng->used == 4) {
        clip_philox(rng->block, rng->counter, rng->key);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

/* Lemire 2019, "Fast random integer generation in an interval": the high word of draw * n, unless
 * the low word is among the 2^32 mod n values that would favour some results. */
uint32_t clip_rng_below(struct clip_rng *rng, uint32_t n)
{
    uint64_t product = (uint64_t)clip_rng_u32(rng) * n;
    if ((uint32_t)product < n) {
        uint32_t threshold = -n % n;
        while ((uint32_t)product < threshold) product = (uint64_t)clip_rng_u32(rng) * n;
    }
    return (uint32_t)(product >> 32);
}

double clip_rng_range(struct clip_rng *rng, double low, double high)
{
    uint64_t bits = (uint64_t)clip_rng_u32(rng) << 32;
    bits |= clip_rng_u32(rng);
    return low + (high - low) * ((double)(bits >> 11) * 0x1p-53);
}

float clip_rng_normal(struct clip_rng *rng)
{
    double radius = ((double)clip_rng_u32(rng) + 1.0) * 0x1p-32; /* (0, 1] */
    double angle = (double)clip_rng_u32(rng) * 0x1p-32;
    return (float)(sqrt(-2.0 * log(radius)) * cos(6.283185307179586477 * angle));
}

/* Uniform in [0, n) for n of more than 32 bits; draws from the incomplete last interval are
 * rejected. */
static uint64_t below_64(struct clip_rng *rng, uint64_t n)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, draw;
    do {
        draw = (uint64_t)clip_rng_u32(rng) << 32;
        draw |= clip_rng_u32(rng);
    } while (draw >= limit);
    return draw % n;
}

int64_t clip_rng_index(struct clip_rng *rng, int64_t n)
{
    uint64_t choices = (uint64_t)n;
    return (int64_t)(choices <= UINT32_MAX ? clip_rng_below(rng, (uint32_t)choices)
                                           : below_64(rng, choices));
}

void clip_rng_shuffle(struct clip_rng *rng, int64_t *items, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = clip_rng_index(rng, i + 1);
        int64_t swapped = items[i];
        items[i] = items[j];
        items[j] = swapped;
    }
}
