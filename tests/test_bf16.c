/* bfloat16 against float32, by a bound that is computed and not chosen: every product's operands
 * are off by at most U = 2^-8 of themselves (8 significant bits, to nearest), every value stored as
 * bfloat16 by as much again, and sums in float32 by n 2^-24 of the sum of sizes. Errors are carried
 * through the formulas in double precision; the results must lie within. That the bound means
 * something is checked too: it is small beside the values, and float32 (U = 0) passes a bound some
 * thousand times smaller. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "kernels/bf16.h"
#include "tests/gradcheck.h"
#include "tests/training_run.h"

/* A matrix of exact values and how far off a computed one may be. */
struct bounded {
    int64_t rows, cols;
    double *value, *error;
};

enum { MOST = 64 };
struct work { /* what one check allocates */
    void *memory[MOST];
    int count;
    double u; /* 0 for float32 */
    struct clip_tape *tape;
};

static struct bounded matrix(struct work *w, int64_t rows, int64_t cols)
{
    struct bounded m = {rows, cols, calloc((size_t)(rows * cols), sizeof(double)),
                        calloc((size_t)(rows * cols), sizeof(double))};
    assert_non_null(m.value);
    assert_non_null(m.error);
    assert_true(w->count + 2 <= MOST);
    w->memory[w->count++] = m.value;
    w->memory[w->count++] = m.error;
    return m;
}

static struct bounded exact(struct work *w, const float *x, int64_t rows, int64_t cols)
{
    struct bounded m = matrix(w, rows, cols);
    for (int64_t i = 0; i < rows * cols; i++) m.value[i] = (double)x[i];
    return m;
}

/* op(a) op(b), both rounded to bfloat16 when they are packed. */
static struct bounded product(struct work *w, struct bounded a, bool ta, struct bounded b, bool tb)
{
    int64_t m = ta ? a.cols : a.rows, k = ta ? a.rows : a.cols, n = tb ? b.rows : b.cols;
    struct bounded c = matrix(w, m, n);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, exactly = 0, wide = 0;
            for (int64_t l = 0; l < k; l++) {
                int64_t p = ta ? l * a.cols + i : i * a.cols + l;
                int64_t q = tb ? j * b.cols + l : l * b.cols + j;
                double x = fabs(a.value[p]), y = fabs(b.value[q]);
                sum += a.value[p] * b.value[q];
                exactly += x * y;
                wide += (x + a.error[p]) * (1 + w->u) * (y + b.error[q]) * (1 + w->u);
            }
            c.value[i * n + j] = sum;
            c.error[i * n + j] = wide - exactly + (double)(k + 2) * 0x1p-24 * wide;
        }
    return c;
}

/* m = m + row + other, in float32; either may be NULL. */
static void add(struct bounded m, const struct bounded *row, const struct bounded *other)
{
    for (int64_t i = 0; i < m.rows * m.cols; i++) {
        const struct bounded *terms[] = {row, other};
        for (int k = 0; k < 2; k++) {
            if (terms[k] == NULL) continue;
            int64_t at = k == 0 ? i % m.cols : i;
            m.value[i] += terms[k]->value[at];
            m.error[i] += terms[k]->error[at] + 0x1p-23 * fabs(m.value[i]);
        }
    }
}

/* Stored as bfloat16 where U is not 0. */
static void store(const struct work *w, struct bounded m)
{
    for (int64_t i = 0; i < m.rows * m.cols; i++)
        m.error[i] += w->u * (fabs(m.value[i]) + m.error[i]);
}

static struct bounded column_sums(struct work *w, struct bounded m)
{
    struct bounded sums = matrix(w, 1, m.cols);
    for (int64_t i = 0; i < m.rows * m.cols; i++) {
        sums.value[i % m.cols] += m.value[i];
        sums.error[i % m.cols] += m.error[i] +
                                  (double)m.rows * 0x1p-24 * (fabs(m.value[i]) + m.error[i]);
    }
    return sums;
}

/* GELU: |gelu'| <= 1.13 and |gelu''| <= 0.8; the kernel is within 1e-6. */
static double cdf(double x) { return 0.5 * erfc(-x * sqrt(0.5)); }
static double density(double x) { return exp(-x * x / 2) * 0.3989422804014327; }

