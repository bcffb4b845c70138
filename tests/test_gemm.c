/* Matrix products against the definition, summed in double: every transpose, storage, beta and
 * epilogue, on shapes that are multiples of nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "core/threads.h"
#include "kernels/bf16.h"
#include "kernels/gemm.h"
#include "kernels/gemm_parts.h"
#include "tests/support.h"

enum { POOL = 99991 };

/* n normal draws, other ones for each stream */
static float *draws(int64_t n, uint64_t stream)
{
    struct clip_error error;
    float *x = clip_array_new(n, sizeof *x, &error);
    assert_non_null(x);
    static float pool[POOL];
    if (pool[0] == 0) {
        struct clip_rng rng = clip_rng_at(5, CLIP_RNG_BENCH, 1, 0);
        for (int64_t i = 0; i < POOL; i++) pool[i] = clip_rng_normal(&rng);
    }
    for (int64_t i = 0; i < n; i++) x[i] = pool[(i + (int64_t)stream * 7919) % POOL];
    return x;
}

/* A matrix of rows x cols, its rows a little apart, with the same values in both storages. */
struct stored {
    int64_t rows, cols, ld;
    float *f32;
    uint16_t *bf16;
};

static struct stored store(int64_t rows, int64_t cols, uint64_t stream, bool bf16)
{
    struct clip_error error;
    struct stored s = {rows, cols, cols + 3, NULL, NULL};
    s.f32 = draws(rows * s.ld, stream);
    if (!bf16) return s;
    s.bf16 = clip_array_new(rows * s.ld, sizeof *s.bf16, &error);
    for (int64_t i = 0; i < rows * s.ld; i++) {
        s.bf16[i] = clip_bf16_round(s.f32[i]);
        s.f32[i] = clip_bf16_widen(s.bf16[i]);
    }
    return s;
}

static void drop(struct stored *s)
{
    free(s->f32);
    free(s->bf16);
}

static const void *data_of(const struct stored *s)
{
    return s->bf16 != NULL ? (const void *)s->bf16 : (const void *)s->f32;
}
static float value(const struct stored *s, int64_t r, int64_t c) { return s->f32[r * s->ld + c]; }

static double as_multiplied(float x, bool bf16)
{
    return (double)(bf16 ? clip_bf16_widen(clip_bf16_round(x)) : x);
}

static double activated(enum clip_activation kind, double x)
{
    double u = 0.79788456080286535588 * (x + 0.044715 * x * x * x);
    if (kind == CLIP_GELU) return 0.5 * x * erfc(-x * 0.70710678118654752440);
    if (kind == CLIP_QUICK_GELU) return x / (1 + exp(-1.702 * x));
    if (kind == CLIP_GELU_TANH) return 0.5 * x * (1 + tanh(u));
    return x;
}

static double slope(enum clip_activation kind, double x)
{
    double h = 1e-5;
    return (activated(kind, x + h) - activated(kind, x - h)) / (2 * h);
}

struct trial {
    int64_t m, n, k;
    bool ta, tb, a_bf16, b_bf16, c_bf16, multiply_bf16, accumulate;
    bool bias, before, residual, in_place, derivative;
    enum clip_activation activation;
    float alpha;
};

/* A float32 sum of k products in any order is within (k + 2) u sum |a b| of the true one
 * (Higham 2002, section 3.1), u = 2^-24; each further step adds its own rounding. Rounding to
 * bfloat16 adds 2^-8 relative. */
static void check(const char *where, const struct trial *t, double got, double expected,
                  double magnitude, bool bf16)
{
    double bound = ((double)t->k + 8) * 0x1p-24 * magnitude + 0x1p-20 * fabs(expected) + 1e-6;
    if (bf16) bound += 0x1p-8 * (fabs(expected) + bound);
    if (fabs(got - expected) <= bound) return;
    fail_msg("%s: %lld x %lld x %lld ta %d tb %d bf16 %d %d %d %d acc %d act %d: %.9g, expected "
             "%.9g within %.3g",
             where, (long long)t->m, (long long)t->n, (long long)t->k, t->ta, t->tb, t->a_bf16,
             t->b_bf16, t->c_bf16, t->multiply_bf16, t->accumulate, (int)t->activation, got,
             expected, bound);
}

struct operands {
    struct stored a, b, c, before, residual, at;
    float *bias;
};

static struct operands make_operands(const struct trial *t)
{
    return (struct operands){
        store(t->ta ? t->k : t->m, t->ta ? t->m : t->k, 1, t->a_bf16),
        store(t->tb ? t->n : t->k, t->tb ? t->k : t->n, 2, t->b_bf16),
        store(t->m, t->n, 3, t->c_bf16),
        store(t->m, t->n, 4, t->c_bf16),
        store(t->m, t->n, 5, t->a_bf16),
        store(t->m, t->n, 6, t->b_bf16),
        draws(t->n, 7),
    };
}

