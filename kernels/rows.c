/* The row kernels in plain C. This file is compiled once for each instruction set
 * (-DCLIP_INSTRUCTION_SET=ref|avx2|avx512, with -march to match).
 *
 * Loops are written so that gcc and clang vectorise them: without branches, with exponentials by
 * polynomial and reductions marked with `omp simd`. Sums over many rows are taken block by block,
 * so that rounding errors grow with the block and not with the batch. */
#include <math.h>
#include <string.h>

#include "kernels/bf16.h"
#include "kernels/functions.h"
#include "kernels/instruction_set.h"

enum { BLOCK_ROWS = 64, BLOCK_COLS = 64 };

static void add(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void accumulate(float *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

static void axpy(float *restrict y, float f, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += f * x[i];
}

static void scale(float *y, float f, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = f * x[i];
}

static float dot(const float *a, const float *b, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double sum_squares(const float *x, int64_t n)
{
    double total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += (double)x[i] * (double)x[i];
    return total;
}

static void column_sum(float *restrict sum, const void *restrict x, bool x_bf16, int64_t rows,
                       int64_t cols, int64_t stride)
{
    for (int64_t c0 = 0; c0 < cols; c0 += BLOCK_COLS) {
        int64_t width = cols - c0 < BLOCK_COLS ? cols - c0 : BLOCK_COLS;
        for (int64_t r0 = 0; r0 < rows; r0 += BLOCK_ROWS) {
            int64_t end = rows - r0 < BLOCK_ROWS ? rows : r0 + BLOCK_ROWS;
            float part[BLOCK_COLS] = {0};
            for (int64_t r = r0; r < end; r++) {
                const float *row = (const float *)x + r * stride + c0;
                const uint16_t *half = (const uint16_t *)x + r * stride + c0;
                if (x_bf16)
                    for (int64_t c = 0; c < width; c++) part[c] += clip_bf16_widen(half[c]);
                else
                    for (int64_t c = 0; c < width; c++) part[c] += row[c];
            }
            for (int64_t c = 0; c < width; c++) sum[c0 + c] += part[c];
        }
    }
}

static void layernorm(const struct clip_layernorm *l)
{
    const float *restrict w = l->w, *restrict b = l->b;
    int64_t width = l->width;
    float eps = l->eps;
    bool y_bf16 = l->y_bf16;
    for (int64_t r = 0; r < l->rows; r++) {
        const float *restrict xr = l->x + r * width, first = xr[0];
        float *restrict yr = (float *)l->y + r * width, sum = 0, squares = 0;
        uint16_t *restrict half = (uint16_t *)l->y + r * width;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < width; c++)
            sum += xr[c] - first; /* so that a common offset costs no digits */
        float mu = first + sum / (float)width;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < width; c++) squares += (xr[c] - mu) * (xr[c] - mu);
        float rs = 1.0f / sqrtf(squares / (float)width + eps);
        if (y_bf16)
            for (int64_t c = 0; c < width; c++)
                half[c] = clip_bf16_round((xr[c] - mu) * rs * w[c] + b[c]);
        else
            for (int64_t c = 0; c < width; c++) yr[c] = (xr[c] - mu) * rs * w[c] + b[c];
        l->mean[r] = mu;
        l->rstd[r] = rs;
    }
}

static void layernorm_dx(const struct clip_layernorm_gradients *l)
{
    const float *restrict w = l->w;
    int64_t width = l->cols;
    for (int64_t r = 0; r < l->rows; r++) {
        const float *restrict xr = l->x + r * l->stride, *restrict gr = l->dy + r * l->stride;
        float *restrict dr = l->dx + r * l->stride, mu = l->mean[r], rs = l->rstd[r];
        float g_sum = 0, gx_sum = 0;
#pragma omp simd reduction(+ : g_sum, gx_sum)
        for (int64_t c = 0; c < width; c++) {
            float g = gr[c] * w[c];
            g_sum += g;
            gx_sum += g * ((xr[c] - mu) * rs);
        }
        float g_mean = g_sum / (float)width, gx_mean = gx_sum / (float)width;
        for (int64_t c = 0; c < width; c++)
            dr[c] += rs * (gr[c] * w[c] - g_mean - (xr[c] - mu) * rs * gx_mean);
    }
}

static void layernorm_dw(const struct clip_layernorm_gradients *l)
{
    float *restrict dw = l->dw, *restrict db = l->db;
    const float *restrict dy = l->dy, *restrict x = l->x;
    int64_t rows = l->rows, cols = l->cols, stride = l->stride;
    for (int64_t c0 = 0; c0 < cols; c0 += BLOCK_COLS) {
        int64_t width = cols - c0 < BLOCK_COLS ? cols - c0 : BLOCK_COLS;
        for (int64_t r0 = 0; r0 < rows; r0 += BLOCK_ROWS) {
            int64_t end = rows - r0 < BLOCK_ROWS ? rows : r0 + BLOCK_ROWS;
            float w_part[BLOCK_COLS] = {0}, b_part[BLOCK_COLS] = {0};
            for (int64_t r = r0; r < end; r++) {
                const float *gr = dy + r * stride + c0, *xr = x + r * stride + c0;
                float mu = l->mean[r], rs = l->rstd[r];
                for (int64_t c = 0; c < width; c++) {
                    w_part[c] += gr[c] * ((xr[c] - mu) * rs);
                    b_part[c] += gr[c];
                }
            }
            for (int64_t c = 0; c < width; c++) {
                dw[c0 + c] += w_part[c];
                db[c0 + c] += b_part[c];
            }
        }
    }
}

static void gelu(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = activate(CLIP_GELU, x[i]);
}

static void gelu_backward(float *restrict dx, const float *restrict dy, const float *restrict x,
                          int64_t n)
{
    for (int64_t i = 0; i < n; i++) dx[i] += dy[i] * activation_slope(CLIP_GELU, x[i]);
}

static void quickgelu(float *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = activate(CLIP_QUICK_GELU, x[i]);
}

static void quickgelu_backward(float *restrict dx, const float *restrict dy,
                               const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) dx[i] += dy[i] * activation_slope(CLIP_QUICK_GELU, x[i]);
}

