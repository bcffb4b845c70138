/* A large product: operands are packed once, by all threads and for all of them, and then
 * multiplied tile by tile. What is packed at a time is bounded, so a product may be cut into
 * pieces: columns first, then k (where sums may wait in C between the pieces), then rows. A set
 * that can multiply unpacked rows of A leaves A unpacked. */
#include "core/threads.h"
#include "kernels/gemm_parts.h"

enum {
    MAX_UNITS = 4 << 20, /* of each operand at a time: 16 MB */
    MAX_BLOCKS = 8,      /* of k at a time, where k may be cut */
    UNIT = sizeof(uint32_t),
};

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

/* How many rows, columns and k are packed at a time, and the units that they take. */
struct plan {
    int64_t rows, columns, k;
    int64_t a, b;
};

static struct plan plan(const struct clip_gemm *g, const struct clip_gemm_mode *mode)
{
    bool prepacked = clip_gemm_is_prepacked(g), cuts_k = !prepacked && clip_gemm_sums_in_c(g);
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
    x.b = clip_gemm_is_prepacked(g) ? g->b.panels->units : memory + by.a;
    const struct clip_span m = {0, g->m}, n = {0, g->n}, k = {0, g->k};
    for (int64_t j = 0; j < g->n; j += by.columns)
        for (int64_t p = 0; p < g->k; p += by.k) {
            x.columns = span_piece(&n, j / by.columns, by.columns);
            x.k = span_piece(&k, p / by.k, by.k);
            for (int64_t i = 0; i < g->m; i += by.rows) {
                x.rows = span_piece(&m, i / by.rows, by.rows);
                clip_gemm_pack_operands(g, &x, i == 0 && !clip_gemm_is_prepacked(g));
                multiply(g, &x);
            }
        }
    return true;
}
