/* core/threads.h for a compiler without OpenMP (clang without libomp-dev): a single thread. There
 * the Makefile takes this file instead of threads.c, and says so. */
#include "core/threads.h"

void clip_threads_set(int n) { (void)n; }

int clip_threads_count(void) { return 1; }

void clip_parallel_for(int64_t n, void (*fn)(void *context, int64_t i), void *context)
{
    for (int64_t i = 0; i < n; i++) fn(context, i);
}

int clip_thread_number(void) { return 0; }

int clip_threads_pause(void) { return 1; }

void clip_threads_restore(int paused) { (void)paused; }
