#include "bench/bench_loss.h"

#include <math.h>
#include <stdlib.h>

#include "autograd/ops.h"
#include "bench/bench.h"
#include "core/memory.h"
#include "core/progress.h"
#include "core/rng.h"
#include "kernels/gemm.h"

enum { MOST_RUNS = 64 };

struct rows { /* [N,D], and their gradients */
    float *data, *grad;
};

static clip_status make_rows(struct rows *rows, int64_t n, int64_t dim, uint64_t stream,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 0, stream);
    CLIP_NEW(rows->data, n * dim);
    CLIP_NEW(rows->grad, n * dim);
    for (int64_t i = 0; i < n * dim; i++) rows->data[i] = clip_rng_normal(&rng) / sqrtf((float)dim);
out:
    return status;
}

static struct clip_tensor leaf(const struct rows *rows, int64_t n, int64_t dim)
{
    struct clip_tensor x = clip_tensor_f32(rows->data, n, dim);
    x.grad = rows->grad;
    x.needs_grad = true;
    return x;
}

static clip_status run_once(struct clip_tape *tape, const struct rows *image,
                            const struct rows *text, int64_t n, int64_t dim, double seconds[2],
                            struct clip_error *error)
{
    float log_scale = logf(1 / 0.07f), scale_grad = 0;
    struct clip_tensor a = leaf(image, n, dim), b = leaf(text, n, dim);
    struct clip_tensor scale = clip_tensor_view(CLIP_F32, &log_scale, 0, NULL);
    scale.grad = &scale_grad;
    scale.needs_grad = true;
    clip_tape_clear(tape);
    double started = clip_seconds();
    struct clip_tensor *loss = clip_infonce(tape, &a, &b, &scale, NULL);
    seconds[0] = clip_seconds() - started;
    clip_tape_backward(tape, loss);
    seconds[1] = clip_seconds() - started - seconds[0];
    return clip_tape_status(tape, error);
}

/* Operations a second of one tile's four products, over and over. */
static double rate_of_products(const struct rows *image, const struct rows *text, int64_t n,
                               int64_t dim, float *s)
{
    enum { ROWS = 512, COLUMNS = 1024, TIMES = 9 };
    int64_t m = n < ROWS ? n : ROWS, cols = n < COLUMNS ? n : COLUMNS;
    double times[TIMES], room[TIMES];
    for (int k = 0; k < TIMES; k++) {
        struct clip_gemm logits = {.m = m,
                                   .n = cols,
                                   .k = dim,
                                   .alpha = 1,
                                   .a = {image->data, dim},
                                   .b = {text->data, dim, .transpose = true},
                                   .c = {s, cols}};
        double started = clip_seconds();
        clip_gemm(&logits);
        clip_gemm(&logits);
        clip_gemm(&(struct clip_gemm){.m = m,
                                      .n = dim,
                                      .k = cols,
                                      .alpha = 1,
                                      .a = {s, cols},
                                      .b = {text->data, dim},
                                      .c = {image->grad, dim},
                                      .accumulate = true});
        clip_gemm(&(struct clip_gemm){.m = cols,
                                      .n = dim,
                                      .k = m,
                                      .alpha = 1,
                                      .a = {s, cols, .transpose = true},
                                      .b = {image->data, dim},
                                      .c = {text->grad, dim},
                                      .accumulate = true});
        times[k] = clip_seconds() - started;
    }
    return 8.0 * (double)m * (double)cols * (double)dim / clip_bench_median(times, TIMES, room);
}

clip_status clip_bench_loss(int64_t pairs, int64_t dim, int64_t runs,
                            struct clip_bench_loss_result *r, struct clip_error *error)
{
    clip_status status;
    struct clip_tape *tape = NULL;
    struct rows image = {0}, text = {0};
    float *s = NULL;
    double seconds[2], forward[MOST_RUNS], backward[MOST_RUNS], room[MOST_RUNS];
    if (runs > MOST_RUNS) runs = MOST_RUNS;
    *r = (struct clip_bench_loss_result){0};
    CLIP_TRY(make_rows(&image, pairs, dim, 3, error));
    CLIP_TRY(make_rows(&text, pairs, dim, 4, error));
    CLIP_TRY(clip_tape_create(&tape, error));
    for (int64_t k = -1; k < runs; k++) {
        CLIP_TRY(run_once(tape, &image, &text, pairs, dim, seconds, error));
        if (k < 0) continue;
        forward[k] = seconds[0];
        backward[k] = seconds[1];
    }
    r->peak_rss_bytes = clip_memory_peak_rss();
    r->workspace_bytes = (int64_t)clip_tape_peak(tape);
    r->forward_seconds = clip_bench_median(forward, runs, room);
    r->backward_seconds = clip_bench_median(backward, runs, room);
    r->flops_per_second = 8.0 * (double)pairs * (double)pairs * (double)dim /
                          (r->forward_seconds + r->backward_seconds);
    CLIP_NEW(s, 512 * 1024);
    r->gemm_flops_per_second = rate_of_products(&image, &text, pairs, dim, s);
    r->peak_flops_per_second = clip_bench_peak_flops(false);
out:
    clip_tape_free(tape);
    free(image.data), free(image.grad), free(text.data), free(text.grad), free(s);
    return status;
}
