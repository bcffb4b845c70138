#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "core/threads.h"
#include "kernels/gemm.h"

enum { ROUNDS = 8000000, TRIES = 7, MOST_THREADS = 1024 };

struct peak {
    bool bf16;
    double flops[MOST_THREADS];
    float values[MOST_THREADS];
};

static void run_multiply_adds(void *context, int64_t i)
{
    struct peak *p = context;
    p->flops[i] = clip_multiply_adds(p->bf16, ROUNDS, &p->values[i]);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double clip_bench_median(const double *values, int64_t n, double *room)
{
    memcpy(room, values, (size_t)n * sizeof *room);
    qsort(room, (size_t)n, sizeof *room, by_size);
    return n % 2 == 1 ? room[n / 2] : (room[n / 2 - 1] + room[n / 2]) / 2;
}

/* The last but one of the sorted rates: the best, but for one that a jumping clock may have made.
 */
static double high_rate(double rates[TRIES])
{
    qsort(rates, TRIES, sizeof *rates, by_size);
    return rates[TRIES - 2];
}

double clip_bench_peak_flops(bool bf16)
{
    struct peak peak = {.bf16 = bf16};
    double rates[TRIES];
    int threads = clip_threads_count() < MOST_THREADS ? clip_threads_count() : MOST_THREADS;
    for (int k = 0; k < TRIES; k++) {
        double started = clip_seconds(), total = 0;
        clip_parallel_for(threads, run_multiply_adds, &peak);
        double seconds = clip_seconds() - started;
        for (int i = 0; i < threads; i++) total += peak.flops[i];
        rates[k] = total / seconds;
    }
    return high_rate(rates);
}
