/* A tile of the product by register tiles of ours.
 *
 * Block by block of k, the tile's columns of B are packed into panels, which stay in the second
 * cache, and its rows of A strip by strip, which stay in the first while they pass the panels. A
 * tile of few rows goes the other way round: all of A is packed, and each panel of B is used where
 * it lies as soon as it is packed. */
#include <string.h>

#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
    FEW_STRIPS = 8,
    SMALL_M = CLIP_GEMM_MOST_ROWS,
    SMALL_N = CLIP_GEMM_MOST_COLUMNS, /* where memory is short */
    LEAST_COLUMNS = 8, /* of a register tile of any set */
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
    const struct clip_gemm_set *set;
    struct clip_tile tile;
    struct room room;
    struct clip_pace pace;
    bool sums_in_c, finish;
    enum clip_pack pack_a, pack_b;
    int64_t p, length, units; /* the block: its first element of k, elements, units */
    bool first, last;         /* of the blocks */
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static struct clip_source source(const struct clip_operand *x, enum clip_pack kind, int64_t row,
                                 int64_t column)
{
    int64_t at = row * x->ld + column;
    const char *data = x->data;
    return (struct clip_source){data + at * (x->bf16 ? 2 : 4), x->ld, kind};
}

/* Strips of rows [i, i + rows) of the tile. */
static void pack_strips(const struct work *w, int64_t i, int64_t rows, uint32_t *to)
{
    const struct clip_operand *a = &w->g->a;
    int64_t row = w->tile.row + i, mr = w->set->rows;
    const struct clip_groups strips = {mr, CLIP_GEMM_A_STEP, CLIP_GEMM_STRIP};
    struct clip_source from = a->transpose ? source(a, w->pack_a, w->p, row)
                                           : source(a, w->pack_a, row, w->p);
    if (a->transpose) {
        w->set->pack_rows(to, &from, rows, w->length, &strips);
        return;
    }
    for (int64_t r = 0; r < rows; r += mr, to += CLIP_GEMM_STRIP) {
        from = source(a, w->pack_a, row + r, w->p);
        w->set->pack_lines(to, &from, least(mr, rows - r), w->length);
    }
}

/* Units from panel to panel. */
static int64_t panel_size(const struct work *w)
{
    return w->set->columns * w->units + CLIP_GEMM_GAP;
}

/* Panels of columns [j, j + columns) of the tile. */
static void pack_panels(const struct work *w, int64_t j, int64_t columns, uint32_t *to)
{
    const struct clip_operand *b = &w->g->b;
    int64_t column = w->tile.column + j, nr = w->set->columns;
    const struct clip_groups panels = {nr, nr, panel_size(w)};
    struct clip_source from = b->transpose ? source(b, w->pack_b, column, w->p)
                                           : source(b, w->pack_b, w->p, column);
    if (!b->transpose) {
        w->set->pack_rows(to, &from, columns, w->length, &panels);
        return;
    }
    for (int64_t c = 0; c < columns; c += nr, to += panels.distance) {
        from = source(b, w->pack_b, column + c, w->p);
        w->set->pack_lines_across(to, &from, least(nr, columns - c), w->length);
    }
}

/* Where the sums of the tile's row i wait, and the distance to the next row's. A strip at a time
 * needs one strip's room where there is one block alone. */
static float *sums_at(const struct work *w, int64_t i, int64_t *ld)
{
    const struct clip_matrix *c = &w->g->c;
    *ld = w->sums_in_c ? c->ld : w->tile.n;
    if (w->sums_in_c) return (float *)c->data + (w->tile.row + i) * c->ld + w->tile.column;
    return w->room.sums + i * w->tile.n;
}

