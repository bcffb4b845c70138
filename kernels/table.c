/* Chooses the table of row kernels: the best the processor runs, or the one that CLIP_KERNELS
 * names. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm_parts.h"

extern const struct clip_kernels clip_kernels_ref;
#ifdef __x86_64__
extern const struct clip_kernels clip_kernels_avx2, clip_kernels_avx512;
#endif

static const struct clip_kernels *table;
static bool openblas;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    const struct clip_kernels *runnable[3] = {&clip_kernels_ref};
    int n = 1;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        runnable[n++] = &clip_kernels_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        runnable[n++] = &clip_kernels_avx512;
#endif
    table = runnable[n - 1];
    openblas = true;
    const char *wish = getenv("CLIP_KERNELS");
    if (wish == NULL || *wish == '\0' || strcmp(wish, "openblas") == 0) return;
    for (int i = 0; i < n; i++)
        if (strcmp(wish, runnable[i]->name) == 0) {
            table = runnable[i];
            return;
        }
    fprintf(stderr,
            "clip: warning: CLIP_KERNELS=%s is not a kernel table of this processor; using %s\n",
            wish, table->name);
}

const struct clip_kernels *clip_kernels(void)
{
    pthread_once(&once, choose);
    return table;
}

bool clip_kernels_openblas(void)
{
    pthread_once(&once, choose);
    return openblas;
}