static void to_bf16(uint16_t *restrict y, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = clip_bf16_round(x[i]);
}

static void from_bf16(float *restrict y, const uint16_t *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = clip_bf16_widen(x[i]);
}

/* Each kind and storage has a loop of its own, in which both are constants. */
#define ACTIVATE(kind)                                                                             \
    if (bf16)                                                                                      \
        for (int64_t i = 0; i < n; i++)                                                            \
            half_y[i] = clip_bf16_round(activate(kind, clip_bf16_widen(half_x[i])));               \
    else                                                                                           \
        for (int64_t i = 0; i < n; i++) y[i] = activate(kind, x[i])

static void activate_row(void *to, const void *from, bool bf16, enum clip_activation kind,
                         int64_t n)
{
    float *restrict y = to;
    const float *restrict x = from;
    uint16_t *restrict half_y = to;
    const uint16_t *restrict half_x = from;
    if (kind == CLIP_GELU)
        ACTIVATE(CLIP_GELU);
    else if (kind == CLIP_QUICK_GELU)
        ACTIVATE(CLIP_QUICK_GELU);
    else
        ACTIVATE(CLIP_GELU_TANH);
}

static float max_of(const float *x, int64_t n)
{
    float m = -INFINITY;
#pragma omp simd reduction(max : m)
    for (int64_t i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
    return m;
}

static float softmax(float *x, int64_t n)
{
    float m = max_of(x, n), sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = exp_f32(x[i] - m);
        sum += x[i];
    }
    float inverse = 1.0f / sum;
    for (int64_t i = 0; i < n; i++) x[i] *= inverse;
    return m + logf(sum);
}

static double sum_exp(const float *x, float shift, int64_t n)
{
    double total = 0;
    for (int64_t i0 = 0; i0 < n; i0 += 1024) {
        int64_t end = n - i0 < 1024 ? n : i0 + 1024;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = i0; i < end; i++) sum += exp_f32(x[i] - shift);
        total += (double)sum;
    }
    return total;
}

