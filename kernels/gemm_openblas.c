/* The other road: a tile of the product by one single-threaded call of OpenBLAS. OpenBLAS
 * multiplies float32 alone, so operands that are bfloat16, or are to be rounded to it, are first
 * widened into the thread's memory, DEPTH of the sum at a time. */
#include <cblas.h>
#include <string.h>

#include "core/threads.h"
#include "kernels/bf16.h"
#include "kernels/gemm_parts.h"

enum { DEPTH = 256, SIDE = 512, SMALL_SIDE = 32 };

/* Room for a piece of side x side of C and its operands; small on the stack where memory is short.
 */
struct room {
    int64_t side;
    float *a, *b, *c; /* [side, DEPTH] twice, [side, side] */
};

/* A view of float32: element (r, c) at data[r * ld + c]. */
struct view {
    const float *data;
    int64_t ld;
};

/* Rows x cols elements of x from (r, c), as stored, as float32. */
static struct view widen(const struct clip_operand *x, bool round, int64_t r, int64_t c,
                         int64_t rows, int64_t cols, float *room)
{
    if (!x->bf16 && !round) return (struct view){(const float *)x->data + r * x->ld + c, x->ld};
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = (r + i) * x->ld + c;
        float *to = room + i * cols;
        if (x->bf16) {
            clip_kernels()->from_bf16(to, (const uint16_t *)x->data + at, cols);
        } else {
            uint16_t rounded[SIDE];
            clip_kernels()->to_bf16(rounded, (const float *)x->data + at, cols);
            clip_kernels()->from_bf16(to, rounded, cols);
        }
    }
    return (struct view){room, cols};
}

/* Rows of op(x) lie along its first index for A and along its second for B. */
static struct view operand(const struct clip_operand *x, bool round, bool swap, int64_t row,
                           int64_t rows, int64_t p, int64_t depth, float *room)
{
    if (swap) return widen(x, round, p, row, depth, rows, room);
    return widen(x, round, row, p, rows, depth, room);
}

static void multiply(const struct clip_gemm *g, const struct clip_tile *t, const struct room *room)
{
    bool in_c = clip_gemm_sums_in_c(g);
    bool plain = !g->a.bf16 && !g->b.bf16 && !g->multiply_bf16;
    float *c = in_c ? (float *)g->c.data + t->row * g->c.ld + t->column : room->c;
    int64_t ldc = in_c ? g->c.ld : t->n, depth = plain && g->k > 0 ? g->k : DEPTH;
    if (!in_c && g->accumulate)
        for (int64_t r = 0; r < t->m; r++)
            memcpy(c + r * ldc, (float *)g->c.data + (t->row + r) * g->c.ld + t->column,
                   (size_t)t->n * sizeof *c);
    for (int64_t p = 0; p < g->k || p == 0; p += depth) {
        int64_t k = g->k - p < depth ? g->k - p : depth;
        struct view a =
            operand(&g->a, g->multiply_bf16, g->a.transpose, t->row, t->m, p, k, room->a);
        struct view b =
            operand(&g->b, g->multiply_bf16, !g->b.transpose, t->column, t->n, p, k, room->b);
        float beta = p > 0 || g->accumulate ? 1 : 0;
        cblas_sgemm(CblasRowMajor, g->a.transpose ? CblasTrans : CblasNoTrans,
                    g->b.transpose ? CblasTrans : CblasNoTrans, (blasint)t->m, (blasint)t->n,
                    (blasint)k, g->alpha, a.data, (blasint)a.ld, b.data, (blasint)b.ld, beta, c,
                    (blasint)ldc);
    }
    if (clip_gemm_has_finish(g) || !in_c)
        for (int64_t r = 0; r < t->m; r++)
            clip_kernels()->finish_row(g, t->row + r, t->column, c + r * ldc, t->n);
}

void clip_gemm_openblas(const struct clip_gemm *g, const struct clip_tile *tile)
{
    _Alignas(64) float small[(2 * DEPTH + SMALL_SIDE) * SMALL_SIDE];
    bool needs_room = g->a.bf16 || g->b.bf16 || g->multiply_bf16 || !clip_gemm_sums_in_c(g);
    float *memory =
        needs_room ? clip_thread_memory(CLIP_MEMORY_OWN, sizeof(float) * (2 * DEPTH + SIDE) * SIDE)
                   : NULL;
    struct room room = {SIDE, memory, NULL, NULL};
    if (needs_room && memory == NULL) room = (struct room){SMALL_SIDE, small, NULL, NULL};
    if (needs_room) {
        room.b = room.a + DEPTH * room.side;
        room.c = room.b + DEPTH * room.side;
    }
    /* OpenBLAS takes as many threads as OpenMP would give the caller, unless it stands in a
     * parallel region. */
    int threads = clip_threads_pause();
    for (int64_t i = 0; i < tile->m; i += room.side)
        for (int64_t j = 0; j < tile->n; j += room.side) {
            struct clip_tile part = {tile->row + i, tile->m - i, tile->column + j, tile->n - j};
            if (part.m > room.side) part.m = room.side;
            if (part.n > room.side) part.n = room.side;
            multiply(g, &part, &room);
        }
    clip_threads_restore(threads);
}
