/* Single operations against PyTorch's numbers: ops/ of every reference set.
 *
 * The references are computed in float64 from float32 inputs. Ours are float32 sums of at most a
 * few dozen products, so 1e-5 of each tensor's largest magnitude plus 1e-6 is some eighty
 * roundings; the exceptions stand beside their cases. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "tests/fixture.h"

typedef struct clip_tensor *(*build_fn)(struct clip_tape *t, struct clip_tensor *leaves,
                                        struct clip_tensor *constant);

struct op_case {
    const char *name; /* NAME.y, NAME.dy; inputs NAME.x; gradients NAME.dx */
    build_fn build;
    const char *inputs[4];
    const char *constant; /* an i32 input, or NULL */
    double relative;      /* 0: 1e-5 */
    bool row_by_row; /* rows differ in size by many powers of ten: each is compared on its own scale
                      */
};

static struct clip_tensor *linear(struct clip_tape *t, struct clip_tensor *l,
                                  struct clip_tensor *constant)
{
    (void)constant;
    return clip_linear(t, &l[0], &l[1], &l[2], NULL);
}

static struct clip_tensor *embedding(struct clip_tape *t, struct clip_tensor *l,
                                     struct clip_tensor *constant)
{
    return clip_embedding(t, &l[0], constant);
}

static struct clip_tensor *layernorm(struct clip_tape *t, struct clip_tensor *l,
                                     struct clip_tensor *constant)
{
    (void)constant;
    return clip_layernorm(t, &l[0], &l[1], &l[2], 1e-5f);
}

static struct clip_tensor *gelu(struct clip_tape *t, struct clip_tensor *l,
                                struct clip_tensor *constant)
{
    (void)constant;
    return clip_gelu(t, &l[0]);
}

static struct clip_tensor *quickgelu(struct clip_tape *t, struct clip_tensor *l,
                                     struct clip_tensor *constant)
{
    (void)constant;
    return clip_quickgelu(t, &l[0]);
}

static struct clip_tensor *l2norm(struct clip_tape *t, struct clip_tensor *l,
                                  struct clip_tensor *constant)
{
    (void)constant;
    return clip_l2norm(t, &l[0]);
}

static struct clip_tensor *patch_embed(struct clip_tape *t, struct clip_tensor *l,
                                       struct clip_tensor *constant)
{
    (void)constant;
    return clip_patch_embed(t, &l[0], &l[1], NULL);
}

static const struct op_case cases[] = {
    {.name = "linear", .build = linear, .inputs = {"x", "w", "b"}},
    {.name = "embedding", .build = embedding, .inputs = {"w"}, .constant = "ids"},
    {.name = "layernorm", .build = layernorm, .inputs = {"x", "w", "b"}},
    /* x is 300 + noise of size 1: float32 holds it to 3e-5, the mean to as much */
    {.name = "layernorm_offset", .build = layernorm, .inputs = {"x", "w", "b"}, .relative = 1e-4},
    {.name = "gelu", .build = gelu, .inputs = {"x"}},
    {.name = "quickgelu", .build = quickgelu, .inputs = {"x"}},
    {.name = "l2norm", .build = l2norm, .inputs = {"x"}, .row_by_row = true},
    {.name = "patch_embed", .build = patch_embed, .inputs = {"image", "w"}},
};

/* got against NAME.SUFFIX, whole or row by row. */
static void compare(const struct clip_bundle *f, const struct op_case *c, const char *suffix,
                    const float *got)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", c->name, suffix);
    const struct clip_tensor *want = fixture_tensor(f, "%s", name);
    double relative = c->relative > 0 ? c->relative : 1e-5;
    int64_t rows = c->row_by_row ? clip_tensor_rows(want) : 1, n = clip_tensor_count(want);
    test_close_rows(name, got, want->data, rows, n / rows, relative, 1e-6);
}

