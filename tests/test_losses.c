/* The contrastive losses against PyTorch's numbers (losses/ of every reference set), and what no
 * file can hold: sizes past their tile, the temperature's upper end, memory that grows with N and
 * not with N squared. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "core/threads.h"
#include "tests/fixture.h"
#include "tests/gradcheck.h"

/* One loss on features that are not normalised: what it needs and what it gives. */
struct loss {
    struct clip_tensor image, text, scale, bias, ids; /* bias: sigmoid loss; ids: no data, none */
    float value;
};

static void loss_run(struct loss *l, bool sigmoid)
{
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *image = clip_l2norm(tape, &l->image), *text = clip_l2norm(tape, &l->text);
    struct clip_tensor *ids = l->ids.data != NULL ? &l->ids : NULL, *y;
    if (sigmoid)
        y = clip_sigmoid_loss(tape, image, text, &l->scale, &l->bias, ids);
    else
        y = clip_infonce(tape, image, text, &l->scale, ids);
    fixture_tape_ok(tape);
    l->value = *(const float *)y->data;
    clip_tape_backward(tape, y);
    clip_tape_free(tape);
}

static void loss_release(struct loss *l)
{
    fixture_leaf_free(&l->image);
    fixture_leaf_free(&l->text);
    fixture_leaf_free(&l->scale);
    if (l->bias.data != NULL) fixture_leaf_free(&l->bias);
}

struct tolerance {
    double relative, absolute;
};

static void compare_one(const struct clip_bundle *f, const char *key, const char *suffix,
                        const struct clip_tensor *leaf, const struct tolerance *allowed)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", key, suffix);
    fixture_close_to(f, name, leaf->grad, allowed->relative, allowed->absolute);
}

/* The loss `key` ("clip", "same.siglip") of inputs that begin with `prefix`, against the file. */
static void compare_loss(const struct clip_bundle *f, const char *key, struct loss *l, bool sigmoid,
                         const struct tolerance *allowed)
{
    char name[160];
    loss_run(l, sigmoid);
    snprintf(name, sizeof name, "%s.loss", key);
    fixture_close_to(f, name, &l->value, allowed->relative, allowed->absolute);
    compare_one(f, key, "d_image", &l->image, allowed);
    compare_one(f, key, "d_text", &l->text, allowed);
    struct tolerance for_scale = {allowed->relative, allowed->absolute};
    if (strchr(key, '.') != NULL) for_scale.absolute = fmax(for_scale.absolute, 1e-5);
    compare_one(f, key, "d_logit_scale", &l->scale, &for_scale);
    if (sigmoid) compare_one(f, key, "d_logit_bias", &l->bias, allowed);
    loss_release(l);
}

static struct clip_tensor unit_rows(int64_t n, int64_t e, uint64_t stream)
{
    struct clip_tensor rows = gradcheck_tensor(2, (const int64_t[]){n, e}, 1, stream);
    float *x = rows.data;
    for (int64_t i = 0; i < n; i++) {
        double norm = 0;
        for (int64_t k = 0; k < e; k++) norm += (double)x[i * e + k] * (double)x[i * e + k];
        for (int64_t k = 0; k < e; k++) x[i * e + k] = (float)((double)x[i * e + k] / sqrt(norm));
    }
    rows.grad = gradcheck_normal(n * e, 0, 0);
    rows.needs_grad = true;
    return rows;
}

static struct clip_tensor scalar_leaf(float value)
{
    struct clip_tensor leaf = gradcheck_tensor(0, NULL, 0, 0);
    leaf.grad = gradcheck_normal(1, 0, 0);
    leaf.needs_grad = true;
    *(float *)leaf.data = value;
    return leaf;
}

/* ---- nN_dD.safetensors ---- */

static void run_file(const char *root, const char *path)
{
    static const struct tolerance allowed = {1e-5, 1e-7};
    struct clip_bundle f = fixture_read(root, path);
    struct loss clip = {fixture_leaf(&f, "image"),
                        fixture_leaf(&f, "text"),
                        fixture_leaf(&f, "logit_scale"),
                        {0},
                        {0},
                        0};
    compare_loss(&f, "clip", &clip, false, &allowed);
    struct loss multi = {fixture_leaf(&f, "image"),       fixture_leaf(&f, "text"),
                         fixture_leaf(&f, "logit_scale"), {0},
                         *fixture_tensor(&f, "ids"),      0};
    compare_loss(&f, "multi", &multi, false, &allowed);
    struct loss siglip = {fixture_leaf(&f, "image"),
                          fixture_leaf(&f, "text"),
                          fixture_leaf(&f, "siglip.logit_scale"),
                          fixture_leaf(&f, "siglip.logit_bias"),
                          {0},
                          0};
    compare_loss(&f, "siglip", &siglip, true, &allowed);
    clip_bundle_release(&f);
}