static void exp_shift(float *y, const float *x, float shift, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = exp_f32(x[i] - shift);
}

static void softmax_backward(float *restrict dp, const float *restrict p, float delta, float factor,
                             int64_t n)
{
    for (int64_t i = 0; i < n; i++) dp[i] = p[i] * (dp[i] - delta) * factor;
}

static void column_logsumexp(float *restrict max, double *restrict sum, const float *restrict x,
                             int64_t rows, int64_t cols, int64_t stride)
{
    for (int64_t c0 = 0; c0 < cols; c0 += BLOCK_COLS) {
        int64_t width = cols - c0 < BLOCK_COLS ? cols - c0 : BLOCK_COLS;
        float top[BLOCK_COLS], part[BLOCK_COLS] = {0};
        for (int64_t c = 0; c < width; c++) top[c] = max[c0 + c];
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < width; c++) {
                float v = x[r * stride + c0 + c];
                top[c] = v > top[c] ? v : top[c];
            }
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < width; c++) part[c] += exp_f32(x[r * stride + c0 + c] - top[c]);
        for (int64_t c = 0; c < width; c++) {
            double old = sum[c0 + c] > 0 ? sum[c0 + c] * (double)exp_f32(max[c0 + c] - top[c]) : 0;
            sum[c0 + c] = old + (double)part[c];
            max[c0 + c] = top[c];
        }
    }
}

static double infonce_row(float *restrict s, const struct clip_infonce_row *row)
{
    const float *restrict column_max = row->column_max;
    const float *restrict column_log_sum = row->column_log_sum;
    float sum = 0, rest = 0, max = row->max, log_sum = row->log_sum, f = row->f;
    int64_t paired = row->paired, n = row->n;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < paired; j++) {
        float old = s[j];
        float of_column = exp_f32(old - column_max[j] - column_log_sum[j]);
        s[j] = (exp_f32(old - max - log_sum) + of_column) * f;
        sum += s[j] * old;
    }
#pragma omp simd reduction(+ : rest)
    for (int64_t j = paired; j < n; j++) {
        float old = s[j];
        s[j] = exp_f32(old - max - log_sum) * f;
        rest += s[j] * old;
    }
    return (double)sum + (double)rest;
}

/* A row of a loss is summed in float32 over blocks of this many elements, which loses nothing that
 * matters even if the compiler adds them one after the other, and the blocks are summed in
 * double. */
enum { LOSS_BLOCK = 64 };

static double sum_softplus(const float *x, float bias, int64_t n)
{
    double total = 0;
    for (int64_t i0 = 0; i0 < n; i0 += LOSS_BLOCK) {
        int64_t end = n - i0 < LOSS_BLOCK ? n : i0 + LOSS_BLOCK;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = i0; i < end; i++) {
            float u = x[i] + bias;
            sum += (u > 0 ? u : 0) + log1p_f32(exp_f32(-fabsf(u)));
        }
        total += (double)sum;
    }
    return total;
}

static void sigmoid_row(float *restrict s, float bias, float f, double sums[2], int64_t n)
{
    sums[0] = sums[1] = 0;
    for (int64_t i0 = 0; i0 < n; i0 += LOSS_BLOCK) {
        int64_t end = n - i0 < LOSS_BLOCK ? n : i0 + LOSS_BLOCK;
        float scaled = 0, plain = 0;
#pragma omp simd reduction(+ : scaled, plain)
        for (int64_t i = i0; i < end; i++) {
            float old = s[i];
            s[i] = f * logistic(old + bias);
            scaled += s[i] * old;
            plain += s[i];
        }
        sums[0] += (double)scaled;
        sums[1] += (double)plain;
    }
}

struct adamw_rule { /* the step's numbers as the loop uses them */
    float keep, size, b1, b2, a1, a2, root, eps, f;
};

static inline float adamw_element(float p, float *m, float *v, float g, const struct adamw_rule *r)
{
    float d = g * r->f;
    *m = r->b1 * *m + r->a1 * d;
    *v = r->b2 * *v + r->a2 * d * d;
    return p * r->keep - r->size * *m / (sqrtf(*v) * r->root + r->eps);
}

