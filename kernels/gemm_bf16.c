/* bfloat16 products with AVX-512 and AVX512_BF16: pairs by vdpbf16ps, which adds both products of a
 * pair to a float32 sum in one instruction; register tiles of 14 x 32.
 *
 * vdpbf16ps takes denormal bfloat16 for zero, and sums below 2^-126 become zero. Products of two
 * bfloat16 are exact in float32, so it rounds only the sums, as the other sets do. */
#include "kernels/gemm_sets.h"

enum { ROWS = 14, STEP = 16, K_MULTIPLE = 1 };
#include "kernels/gemm_avx512.h"

static inline __m512 dot_units(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

REGISTER_TILES(multiply_along_k, CLIP_GEMM_A_ROW, 1, dot_units)
REGISTER_TILES(multiply_across_k, 1, STEP, dot_units)

/* Twelve chains, as in rows.c. They start from different values, so that none can be left out. */
static double multiply_adds(int64_t rounds, float *out)
{
    enum { CHAINS = 12 };
    __m512 sum[CHAINS];
    __m512i one = _mm512_set1_epi32(0x3f7f3f7f);
    UNROLLED
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++) {
        UNROLLED
        for (int i = 0; i < CHAINS; i++) sum[i] = dot_units(sum[i], one, one);
    }
    UNROLLED
    for (int i = 1; i < CHAINS; i++) sum[0] = _mm512_add_ps(sum[0], sum[i]);
    *out = _mm512_reduce_add_ps(sum[0]);
    return (double)rounds * CHAINS * 4 * LANES;
}

const struct clip_gemm_set clip_gemm_bf16 = {
    .name = "bf16",
    .rows = ROWS,
    .columns = COLUMNS,
    .k_multiple = K_MULTIPLE,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = CLIP_TILE_N,
    .multiply = {multiply_along_k, multiply_across_k},
    .pack_strip_along_k = pack_strip_along_k,
    .pack_panel_along_k = pack_panel_along_k,
    .pack_panels_across_k = pack_groups_across_k,
    .pack_strips_across_k = pack_groups_across_k,
    .multiply_adds = multiply_adds,
};