static void test_files(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_names names = {0};
        struct clip_error error = {0};
        char path[1024];
        int64_t files = 0;
        snprintf(path, sizeof path, "%s/losses", test_root(r));
        if (clip_folder_list(path, &names, &error) != CLIP_OK) test_fail("%s", error.message);
        for (int64_t i = 0; i < names.count; i++) {
            if (names.names[i][0] != 'n' || !clip_path_has_suffix(names.names[i], ".safetensors"))
                continue;
            snprintf(path, sizeof path, "losses/%s", names.names[i]);
            run_file(test_root(r), path);
            files++;
        }
        clip_names_release(&names);
        assert_true(files > 0);
    }
}

/* ---- hard_negatives.safetensors, distill.safetensors: of the committed set alone ---- */

static void test_negatives_file(void **state)
{
    (void)state;
    static const struct tolerance allowed = {1e-5, 1e-7};
    struct clip_bundle f = fixture_read("tests/reference", "losses/hard_negatives.safetensors");
    for (int form = 0; form < 3; form++) {
        struct loss l = {fixture_leaf(&f, "image"),
                         fixture_leaf(&f, "text"),
                         fixture_leaf(&f, "logit_scale"),
                         {0},
                         {0},
                         0};
        if (form == 1) l.ids = *fixture_tensor(&f, "ids");
        if (form == 2) l.bias = fixture_leaf(&f, "logit_bias");
        compare_loss(&f, (const char *[]){"clip", "multi", "siglip"}[form], &l, form == 2,
                     &allowed);
    }
    clip_bundle_release(&f);
}

static void test_distill_file(void **state)
{
    (void)state;
    struct clip_bundle f = fixture_read("tests/reference", "losses/distill.safetensors");
    struct clip_tensor image = fixture_leaf(&f, "image"), text = fixture_leaf(&f, "text"),
                       scale = fixture_leaf(&f, "logit_scale"),
                       teacher_image = *fixture_tensor(&f, "teacher_image"),
                       teacher_text = *fixture_tensor(&f, "teacher_text");
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *y = clip_distill(tape, clip_l2norm(tape, &image), clip_l2norm(tape, &text),
                                         &scale, &teacher_image, &teacher_text,
                                         fixture_scalar(&f, "teacher_scale"));
    fixture_tape_ok(tape);
    fixture_close_to(&f, "distill.loss", y->data, 1e-5, 1e-7);
    clip_tape_backward(tape, y);
    fixture_close_to(&f, "distill.d_image", image.grad, 1e-5, 1e-7);
    fixture_close_to(&f, "distill.d_text", text.grad, 1e-5, 1e-7);
    fixture_close_to(&f, "distill.d_logit_scale", scale.grad, 1e-5, 1e-7);
    clip_tape_free(tape);
    fixture_leaf_free(&image);
    fixture_leaf_free(&text);
    fixture_leaf_free(&scale);
    clip_bundle_release(&f);
}

/* A student that is its own teacher has nothing to learn. */
static void test_distill_of_itself(void **state)
{
    (void)state;
    struct clip_tensor image = unit_rows(140, 12, 1), text = unit_rows(140, 12, 2),
                       scale = scalar_leaf(logf(20)), teacher_image = image, teacher_text = text;
    struct clip_tape *tape = fixture_tape();
    float zeros[140 * 12] = {0};
    teacher_image.needs_grad = teacher_text.needs_grad = false;
    struct clip_tensor *y =
        clip_distill(tape, &image, &text, &scale, &teacher_image, &teacher_text, 20);
    clip_tape_backward(tape, y);
    test_close("divergence", y->data, zeros, 1, 0, 1e-6);
    test_close("d image", image.grad, zeros, 140 * 12, 0, 1e-6);
    test_close("d text", text.grad, zeros, 140 * 12, 0, 1e-6);
    clip_tape_free(tape);
    fixture_leaf_free(&image);
    fixture_leaf_free(&text);
    fixture_leaf_free(&scale);
}

/* ---- extreme.safetensors ---- */

