/* AdamW, schedules, clipping and moving average against PyTorch's numbers (ops/adamw of every
 * reference set) and against their formulas. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "kernels/bf16.h"
#include "optim/optim.h"
#include "tests/fixture.h"
#include "tests/gradcheck.h"

static struct clip_adamw *new_adamw(const struct clip_adamw_options *options,
                                    const struct clip_optim_param *params, int64_t count,
                                    int64_t size)
{
    struct clip_adamw *adamw = NULL;
    struct clip_error error = {0};
    test_ok(clip_adamw_create(&adamw, options, params, count, size, &error), &error);
    return adamw;
}

/* torch.optim.AdamW, step by step: lr 3e-3, betas 0.9 0.98, eps 1e-6, weight decay 0.2. */
static void adamw_follows_pytorch(void **state)
{
    (void)state;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_bundle f = fixture_read(test_root(r), "ops/adamw.safetensors");
        int64_t steps = fixture_tensor(&f, "grads")->shape[0],
                n = clip_tensor_count(fixture_tensor(&f, "p0"));
        const struct clip_adamw_options options = {0.9, 0.98, 1e-6, 0.2};
        const struct clip_optim_param param = {0, 0, n, true, true, 1};
        struct clip_adamw *adamw = new_adamw(&options, &param, 1, n);
        struct clip_tensor p = fixture_leaf(&f, "p0");
        for (int64_t s = 0; s < steps; s++) {
            clip_adamw_step(adamw, p.data, fixture_f32(&f, "grads") + s * n, 3e-3, 1);
            test_close("AdamW", p.data, fixture_f32(&f, "p") + s * n, n, 0, 1e-6);
        }
        assert_int_equal(adamw->step, steps);
        fixture_leaf_free(&p);
        clip_adamw_free(adamw);
        clip_bundle_release(&f);
    }
}

/* Three parameters with a gap between: decay, none, not trained, learning rates of their own;
 * gradients scaled. The second stands further back in the data than in the gradients. */
static void each_parameter_has_its_own_rule(void **state)
{
    (void)state;
    enum { SIZE = 64 };
    const struct clip_adamw_options options = {0.9, 0.999, 1e-8, 0.1};
    const struct clip_optim_param params[] = {
        {0, 0, 10, true, true, 1}, {24, 16, 20, false, true, 0.25}, {48, 48, 16, true, false, 1}};
    float *data = gradcheck_normal(SIZE, 1, 1), *grad = gradcheck_normal(SIZE, 1, 2), before[SIZE];
    memcpy(before, data, sizeof before);
    struct clip_adamw *adamw = new_adamw(&options, params, 3, SIZE);
    clip_adamw_step(adamw, data, grad, 0.01, 0.5);
    for (int i = 0; i < SIZE; i++) {
        /* after one step m / (1 - beta1) = g and v / (1 - beta2) = g g */
        double g = 0.5 * (double)grad[i < 24 ? i : i - 8], update = g / (fabs(g) + 1e-8),
               start = (double)before[i], expected = start;
        if (i < 10) expected = start * (1 - 0.01 * 0.1) - 0.01 * update;
        if (i >= 24 && i < 44) expected = start - 0.01 * 0.25 * update;
        test_close_f64("parameter", (double)data[i], expected, 1e-6, 1e-6);
    }
    clip_adamw_free(adamw);
    free(data);
    free(grad);
}

/* A gradient of zero leaves what does not decay as it is, to the bit. */
static void zero_gradient_moves_nothing(void **state)
{
    (void)state;
    const struct clip_adamw_options options = {0.9, 0.98, 1e-6, 0.2};
    const struct clip_optim_param param = {0, 0, 100, false, true, 1};
    float *data = gradcheck_normal(100, 1, 1), *same = gradcheck_normal(100, 1, 1),
          *zero = gradcheck_normal(100, 0, 0);
    struct clip_adamw *adamw = new_adamw(&options, &param, 1, 100);
    for (int s = 0; s < 5; s++) clip_adamw_step(adamw, data, zero, 1e-3, 1);
    test_same_f32("weights", data, same, 100);
    clip_adamw_free(adamw);
    free(data);
    free(same);
    free(zero);
}