static struct bounded gelu(struct work *w, struct bounded h, bool slope)
{
    struct bounded a = matrix(w, h.rows, h.cols);
    for (int64_t i = 0; i < h.rows * h.cols; i++) {
        double x = h.value[i];
        a.value[i] = slope ? cdf(x) + x * density(x) : x * cdf(x);
        a.error[i] = (slope ? 0.8 : 1.13) * h.error[i] + 1e-6;
    }
    return a;
}

static void multiply(struct bounded m, struct bounded by)
{
    for (int64_t i = 0; i < m.rows * m.cols; i++) {
        double wide = (fabs(m.value[i]) + m.error[i]) * (fabs(by.value[i]) + by.error[i]);
        m.error[i] = wide - fabs(m.value[i] * by.value[i]) + 0x1p-23 * wide;
        m.value[i] *= by.value[i];
    }
}

static void check(const struct work *w, const char *what, struct bounded m,
                  const struct clip_tensor *got, const float *grad)
{
    double largest = 0, bound = 0, off = 0;
    for (int64_t i = 0; i < m.rows * m.cols; i++) {
        double x = grad != NULL              ? (double)grad[i]
                   : got->dtype == CLIP_BF16 ? (double)clip_bf16_widen(((uint16_t *)got->data)[i])
                                             : (double)((float *)got->data)[i];
        if (!(fabs(x - m.value[i]) <= m.error[i]))
            test_fail("%s: element %lld is %.9g, expected %.9g within %.3g", what, (long long)i, x,
                      m.value[i], m.error[i]);
        largest = fmax(largest, fabs(m.value[i]));
        bound = fmax(bound, m.error[i]);
        off = fmax(off, fabs(x - m.value[i]));
    }
    /* Worst cases add up here, and roundings do not: the bound is within a third of the values. */
    if (bound > (w->u > 0 ? 0.33 : 2e-4) * largest)
        test_fail("%s: the bound %.3g says little of values up to %.3g", what, bound, largest);
    if (w->u > 0 && off < 0x1p-14 * largest) test_fail("%s: nothing was rounded", what);
}

static struct work begin(bool bf16)
{
    struct work w = {.u = bf16 ? 0x1p-8 : 0, .tape = fixture_tape()};
    w.tape->dtype = bf16 ? CLIP_BF16 : CLIP_F32;
    return w;
}

static void end(struct work *w)
{
    fixture_tape_ok(w->tape);
    clip_tape_free(w->tape);
    for (int i = 0; i < w->count; i++) free(w->memory[i]);
}

static struct clip_tensor leaf(int64_t rows, int64_t cols, float scale, uint64_t stream)
{
    struct clip_tensor x = gradcheck_tensor(2, (const int64_t[]){rows, cols}, scale, stream);
    x.grad = gradcheck_normal(rows * cols, 0, 0);
    x.needs_grad = true;
    return x;
}

/* ---- y = x w^T + b (+ r) ---- */

static void check_linear(bool bf16, bool residual)
{
    enum { R = 37, D = 67, N = 21 };
    struct work w = begin(bf16);
    struct clip_tensor x = leaf(R, D, 1, 1), v = leaf(N, D, 0.12f, 2), b = leaf(1, N, 1, 3),
                       r = leaf(R, N, 1, 4);
    float *dy = gradcheck_normal(R * N, 1, 5);
    struct clip_tensor *y = clip_linear(w.tape, &x, &v, &b, residual ? &r : NULL);
    assert_int_equal(y->dtype, bf16 && !residual ? CLIP_BF16 : CLIP_F32);
    struct bounded mx = exact(&w, x.data, R, D), mv = exact(&w, v.data, N, D),
                   mb = exact(&w, b.data, 1, N), mr = exact(&w, r.data, R, N),
                   mdy = exact(&w, dy, R, N);
    struct bounded my = product(&w, mx, false, mv, true);
    add(my, &mb, residual ? &mr : NULL);
    if (!residual) store(&w, my);
    check(&w, "linear y", my, y, NULL);
    clip_tape_backward_from(w.tape, y, dy);
    check(&w, "linear dx", product(&w, mdy, false, mv, false), NULL, x.grad);
    check(&w, "linear dw", product(&w, mdy, true, mx, false), NULL, v.grad);
    for (int64_t i = 0; residual && i < R * N; i++) assert_true(r.grad[i] == dy[i]);
    end(&w);
    free(dy);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&v);
    gradcheck_tensor_free(&b);
    gradcheck_tensor_free(&r);
}

