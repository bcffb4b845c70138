/* A tile of the product, computed by the register tiles of a native set.
 *
 * In each block of k, a strip of A stays in the first cache while it passes the panels of B, which
 * stay in the second. There are three ways:
 *   - operands that gemm_operands.c has packed for all tiles are multiplied (multiply_packed);
 *   - where a product has few rows, packing is most of the work, and the tile packs for itself: all
 *     of A, then one panel of B after the other, each of which is used while it is still in the
 *     cache, unless B came prepacked (pack_and_multiply);
 *   - or, if the set's panels are narrow, only A is packed, as panels, and the rows of op(B)^T are
 *     multiplied by them without being packed (multiply_unpacked_b). */
#include <string.h>

#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
    SMALL_M = CLIP_GEMM_MAX_ROWS,
    SMALL_N = CLIP_GEMM_MAX_COLUMNS, /* of a piece, where memory is short */
    UNIT = sizeof(uint32_t),
};

/* Memory for packed operands and for sums that may not wait in C. */
struct workspace {
    uint32_t *a, *b;
    float *sums;
    int64_t max_m, max_n; /* the largest piece of a tile that it is enough for */
};

struct work {
    const struct clip_gemm *g;
    const struct clip_packed_operands *packed; /* or NULL */
    struct clip_packed_operands prepacked;     /* of few rows: op(B), if its b is not NULL */
    struct clip_gemm_mode mode;
    struct clip_tile tile;
    struct workspace workspace;
    bool sums_in_c, finish, unpacked_b;
    struct clip_span k; /* the current block */
    bool first, last;   /* it is the first, the last block */
};

/* Where the sums of the tile's row i wait, and the distance to the next row's. Sums of packed
 * operands that one block completes are finished strip by strip, so all strips use one place. */
static float *sums_at(const struct work *w, int64_t i, int64_t *ld)
{
    const struct clip_matrix *c = &w->g->c;
    *ld = w->sums_in_c ? c->ld : w->tile.n;
    if (w->sums_in_c) return (float *)c->data + (w->tile.row + i) * c->ld + w->tile.column;
    if (w->packed != NULL && w->first && w->last && !w->g->accumulate) i %= w->mode.set->rows;
    return w->workspace.sums + i * w->tile.n;
}

/* Multiplies the strip that begins at the tile's row i by the panels from column j on. */
static void multiply_strip(const struct work *w, int64_t i, const uint32_t *a, int64_t j,
                           int64_t columns, const uint32_t *b, const struct clip_prefetch *prefetch)
{
    struct clip_strip_product x = {
        .rows = clip_min_i64(w->mode.set->rows, w->tile.m - i),
        .columns = columns,
        .k = clip_gemm_units(&w->mode, w->k.count),
        .alpha = w->g->alpha,
        .a = a,
        .b = b,
        .panel = clip_gemm_panel_size(&w->mode, w->k.count),
        .lda = w->g->a.ld,
        .add = !w->first || w->g->accumulate,
        .prefetch = *prefetch,
    };
    bool unpacked = w->packed != NULL && w->packed->a == NULL;
    x.c = sums_at(w, i, &x.ldc) + j;
    (unpacked ? w->mode.set->multiply_unpacked : w->mode.set->multiply[w->g->a.transpose])(&x);
}

static void finish(const struct work *w, int64_t i, int64_t rows)
{
    int64_t ld;
    if (!w->last || !w->finish) return;
    const float *sums = sums_at(w, i, &ld);
    for (int64_t r = 0; r < rows; r++)
        clip_kernels()->finish_row(w->g, w->tile.row + i + r, w->tile.column, sums + r * ld,
                                   w->tile.n);
}

static void multiply_packed(const struct work *w)
{
    const struct clip_prefetch nothing = {0};
    const struct clip_operand *a = &w->g->a;
    const uint32_t *panels = clip_packed_panel(w->packed, w->tile.column, w->k.begin);
    int64_t mr = w->mode.set->rows;
    for (int64_t i = 0, row = w->tile.row; i < w->tile.m; i += mr, row += mr) {
        const uint32_t *strip = w->packed->a != NULL
                                    ? clip_packed_strip(w->packed, row, w->k.begin)
                                    : (const uint32_t *)a->data + row * a->ld + w->k.begin;
        multiply_strip(w, i, strip, 0, w->tile.n, panels, &nothing);
        finish(w, i, clip_min_i64(mr, w->tile.m - i));
    }
}

