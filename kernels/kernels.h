/* The inner loops: a table of functions, of which there is one for each instruction set.
 *
 * rows.c holds plain C that compilers vectorise; it is compiled once for each instruction set and
 * gives the tables "ref", "avx2" and "avx512". At the first call the best table that the processor
 * runs is chosen, or the one that the environment names: CLIP_KERNELS=ref|avx2|avx512, or bf16, amx
 * or openblas, which choose how products are made. Matrix multiplication has a header of its own,
 * kernels/gemm.h.
 *
 * All loops here are serial; callers cut the work into pieces by its size (core/threads.h). A width
 * is the length of a row in floats. Matrices are row-major. "+=" adds the result to what is
 * there. */
#ifndef CLIP_KERNELS_KERNELS_H
#define CLIP_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

enum clip_activation { CLIP_NO_ACTIVATION, CLIP_GELU, CLIP_QUICK_GELU, CLIP_GELU_TANH };

struct clip_gemm; /* kernels/gemm.h */

/* The numbers of one AdamW update (Loshchilov & Hutter 2019, algorithm 2, as in
 * torch.optim.AdamW). */
struct clip_adamw_step {
    float lr, beta1, beta2, eps;
    float decay;            /* p is first multiplied by 1 - lr * decay */
    float correction1;      /* 1 - beta1^t */
    float sqrt_correction2; /* sqrt(1 - beta2^t) */
    float grad_scale;       /* gradients are first multiplied by it: clipping of the global norm */
    uint32_t draw;          /* this step's random number, for rounding bfloat16 moments */
};

/* What one AdamW update reads and writes. With bf16, the moments are bfloat16. */
struct clip_adamw_arrays {
    float *p;
    void *m, *v;
    bool bf16;
    const float *g;
};

/* y = (x - mean) rstd w + b for each of `rows` rows; keeps mean and rstd = 1/sqrt(var + eps)
 * [rows]. y is float32, or bfloat16. */
struct clip_layernorm {
    void *y;
    bool y_bf16;
    float *mean, *rstd;
    const float *x, *w, *b;
    int64_t rows, width;
    float eps;
};
/* Its gradients, of which layernorm_dx and layernorm_dw each compute some. */
struct clip_layernorm_gradients {
    float *dx, *dw, *db;
    const float *dy, *x, *w, *mean, *rstd;
    int64_t rows, cols;
    int64_t stride; /* floats from row to row of dx, dy and x */
};

/* The statistics of one row of logits and of its columns: a softmax is exp((s - max) - log_sum),
 * where log_sum is the log of the sum of exp(s - max); a log-sum-exp of size 100 in one number
 * would cost two decimals. */
struct clip_infonce_row {
    float max, log_sum;
    const float *column_max, *column_log_sum; /* [paired] */
    float f;
    int64_t paired, n;
};

struct clip_kernels {
    const char *name;

    /* y = a + b;  y += x;  y += f x;  y = f x.  n floats */
    void (*add)(float *y, const float *a, const float *b, int64_t n);
    void (*accumulate)(float *y, const float *x, int64_t n);
    void (*axpy)(float *y, float f, const float *x, int64_t n);
    void (*scale)(float *y, float f, const float *x, int64_t n);
    float (*dot)(const float *a, const float *b, int64_t n); /* sum of a b, in float */
    double (*sum_squares)(const float *x, int64_t n);        /* sum of x x, in double */
    /* sum[c] += sum over r of x[r * stride + c].  rows x cols; x is float32, or bfloat16 */
    void (*column_sum)(float *sum, const void *x, bool x_bf16, int64_t rows, int64_t cols,
                       int64_t stride);

    void (*layernorm)(const struct clip_layernorm *l);
    /* dx += rstd (g - mean(g) - xhat mean(g xhat)), g = dy w, xhat = (x - mean) rstd; whole rows */
    void (*layernorm_dx)(const struct clip_layernorm_gradients *l);
    /* dw[c] += sum dy xhat, db[c] += sum dy over the rows, for `cols` columns */
    void (*layernorm_dw)(const struct clip_layernorm_gradients *l);

    /* Values have an error below 2e-7 max(1, |x|), slopes below 1e-6 (tests/test_functions.c). */
    void (*gelu)(float *y, const float *x, int64_t n); /* y = x Phi(x) */
    void (*gelu_backward)(float *dx, const float *dy, const float *x,
                          int64_t n);                       /* dx += dy (Phi(x) + x phi(x)) */
    void (*quickgelu)(float *y, const float *x, int64_t n); /* y = x sigmoid(1.702 x) */
    void (*quickgelu_backward)(float *dx, const float *dy, const float *x, int64_t n);

    /* y = activation(x), both float32 or both bfloat16.  n elements */
    void (*activate)(void *y, const void *x, bool bf16, enum clip_activation kind, int64_t n);

