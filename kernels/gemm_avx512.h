/* Packing with AVX-512, for the files of sets that have it. */
#ifndef CLIP_KERNELS_GEMM_AVX512_H
#define CLIP_KERNELS_GEMM_AVX512_H

#include <immintrin.h>

#include "kernels/gemm_plain.h"

enum { ROWS = 14, COLUMNS = 32, LANES = 16 };

static inline __mmask16 lanes(int64_t n)
{
    return n >= LANES ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* float32 to bfloat16 in the upper half, to nearest, ties to even, NaN quiet; the lower half 0. */
static inline __m512i round_in_place(__m512i x)
{
    __m512i tie = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
    __m512i sum = _mm512_add_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(0x7fff)), tie);
    __m512 value = _mm512_castsi512_ps(x);
    __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    sum = _mm512_mask_or_epi32(sum, nan, x, _mm512_set1_epi32(0x400000));
    return _mm512_and_si512(sum, _mm512_set1_epi32((int)0xffff0000u));
}

/* Up to 16 units of a line from element i: `left` elements of it are left. */
static inline __m512i line_units(enum clip_pack kind, const void *line, int64_t i, int64_t left)
{
    const float *f = (const float *)line + i;
    const uint16_t *h = (const uint16_t *)line + i;
    if (kind == CLIP_PACK_WIDENED)
        return _mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes(left), h)), 16);
    if (kind == CLIP_PACK_PAIRS)
        return _mm512_maskz_loadu_epi16(
            left >= 32 ? 0xffffffffu : (__mmask32)((1u << left) - 1), h);
    if (kind == CLIP_PACK_PAIRS_OF_F32) {
        __m512i low = _mm512_maskz_loadu_epi32(lanes(left), f);
        __m512i high = _mm512_maskz_loadu_epi32(lanes(left - LANES), f + LANES);
        const __m512i upper = _mm512_set_epi16(
            63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21,
            19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
        return _mm512_permutex2var_epi16(round_in_place(low), upper, round_in_place(high));
    }
    __m512i x = _mm512_maskz_loadu_epi32(lanes(left), f);
    return kind == CLIP_PACK_ROUNDED ? round_in_place(x) : x;
}

/* 16 units across from two rows of the source (the second one NULL: zeros), columns from i. */
static inline __m512i row_units(enum clip_pack kind, const void *row, const void *next, int64_t i,
                                int64_t left)
{
    if (kind == CLIP_PACK_PAIRS) {
        __m512i low = line_units(CLIP_PACK_WIDENED, row, i, left);
        __m512i high = next != NULL ? line_units(CLIP_PACK_WIDENED, next, i, left)
                                    : _mm512_setzero_si512();
        return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
    }
    if (kind == CLIP_PACK_PAIRS_OF_F32) {
        __m512i low = line_units(CLIP_PACK_ROUNDED, row, i, left);
        __m512i high = next != NULL ? line_units(CLIP_PACK_ROUNDED, next, i, left)
                                    : _mm512_setzero_si512();
        return _mm512_or_si512(_mm512_srli_epi32(low, 16), high);
    }
    return line_units(kind, row, i, left);
}

static inline int64_t elements_a_unit(enum clip_pack kind)
{
    return kind == CLIP_PACK_PAIRS || kind == CLIP_PACK_PAIRS_OF_F32 ? 2 : 1;
}

/* 16 x 16 units: rows become columns. */
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

static inline __attribute__((always_inline)) void
lines_of(enum clip_pack kind, uint32_t *to, const struct clip_source *from, int64_t n,
         int64_t length)
{
    int64_t each = elements_a_unit(kind), units = (length + each - 1) / each;
    for (int64_t i = 0; i < n; i++) {
        const void *line = source_line(from, i);
        for (int64_t p = 0; p < units; p += LANES)
            _mm512_storeu_si512(to + i * CLIP_GEMM_A_ROW + p,
                                line_units(kind, line, p * each, length - p * each));
    }
}