static void linear_is_within_its_bound(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) check_linear(k & 1, k & 2);
}

/* ---- y = gelu(x w1^T + b1) w2^T + b2 + r, its inner value kept as bfloat16 or made again ---- */

static void check_mlp(bool bf16, bool keep)
{
    enum { R = 19, D = 24, F = 40, N = 17 };
    struct work w = begin(bf16);
    struct clip_tensor x = leaf(R, D, 1, 1), w1 = leaf(F, D, 0.2f, 2), b1 = leaf(1, F, 0.5f, 3),
                       w2 = leaf(N, F, 0.15f, 4), b2 = leaf(1, N, 1, 5), r = leaf(R, N, 1, 6);
    float *dy = gradcheck_normal(R * N, 1, 7);
    struct clip_mlp_weights weights = {&w1, &b1, &w2, &b2};
    struct clip_tensor *y = clip_mlp(w.tape, &x, &weights, CLIP_GELU, keep, &r);
    assert_int_equal(y->dtype, CLIP_F32);
    struct bounded mx = exact(&w, x.data, R, D), m1 = exact(&w, w1.data, F, D),
                   n1 = exact(&w, b1.data, 1, F), m2 = exact(&w, w2.data, N, F),
                   n2 = exact(&w, b2.data, 1, N), mr = exact(&w, r.data, R, N),
                   mdy = exact(&w, dy, R, N);
    struct bounded h = product(&w, mx, false, m1, true);
    add(h, &n1, NULL);
    struct bounded a = gelu(&w, h, false);
    store(&w, a);
    struct bounded my = product(&w, a, false, m2, true);
    add(my, &n2, &mr);
    check(&w, "mlp y", my, y, NULL);
    clip_tape_backward_from(w.tape, y, dy);
    store(&w, h); /* what backward reads */
    a = gelu(&w, h, false);
    store(&w, a);
    struct bounded dh = product(&w, mdy, false, m2, false);
    multiply(dh, gelu(&w, h, true));
    store(&w, dh);
    check(&w, "mlp dw2", product(&w, mdy, true, a, false), NULL, w2.grad);
    check(&w, "mlp dw1", product(&w, dh, true, mx, false), NULL, w1.grad);
    check(&w, "mlp db1", column_sums(&w, dh), NULL, b1.grad);
    check(&w, "mlp dx", product(&w, dh, false, m1, false), NULL, x.grad);
    end(&w);
    free(dy);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w1);
    gradcheck_tensor_free(&b1);
    gradcheck_tensor_free(&w2);
    gradcheck_tensor_free(&b2);
    gradcheck_tensor_free(&r);
}

static void mlp_is_within_its_bound(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) check_mlp(k & 1, k & 2);
}

/* ---- attention: one head, two sequences ---- */

/* Rows of probabilities from scores: an error of at most e in each score changes each by a factor
 * of exp(2 e) at most. */
static struct bounded softmax(struct work *w, struct bounded s, bool causal)
{
    struct bounded p = matrix(w, s.rows, s.cols);
    for (int64_t i = 0; i < s.rows; i++) {
        double sum = 0, worst = 0;
        int64_t seen = causal ? i + 1 : s.cols;
        for (int64_t j = 0; j < seen; j++) {
            sum += exp(s.value[i * s.cols + j]);
            worst = fmax(worst, s.error[i * s.cols + j]);
        }
        for (int64_t j = 0; j < seen; j++) {
            int64_t at = i * s.cols + j;
            p.value[at] = exp(s.value[at]) / sum;
            p.error[at] = p.value[at] * (expm1(2 * worst) + 1e-6);
        }
    }
    return p;
}