static void multiply(const struct work *w, int64_t i, int64_t rows, const uint32_t *a, int64_t j,
                     int64_t columns, const uint32_t *b)
{
    int64_t ld;
    float *c = sums_at(w, i, &ld) + j;
    w->pace.multiply[w->g->a.transpose](rows, columns, w->units, w->g->alpha, a, b, c, ld,
                          !w->first || w->g->accumulate);
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

static void panels_first(const struct work *w)
{
    int64_t mr = w->set->rows, nr = w->set->columns, m = w->tile.m, n = w->tile.n;
    int64_t group = w->g->a.transpose ? FEW_STRIPS * mr : mr;
    pack_panels(w, 0, n, w->room.b);
    for (int64_t i = 0; i < m; i += mr) {
        int64_t rows = least(mr, m - i);
        if (i % group == 0) pack_strips(w, i, least(group, m - i), w->room.a);
        const uint32_t *a = w->room.a + i % group / mr * CLIP_GEMM_STRIP;
        for (int64_t j = 0; j < n; j += nr)
            multiply(w, i, rows, a, j, least(nr, n - j), w->room.b + j / nr * panel_size(w));
        finish(w, i, rows);
    }
}

static void strips_first(const struct work *w)
{
    int64_t mr = w->set->rows, nr = w->set->columns, m = w->tile.m, n = w->tile.n;
    pack_strips(w, 0, m, w->room.a);
    for (int64_t j = 0; j < n; j += nr) {
        int64_t columns = least(nr, n - j);
        pack_panels(w, j, columns, w->room.b);
        for (int64_t i = 0; i < m; i += mr)
            multiply(w, i, least(mr, m - i), w->room.a + i / mr * CLIP_GEMM_STRIP, j, columns,
                     w->room.b);
    }
    finish(w, 0, m);
}

static void compute(struct work *w)
{
    const struct clip_gemm *g = w->g;
    int64_t depth = w->pace.depth;
    int64_t strips = (w->tile.m + w->set->rows - 1) / w->set->rows;
    if (!w->sums_in_c && g->accumulate)
        for (int64_t i = 0; i < w->tile.m; i++)
            memcpy(w->room.sums + i * w->tile.n,
                   (float *)g->c.data + (w->tile.row + i) * g->c.ld + w->tile.column,
                   (size_t)w->tile.n * sizeof(float));
    for (int64_t p = 0; p < g->k || p == 0; p += depth) {
        w->p = p;
        w->length = least(depth, g->k - p);
        w->units = w->pace.pairs ? (w->length + 1) / 2 : w->length;
        w->first = p == 0;
        w->last = p + depth >= g->k;
        if (strips <= FEW_STRIPS) strips_first(w);
        else panels_first(w);
    }
}

void clip_gemm_own(const struct clip_gemm *g, const struct clip_tile *tile)
{
    enum {
        A = FEW_STRIPS * CLIP_GEMM_STRIP,
        B = CLIP_GEMM_DEPTH * CLIP_TILE_N + CLIP_TILE_N / LEAST_COLUMNS * CLIP_GEMM_GAP,
        SMALL_B = CLIP_GEMM_DEPTH * SMALL_N + SMALL_N / LEAST_COLUMNS * CLIP_GEMM_GAP,
    };
    _Alignas(64) uint32_t small[CLIP_GEMM_STRIP + SMALL_B + SMALL_M * SMALL_N];
    struct clip_pace pace = clip_gemm_pace(g->multiply_bf16);
    struct work w = {
        .g = g,
        .set = pace.set,
        .pace = pace,
        .sums_in_c = clip_gemm_sums_in_c(g),
        .finish = clip_gemm_has_finish(g) || !clip_gemm_sums_in_c(g),
        .pack_a = clip_gemm_pack_kind(&pace, g->a.bf16),
        .pack_b = clip_gemm_pack_kind(&pace, g->b.bf16),
    };
    size_t sums = w.sums_in_c ? 0 : CLIP_TILE_M * CLIP_TILE_N;
    uint32_t *memory = clip_thread_memory((A + B + sums) * UNIT);
    w.room = memory != NULL ? (struct room){memory, memory + A, (float *)memory + A + B,
                                            CLIP_TILE_M, CLIP_TILE_N}
                            : (struct room){small, small + CLIP_GEMM_STRIP,
                                            (float *)small + CLIP_GEMM_STRIP + SMALL_B,
                                            pace.set->rows, SMALL_N};
    for (int64_t i = 0; i < tile->m; i += w.room.most_m)
        for (int64_t j = 0; j < tile->n; j += w.room.most_n) {
            w.tile = (struct clip_tile){tile->row + i, least(tile->m - i, w.room.most_m),
                                        tile->column + j, least(tile->n - j, w.room.most_n)};
            compute(&w);
        }
}
