/* The inner loops of images: weighted sums of bytes, and transposition of blocks of bytes. This is
 * plain C that compilers vectorise, compiled once for each instruction set
 * (-DCLIP_INSTRUCTION_SET). Everything is an integer, so that all sets give the same bits. */
#include <string.h>

#include "kernels/instruction_set.h"

enum { CHUNK = 64, PRECISION = 22, TURNED = 16 };

/* n is a constant in the calls that take most of the time. Four taps are taken at once, so that
 * sums stay in registers. */
static inline __attribute__((always_inline)) void
weigh_some(uint8_t *restrict dst, const uint8_t *restrict src, int64_t step,
           const int32_t *restrict k, int64_t taps, int n)
{
    int32_t sum[CHUNK];
    int64_t t = 0;
    for (int j = 0; j < n; j++) sum[j] = 1 << (PRECISION - 1);
    for (; t + 4 <= taps; t += 4, src += 4 * step) {
        const uint8_t *a = src, *b = a + step, *c = b + step, *d = c + step;
        int32_t ka = k[t], kb = k[t + 1], kc = k[t + 2], kd = k[t + 3];
        for (int j = 0; j < n; j++) sum[j] += a[j] * ka + b[j] * kb + c[j] * kc + d[j] * kd;
    }
    for (; t < taps; t++, src += step)
        for (int j = 0; j < n; j++) sum[j] += src[j] * k[t];
    for (int j = 0; j < n; j++) {
        int32_t value = sum[j] >> PRECISION;
        value = value > 0 ? value : 0;
        value = value < 255 ? value : 255;
        dst[j] = (uint8_t)value;
    }
}

void PASTE(clip_weigh_bytes_, CLIP_INSTRUCTION_SET)(uint8_t *dst, const uint8_t *src, int64_t step,
                                                    const int32_t *k, int64_t taps, int64_t n)
{
    for (; n >= CHUNK; n -= CHUNK, dst += CHUNK, src += CHUNK)
        weigh_some(dst, src, step, k, taps, CHUNK);
    for (; n >= 16; n -= 16, dst += 16, src += 16) weigh_some(dst, src, step, k, taps, 16);
    if (n > 0) weigh_some(dst, src, step, k, taps, (int)n);
}

typedef uint8_t bytes16 __attribute__((vector_size(TURNED)));

static inline bytes16 low_halves(bytes16 a, bytes16 b)
{
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

static inline bytes16 high_halves(bytes16 a, bytes16 b)
{
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                   31);
}

/* Interleaving row i with row i + 8, four times over, transposes a block of 16 x 16. */
static inline void turn_block(uint8_t *dst, int64_t dst_step, const uint8_t *src, int64_t src_step)
{
    bytes16 a[TURNED], b[TURNED];
    for (int i = 0; i < TURNED; i++) memcpy(&a[i], src + i * src_step, TURNED);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 8; i++) {
            b[2 * i] = low_halves(a[i], a[i + 8]);
            b[2 * i + 1] = high_halves(a[i], a[i + 8]);
        }
        for (int i = 0; i < 8; i++) {
            a[2 * i] = low_halves(b[i], b[i + 8]);
            a[2 * i + 1] = high_halves(b[i], b[i + 8]);
        }
    }
    for (int i = 0; i < TURNED; i++) memcpy(dst + i * dst_step, &a[i], TURNED);
}

void PASTE(clip_turn_bytes_, CLIP_INSTRUCTION_SET)(uint8_t *dst, int64_t dst_step,
                                                   const uint8_t *src, int64_t src_step,
                                                   int64_t rows, int64_t columns)
{
    for (int64_t r = 0; r < rows; r += TURNED)
        for (int64_t c = 0; c < columns; c += TURNED) {
            int64_t h = rows - r < TURNED ? rows - r : TURNED;
            int64_t w = columns - c < TURNED ? columns - c : TURNED;
            const uint8_t *from = src + r * src_step + c;
            uint8_t *to = dst + c * dst_step + r;
            if (h == TURNED && w == TURNED) {
                turn_block(to, dst_step, from, src_step);
                continue;
            }
            for (int64_t y = 0; y < h; y++)
                for (int64_t x = 0; x < w; x++) to[x * dst_step + y] = from[y * src_step + x];
        }
}
