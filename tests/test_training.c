/* The training step against open_clip's (training/ of every reference set): losses, gradient norms,
 * learning rates and weights of a whole run, the clamp of logit_scale, clipping that sets in and
 * out, large batches by pieces.
 *
 * Tolerances are those of the float32 run against float64 times about twenty: loss 1e-5, norms and
 * gradients 1e-4 relative, weights 3e-6 after one step, 3e-5 after ten, 1e-4 after thirty (AdamW
 * divides small gradients by their own size, so their rounding reaches the weights whole). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "tests/training_run.h"

/* Every tensor of `weights` that begins with `prefix` against the model's parameter (or gradient)
 * of that name. */
static void compare_model(struct training *r, const struct clip_bundle *weights, const char *prefix,
                          bool grads, double relative, double absolute)
{
    int64_t compared = 0;
    for (int64_t i = 0; i < weights->tensor_count; i++) {
        const char *name = weights->tensors[i].name;
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        struct clip_param *p = clip_model_param(r->model, name + strlen(prefix));
        if (p == NULL) test_fail("the model has no parameter %s", name + strlen(prefix));
        fixture_close_to(weights, name, grads ? p->tensor.grad : p->tensor.data, relative,
                         absolute);
        compared++;
    }
    assert_true(compared > 0);
}

static void compare_file(struct training *r, const char *path, bool grads, double relative,
                         double absolute)
{
    struct clip_bundle weights = fixture_read(r->root, path);
    compare_model(r, &weights, "", grads, relative, absolute);
    clip_bundle_release(&weights);
}

static void compare_result(const struct clip_bundle *log, const char *prefix, int64_t step,
                           const struct clip_step_result *got)
{
    char what[64];
    snprintf(what, sizeof what, "%sloss of step %lld", prefix, (long long)step);
    test_close_f64(what, got->loss, (double)fixture_f32(log, "%sloss", prefix)[step], 1e-6, 1e-5);
    snprintf(what, sizeof what, "%sgrad_norm of step %lld", prefix, (long long)step);
    test_close_f64(what, got->grad_norm, (double)fixture_f32(log, "%sgrad_norm", prefix)[step],
                   1e-4, 0);
    snprintf(what, sizeof what, "%slogit_scale after step %lld", prefix, (long long)step);
    test_close_f64(what, got->logit_scale, (double)fixture_f32(log, "%slogit_scale", prefix)[step],
                   0, 1e-5);
}

static void compare_lr(const struct clip_bundle *log, const char *prefix, int64_t step, double got)
{
    test_close_f64("lr", got, (double)fixture_f32(log, "%slr", prefix)[step], 1e-6, 1e-12);
}

/* ---- a whole run ---- */

static void thirty_steps(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        struct clip_bundle log = fixture_read(test_root(i), "training/steps.safetensors");
        int64_t steps = fixture_tensor(&log, "loss")->shape[0];
        training_open(&r, test_root(i), 1);
        int64_t batch = r.capacity;
        struct clip_step *step = training_step_new(&r);
        for (int64_t s = 0; s < steps; s++) {
            struct clip_step_result got = training_step(step, training_batch(&r, s * batch, batch));
            compare_result(&log, "", s, &got);
            compare_lr(&log, "", s, got.lr);
            if (s == 0) compare_file(&r, "training/grad_step0.safetensors", true, 1e-4, 1e-7);
            if (s == 0) compare_file(&r, "training/after_01.safetensors", false, 0, 3e-6);
            if (s == 9) compare_file(&r, "training/after_10.safetensors", false, 0, 3e-5);
            if (s == 29) compare_file(&r, "training/after_30.safetensors", false, 0, 1e-4);
        }
        assert_int_equal(step->adamw->step, steps);
        clip_step_free(step);
        clip_bundle_release(&log);
        training_close(&r);
    }
}

/* Thirty steps with bfloat16 products, bfloat16 moments, or both. A cosine of rounded unit rows is
 * off by a last digit of 2^-8 at most, a logit by exp(logit_scale) of these, and a loss is a mean
 * of logits. Moments are rounded at random: what is off in one step is made up for in the next, and
 * the loss stays where it was to a thousandth of its fall. (500 steps of a larger model:
 * docs/performance.md.) */
static void narrow_numbers_follow(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        struct clip_bundle log = fixture_read(test_root(i), "training/steps.safetensors");
        int64_t steps = fixture_tensor(&log, "loss")->shape[0];
        const float *loss = fixture_f32(&log, "loss");
        double fallen = (double)loss[0] - (double)loss[steps - 1];
        training_open(&r, test_root(i), 1);
        for (int kind = 1; kind < 4; kind++) {
            training_reset(&r);
            r.options.optim.moments = kind & 1 ? CLIP_MOMENTS_BF16 : CLIP_MOMENTS_F32;
            r.options.train.precision = kind & 2 ? CLIP_PRECISION_BF16 : CLIP_PRECISION_FP32;
            struct clip_step *step = training_step_new(&r);
            double worst = 0;
            for (int64_t s = 0; s < steps; s++) {
                const struct clip_batch *batch = training_batch(&r, s * r.capacity, r.capacity);
                double off = training_step(step, batch).loss - (double)loss[s];
                worst = fmax(worst, fabs(off));
            }
            double scale = exp((double)*(const float *)r.model->logit_scale->data);
            assert_true(worst < (kind & 2 ? scale * 0x1p-8 : 0.001 * fallen));
            clip_step_free(step);
        }
        clip_bundle_release(&log);
        training_close(&r);
    }
}

