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

/* OpenBLAS: tiles of about 512 x 512, halved along their longer side until there are 4 of them or
 * they are 64 wide: more would make it pack each operand again and again. */
static void cut_for_openblas(struct clip_cut *cut)
{
    enum { LARGEST = 512, SMALLEST = 64, WANTED = 4 };
    int64_t m = cut->rows.count, n = cut->columns.count;
    cut->tile_m = m < LARGEST ? m : LARGEST;
    cut->tile_n = n < LARGEST ? n : LARGEST;
    while (divide_up(m, cut->tile_m) * divide_up(n, cut->tile_n) < WANTED) {
        int64_t *longer = cut->tile_m >= cut->tile_n ? &cut->tile_m : &cut->tile_n;
        if (*longer < 2 * SMALLEST) break;
        *longer = (*longer / 2 + 15) / 16 * 16;
    }
}

/* As large as the caches like, then smaller until there is work for many threads. */
void clip_gemm_cut(struct clip_cut *cut)
{
    enum { WANTED = 16, LEAST_N = 96, LEAST_M = 112 };
    const struct clip_gemm_set *set = clip_gemm_pace(cut->g->multiply_bf16, cut->g->k).set;
    int64_t m = cut->rows.count, n = cut->columns.count;
    /* Few rows: each tile packs all of A again, so no more than keep the threads busy. */
    int64_t wanted = cut->packed != NULL ? WANTED : 4 * clip_threads_count();
    int64_t most_m = CLIP_TILE_M / set->rows * set->rows;
    int64_t most_n = cut->packed != NULL ? set->tile_columns : CLIP_TILE_N;
    for (;;) {
        cut->tile_m = equal_piece(m, most_m, set->rows);
        cut->tile_n = equal_piece(n, most_n, set->columns);
        if (divide_up(m, cut->tile_m) * divide_up(n, cut->tile_n) >= wanted) break;
        if (cut->tile_n >= 2 * LEAST_N)
            most_n = cut->tile_n / 2;
        else if (cut->tile_m >= 2 * LEAST_M)
            most_m = cut->tile_m / 2;
        else
            break;
    }
}

static int64_t tiles_across(const struct clip_cut *cut)
{
    return divide_up(cut->columns.count, cut->tile_n);
}

static void compute_tile(void *context, int64_t i)
{
    const struct clip_cut *cut = context;
    int64_t down = i / tiles_across(cut) * cut->tile_m;
    int64_t across = i % tiles_across(cut) * cut->tile_n;
    struct clip_tile tile = {.row = cut->rows.begin + down,
                             .m = cut->rows.count - down,
                             .column = cut->columns.begin + across,
                             .n = cut->columns.count - across};
    if (tile.m > cut->tile_m) tile.m = cut->tile_m;
    if (tile.n > cut->tile_n) tile.n = cut->tile_n;
    if (clip_gemm_by_openblas())
        clip_gemm_openblas(cut->g, &tile);
    else
        clip_gemm_own(cut->g, cut->packed, &tile);
}

void clip_gemm_tiles(struct clip_cut *cut)
{
    clip_parallel_for(divide_up(cut->rows.count, cut->tile_m) * tiles_across(cut), compute_tile,
                      cut);
}

/* Is it worth packing once for all tiles? Of few rows a tile packs what it needs itself. */
static bool is_large(const struct clip_gemm *g) { return g->k > 0 && g->m > CLIP_GEMM_FEW_ROWS; }

size_t clip_gemm_room(const struct clip_gemm *g)
{
    return clip_gemm_by_openblas() || !is_large(g) ? 0 : clip_gemm_packed_bytes(g);
}

void clip_gemm(const struct clip_gemm *g)
{
    assert(!(g->accumulate && g->c.bf16));
    if (g->m < 1 || g->n < 1) return;
    struct clip_cut cut = {.g = g, .rows = {0, g->m}, .columns = {0, g->n}};
    if (clip_gemm_by_openblas()) {
        cut_for_openblas(&cut);
    } else {
        if (is_large(g) && clip_gemm_packed(g)) return;
        clip_gemm_cut(&cut);
    }
    clip_gemm_tiles(&cut);
}

double clip_multiply_adds(bool bf16, int64_t rounds, float *out)
{
    const struct clip_gemm_set *pairs = clip_gemm_set(true);
    if (bf16 && pairs != NULL) return pairs->multiply_adds(rounds, out);
    return clip_kernels()->multiply_adds(rounds, out);
}
