/* A large product: operands are packed once, by all threads and for all of them, and then
 * multiplied tile by tile. What is packed at a time is bounded, so a product may be cut into
 * pieces: columns first, then k (where sums may wait in C between the pieces), then rows. A set
 * that can multiply unpacked rows of A leaves A unpacked. */
#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
    MAX_UNITS = 4 << 20, /* of each operand at a time: 16 MB */
    MAX_BLOCKS = 8,      /* of k at a time, where k may be cut */
    PANELS_PER_PIECE = 4,
    STRIPS_PER_PIECE = 8,
    UNIT = sizeof(uint32_t),
};

static int64_t strips(const struct clip_packed_operands *x)
{
    return divide_up(x->rows.count, x->mode.set->rows);
}

static int64_t panels(const struct clip_packed_operands *x)
{
    return divide_up(x->columns.count, x->mode.set->columns);
}

/* Units from panel to panel in the block that begins at p. The last block may be short, but blocks
 * are always as far apart as full ones. */
static int64_t panel_size(const struct clip_packed_operands *x, int64_t p)
{
    return clip_gemm_panel_size(&x->mode, clip_min_i64(x->mode.depth, x->k.begin + x->k.count - p));
}

uint32_t *clip_packed_strip(const struct clip_packed_operands *x, int64_t i, int64_t p)
{
    int64_t block = (p - x->k.begin) / x->mode.depth;
    const struct clip_gemm_set *set = x->mode.set;
    return x->a + (block * strips(x) + (i - x->rows.begin) / set->rows) * set->strip;
}

uint32_t *clip_packed_panel(const struct clip_packed_operands *x, int64_t j, int64_t p)
{
    int64_t block = (p - x->k.begin) / x->mode.depth;
    return x->b + block * panels(x) * panel_size(x, x->k.begin) +
           (j - x->columns.begin) / x->mode.set->columns * panel_size(x, p);
}

/* ---- packing in threads ---- */

/* The order in which pieces are packed follows memory, so that a thread reads what it probably
 * wrote: of an operand that lies across k, block after block; of one that lies along k, all blocks
 * of some rows before the next rows. */