/* With moments stored as bfloat16, a constant gradient of 1: m and v must come to 1 - beta^t in the
 * mean, though at beta2 = 0.999 what a step adds to v is less than half a last digit from 0.25 on
 * (v would stand still there if it were rounded to nearest); then a gradient of 0: v must fall by
 * beta2 a step, again by less than half a digit. A stored value's digit is 2^-8 of it at most, so
 * that the sum of some hundred random roundings is off by 0.03 at most, its mean over N elements by
 * 0.03 / sqrt(N) = 1.2e-4; five times that is allowed. */
static void bf16_moments_do_not_stall(void **state)
{
    (void)state;
    enum { N = 65536, STEPS = 400 };
    const struct clip_adamw_options options = {0.9, 0.999, 1e-6, 0, .moments = CLIP_MOMENTS_BF16};
    const struct clip_optim_param param = {0, 0, N, true, true, 1};
    float *data = gradcheck_normal(N, 1, 1), *grad = gradcheck_normal(N, 0, 0);
    struct clip_adamw *adamw = new_adamw(&options, &param, 1, N);
    double expected[2] = {0, 0};
    for (int half = 0; half < 2; half++) {
        for (int64_t i = 0; i < N; i++) grad[i] = half == 0 ? 1.0f : 0.0f;
        for (int s = 0; s < STEPS; s++) {
            clip_adamw_step(adamw, data, grad, 1e-3, 1);
            expected[0] = 0.9 * expected[0] + (half == 0 ? 0.1 : 0);
            expected[1] = 0.999 * expected[1] + (half == 0 ? 0.001 : 0);
        }
        for (int k = 0; k < 2; k++) {
            const uint16_t *moment = k == 0 ? adamw->moment1 : adamw->moment2;
            double sum = 0;
            for (int64_t i = 0; i < N; i++) sum += (double)clip_bf16_widen(moment[i]);
            test_close_f64(k == 0 ? "mean of m" : "mean of v", sum / N, expected[k], 0, 6e-4);
        }
    }
    clip_adamw_free(adamw);
    free(data);
    free(grad);
}

/* The draws belong to steps and elements: the same bits with 1, 2 and 3 threads. */
static void bf16_moments_draw_by_element(void **state)
{
    (void)state;
    enum { N = 200000 };
    const struct clip_adamw_options options = {0.9, 0.98, 1e-6, 0.2, .moments = CLIP_MOMENTS_BF16};
    const struct clip_optim_param params[] = {{0, 0, 150000, true, true, 1},
                                              {150016, 150016, 49000, false, true, 0.5}};
    float *first = NULL, *grad = gradcheck_normal(N, 1, 2);
    int before = clip_threads_count();
    for (int threads = 1; threads <= 3; threads++) {
        float *data = gradcheck_normal(N, 1, 1);
        clip_threads_set(threads);
        struct clip_adamw *adamw = new_adamw(&options, params, 2, N);
        for (int s = 0; s < 5; s++) clip_adamw_step(adamw, data, grad, 1e-3, 1);
        clip_adamw_free(adamw);
        if (first == NULL) {
            first = data;
            continue;
        }
        test_same_f32("weights", data, first, N);
        free(data);
    }
    clip_threads_set(before);
    free(first);
    free(grad);
}

static void norm_and_clipping(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    const struct clip_adamw_options options = {0.9, 0.98, 1e-6, 0.2};
    const struct clip_optim_param params[] = {{0, 0, 200000, true, true, 1},
                                              {200000, 200000, 50000, true, false, 1},
                                              {250016, 250016, 49000, true, true, 1}};
    float *grad = gradcheck_normal(SIZE, 3, 1);
    struct clip_adamw *adamw = new_adamw(&options, params, 3, SIZE);
    double sum = 0, first = 0;
    for (int64_t i = 0; i < SIZE; i++) {
        bool counted = i < 200000 || (i >= 250016 && i < 299016);
        sum += counted ? (double)grad[i] * (double)grad[i] : 0;
    }
    int before = clip_threads_count();
    for (int threads = 1; threads <= 3; threads++) {
        clip_threads_set(threads);
        clip_grad_squares(adamw, grad);
        double norm = clip_grad_norm(adamw);
        test_close_f64("norm", norm, sqrt(sum), 1e-7, 0);
        if (threads == 1) first = norm;
        assert_true(memcmp(&norm, &first, sizeof norm) == 0);
    }
    clip_threads_set(before);
    /* torch.nn.utils.clip_grad_norm_ */
    test_close_f64("above the limit", clip_grad_scale(4, 1), 1 / (4 + 1e-6), 1e-12, 0);
    test_close_f64("at the limit", clip_grad_scale(1, 1), 1 / (1 + 1e-6), 1e-12, 0);
    test_close_f64("below the limit", clip_grad_scale(0.5, 1), 1, 0, 0);
    test_close_f64("no limit", clip_grad_scale(1e9, 0), 1, 0, 0);
    clip_adamw_free(adamw);
    free(grad);
}

