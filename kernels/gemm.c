/* A product is cut into tiles of C by size, and each tile is computed by one thread: the same bits
 * for any number of threads. */
#include "kernels/gemm.h"

#include <assert.h>

#include "core/threads.h"
#include "kernels/gemm_parts.h"

bool clip_gemm_has_finish(const struct clip_gemm *g)
{
    return g->bias != NULL || g->before.data != NULL || g->residual.data != NULL ||
           g->activation != CLIP_NO_ACTIVATION || g->c.bf16;
}

bool clip_gemm_sums_in_c(const struct clip_gemm *g)
{
    return !g->c.bf16 && g->residual.data != g->c.data && g->before.data != g->c.data;
}

bool clip_gemm_rows_apart(void) { return !clip_kernels_openblas(); }

struct cut {
    const struct clip_gemm *g;
    int64_t tile_m, tile_n, tiles_n;
};

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Tiles of about 512 x 512, halved along their longer side until there are 4 of them or they are 64
 * wide: more would make OpenBLAS pack each operand again and again. */
static struct cut cut_tiles(const struct clip_gemm *g)
{
    enum { LARGEST = 512, SMALLEST = 64, WANTED = 4 };
    struct cut cut = {.g = g};
    cut.tile_m = g->m < LARGEST ? g->m : LARGEST;
    cut.tile_n = g->n < LARGEST ? g->n : LARGEST;
    while (divide_up(g->m, cut.tile_m) * divide_up(g->n, cut.tile_n) < WANTED) {
        int64_t *longer = cut.tile_m >= cut.tile_n ? &cut.tile_m : &cut.tile_n;
        if (*longer < 2 * SMALLEST) break;
        *longer = (*longer / 2 + 15) / 16 * 16;
    }
    cut.tiles_n = divide_up(g->n, cut.tile_n);
    return cut;
}

static void compute_tile(void *context, int64_t i)
{
    const struct cut *cut = context;
    const struct clip_gemm *g = cut->g;
    struct clip_tile tile = {.row = i / cut->tiles_n * cut->tile_m,
                             .column = i % cut->tiles_n * cut->tile_n};
    tile.m = g->m - tile.row < cut->tile_m ? g->m - tile.row : cut->tile_m;
    tile.n = g->n - tile.column < cut->tile_n ? g->n - tile.column : cut->tile_n;
    clip_gemm_openblas(g, &tile);
}

void clip_gemm(const struct clip_gemm *g)
{
    assert(!(g->accumulate && g->c.bf16));
    if (g->m < 1 || g->n < 1) return;
    struct cut cut = cut_tiles(g);
    clip_parallel_for(divide_up(g->m, cut.tile_m) * cut.tiles_n, compute_tile, &cut);
}

void clip_gemm_serial(const struct clip_gemm *g)
{
    assert(!(g->accumulate && g->c.bf16));
    if (g->m < 1 || g->n < 1) return;
    struct cut cut = cut_tiles(g);
    for (int64_t i = 0; i < divide_up(g->m, cut.tile_m) * cut.tiles_n; i++) compute_tile(&cut, i);
}