static void drop_operands(struct operands *o)
{
    drop(&o->a), drop(&o->b), drop(&o->c), drop(&o->before), drop(&o->residual), drop(&o->at);
    free(o->bias);
}

static struct clip_matrix matrix(const struct stored *s, bool wanted)
{
    return (struct clip_matrix){wanted ? (void *)(uintptr_t)data_of(s) : NULL, s->ld,
                                s->bf16 != NULL};
}

static struct clip_gemm product(const struct trial *t, const struct operands *o)
{
    return (struct clip_gemm){
        .m = t->m,
        .n = t->n,
        .k = t->k,
        .alpha = t->alpha,
        .a = {data_of(&o->a), o->a.ld, t->ta, t->a_bf16},
        .b = {data_of(&o->b), o->b.ld, t->tb, t->b_bf16},
        .c = matrix(&o->c, true),
        .multiply_bf16 = t->multiply_bf16,
        .accumulate = t->accumulate,
        .bias = t->bias ? o->bias : NULL,
        .activation = t->activation,
        .pre_activation = matrix(&o->before, t->before),
        .residual = t->in_place ? matrix(&o->c, true) : matrix(&o->residual, t->residual),
        .derivative_at = matrix(&o->at, t->derivative),
    };
}

/* The definition, for one element; `old` is what C held. */
static void check_element(const struct trial *t, const struct operands *o, int64_t r, int64_t c,
                          float old, float before, float got)
{
    double v = 0, magnitude = 0;
    for (int64_t p = 0; p < t->k; p++) {
        double a = as_multiplied(t->ta ? value(&o->a, p, r) : value(&o->a, r, p), t->multiply_bf16);
        double b = as_multiplied(t->tb ? value(&o->b, c, p) : value(&o->b, p, c), t->multiply_bf16);
        v += a * b;
        magnitude += fabs(a * b);
    }
    v *= (double)t->alpha, magnitude *= fabs((double)t->alpha);
    if (t->accumulate) v += (double)old, magnitude += fabs((double)old);
    if (t->bias) v += (double)o->bias[c];
    if (t->before) check("before", t, (double)before, v, magnitude, t->c_bf16);
    if (!t->derivative) v = activated(t->activation, v);
    if (t->residual) v += (double)value(&o->residual, r, c);
    if (t->in_place) v += (double)old;
    if (t->derivative) {
        double f = slope(t->activation, (double)value(&o->at, r, c));
        v *= f, magnitude = magnitude * fabs(f) + 2e-6 * fabs(v);
    }
    check("C", t, (double)got, v, magnitude * 1.2, t->c_bf16);
}

static float read_back(const struct stored *s, int64_t at)
{
    return s->bf16 != NULL ? clip_bf16_widen(s->bf16[at]) : s->f32[at];
}

static void run_trial(const struct trial *t)
{
    struct operands o = make_operands(t);
    struct clip_gemm g = product(t, &o);
    int64_t size = o.c.rows * o.c.ld;
    float *old = malloc((size_t)(size + 1) * sizeof *old);
    for (int64_t i = 0; i < size; i++) old[i] = read_back(&o.c, i);
    clip_gemm(&g);
    for (int64_t r = 0; r < t->m; r++) {
        for (int64_t c = 0; c < t->n; c += 1 + (r + c) % 7 * t->m * t->n / 1000)
            check_element(t, &o, r, c, old[r * o.c.ld + c], read_back(&o.before, r * o.c.ld + c),
                          read_back(&o.c, r * o.c.ld + c));
        for (int64_t c = t->n; c < o.c.ld; c++) /* nothing is written beside */
            assert_true(read_back(&o.c, r * o.c.ld + c) == old[r * o.c.ld + c]);
    }
    free(old);
    drop_operands(&o);
}

static const int64_t shapes[][3] = {{1, 1, 1},    {1, 37, 65},   {2, 5, 3},       {13, 31, 17},
                                    {14, 32, 16}, {15, 33, 129}, {29, 67, 385},   {50, 50, 64},
                                    {7, 97, 0},   {1, 130, 771}, {130, 1, 20},    {77, 14, 1},
                                    {61, 45, 30}, {3, 700, 11},  {150, 203, 401}, {130, 40, 0}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static struct trial shaped(int i)
{
    return (struct trial){.m = shapes[i][0], .n = shapes[i][1], .k = shapes[i][2], .alpha = 1};
}

static void test_transposes_and_storage(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 64; bits++) {
            struct trial t = shaped(i);
            t.ta = bits & 1, t.tb = bits & 2, t.a_bf16 = bits & 4, t.b_bf16 = bits & 8;
            t.multiply_bf16 = bits & 16, t.c_bf16 = bits & 32;
            t.alpha = i % 2 == 0 ? 1 : 0.37f;
            run_trial(&t);
        }
}

