/* float32 products with AVX-512: register tiles of 14 x 32. */
#include "kernels/gemm_sets.h"

enum { ROWS = 14, STEP = 16, WHOLE = 1 };
#include "kernels/gemm_avx512.h"

static inline __m512 fma_units(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

REGISTER_TILES(by_lines, x->lda, 1, fma_units)
REGISTER_TILES(by_rows, CLIP_GEMM_A_ROW, 1, fma_units)
REGISTER_TILES(by_columns, 1, STEP, fma_units)

const struct clip_gemm_set clip_gemm_avx512 = {
    .name = "avx512",
    .rows = ROWS,
    .columns = COLUMNS,
    .whole = WHOLE,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = CLIP_TILE_N,
    .multiply = {by_rows, by_columns},
    .multiply_lines = by_lines,
    .pack_lines = pack_lines,
    .pack_lines_across = pack_lines_across,
    .pack_panels = pack_rows,
    .pack_strips = pack_rows,
};