    /* Rounds float32 to bfloat16 (to nearest, ties to even), and widens it again. n elements */
    void (*to_bf16)(uint16_t *y, const float *x, int64_t n);
    void (*from_bf16)(float *y, const uint16_t *x, int64_t n);

    /* Does the steps that follow a product's sums (kernels/gemm.h) for elements [column, column +
     * n) of one row, and stores them. `sums` may be the place where the row is stored. */
    void (*finish_row)(const struct clip_gemm *g, int64_t row, int64_t column, const float *sums,
                       int64_t n);

    /* Softmax of x[0..n), in place. Returns log(sum of exp(x)). */
    float (*softmax)(float *x, int64_t n);
    float (*max)(const float *x, int64_t n);                   /* the largest; -INFINITY: none */
    double (*sum_exp)(const float *x, float shift, int64_t n); /* sum of exp(x - shift) */
    void (*exp_shift)(float *y, const float *x, float shift, int64_t n); /* y = exp(x - shift) */
    /* One row of attention's backward, in place: dp becomes ds = p (dp - delta) scale. n floats */
    void (*softmax_backward)(float *dp, const float *p, float delta, float scale, int64_t n);

    /* Adds a block of logits to the statistics of its columns [0, cols); rows are `stride` floats
     * apart. max[c] is the maximum so far and sum[c] the sum of exp(x - max[c]) so far; they start
     * from -INFINITY and 0. */
    void (*column_logsumexp)(float *max, double *sum, const float *x, int64_t rows, int64_t cols,
                             int64_t stride);
    /* One row of the symmetric cross-entropy's gradient, in place:
     *     s[j] = (softmax of the row + softmax of column j) f     for j < paired
     *     s[j] = softmax of the row f                             for the others
     * Returns the sum of each new s times the old one. */
    double (*infonce_row)(float *s, const struct clip_infonce_row *row);
    /* sum of log(1 + exp(x + bias)) */
    double (*sum_softplus)(const float *x, float bias, int64_t n);
    /* s = f sigmoid(s + bias), in place. sums[0] is the sum of each new s times the old one,
     * sums[1] the sum of the new ones. */
    void (*sigmoid_row)(float *s, float bias, float f, double sums[2], int64_t n);

    /* AdamW for elements [begin, begin + n) of the arrays. With bf16, the moments m and v are
     * bfloat16: they are computed in float32, used, and stored rounded up or down at random, with
     * the probability that keeps the mean right (stochastic rounding). The random number is a
     * function of step->draw and the element's number. Rounding to nearest would lose for ever
     * what is less than half a last digit. */
    void (*adamw)(const struct clip_adamw_arrays *arrays, int64_t begin, int64_t n,
                  const struct clip_adamw_step *step);
    void (*ema)(float *average, const float *p, float decay,
                int64_t n); /* average = decay average + (1 - decay) p */

    /* Images. dst[i] = the sum over t < taps of k[t] src[t step + i], rounded and limited to
     * 0..255; n bytes. k is in units of 2^-22, and everything is an integer. The absolute values
     * of k must add up to at most 1.25, so that no sum leaves 32 bits. */
    void (*weigh_bytes)(uint8_t *dst, const uint8_t *src, int64_t step, const int32_t *k,
                        int64_t taps, int64_t n);
    /* dst[c dst_step + r] = src[r src_step + c], rows x columns bytes */
    void (*turn_bytes)(uint8_t *dst, int64_t dst_step, const uint8_t *src, int64_t src_step,
                       int64_t rows, int64_t columns);

    /* For measuring the machine: clip_multiply_adds, and a sum that reads n floats once. */
    double (*multiply_adds)(int64_t rounds, float *out);
    double (*sum)(const float *x, int64_t n);

    /* Search: one query against an index. out[r] = x[r] . q for rows [rows,width] of float32,
     * bfloat16 or int8. A row's sum does not depend on the row's place. For int8 rows the query
     * holds integers that are so small that 128 max|q| width < 2^31. */
    void (*scores)(float *out, const float *x, const float *q, int64_t rows, int64_t width);
    void (*scores_bf16)(float *out, const uint16_t *x, const float *q, int64_t rows, int64_t width);
    void (*scores_int8)(float *out, const int8_t *x, const int16_t *q, int64_t rows, int64_t width);
};

/* The table in use; it is set once, at the first call. */
const struct clip_kernels *clip_kernels(void);
/* The tables in order, the least first and openblas last: the number of the one in use, or that
 * will be at the first call; and a number's name, or NULL. */
int clip_kernels_level(void);
const char *clip_kernels_name(int level);
/* A sentence that says which table is used as CLIP_KERNELS names none that can be: once, for the
 * one who warns of it; else, and from then on, NULL. It is kept for as long as the program runs. */
const char *clip_kernels_instead(void);

#endif
