/* Every op's gradients against differences of its forward pass (tests/gradcheck.h): sizes that fill
 * no vector register or tile evenly, sizes past a tile, optional inputs there and absent. The last
 * test fails when an op file has no check. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "autograd/ops.h"
#include "core/rng.h"
#include "tests/gradcheck.h"

/* A shape as two arguments: how many dimensions, and which. */
#define SHAPE(...)                                                                                 \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), ((const int64_t[]){__VA_ARGS__})

/* What a build function gets beside its leaves. */
struct with {
    struct clip_tensor *ints; /* ids, rows, offsets, labels, kept patches; or NULL */
    int64_t number;           /* heads, batch */
    float factor;
    bool causal;
    unsigned together; /* see struct gradcheck */
    const void *more;  /* an op's own struct */
};

/* Checks `op` with leaves of the given tensors, then releases them. with NULL: nothing but them;
 * step 0: the usual one. */
static void gradcheck_op(const char *op, gradcheck_fn build, const struct with *with, int n,
                         struct clip_tensor *leaves, float step)
{
    struct gradcheck check = {.build = build, .context = with, .n = n, .step = step};
    check.together = with != NULL ? with->together : 0;
    check.through_leaves = true;
    for (int i = 0; i < n; i++) check.leaves[i] = &leaves[i];
    gradcheck(op, &check);
    for (int i = 0; i < n; i++) gradcheck_tensor_free(&leaves[i]);
}

/* Tensors as two arguments: how many, and an array of them. */
#define LEAVES(...)                                                                                \
    (int)(sizeof((struct clip_tensor[]){__VA_ARGS__}) / sizeof(struct clip_tensor)),               \
        (struct clip_tensor[])                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define NORMAL(scale, stream, ...) gradcheck_tensor(SHAPE(__VA_ARGS__), scale, stream)

/* ---- linear: with and without bias and residual ---- */

static struct clip_tensor *linear_all(struct clip_tape *t, struct clip_tensor *const *l,
                                      const void *context)
{
    (void)context;
    return clip_linear(t, l[0], l[1], l[2], l[3]);
}

static struct clip_tensor *linear_bare(struct clip_tape *t, struct clip_tensor *const *l,
                                       const void *context)
{
    (void)context;
    return clip_linear(t, l[0], l[1], NULL, NULL);
}

static struct clip_tensor *linear_bias(struct clip_tape *t, struct clip_tensor *const *l,
                                       const void *context)
{
    (void)context;
    return clip_linear(t, l[0], l[1], l[2], NULL);
}

static struct clip_tensor *linear_residual(struct clip_tape *t, struct clip_tensor *const *l,
                                           const void *context)
{
    (void)context;
    return clip_linear(t, l[0], l[1], NULL, l[2]);
}

static void check_linear(int64_t r, int64_t d, int64_t n)
{
    struct with none = {0};
    float s = 1.0f / sqrtf((float)d);
    gradcheck_op(
        "linear", linear_all, &none,
        LEAVES(NORMAL(1, 1, r, d), NORMAL(s, 2, n, d), NORMAL(1, 3, n), NORMAL(1, 4, r, n)), 0);
    gradcheck_op("linear", linear_bare, &none, LEAVES(NORMAL(1, 1, r, d), NORMAL(s, 2, n, d)), 0);
    gradcheck_op("linear", linear_bias, &none,
                 LEAVES(NORMAL(1, 1, r, d), NORMAL(s, 2, n, d), NORMAL(1, 3, n)), 0);
    gradcheck_op("linear", linear_residual, &none,
                 LEAVES(NORMAL(1, 1, r, d), NORMAL(s, 2, n, d), NORMAL(1, 4, r, n)), 0);
}

static void test_linear(void **state)
{
    (void)state;
    check_linear(5, 7, 3);
    check_linear(1, 1, 1);
    check_linear(130, 33, 70);
}

/* A residual that is the input itself: two gradients meet in one leaf. */
static struct clip_tensor *linear_to_itself(struct clip_tape *t, struct clip_tensor *const *l,
                                            const void *context)
{
    (void)context;
    return clip_linear(t, l[0], l[1], NULL, l[0]);
}

static void test_linear_residual_of_itself(void **state)
{
    (void)state;
    struct with none = {0};
    gradcheck_op("linear", linear_to_itself, &none,
                 LEAVES(NORMAL(1, 1, 6, 5), NORMAL(0.5f, 2, 5, 5)), 0);
}

