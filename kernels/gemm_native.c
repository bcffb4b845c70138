/* A tile of the product by register tiles of ours.
 *
 * Block by block of k, strips of A stay in the first cache while they pass the panels of B, which
 * stay in the second. Operands come packed (gemm_packed.c); where a product has few rows, packing
 * is most of the work and is done here: all of A, then panel after panel of B, each used where it
 * lies as soon as it is packed, unless B came with its panels. Or, by a set whose panels are
 * narrow, only A is packed, as panels, and the rows of op(B)^T are multiplied by it where they lie
 * (of_lines). */
#include <string.h>

#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
    SMALL_M = CLIP_GEMM_MOST_ROWS,
    SMALL_N = CLIP_GEMM_MOST_COLUMNS, /* where memory is short */
    UNIT = sizeof(uint32_t),
};

/* Room for packed operands and for sums that may not wait in C. */
struct room {
    uint32_t *a, *b;
    float *sums;
    int64_t most_m, most_n;
};

struct work {
    const struct clip_gemm *g;
    const struct clip_packed *packed; /* or NULL */
    struct clip_packed given;         /* of few rows: op(B), if its b is not NULL */
    struct clip_pace pace;
    struct clip_tile tile;
    struct room room;
    bool sums_in_c, finish, lines;
    struct clip_span k; /* the block */
    bool first, last;   /* of the blocks */
};

/* Where the sums of the tile's row i wait, and the distance to the next row's. Sums of packed
 * operands that are whole with one block are finished strip by strip, in the same place. */
static float *sums_at(const struct work *w, int64_t i, int64_t *ld)
{
    const struct clip_matrix *c = &w->g->c;
    *ld = w->sums_in_c ? c->ld : w->tile.n;
    if (w->sums_in_c) return (float *)c->data + (w->tile.row + i) * c->ld + w->tile.column;
    if (w->packed != NULL && w->first && w->last && !w->g->accumulate) i %= w->pace.set->rows;
    return w->room.sums + i * w->tile.n;
}

