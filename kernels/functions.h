/* Elementary functions in plain C that compilers vectorise: no branches, polynomials fitted by us.
 * Included by what is compiled once for each instruction set. */
#ifndef CLIP_KERNELS_FUNCTIONS_H
#define CLIP_KERNELS_FUNCTIONS_H

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

/* exp(x) for finite x, relative error below 2e-7 (tests/test_functions.c); below -87 it is 1.6e-38,
 * above 88 it is 1.6e38. exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2)/2; exp(r) = 1 + r +
 * r^2 (a quartic fitted by us, 3e-9). */
static inline float exp_f32(float x)
{
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float shifted = x * 1.44269504088896f + magic;
    float n = shifted - magic;
    float r = (x - n * 0.693145751953125f) - n * 1.42860682030941723e-6f; /* ln 2 in two parts */
    float p = 1.38145404e-3f;
    p = p * r + 8.36874587e-3f;
    p = p * r + 4.16683908e-2f;
    p = p * r + 1.66665204e-1f;
    p = p * r + 4.99999934e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    /* 2^n: n stands in the low bits of `shifted`. */
    bits = (int32_t)((uint32_t)bits << 23) + 0x3f800000;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* The normal distribution function and density. With z = |x| / sqrt 2 and t = 1 / (1 + 0.35 z),
 * erfc(z) = exp(-z^2) (c1 t + ... + c7 t^7), coefficients fitted by us: absolute error 5e-9, here
 * below 1e-7. */
static inline float normal_cdf(float x, float *density)
{
    float z = fabsf(x) * 0.70710678118654752f;
    float t = 1.0f / (1.0f + 0.35f * z);
    float e = exp_f32(-z * z);
    float p = -0.19805682f;
    p = p * t + 0.77266425f;
    p = p * t - 0.68109822f;
    p = p * t + 0.68490537f;
    p = p * t - 0.00860184f;
    p = p * t + 0.23583917f;
    p = p * t + 0.19434808f;
    float half = 0.5f * p * t * e;
    *density = 0.39894228040143268f * e;
    return x < 0 ? half : 1.0f - half;
}

/* log(1 + x) for 0 <= x <= 1, relative error below 2e-7: 2 artanh(z), z = x / (2 + x) <= 1/3, by
 * its series up to z^13 (what is left out is below 3e-8 of the value). */
static inline float log1p_f32(float x)
{
    float z = x / (2.0f + x), q = z * z;
    float p = 2.0f / 13;
    p = p * q + 2.0f / 11;
    p = p * q + 2.0f / 9;
    p = p * q + 2.0f / 7;
    p = p * q + 2.0f / 5;
    p = p * q + 2.0f / 3;
    return z * (p * q + 2.0f);
}

/* x times a distribution function F(x): the normal one (exact GELU), or the logistic one of 1.702 x
 * (quick GELU), or of 2 sqrt(2/pi) (x + 0.044715 x^3), which is 0.5 (1 + tanh ...) (Hendrycks and
 * Gimpel 2016). */
static inline float logistic(float x) { return 1.0f / (1.0f + exp_f32(-x)); }

static inline float activate(enum clip_activation kind, float x)
{
    float density;
    if (kind == CLIP_GELU) return x * normal_cdf(x, &density);
    if (kind == CLIP_QUICK_GELU) return x * logistic(1.702f * x);
    if (kind == CLIP_GELU_TANH)
        return x * logistic(1.5957691216057308f * (x + 0.044715f * x * x * x));
    return x;
}

/* The derivative of x s(u(x)), s the logistic function: s + x s (1 - s) u'. With e = exp(-u), 1 - s
 * is e s, which keeps its digits where s is near 1. */
static inline float logistic_slope(float x, float u, float du)
{
    float e = exp_f32(-u), s = 1.0f / (1.0f + e);
    return s + x * du * (e * s) * s;
}

/* The activation's derivative, F(x) + x F'(x). */
static inline float activation_slope(enum clip_activation kind, float x)
{
    float density;
    if (kind == CLIP_GELU) {
        float cdf = normal_cdf(x, &density);
        return cdf + x * density;
    }
    if (kind == CLIP_QUICK_GELU) return logistic_slope(x, 1.702f * x, 1.702f);
    if (kind == CLIP_GELU_TANH)
        return logistic_slope(x, 1.5957691216057308f * (x + 0.044715f * x * x * x),
                              1.5957691216057308f * (1.0f + 0.134145f * x * x));
    return 1.0f;
}

#endif
