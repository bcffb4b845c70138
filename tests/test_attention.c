/* The attention kernel against its definition in double: short, long and causal sequences, both
 * storages, both precisions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "kernels/attention.h"
#include "kernels/bf16.h"
#include "tests/support.h"

enum { MOST = 810 };

struct trial {
    int64_t rows, width;
    bool causal, bf16, multiply_bf16, adds;
};

/* q, k, v side by side as in a block, rows of 3 * width + 5. */
struct data {
    int64_t ld;
    float *qkv, *dy, *y, *grads;
    uint16_t *half, *half_y;
};

static void *array(int64_t n, size_t size)
{
    struct clip_error error;
    void *x = clip_array_new(n, size, &error);
    assert_non_null(x);
    return x;
}

static struct data make(const struct trial *t)
{
    struct data d = {.ld = 3 * t->width + 5};
    int64_t n = t->rows * d.ld;
    struct clip_rng rng = clip_rng_at(3, CLIP_RNG_BENCH, 2, (uint64_t)(t->rows * 1000 + t->width));
    d.qkv = array(n, 4), d.dy = array(n, 4), d.y = array(n, 4), d.grads = array(n, 4);
    d.half = array(n, 2), d.half_y = array(n, 2);
    for (int64_t i = 0; i < n; i++) {
        d.qkv[i] = clip_rng_normal(&rng);
        d.dy[i] = clip_rng_normal(&rng);
        d.grads[i] = t->adds ? clip_rng_normal(&rng) : NAN;
        if (t->bf16 || t->multiply_bf16) {
            d.half[i] = clip_bf16_round(d.qkv[i]);
            d.qkv[i] = clip_bf16_widen(d.half[i]);
        }
        if (t->multiply_bf16) d.dy[i] = clip_bf16_widen(clip_bf16_round(d.dy[i]));
    }
    return d;
}

static void drop(struct data *d)
{
    free(d->qkv), free(d->dy), free(d->y), free(d->grads), free(d->half), free(d->half_y);
}

static struct clip_attention head(const struct trial *t, const struct data *d)
{
    const char *q = t->bf16 ? (const char *)d->half : (const char *)d->qkv;
    size_t w = (size_t)t->width * (t->bf16 ? 2 : 4);
    return (struct clip_attention){t->rows,
                                   t->width,
                                   q,
                                   q + w,
                                   q + 2 * w,
                                   d->ld,
                                   t->bf16,
                                   t->causal,
                                   t->multiply_bf16,
                                   1.0f / sqrtf((float)t->width)};
}

static double *softmax_of(const struct trial *t, const struct data *d)
{
    double *p = array(t->rows * t->rows, sizeof *p);
    for (int64_t i = 0; i < t->rows; i++) {
        double *row = p + i * t->rows, top = -INFINITY, sum = 0;
        int64_t seen = t->causal ? i + 1 : t->rows;
        for (int64_t j = 0; j < seen; j++) {
            for (int64_t c = 0; c < t->width; c++)
                row[j] += (double)d->qkv[i * d->ld + c] * (double)d->qkv[j * d->ld + t->width + c];
            row[j] /= sqrt((double)t->width);
            top = fmax(top, row[j]);
        }
        for (int64_t j = 0; j < seen; j++) sum += row[j] = exp(row[j] - top);
        for (int64_t j = 0; j < seen; j++) row[j] /= sum;
    }
    return p;
}

/* |got - expected| <= relative * scale, scale the sum of the absolute values that were added. */
static void near(const char *what, const struct trial *t, double got, double expected, double scale)
{
    double relative = t->multiply_bf16 ? 0x1p-7 : t->bf16 ? 0x1p-8 : 6e-6;
    if (fabs(got - expected) <= relative * scale + 1e-7) return;
    fail_msg("%s of %lld x %lld, causal %d, bf16 %d %d: %.9g, expected %.9g", what,
             (long long)t->rows, (long long)t->width, t->causal, t->bf16, t->multiply_bf16, got,
             expected);
}

static void check_forward(const struct trial *t, const struct data *d, const double *p)
{
    for (int64_t i = 0; i < t->rows; i += 1 + t->rows / 60)
        for (int64_t c = 0; c < t->width; c++) {
            double y = 0, scale = 0;
            for (int64_t j = 0; j < t->rows; j++) {
                double v = (double)d->qkv[j * d->ld + 2 * t->width + c];
                y += p[i * t->rows + j] * v;
                scale += p[i * t->rows + j] * fabs(v);
            }
            float got = t->bf16 ? clip_bf16_widen(d->half_y[i * d->ld + c]) : d->y[i * d->ld + c];
            near("y", t, (double)got, y, scale);
        }
}

/* ds from p and dp, into ds [T,T] and its scale for errors */
static double *score_gradients(const struct trial *t, const struct data *d, const double *p)
{
    double *ds = array(t->rows * t->rows, sizeof *ds);
    for (int64_t i = 0; i < t->rows; i++) {
        double *row = ds + i * t->rows, delta = 0;
        for (int64_t j = 0; j < t->rows; j++) {
            for (int64_t c = 0; c < t->width; c++)
                row[j] += (double)d->dy[i * d->ld + c] *
                          (double)d->qkv[j * d->ld + 2 * t->width + c];
            delta += p[i * t->rows + j] * row[j];
        }
        for (int64_t j = 0; j < t->rows; j++)
            row[j] = p[i * t->rows + j] * (row[j] - delta) / sqrt((double)t->width);
    }
    return ds;
}