/* The strip of the tile's row i by panels from column j on. */
static void multiply(const struct work *w, int64_t i, const uint32_t *a, int64_t j, int64_t columns,
                     const uint32_t *b, const struct clip_ahead *ahead)
{
    struct clip_by_panels x = {
        .rows = least(w->pace.set->rows, w->tile.m - i),
        .columns = columns,
        .k = clip_gemm_units(&w->pace, w->k.count),
        .alpha = w->g->alpha,
        .a = a,
        .b = b,
        .panel = clip_gemm_panel_size(&w->pace, w->k.count),
        .lda = w->g->a.ld,
        .add = !w->first || w->g->accumulate,
        .ahead = *ahead,
    };
    bool lines = w->packed != NULL && w->packed->a == NULL;
    x.c = sums_at(w, i, &x.ldc) + j;
    (lines ? w->pace.set->multiply_lines : w->pace.set->multiply[w->g->a.transpose])(&x);
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

static void of_packed(const struct work *w)
{
    const struct clip_ahead nothing = {0};
    const struct clip_operand *a = &w->g->a;
    const uint32_t *panels = clip_packed_panel(w->packed, w->tile.column, w->k.begin);
    int64_t mr = w->pace.set->rows;
    for (int64_t i = 0, row = w->tile.row; i < w->tile.m; i += mr, row += mr) {
        const uint32_t *strip = w->packed->a != NULL
                                    ? clip_packed_strip(w->packed, row, w->k.begin)
                                    : (const uint32_t *)a->data + row * a->ld + w->k.begin;
        multiply(w, i, strip, 0, w->tile.n, panels, &nothing);
        finish(w, i, least(mr, w->tile.m - i));
    }
}

/* B from memory takes longer than its few products with A, so the next panel is asked for
 * meanwhile, a part of it by each strip: of this block of k, the first of the next, or, at the
 * tile's end, the first of the tile beside it. Panels packed beforehand lie in one piece, which the
 * processor follows by itself. */
static struct clip_ahead next_panel(const struct work *w, int64_t j, int64_t strip, int64_t strips)
{
    int64_t nr = w->pace.set->columns, k = w->k.begin;
    int64_t column = w->tile.column + j + nr, end = w->tile.column + w->tile.n;
    if (column >= end) column = w->tile.column, k += w->k.count;
    if (k >= w->g->k) {
        column += w->tile.n;
        k = 0, end = w->g->n;
    }
    if (column >= end || w->given.b != NULL) return (struct clip_ahead){0};
    const struct clip_span columns = {column, least(nr, end - column)};
    return clip_gemm_ahead(&w->pace, &w->g->b, &columns, k, strip, strips);
}

static void of_operands(const struct work *w)
{
    const struct clip_gemm *g = w->g;
    int64_t mr = w->pace.set->rows, nr = w->pace.set->columns, m = w->tile.m, n = w->tile.n;
    int64_t strips = (m + mr - 1) / mr;
    const struct clip_span rows = {w->tile.row, m};
    clip_gemm_pack_strips(&w->pace, &g->a, &rows, &w->k, w->room.a);
    for (int64_t j = 0; j < n; j += nr) {
        const struct clip_span columns = {w->tile.column + j, least(nr, n - j)};
        const uint32_t *panel = w->room.b;
        if (w->given.b != NULL)
            panel = clip_packed_panel(&w->given, columns.begin, w->k.begin);
        else
            clip_gemm_pack_panels(&w->pace, &g->b, &columns, &w->k, w->room.b);
        for (int64_t i = 0; i < m; i += mr) {
            const struct clip_ahead ahead = next_panel(w, j, i / mr, strips);
            multiply(w, i, w->room.a + i / mr * w->pace.set->strip, j, columns.count, panel,
                     &ahead);
        }
    }
    finish(w, 0, m);
}

/* C^T = op(B)^T op(A)^T: rows of B as they lie in memory by the few rows of A, packed as panels. */
static void of_lines(const struct work *w)
{
    const struct clip_gemm *g = w->g;
    struct clip_operand rows_of_a = g->a;
    const struct clip_span rows = {w->tile.row, w->tile.m};
    float sums[CLIP_GEMM_MOST_ROWS][CLIP_GEMM_FEW_ROWS];
    struct clip_by_panels x = {
        .columns = w->tile.m,
        .k = w->k.count,
        .alpha = 1,
        .b = w->room.a,
        .panel = clip_gemm_panel_size(&w->pace, w->k.count),
        .lda = g->b.ld,
        .c = sums[0],
        .ldc = CLIP_GEMM_FEW_ROWS,
    };
    bool add = !w->first || g->accumulate;
    rows_of_a.transpose = true;
    clip_gemm_pack_panels(&w->pace, &rows_of_a, &rows, &w->k, w->room.a);
    for (int64_t j = 0; j < w->tile.n; j += x.rows) {
        x.rows = least(w->pace.set->rows, w->tile.n - j);
        x.a = (const uint32_t *)g->b.data + (w->tile.column + j) * g->b.ld + w->k.begin;
        w->pace.set->multiply_lines(&x);
        for (int64_t i = 0; i < w->tile.m; i++) {
            int64_t ld;
            float *c = sums_at(w, i, &ld) + j;
            for (int64_t r = 0; r < x.rows; r++) c[r] = add ? c[r] + sums[r][i] : sums[r][i];
        }
    }
    finish(w, 0, w->tile.m);
}

static void compute(struct work *w, const struct clip_span *k)
{
    const struct clip_gemm *g = w->g;
    int64_t depth = w->pace.depth;
    if (!w->sums_in_c && g->accumulate)
        for (int64_t i = 0; i < w->tile.m; i++)
            memcpy(w->room.sums + i * w->tile.n,
                   (float *)g->c.data + (w->tile.row + i) * g->c.ld + w->tile.column,
                   (size_t)w->tile.n * sizeof(float));
    for (int64_t p = 0; p < k->count || p == 0; p += depth) {
        w->k = (struct clip_span){k->begin + p, least(depth, k->count - p)};
        w->first = w->k.begin == 0;
        w->last = w->k.begin + depth >= g->k;
        if (w->packed != NULL)
            of_packed(w);
        else if (w->lines)
            of_lines(w);
        else
            of_operands(w);
    }
}

/* Pieces of the tile that there is room for. */
static void compute_pieces(struct work *w, const struct clip_tile *tile, const struct clip_span *k)
{
    for (int64_t i = 0; i < tile->m; i += w->room.most_m)
        for (int64_t j = 0; j < tile->n; j += w->room.most_n) {
            w->tile = (struct clip_tile){tile->row + i, least(tile->m - i, w->room.most_m),
                                         tile->column + j, least(tile->n - j, w->room.most_n)};
            compute(w, k);
        }
}

void clip_gemm_own(const struct clip_gemm *g, const struct clip_packed *packed,
                   const struct clip_tile *tile)
{
    enum { A = CLIP_GEMM_MOST_STRIP, B = CLIP_GEMM_DEPTH * SMALL_N + CLIP_GEMM_GAP };
    _Alignas(64) uint32_t small[A + B + SMALL_M * SMALL_N];
    struct work w = {
        .g = g,
        .packed = packed,
        .pace = clip_gemm_pace(g->multiply_bf16, g->k),
        .sums_in_c = clip_gemm_sums_in_c(g),
        .finish = clip_gemm_has_finish(g) || !clip_gemm_sums_in_c(g),
    };
    const struct clip_span all = {0, g->k};
    if (packed == NULL) w.given = clip_gemm_given(g);
    w.lines = w.given.b == NULL && w.pace.set->few_rows_as_panels &&
              clip_gemm_lines(&w.pace, &g->b) && g->alpha == 1 && !g->a.transpose && g->b.transpose;
    int64_t strips = packed != NULL ? 0 : divide_up(CLIP_GEMM_FEW_ROWS, w.pace.set->rows);
    int64_t a = strips * w.pace.set->strip, operands = packed != NULL ? 0 : a + B;
    int64_t sums = w.sums_in_c ? 0 : CLIP_TILE_M * CLIP_TILE_N;
    uint32_t *memory = clip_thread_memory(CLIP_MEMORY_OWN, (size_t)(operands + sums) * UNIT);
    if (memory == NULL) /* a register tile at a time */
        w.room = (struct room){small, small + A, (float *)small + A + B, w.pace.set->rows, SMALL_N};
    else if (packed == NULL)
        w.room = (struct room){memory, memory + a, (float *)memory + a + B, CLIP_GEMM_FEW_ROWS,
                               CLIP_TILE_N};
    else
        w.room = (struct room){NULL, NULL, (float *)memory, CLIP_TILE_M, CLIP_TILE_N};
    compute_pieces(&w, tile, packed != NULL ? &packed->k : &all);
}