/* What to prefetch while strip number `strip` of `strips` is multiplied by the panel at column j.
 *
 * Reading B from memory takes longer than its few products with A, so the next panel is prefetched
 * meanwhile, a part of it with each strip: the next panel of this block of k, or the first of the
 * next block, or, at the tile's end, the first of the tile beside it. Prepacked panels lie in one
 * piece, which the processor prefetches by itself. */
static struct clip_prefetch next_panel(const struct work *w, int64_t j, int64_t strip,
                                       int64_t strips)
{
    int64_t nr = w->mode.set->columns, k = w->k.begin;
    int64_t column = w->tile.column + j + nr, end = w->tile.column + w->tile.n;
    if (column >= end) column = w->tile.column, k += w->k.count;
    if (k >= w->g->k) {
        column += w->tile.n;
        k = 0, end = w->g->n;
    }
    if (column >= end || w->prepacked.b != NULL) return (struct clip_prefetch){0};
    const struct clip_span columns = {column, clip_min_i64(nr, end - column)};
    return clip_gemm_prefetch(&w->mode, &w->g->b, &columns, k, strip, strips);
}

static void pack_and_multiply(const struct work *w)
{
    const struct clip_gemm *g = w->g;
    int64_t mr = w->mode.set->rows, nr = w->mode.set->columns, m = w->tile.m, n = w->tile.n;
    int64_t strips = (m + mr - 1) / mr;
    const struct clip_span rows = {w->tile.row, m};
    clip_gemm_pack_strips(&w->mode, &g->a, &rows, &w->k, w->workspace.a);
    for (int64_t j = 0; j < n; j += nr) {
        const struct clip_span columns = {w->tile.column + j, clip_min_i64(nr, n - j)};
        const uint32_t *panel = w->workspace.b;
        if (w->prepacked.b != NULL)
            panel = clip_packed_panel(&w->prepacked, columns.begin, w->k.begin);
        else
            clip_gemm_pack_panels(&w->mode, &g->b, &columns, &w->k, w->workspace.b);
        for (int64_t i = 0; i < m; i += mr) {
            const struct clip_prefetch prefetch = next_panel(w, j, i / mr, strips);
            multiply_strip(w, i, w->workspace.a + i / mr * w->mode.set->strip, j, columns.count,
                           panel, &prefetch);
        }
    }
    finish(w, 0, m);
}

/* C^T = op(B)^T op(A)^T: the rows of B as they lie in memory, by the few rows of A, which are
 * packed as panels. */
static void multiply_unpacked_b(const struct work *w)
{
    const struct clip_gemm *g = w->g;
    struct clip_operand rows_of_a = g->a;
    const struct clip_span rows = {w->tile.row, w->tile.m};
    float sums[CLIP_GEMM_MAX_ROWS][CLIP_GEMM_FEW_ROWS];
    struct clip_strip_product x = {
        .columns = w->tile.m,
        .k = w->k.count,
        .alpha = 1,
        .b = w->workspace.a,
        .panel = clip_gemm_panel_size(&w->mode, w->k.count),
        .lda = g->b.ld,
        .c = sums[0],
        .ldc = CLIP_GEMM_FEW_ROWS,
    };
    bool add = !w->first || g->accumulate;
    rows_of_a.transpose = true;
    clip_gemm_pack_panels(&w->mode, &rows_of_a, &rows, &w->k, w->workspace.a);
    for (int64_t j = 0; j < w->tile.n; j += x.rows) {
        x.rows = clip_min_i64(w->mode.set->rows, w->tile.n - j);
        x.a = (const uint32_t *)g->b.data + (w->tile.column + j) * g->b.ld + w->k.begin;
        w->mode.set->multiply_unpacked(&x);
        for (int64_t i = 0; i < w->tile.m; i++) {
            int64_t ld;
            float *c = sums_at(w, i, &ld) + j;
            for (int64_t r = 0; r < x.rows; r++) c[r] = add ? c[r] + sums[r][i] : sums[r][i];
        }
    }
    finish(w, 0, w->tile.m);
}

