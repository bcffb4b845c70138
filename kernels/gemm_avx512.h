/* Packing and register tiles with AVX-512, for the files of sets that have it. */
#ifndef CLIP_KERNELS_GEMM_AVX512_H
#define CLIP_KERNELS_GEMM_AVX512_H

#include <immintrin.h>

#include "kernels/gemm_source.h"

enum { COLUMNS = 32, LANES = 16 };

typedef __m512i vector;

static inline void store_units(uint32_t *to, vector x) { _mm512_storeu_si512(to, x); }

static inline vector no_units(void) { return _mm512_setzero_si512(); }

static inline __mmask16 lanes(int64_t n)
{
    return n >= LANES ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* Rounds float32 to bfloat16 (to nearest, ties to even, a NaN becomes quiet): the upper half holds
 * it, the lower half is 0. */
static inline __m512i round_in_place(__m512i x)
{
    __m512i tie = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
    __m512i sum = _mm512_add_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(0x7fff)), tie);
    __m512 value = _mm512_castsi512_ps(x);
    __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    sum = _mm512_mask_or_epi32(sum, nan, x, _mm512_set1_epi32(0x400000));
    return _mm512_and_si512(sum, _mm512_set1_epi32((int)0xffff0000u));
}

/* Up to 16 units of a row that lies along k, from element i; the row has `left` elements from
 * there. */
static inline __m512i units_along_k(enum clip_pack kind, const void *row, int64_t i, int64_t left)
{
    const float *f = (const float *)row + i;
    const uint16_t *h = (const uint16_t *)row + i;
    if (kind == CLIP_PACK_WIDENED)
        return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes(left), h)),
                                 16);
    if (kind == CLIP_PACK_PAIRS)
        return _mm512_maskz_loadu_epi16(left >= 32 ? 0xffffffffu : (__mmask32)((1u << left) - 1),
                                        h);
    if (kind == CLIP_PACK_PAIRS_OF_F32) {
        __m512i low = _mm512_maskz_loadu_epi32(lanes(left), f);
        __m512i high = _mm512_maskz_loadu_epi32(lanes(left - LANES), f + LANES);
        const __m512i upper = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39,
                                               37, 35, 33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13,
                                               11, 9, 7, 5, 3, 1);
        return _mm512_permutex2var_epi16(round_in_place(low), upper, round_in_place(high));
    }
    __m512i x = _mm512_maskz_loadu_epi32(lanes(left), f);
    return kind == CLIP_PACK_ROUNDED ? round_in_place(x) : x;
}

/* Up to 16 units of a row that lies across k, from column i. Pairs take their upper halves from the
 * next row; NULL: zeros. */
static inline __m512i units_across_k(enum clip_pack kind, const void *row, const void *next,
                                     int64_t i, int64_t left)
{
    if (kind == CLIP_PACK_PAIRS) {
        __m512i low = units_along_k(CLIP_PACK_WIDENED, row, i, left);
        __m512i high = next != NULL ? units_along_k(CLIP_PACK_WIDENED, next, i, left)
                                    : _mm512_setzero_si512();
        return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
    }
    if (kind == CLIP_PACK_PAIRS_OF_F32) {
        __m512i low = units_along_k(CLIP_PACK_ROUNDED, row, i, left);
        __m512i high = next != NULL ? units_along_k(CLIP_PACK_ROUNDED, next, i, left)
                                    : _mm512_setzero_si512();
        return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
    }
    return units_along_k(kind, row, i, left);
}

/* Transposes 16 x 16 units. */
static inline void transpose(__m512i r[LANES])
{
    __m512i t[LANES];
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) { /* r[4q + i]: column 4 lane + i of rows 4q to 4q + 3 */
        __m512i a = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
        __m512i b = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
        __m512i d = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
        t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
    for (int i = 0; i < LANES; i++) r[i] = t[i];
}

