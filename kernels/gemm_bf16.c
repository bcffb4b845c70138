/* Products with AVX-512 and AVX512_BF16: pairs of bfloat16 by vdpbf16ps, which adds both products
 * of a pair to a float32 sum in one instruction.
 *
 * vdpbf16ps takes denormal bfloat16 for zero, and sums below 2^-126 become zero. Products of two
 * bfloat16 are exact in float32, so what it rounds is the sums alone, as the other sets do. */
#include "kernels/gemm_sets.h"

enum { ROWS = 14, STEP = 16, WHOLE = 1 };
#include "kernels/gemm_avx512.h"

static inline __m512 dot_units(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

REGISTER_TILES(by_rows, CLIP_GEMM_A_ROW, 1, dot_units)
REGISTER_TILES(by_columns, 1, STEP, dot_units)

/* Twelve chains, as in rows.c, unlike from the start. */
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
    .whole = WHOLE,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = CLIP_TILE_N,
    .multiply = {by_rows, by_columns},
    .pack_lines = pack_lines,
    .pack_lines_across = pack_lines_across,
    .pack_panels = pack_rows,
    .pack_strips = pack_rows,
    .multiply_adds = multiply_adds,
};