struct job {
    const struct clip_gemm *g;
    const struct clip_packed_operands *to;
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

/* The block of k that piece i belongs to, and which of the block's pieces it is. */
static struct clip_span block_of(const struct job *job, int64_t i, int64_t *piece)
{
    *piece = job->block_after_block ? i % job->in_block : i / job->blocks;
    int64_t block = job->block_after_block ? i / job->in_block : i % job->blocks;
    return span_piece(&job->to->k, block, job->to->mode.depth);
}

static void pack_strips(void *context, int64_t i)
{
    const struct job *job = context;
    const struct clip_packed_operands *x = job->to;
    int64_t piece;
    struct clip_span k = block_of(job, i, &piece);
    struct clip_span rows = span_piece(&x->rows, piece, STRIPS_PER_PIECE * x->mode.set->rows);
    clip_gemm_pack_strips(&x->mode, &job->g->a, &rows, &k,
                          clip_packed_strip(x, rows.begin, k.begin));
}

static void pack_panels(void *context, int64_t i)
{
    const struct job *job = context;
    const struct clip_packed_operands *x = job->to;
    int64_t piece;
    struct clip_span k = block_of(job, i, &piece);
    struct clip_span columns =
        span_piece(&x->columns, piece, PANELS_PER_PIECE * x->mode.set->columns);
    clip_gemm_pack_panels(&x->mode, &job->g->b, &columns, &k,
                          clip_packed_panel(x, columns.begin, k.begin));
}

/* Do too many rows of a register tile share sets of the first cache, whose ways hold 4 KB each? */
static bool rows_collide(int64_t rows, int64_t ld)
{
    enum { WAY = 4096, MAX_SHARING = 4 };
    int64_t period = WAY; /* the largest power of two that divides their distance */
    while (ld * (int64_t)sizeof(float) % period != 0) period /= 2;
    return rows * period > MAX_SHARING * WAY;
}

static bool rows_in_place(const struct clip_gemm *g, const struct clip_gemm_mode *mode)
{
    return clip_gemm_takes_unpacked(mode, &g->a) && !g->a.transpose &&
           !rows_collide(mode->set->rows, g->a.ld);
}

static void pack(const struct clip_gemm *g, const struct clip_packed_operands *x, bool with_b)
{
    struct job job = {.g = g, .to = x, .blocks = divide_up(x->k.count, x->mode.depth)};
    if (with_b)
        pack_in_pieces(&job, divide_up(panels(x), PANELS_PER_PIECE), !g->b.transpose, pack_panels);
    if (x->a != NULL)
        pack_in_pieces(&job, divide_up(strips(x), STRIPS_PER_PIECE), g->a.transpose, pack_strips);
}

/* ---- the product ---- */

static bool is_prepacked(const struct clip_gemm *g)
{
    return g->b.panels != NULL && g->b.panels->bf16 == g->multiply_bf16 &&
           g->b.panels->transpose == g->b.transpose;
}

static struct clip_packed_operands all_of_b(int64_t n, int64_t k, const struct clip_panels *panels)
{
    return (struct clip_packed_operands){.mode = clip_gemm_mode(panels->bf16, k),
                                         .columns = {0, n},
                                         .k = {0, k},
                                         .b = panels->units};
}

struct clip_packed_operands clip_gemm_prepacked(const struct clip_gemm *g)
{
    return is_prepacked(g) ? all_of_b(g->n, g->k, g->b.panels) : (struct clip_packed_operands){0};
}

size_t clip_gemm_panels_bytes(int64_t n, int64_t k, bool multiply_bf16)
{
    const struct clip_packed_operands x =
        all_of_b(n, k, &(struct clip_panels){.bf16 = multiply_bf16});
    int64_t blocks = divide_up(k, x.mode.depth);
    return (size_t)(blocks * panels(&x) * panel_size(&x, 0)) * UNIT;
}

void clip_gemm_pack(const struct clip_operand *b, int64_t n, int64_t k,
                    const struct clip_panels *panels)
{
    const struct clip_gemm g = {.n = n, .k = k, .b = *b};
    const struct clip_packed_operands x = all_of_b(n, k, panels);
    pack(&g, &x, true);
}

/* How many rows, columns and k are packed at a time, and the units that they take. */
struct plan {
    int64_t rows, columns, k;
    int64_t a, b;
};

static struct plan plan(const struct clip_gemm *g, const struct clip_gemm_mode *mode)
{
    bool prepacked = is_prepacked(g), cuts_k = !prepacked && clip_gemm_sums_in_c(g);
    int64_t max_k = cuts_k ? MAX_BLOCKS * mode->depth : g->k;
    struct plan plan = {.k = clip_min_i64(g->k, max_k)};
    int64_t blocks = divide_up(plan.k, mode->depth), mr = mode->set->rows, nr = mode->set->columns;
    int64_t strip = blocks * mode->set->strip;
    int64_t panel = blocks * clip_gemm_panel_size(mode, clip_min_i64(plan.k, mode->depth));
    plan.rows = equal_piece(g->m, MAX_UNITS / strip * mr, mr);
    plan.columns = prepacked ? g->n : equal_piece(g->n, MAX_UNITS / panel * nr, nr);
    if (rows_in_place(g, mode))
        plan.rows = g->m;
    else
        plan.a = plan.rows / mr * strip;
    plan.b = prepacked ? 0 : plan.columns / nr * panel;
    return plan;
}

size_t clip_gemm_packed_bytes(const struct clip_gemm *g)
{
    struct clip_gemm_mode mode = clip_gemm_mode(g->multiply_bf16, g->k);
    const struct clip_gemm sizes = {.m = g->m, .n = g->n, .k = g->k, .c.data = &mode};
    struct plan by = plan(&sizes, &mode);
    return (size_t)(by.a + by.b) * UNIT;
}

static void multiply(const struct clip_gemm *g, const struct clip_packed_operands *x)
{
    struct clip_tiling tiling = {.g = g, .packed = x, .rows = x->rows, .columns = x->columns};
    clip_gemm_choose_tiling(&tiling);
    clip_gemm_run_tiles(&tiling);
}

bool clip_gemm_packed(const struct clip_gemm *g)
{
    struct clip_packed_operands x = {.mode = clip_gemm_mode(g->multiply_bf16, g->k)};
    struct plan by = plan(g, &x.mode);
    uint32_t *memory = clip_thread_memory(CLIP_MEMORY_SHARED, (size_t)(by.a + by.b) * UNIT);
    if (memory == NULL && by.a + by.b > 0) return false;
    x.a = by.a > 0 ? memory : NULL;
    x.b = is_prepacked(g) ? g->b.panels->units : memory + by.a;
    const struct clip_span m = {0, g->m}, n = {0, g->n}, k = {0, g->k};
    for (int64_t j = 0; j < g->n; j += by.columns)
        for (int64_t p = 0; p < g->k; p += by.k) {
            x.columns = span_piece(&n, j / by.columns, by.columns);
            x.k = span_piece(&k, p / by.k, by.k);
            for (int64_t i = 0; i < g->m; i += by.rows) {
                x.rows = span_piece(&m, i / by.rows, by.rows);
                pack(g, &x, i == 0 && !is_prepacked(g));
                multiply(g, &x);
            }
        }
    return true;
}