/* ---- mlp: both activations, with and without a residual, its inner value kept or not ---- */

struct mlp_with {
    enum clip_activation activation;
    bool keep, residual;
};

static struct clip_tensor *mlp(struct clip_tape *t, struct clip_tensor *const *l,
                               const void *context)
{
    const struct mlp_with *with = ((const struct with *)context)->more;
    struct clip_mlp_weights w = {l[1], l[2], l[3], l[4]};
    return clip_mlp(t, l[0], &w, with->activation, with->keep, with->residual ? l[5] : NULL);
}

static void check_mlp(int64_t r, int64_t d, int64_t f, int64_t n, struct mlp_with with)
{
    struct with more = {.more = &with};
    float s = 1.0f / sqrtf((float)d), s2 = 1.0f / sqrtf((float)f);
    struct clip_tensor leaves[] = {
        NORMAL(1, 1, r, d),  NORMAL(s, 2, f, d), NORMAL(1, 3, f),
        NORMAL(s2, 4, n, f), NORMAL(1, 5, n),    NORMAL(1, 6, r, n),
    };
    gradcheck_op("mlp", mlp, &more, with.residual ? 6 : 5, leaves, 0);
    if (!with.residual) gradcheck_tensor_free(&leaves[5]);
}

static void test_mlp(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        check_mlp(5, 7, 9, 4, (struct mlp_with){CLIP_GELU, keep, true});
        check_mlp(1, 1, 1, 1, (struct mlp_with){CLIP_QUICK_GELU, keep, true});
        check_mlp(70, 33, 67, 40, (struct mlp_with){CLIP_QUICK_GELU, keep, false});
        check_mlp(9, 8, 16, 8, (struct mlp_with){CLIP_GELU_TANH, keep, true});
    }
}

/* A residual that is the input itself. */
static struct clip_tensor *mlp_to_itself(struct clip_tape *t, struct clip_tensor *const *l,
                                         const void *context)
{
    struct clip_mlp_weights w = {l[1], l[2], l[3], l[4]};
    (void)context;
    return clip_mlp(t, l[0], &w, CLIP_GELU, true, l[0]);
}

static void test_mlp_residual_of_itself(void **state)
{
    (void)state;
    struct with none = {0};
    gradcheck_op("mlp", mlp_to_itself, &none,
                 LEAVES(NORMAL(1, 1, 6, 5), NORMAL(0.5f, 2, 7, 5), NORMAL(1, 3, 7),
                        NORMAL(0.5f, 4, 5, 7), NORMAL(1, 5, 5)),
                 0);
}

static struct clip_tensor *project(struct clip_tape *t, struct clip_tensor *const *l,
                                   const void *context)
{
    (void)context;
    return clip_project(t, l[0], l[1]);
}

static void test_project(void **state)
{
    (void)state;
    struct with none = {0};
    gradcheck_op("project", project, &none, LEAVES(NORMAL(1, 1, 5, 7), NORMAL(0.4f, 2, 7, 3)), 0);
    gradcheck_op("project", project, &none, LEAVES(NORMAL(1, 1, 100, 65), NORMAL(0.1f, 2, 65, 40)),
                 0);
}

/* ---- rows by number ---- */

static struct clip_tensor *embedding(struct clip_tape *t, struct clip_tensor *const *l,
                                     const void *context)
{
    return clip_embedding(t, l[0], ((const struct with *)context)->ints);
}

static struct clip_tensor *attention_pool(struct clip_tape *t, struct clip_tensor *const *l,
                                          const void *context)
{
    const struct with *with = context;
    return clip_attention_pool(t, l[0], l[1], with->ints, with->number);
}

static void test_attention_pool(void **state)
{
    (void)state;
    int32_t at[] = {0, 1, 8, 90};
    struct clip_tensor offsets = clip_tensor_i32(at, 4);
    struct with one = {.ints = &offsets, .number = 1}, three = {.ints = &offsets, .number = 3};
    gradcheck_op("attention_pool", attention_pool, &one,
                 LEAVES(NORMAL(1, 1, 1, 5), NORMAL(1, 2, 90, 10)), 0);
    gradcheck_op("attention_pool", attention_pool, &three,
                 LEAVES(NORMAL(1, 1, 1, 12), NORMAL(1, 2, 90, 24)), 0);
}