static void compute_piece(struct work *w, const struct clip_span *k)
{
    const struct clip_gemm *g = w->g;
    int64_t depth = w->mode.depth;
    if (!w->sums_in_c && g->accumulate)
        for (int64_t i = 0; i < w->tile.m; i++)
            memcpy(w->workspace.sums + i * w->tile.n,
                   (float *)g->c.data + (w->tile.row + i) * g->c.ld + w->tile.column,
                   (size_t)w->tile.n * sizeof(float));
    for (int64_t p = 0; p < k->count || p == 0; p += depth) {
        w->k = (struct clip_span){k->begin + p, clip_min_i64(depth, k->count - p)};
        w->first = w->k.begin == 0;
        w->last = w->k.begin + depth >= g->k;
        if (w->packed != NULL)
            multiply_packed(w);
        else if (w->unpacked_b)
            multiply_unpacked_b(w);
        else
            pack_and_multiply(w);
    }
}

/* The tile, in pieces that the workspace is enough for. */
static void compute_tile(struct work *w, const struct clip_tile *tile, const struct clip_span *k)
{
    for (int64_t i = 0; i < tile->m; i += w->workspace.max_m)
        for (int64_t j = 0; j < tile->n; j += w->workspace.max_n) {
            w->tile =
                (struct clip_tile){tile->row + i, clip_min_i64(tile->m - i, w->workspace.max_m),
                                   tile->column + j, clip_min_i64(tile->n - j, w->workspace.max_n)};
            compute_piece(w, k);
        }
}

void clip_gemm_native(const struct clip_gemm *g, const struct clip_packed_operands *packed,
                      const struct clip_tile *tile)
{
    enum { A = CLIP_GEMM_MAX_STRIP, B = CLIP_GEMM_DEPTH * SMALL_N + CLIP_GEMM_GAP };
    _Alignas(64) uint32_t small[A + B + SMALL_M * SMALL_N];
    struct work w = {
        .g = g,
        .packed = packed,
        .mode = clip_gemm_mode(g->multiply_bf16, g->k),
        .sums_in_c = clip_gemm_sums_in_c(g),
        .finish = clip_gemm_has_finish(g) || !clip_gemm_sums_in_c(g),
    };
    const struct clip_span all = {0, g->k};
    if (packed == NULL) w.prepacked = clip_gemm_prepacked(g);
    w.unpacked_b = w.prepacked.b == NULL && w.mode.set->few_rows_as_panels &&
                   clip_gemm_takes_unpacked(&w.mode, &g->b) && g->alpha == 1 && !g->a.transpose &&
                   g->b.transpose;
    int64_t strips = packed != NULL ? 0 : divide_up(CLIP_GEMM_FEW_ROWS, w.mode.set->rows);
    int64_t a = strips * w.mode.set->strip, operands = packed != NULL ? 0 : a + B;
    int64_t sums = w.sums_in_c ? 0 : CLIP_TILE_M * CLIP_TILE_N;
    uint32_t *memory = clip_thread_memory(CLIP_MEMORY_PRIVATE, (size_t)(operands + sums) * UNIT);
    if (memory == NULL) /* memory is short: one register tile at a time */
        w.workspace =
            (struct workspace){small, small + A, (float *)small + A + B, w.mode.set->rows, SMALL_N};
    else if (packed == NULL)
        w.workspace = (struct workspace){memory, memory + a, (float *)memory + a + B,
                                         CLIP_GEMM_FEW_ROWS, CLIP_TILE_N};
    else
        w.workspace = (struct workspace){NULL, NULL, (float *)memory, CLIP_TILE_M, CLIP_TILE_N};
    compute_tile(&w, tile, packed != NULL ? &packed->k : &all);
}
