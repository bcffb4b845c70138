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

bool clip_gemm_rows_apart(void) { return !clip_gemm_by_openblas(); }

struct cut {
    const struct clip_gemm *g;
    int64_t tile_m, tile_n, tiles_n;
};

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* OpenBLAS: tiles of about 512 x 512, halved along their longer side until there are 4 of them or
 * they are 64 wide: more would make it pack each operand again and again. */
static void cut_for_openblas(struct cut *cut)
{
    enum { LARGEST = 512, SMALLEST = 64, WANTED = 4 };
    const struct clip_gemm *g = cut->g;
    cut->tile_m = g->m < LARGEST ? g->m : LARGEST;
    cut->tile_n = g->n < LARGEST ? g->n : LARGEST;
    while (divide_up(g->m, cut->tile_m) * divide_up(g->n, cut->tile_n) < WANTED) {
        int64_t *longer = cut->tile_m >= cut->tile_n ? &cut->tile_m : &cut->tile_n;
        if (*longer < 2 * SMALLEST) break;
        *longer = (*longer / 2 + 15) / 16 * 16;
    }
}

/* `size` in equal pieces of at most `most`, each a multiple of `step`. */
static int64_t equal_pieces(int64_t size, int64_t most, int64_t step)
{
    int64_t pieces = divide_up(size, most);
    return divide_up(divide_up(size, pieces), step) * step;
}

/* Ours: as large as packing likes, then smaller until there is work for many threads. Packing B
 * costs most, so columns are cut first. */
static void cut_for(const struct clip_gemm_set *set, struct cut *cut)
{
    enum { WANTED = 16, LEAST_N = 96, LEAST_M = 112 };
    const struct clip_gemm *g = cut->g;
    int64_t most_m = CLIP_TILE_M / set->rows * set->rows, most_n = CLIP_TILE_N;
    for (;;) {
        cut->tile_m = equal_pieces(g->m, most_m, set->rows);
        cut->tile_n = equal_pieces(g->n, most_n, set->columns);
        if (divide_up(g->m, cut->tile_m) * divide_up(g->n, cut->tile_n) >= WANTED) break;
        if (cut->tile_n >= 2 * LEAST_N) most_n = cut->tile_n / 2;
        else if (cut->tile_m >= 2 * LEAST_M) most_m = cut->tile_m / 2;
        else break;
    }
}

static struct cut cut_tiles(const struct clip_gemm *g)
{
    struct cut cut = {.g = g};
    if (clip_gemm_by_openblas()) cut_for_openblas(&cut);
    else cut_for(clip_gemm_set(), &cut);
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
    if (clip_gemm_by_openblas()) clip_gemm_openblas(g, &tile);
    else clip_gemm_own(g, &tile);
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

double clip_multiply_adds(bool bf16, int64_t rounds, float *out)
{
    const struct clip_gemm_set *set = clip_gemm_set();
    if (bf16 && set->dots != NULL) return set->dots(rounds, out);
    return clip_kernels()->multiply_adds(rounds, out);
}
