#include "core/threads.h"

#include <omp.h>

void clip_threads_set(int n)
{
    if (n < 1) n = omp_get_num_procs();
    if (n > CLIP_MAX_THREADS) n = CLIP_MAX_THREADS;
    omp_set_dynamic(0);
    omp_set_num_threads(n);
}

int clip_threads_count(void)
{
    return omp_get_max_threads();
}

void clip_parallel_for(int64_t n, void (*fn)(void *context, int64_t i), void *context)
{
    if (n <= 1 || omp_in_parallel() || omp_get_max_threads() == 1) {
        for (int64_t i = 0; i < n; i++) fn(context, i);
        return;
    }
    /* Some sixteen pieces a thread: even work, and little time spent on asking for the next. */
    int64_t chunk = n / ((int64_t)omp_get_max_threads() * 16);
    if (chunk < 1) chunk = 1;
#pragma omp parallel for schedule(dynamic, chunk)
    for (int64_t i = 0; i < n; i++) fn(context, i);
}

int clip_thread_number(void)
{
    return omp_get_thread_num();
}

int clip_threads_pause(void)
{
    int offered = omp_get_max_threads();
    if (offered != 1) omp_set_num_threads(1);
    return offered;
}

void clip_threads_restore(int paused)
{
    if (paused != 1) omp_set_num_threads(paused);
}
