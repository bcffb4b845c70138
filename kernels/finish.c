/* The steps between a row's sums of a product and its storing, which kernels/gemm.h lists. This
 * file is compiled once for each instruction set (-DCLIP_INSTRUCTION_SET). */
#include "kernels/bf16.h"
#include "kernels/functions.h"
#include "kernels/gemm.h"
#include "kernels/instruction_set.h"

enum { PIECE = 256 }; /* floats that are finished at a time, on the stack */

/* Where element (r, c) is stored; NULL if there is no matrix. */
static void *place(const struct clip_matrix *x, int64_t r, int64_t c)
{
    int64_t at = r * x->ld + c;
    if (x->data == NULL) return NULL;
    return x->bf16 ? (void *)((uint16_t *)x->data + at) : (void *)((float *)x->data + at);
}

static void load(float *restrict v, const struct clip_matrix *x, int64_t r, int64_t c, int64_t n)
{
    const void *from = place(x, r, c);
    if (x->bf16)
        for (int64_t i = 0; i < n; i++) v[i] = clip_bf16_widen(((const uint16_t *)from)[i]);
    else
        memcpy(v, from, (size_t)n * sizeof *v);
}

static void store(const struct clip_matrix *x, int64_t r, int64_t c, const float *restrict v,
                  int64_t n)
{
    void *to = place(x, r, c);
    if (x->bf16)
        for (int64_t i = 0; i < n; i++) ((uint16_t *)to)[i] = clip_bf16_round(v[i]);
    else
        memcpy(to, v, (size_t)n * sizeof *v);
}

/* Each kind has a loop of its own, in which it is a constant. */
static void activate_all(enum clip_activation kind, float *v, int64_t n)
{
    if (kind == CLIP_GELU)
        for (int64_t i = 0; i < n; i++) v[i] = activate(CLIP_GELU, v[i]);
    else if (kind == CLIP_QUICK_GELU)
        for (int64_t i = 0; i < n; i++) v[i] = activate(CLIP_QUICK_GELU, v[i]);
    else if (kind == CLIP_GELU_TANH)
        for (int64_t i = 0; i < n; i++) v[i] = activate(CLIP_GELU_TANH, v[i]);
}

static void times_slope(enum clip_activation kind, float *restrict v, const float *restrict x,
                        int64_t n)
{
    if (kind == CLIP_GELU)
        for (int64_t i = 0; i < n; i++) v[i] *= activation_slope(CLIP_GELU, x[i]);
    else if (kind == CLIP_QUICK_GELU)
        for (int64_t i = 0; i < n; i++) v[i] *= activation_slope(CLIP_QUICK_GELU, x[i]);
    else if (kind == CLIP_GELU_TANH)
        for (int64_t i = 0; i < n; i++) v[i] *= activation_slope(CLIP_GELU_TANH, x[i]);
}

static void finish_piece(const struct clip_gemm *g, int64_t r, int64_t c, const float *sums,
                         int64_t n)
{
    float v[PIECE], other[PIECE];
    if (g->bias != NULL)
        for (int64_t i = 0; i < n; i++) v[i] = sums[i] + g->bias[c + i];
    else
        memcpy(v, sums, (size_t)n * sizeof *v);
    if (g->pre_activation.data != NULL) store(&g->pre_activation, r, c, v, n);
    if (g->derivative_at.data == NULL) activate_all(g->activation, v, n);
    if (g->residual.data != NULL) {
        load(other, &g->residual, r, c, n);
        for (int64_t i = 0; i < n; i++) v[i] += other[i];
    }
    if (g->derivative_at.data != NULL) {
        load(other, &g->derivative_at, r, c, n);
        times_slope(g->activation, v, other, n);
    }
    store(&g->c, r, c, v, n);
}

void PASTE(clip_finish_row_, CLIP_INSTRUCTION_SET)(const struct clip_gemm *g, int64_t r, int64_t c,
                                                   const float *sums, int64_t n)
{
    for (int64_t i = 0; i < n; i += PIECE)
        finish_piece(g, r, c + i, sums + i, n - i < PIECE ? n - i : PIECE);
}
