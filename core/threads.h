/* Threads: OpenMP behind a few functions. Work is cut by size, never by the number of threads, so
 * results do not depend on it. */
#ifndef CLIP_CORE_THREADS_H
#define CLIP_CORE_THREADS_H

#include "clip/clip.h"

#define CLIP_MAX_THREADS 1024

/* How many clip_threads_set (clip/clip.h) allows; at most CLIP_MAX_THREADS. */
int clip_threads_count(void);

/* Calls fn(context, i) once for every i in [0, n), from several threads, in no order; returns when
 * all are done. Inside another clip_parallel_for, or with n 1, it is a plain loop. fn must not
 * fail. */
void clip_parallel_for(int64_t n, void (*fn)(void *context, int64_t i), void *context);

/* Inside clip_parallel_for: which of the clip_threads_count() threads this is, from 0. For scratch
 * memory alone. */
int clip_thread_number(void);

/* At least `bytes` of memory of the calling thread's own, 64-byte aligned, to be used until the
 * thread's next call for the same piece: for inner loops that need room and must not allocate each
 * time. The same piece again while it is large enough; freed when the thread ends. NULL: memory is
 * short. Nobody who uses a piece calls somebody who uses it too: today the products of kernels/
 * alone do, one piece inside a parallel loop, the other to lend it to all threads of a loop. */
enum clip_thread_piece { CLIP_MEMORY_PRIVATE, CLIP_MEMORY_SHARED, CLIP_MEMORY_PIECES };
void *clip_thread_memory(enum clip_thread_piece piece, size_t bytes);

/* Around a call of a library that would start threads of its own (OpenBLAS takes as many as OpenMP
 * offers): the calling thread is offered one; gives what restore takes. */
int clip_threads_pause(void);
void clip_threads_restore(int paused);

#endif