static void run_case(const struct clip_bundle *f, const struct op_case *c)
{
    struct clip_tensor leaves[4] = {{0}}, constant = {0};
    struct clip_tape *tape = fixture_tape();
    int n = 0;
    for (; n < 4 && c->inputs[n] != NULL; n++)
        leaves[n] = fixture_leaf(f, "%s.%s", c->name, c->inputs[n]);
    if (c->constant != NULL) constant = *fixture_tensor(f, "%s.%s", c->name, c->constant);
    struct clip_tensor *y = c->build(tape, leaves, c->constant != NULL ? &constant : NULL);
    fixture_tape_ok(tape);
    assert_int_equal(clip_tensor_count(y), clip_tensor_count(fixture_tensor(f, "%s.y", c->name)));
    compare(f, c, "y", y->data);
    clip_tape_backward_from(tape, y, fixture_f32(f, "%s.dy", c->name));
    for (int i = 0; i < n; i++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, "d%s", c->inputs[i]);
        compare(f, c, suffix, leaves[i].grad);
        fixture_leaf_free(&leaves[i]);
    }
    clip_tape_free(tape);
}

static void test_basic(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_bundle f = fixture_read(test_root(r), "ops/basic.safetensors");
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) run_case(&f, &cases[i]);
        clip_bundle_release(&f);
    }
}

/* Rows of one value: the variance is 0, so 1/sqrt(eps) = 316 would multiply the rounding of a mean;
 * dw is 0 in theory. */
static void test_layernorm_constant(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_bundle f = fixture_read(test_root(r), "ops/basic.safetensors");
        struct clip_tensor x = fixture_leaf(&f, "layernorm_constant.x"),
                           w = fixture_leaf(&f, "layernorm_constant.w");
        struct clip_tensor b = fixture_leaf(&f, "layernorm_constant.b");
        struct clip_tape *tape = fixture_tape();
        struct clip_tensor *y = clip_layernorm(tape, &x, &w, &b, 1e-5f);
        fixture_close_to(&f, "layernorm_constant.y", y->data, 1e-5, 1e-6);
        clip_tape_backward_from(tape, y, fixture_f32(&f, "layernorm_constant.dy"));
        fixture_close_to(&f, "layernorm_constant.dx", x.grad, 1e-4, 1e-6);
        fixture_close_to(&f, "layernorm_constant.dw", w.grad, 0, 1e-4);
        fixture_close_to(&f, "layernorm_constant.db", b.grad, 1e-5, 1e-6);
        fixture_leaf_free(&x);
        fixture_leaf_free(&w);
        fixture_leaf_free(&b);
        clip_tape_free(tape);
        clip_bundle_release(&f);
    }
}

/* ---- attention: the files hold q, k, v apart, [T,H,W]; ours stand side by side, [T,3D] ---- */

static void compare_part(const struct clip_bundle *f, const char *name, const char *part,
                         const float *dqkv, int64_t which, double relative)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s.d%s", name, part);
    const struct clip_tensor *want = fixture_tensor(f, "%s", whole);
    int64_t rows = want->shape[0], d = want->shape[1] * want->shape[2];
    float *got = calloc((size_t)(rows * d), sizeof *got);
    assert_non_null(got);
    for (int64_t r = 0; r < rows; r++)
        memcpy(got + r * d, dqkv + r * 3 * d + which * d, (size_t)d * sizeof *got);
    test_close(whole, got, fixture_f32(f, "%s", whole), rows * d, relative, 1e-6);
    free(got);
}

static void run_attention(const struct clip_bundle *f, const char *name, bool causal,
                          double relative)
{
    static const char *const parts[3] = {"q", "k", "v"};
    const struct clip_tensor *q = fixture_tensor(f, "%s.q", name);
    int64_t rows = q->shape[0], heads = q->shape[1], d = heads * q->shape[2];
    struct clip_tensor qkv =
        clip_tensor_f32(calloc((size_t)(rows * 3 * d), sizeof(float)), rows, 3 * d);
    struct clip_tensor offsets = *fixture_tensor(f, "offsets");
    qkv.grad = calloc((size_t)(rows * 3 * d), sizeof(float));
    qkv.needs_grad = true;
    assert_true(qkv.data != NULL && qkv.grad != NULL);
    for (int64_t part = 0; part < 3; part++)
        for (int64_t r = 0; r < rows; r++)
            memcpy((float *)qkv.data + r * 3 * d + part * d,
                   fixture_f32(f, "%s.%s", name, parts[part]) + r * d, (size_t)d * sizeof(float));
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *y = clip_attention(tape, &qkv, &offsets, heads, causal);
    char whole[64];
    snprintf(whole, sizeof whole, "%s.y", name);
    fixture_close_to(f, whole, y->data, relative, 1e-6);
    clip_tape_backward_from(tape, y, fixture_f32(f, "%s.dy", name));
    for (int64_t part = 0; part < 3; part++)
        compare_part(f, name, parts[part], qkv.grad, part, relative);
    clip_tape_free(tape);
    fixture_leaf_free(&qkv);
}

