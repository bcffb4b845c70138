/* Operands that are packed once, by all threads and for all of them: what a large product needs at
 * a time, and op(B) that many products share. */
#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
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

void clip_gemm_pack_operands(const struct clip_gemm *g, const struct clip_packed_operands *x,
                             bool with_b)
{
    struct job job = {.g = g, .to = x, .blocks = divide_up(x->k.count, x->mode.depth)};
    if (with_b)
        pack_in_pieces(&job, divide_up(panels(x), PANELS_PER_PIECE), !g->b.transpose, pack_panels);
    if (x->a != NULL)
        pack_in_pieces(&job, divide_up(strips(x), STRIPS_PER_PIECE), g->a.transpose, pack_strips);
}

/* ---- op(B) packed once for many products ---- */

bool clip_gemm_is_prepacked(const struct clip_gemm *g)
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
    return clip_gemm_is_prepacked(g) ? all_of_b(g->n, g->k, g->b.panels)
                                     : (struct clip_packed_operands){0};
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
    clip_gemm_pack_operands(&g, &x, true);
}
