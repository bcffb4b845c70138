/* Threads: OpenMP behind a few functions. Callers cut work by its size, never by the number of
 * threads, so results do not depend on that number. */
#ifndef CLIP_CORE_THREADS_H
#define CLIP_CORE_THREADS_H

#include "clip/clip.h"

#define CLIP_MAX_THREADS 1024

/* How many threads clip_threads_set (clip/clip.h) allows; at most CLIP_MAX_THREADS. */
int clip_threads_count(void);

/* Calls fn(context, i) once for every i in [0, n), from several threads and in no particular order;
 * returns when all calls have returned. Inside another clip_parallel_for, or if n is 1, it is a
 * plain loop. fn must not fail. */
void clip_parallel_for(int64_t n, void (*fn)(void *context, int64_t i), void *context);

/* The number of the calling thread among the clip_threads_count() of clip_parallel_for, from 0. Use
 * it only to choose scratch memory. */
int clip_thread_number(void);

/* At least `bytes` of 64-byte aligned memory that belongs to the calling thread, until that thread
 * asks for the same piece again; it gets the same memory while that is large enough. NULL: memory
 * is short. It is freed when the thread ends. It is for inner loops that need memory and must not
 * allocate each time. A function that uses a piece must not call another one that uses the same
 * piece; today only the products of kernels/ use them: PRIVATE inside a parallel loop, SHARED for
 * all threads of a loop. */
enum clip_thread_piece { CLIP_MEMORY_PRIVATE, CLIP_MEMORY_SHARED, CLIP_MEMORY_PIECES };
void *clip_thread_memory(enum clip_thread_piece piece, size_t bytes);

/* To be called around a call of a library that would start its own threads (OpenBLAS takes as many
 * as OpenMP offers): pause makes OpenMP offer the calling thread only one. It returns what restore
 * takes. */
int clip_threads_pause(void);
void clip_threads_restore(int paused);

#endif