/* open_clip_train/scheduler.py: cosine_lr, const_lr, const_lr_cooldown. */
static void schedules(void **state)
{
    (void)state;
    const double pi = 3.14159265358979323846;
    struct clip_schedule s = {CLIP_SCHEDULE_COSINE, 2e-3, 10, 110, 0};
    for (int64_t step = 0; step < 10; step++)
        test_close_f64("warmup", clip_schedule_lr(&s, step), 2e-3 * (double)(step + 1) / 10, 1e-12,
                       0);
    test_close_f64("top", clip_schedule_lr(&s, 10), 2e-3, 1e-12, 0);
    test_close_f64("middle", clip_schedule_lr(&s, 60), 1e-3, 1e-12, 0);
    test_close_f64("last", clip_schedule_lr(&s, 109), 1e-3 * (1 + cos(pi * 0.99)), 1e-12, 0);
    s.kind = CLIP_SCHEDULE_CONST;
    test_close_f64("const, warmup", clip_schedule_lr(&s, 4), 1e-3, 1e-12, 0);
    test_close_f64("const", clip_schedule_lr(&s, 109), 2e-3, 1e-12, 0);
    s.kind = CLIP_SCHEDULE_COOLDOWN;
    s.cooldown = 20;
    test_close_f64("before the cooldown", clip_schedule_lr(&s, 89), 2e-3, 1e-12, 0);
    test_close_f64("cooldown begins", clip_schedule_lr(&s, 90), 2e-3, 1e-12, 0);
    test_close_f64("half way down", clip_schedule_lr(&s, 100), 1e-3, 1e-12, 0);
    test_close_f64("last of the cooldown", clip_schedule_lr(&s, 109), 2e-3 / 20, 1e-9, 0);
}

/* Nothing to warm up, a warmup as long as the run, and one step in all: no division by zero
 * anywhere. */
static void schedules_at_their_ends(void **state)
{
    (void)state;
    for (int kind = CLIP_SCHEDULE_COSINE; kind <= CLIP_SCHEDULE_COOLDOWN; kind++) {
        const struct clip_schedule runs[] = {
            {kind, 1, 0, 5, 0}, {kind, 1, 5, 5, 0}, {kind, 1, 0, 1, 1}, {kind, 1, 9, 5, 2}};
        for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
            for (int64_t step = 0; step < runs[i].total; step++) {
                double lr = clip_schedule_lr(&runs[i], step);
                assert_true(isfinite(lr) && lr >= 0 && lr <= 1);
            }
        test_close_f64("first of all", clip_schedule_lr(&runs[0], 0), 1, 0, 0);
    }
}

static void moving_average(void **state)
{
    (void)state;
    enum { N = 70000 };
    float *average = gradcheck_normal(N, 1, 1), *start = gradcheck_normal(N, 1, 1),
          *data = gradcheck_normal(N, 1, 2);
    clip_ema_update(average, data, 0.9, N);
    for (int64_t i = 0; i < N; i++)
        start[i] = (float)(0.9 * (double)start[i] + 0.1 * (double)data[i]);
    test_close("average", average, start, N, 1e-6, 0);
    free(average);
    free(start);
    free(data);
}

