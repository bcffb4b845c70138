/* Instead of a native set: a tile of the product by single-threaded calls of OpenBLAS. OpenBLAS
 * multiplies only float32, so operands that are bfloat16, or must be rounded to it, are first
 * widened into the thread's workspace, DEPTH elements of k at a time.
 *
 * The library is opened by whoever asks for it and linked into nothing: its constructor sets aside
 * memory for every thread before main, and tries again for ever where there is too little. */
#include <dlfcn.h>
#include <string.h>

#include "core/threads.h"
#include "kernels/bf16.h"
#include "kernels/gemm_parts.h"

enum { DEPTH = 256, SIDE = 512, SMALL_SIDE = 32 };
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 }; /* of the CBLAS standard */

/* Memory for a piece of side x side elements of C and for its operands; where memory is short, it
 * is small and on the stack. */
struct workspace {
    int64_t side;
    float *a, *b, *c; /* [side, DEPTH] twice, [side, side] */
};

/* A matrix of float32: element (r, c) is data[r * ld + c]. */
struct view {
    const float *data;
    int64_t ld;
};

/* rows x cols elements of x from the stored (r, c) on, as float32: in x itself, or widened into
 * `memory`. */
static struct view widen(const struct clip_operand *x, bool round, int64_t r, int64_t c,
                         int64_t rows, int64_t cols, float *memory)
{
    if (!x->bf16 && !round) return (struct view){(const float *)x->data + r * x->ld + c, x->ld};
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = (r + i) * x->ld + c;
        float *to = memory + i * cols;
        if (x->bf16) {
            clip_kernels()->from_bf16(to, (const uint16_t *)x->data + at, cols);
        } else {
            uint16_t rounded[SIDE];
            clip_kernels()->to_bf16(rounded, (const float *)x->data + at, cols);
            clip_kernels()->from_bf16(to, rounded, cols);
        }
    }
    return (struct view){memory, cols};
}

/* Some rows of op(A), or columns of op(B), and some elements of k. `swap`: x is stored with one row
 * for each k. */
static struct view operand(const struct clip_operand *x, bool round, bool swap,
                           const struct clip_span *rows, const struct clip_span *k, float *memory)
{
    const struct clip_span *down = swap ? k : rows, *across = swap ? rows : k;
    return widen(x, round, down->begin, across->begin, down->count, across->count, memory);
}

static void multiply(const struct clip_gemm *g, const struct clip_tile *t,
                     const struct workspace *workspace)
{
    bool in_c = clip_gemm_sums_in_c(g);
    bool plain = !g->a.bf16 && !g->b.bf16 && !g->multiply_bf16;
    float *c = in_c ? (float *)g->c.data + t->row * g->c.ld + t->column : workspace->c;
    int64_t ldc = in_c ? g->c.ld : t->n, depth = plain && g->k > 0 ? g->k : DEPTH;
    if (!in_c && g->accumulate)
        for (int64_t r = 0; r < t->m; r++)
            memcpy(c + r * ldc, (float *)g->c.data + (t->row + r) * g->c.ld + t->column,
                   (size_t)t->n * sizeof *c);
    for (int64_t p = 0; p < g->k || p == 0; p += depth) {
        int64_t k = g->k - p < depth ? g->k - p : depth;
        const struct clip_span rows = {t->row, t->m}, columns = {t->column, t->n}, part = {p, k};
        struct view a =
            operand(&g->a, g->multiply_bf16, g->a.transpose, &rows, &part, workspace->a);
        struct view b =
            operand(&g->b, g->multiply_bf16, !g->b.transpose, &columns, &part, workspace->b);
        float beta = p > 0 || g->accumulate ? 1 : 0;
        clip_gemm_by_openblas()(ROW_MAJOR, g->a.transpose ? TRANSPOSED : PLAIN,
                                g->b.transpose ? TRANSPOSED : PLAIN, (int)t->m, (int)t->n, (int)k,
                                g->alpha, a.data, (int)a.ld, b.data, (int)b.ld, beta, c, (int)ldc);
    }
    if (clip_gemm_has_finish(g) || !in_c)
        for (int64_t r = 0; r < t->m; r++)
            clip_kernels()->finish_row(g, t->row + r, t->column, c + r * ldc, t->n);
}

clip_sgemm *clip_gemm_open_openblas(void)
{
    union { /* POSIX lets a function's address be taken for one of data; C does not */
        void *address;
        clip_sgemm *call;
    } found = {NULL};
    void *library = dlopen(CLIP_OPENBLAS, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) found.address = dlsym(library, "cblas_sgemm");
    if (library != NULL && found.address == NULL) dlclose(library);
    return found.call;
}

void clip_gemm_openblas(const struct clip_gemm *g, const struct clip_tile *tile)
{
    _Alignas(64) float small[(2 * DEPTH + SMALL_SIDE) * SMALL_SIDE];
    bool needs_workspace = g->a.bf16 || g->b.bf16 || g->multiply_bf16 || !clip_gemm_sums_in_c(g);
    float *memory = needs_workspace ? clip_thread_memory(CLIP_MEMORY_PRIVATE,
                                                         sizeof(float) * (2 * DEPTH + SIDE) * SIDE)
                                    : NULL;
    struct workspace workspace = {SIDE, memory, NULL, NULL};
    if (needs_workspace && memory == NULL)
        workspace = (struct workspace){SMALL_SIDE, small, NULL, NULL};
    if (needs_workspace) {
        workspace.b = workspace.a + DEPTH * workspace.side;
        workspace.c = workspace.b + DEPTH * workspace.side;
    }
    /* Outside a parallel region OpenBLAS would start as many threads as OpenMP offers the
     * caller. */
    int threads = clip_threads_pause();
    for (int64_t i = 0; i < tile->m; i += workspace.side)
        for (int64_t j = 0; j < tile->n; j += workspace.side) {
            struct clip_tile part = {tile->row + i, tile->m - i, tile->column + j, tile->n - j};
            if (part.m > workspace.side) part.m = workspace.side;
            if (part.n > workspace.side) part.n = workspace.side;
            multiply(g, &part, &workspace);
        }
    clip_threads_restore(threads);
}
