/* Elementary functions in plain C that compilers vectorise: they have no branches, and their
 * polynomials were fitted by us. They are included by files that are compiled once for each
 * instruction set. */
#ifndef CLIP_KERNELS_FUNCTIONS_H
#define CLIP_KERNELS_FUNCTIONS_H

#include <string.h>

#include "kernels/kernels.h"

/* exp(x) for finite x, with a relative error below 2e-7 (tests/test_functions.c); 1.6e-38 below -87
 * and 1.6e38 above 88.
 *     exp(x) = 2^n exp(r)   n = round(x / ln 2), |r| <= ln(2) / 2
 *     exp(r) = 1 + r + r^2 q(r), q a polynomial of degree 4 (3e-9) */
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
    /* 2^n: n is in the low bits of `shifted`. */
    bits = (int32_t)((uint32_t)bits << 23) + 0x3f800000;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* 1/2 + x p(x^2), which both F(x) and F(x) + x F'(x) are, F being the normal distribution function:
 * F(x) - 1/2 is x times an even function. p was fitted by us for |x| <= most, and beyond that its
 * value at `most` is taken. It is a polynomial in s = 2 x^2 / most^2 - 1, which keeps the
 * coefficients small; they come with the highest power first. Neither exp nor a division is
 * needed. */
static inline float half_and_odd(const float *p, int n, float most, float x)
{
    x = x < -most ? -most : x;
    x = x > most ? most : x;
    float s = x * x * (2 / (most * most)) - 1.0f, sum = p[0];
#pragma GCC unroll 18
    for (int i = 1; i < n; i++) sum = sum * s + p[i];
    return x * sum + 0.5f;
}

/* F(x) with an error below 2e-7, of which the fit makes 1e-8. */
static inline float normal_cdf(float x)
{
    static const float p[16] = {-2.36453605e-4f, 6.31590310e-4f, -5.29017892e-4f, 7.20009665e-4f,
                                -2.41879221e-3f, 4.62189731e-3f, -6.81982130e-3f, 1.02277587e-2f,
                                -1.49991069e-2f, 2.03645871e-2f, -2.60482557e-2f, 3.20702562e-2f,
                                -3.87927855e-2f, 4.77376274e-2f, -6.41723387e-2f, 1.28551931e-1f};
    return half_and_odd(p, 16, 5.5f, x);
}

/* F(x) + x F'(x) with an error below 3e-7, of which the fit makes 3e-8. */
static inline float gelu_slope(float x)
{
    static const float p[18] = {-2.44575453e-3f, 6.21739352e-3f, -2.83086444e-3f, 1.06094711e-3f,
                                -1.62223827e-2f, 3.16948174e-2f, -3.49268173e-2f, 4.31617039e-2f,
                                -5.93599437e-2f, 6.93855905e-2f, -7.05780619e-2f, 6.67544738e-2f,
                                -5.95244635e-2f, 5.17064995e-2f, -4.72942348e-2f, 4.93672239e-2f,
                                -6.22814077e-2f, 1.23071824e-1f};
    return half_and_odd(p, 18, 5.75f, x);
}

/* log(1 + x) for 0 <= x <= 1, with a relative error below 2e-7: 2 artanh(z), z = x / (2 + x) <=
 * 1/3, by its series up to z^13, whose remainder is below 3e-8 of the value. */
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

static inline float logistic(float x) { return 1.0f / (1.0f + exp_f32(-x)); }

/* The activations (Hendrycks and Gimpel 2016), each x times a distribution function F(x):
 *     CLIP_GELU         F the normal distribution function
 *     CLIP_QUICK_GELU   F(x) = logistic(1.702 x)
 *     CLIP_GELU_TANH    F(x) = logistic(2 u) = (1 + tanh u) / 2,
 *                       u = sqrt(2/pi) (x + 0.044715 x^3) */
static inline float activate(enum clip_activation kind, float x)
{
    if (kind == CLIP_GELU) return x * normal_cdf(x);
    if (kind == CLIP_QUICK_GELU) return x * logistic(1.702f * x);
    if (kind == CLIP_GELU_TANH)
        return x * logistic(1.5957691216057308f * (x + 0.044715f * x * x * x));
    return x;
}

/* The derivative of x s(u(x)), s the logistic function: s + x s (1 - s) u', du = u'. With e =
 * exp(-u), 1 - s is e s, which keeps its digits where s is near 1. */
static inline float logistic_slope(float x, float u, float du)
{
    float e = exp_f32(-u), s = 1.0f / (1.0f + e);
    return s + x * du * (e * s) * s;
}

/* The activation's derivative, F(x) + x F'(x). */
static inline float activation_slope(enum clip_activation kind, float x)
{
    if (kind == CLIP_GELU) return gelu_slope(x);
    if (kind == CLIP_QUICK_GELU) return logistic_slope(x, 1.702f * x, 1.702f);
    if (kind == CLIP_GELU_TANH)
        return logistic_slope(x, 1.5957691216057308f * (x + 0.044715f * x * x * x),
                              1.5957691216057308f * (1.0f + 0.134145f * x * x));
    return 1.0f;
}

#endif
