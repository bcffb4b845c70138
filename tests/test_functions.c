/* exp, the activations, softplus and the softmax as vector code, against double, in steps so small
 * that no piece of a polynomial is missed; and what vdpbf16ps may differ by. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bf16.h"
#include "kernels/gemm.h"
#include "tests/support.h"

enum { N = 1 << 16 };

struct range {
    float x[N], y[N], slope[N];
};

static struct range *between(float low, float high)
{
    struct clip_error error;
    struct range *r = clip_array_new(1, sizeof *r, &error);
    assert_non_null(r);
    for (int i = 0; i < N; i++) r->x[i] = low + (high - low) * (float)i / (float)(N - 1);
    return r;
}

static double largest(const struct range *r, const float *got, double (*true_of)(double),
                      double (*scale_of)(double))
{
    double worst = 0;
    for (int i = 0; i < N; i++) {
        double x = (double)r->x[i], error = fabs((double)got[i] - true_of(x)) / scale_of(x);
        if (!(error <= worst)) worst = error; /* NaN too */
    }
    return worst;
}

static void within(const char *what, double worst, double bound)
{
    if (!(worst <= bound)) test_fail("%s is off by %.3g; stated are %.3g", what, worst, bound);
}

static double one(double x) { return (void)x, 1; }
static double at_least_one(double x) { return fmax(1, fabs(x)); }
static double gelu(double x) { return 0.5 * x * erfc(-x * sqrt(0.5)); }
static double gelu_slope(double x)
{
    return 0.5 * erfc(-x * sqrt(0.5)) + x * exp(-0.5 * x * x) * 0.39894228040143267794;
}
static double quick(double x) { return x / (1 + exp(-1.702 * x)); }
static double quick_slope(double x)
{
    double s = 1 / (1 + exp(-1.702 * x));
    return s * (1 + 1.702 * x * (1 - s));
}
static double by_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
static double by_tanh_slope(double x)
{
    double c = sqrt(2 / acos(-1.0)), t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

static void exponential(void **state)
{
    (void)state;
    struct range *r = between(-86, 86);
    clip_kernels()->exp_shift(r->y, r->x, 0, N);
    within("exp", largest(r, r->y, exp, exp), 2e-7);
    free(r);
    r = between(-1, 1);
    clip_kernels()->exp_shift(r->y, r->x, 0, N);
    within("exp near 0", largest(r, r->y, exp, exp), 2e-7);
    free(r);
    float ends[4] = {-1000, -90, 90, 1000}, y[4];
    clip_kernels()->exp_shift(y, ends, 0, 4);
    assert_true(y[0] >= 0 && y[0] < 1e-37f && y[1] < 1e-37f && y[2] > 1e38f && isfinite(y[3]));
}

static const struct {
    const char *name;
    enum clip_activation kind;
    double (*value)(double), (*slope)(double);
} kinds[] = {
    {"gelu", CLIP_GELU, gelu, gelu_slope},
    {"quickgelu", CLIP_QUICK_GELU, quick, quick_slope},
    {"gelu_tanh", CLIP_GELU_TANH, by_tanh, by_tanh_slope},
};
static const float reach[] = {1, 6, 12, 80};
enum { KINDS = sizeof kinds / sizeof *kinds, REACHES = sizeof reach / sizeof *reach };

/* Errors of values relative to max(1, |x|), of slopes absolute. */
static void compare(const struct range *r, int kind)
{
    within(kinds[kind].name, largest(r, r->y, kinds[kind].value, at_least_one), 2e-7);
    within(kinds[kind].name, largest(r, r->slope, kinds[kind].slope, one), 1e-6);
}

/* As the mlp op has them: on their own, and the slope as a step that follows a product. */
static void activations(void **state)
{
    (void)state;
    static float ones[N];
    for (int i = 0; i < N; i++) ones[i] = 1;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < REACHES; i++) {
            struct range *r = between(-reach[i], reach[i]);
            struct clip_gemm g = {.m = 1,
                                  .n = N,
                                  .c = {r->slope, N},
                                  .derivative_at = {r->x, N},
                                  .activation = kinds[k].kind};
            clip_kernels()->activate(r->y, r->x, false, kinds[k].kind, N);
            clip_kernels()->finish_row(&g, 0, 0, ones, N);
            compare(r, k);
            free(r);
        }
}

/* As the gelu and quickgelu ops have them; backward adds. */
static void activations_alone(void **state)
{
    (void)state;
    const struct clip_kernels *table = clip_kernels();
    static float ones[N];
    for (int i = 0; i < N; i++) ones[i] = 1;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < REACHES; i++) {
            struct range *r = between(-reach[i], reach[i]);
            (k == 0 ? table->gelu : table->quickgelu)(r->y, r->x, N);
            (k == 0 ? table->gelu_backward : table->quickgelu_backward)(r->slope, ones, r->x, N);
            compare(r, k);
            free(r);
        }
}

static double log1p_exp(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }

static void softplus(void **state)
{
    (void)state;
    for (float x = -30; x < 30; x += 0.01f) {
        double y = clip_kernels()->sum_softplus(&x, 0, 1);
        within("softplus", fabs(y / log1p_exp((double)x) - 1), 4e-7);
    }
}

/* Any way of summing k exact products in float32 is within k u sum |a b| of their sum, u = 2^-24
 * (Higham 2002, section 3.1), plus what denormals that count as zero can add: k 2^-126 times the
 * largest factor. So two of them, as vdpbf16ps and the other sets, are within twice that. */
static void bf16_products(void **state)
{
    (void)state;
    enum { M = 9, COLUMNS = 40, K = 1000 };
    static float a[M * K], b[K * COLUMNS], c[M * COLUMNS];
    for (int i = 0; i < M * K; i++)
        a[i] = ldexpf(sinf((float)i * 1.1f), i % 41 - 20) * (i % 97 == 0 ? 0x1p-125f : 1);
    for (int i = 0; i < K * COLUMNS; i++) b[i] = ldexpf(cosf((float)i * 0.7f), i % 23 - 11);
    clip_gemm(&(struct clip_gemm){.m = M,
                                  .n = COLUMNS,
                                  .k = K,
                                  .alpha = 1,
                                  .a = {a, K},
                                  .b = {b, COLUMNS},
                                  .c = {c, COLUMNS},
                                  .multiply_bf16 = true});
    for (int r = 0; r < M; r++)
        for (int j = 0; j < COLUMNS; j++) {
            double sum = 0, magnitude = 0, factor = 0;
            for (int p = 0; p < K; p++) {
                double x = (double)clip_bf16_widen(clip_bf16_round(a[r * K + p]));
                double y = (double)clip_bf16_widen(clip_bf16_round(b[p * COLUMNS + j]));
                sum += x * y;
                magnitude += fabs(x * y);
                factor = fmax(factor, fmax(fabs(x), fabs(y)));
            }
            double bound = K * 0x1p-24 * magnitude + K * 0x1p-126 * fmax(1, factor);
            within("a product of bfloat16", fabs((double)c[r * COLUMNS + j] - sum), bound);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential),       cmocka_unit_test(activations),
        cmocka_unit_test(activations_alone), cmocka_unit_test(softplus),
        cmocka_unit_test(bf16_products),
    };
    return cmocka_run_group_tests_name("functions", tests, NULL, NULL);
}