/* 32 well-mixed bits of a number (two multiplications between three shifts, Wellons 2018). */
static inline uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Rounds up with a probability that is the part cut off: adds 16 random bits below the last digit
 * and cuts them off. */
static inline uint16_t round_at_random(float value, uint32_t bits)
{
    uint32_t all;
    memcpy(&all, &value, sizeof all);
    return (uint16_t)((all + (bits & 0xffffu)) >> 16);
}

static void adamw(const struct clip_adamw_arrays *arrays, int64_t begin, int64_t n,
                  const struct clip_adamw_step *step)
{
    const struct adamw_rule r = {
        .keep = 1.0f - step->lr * step->decay,
        .size = step->lr / step->correction1,
        .b1 = step->beta1,
        .b2 = step->beta2,
        .a1 = 1.0f - step->beta1,
        .a2 = 1.0f - step->beta2,
        .root = 1.0f / step->sqrt_correction2,
        .eps = step->eps,
        .f = step->grad_scale,
    };
    float *restrict p = arrays->p + begin;
    const float *restrict g = arrays->g + begin;
    float *restrict wide_m = (float *)arrays->m + begin;
    float *restrict wide_v = (float *)arrays->v + begin;
    uint16_t *restrict half_m = (uint16_t *)arrays->m + begin;
    uint16_t *restrict half_v = (uint16_t *)arrays->v + begin;
    if (!arrays->bf16) {
        for (int64_t i = 0; i < n; i++)
            p[i] = adamw_element(p[i], &wide_m[i], &wide_v[i], g[i], &r);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float mi = clip_bf16_widen(half_m[i]), vi = clip_bf16_widen(half_v[i]);
        uint32_t bits = mix((uint32_t)(begin + i) * 0x9e3779b9u ^ step->draw);
        p[i] = adamw_element(p[i], &mi, &vi, g[i], &r);
        half_m[i] = round_at_random(mi, bits);
        half_v[i] = round_at_random(vi, bits >> 16);
    }
}

static void ema(float *restrict average, const float *restrict p, float decay, int64_t n)
{
    for (int64_t i = 0; i < n; i++) average[i] = decay * average[i] + (1.0f - decay) * p[i];
}

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32 };
#else
enum { VECTOR_BYTES = 16 };
#endif
typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

/* Twelve independent chains hide the latency of a multiply-add on every processor that does two of
 * them at once. */
static double multiply_adds(int64_t rounds, float *out)
{
    enum { CHAINS = 12 };
    /* The compiler must not know what comes out of a chain, or it would leave the chain out. */
    volatile float factor = 0.999999f, term = 1e-6f;
    vector a = (vector){0} + factor, b = (vector){0} + term, total = {0};
    vector c0 = a, c1 = a * 2, c2 = a * 3, c3 = a * 4, c4 = a * 5,
           c5 = a * 6; /* all different, or one chain would do for all */
    vector c6 = a * 7, c7 = a * 8, c8 = a * 9, c9 = a * 10, c10 = a * 11, c11 = a * 12;
    for (int64_t i = 0; i < rounds; i++) {
        c0 = c0 * a + b, c1 = c1 * a + b, c2 = c2 * a + b, c3 = c3 * a + b;
        c4 = c4 * a + b, c5 = c5 * a + b, c6 = c6 * a + b, c7 = c7 * a + b;
        c8 = c8 * a + b, c9 = c9 * a + b, c10 = c10 * a + b, c11 = c11 * a + b;
    }
    total = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
    *out = total[0] + total[1];
    return (double)rounds * CHAINS * 2 * (VECTOR_BYTES / (int)sizeof(float));
}

static double sum_all(const float *x, int64_t n)
{
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; i++) total += x[i];
    return (double)total;
}

/* Scores of rows against one query. Memory limits the speed: rows are read one after the other in
 * one stream, the bytes that follow are prefetched, and each row has four sums that do not wait for
 * each other. */
