/* A large product: operands are packed once, by all threads and for all, then multiplied tile by
 * tile. What is packed at a time is bounded, so a product may be cut: columns first, then k (where
 * sums may wait in C between its pieces), then rows. A set that can multiplies rows of A where they
 * lie. */
#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
    MOST_UNITS = 4 << 20, /* of each operand: 16 MB */
    MOST_BLOCKS = 8,      /* of k at a time, where it may be cut */
    PANELS_A_PIECE = 4,
    STRIPS_A_PIECE = 8,
    UNIT = sizeof(uint32_t),
};

static int64_t strips(const struct clip_packed *x)
{
    return divide_up(x->rows.count, x->pace.set->rows);
}

static int64_t panels(const struct clip_packed *x)
{
    return divide_up(x->columns.count, x->pace.set->columns);
}

/* Units from panel to panel of the block that begins at p; blocks are as far apart as
 * whole ones. */
static int64_t panel_size(const struct clip_packed *x, int64_t p)
{
    return clip_gemm_panel_size(&x->pace, least(x->pace.depth, x->k.begin + x->k.count - p));
}

uint32_t *clip_packed_strip(const struct clip_packed *x, int64_t i, int64_t p)
{
    int64_t block = (p - x->k.begin) / x->pace.depth;
    const struct clip_gemm_set *set = x->pace.set;
    return x->a + (block * strips(x) + (i - x->rows.begin) / set->rows) * set->strip;
}

uint32_t *clip_packed_panel(const struct clip_packed *x, int64_t j, int64_t p)
{
    int64_t block = (p - x->k.begin) / x->pace.depth;
    return x->b + block * panels(x) * panel_size(x, x->k.begin) +
           (j - x->columns.begin) / x->pace.set->columns * panel_size(x, p);
}

/* ---- packing in threads ---- */

/* Pieces in the order of memory, as the threads that wrote it had them: where memory holds k across
 * rows, block after block; else all blocks of some rows before the next rows. */
struct job {
    const struct clip_gemm *g;
    const struct clip_packed *to;
    int64_t blocks, in_block;
    bool block_after_block;
};

static void pack_in_pieces(struct job *job, int64_t in_block, bool block_after_block,
                           void (*pack)(void *context, int64_t i))
{
    job->in_block = in_block;
    job->block_after_block = block_after_block;
    clip_parallel_for(job->blocks * in_block, pack, job);
}

/* Piece i's block of k, and which of the block's pieces it is. */
static struct clip_span block_of(const struct job *job, int64_t i, int64_t *piece)
{
    *piece = job->block_after_block ? i % job->in_block : i / job->blocks;
    int64_t block = job->block_after_block ? i / job->in_block : i % job->blocks;
    return span_piece(&job->to->k, block, job->to->pace.depth);
}

static void pack_strips(void *context, int64_t i)
{
    const struct job *job = context;
    const struct clip_packed *x = job->to;
    int64_t piece;
    struct clip_span k = block_of(job, i, &piece);
    struct clip_span rows = span_piece(&x->rows, piece, STRIPS_A_PIECE * x->pace.set->rows);
    clip_gemm_pack_strips(&x->pace, &job->g->a, &rows, &k,
                          clip_packed_strip(x, rows.begin, k.begin));
}

static void pack_panels(void *context, int64_t i)
{
    const struct job *job = context;
    const struct clip_packed *x = job->to;
    int64_t piece;
    struct clip_span k = block_of(job, i, &piece);
    struct clip_span columns =
        span_piece(&x->columns, piece, PANELS_A_PIECE * x->pace.set->columns);
    clip_gemm_pack_panels(&x->pace, &job->g->b, &columns, &k,
                          clip_packed_panel(x, columns.begin, k.begin));
}

/* Do too many rows of a register tile fall on one another in the first cache, whose ways hold 4 KB
 * each? */
static bool rows_collide(int64_t rows, int64_t ld)
{
    enum { WAY = 4096, MOST = 4 };
    int64_t period = WAY; /* the largest power of two that divides their distance */
    while (ld * (int64_t)sizeof(float) % period != 0) period /= 2;
    return rows * period > MOST * WAY;
}

static bool rows_in_place(const struct clip_gemm *g, const struct clip_pace *pace)
{
    return clip_gemm_lines(pace, &g->a) && !g->a.transpose &&
           !rows_collide(pace->set->rows, g->a.ld);
}

static void pack(const struct clip_gemm *g, const struct clip_packed *x, bool with_b)
{
    struct job job = {.g = g, .to = x, .blocks = divide_up(x->k.count, x->pace.depth)};
    if (with_b)
        pack_in_pieces(&job, divide_up(panels(x), PANELS_A_PIECE), !g->b.transpose, pack_panels);
    if (x->a != NULL)
        pack_in_pieces(&job, divide_up(strips(x), STRIPS_A_PIECE), g->a.transpose, pack_strips);
}

