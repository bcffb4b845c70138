/* float32 products with AVX2 and FMA: register tiles of 6 x 16. The panels of a large product's
 * tile take 150 KB, which fits a second cache of 256 KB. */
#include <immintrin.h>
#include <string.h>

#include "kernels/gemm_sets.h"
#include "kernels/gemm_source.h"

enum { ROWS = 6, COLUMNS = 16, STEP = 8, LANES = 8, K_MULTIPLE = 1 };

typedef __m256i vector;

static inline void store_units(uint32_t *to, vector x) { _mm256_storeu_si256((void *)to, x); }

static inline vector no_units(void) { return _mm256_setzero_si256(); }

static inline __m256i lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n > LANES ? LANES : n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* ---- packing ---- */

/* Rounds float32 to bfloat16 (to nearest, ties to even, a NaN becomes quiet): the upper half holds
 * it, the lower half is 0. */
static inline __m256i round_in_place(__m256i x)
{
    __m256i tie = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
    __m256i sum = _mm256_add_epi32(_mm256_add_epi32(x, _mm256_set1_epi32(0x7fff)), tie);
    __m256 value = _mm256_castsi256_ps(x);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(x, _mm256_set1_epi32(0x400000));
    return _mm256_and_si256(_mm256_blendv_epi8(sum, quiet, nan),
                            _mm256_set1_epi32((int)0xffff0000u));
}

/* Up to 8 units of a row that lies along k, from element i; the row has `left` elements from
 * there. */
static inline vector units_along_k(enum clip_pack kind, const void *row, int64_t i, int64_t left)
{
    if (kind == CLIP_PACK_WIDENED) {
        const uint16_t *h = (const uint16_t *)row + i;
        uint16_t last[LANES] = {0};
        if (left < LANES) h = memcpy(last, h, left > 0 ? (size_t)left * sizeof *h : 0);
        return _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)h)), 16);
    }
    const int *f = (const int *)row + i;
    __m256i x = left >= LANES ? _mm256_loadu_si256((const void *)f)
                              : _mm256_maskload_epi32(f, lanes(left));
    return kind == CLIP_PACK_ROUNDED ? round_in_place(x) : x;
}

/* Up to 8 units of a row that lies across k, from column i. Units are single here, so `next` is not
 * read. */
static inline vector units_across_k(enum clip_pack kind, const void *row, const void *next,
                                    int64_t i, int64_t left)
{
    (void)next;
    return units_along_k(kind, row, i, left);
}

/* Transposes 8 x 8 units. */
static inline void transpose(vector r[LANES])
{
    vector t[LANES];
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) { /* r[4q + i]: columns i and 4 + i of rows 4q to 4q + 3 */
        t[i] = _mm256_permute2x128_si256(r[i], r[4 + i], 0x20);
        t[4 + i] = _mm256_permute2x128_si256(r[i], r[4 + i], 0x31);
    }
    for (int i = 0; i < LANES; i++) r[i] = t[i];
}

#define PACK_KINDS(CASE, ...)                                                                      \
    CASE(CLIP_PACK_F32, __VA_ARGS__)                                                               \
    CASE(CLIP_PACK_ROUNDED, __VA_ARGS__)                                                           \
    CASE(CLIP_PACK_WIDENED, __VA_ARGS__)
#include "kernels/gemm_pack_vectors.h"

/* ---- register tiles ---- */

/* c = f y (+ c where `add`), in the first n lanes. All 8 are stored without a mask, which would be
 * slow on some processors. */
static inline void put(float *c, int64_t n, __m256 f, __m256 y, bool add)
{
    if (n >= LANES) {
        _mm256_storeu_ps(c, _mm256_fmadd_ps(f, y, add ? _mm256_loadu_ps(c) : _mm256_setzero_ps()));
    } else {
        __m256 before = add ? _mm256_maskload_ps(c, lanes(n)) : _mm256_setzero_ps();
        _mm256_maskstore_ps(c, lanes(n), _mm256_fmadd_ps(f, y, before));
    }
}