/* Logits of size 100 are exact to 1e-5 in float32, so 1e-4. Where the
 * gradients of every feature are 0 in theory (all_equal: features that are all the same), what is
 * left is rounding: 2e-5 absolute. Elsewhere 3e-6: what of a gradient lies along its own row, of
 * size 100 / |row|, cancels in the normalisation and leaves its rounding. d_logit_scale sums p S:
 * with p exact to 6e-8 and S = 100 that leaves 1e-5. */

static void run_extreme(const struct clip_bundle *f, const char *name)
{
    struct tolerance allowed = {1e-4, strcmp(name, "all_equal") == 0 ? 2e-5 : 3e-6};
    char key[112];
    for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
        struct loss l = {fixture_leaf(f, "%s.image", name),
                         fixture_leaf(f, "%s.text", name),
                         fixture_leaf(f, "%s.logit_scale", name),
                         {0},
                         {0},
                         0};
        if (sigmoid) {
            l.bias = fixture_leaf(f, "%s.logit_scale", name);
            *(float *)l.bias.data = -10;
        }
        snprintf(key, sizeof key, "%s.%s", name, sigmoid ? "siglip" : "clip");
        compare_loss(f, key, &l, sigmoid, &allowed);
    }
}

static void test_extreme(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_bundle f = fixture_read(test_root(r), "losses/extreme.safetensors");
        int64_t cases = 0;
        for (int64_t i = 0; i < f.tensor_count; i++) {
            char name[96];
            const char *end = strstr(f.tensors[i].name, ".clip.loss");
            if (end == NULL || end[10] != 0) continue;
            snprintf(name, sizeof name, "%.*s", (int)(end - f.tensors[i].name), f.tensors[i].name);
            run_extreme(&f, name);
            cases++;
        }
        clip_bundle_release(&f);
        assert_true(cases > 0);
    }
}

/* ---- against the formulas written out in double ---- */

static bool plain_positive(const int32_t *ids, int64_t i, int64_t j, int64_t n)
{
    return j < n && (ids != NULL ? ids[i] == ids[j] : i == j);
}

/* Softmax cross-entropy of `s` [n,texts] with even targets over positives, along rows or along the
 * first n columns; adds half of its gradient to ds. */
static double plain_cross_entropy(const double *s, double *ds, const int32_t *ids, int64_t n,
                                  int64_t texts, bool columns)
{
    int64_t line = columns ? 1 : texts, step = columns ? texts : 1, m = columns ? n : texts;
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        double max = -INFINITY, sum = 0, positives = 0, mean = 0;
        for (int64_t j = 0; j < m; j++) max = fmax(max, s[i * line + j * step]);
        for (int64_t j = 0; j < m; j++) {
            sum += exp(s[i * line + j * step] - max);
            bool positive = plain_positive(ids, i, j, n);
            positives += positive;
            mean += positive ? s[i * line + j * step] : 0;
        }
        total += max + log(sum) - mean / positives;
        for (int64_t j = 0; j < m; j++) {
            double p = exp(s[i * line + j * step] - max) / sum;
            bool positive = plain_positive(ids, i, j, n);
            ds[i * line + j * step] += (p - (positive ? 1 / positives : 0)) / (2 * (double)n);
        }
    }
    return total / (2 * (double)n);
}

static double plain_sigmoid(const double *s, double *ds, const int32_t *ids, int64_t n,
                            int64_t texts)
{
    double total = 0;
    for (int64_t i = 0; i < n * texts; i++) {
        bool positive = plain_positive(ids, i / texts, i % texts, n);
        double z = positive ? 1 : -1, u = -z * s[i];
        total += fmax(u, 0) + log1p(exp(-fabs(u)));
        ds[i] = -z / (1 + exp(-u)) / (double)n;
    }
    return total / (double)n;
}

/* What a loss on unit rows must give: value, d image, d text, d logit_scale, d logit_bias. */
struct plain {
    double value, d_scale, d_bias;
    float *d_image, *d_text;
};

