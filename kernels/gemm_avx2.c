/* float32 products with AVX2 and FMA: register tiles of 6 x 16. */
#include <immintrin.h>

#include "kernels/gemm_plain.h"
#include "kernels/gemm_sets.h"

enum { ROWS = 6, COLUMNS = 16, LANES = 8 };

static inline __m256i lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n > LANES ? LANES : n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#define UNROLLED _Pragma("GCC unroll 16")

/* One register tile of R rows; sums are 12 of 16 registers. */
#define REGISTER_TILE(name, R, ROW, STEP)                                                     \
    static void name(__m256i left, __m256i right, int64_t k, float alpha,                     \
                     const float *restrict a, const float *restrict b, float *c, int64_t ldc, \
                     bool add)                                                                \
    {                                                                                         \
        __m256 sum[R][2];                                                                     \
        UNROLLED                                                                              \
        for (int i = 0; i < R; i++) sum[i][0] = sum[i][1] = _mm256_setzero_ps();              \
        for (int64_t p = 0; p < k; p++, a += STEP, b += COLUMNS) {                            \
            __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + LANES);                  \
            UNROLLED                                                                          \
            for (int i = 0; i < R; i++) {                                                     \
                __m256 x = _mm256_broadcast_ss(a + i * ROW);                                  \
                sum[i][0] = _mm256_fmadd_ps(x, b0, sum[i][0]);                                \
                sum[i][1] = _mm256_fmadd_ps(x, b1, sum[i][1]);                                \
            }                                                                                 \
        }                                                                                     \
        __m256 f = _mm256_set1_ps(alpha), zero = _mm256_setzero_ps();                         \
        UNROLLED                                                                              \
        for (int i = 0; i < R; i++, c += ldc) {                                               \
            __m256 c0 = add ? _mm256_maskload_ps(c, left) : zero;                             \
            __m256 c1 = add ? _mm256_maskload_ps(c + LANES, right) : zero;                    \
            _mm256_maskstore_ps(c, left, _mm256_fmadd_ps(f, sum[i][0], c0));                  \
            _mm256_maskstore_ps(c + LANES, right, _mm256_fmadd_ps(f, sum[i][1], c1));         \
        }                                                                                     \
    }

#define REGISTER_TILES(name, ROW, STEP)                                                       \
    REGISTER_TILE(name##_1, 1, ROW, STEP)                                                     \
    REGISTER_TILE(name##_2, 2, ROW, STEP)                                                     \
    REGISTER_TILE(name##_3, 3, ROW, STEP)                                                     \
    REGISTER_TILE(name##_4, 4, ROW, STEP)                                                     \
    REGISTER_TILE(name##_5, 5, ROW, STEP)                                                     \
    REGISTER_TILE(name##_6, 6, ROW, STEP)                                                     \
    static void name(int64_t rows, int64_t columns, int64_t k, float alpha, const void *a,    \
                     const void *b, float *c, int64_t ldc, bool add,                          \
                     const struct clip_ahead *ahead)                                          \
    {                                                                                         \
        (void)ahead;                                                                          \
        static void (*const tiles[ROWS])(__m256i, __m256i, int64_t, float, const float *,     \
                                         const float *, float *, int64_t, bool) = {           \
            name##_1, name##_2, name##_3, name##_4, name##_5, name##_6};                      \
        tiles[rows - 1](lanes(columns), lanes(columns - LANES), k, alpha, a, b, c, ldc, add); \
    }

REGISTER_TILES(by_rows, CLIP_GEMM_A_ROW, 1)
REGISTER_TILES(by_columns, 1, CLIP_GEMM_A_STEP)

static void pack_lines(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length)
{
    plain_lines(to, from, n, length);
}

static void pack_lines_across(uint32_t *to, const struct clip_source *from, int64_t n,
                              int64_t length)
{
    plain_lines_across(to, from, n, length, COLUMNS);
}

static void pack_rows(uint32_t *to, const struct clip_source *from, int64_t n, int64_t length,
                      const struct clip_groups *groups)
{
    plain_rows(to, from, n, length, groups);
}

const struct clip_gemm_set clip_gemm_avx2 = {
    .name = "avx2",
    .rows = ROWS,
    .columns = COLUMNS,
    .multiply = {by_rows, by_columns},
    .pack_lines = pack_lines,
    .pack_lines_across = pack_lines_across,
    .pack_rows = pack_rows,
};