static struct clip_tensor *mean_rows(struct clip_tape *t, struct clip_tensor *const *l,
                                     const void *context)
{
    return clip_mean_rows(t, l[0], ((const struct with *)context)->ints);
}

static void test_mean_rows(void **state)
{
    (void)state;
    int32_t at[] = {0, 1, 8, 90}, one[] = {0, 7};
    struct clip_tensor three = clip_tensor_i32(at, 4), single = clip_tensor_i32(one, 2);
    struct with a = {.ints = &three}, b = {.ints = &single};
    gradcheck_op("mean_rows", mean_rows, &a, LEAVES(NORMAL(1, 1, 90, 37)), 0);
    gradcheck_op("mean_rows", mean_rows, &b, LEAVES(NORMAL(1, 1, 7, 5)), 0);
}

static struct clip_tensor *gather(struct clip_tape *t, struct clip_tensor *const *l,
                                  const void *context)
{
    return clip_gather(t, l[0], ((const struct with *)context)->ints);
}

static struct clip_tensor *add_rows(struct clip_tape *t, struct clip_tensor *const *l,
                                    const void *context)
{
    return clip_add_rows(t, l[0], l[1], ((const struct with *)context)->ints);
}

static void test_rows_by_number(void **state)
{
    (void)state;
    int32_t few[7] = {3, 0, 3, 3, 9, 1, 0}, many[700];
    struct clip_rng rng = clip_rng_at(3, CLIP_RNG_TEST, 0, 0);
    for (int i = 0; i < 700; i++) many[i] = (int32_t)clip_rng_below(&rng, 10);
    struct clip_tensor short_ids = clip_tensor_i32(few, 7), long_ids = clip_tensor_i32(many, 700);
    struct with a = {.ints = &short_ids}, b = {.ints = &long_ids};
    gradcheck_op("embedding", embedding, &a, LEAVES(NORMAL(1, 1, 10, 5)), 0);
    gradcheck_op("embedding", embedding, &b, LEAVES(NORMAL(1, 1, 10, 33)), 0);
    gradcheck_op("gather", gather, &a, LEAVES(NORMAL(1, 1, 10, 5)), 0);
    gradcheck_op("gather", gather, &b, LEAVES(NORMAL(1, 1, 10, 33)), 0);
    gradcheck_op("add_rows", add_rows, &a, LEAVES(NORMAL(1, 1, 7, 5), NORMAL(1, 2, 10, 5)), 0);
    gradcheck_op("add_rows", add_rows, &b, LEAVES(NORMAL(1, 1, 700, 33), NORMAL(1, 2, 10, 33)), 0);
}

/* ---- norms and elementwise ---- */

static struct clip_tensor *layernorm(struct clip_tape *t, struct clip_tensor *const *l,
                                     const void *context)
{
    (void)context;
    return clip_layernorm(t, l[0], l[1], l[2], 1e-5f);
}

static void test_layernorm(void **state)
{
    (void)state;
    struct with none = {.together = 1 << 1 | 1 << 2};
    gradcheck_op("layernorm", layernorm, &none,
                 LEAVES(NORMAL(1, 1, 4, 9), NORMAL(1, 2, 9), NORMAL(1, 3, 9)), 0.02f);
    gradcheck_op("layernorm", layernorm, &none,
                 LEAVES(NORMAL(1, 1, 150, 70), NORMAL(1, 2, 70), NORMAL(1, 3, 70)), 0);
}

static struct clip_tensor *l2norm(struct clip_tape *t, struct clip_tensor *const *l,
                                  const void *context)
{
    (void)context;
    return clip_l2norm(t, l[0]);
}

static void test_l2norm(void **state)
{
    (void)state;
    struct with none = {0};
    gradcheck_op("l2norm", l2norm, &none, LEAVES(NORMAL(1, 1, 4, 9)), 0);
    gradcheck_op("l2norm", l2norm, &none, LEAVES(NORMAL(1, 1, 150, 70)), 0);
}

static struct clip_tensor *gelu(struct clip_tape *t, struct clip_tensor *const *l,
                                const void *context)
{
    (void)context;
    return clip_gelu(t, l[0]);
}