enum { LANES = VECTOR_BYTES / (int)sizeof(float), PREFETCH_BYTES = 4096 };
typedef int32_t words __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2)));

static inline vector load_f32(const float *x)
{
    vector v;
    memcpy(&v, x, sizeof v);
    return v;
}

static inline vector load_bf16(const uint16_t *x)
{
    halves v;
    memcpy(&v, x, sizeof v);
    return (vector)(__builtin_convertvector(v, words) << 16);
}

static inline float add_lanes(vector v)
{
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

static inline float widen_f32(float x) { return x; }

static inline float widen_bf16(uint16_t x) { return clip_bf16_widen(x); }

#define SCORES(kind, type)                                                                         \
    static void scores_##kind(float *restrict out, const type *x, const float *restrict q,         \
                              int64_t rows, int64_t width)                                         \
    {                                                                                              \
        for (int64_t r = 0; r < rows; r++, x += width) {                                           \
            vector a = {0}, b = {0}, c = {0}, d = {0};                                             \
            int64_t i = 0;                                                                         \
            for (; i + 4 * LANES <= width; i += 4 * LANES) {                                       \
                for (int64_t p = 0; p < 4 * LANES * (int64_t)sizeof(type); p += 64)                \
                    __builtin_prefetch((const char *)(x + i) + PREFETCH_BYTES + p);                \
                a += load_##kind(x + i) * load_f32(q + i);                                         \
                b += load_##kind(x + i + LANES) * load_f32(q + i + LANES);                         \
                c += load_##kind(x + i + 2 * LANES) * load_f32(q + i + 2 * LANES);                 \
                d += load_##kind(x + i + 3 * LANES) * load_f32(q + i + 3 * LANES);                 \
            }                                                                                      \
            float sum = add_lanes((a + b) + (c + d));                                              \
            for (; i < width; i++) sum += widen_##kind(x[i]) * q[i];                               \
            out[r] = sum;                                                                          \
        }                                                                                          \
    }

SCORES(f32, float)
SCORES(bf16, uint16_t)

/* Everything is an integer, so the sum is exact in any order. */
static void scores_int8(float *restrict out, const int8_t *x, const int16_t *restrict q,
                        int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++, x += width) {
        int32_t sum = 0;
        for (int64_t p = 0; p < width; p += 64) __builtin_prefetch(x + PREFETCH_BYTES + p);
        for (int64_t i = 0; i < width; i++) sum += (int16_t)x[i] * q[i];
        out[r] = (float)sum;
    }
}

const struct clip_kernels PASTE(clip_kernels_, CLIP_INSTRUCTION_SET);
const struct clip_kernels PASTE(clip_kernels_, CLIP_INSTRUCTION_SET) = {
    .name = STRING(CLIP_INSTRUCTION_SET),
    .add = add,
    .accumulate = accumulate,
    .axpy = axpy,
    .scale = scale,
    .dot = dot,
    .sum_squares = sum_squares,
    .column_sum = column_sum,
    .layernorm = layernorm,
    .layernorm_dx = layernorm_dx,
    .layernorm_dw = layernorm_dw,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
    .quickgelu = quickgelu,
    .quickgelu_backward = quickgelu_backward,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .finish_row = PASTE(clip_finish_row_, CLIP_INSTRUCTION_SET),
    .activate = activate_row,
    .softmax = softmax,
    .max = max_of,
    .sum_exp = sum_exp,
    .exp_shift = exp_shift,
    .softmax_backward = softmax_backward,
    .column_logsumexp = column_logsumexp,
    .infonce_row = infonce_row,
    .sum_softplus = sum_softplus,
    .sigmoid_row = sigmoid_row,
    .adamw = adamw,
    .ema = ema,
    .weigh_bytes = PASTE(clip_weigh_bytes_, CLIP_INSTRUCTION_SET),
    .turn_bytes = PASTE(clip_turn_bytes_, CLIP_INSTRUCTION_SET),
    .multiply_adds = multiply_adds,
    .sum = sum_all,
    .scores = scores_f32,
    .scores_bf16 = scores_bf16,
    .scores_int8 = scores_int8,
};
