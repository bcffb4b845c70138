/* Chooses the row kernels and the sets that make products: the best that the processor runs, or
 * those that CLIP_KERNELS names. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels/gemm_parts.h"
#include "kernels/gemm_sets.h"

extern const struct clip_kernels clip_kernels_ref, clip_kernels_avx2, clip_kernels_avx512;

/* What each word of CLIP_KERNELS stands for. */
struct choice {
    const char *name;
    const struct clip_kernels *rows;
    const struct clip_gemm_set *products, *pairs; /* of float32; of bfloat16, or NULL */
    clip_sgemm *openblas;                         /* what clip_gemm calls instead, or NULL */
};

enum { MAX_CHOICES = 6 };

static struct choice chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool untold; /* CLIP_KERNELS names no table, and nobody has been told so */
static char instead[200];  /* the sentence for whom it concerns; written when the table is chosen */

#ifdef __x86_64__
/* Does the processor have AMX tiles of bfloat16, and does Linux save them for this process? It does
 * so for all threads of a process that asks for it (Documentation/arch/x86/xstate.rst). */
static bool tiles_granted(void)
{
    enum { TILE = 1 << 24, BF16 = 1 << 22, ASK = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & TILE) && (d & BF16) &&
           syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
}

/* Adds what x86-64 has to the first n choices. Returns how many there are now. */
static int list_x86(struct choice choices[MAX_CHOICES], int n)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        choices[n++] = (struct choice){"avx2", &clip_kernels_avx2, &clip_gemm_avx2, NULL, NULL};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        struct choice choice = {"avx512", &clip_kernels_avx512, &clip_gemm_avx512, NULL, NULL};
        choices[n++] = choice;
        if (__builtin_cpu_supports("avx512bf16")) {
            choice.name = "bf16";
            choice.pairs = &clip_gemm_bf16;
            choices[n++] = choice;
        }
        if (tiles_granted()) {
            choice.name = "amx";
            choice.pairs = &clip_gemm_amx;
            choices[n++] = choice;
        }
    }
    return n;
}
#else
static int list_x86(struct choice choices[MAX_CHOICES], int n)
{
    (void)choices;
    return n;
}
#endif

/* Lists what this processor runs, the best last, and then OpenBLAS with the best row kernels.
 * Returns how many there are. */
static int list(struct choice choices[MAX_CHOICES])
{
    int n = 1;
    choices[0] = (struct choice){"ref", &clip_kernels_ref, &clip_gemm_ref, NULL, NULL};
    n = list_x86(choices, n);
    choices[n] = choices[n - 1];
    choices[n].name = "openblas";
    return n + 1;
}

const char *clip_kernels_name(int level)
{
    static const char *const names[] = {"ref", "avx2", "avx512", "bf16", "amx", "openblas"};
    return level >= 0 && level < MAX_CHOICES ? names[level] : NULL;
}

int clip_kernels_level(void)
{
    struct choice choices[MAX_CHOICES];
    int n = list(choices), level = 0;
    const char *wish = getenv("CLIP_KERNELS"), *name = choices[n - 2].name;
    for (int i = 0; wish != NULL && i < n; i++)
        if (strcmp(wish, choices[i].name) == 0) name = choices[i].name;
    while (strcmp(clip_kernels_name(level), name) != 0) level++;
    return level;
}

static void choose(void)
{
    struct choice choices[MAX_CHOICES];
    int n = list(choices);
    chosen = choices[n - 2];
    const char *wish = getenv("CLIP_KERNELS");
    if (wish == NULL || *wish == '\0') return;
    bool openblas = strcmp(wish, choices[n - 1].name) == 0;
    if (openblas) choices[n - 1].openblas = clip_gemm_open_openblas();
    for (int i = 0; i < n; i++)
        if (strcmp(wish, choices[i].name) == 0 && (!openblas || choices[i].openblas != NULL)) {
            chosen = choices[i];
            return;
        }
    snprintf(instead, sizeof instead,
             openblas ? "CLIP_KERNELS=%.20s: " CLIP_OPENBLAS
                        " cannot be opened (Debian has it as libopenblas0-openmp); using %s"
                      : "CLIP_KERNELS=%.20s is not a kernel table of this processor; using %s",
             wish, chosen.name);
    atomic_store(&untold, true);
}

const struct clip_kernels *clip_kernels(void)
{
    pthread_once(&once, choose);
    return chosen.rows;
}

const struct clip_gemm_set *clip_gemm_set(bool pairs)
{
    pthread_once(&once, choose);
    return pairs ? chosen.pairs : chosen.products;
}

const char *clip_kernels_instead(void)
{
    pthread_once(&once, choose);
    return atomic_exchange(&untold, false) ? instead : NULL;
}

clip_sgemm *clip_gemm_by_openblas(void)
{
    pthread_once(&once, choose);
    return chosen.openblas;
}