static void check_backward(const struct trial *t, const struct data *d, const float *before,
                           const double *p)
{
    double *ds = score_gradients(t, d, p);
    int64_t n = t->rows, w = t->width;
    for (int64_t i = 0; i < n; i += 1 + n / 60)
        for (int64_t c = 0; c < w; c++) {
            double dq = 0, dk = 0, dv = 0, scale_q = 1e-2, scale_k = 1e-2, scale_v = 1e-2;
            for (int64_t j = 0; j < n; j++) {
                double k = (double)d->qkv[j * d->ld + w + c], q = (double)d->qkv[j * d->ld + c];
                double dy = (double)d->dy[j * d->ld + c], pj = p[j * n + i];
                double of_q = ds[i * n + j], of_k = ds[j * n + i], pi = p[i * n + j];
                dq += of_q * k, scale_q += (fabs(of_q) + 2 * pi) * fabs(k);
                dk += of_k * q, scale_k += (fabs(of_k) + 2 * pj) * fabs(q);
                dv += pj * dy, scale_v += pj * fabs(dy);
            }
            const float *got = d->grads + i * d->ld + c, *old = before + i * d->ld + c;
            near("dq", t, (double)got[0], dq + (t->adds ? (double)old[0] : 0), scale_q + 1);
            near("dk", t, (double)got[w], dk + (t->adds ? (double)old[w] : 0), scale_k + 1);
            near("dv", t, (double)got[2 * w], dv + (t->adds ? (double)old[2 * w] : 0), scale_v + 1);
        }
    free(ds);
}

static void run_trial(const struct trial *t)
{
    struct data d = make(t);
    struct clip_attention a = head(t, &d);
    double *p = softmax_of(t, &d);
    int64_t n = t->rows * d.ld;
    float *before = array(n, sizeof *before);
    memcpy(before, d.grads, (size_t)n * sizeof *before);
    void *room = array((int64_t)clip_attention_workspace_bytes(t->rows, t->width, true), 1);
    struct clip_matrix y = {t->bf16 ? (void *)d.half_y : d.y, d.ld, t->bf16};
    clip_attention_forward(&a, &y, room);
    check_forward(t, &d, p);
    struct clip_attention_gradients g = {
        d.dy, d.ld, d.grads, d.grads + t->width, d.grads + 2 * t->width, d.ld, t->adds};
    clip_attention_backward(&a, &g, room);
    check_backward(t, &d, before, p);
    free(room), free(before), free(p);
    drop(&d);
}

static const int64_t lengths[] = {1, 2, 5, 13, 14, 15, 29, 50, 65, 77, 100, 197, 400};
static const int64_t widths[] = {1, 7, 32, 64, 80};
enum { LENGTHS = sizeof lengths / sizeof lengths[0], WIDTHS = sizeof widths / sizeof widths[0] };

static void test_float32(void **state)
{
    (void)state;
    for (int i = 0; i < LENGTHS; i++)
        for (int k = i < 9 ? 0 : 3; k < WIDTHS; k++)
            for (int bits = 0; bits < 4; bits++)
                run_trial(&(struct trial){
                    .rows = lengths[i], .width = widths[k], .causal = bits & 1, .adds = bits & 2});
}

static void test_bf16(void **state)
{
    (void)state;
    for (int i = 0; i < LENGTHS; i++)
        for (int k = i < 9 ? 0 : 3; k < 4; k++)
            for (int bits = 0; bits < 8; bits++)
                run_trial(&(struct trial){.rows = lengths[i],
                                          .width = widths[k],
                                          .causal = bits & 1,
                                          .bf16 = bits & 2,
                                          .multiply_bf16 = bits & 4,
                                          .adds = bits == 5});
    run_trial(&(struct trial){.rows = MOST, .width = 16, .multiply_bf16 = true, .bf16 = true});
    run_trial(&(struct trial){.rows = 50, .width = 420}); /* a head wider than a block of k */
}

/* Rows that a row does not see change none of its bits. */
static void test_causal_rows_are_apart(void **state)
{
    (void)state;
    struct trial t = {.rows = 77, .width = 64, .causal = true};
    struct data d = make(&t);
    void *room = array((int64_t)clip_attention_workspace_bytes(77, 64, false), 1);
    float *part = array(77 * d.ld, sizeof *part);
    struct clip_attention a = head(&t, &d);
    struct clip_matrix y = {d.y, d.ld, false}, shorter = {part, d.ld, false};
    clip_attention_forward(&a, &y, room);
    for (a.rows = 1; a.rows < 77; a.rows += 5) {
        clip_attention_forward(&a, &shorter, room);
        for (int64_t r = 0; r < a.rows; r++)
            test_same_f32("y", part + r * d.ld, d.y + r * d.ld, 64);
    }
    free(room), free(part);
    drop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_causal_rows_are_apart),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
