/* float32 products with AVX-512: register tiles of 14 x 32. */
#include "kernels/gemm_sets.h"

enum { ROWS = 14, STEP = 16, K_MULTIPLE = 1 };
#include "kernels/gemm_avx512.h"

static inline __m512 fma_units(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

REGISTER_TILES(multiply_unpacked, x->lda, 1, fma_units)
REGISTER_TILES(multiply_along_k, CLIP_GEMM_A_ROW, 1, fma_units)
REGISTER_TILES(multiply_across_k, 1, STEP, fma_units)

const struct clip_gemm_set clip_gemm_avx512 = {
    .name = "avx512",
    .rows = ROWS,
    .columns = COLUMNS,
    .k_multiple = K_MULTIPLE,
    .step = STEP,
    .strip = CLIP_GEMM_STRIP(ROWS, STEP),
    .tile_columns = CLIP_TILE_N,
    .multiply = {multiply_along_k, multiply_across_k},
    .multiply_unpacked = multiply_unpacked,
    .pack_strip_along_k = pack_strip_along_k,
    .pack_panel_along_k = pack_panel_along_k,
    .pack_panels_across_k = pack_groups_across_k,
    .pack_strips_across_k = pack_groups_across_k,
};