/* More than is packed at a time: of rows and k, and of columns and k; the latter with sums that may
 * not wait in C, which keeps k whole. */
static void test_large_products_are_cut(void **state)
{
    (void)state;
    struct trial rows = {
        .m = 1190, .n = 9, .k = 3081, .alpha = 1, .ta = true, .accumulate = true, .bias = true};
    struct trial columns = {.m = 113,
                            .n = 1370,
                            .k = 3081,
                            .alpha = 0.5f,
                            .tb = true,
                            .in_place = true,
                            .activation = CLIP_GELU};
    run_trial(&rows);
    run_trial(&columns);
    rows.multiply_bf16 = columns.multiply_bf16 = true;
    run_trial(&rows);
    columns.c_bf16 = true;
    run_trial(&columns);
}

static void test_accumulates(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 8; bits++) {
            struct trial t = shaped(i);
            t.ta = bits & 1, t.tb = bits & 2, t.multiply_bf16 = bits & 4, t.accumulate = true;
            t.alpha = i % 2 == 0 ? 1 : -1.5f;
            run_trial(&t);
        }
}

static void test_epilogues(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 64; bits++) {
            struct trial t = shaped(i);
            t.bias = bits & 1, t.before = bits & 2, t.residual = bits & 4, t.c_bf16 = bits & 8;
            t.activation = (enum clip_activation)(bits >> 4);
            t.a_bf16 = bits % 3 == 0, t.tb = true, t.multiply_bf16 = t.c_bf16;
            t.accumulate = !t.c_bf16 && bits % 5 == 0;
            run_trial(&t);
        }
}

static void test_residual_in_place(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 4; bits++) {
            struct trial t = shaped(i);
            t.in_place = true, t.bias = bits & 1, t.c_bf16 = bits & 2, t.tb = true;
            run_trial(&t);
        }
}

static void test_activation_slopes(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 16; bits++) {
            struct trial t = shaped(i);
            t.derivative = true, t.activation = (enum clip_activation)(bits & 3);
            t.b_bf16 = bits & 4, t.c_bf16 = bits & 8;
            run_trial(&t);
        }
}

/* ---- the same bits ---- */

/* B packed beforehand, which then is not read itself; panels of the other precision, or packed
 * the other way round, are left. */
static void test_packed_once(void **state)
{
    (void)state;
    if (!clip_gemm_rows_independent()) skip(); /* OpenBLAS packs by itself */
    for (int i = 0; i < SHAPES; i++)
        for (int bits = 0; bits < 32; bits++) {
            struct trial t = shaped(i);
            t.ta = bits & 1, t.tb = bits & 2, t.b_bf16 = bits & 4, t.multiply_bf16 = bits & 8;
            t.c_bf16 = t.residual = bits & 16, t.accumulate = !t.c_bf16;
            struct operands o = make_operands(&t), same = make_operands(&t);
            struct clip_gemm g = product(&t, &o), packed = product(&t, &same);
            size_t bytes = clip_gemm_panels_bytes(t.n, t.k, t.multiply_bf16);
            struct clip_panels panels = {aligned_alloc(64, (bytes + 64) / 64 * 64), t.multiply_bf16,
                                         t.tb};
            assert_non_null(panels.units);
            clip_gemm_pack(&packed.b, t.n, t.k, &panels);
            packed.b.data = NULL;
            packed.b.panels = &panels;
            bool turned = bits % 3 == 0;
            const struct clip_panels other = {NULL, t.multiply_bf16 == turned, t.tb != turned};
            g.b.panels = &other;
            clip_gemm(&g);
            clip_gemm(&packed);
            for (int64_t at = 0; at < o.c.rows * o.c.ld; at++)
                assert_true(read_back(&o.c, at) == read_back(&same.c, at));
            free(panels.units);
            drop_operands(&o), drop_operands(&same);
        }
}

static void multiply_first(void *context, int64_t i)
{
    if (i == 0) clip_gemm(context);
}

/* With threads 0: inside a parallel loop. */
static void run_into(struct trial *t, float *c, int threads)
{
    struct operands o = make_operands(t);
    struct clip_gemm g = product(t, &o);
    g.c = (struct clip_matrix){c, t->n, false};
    clip_threads_set(threads > 0 ? threads : 2);
    if (threads > 0)
        clip_gemm(&g);
    else
        clip_parallel_for(2, multiply_first, &g);
    drop_operands(&o);
}

