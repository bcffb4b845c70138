#include "core/threads.h"

#include <omp.h>
#include <stdatomic.h>

enum { LINE = 64 };

void clip_threads_set(int n)
{
    if (n < 1) n = omp_get_num_procs();
    if (n > CLIP_MAX_THREADS) n = CLIP_MAX_THREADS;
    omp_set_dynamic(0);
    omp_set_num_threads(n);
}

int clip_threads_count(void)
{
    int n = omp_get_max_threads();
    return n < CLIP_MAX_THREADS ? n : CLIP_MAX_THREADS;
}

/* Each thread begins with its own part of [0, n), which is the same in every loop, so that what one
 * loop wrote is in the cache of the thread that needs it in the next loop. A thread that has
 * finished its part helps the others. */
struct loop {
    int64_t n;
    void (*fn)(void *context, int64_t i);
    void *context;
    struct {
        /* how much of its part is taken; each counter has its own cache line */
        _Alignas(LINE) atomic_llong taken;
    } thread[CLIP_MAX_THREADS];
};

static void run(struct loop *loop)
{
    int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    for (int64_t turn = 0; turn < threads; turn++) {
        int64_t of = (me + turn) % threads;
        int64_t begin = loop->n * of / threads, count = loop->n * (of + 1) / threads - begin;
        /* so that asking for work takes little time */
        int64_t chunk = count / 16 > 1 ? count / 16 : 1;
        for (;;) {
            int64_t i = atomic_fetch_add(&loop->thread[of].taken, chunk);
            int64_t end = i + chunk < count ? i + chunk : count;
            if (i >= count) break;
            for (; i < end; i++) loop->fn(loop->context, begin + i);
        }
    }
}

void clip_parallel_for(int64_t n, void (*fn)(void *context, int64_t i), void *context)
{
    if (n <= 1 || omp_in_parallel() || omp_get_max_threads() == 1) {
        for (int64_t i = 0; i < n; i++) fn(context, i);
        return;
    }
    struct loop loop;
    int threads = clip_threads_count();
    loop.n = n, loop.fn = fn, loop.context = context;
    for (int t = 0; t < threads; t++) atomic_init(&loop.thread[t].taken, 0);
#pragma omp parallel num_threads(threads)
    run(&loop);
}

int clip_thread_number(void) { return omp_get_thread_num(); }

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
