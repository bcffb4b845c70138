/* Matrix multiplication on OpenBLAS. OpenBLAS changes the order of its sums with its number of
 * threads, so the product is cut into tiles of C by size, and each tile is one single-threaded
 * call: the same bits for any number of threads. */
#include <cblas.h>

#include "core/threads.h"
#include "kernels/kernels.h"

struct product {
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
    int64_t tile_m, tile_n, tiles_n;
};

void clip_gemm_serial(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha,
                      const float *a, int64_t lda, const float *b, int64_t ldb, float beta,
                      float *c, int64_t ldc)
{
    /* OpenBLAS takes as many threads as OpenMP would give the caller, unless it stands in a
     * parallel region. */
    int threads = clip_threads_pause();
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta,
                c, (blasint)ldc);
    clip_threads_restore(threads);
}

static void compute_tile(void *context, int64_t i)
{
    const struct product *p = context;
    int64_t row = i / p->tiles_n * p->tile_m, column = i % p->tiles_n * p->tile_n;
    int64_t m = p->m - row < p->tile_m ? p->m - row : p->tile_m;
    int64_t n = p->n - column < p->tile_n ? p->n - column : p->tile_n;
    const float *a = p->a + (p->ta ? row : row * p->lda);
    const float *b = p->b + (p->tb ? column * p->ldb : column);
    clip_gemm_serial(p->ta, p->tb, m, n, p->k, p->alpha, a, p->lda, b, p->ldb, p->beta,
                     p->c + row * p->ldc + column, p->ldc);
}

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Tiles of about 512 x 512, halved along their longer side until there are 4 of them or they are 64
 * wide: more would make OpenBLAS pack each operand again and again. */
static void cut_tiles(struct product *p)
{
    enum { LARGEST = 512, SMALLEST = 64, WANTED = 4 };
    p->tile_m = p->m < LARGEST ? p->m : LARGEST;
    p->tile_n = p->n < LARGEST ? p->n : LARGEST;
    while (divide_up(p->m, p->tile_m) * divide_up(p->n, p->tile_n) < WANTED) {
        int64_t *longer = p->tile_m >= p->tile_n ? &p->tile_m : &p->tile_n;
        if (*longer < 2 * SMALLEST) break;
        *longer = (*longer / 2 + 15) / 16 * 16;
    }
    p->tiles_n = divide_up(p->n, p->tile_n);
}

void clip_gemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
               int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc)
{
    if (m < 1 || n < 1) return;
    struct product p = {ta, tb, m, n, k, lda, ldb, ldc, alpha, beta, a, b, c, 0, 0, 0};
    cut_tiles(&p);
    clip_parallel_for(divide_up(m, p.tile_m) * p.tiles_n, compute_tile, &p);
}
