#include "kernels/gemm.h"

#include <assert.h>

#include "kernels/gemm_parts.h"

bool clip_gemm_rows_independent(void) { return clip_gemm_by_openblas() == NULL; }

/* Is it worth packing once for all tiles? With few rows, each tile packs what it needs itself. */
static bool is_large(const struct clip_gemm *g) { return g->k > 0 && g->m > CLIP_GEMM_FEW_ROWS; }

size_t clip_gemm_workspace_bytes(const struct clip_gemm *g)
{
    return clip_gemm_by_openblas() != NULL || !is_large(g) ? 0 : clip_gemm_packed_bytes(g);
}

void clip_gemm(const struct clip_gemm *g)
{
    assert(!(g->accumulate && g->c.bf16));
    if (g->m < 1 || g->n < 1) return;
    struct clip_tiling tiling = {.g = g, .rows = {0, g->m}, .columns = {0, g->n}};
    if (clip_gemm_by_openblas() != NULL) {
        clip_gemm_choose_tiling_for_openblas(&tiling);
    } else {
        if (is_large(g) && clip_gemm_packed(g)) return;
        clip_gemm_choose_tiling(&tiling);
    }
    clip_gemm_run_tiles(&tiling);
}

double clip_multiply_adds(bool bf16, int64_t rounds, float *out)
{
    const struct clip_gemm_set *pairs = clip_gemm_set(true);
    if (bf16 && pairs != NULL) return pairs->multiply_adds(rounds, out);
    return clip_kernels()->multiply_adds(rounds, out);
}