/* logit_scale is clamped to [0, ln 100] after each update. */
static void clamp(struct training *r, const char *name)
{
    char prefix[16];
    struct clip_bundle log = fixture_read(r->root, "training/clamp.safetensors");
    snprintf(prefix, sizeof prefix, "%s.", name);
    training_reset(r);
    *(float *)r->model->logit_scale->data = fixture_scalar(&log, "%s.start", name);
    struct clip_step *step = training_step_new(r);
    int64_t steps = fixture_tensor(&log, "%s.loss", name)->shape[0];
    for (int64_t s = 0; s < steps; s++) {
        struct clip_step_result got =
            training_step(step, training_batch(r, s * r->capacity, r->capacity));
        compare_result(&log, prefix, s, &got);
    }
    clip_step_free(step);
    clip_bundle_release(&log);
}

static void logit_scale_is_clamped(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        training_open(&r, test_root(i), 1);
        clamp(&r, "high");
        clamp(&r, "low");
        training_close(&r);
    }
}

/* A limit between the norms: some steps are clipped, others not. */
static void clipping_sets_in_and_out(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        struct clip_bundle log = fixture_read(test_root(i), "training/clip_mixed.safetensors");
        training_open(&r, test_root(i), 1);
        r.options.optim.grad_clip_norm = (double)fixture_scalar(&log, "clip_norm");
        struct clip_step *step = training_step_new(&r);
        int64_t steps = fixture_tensor(&log, "loss")->shape[0], clipped = 0;
        for (int64_t s = 0; s < steps; s++) {
            struct clip_step_result got =
                training_step(step, training_batch(&r, s * r.capacity, r.capacity));
            compare_result(&log, "", s, &got);
            compare_lr(&log, "", s, got.lr);
            clipped += got.grad_norm > r.options.optim.grad_clip_norm;
        }
        assert_true(clipped > 0 && clipped < steps);
        compare_model(&r, &log, "after_08.", false, 0, 3e-5);
        clip_step_free(step);
        clip_bundle_release(&log);
        training_close(&r);
    }
}

/* ---- large batches by pieces ---- */

/* Three steps of two batches each, whole or in pieces of `micro`, against plain steps of the wide
 * batch. */
static void wide_run(struct training *r, int64_t micro)
{
    struct clip_bundle log = fixture_read(r->root, "training/accum2_steps.safetensors");
    int64_t steps = fixture_tensor(&log, "wide.loss")->shape[0];
    training_reset(r);
    r->options.train.micro_batch = micro;
    /* this run's schedule spans half the steps of the long one */
    r->options.steps = (int64_t)fixture_number(r->config, "total_steps") / 2;
    struct clip_step *step = training_step_new(r);
    for (int64_t s = 0; s < steps; s++) {
        struct clip_step_result got =
            training_step(step, training_batch(r, s * r->capacity, r->capacity));
        compare_result(&log, "wide.", s, &got);
        compare_lr(&log, "wide.", s, got.lr);
    }
    compare_file(r, "training/wide_after_03.safetensors", false, 0, 1e-5);
    clip_step_free(step);
    clip_bundle_release(&log);
}

static void wide_batches_by_pieces(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        training_open(&r, test_root(i), 2);
        wide_run(&r, 0);
        wide_run(&r, r.capacity / 2);
        wide_run(&r, 7); /* the last piece is smaller */
        wide_run(&r, 1);
        training_close(&r);
    }
}

/* Gradients of one batch whole and in pieces, for any loss: equal but for the order of sums. */
static void check_pieces(struct training *r, int64_t micro)
{
    const struct clip_batch *batch = training_batch(r, 0, r->capacity);
    int64_t size = r->model->size;
    float *whole = calloc((size_t)size, sizeof *whole);
    assert_non_null(whole);
    training_reset(r);
    r->options.train.micro_batch = 0;
    struct clip_step *step = training_step_new(r);
    double loss = training_step(step, batch).loss;
    memcpy(whole, r->model->grad, (size_t)size * sizeof *whole);
    size_t whole_bytes = clip_tape_peak(step->tape);
    clip_step_free(step);
    training_reset(r);
    r->options.train.micro_batch = micro;
    step = training_step_new(r);
    test_close_f64("loss by pieces", training_step(step, batch).loss, loss, 1e-6, 0);
    for (int64_t i = 0; i < r->model->param_count; i++) {
        struct clip_param *p = &r->model->params[i];
        test_close(p->name, p->tensor.grad, whole + p->offset, clip_tensor_count(&p->tensor), 1e-4,
                   1e-6);
    }
    if (micro <= r->capacity / 4) assert_true(clip_tape_peak(step->tape) < whole_bytes * 3 / 4);
    clip_step_free(step);
    free(whole);
}

static void pieces_of_every_loss(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++)
        for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
            struct training r;
            training_open_for(&r, test_root(i), 2, sigmoid);
            check_pieces(&r, 3);
            r.options.train.multi_positive = true;
            check_pieces(&r, r.capacity - 1);
            training_close(&r);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thirty_steps),           cmocka_unit_test(narrow_numbers_follow),
        cmocka_unit_test(logit_scale_is_clamped), cmocka_unit_test(clipping_sets_in_and_out),
        cmocka_unit_test(wide_batches_by_pieces), cmocka_unit_test(pieces_of_every_loss),
    };
    clip_threads_set(1); /* the models are tiny; threads have a test of their own */
    return cmocka_run_group_tests_name("training", tests, NULL, NULL);
}