static struct plain plain_loss(const struct loss *l, bool sigmoid)
{
    int64_t n = l->image.shape[0], m = l->text.shape[0], e = l->image.shape[1];
    const float *a = l->image.data, *b = l->text.data;
    const int32_t *ids = l->ids.data;
    double scale = exp((double)*(float *)l->scale.data),
           bias = sigmoid ? (double)*(float *)l->bias.data : 0;
    double *s = calloc((size_t)(n * m), sizeof *s), *ds = calloc((size_t)(n * m), sizeof *ds);
    struct plain p = {.d_image = gradcheck_normal(n * e, 0, 0),
                      .d_text = gradcheck_normal(m * e, 0, 0)};
    assert_true(s != NULL && ds != NULL);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) {
            for (int64_t k = 0; k < e; k++)
                s[i * m + j] += (double)a[i * e + k] * (double)b[j * e + k];
            s[i * m + j] = scale * s[i * m + j] + bias;
        }
    p.value = sigmoid ? plain_sigmoid(s, ds, ids, n, m)
                      : plain_cross_entropy(s, ds, ids, n, m, false) +
                            plain_cross_entropy(s, ds, ids, n, m, true);
    for (int64_t i = 0; i < n * e; i++) {
        double sum = 0;
        for (int64_t j = 0; j < m; j++) sum += ds[i / e * m + j] * (double)b[j * e + i % e];
        p.d_image[i] = (float)(scale * sum);
    }
    for (int64_t i = 0; i < m * e; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += ds[j * m + i / e] * (double)a[j * e + i % e];
        p.d_text[i] = (float)(scale * sum);
    }
    for (int64_t i = 0; i < n * m; i++) {
        p.d_scale += ds[i] * (s[i] - bias);
        p.d_bias += ds[i];
    }
    free(s);
    free(ds);
    return p;
}

/* N pairs (and `more` hard negatives) on unit rows, so that no normalisation blurs the comparison.
 */
static void check_plain(int64_t n, int64_t more, float logit_scale, bool sigmoid, bool with_ids)
{
    struct loss l = {unit_rows(n, 12, 1),
                     unit_rows(n + more, 12, 2),
                     scalar_leaf(logit_scale),
                     scalar_leaf(-3),
                     {0},
                     0};
    int32_t *ids = calloc((size_t)n, sizeof *ids);
    assert_non_null(ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(i * i % (n / 3 + 1));
    if (with_ids) l.ids = clip_tensor_i32(ids, n);
    struct plain p = plain_loss(&l, sigmoid);
    struct clip_tape *tape = fixture_tape();
    struct clip_tensor *y =
        sigmoid ? clip_sigmoid_loss(tape, &l.image, &l.text, &l.scale, &l.bias,
                                    with_ids ? &l.ids : NULL)
                : clip_infonce(tape, &l.image, &l.text, &l.scale, with_ids ? &l.ids : NULL);
    clip_tape_backward(tape, y);
    char what[96];
    snprintf(what, sizeof what, "%s%s of %lld pairs and %lld negatives",
             sigmoid ? "sigmoid" : "infonce", with_ids ? " with ids" : "", (long long)n,
             (long long)more);
    /* at exp(logit_scale) = 100 logits are exact to 1e-5, relative to p as much */
    double allowed = logit_scale > 4 ? 1e-4 : 1e-5;
    test_close(what, y->data, &(float){(float)p.value}, 1, allowed, 1e-6);
    test_close(what, l.image.grad, p.d_image, n * 12, allowed, 1e-7);
    test_close(what, l.text.grad, p.d_text, (n + more) * 12, allowed, 1e-7);
    test_close(what, l.scale.grad, &(float){(float)p.d_scale}, 1, allowed, 1e-5);
    if (sigmoid) test_close(what, l.bias.grad, &(float){(float)p.d_bias}, 1, allowed, 1e-6);
    clip_tape_free(tape);
    free(p.d_image);
    free(p.d_text);
    free(ids);
    loss_release(&l);
}

/* Around the tile of 128 rows and the 64 columns of the running sums, at both ends of the
 * temperature. */
static void test_sizes_around_a_tile(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int form = 0; form < 4; form++) {
            check_plain(sizes[i], 0, logf(1 / 0.07f), form & 1, form & 2);
            check_plain(sizes[i], 0, logf(100), form & 1, form & 2);
        }
}

/* None, one, some and more negatives than pairs. */
static void test_hard_negatives(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {2, 70}, {63, 2}, {129, 1}, {200, 131}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int form = 0; form < 4; form++) {
            check_plain(sizes[i][0], sizes[i][1], logf(1 / 0.07f), form & 1, form & 2);
            check_plain(sizes[i][0], sizes[i][1], logf(100), form & 1, form & 2);
        }
}

/* Ids that are all different change nothing but the path taken; the same id everywhere leaves
 * nothing to learn but log N. */
