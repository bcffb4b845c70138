#include "bench/bench_gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "core/memory.h"
#include "core/progress.h"
#include "core/rng.h"
#include "kernels/gemm.h"

enum { MOST_TIMES = 64 };

/* x, w, dy and gradients, large enough for every product. */
struct matrices {
    float *x, *w, *dy, *dx, *dw;
    uint16_t *x_bf16, *y_bf16;
};

static struct clip_gemm forward(const struct clip_model_product *p, const struct matrices *m,
                                bool bf16)
{
    return (struct clip_gemm){.m = p->rows,
                              .n = p->width,
                              .k = p->depth,
                              .alpha = 1,
                              .multiply_bf16 = bf16,
                              .a = {bf16 ? (void *)m->x_bf16 : m->x, p->depth, .bf16 = bf16},
                              .b = {m->w, p->depth, .transpose = true},
                              .c = {bf16 ? (void *)m->y_bf16 : m->dx, p->width, bf16}};
}

static struct clip_gemm dx(const struct clip_model_product *p, const struct matrices *m, bool bf16)
{
    return (struct clip_gemm){.m = p->rows,
                              .n = p->depth,
                              .k = p->width,
                              .alpha = 1,
                              .multiply_bf16 = bf16,
                              .a = {m->dy, p->width},
                              .b = {m->w, p->depth},
                              .c = {m->dx, p->depth}};
}

static struct clip_gemm dw(const struct clip_model_product *p, const struct matrices *m, bool bf16)
{
    return (struct clip_gemm){.m = p->width,
                              .n = p->depth,
                              .k = p->rows,
                              .alpha = 1,
                              .multiply_bf16 = bf16,
                              .a = {m->dy, p->width, .transpose = true},
                              .b = {bf16 ? (void *)m->x_bf16 : m->x, p->depth, .bf16 = bf16},
                              .c = {m->dw, p->depth},
                              .accumulate = true};
}

/* Operations a second by the median of as many runs as fit in `seconds`, at least 3. */
static double rate(const struct clip_gemm *g, double seconds)
{
    double times[MOST_TIMES], room[MOST_TIMES], total = 0;
    int64_t n = 0;
    clip_gemm(g);
    while (n < 3 || (n < MOST_TIMES && total < seconds)) {
        double started = clip_seconds();
        int64_t runs = 0;
        do { /* a product of microseconds is timed as a group */
            clip_gemm(g);
            runs++;
        } while (clip_seconds() - started < seconds / MOST_TIMES);
        times[n] = (clip_seconds() - started) / (double)runs;
        total += clip_seconds() - started;
        n++;
    }
    return 2.0 * (double)g->m * (double)g->n * (double)g->k / clip_bench_median(times, n, room);
}

static void measure(struct clip_bench_gemm_result *r, const struct matrices *m,
                    const struct clip_bench_gemm_options *o)
{
    double flops = 0, seconds = 0;
    for (int64_t i = 0; i < r->count; i++) {
        struct clip_bench_product *p = &r->products[i];
        struct clip_gemm products[3] = {forward(&p->of, m, o->bf16), dx(&p->of, m, o->bf16),
                                        dw(&p->of, m, o->bf16)};
        double *rates[3] = {&p->forward, &p->dx, &p->dw};
        double each = 2.0 * (double)p->of.rows * (double)p->of.width * (double)p->of.depth;
        for (int k = 0; k < 3; k++) {
            *rates[k] = rate(&products[k], o->seconds);
            flops += (double)p->of.calls * each;
            seconds += (double)p->of.calls * each / *rates[k];
        }
    }
    r->flops_per_second = flops / seconds;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

clip_status clip_bench_gemm(const struct clip_model_config *config,
                            const struct clip_bench_gemm_options *o,
                            struct clip_bench_gemm_result *r, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct matrices m = {0};
    int64_t x = 0, y = 0, w = 0;
    *r = (struct clip_bench_gemm_result){0};
    struct clip_model_product list[CLIP_MODEL_PRODUCTS];
    r->count = clip_model_products(config, o->batch_size, o->tokens, list);
    for (int64_t i = 0; i < r->count; i++) r->products[i].of = list[i];
    for (int64_t i = 0; i < r->count; i++) {
        const struct clip_bench_product *p = &r->products[i];
        x = larger(x, p->of.rows * p->of.depth);
        y = larger(y, p->of.rows * p->of.width);
        w = larger(w, p->of.width * p->of.depth);
    }
    CLIP_NEW(m.x, x);
    CLIP_NEW(m.w, w);
    CLIP_NEW(m.dy, y);
    CLIP_NEW(m.dx, larger(x, y));
    CLIP_NEW(m.dw, w);
    CLIP_NEW(m.x_bf16, x);
    CLIP_NEW(m.y_bf16, y);
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 0, 2);
    for (int64_t i = 0; i < x; i++) m.x[i] = (float)clip_rng_range(&rng, -1, 1);
    for (int64_t i = 0; i < w; i++) m.w[i] = (float)clip_rng_range(&rng, -1, 1);
    for (int64_t i = 0; i < y; i++) m.dy[i] = (float)clip_rng_range(&rng, -1, 1);
    clip_kernels()->to_bf16(m.x_bf16, m.x, x);
    r->peak_flops_per_second = clip_bench_peak_flops(o->bf16);
    measure(r, &m, o);
    r->peak_flops_per_second = fmax(r->peak_flops_per_second, clip_bench_peak_flops(o->bf16));
out:
    free(m.x), free(m.w), free(m.dy), free(m.dx), free(m.dw), free(m.x_bf16), free(m.y_bf16);
    return status;
}