static inline __attribute__((always_inline)) void
lines_across_of(enum clip_pack kind, uint32_t *to, const struct clip_source *from, int64_t n,
                int64_t length)
{
    enum { AHEAD = 512 }; /* bytes: sixteen lines at once are more than the processor follows */
    int64_t each = elements_a_unit(kind), units = (length + each - 1) / each;
    int64_t step = LANES * each * (int64_t)source_element(from); /* bytes of a line in a block */
    for (int64_t i = 0; i < COLUMNS; i += LANES)
        for (int64_t p = 0; p < units; p += LANES) {
            __m512i r[LANES];
            int64_t rows = units - p < LANES ? units - p : LANES;
            for (int64_t k = 0; k < LANES && i + k < n; k++) {
                const char *later = (const char *)source_line(from, i + k) + p / LANES * step;
                for (int64_t b = 0; b < step; b += 64) __builtin_prefetch(later + AHEAD + b);
            }
            for (int64_t k = 0; k < LANES; k++)
                r[k] = i + k < n ? line_units(kind, source_line(from, i + k), p * each,
                                              length - p * each)
                                 : _mm512_setzero_si512();
            transpose(r);
            if (rows == LANES)
                for (int64_t k = 0; k < LANES; k++)
                    _mm512_storeu_si512(to + (p + k) * COLUMNS + i, r[k]);
            else
                for (int64_t k = 0; k < rows; k++)
                    _mm512_storeu_si512(to + (p + k) * COLUMNS + i, r[k]);
        }
}

static inline __attribute__((always_inline)) void
rows_of(enum clip_pack kind, uint32_t *to, const struct clip_source *from, int64_t n,
        int64_t length, const struct clip_groups *groups)
{
    enum { AHEAD = 8 }; /* rows: the processor does not follow from row to row by itself */
    int64_t each = elements_a_unit(kind), width = groups->width, step = groups->step;
    size_t element = source_element(from);
    for (int64_t p = 0; p < length; p += each, to += step) {
        const void *row = source_line(from, p);
        const void *next = p + 1 < length ? source_line(from, p + 1) : NULL;
        uint32_t *group = to;
        for (int64_t i = 0; i < each && p + i + AHEAD < length; i++) {
            const char *later = source_line(from, p + i + AHEAD);
            for (size_t j = 0; j < (size_t)n * element; j += 64) __builtin_prefetch(later + j);
        }
        for (int64_t j = 0; j < n; j += width, group += groups->distance) {
            int64_t left = n - j < width ? n - j : width;
            for (int64_t i = 0; i < step; i += LANES)
                _mm512_storeu_si512(group + i, row_units(kind, row, next, j + i, left - i));
        }
    }
}

/* The kind becomes a constant. */
#define FOR_KIND(call, ...)                                                                   \
    switch (from->kind) {                                                                     \
    case CLIP_PACK_F32: call(CLIP_PACK_F32, __VA_ARGS__); break;                              \
    case CLIP_PACK_ROUNDED: call(CLIP_PACK_ROUNDED, __VA_ARGS__); break;                      \
    case CLIP_PACK_WIDENED: call(CLIP_PACK_WIDENED, __VA_ARGS__); break;                      \
    case CLIP_PACK_PAIRS_OF_F32: call(CLIP_PACK_PAIRS_OF_F32, __VA_ARGS__); break;            \
    case CLIP_PACK_PAIRS: call(CLIP_PACK_PAIRS, __VA_ARGS__); break;                          \
    }

static void pack_lines(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length)
{
    FOR_KIND(lines_of, to, from, n, length)
}

static void pack_lines_across(uint32_t *to, const struct clip_source *from, int64_t n,
                              int64_t length)
{
    FOR_KIND(lines_across_of, to, from, n, length)
}

static void pack_rows(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                      const struct clip_groups *groups)
{
    FOR_KIND(rows_of, to, from, n, length, groups)
}

/* ---- register tiles -------------------------------------------------------------------------- */

#define UNROLLED _Pragma("GCC unroll 16")