/* ---- the product ---- */

static bool has_panels(const struct clip_gemm *g)
{
    return g->b.panels != NULL && g->b.panels->bf16 == g->multiply_bf16 &&
           g->b.panels->transpose == g->b.transpose;
}

static struct clip_packed whole_b(int64_t n, int64_t k, const struct clip_panels *panels)
{
    return (struct clip_packed){.pace = clip_gemm_pace(panels->bf16, k),
                                .columns = {0, n},
                                .k = {0, k},
                                .b = panels->units};
}

struct clip_packed clip_gemm_given(const struct clip_gemm *g)
{
    return has_panels(g) ? whole_b(g->n, g->k, g->b.panels) : (struct clip_packed){0};
}

size_t clip_gemm_panels_bytes(int64_t n, int64_t k, bool multiply_bf16)
{
    const struct clip_packed x = whole_b(n, k, &(struct clip_panels){.bf16 = multiply_bf16});
    int64_t blocks = divide_up(k, x.pace.depth);
    return (size_t)(blocks * panels(&x) * panel_size(&x, 0)) * UNIT;
}

void clip_gemm_pack(const struct clip_operand *b, int64_t n, int64_t k,
                    const struct clip_panels *panels)
{
    const struct clip_gemm g = {.n = n, .k = k, .b = *b};
    const struct clip_packed x = whole_b(n, k, panels);
    pack(&g, &x, true);
}

/* How much of rows, columns and k is packed at a time. */
struct plan {
    int64_t rows, columns, k;
    int64_t a, b; /* units */
};

static struct plan plan(const struct clip_gemm *g, const struct clip_pace *pace)
{
    bool given = has_panels(g), whole = given || !clip_gemm_sums_in_c(g); /* whole: in k */
    int64_t most_k = whole ? g->k : MOST_BLOCKS * pace->depth;
    struct plan plan = {.k = g->k > most_k ? most_k : g->k};
    int64_t blocks = divide_up(plan.k, pace->depth), mr = pace->set->rows, nr = pace->set->columns;
    int64_t strip = blocks * pace->set->strip;
    int64_t panel = blocks * clip_gemm_panel_size(pace, least(plan.k, pace->depth));
    plan.rows = equal_piece(g->m, MOST_UNITS / strip * mr, mr);
    plan.columns = given ? g->n : equal_piece(g->n, MOST_UNITS / panel * nr, nr);
    if (rows_in_place(g, pace))
        plan.rows = g->m;
    else
        plan.a = plan.rows / mr * strip;
    plan.b = given ? 0 : plan.columns / nr * panel;
    return plan;
}

size_t clip_gemm_packed_bytes(const struct clip_gemm *g)
{
    struct clip_pace pace = clip_gemm_pace(g->multiply_bf16, g->k);
    const struct clip_gemm sizes = {.m = g->m, .n = g->n, .k = g->k, .c.data = &pace};
    struct plan by = plan(&sizes, &pace);
    return (size_t)(by.a + by.b) * UNIT;
}

static void multiply(const struct clip_gemm *g, const struct clip_packed *x)
{
    struct clip_cut cut = {.g = g, .packed = x, .rows = x->rows, .columns = x->columns};
    clip_gemm_cut(&cut);
    clip_gemm_tiles(&cut);
}

bool clip_gemm_packed(const struct clip_gemm *g)
{
    struct clip_packed x = {.pace = clip_gemm_pace(g->multiply_bf16, g->k)};
    struct plan by = plan(g, &x.pace);
    uint32_t *room = clip_thread_memory(CLIP_MEMORY_LENT, (size_t)(by.a + by.b) * UNIT);
    if (room == NULL && by.a + by.b > 0) return false;
    x.a = by.a > 0 ? room : NULL;
    x.b = has_panels(g) ? g->b.panels->units : room + by.a;
    const struct clip_span m = {0, g->m}, n = {0, g->n}, k = {0, g->k};
    for (int64_t j = 0; j < g->n; j += by.columns)
        for (int64_t p = 0; p < g->k; p += by.k) {
            x.columns = span_piece(&n, j / by.columns, by.columns);
            x.k = span_piece(&k, p / by.k, by.k);
            for (int64_t i = 0; i < g->m; i += by.rows) {
                x.rows = span_piece(&m, i / by.rows, by.rows);
                pack(g, &x, i == 0 && !has_panels(g));
                multiply(g, &x);
            }
        }
    return true;
}
