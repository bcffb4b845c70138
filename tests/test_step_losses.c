/* Steps with more than pairs to learn from: hard negative captions and a teacher's embeddings.
 * Pieces give the gradient of the whole batch, no number of threads changes a bit, and each adds
 * something to the loss. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "tests/gradcheck.h"
#include "tests/training_run.h"

/* The run's first batch with the captions of the next pairs, every third left out, as negatives. */
struct extended {
    struct clip_batch batch;
    struct clip_teacher teacher;
    int32_t *tokens, *offsets, *owners;
};

static void extend(struct extended *e, struct training *r)
{
    int64_t n = r->capacity / 2, dim = 5;
    const struct clip_batch *all = training_batch(r, 0, r->capacity);
    e->batch = *all;
    e->batch.count = n;
    e->tokens = calloc((size_t)(2 * n * r->context), sizeof *e->tokens);
    e->offsets = calloc((size_t)(2 * n + 1), sizeof *e->offsets);
    e->owners = calloc((size_t)n, sizeof *e->owners);
    assert_true(e->tokens != NULL && e->offsets != NULL && e->owners != NULL);
    int64_t texts = 0;
    for (int64_t b = 0; b < 2 * n; b++) {
        if (b >= n && b % 3 == 0) continue;
        int32_t length = all->offsets[b + 1] - all->offsets[b];
        memcpy(e->tokens + e->offsets[texts], all->tokens + all->offsets[b],
               (size_t)length * sizeof *e->tokens);
        e->offsets[texts + 1] = e->offsets[texts] + length;
        if (b >= n) e->owners[texts - n] = (int32_t)(b - n);
        texts++;
    }
    e->batch.owners = e->owners;
    e->batch.negatives = texts - n;
    e->batch.tokens = e->tokens;
    e->batch.offsets = e->offsets;
    e->teacher = (struct clip_teacher){.count = r->pairs, .dim = dim, .scale = 12};
    e->teacher.image = gradcheck_normal(r->pairs * dim, 0.5f, 21);
    e->teacher.text = gradcheck_normal(r->pairs * dim, 0.5f, 22);
    e->teacher.there = malloc((size_t)r->pairs);
    assert_non_null(e->teacher.there);
    memset(e->teacher.there, 1, (size_t)r->pairs);
    r->options.train.batch_size = n;
}

static void extended_release(struct extended *e)
{
    free(e->tokens);
    free(e->offsets);
    free(e->owners);
    clip_teacher_release(&e->teacher);
}

/* The loss of one step, and the gradients that it had (heap). */
static float *one_step(struct training *r, const struct extended *e, int64_t micro, double *loss)
{
    training_reset(r);
    r->options.train.micro_batch = micro;
    struct clip_step *step = training_step_new(r);
    *loss = training_step(step, &e->batch).loss;
    float *grads = malloc((size_t)r->model->size * sizeof *grads);
    assert_non_null(grads);
    memcpy(grads, r->model->grad, (size_t)r->model->size * sizeof *grads);
    clip_step_free(step);
    return grads;
}

static void check_pieces(struct training *r, const struct extended *e, const char *what)
{
    double whole, pieces;
    float *expected = one_step(r, e, 0, &whole);
    for (int64_t micro = 1; micro < r->options.train.batch_size; micro += 2) {
        float *got = one_step(r, e, micro, &pieces);
        test_close_f64(what, pieces, whole, 1e-5, 0);
        for (int64_t i = 0; i < r->model->param_count; i++) {
            const struct clip_param *p = &r->model->params[i];
            if (strstr(p->name, "in_proj_bias") != NULL) continue; /* a third is rounding alone */
            test_close(p->name, got + p->offset, expected + p->offset,
                       clip_tensor_count(&p->tensor), 1e-4, 1e-6);
        }
        free(got);
    }
    free(expected);
}

static void check_threads(struct training *r, const struct extended *e, int64_t micro)
{
    int before = clip_threads_count();
    double loss, again_loss;
    clip_threads_set(1);
    float *first = one_step(r, e, micro, &loss);
    clip_threads_set(3);
    float *again = one_step(r, e, micro, &again_loss);
    clip_threads_set(before);
    assert_memory_equal(&loss, &again_loss, sizeof loss);
    test_same_f32("gradients with other threads", again, first, r->model->size);
    free(first);
    free(again);
}

static void check_run(bool sigmoid)
{
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        struct extended e = {0};
        double plain, loss;
        training_open_for(&r, test_root(i), 2, sigmoid);
        extend(&e, &r);
        int64_t negatives = e.batch.negatives;
        assert_true(negatives > 0 && negatives < e.batch.count);
        e.batch.negatives = 0;
        free(one_step(&r, &e, 0, &plain));

        r.options.negatives = true;
        e.batch.negatives = negatives;
        free(one_step(&r, &e, 0, &loss));
        assert_true(loss > plain);
        check_pieces(&r, &e, "loss with negatives");

        r.options.teacher = &e.teacher;
        r.options.train.distill_weight = 0;
        double weightless;
        free(one_step(&r, &e, 0, &weightless));
        test_close_f64("a weight of 0", weightless, loss, 1e-6, 0);
        r.options.train.distill_weight = 1.5;
        free(one_step(&r, &e, 0, &loss));
        assert_true(loss > weightless + 1e-3);
        check_pieces(&r, &e, "loss with negatives and teacher");
        check_threads(&r, &e, 0);
        check_threads(&r, &e, 3);
        extended_release(&e);
        training_close(&r);
    }
}

static void infonce_in_pieces(void **state)
{
    (void)state;
    check_run(false);
}

static void sigmoid_in_pieces(void **state)
{
    (void)state;
    check_run(true);
}

/* A sample that the teacher could not read, and we can, is not passed over in silence. */
static void missing_row_is_named(void **state)
{
    (void)state;
    struct training r;
    struct extended e = {0};
    struct clip_step_result result;
    struct clip_error error = {0};
    training_open(&r, test_root(0), 2);
    extend(&e, &r);
    e.batch.negatives = 0;
    r.options.teacher = &e.teacher;
    r.options.train.distill_weight = 1;
    e.teacher.there[e.batch.samples[1]] = false;
    struct clip_step *step = training_step_new(&r);
    test_fails(clip_step_run(step, &e.batch, &result, &error), &error, CLIP_ERR_DATA,
               "the teacher has no embedding of sample");
    clip_step_free(step);
    extended_release(&e);
    training_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infonce_in_pieces),
        cmocka_unit_test(sigmoid_in_pieces),
        cmocka_unit_test(missing_row_is_named),
    };
    return cmocka_run_group_tests_name("step losses", tests, NULL, NULL);
}