static struct clip_tensor *quickgelu(struct clip_tape *t, struct clip_tensor *const *l,
                                     const void *context)
{
    (void)context;
    return clip_quickgelu(t, l[0]);
}

static struct clip_tensor *add(struct clip_tape *t, struct clip_tensor *const *l,
                               const void *context)
{
    (void)context;
    return clip_add(t, l[0], l[1]);
}

static struct clip_tensor *add_to_itself(struct clip_tape *t, struct clip_tensor *const *l,
                                         const void *context)
{
    (void)context;
    return clip_add(t, l[0], l[0]);
}

static struct clip_tensor *scale(struct clip_tape *t, struct clip_tensor *const *l,
                                 const void *context)
{
    return clip_scale(t, l[0], ((const struct with *)context)->factor);
}

static void test_elementwise(void **state)
{
    (void)state;
    struct with none = {0}, with = {.factor = -1.7f};
    gradcheck_op("gelu", gelu, &none, LEAVES(NORMAL(2, 1, 5, 13)), 0);
    gradcheck_op("gelu", gelu, &none, LEAVES(NORMAL(2, 1, 3, 20000)), 0);
    gradcheck_op("quickgelu", quickgelu, &none, LEAVES(NORMAL(2, 1, 5, 13)), 0.02f);
    gradcheck_op("quickgelu", quickgelu, &none, LEAVES(NORMAL(2, 1, 3, 20000)), 0.02f);
    gradcheck_op("add", add, &none, LEAVES(NORMAL(1, 1, 5, 13), NORMAL(1, 2, 5, 13)), 0);
    gradcheck_op("add", add_to_itself, &none, LEAVES(NORMAL(1, 1, 5, 13)), 0);
    gradcheck_op("scale", scale, &with, LEAVES(NORMAL(1, 1, 2, 3, 4)), 0);
}

/* ---- images ---- */

static struct clip_tensor *patch_embed(struct clip_tape *t, struct clip_tensor *const *l,
                                       const void *context)
{
    return clip_patch_embed(t, l[0], l[1], ((const struct with *)context)->ints);
}

static void test_patch_embed(void **state)
{
    (void)state;
    int32_t kept[6] = {5, 0, 3, 2, 4, 1};
    struct clip_tensor keep = clip_tensor_view(CLIP_I32, kept, SHAPE(2, 3));
    struct with all = {0}, some = {.ints = &keep};
    gradcheck_op("patch_embed", patch_embed, &all,
                 LEAVES(NORMAL(1, 1, 2, 3, 6, 9), NORMAL(0.3f, 2, 5, 3, 3, 3)), 0);
    gradcheck_op("patch_embed", patch_embed, &some,
                 LEAVES(NORMAL(1, 1, 2, 3, 6, 9), NORMAL(0.3f, 2, 5, 3, 3, 3)), 0);
    gradcheck_op("patch_embed", patch_embed, &all,
                 LEAVES(NORMAL(1, 1, 3, 1, 32, 32), NORMAL(0.3f, 2, 34, 1, 4, 4)), 0);
}

static struct clip_tensor *prepend_class(struct clip_tape *t, struct clip_tensor *const *l,
                                         const void *context)
{
    return clip_prepend_class(t, l[0], l[1], ((const struct with *)context)->number);
}

static void test_prepend_class(void **state)
{
    (void)state;
    struct with one = {.number = 1}, three = {.number = 3};
    gradcheck_op("prepend_class", prepend_class, &one, LEAVES(NORMAL(1, 1, 4, 5), NORMAL(1, 2, 5)),
                 0);
    gradcheck_op("prepend_class", prepend_class, &three,
                 LEAVES(NORMAL(1, 1, 600, 35), NORMAL(1, 2, 35)), 0);
}

/* ---- attention: sequences of one row, of several, and past the op's tile; qkv [T,3D] ---- */

static struct clip_tensor *attention(struct clip_tape *t, struct clip_tensor *const *l,
                                     const void *context)
{
    const struct with *with = context;
    return clip_attention(t, l[0], with->ints, with->number, with->causal);
}