/* ds = p (dp - sum(p dp)) f */
static struct bounded softmax_back(struct work *w, struct bounded p, struct bounded dp, double f)
{
    struct bounded ds = matrix(w, p.rows, p.cols);
    for (int64_t i = 0; i < p.rows; i++) {
        double delta = 0, delta_error = 0;
        for (int64_t j = 0; j < p.cols; j++) {
            int64_t at = i * p.cols + j;
            double wide = (p.value[at] + p.error[at]) * (fabs(dp.value[at]) + dp.error[at]);
            delta += p.value[at] * dp.value[at];
            delta_error += wide - p.value[at] * fabs(dp.value[at]) + 1e-6 * wide;
        }
        for (int64_t j = 0; j < p.cols; j++) {
            int64_t at = i * p.cols + j;
            double x = dp.value[at] - delta, e = dp.error[at] + delta_error + 1e-6 * fabs(delta);
            double wide = (p.value[at] + p.error[at]) * (fabs(x) + e);
            ds.value[at] = p.value[at] * x * f;
            ds.error[at] = (wide - p.value[at] * fabs(x) + 1e-6 * wide) * f;
        }
    }
    return ds;
}

/* Columns [c, c + n) of rows [r, r + m). */
static struct bounded part(struct work *w, const float *x, int64_t stride, int64_t r, int64_t m,
                           int64_t c, int64_t n)
{
    struct bounded out = matrix(w, m, n);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) out.value[i * n + j] = (double)x[(r + i) * stride + c + j];
    return out;
}

static void check_part(const struct work *w, const char *what, struct bounded want, const float *x,
                       int64_t stride, int64_t r, int64_t c)
{
    float got[64 * 64];
    for (int64_t i = 0; i < want.rows; i++)
        for (int64_t j = 0; j < want.cols; j++)
            got[i * want.cols + j] = x[(r + i) * stride + c + j];
    check(w, what, want, NULL, got);
}

static void check_attention(bool bf16, bool causal)
{
    enum { D = 16, FIRST = 9, T = 22 };
    struct work w = begin(bf16);
    int32_t at[3] = {0, FIRST, T};
    struct clip_tensor x = leaf(T, 3 * D, 1, 1), offsets = clip_tensor_i32(at, 3), qkv = x;
    float *dy = gradcheck_normal(T * D, 1, 2), *y32 = gradcheck_normal(T * D, 0, 0);
    uint16_t *half = malloc(T * 3 * D * sizeof *half);
    assert_non_null(half);
    /* Its input has the tape's dtype: here numbers that bfloat16 holds. */
    for (int64_t i = 0; i < T * 3 * D; i++) {
        half[i] = clip_bf16_round(((float *)x.data)[i]);
        ((float *)x.data)[i] = clip_bf16_widen(half[i]);
    }
    if (bf16) {
        qkv.dtype = CLIP_BF16;
        qkv.data = half;
    }
    struct clip_tensor *y = clip_attention(w.tape, &qkv, &offsets, 1, causal);
    for (int64_t i = 0; i < T * D; i++)
        y32[i] = bf16 ? clip_bf16_widen(((uint16_t *)y->data)[i]) : ((float *)y->data)[i];
    clip_tape_backward_from(w.tape, y, dy);
    for (int s = 0; s < 2; s++) {
        int64_t r = at[s], n = at[s + 1] - at[s];
        struct bounded q = part(&w, x.data, 3 * D, r, n, 0, D),
                       k = part(&w, x.data, 3 * D, r, n, D, D),
                       v = part(&w, x.data, 3 * D, r, n, 2 * D, D), g = part(&w, dy, D, r, n, 0, D);
        double u = w.u; /* q, k, v are bfloat16 already: their product rounds nothing */
        w.u = 0;
        struct bounded scores = product(&w, q, false, k, true);
        w.u = u;
        for (int64_t i = 0; i < n * n; i++) {
            scores.value[i] *= 0.25;
            scores.error[i] = scores.error[i] * 0.25 + 1e-6;
        }
        struct bounded p = softmax(&w, scores, causal), out = product(&w, p, false, v, false);
        store(&w, out);
        check_part(&w, "attention y", out, y32, D, r, 0);
        struct bounded ds = softmax_back(&w, p, product(&w, g, false, v, true), 0.25);
        check_part(&w, "attention dv", product(&w, p, true, g, false), x.grad, 3 * D, r, 2 * D);
        check_part(&w, "attention dq", product(&w, ds, false, k, false), x.grad, 3 * D, r, 0);
        check_part(&w, "attention dk", product(&w, ds, true, q, false), x.grad, 3 * D, r, D);
    }
    end(&w);
    free(dy);
    free(y32);
    free(half);
    gradcheck_tensor_free(&x);
}