#define PACK_KINDS(CASE, ...)                                                                      \
    CASE(CLIP_PACK_F32, __VA_ARGS__)                                                               \
    CASE(CLIP_PACK_ROUNDED, __VA_ARGS__)                                                           \
    CASE(CLIP_PACK_WIDENED, __VA_ARGS__)                                                           \
    CASE(CLIP_PACK_PAIRS_OF_F32, __VA_ARGS__)                                                      \
    CASE(CLIP_PACK_PAIRS, __VA_ARGS__)
#include "kernels/gemm_pack_vectors.h"

/* ---- register tiles ---- */

/* c = f y (+ c where `add`), in the lanes of the mask. */
static inline void put(float *c, __mmask16 mask, __m512 f, __m512 y, bool add)
{
    __m512 old = _mm512_maskz_loadu_ps(add ? mask : 0, c);
    _mm512_mask_storeu_ps(c, mask, _mm512_fmadd_ps(f, y, old));
}

/* Register tiles of R rows, one beside the other. Unit p of row i of the strip is
 * a[i * ROW + p * STEP]; PRODUCT(sum, a, b) adds a b to sum, with the unit of A in all lanes of a.
 * R, ROW and STEP are constants, so that sums stay in registers: 28 of 32, beside one for a and two
 * for b. */
#define REGISTER_TILES_OF(name, R, ROW, STEP, PRODUCT)                                             \
    static void name(const struct clip_strip_product *x)                                           \
    {                                                                                              \
        const uint32_t *panel = x->b;                                                              \
        for (int64_t j = 0; j < x->columns; j += COLUMNS, panel += x->panel) {                     \
            const uint32_t *restrict a = x->a, *restrict b = panel;                                \
            __m512 sum[R][2];                                                                      \
            UNROLLED                                                                               \
            for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();               \
            for (int64_t p = 0, k = x->k; p < k; p++, a += STEP, b += COLUMNS) {                   \
                prefetch(&x->prefetch, p);                                                         \
                __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + LANES);            \
                UNROLLED                                                                           \
                for (int i = 0; i < R; i++) {                                                      \
                    __m512i y = _mm512_set1_epi32((int)a[i * ROW]);                                \
                    sum[i][0] = PRODUCT(sum[i][0], y, b0);                                         \
                    sum[i][1] = PRODUCT(sum[i][1], y, b1);                                         \
                }                                                                                  \
            }                                                                                      \
            __m512 f = _mm512_set1_ps(x->alpha);                                                   \
            __mmask16 left = lanes(x->columns - j), right = lanes(x->columns - j - LANES);         \
            bool add = x->add;                                                                     \
            float *c = x->c + j;                                                                   \
            UNROLLED                                                                               \
            for (int i = 0; i < R; i++, c += x->ldc) {                                             \
                put(c, left, f, sum[i][0], add);                                                   \
                put(c + LANES, right, f, sum[i][1], add);                                          \
            }                                                                                      \
        }                                                                                          \
    }

#define REGISTER_TILES(name, ROW, STEP, PRODUCT)                                                   \
    REGISTER_TILES_OF(name##_1, 1, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_2, 2, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_3, 3, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_4, 4, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_5, 5, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_6, 6, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_7, 7, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_8, 8, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_9, 9, ROW, STEP, PRODUCT)                                             \
    REGISTER_TILES_OF(name##_10, 10, ROW, STEP, PRODUCT)                                           \
    REGISTER_TILES_OF(name##_11, 11, ROW, STEP, PRODUCT)                                           \
    REGISTER_TILES_OF(name##_12, 12, ROW, STEP, PRODUCT)                                           \
    REGISTER_TILES_OF(name##_13, 13, ROW, STEP, PRODUCT)                                           \
    REGISTER_TILES_OF(name##_14, 14, ROW, STEP, PRODUCT)                                           \
    static void name(const struct clip_strip_product *x)                                           \
    {                                                                                              \
        static const clip_multiply_fn tiles[ROWS] = {                                              \
            name##_1, name##_2, name##_3,  name##_4,  name##_5,  name##_6,  name##_7,              \
            name##_8, name##_9, name##_10, name##_11, name##_12, name##_13, name##_14};            \
        tiles[x->rows - 1](x);                                                                     \
    }

#endif