static void test_ids_at_their_ends(void **state)
{
    (void)state;
    enum { N = 70 };
    int32_t apart[N], same[N] = {0};
    for (int i = 0; i < N; i++) apart[i] = 1000 - i;
    struct loss bare = {
        unit_rows(N, 6, 1), unit_rows(N, 6, 2), scalar_leaf(2), scalar_leaf(0), {0}, 0};
    struct loss each = {unit_rows(N, 6, 1), unit_rows(N, 6, 2),        scalar_leaf(2),
                        scalar_leaf(0),     clip_tensor_i32(apart, N), 0};
    struct loss one = {unit_rows(N, 6, 1), unit_rows(N, 6, 1),       scalar_leaf(-30),
                       scalar_leaf(0),     clip_tensor_i32(same, N), 0};
    loss_run(&bare, false);
    loss_run(&each, false);
    loss_run(&one, false);
    test_close("loss", &each.value, &bare.value, 1, 1e-6, 0);
    test_close("d image", each.image.grad, bare.image.grad, N * 6, 1e-6, 0);
    test_close("d text", each.text.grad, bare.text.grad, N * 6, 1e-6, 0);
    test_close("one id", &one.value, &(float){logf(N)}, 1, 1e-6, 0);
    loss_release(&bare);
    loss_release(&each);
    loss_release(&one);
}

/* The peak of forward and backward while planning, where nothing is computed: any N is cheap. */
static double planned_peak(int64_t n, int64_t e, bool sigmoid)
{
    struct clip_tape *tape = fixture_tape();
    float scale_data = 1, bias_data = 0, grads[2] = {0};
    struct clip_tensor scale = clip_tensor_view(CLIP_F32, &scale_data, 0, NULL);
    struct clip_tensor bias = clip_tensor_view(CLIP_F32, &bias_data, 0, NULL);
    scale.needs_grad = bias.needs_grad = true;
    scale.grad = &grads[0];
    bias.grad = &grads[1];
    tape->plan = true;
    struct clip_tensor *image = clip_tape_input(tape, CLIP_F32, 2, (const int64_t[]){n, e});
    struct clip_tensor *text = clip_tape_input(tape, CLIP_F32, 2, (const int64_t[]){n, e});
    image->needs_grad = text->needs_grad = true;
    struct clip_tensor *y = sigmoid ? clip_sigmoid_loss(tape, image, text, &scale, &bias, NULL)
                                    : clip_infonce(tape, image, text, &scale, NULL);
    clip_tape_backward(tape, y);
    double peak = (double)clip_tape_peak(tape);
    clip_tape_free(tape);
    return peak;
}

static void test_memory_grows_with_n(void **state)
{
    (void)state;
    for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
        double small = planned_peak(4096, 16, sigmoid), large = planned_peak(32768, 16, sigmoid);
        assert_true(small > 0);
        /* eight times as many pairs, eight times the memory; N x N would be 64 times and 4.3 GB */
        assert_true(large < 8.5 * small);
        assert_true(large < 32768.0 * 1024 * sizeof(float));
    }
}

static void test_same_bits_for_any_threads(void **state)
{
    (void)state;
    int before = clip_threads_count();
    for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
        struct loss first = {
            unit_rows(300, 16, 1), unit_rows(300, 16, 2), scalar_leaf(3), scalar_leaf(-5), {0}, 0};
        clip_threads_set(1);
        loss_run(&first, sigmoid);
        for (int threads = 2; threads <= 5; threads++) {
            struct loss again = {unit_rows(300, 16, 1),
                                 unit_rows(300, 16, 2),
                                 scalar_leaf(3),
                                 scalar_leaf(-5),
                                 {0},
                                 0};
            clip_threads_set(threads);
            loss_run(&again, sigmoid);
            assert_memory_equal(&again.value, &first.value, sizeof first.value);
            assert_memory_equal(again.image.grad, first.image.grad, 300 * 16 * sizeof(float));
            assert_memory_equal(again.text.grad, first.text.grad, 300 * 16 * sizeof(float));
            assert_memory_equal(again.scale.grad, first.scale.grad, sizeof(float));
            loss_release(&again);
        }
        loss_release(&first);
    }
    clip_threads_set(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_negatives_file),
        cmocka_unit_test(test_distill_file),
        cmocka_unit_test(test_distill_of_itself),
        cmocka_unit_test(test_extreme),
        cmocka_unit_test(test_sizes_around_a_tile),
        cmocka_unit_test(test_hard_negatives),
        cmocka_unit_test(test_ids_at_their_ends),
        cmocka_unit_test(test_memory_grows_with_n),
        cmocka_unit_test(test_same_bits_for_any_threads),
    };
    return cmocka_run_group_tests_name("losses", tests, NULL, NULL);
}