static void attention_is_within_its_bound(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) check_attention(k & 1, k & 2);
}

/* ---- normalised rows: float32 in, stored once ---- */

static void normalised_rows_are_rounded_once(void **state)
{
    (void)state;
    enum { R = 11, D = 33 };
    struct clip_tensor x = leaf(R, D, 1, 1), w = leaf(1, D, 1, 2), b = leaf(1, D, 1, 3);
    struct clip_tape *tape = fixture_tape();
    tape->dtype = CLIP_BF16;
    const float *plain = clip_layernorm(tape, &x, &w, &b, 1e-5f)->data;
    struct clip_tensor *rows = clip_norm_rows(tape, &x, &w, &b, 1e-5f);
    assert_int_equal(rows->dtype, CLIP_BF16);
    for (int64_t i = 0; i < R * D; i++)
        assert_int_equal(((uint16_t *)rows->data)[i], clip_bf16_round(plain[i]));
    clip_tape_free(tape);
    gradcheck_tensor_free(&x);
    gradcheck_tensor_free(&w);
    gradcheck_tensor_free(&b);
}

/* ---- both towers ---- */

/* Each block rounds its branches some six times by U at most, by 0.29 U in the
 * mean (uniform in [-U, U] of a number within a factor of 2), independently: L blocks by
 * sqrt(6 L) 2^-8 0.58 of the branches, of which the residual stream is the sum. Four times that is
 * allowed, and less than a hundredth of it would not be bfloat16. */

static void check_features(const char *what, const struct clip_tensor *got,
                           const struct clip_tensor *want, int64_t layers)
{
    double off = 0, size = 0;
    for (int64_t i = 0; i < clip_tensor_count(want); i++) {
        double a = (double)((float *)got->data)[i], b = (double)((float *)want->data)[i];
        off += (a - b) * (a - b);
        size += b * b;
    }
    double relative = sqrt(off / size), expected = sqrt(6.0 * (double)layers) * 0x1p-8 * 0.58;
    if (!(relative < 4 * expected && relative > expected / 100))
        test_fail("%s: bfloat16 is %.2g from float32, expected about %.2g", what, relative,
                  expected);
}

static void features_are_near(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct training run;
        training_open(&run, test_root(r), 1);
        const struct clip_batch *batch = training_batch(&run, 0, run.capacity);
        int64_t side = run.model->config.image_size;
        struct clip_tensor pixels =
            clip_tensor_view(CLIP_F32, batch->pixels, 4, (int64_t[]){batch->count, 3, side, side});
        struct clip_tape *tapes[2] = {fixture_tape(), fixture_tape()};
        struct clip_tensor *out[2];
        for (int k = 0; k < 2; k++) {
            tapes[k]->dtype = k ? CLIP_BF16 : CLIP_F32;
            tapes[k]->record = false;
            out[k] = clip_vision_features(tapes[k], run.model, &pixels, NULL);
        }
        check_features("image features", out[1], out[0], run.model->config.vision.layers);
        clip_tape_free(tapes[0]);
        clip_tape_free(tapes[1]);
        training_close(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_is_within_its_bound),
        cmocka_unit_test(mlp_is_within_its_bound),
        cmocka_unit_test(attention_is_within_its_bound),
        cmocka_unit_test(normalised_rows_are_rounded_once),
        cmocka_unit_test(features_are_near),
    };
    return cmocka_run_group_tests_name("bf16", tests, NULL, NULL);
}