/* min(decay, (1 + t) / (10 + t)), and what it leaves of the first weights. */
static void moving_average_warms_up(void **state)
{
    (void)state;
    const struct {
        double decay;
        int64_t t;
        double expected;
    } rows[] = {
        {0.9999, 1, 2.0 / 11},
        {0.9999, 10, 0.55},
        {0.9999, 56, 57.0 / 66},
        {0.9999, 89989, 89990.0 / 89999}, /* (1 + t) / (10 + t) = 0.9999 at t = 89990 */
        {0.9999, 89991, 0.9999},
        {0.9999, 1000000000000, 0.9999},
        {0.1, 1, 0.1},
        {0, 5, 0},
    };
    double left = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        test_close_f64("decay", clip_ema_decay(rows[i].decay, rows[i].t), rows[i].expected, 1e-15,
                       0);
    for (int64_t t = 1; t <= 10; t++) left *= clip_ema_decay(0.9999, t);
    test_close_f64("left after ten updates", left, 11.0 / (4.0 * 46189), 1e-15, 0);
}

/* Three processes' parts, stepped one after the other, against one that has all. */
static void parts_make_the_bits_of_one(void **state)
{
    (void)state;
    enum { PARAMS = 4, SIZE = 400000, PARTS = 3 };
    const struct clip_optim_param params[PARAMS] = {{0, 0, 200001, true, true, 1},
                                                    {200016, 200016, 5, false, true, 0.5},
                                                    {200032, -1, 7, false, false, 1},
                                                    {200048, 200032, 199952, true, true, 1}};
    struct clip_adamw_options options = {0.9, 0.98, 1e-6, 0.2, CLIP_MOMENTS_BF16};
    float *data = malloc(SIZE * sizeof *data), *shared = malloc(SIZE * sizeof *data),
          *grad = malloc(SIZE * sizeof *data);
    struct clip_adamw *whole = new_adamw(&options, params, PARAMS, SIZE), *parts[PARTS];
    assert_true(data != NULL && shared != NULL && grad != NULL);
    for (int64_t i = 0; i < SIZE; i++) data[i] = shared[i] = (float)sin((double)i);
    options.parts = PARTS;
    for (options.part = 0; options.part < PARTS; options.part++)
        parts[options.part] = new_adamw(&options, params, PARAMS, SIZE);
    for (int r = 1; r < PARTS; r++) assert_int_equal(parts[r]->begin, parts[r - 1]->end);
    assert_int_equal(parts[0]->begin, 0);
    assert_int_equal(parts[PARTS - 1]->end, SIZE);
    for (int step = 0; step < 3; step++) {
        for (int64_t i = 0; i < SIZE; i++) grad[i] = (float)cos((double)(i * 7 + step));
        clip_grad_squares(whole, grad);
        clip_adamw_step(whole, data, grad, 1e-3, 0.5);
        for (int r = 0; r < PARTS; r++) {
            int64_t first = parts[r]->parts.pieces[r], end = parts[r]->parts.pieces[r + 1];
            clip_grad_squares(parts[r], grad);
            for (int64_t k = first; k < end; k++) assert_true(parts[r]->sums[k] == whole->sums[k]);
            clip_adamw_step(parts[r], shared, grad, 1e-3, 0.5);
        }
    }
    test_same_f32("parameters", shared, data, SIZE);
    for (int r = 0; r < PARTS; r++) {
        const uint16_t *all = whole->moment2;
        assert_memory_equal(parts[r]->moment2, all + parts[r]->begin,
                            (size_t)(parts[r]->end - parts[r]->begin) * sizeof *all);
        clip_adamw_free(parts[r]);
    }
    clip_adamw_free(whole);
    free(data);
    free(shared);
    free(grad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_make_the_bits_of_one),
        cmocka_unit_test(adamw_follows_pytorch),
        cmocka_unit_test(each_parameter_has_its_own_rule),
        cmocka_unit_test(zero_gradient_moves_nothing),
        cmocka_unit_test(bf16_moments_do_not_stall),
        cmocka_unit_test(bf16_moments_draw_by_element),
        cmocka_unit_test(norm_and_clipping),
        cmocka_unit_test(schedules),
        cmocka_unit_test(schedules_at_their_ends),
        cmocka_unit_test(moving_average),
        cmocka_unit_test(moving_average_warms_up),
    };
    return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