static void test_same_bits_for_any_threads(void **state)
{
    (void)state;
    enum { M = 333, N = 470 };
    static float one[M * N], other[M * N];
    for (int bits = 0; bits < 8; bits++) {
        struct trial t = {.m = M,
                          .n = N,
                          .k = 500,
                          .alpha = 1,
                          .ta = bits & 1,
                          .tb = bits & 2,
                          .multiply_bf16 = bits & 4,
                          .bias = true,
                          .activation = CLIP_GELU};
        run_into(&t, one, 1);
        for (int threads = 0; threads <= 3; threads++) {
            memset(other, 0, sizeof other);
            run_into(&t, other, threads);
            assert_memory_equal(one, other, sizeof one);
        }
    }
    clip_threads_set(0);
}

/* A row alone has the bits it has among others, wherever it stands. */
static void test_rows_are_apart(void **state)
{
    (void)state;
    enum { M = 131, N = 131, K = 777 };
    if (!clip_gemm_rows_independent()) test_skip("OpenBLAS rounds a row by its place");
    float *a = draws(M * K, 1), *b = draws(N * K, 2), *bias = draws(N, 3);
    static float together[M * N], alone[M * N];
    for (int bits = 0; bits < 4; bits++) {
        struct clip_gemm g = {.m = M,
                              .n = N,
                              .k = K,
                              .alpha = 1,
                              .a = {a, K},
                              .b = {b, bits & 1 ? K : N, .transpose = bits & 1},
                              .c = {together, N},
                              .multiply_bf16 = bits & 2,
                              .bias = bias,
                              .activation = CLIP_QUICK_GELU};
        clip_gemm(&g);
        for (int64_t rows = 1; rows <= 20; rows += 1 + rows / 3) {
            for (int64_t r = 0; r < M; r += rows) {
                g.m = M - r < rows ? M - r : rows;
                g.a.data = a + r * K;
                g.c.data = alone + r * N;
                clip_gemm(&g);
            }
            assert_memory_equal(together, alone, sizeof together);
        }
        g.a.data = a;
    }
    free(a), free(b), free(bias);
}

/* A product of many rows whose operands there is no memory to pack for all tiles at once: a tile
 * packs them itself, some rows at a time. */
static void test_tiles_pack_many_rows(void **state)
{
    (void)state;
    enum { M = 240, N = 35, K = 50 };
    if (clip_gemm_by_openblas() != NULL) test_skip("these are tiles of ours");
    static float packed[M * N], alone[M * N];
    float *a = draws(M * K, 1), *b = draws(N * K, 2);
    for (int across = 0; across < 2; across++) {
        struct clip_gemm g = {.m = M,
                              .n = N,
                              .k = K,
                              .alpha = 1,
                              .a = {a, K},
                              .b = {b, across ? K : N, .transpose = across},
                              .c = {packed, N}};
        const struct clip_tile whole = {0, M, 0, N};
        clip_gemm(&g);
        g.c.data = alone;
        clip_gemm_native(&g, NULL, &whole);
        assert_memory_equal(packed, alone, sizeof alone);
    }
    free(a), free(b);
}

static void test_thread_memory(void **state)
{
    (void)state;
    char *one = clip_thread_memory(CLIP_MEMORY_PRIVATE, 1000);
    assert_non_null(one);
    assert_int_equal((uintptr_t)one % 64, 0);
    assert_ptr_equal(clip_thread_memory(CLIP_MEMORY_PRIVATE, 500), one);
    char *more = clip_thread_memory(CLIP_MEMORY_PRIVATE, 10000000);
    assert_non_null(more);
    memset(more, 1, 10000000);
    assert_ptr_equal(clip_thread_memory(CLIP_MEMORY_PRIVATE, 1), more);
    assert_null(clip_thread_memory(CLIP_MEMORY_PRIVATE, SIZE_MAX));
    assert_ptr_equal(clip_thread_memory(CLIP_MEMORY_PRIVATE, 1), more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transposes_and_storage),
        cmocka_unit_test(test_large_products_are_cut),
        cmocka_unit_test(test_accumulates),
        cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_residual_in_place),
        cmocka_unit_test(test_activation_slopes),
        cmocka_unit_test(test_packed_once),
        cmocka_unit_test(test_same_bits_for_any_threads),
        cmocka_unit_test(test_rows_are_apart),
        cmocka_unit_test(test_tiles_pack_many_rows),
        cmocka_unit_test(test_thread_memory),
    };
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
