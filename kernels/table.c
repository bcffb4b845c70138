/* Chooses the row kernels and what products are made by: the best that the processor runs, or what
 * CLIP_KERNELS names. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm_sets.h"

extern const struct clip_kernels clip_kernels_ref, clip_kernels_avx2, clip_kernels_avx512;

/* What CLIP_KERNELS names. */
struct choice {
    const char *name;
    const struct clip_kernels *rows;
    const struct clip_gemm_set *products;
    bool openblas; /* large products by OpenBLAS */
};

static struct choice chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What this processor runs, the best last; OpenBLAS takes the best rows. Returns how many. */
static int list(struct choice choices[5])
{
    int n = 1;
    choices[0] = (struct choice){"ref", &clip_kernels_ref, &clip_gemm_ref, false};
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        choices[n++] = (struct choice){"avx2", &clip_kernels_avx2, &clip_gemm_avx2, false};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        choices[n++] = (struct choice){"avx512", &clip_kernels_avx512, &clip_gemm_avx512, false};
        if (__builtin_cpu_supports("avx512bf16"))
            choices[n++] = (struct choice){"bf16", &clip_kernels_avx512, &clip_gemm_bf16, false};
    }
#endif
    choices[n] = choices[n - 1];
    choices[n].name = "openblas";
    choices[n].openblas = true;
    return n + 1;
}

static void choose(void)
{
    struct choice choices[5];
    int n = list(choices);
    chosen = choices[n - 2];
    const char *wish = getenv("CLIP_KERNELS");
    if (wish == NULL || *wish == '\0') return;
    for (int i = 0; i < n; i++)
        if (strcmp(wish, choices[i].name) == 0) {
            chosen = choices[i];
            return;
        }
    fprintf(stderr,
            "clip: warning: CLIP_KERNELS=%s is not a kernel table of this processor; using %s\n",
            wish, chosen.name);
}

const struct clip_kernels *clip_kernels(void)
{
    pthread_once(&once, choose);
    return chosen.rows;
}

const struct clip_gemm_set *clip_gemm_set(void)
{
    pthread_once(&once, choose);
    return chosen.products;
}

bool clip_gemm_by_openblas(void)
{
    pthread_once(&once, choose);
    return chosen.openblas;
}
