/* The inner loops: one table of functions, one table an instruction set.
 *
 * rows.c holds plain C that compilers vectorise; it is compiled once for each instruction set and
 * gives the tables "ref", "avx2" and "avx512". The best one the processor runs is chosen at the
 * first call; CLIP_KERNELS=ref|avx2|avx512|bf16|openblas in the environment overrides. Matrix
 * multiplication has a header of its own, kernels/gemm.h.
 *
 * All loops here are serial; callers cut the work by size (core/threads.h). Widths are row lengths
 * in floats. Matrices are row-major. "+=" means that the result is added to what is there. */
#ifndef CLIP_KERNELS_KERNELS_H
#define CLIP_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

enum clip_activation { CLIP_NO_ACTIVATION, CLIP_GELU, CLIP_QUICK_GELU, CLIP_GELU_TANH };

struct clip_gemm; /* kernels/gemm.h */

struct clip_adamw_step { /* the numbers of one AdamW update (Loshchilov & Hutter 2019, algorithm 2;
                            as torch.optim.AdamW) */
    float lr, beta1, beta2, eps;
    float decay;            /* p is first multiplied by 1 - lr * decay */
    float correction1;      /* 1 - beta1^t */
    float sqrt_correction2; /* sqrt(1 - beta2^t) */
    float grad_scale;       /* gradients are multiplied by it: global-norm clipping */
    uint32_t draw;          /* of this step: bfloat16 moments are rounded at random */
};

struct clip_kernels {
    const char *name;