/* One register tile of R rows and V vectors, from column j on. The sums take 12 of 16 registers. */
#define REGISTER_TILE(R, V, ROW, STEP)                                                             \
    do {                                                                                           \
        const float *restrict a = (const float *)x->a, *restrict b = panel;                        \
        __m256 sum[R][V];                                                                          \
        UNROLLED                                                                                   \
        for (int i = 0; i < R * V; i++) sum[i / V][i % V] = _mm256_setzero_ps();                   \
        for (int64_t p = 0, k = x->k; p < k; p++, a += STEP, b += COLUMNS) {                       \
            prefetch(&x->prefetch, p);                                                             \
            __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + LANES);                       \
            UNROLLED                                                                               \
            for (int i = 0; i < R; i++) {                                                          \
                __m256 y = _mm256_broadcast_ss(a + i * ROW);                                       \
                sum[i][0] = _mm256_fmadd_ps(y, b0, sum[i][0]);                                     \
                if (V > 1) sum[i][V - 1] = _mm256_fmadd_ps(y, b1, sum[i][V - 1]);                  \
            }                                                                                      \
        }                                                                                          \
        __m256 f = _mm256_set1_ps(x->alpha);                                                       \
        float *c = x->c + j;                                                                       \
        UNROLLED                                                                                   \
        for (int i = 0; i < R; i++, c += x->ldc) {                                                 \
            put(c, x->columns - j, f, sum[i][0], x->add);                                          \
            if (V > 1) put(c + LANES, x->columns - j - LANES, f, sum[i][V - 1], x->add);           \
        }                                                                                          \
    } while (0)

#define REGISTER_TILES_OF(name, R, ROW, STEP)                                                      \
    static void name(const struct clip_strip_product *x)                                           \
    {                                                                                              \
        const float *panel = (const float *)x->b;                                                  \
        for (int64_t j = 0; j < x->columns; j += COLUMNS, panel += x->panel)                       \
            if (x->columns - j > LANES)                                                            \
                REGISTER_TILE(R, 2, ROW, STEP);                                                    \
            else                                                                                   \
                REGISTER_TILE(R, 1, ROW, STEP);                                                    \
    }

#define REGISTER_TILES(name, ROW, STEP)                                                            \
    REGISTER_TILES_OF(name##_1, 1, ROW, STEP)                                                      \
    REGISTER_TILES_OF(name##_2, 2, ROW, STEP)                                                      \
    REGISTER_TILES_OF(name##_3, 3, ROW, STEP)                                                      \
    REGISTER_TILES_OF(name##_4, 4, ROW, STEP)                                                      \
    REGISTER_TILES_OF(name##_5, 5, ROW, STEP)                                                      \
    REGISTER_TILES_OF(name##_6, 6, ROW, STEP)                                                      \
    static void name(const struct clip_strip_product *x)                                           \
    {                                                                                              \
        static const clip_multiply_fn tiles[ROWS] = {name##_1, name##_2, name##_3,                 \
                                                     name##_4, name##_5, name##_6};                \
        tiles[x->rows - 1](x);                                                                     \
    }

REGISTER_TILES(multiply_unpacked, x->lda, 1)
REGISTER_TILES(multiply_along_k, CLIP_GEMM_A_ROW, 1)
REGISTER_TILES(multiply_across_k, 1, STEP)

const struct clip_gemm_set clip_gemm_avx2 = {
    .name = "avx2",
    .rows = ROWS,
    .columns = COLUMNS,
    .k_multiple = K_MULTIPLE,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = 96,
    .multiply = {multiply_along_k, multiply_across_k},
    .multiply_unpacked = multiply_unpacked,
    .few_rows_as_panels = true,
    .pack_strip_along_k = pack_strip_along_k,
    .pack_panel_along_k = pack_panel_along_k,
    .pack_panels_across_k = pack_groups_across_k,
    .pack_strips_across_k = pack_groups_across_k,
};