static void test_attention(void **state)
{
    (void)state;
    int32_t few[5] = {0, 1, 6, 8, 11}, longer[4] = {0, 70, 71, 210};
    struct clip_tensor short_offsets = clip_tensor_i32(few, 5),
                       long_offsets = clip_tensor_i32(longer, 4);
    for (int causal = 0; causal < 2; causal++) {
        struct with a = {.ints = &short_offsets, .number = 2, .causal = causal};
        struct with b = {.ints = &long_offsets, .number = 3, .causal = causal};
        gradcheck_op("attention", attention, &a, LEAVES(NORMAL(1, 1, 11, 3 * 2 * 5)), 0);
        gradcheck_op("attention", attention, &b, LEAVES(NORMAL(1, 1, 210, 3 * 3 * 4)), 0);
    }
}

/* ---- lora: beside a layer of one part, and beside query, key and value ---- */

static struct clip_tensor *lora(struct clip_tape *t, struct clip_tensor *const *l,
                                const void *context)
{
    const struct with *w = context;
    const struct clip_lora_args args = {w->factor, (int)(w->number / 10),
                                        (unsigned)(w->number % 10)};
    return clip_lora(t, l[0], l[1], l[2], w->causal ? l[3] : NULL, &args);
}

static void test_lora(void **state)
{
    (void)state;
    struct with with = {.factor = 1.7f, .number = 11};
    gradcheck_op("lora", lora, &with,
                 LEAVES(NORMAL(1, 1, 7, 9), NORMAL(1, 2, 3, 9), NORMAL(1, 3, 11, 3)), 0);
    with.causal = true; /* with a residual */
    gradcheck_op(
        "lora", lora, &with,
        LEAVES(NORMAL(1, 1, 35, 9), NORMAL(1, 2, 2, 9), NORMAL(1, 3, 11, 2), NORMAL(1, 4, 35, 11)),
        0);
    with.number = 35; /* parts 0 and 2 of 3 */
    gradcheck_op(
        "lora", lora, &with,
        LEAVES(NORMAL(1, 1, 7, 9), NORMAL(1, 2, 6, 9), NORMAL(1, 3, 10, 3), NORMAL(1, 4, 7, 15)),
        0);
    with.causal = false;
    with.number = 32; /* part 1 of 3 */
    gradcheck_op("lora", lora, &with,
                 LEAVES(NORMAL(1, 1, 7, 9), NORMAL(1, 2, 4, 9), NORMAL(1, 3, 5, 4)), 0);
}

/* ---- losses; rows are l2-normalised inside, as they are when training ---- */

static struct clip_tensor *infonce(struct clip_tape *t, struct clip_tensor *const *l,
                                   const void *context)
{
    struct clip_tensor *image = clip_l2norm(t, l[0]), *text = clip_l2norm(t, l[1]);
    return clip_infonce(t, image, text, l[2], ((const struct with *)context)->ints);
}

static struct clip_tensor *sigmoid_loss(struct clip_tape *t, struct clip_tensor *const *l,
                                        const void *context)
{
    struct clip_tensor *image = clip_l2norm(t, l[0]), *text = clip_l2norm(t, l[1]);
    return clip_sigmoid_loss(t, image, text, l[2], l[3], ((const struct with *)context)->ints);
}

static struct clip_tensor scalar(float value)
{
    struct clip_tensor tensor = gradcheck_tensor(0, NULL, 0, 0);
    *(float *)tensor.data = value;
    return tensor;
}

/* The loss is one float32: of size 100 at N = 150, it is exact to 4e-6, which a step below 0.1
 * would enlarge too much; a low temperature keeps the fifth derivative small enough for that step.
 */
static void check_losses(int64_t n, int64_t texts, int64_t e, struct clip_tensor *ids)
{
    struct with with = {.ints = ids};
    float step = n < 100 ? 0.03f : 0.1f, s = n < 100 ? 1.5f : 0.4f;
    gradcheck_op("infonce", infonce, &with,
                 LEAVES(NORMAL(1, 1, n, e), NORMAL(1, 2, texts, e), scalar(s)), step);
    gradcheck_op("sigmoid_loss", sigmoid_loss, &with,
                 LEAVES(NORMAL(1, 1, n, e), NORMAL(1, 2, texts, e), scalar(s), scalar(-1.0f)),
                 step);
}