static void test_attention(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_bundle f = fixture_read(test_root(r), "ops/attention.safetensors");
        run_attention(&f, "attention", false, 1e-5);
        run_attention(&f, "attention_causal", true, 1e-5);
        run_attention(&f, "attention_large", true,
                      1e-3); /* scores of 1e4 are exact to 1e-3 in float32 */
        clip_bundle_release(&f);
    }
}

/* ---- a residual attention block, built as model/transformer.c builds it ---- */

enum {
    LN_1_W,
    LN_1_B,
    IN_PROJ_W,
    IN_PROJ_B,
    OUT_PROJ_W,
    OUT_PROJ_B,
    LN_2_W,
    LN_2_B,
    C_FC_W,
    C_FC_B,
    C_PROJ_W,
    C_PROJ_B,
    BLOCK
};

static const char *const block_names[BLOCK] = {
    "ln_1.weight",          "ln_1.bias",          "attn.in_proj_weight", "attn.in_proj_bias",
    "attn.out_proj.weight", "attn.out_proj.bias", "ln_2.weight",         "ln_2.bias",
    "mlp.c_fc.weight",      "mlp.c_fc.bias",      "mlp.c_proj.weight",   "mlp.c_proj.bias",
};

static struct clip_tensor *block_forward(struct clip_tape *t, struct clip_tensor *w,
                                         struct clip_tensor *x, struct clip_tensor *offsets,
                                         int64_t heads, bool causal)
{
    struct clip_tensor *h = clip_layernorm(t, x, &w[LN_1_W], &w[LN_1_B], 1e-5f);
    h = clip_linear(t, h, &w[IN_PROJ_W], &w[IN_PROJ_B], NULL);
    h = clip_attention(t, h, offsets, heads, causal);
    x = clip_linear(t, h, &w[OUT_PROJ_W], &w[OUT_PROJ_B], x);
    h = clip_layernorm(t, x, &w[LN_2_W], &w[LN_2_B], 1e-5f);
    h = clip_gelu(t, clip_linear(t, h, &w[C_FC_W], &w[C_FC_B], NULL));
    return clip_linear(t, h, &w[C_PROJ_W], &w[C_PROJ_B], x);
}

static double largest_difference(const float *a, const float *b, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    return largest;
}

/* The file does not say how many heads there are: the number whose output is nearest. */
static int64_t find_heads(const float *y, struct clip_tensor *w, struct clip_tensor *x,
                          struct clip_tensor *offsets, bool causal)
{
    struct clip_tape *tape = fixture_tape();
    int64_t d = clip_tensor_width(x), found = 0;
    double nearest = INFINITY;
    for (int64_t heads = 1; heads <= d; heads++) {
        if (d % heads != 0) continue;
        clip_tape_clear(tape);
        const float *got = block_forward(tape, w, x, offsets, heads, causal)->data;
        double off = largest_difference(got, y, clip_tensor_count(x));
        if (off >= nearest) continue;
        nearest = off;
        found = heads;
    }
    clip_tape_free(tape);
    return found;
}

static void run_block(const struct clip_bundle *f, const char *name, bool causal)
{
    struct clip_tensor w[BLOCK], x = fixture_leaf(f, "%s.x", name);
    int64_t batch = x.shape[0], rows = x.shape[1];
    int32_t *at = calloc((size_t)(batch + 1), sizeof *at);
    assert_non_null(at);
    for (int64_t b = 0; b <= batch; b++) at[b] = (int32_t)(b * rows);
    struct clip_tensor offsets = clip_tensor_i32(at, batch + 1);
    for (int i = 0; i < BLOCK; i++) w[i] = fixture_leaf(f, "w.%s", block_names[i]);
    x = (struct clip_tensor){CLIP_F32, 2, {batch * rows, x.shape[2]}, x.data, x.grad, true, NULL};
    int64_t heads = find_heads(fixture_f32(f, "%s.y", name), w, &x, &offsets, causal);
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *y = block_forward(tape, w, &x, &offsets, heads, causal);
    char whole[96];
    snprintf(whole, sizeof whole, "%s.y", name);
    fixture_close_to(f, whole, y->data, 1e-5, 1e-6);
    clip_tape_backward_from(tape, y, fixture_f32(f, "%s.dy", name));
    snprintf(whole, sizeof whole, "%s.dx", name);
    fixture_close_to(f, whole, x.grad, 1e-5, 1e-6);
    for (int i = 0; i < BLOCK; i++) {
        snprintf(whole, sizeof whole, "%s.d.%s", name, block_names[i]);
        fixture_close_to(f, whole, w[i].grad, 1e-5, 1e-6);
        fixture_leaf_free(&w[i]);
    }
    clip_tape_free(tape);
    fixture_leaf_free(&x);
    free(at);
}

