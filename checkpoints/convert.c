/* Works on the bits of IEEE 754-2008 (binary16: 1, 5, 10 bits; binary32: 1, 8, 23). */
#include "checkpoints/convert.h"

#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float clip_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1f, mantissa = half & 0x3ff;
    if (exponent == 0x1f) return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f; /* zero or denormal: exact in float32 */
    return float_of(sign | bits_of(magnitude));
}

/* x >> shift, rounded to nearest, ties to even; 1 <= shift <= 31. */
static uint32_t shift_rounded(uint32_t x, int shift)
{
    uint32_t rest = x & ((1u << shift) - 1), half = 1u << (shift - 1);
    x >>= shift;
    return x + (rest > half || (rest == half && (x & 1)));
}

uint16_t clip_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu, half;
    int exponent = (int)(magnitude >> 23) - 127;
    if (magnitude > 0x7f800000u)
        half = 0x7e00u | (magnitude >> 13 & 0x3ff); /* NaN, quiet */
    else if (exponent > 15)
        half = 0x7c00u;
    else if (exponent >= -14) /* the carry of rounding moves into the exponent by itself */
        half = shift_rounded(magnitude - (112u << 23), 13);
    else if (exponent >= -25) /* denormal: units of 2^-24 */
        half = shift_rounded((magnitude & 0x7fffffu) | 0x800000u, -exponent - 1);
    else
        half = 0;
    return (uint16_t)((bits >> 16 & 0x8000u) | half);
}
