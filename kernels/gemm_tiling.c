/* A product is cut into tiles of C. A tile's size does not change the bits of C, and each tile is
 * computed by one thread, so that the bits are the same for any number of threads. */
#include "core/threads.h"
#include "kernels/gemm_parts.h"

/* For OpenBLAS: tiles of about 512 x 512, which are halved along their longer side until there are
 * 4 of them or they are 64 wide. With more of them it would pack each operand again and again. */
void clip_gemm_choose_tiling_for_openblas(struct clip_tiling *tiling)
{
    enum { LARGEST = 512, SMALLEST = 64, WANTED = 4 };
    int64_t m = tiling->rows.count, n = tiling->columns.count;
    tiling->tile_m = m < LARGEST ? m : LARGEST;
    tiling->tile_n = n < LARGEST ? n : LARGEST;
    while (divide_up(m, tiling->tile_m) * divide_up(n, tiling->tile_n) < WANTED) {
        int64_t *longer = tiling->tile_m >= tiling->tile_n ? &tiling->tile_m : &tiling->tile_n;
        if (*longer < 2 * SMALLEST) break;
        *longer = (*longer / 2 + 15) / 16 * 16;
    }
}

/* Tiles are as large as the caches like, then smaller until there is work for many threads. */
void clip_gemm_choose_tiling(struct clip_tiling *tiling)
{
    enum { WANTED = 16, MIN_N = 96, MIN_M = 112 };
    const struct clip_gemm_set *set = clip_gemm_mode(tiling->g->multiply_bf16, tiling->g->k).set;
    int64_t m = tiling->rows.count, n = tiling->columns.count;
    /* With few rows each tile packs all of A again, so there are only as many tiles as keep the
     * threads busy. */
    int64_t wanted = tiling->packed != NULL ? WANTED : 4 * clip_threads_count();
    int64_t max_m = CLIP_TILE_M / set->rows * set->rows;
    int64_t max_n = tiling->packed != NULL ? set->tile_columns : CLIP_TILE_N;
    for (;;) {
        tiling->tile_m = equal_piece(m, max_m, set->rows);
        tiling->tile_n = equal_piece(n, max_n, set->columns);
        if (divide_up(m, tiling->tile_m) * divide_up(n, tiling->tile_n) >= wanted) break;
        if (tiling->tile_n >= 2 * MIN_N)
            max_n = tiling->tile_n / 2;
        else if (tiling->tile_m >= 2 * MIN_M)
            max_m = tiling->tile_m / 2;
        else
            break;
    }
}

static int64_t tiles_across(const struct clip_tiling *tiling)
{
    return divide_up(tiling->columns.count, tiling->tile_n);
}

static void compute_tile(void *context, int64_t i)
{
    const struct clip_tiling *tiling = context;
    int64_t down = i / tiles_across(tiling) * tiling->tile_m;
    int64_t across = i % tiles_across(tiling) * tiling->tile_n;
    struct clip_tile tile = {.row = tiling->rows.begin + down,
                             .m = tiling->rows.count - down,
                             .column = tiling->columns.begin + across,
                             .n = tiling->columns.count - across};
    if (tile.m > tiling->tile_m) tile.m = tiling->tile_m;
    if (tile.n > tiling->tile_n) tile.n = tiling->tile_n;
    if (clip_gemm_by_openblas() != NULL)
        clip_gemm_openblas(tiling->g, &tile);
    else
        clip_gemm_native(tiling->g, tiling->packed, &tile);
}

void clip_gemm_run_tiles(struct clip_tiling *tiling)
{
    clip_parallel_for(divide_up(tiling->rows.count, tiling->tile_m) * tiles_across(tiling),
                      compute_tile, tiling);
}