static void test_losses(void **state)
{
    (void)state;
    int32_t numbers[150];
    for (int i = 0; i < 150; i++) numbers[i] = i * 7 % 31;
    struct clip_tensor few = clip_tensor_i32(numbers, 5), many = clip_tensor_i32(numbers, 150);
    check_losses(1, 1, 3, NULL);
    check_losses(5, 5, 4, NULL);
    check_losses(150, 150, 6, NULL);
    numbers[3] = numbers[1];
    check_losses(5, 5, 4, &few);
    check_losses(150, 150, 6, &many);
    check_losses(1, 2, 3, NULL); /* hard negatives behind the pairs' texts */
    check_losses(5, 8, 4, &few);
}

/* Two towers against a teacher of another width; texts behind the pairs' do not count. */
static struct clip_tensor *distill(struct clip_tape *t, struct clip_tensor *const *l,
                                   const void *context)
{
    struct clip_tensor *image = clip_l2norm(t, l[0]), *text = clip_l2norm(t, l[1]);
    int64_t n = l[0]->shape[0];
    struct clip_tensor *teacher = ((const struct with *)context)->ints; /* f32 [2N,D] */
    int64_t d = teacher->shape[1];
    struct clip_tensor *sides[2];
    for (int side = 0; side < 2; side++) {
        sides[side] = clip_tape_input(t, CLIP_F32, 2, (const int64_t[]){n, d});
        memcpy(sides[side]->data, (float *)teacher->data + side * n * d,
               (size_t)(n * d) * sizeof(float));
    }
    return clip_distill(t, image, text, l[2], sides[0], sides[1],
                        ((const struct with *)context)->factor);
}

static void check_distill(int64_t n, int64_t texts)
{
    struct clip_tensor teacher = NORMAL(0.6f, 9, 2 * n, 7);
    struct with with = {.ints = &teacher, .factor = 2.5f};
    float step = n < 100 ? 0.03f : 0.1f, s = n < 100 ? 1.2f : 0.4f;
    gradcheck_op("distill", distill, &with,
                 LEAVES(NORMAL(1, 1, n, 4), NORMAL(1, 2, texts, 4), scalar(s)), step);
    gradcheck_tensor_free(&teacher);
}

static void test_distill(void **state)
{
    (void)state;
    check_distill(2, 2);
    check_distill(6, 9);
    check_distill(150, 150);
}

/* ---- no op without a check ---- */

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    if (file != NULL) {
        if (fread(text, 1, (1 << 20) - 1, file) == 0) text[0] = 0;
        fclose(file);
    }
    return text;
}

static void test_every_op_is_checked(void **state)
{
    (void)state;
    char *mine = read_text(__FILE__);
    DIR *folder = opendir("autograd/ops");
    if (mine[0] == 0 || folder == NULL) {
        if (folder != NULL) closedir(folder);
        free(mine);
        skip(); /* the sources are elsewhere: an installed test */
    }
    int ops = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (n < 3 || strcmp(entry->d_name + n - 2, ".c") != 0) continue;
        char path[320], call[320];
        snprintf(path, sizeof path, "autograd/ops/%s", entry->d_name);
        char *source = read_text(path);
        bool defines_op = strstr(source, "const struct clip_op ") != NULL;
        free(source);
        if (!defines_op) continue;
        ops++;
        snprintf(call, sizeof call, "gradcheck_op(\"%.*s\"", (int)(n - 2), entry->d_name);
        bool checked = strstr(mine, call) != NULL;
        if (!checked) fail_msg("%s has no gradient check here (no call %s, ...)", path, call);
    }
    closedir(folder);
    free(mine);
    assert_true(ops > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),      cmocka_unit_test(test_linear_residual_of_itself),
        cmocka_unit_test(test_mlp),         cmocka_unit_test(test_mlp_residual_of_itself),
        cmocka_unit_test(test_project),     cmocka_unit_test(test_rows_by_number),
        cmocka_unit_test(test_layernorm),   cmocka_unit_test(test_l2norm),
        cmocka_unit_test(test_elementwise), cmocka_unit_test(test_attention_pool),
        cmocka_unit_test(test_patch_embed), cmocka_unit_test(test_prepend_class),
        cmocka_unit_test(test_attention),   cmocka_unit_test(test_lora),
        cmocka_unit_test(test_losses),      cmocka_unit_test(test_distill),
        cmocka_unit_test(test_mean_rows),   cmocka_unit_test(test_every_op_is_checked),
    };
    return cmocka_run_group_tests_name("ops_gradients", tests, NULL, NULL);
}