static void test_block(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_bundle f = fixture_read(test_root(r), "ops/block.safetensors");
        run_block(&f, "block", false);
        run_block(&f, "block_causal", true);
        clip_bundle_release(&f);
    }
}

/* ---- what no file holds ---- */

/* y = x w + 0 and the residual: the forms of linear and project give the same numbers. */
static void test_linear_forms_agree(void **state)
{
    (void)state;
    enum { R = 70, D = 33, N = 20 };
    static float x[R * D], w[N * D], transposed[D * N], residual[R * N], expected[R * N];
    for (int i = 0; i < R * D; i++) x[i] = sinf((float)i);
    for (int i = 0; i < N * D; i++) w[i] = cosf((float)i) / 6;
    for (int i = 0; i < R * N; i++) residual[i] = (float)(i % 7) - 3;
    for (int n = 0; n < N; n++)
        for (int d = 0; d < D; d++) transposed[d * N + n] = w[n * D + d];
    for (int r = 0; r < R; r++)
        for (int n = 0; n < N; n++) {
            double sum = 0;
            for (int d = 0; d < D; d++) sum += (double)x[r * D + d] * (double)w[n * D + d];
            expected[r * N + n] = (float)sum;
        }
    struct clip_tensor tx = clip_tensor_f32(x, R, D), tw = clip_tensor_f32(w, N, D);
    struct clip_tensor tt = clip_tensor_f32(transposed, D, N), tr = clip_tensor_f32(residual, R, N);
    struct clip_tape *tape = fixture_tape();
    test_close("linear", clip_linear(tape, &tx, &tw, NULL, NULL)->data, expected, R * N, 1e-5,
               1e-6);
    test_close("project", clip_project(tape, &tx, &tt)->data, expected, R * N, 1e-5, 1e-6);
    for (int i = 0; i < R * N; i++) expected[i] += residual[i];
    test_close("linear + residual", clip_linear(tape, &tx, &tw, NULL, &tr)->data, expected, R * N,
               1e-5, 1e-6);
    clip_tape_free(tape);
}

/* A sequence does not see its neighbours: packed with others or alone, the same bits. */
static void test_attention_sequences_are_apart(void **state)
{
    (void)state;
    enum { ROWS = 150, D = 8 };
    static float data[ROWS * 3 * D];
    static const int32_t lengths[4] = {3, 1, 80, 66};
    int32_t offsets[5] = {0};
    for (int i = 0; i < ROWS * 3 * D; i++) data[i] = sinf((float)i * 1.7f);
    for (int s = 0; s < 4; s++) offsets[s + 1] = offsets[s] + lengths[s];
    struct clip_tensor qkv = clip_tensor_f32(data, ROWS, 3 * D), all = clip_tensor_i32(offsets, 5);
    struct clip_tape *tape = fixture_tape();
    for (int causal = 0; causal < 2; causal++) {
        struct clip_tensor *together = clip_attention(tape, &qkv, &all, 2, causal);
        for (int s = 0; s < 4; s++) {
            int32_t own[2] = {0, lengths[s]};
            struct clip_tensor mine = clip_tensor_f32(data + offsets[s] * 3 * D, lengths[s], 3 * D);
            struct clip_tensor at = clip_tensor_i32(own, 2),
                               *alone = clip_attention(tape, &mine, &at, 2, causal);
            assert_memory_equal(alone->data, (float *)together->data + offsets[s] * D,
                                (size_t)lengths[s] * D * sizeof(float));
        }
    }
    fixture_tape_ok(tape);
    clip_tape_free(tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),
        cmocka_unit_test(test_layernorm_constant),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_block),
        cmocka_unit_test(test_linear_forms_agree),
        cmocka_unit_test(test_attention_sequences_are_apart),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