    /* y = a + b;  y += x;  y += f x;  y = f x.  n floats */
    void (*add)(float *y, const float *a, const float *b, int64_t n);
    void (*accumulate)(float *y, const float *x, int64_t n);
    void (*axpy)(float *y, float f, const float *x, int64_t n);
    void (*scale)(float *y, float f, const float *x, int64_t n);
    float (*dot)(const float *a, const float *b, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    /* sum[c] += sum over r of x[r * stride + c].  rows x cols; x is float32, or bfloat16 */
    void (*column_sum)(float *sum, const void *x, bool x_bf16, int64_t rows, int64_t cols,
                       int64_t stride);

    /* y = (x - mean) rstd w + b for each of `rows` rows; keeps mean and rstd = 1/sqrt(var + eps)
     * [rows]. y is float32, or bfloat16. */
    void (*layernorm)(void *y, bool y_bf16, float *mean, float *rstd, const float *x,
                      const float *w, const float *b, int64_t rows, int64_t width, float eps);
    /* dx += rstd (g - mean(g) - xhat mean(g xhat)), g = dy w, xhat = (x - mean) rstd */
    void (*layernorm_dx)(float *dx, const float *dy, const float *x, const float *w,
                         const float *mean, const float *rstd, int64_t rows, int64_t width);
    /* dw[c] += sum dy xhat, db[c] += sum dy over the rows, for `cols` columns of rows of `stride`
     * floats */
    void (*layernorm_dw)(float *dw, float *db, const float *dy, const float *x, const float *mean,
                         const float *rstd, int64_t rows, int64_t cols, int64_t stride);

    /* Values are within 2e-7 max(1, |x|), slopes within 1e-6 (tests/test_functions.c). */
    void (*gelu)(float *y, const float *x, int64_t n); /* y = x Phi(x) */
    void (*gelu_backward)(float *dx, const float *dy, const float *x,
                          int64_t n);                       /* dx += dy (Phi(x) + x phi(x)) */
    void (*quickgelu)(float *y, const float *x, int64_t n); /* y = x sigmoid(1.702 x) */
    void (*quickgelu_backward)(float *dx, const float *dy, const float *x, int64_t n);

    void (*gelu_tanh)(float *y, const float *x, int64_t n);
    void (*gelu_tanh_backward)(float *dx, const float *dy, const float *x, int64_t n);

    /* y = activation(x), both float32 or both bfloat16.  n elements */
    void (*activate)(void *y, const void *x, bool bf16, enum clip_activation kind, int64_t n);

    /* float32 to bfloat16, to nearest, ties to even; and back */
    void (*to_bf16)(uint16_t *y, const float *x, int64_t n);
    void (*from_bf16)(float *y, const uint16_t *x, int64_t n);

    /* What follows a product's sums (kernels/gemm.h), for elements [column, column + n) of one
     * row. `sums` may be where the row is stored. */
    void (*finish_row)(const struct clip_gemm *g, int64_t row, int64_t column, const float *sums,
                       int64_t n);

    /* Softmax of x[0..n), in place; returns the log of the sum of exponentials (max included). */
    float (*softmax)(float *x, int64_t n);
    float (*max)(const float *x, int64_t n);
    double (*sum_exp)(const float *x, float shift, int64_t n);           /* sum of exp(x - shift) */
    void (*exp_shift)(float *y, const float *x, float shift, int64_t n); /* y = exp(x - shift) */
    /* ds = p (dp - delta) scale, n floats, into dp (attention's backward, one row) */
    void (*softmax_backward)(float *dp, const float *p, float delta, float scale, int64_t n);

    /* Column statistics of a block of logits, columns [0, cols) of rows of `stride` floats:
     * max[c], sum[c] are a running maximum and the sum of exp(x - max) so far (start from
     * -INFINITY, 0). */
    void (*column_logsumexp)(float *max, double *sum, const float *x, int64_t rows, int64_t cols,
                             int64_t stride);
    /* One row of the symmetric cross-entropy's gradient, in place: s[j] = (softmax of the row +
     * softmax of column j) f, without the column's past `paired`. A softmax is exp((s - max) -
     * log_sum), log_sum the log of the sum of exp(s - max): log-sum-exps of size 100 would cost two
     * decimals. Returns the sum of new s times old s. */
    double (*infonce_row)(float *s, float max, float log_sum, const float *column_max,
                          const float *column_log_sum, float f, int64_t paired, int64_t n);
    /* sum of log(1 + exp(x + bias)) */
    double (*sum_softplus)(const float *x, float bias, int64_t n);
    /* s = f sigmoid(s + bias) in place; sums[0] = sum of new s times old s, sums[1] = sum of s */
    void (*sigmoid_row)(float *s, float bias, float f, double sums[2], int64_t n);

    /* Elements [begin, begin + n) of the arrays. With bf16, the moments m and v are bfloat16: they
     * are computed in float32, used, and stored rounded up or down at random, with the chance that
     * makes the mean right (stochastic rounding); the draw is a function of step->draw and the
     * element's number. To nearest, what adds less than half a last digit would be lost for ever.
     */
    void (*adamw)(float *p, void *m, void *v, bool bf16, const float *g, int64_t begin, int64_t n,
                  const struct clip_adamw_step *step);
    void (*ema)(float *average, const float *p, float decay,
                int64_t n); /* average = decay average + (1 - decay) p */

    /* Images. dst[i] = the sum over t < taps of k[t] src[t step + i], k in units of 2^-22,
     * rounded and cut off to 0..255; n bytes, whole numbers throughout. The k of a row add up to
     * at most 1.25 by size, so that no sum leaves 32 bits. */
    void (*weigh_bytes)(uint8_t *dst, const uint8_t *src, int64_t step, const int32_t *k,
                        int64_t taps, int64_t n);
    /* dst[c dst_step + r] = src[r src_step + c], rows x columns bytes */
    void (*turn_bytes)(uint8_t *dst, int64_t dst_step, const uint8_t *src, int64_t src_step,
                       int64_t rows, int64_t columns);

    /* see clip_multiply_adds */
    double (*multiply_adds)(int64_t rounds, float *out);
    double (*sum)(const float *x, int64_t n); /* reads n floats once */

    /* out[r] = x[r] . q for rows [rows,width] of floats, of bfloat16 or of int8 (search: one query
     * against an index). A row's sum does not depend on where it stands. int8 rows are asked with
     * a query of whole numbers, so small that 128 max|q| width < 2^31. */
    void (*scores)(float *out, const float *x, const float *q, int64_t rows, int64_t width);
    void (*scores_bf16)(float *out, const uint16_t *x, const float *q, int64_t rows, int64_t width);
    void (*scores_int8)(float *out, const int8_t *x, const int16_t *q, int64_t rows, int64_t width);
};

/* The table in use; set once, at the first call. */
const struct clip_kernels *clip_kernels(void);

#endif