/* Asks for what comes with the 16 units of k from p on. */
static inline void ask(const struct clip_ahead *ahead, int64_t p)
{
    const char *at = ahead->data + p / LANES * ahead->bytes;
    for (int64_t i = 0; i < ahead->lines; i++, at += ahead->stride)
        for (int64_t b = 0; b < ahead->bytes; b += 64) __builtin_prefetch(at + b, 0, 2);
}

/* One register tile of R rows: PRODUCT(sum, a, b) adds a b to sum, a the unit of A in all lanes.
 * R, ROW and STEP are constants, so that sums stay in registers: 28 of 32, and a, b, b. */
#define REGISTER_TILE(name, R, ROW, STEP, PRODUCT)                                            \
    static void name(__mmask16 left, __mmask16 right, int64_t k, float alpha,                 \
                     const uint32_t *restrict a, const uint32_t *restrict b, float *c,        \
                     int64_t ldc, bool add, const struct clip_ahead *ahead)                   \
    {                                                                                         \
        __m512 sum[R][2];                                                                     \
        UNROLLED                                                                              \
        for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();              \
        for (int64_t p = 0; p < k; p++, a += STEP, b += COLUMNS) {                            \
            if (ahead->data != NULL && p % LANES == 0) ask(ahead, p);                         \
            __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + LANES);           \
            UNROLLED                                                                          \
            for (int i = 0; i < R; i++) {                                                     \
                __m512i x = _mm512_set1_epi32((int)a[i * ROW]);                               \
                sum[i][0] = PRODUCT(sum[i][0], x, b0);                                        \
                sum[i][1] = PRODUCT(sum[i][1], x, b1);                                        \
            }                                                                                 \
        }                                                                                     \
        __m512 f = _mm512_set1_ps(alpha);                                                     \
        UNROLLED                                                                              \
        for (int i = 0; i < R; i++, c += ldc) {                                               \
            __m512 c0 = _mm512_maskz_loadu_ps(add ? left : 0, c);                             \
            __m512 c1 = _mm512_maskz_loadu_ps(add ? right : 0, c + LANES);                    \
            _mm512_mask_storeu_ps(c, left, _mm512_fmadd_ps(f, sum[i][0], c0));                \
            _mm512_mask_storeu_ps(c + LANES, right, _mm512_fmadd_ps(f, sum[i][1], c1));       \
        }                                                                                     \
    }

#define REGISTER_TILES(name, ROW, STEP, PRODUCT)                                              \
    REGISTER_TILE(name##_1, 1, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_2, 2, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_3, 3, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_4, 4, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_5, 5, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_6, 6, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_7, 7, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_8, 8, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_9, 9, ROW, STEP, PRODUCT)                                            \
    REGISTER_TILE(name##_10, 10, ROW, STEP, PRODUCT)                                          \
    REGISTER_TILE(name##_11, 11, ROW, STEP, PRODUCT)                                          \
    REGISTER_TILE(name##_12, 12, ROW, STEP, PRODUCT)                                          \
    REGISTER_TILE(name##_13, 13, ROW, STEP, PRODUCT)                                          \
    REGISTER_TILE(name##_14, 14, ROW, STEP, PRODUCT)                                          \
    static void name(int64_t rows, int64_t columns, int64_t k, float alpha, const void *a,    \
                     const void *b, float *c, int64_t ldc, bool add,                          \
                     const struct clip_ahead *ahead)                                          \
    {                                                                                         \
        static void (*const tiles[ROWS])(__mmask16, __mmask16, int64_t, float,                \
                                         const uint32_t *, const uint32_t *, float *,         \
                                         int64_t, bool, const struct clip_ahead *) = {        \
            name##_1,  name##_2,  name##_3,  name##_4, name##_5,  name##_6,  name##_7,        \
            name##_8,  name##_9,  name##_10, name##_11, name##_12, name##_13, name##_14};     \
        tiles[rows - 1](lanes(columns), lanes(columns - LANES), k, alpha, a, b, c, ldc, add,  \
                        ahead);                                                               \
    }

#endif
