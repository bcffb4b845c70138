/* LoRA against PyTorch (training/lora of the committed set), and what it must not do: change or
 * touch what is frozen, or differ from the merged weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/lora.h"
#include "tests/training_run.h"

/* The model of training/ with paths beside it. */
static struct clip_model *with_lora(const struct training *r, const char *targets, int64_t rank,
                                    double alpha)
{
    struct clip_error error = {0};
    struct clip_model *m;
    struct clip_model_config config = r->model->config;
    config.lora = (struct clip_lora_config){.rank = rank, .alpha = alpha};
    test_ok(clip_lora_targets(targets, &config.lora.targets, &error), &error);
    test_ok(clip_model_create(&m, &config, &error), &error);
    clip_model_init(m, 5);
    for (int64_t i = 0; i < r->model->param_count; i++) {
        struct clip_param *p = &r->model->params[i];
        memcpy(clip_model_param(m, p->name)->tensor.data, p->tensor.data,
               (size_t)clip_tensor_count(&p->tensor) * sizeof(float));
    }
    clip_model_train(m);
    clip_lora_freeze(m);
    return m;
}

/* Takes r->model's place until close_lora. */
static struct clip_model *swap_in(struct training *r, struct clip_model *lora)
{
    struct clip_model *plain = r->model;
    r->model = lora;
    return plain;
}

static void compare_paths(const struct clip_bundle *f, const struct clip_model *m)
{
    int64_t compared = 0;
    for (int64_t i = 0; i < m->param_count; i++) {
        char name[160];
        if (!clip_lora_is(&m->params[i])) continue;
        snprintf(name, sizeof name, "after.%s", m->params[i].name);
        fixture_close_to(f, name, m->params[i].tensor.data, 1e-4, 1e-6);
        compared++;
    }
    assert_int_equal(compared, 16);
}

static void steps_equal_pytorch(void **state)
{
    (void)state;
    struct training r;
    training_open(&r, "tests/reference", 1);
    struct clip_bundle f = fixture_read(r.root, "training/lora.safetensors");
    struct clip_model *m = with_lora(&r, "q,v,out_proj,c_fc,c_proj", 2, 4);
    for (int64_t i = 0; i < m->param_count; i++) {
        char name[160];
        snprintf(name, sizeof name, "start.%s", m->params[i].name);
        if (strstr(name, "lora_A") != NULL)
            memcpy(m->params[i].tensor.data, fixture_f32(&f, "%s", name),
                   (size_t)clip_tensor_count(&m->params[i].tensor) * sizeof(float));
    }
    struct clip_model *plain = swap_in(&r, m);
    struct clip_step *step = training_step_new(&r);
    int64_t steps = clip_tensor_count(fixture_tensor(&f, "loss"));
    for (int64_t s = 0; s < steps; s++) {
        struct clip_step_result got =
            training_step(step, training_batch(&r, s * r.capacity, r.capacity));
        test_close_f64("loss", got.loss, (double)fixture_f32(&f, "loss")[s], 1e-5, 0);
        test_close_f64("grad_norm", got.grad_norm, (double)fixture_f32(&f, "grad_norm")[s], 1e-4,
                       0);
    }
    compare_paths(&f, m);
    for (int64_t i = 0; i < plain->param_count; i++) { /* the rest is as it was, to the bit */
        struct clip_param *p = &plain->params[i];
        test_same_f32(p->name, clip_model_param(m, p->name)->tensor.data, p->tensor.data,
                      clip_tensor_count(&p->tensor));
    }
    clip_step_free(step);
    clip_model_free(swap_in(&r, plain));
    clip_bundle_release(&f);
    training_close(&r);
}

static double loss_of(struct training *r)
{
    struct clip_step *step = training_step_new(r);
    double loss = training_step(step, training_batch(r, 0, r->capacity)).loss;
    clip_step_free(step);
    return loss;
}

/* At the start the paths change nothing; later their sum with the weights gives what both give. */
static void check_merge(struct training *r, const char *targets, int64_t rank)
{
    struct clip_error error = {0};
    struct clip_model *m = with_lora(r, targets, rank, 3), *merged;
    struct clip_model *plain = swap_in(r, m);
    r->options.optim.lr = 0.02;
    struct clip_step *step = training_step_new(r);
    double first = training_step(step, training_batch(r, 0, r->capacity)).loss;
    for (int64_t s = 1; s < 6; s++)
        training_step(step, training_batch(r, s * r->capacity, r->capacity));
    clip_step_free(step);
    test_ok(clip_model_create(&merged, &plain->config, &error), &error);
    clip_lora_merge(merged, m, NULL);
    clip_model_train(merged);
    double with_paths = loss_of(r);
    r->model = merged;
    test_close_f64(targets, loss_of(r), with_paths, 1e-5, 0);
    r->model = plain;
    test_close_f64("at the start", loss_of(r), first, 1e-6, 0);
    assert_true(fabs(first - with_paths) > 1e-3);
    clip_model_free(merged);
    clip_model_free(m);
    training_reset(r);
}

static void merged_is_the_same(void **state)
{
    (void)state;
    static const char *const targets[] = {"q,v", "k", "q,k,v", "out_proj", "c_fc", "c_proj", "all"};
    struct training r;
    training_open(&r, "tests/reference", 1);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
        check_merge(&r, targets[i], 1 + (int64_t)i % 3);
    r.options.train.micro_batch = 3;
    check_merge(&r, "all", 2);
    r.options.train.micro_batch = 0;
    r.options.train.recompute = CLIP_RECOMPUTE_BLOCK;
    check_merge(&r, "all", 2);
    training_close(&r);
}

/* bfloat16 goes through the paths too: near the float32 step. */
static void bf16_is_near(void **state)
{
    (void)state;
    struct training r;
    training_open(&r, "tests/reference", 1);
    struct clip_model *m = with_lora(&r, "all", 4, 8), *plain = swap_in(&r, m);
    double exact = loss_of(&r);
    r.options.train.precision = CLIP_PRECISION_BF16;
    test_close_f64("loss in bf16", loss_of(&r), exact, 0.05, 0);
    clip_model_free(swap_in(&r, plain));
    training_close(&r);
}

/* Nothing of what is frozen gets a gradient, a moment or an average. */
static void frozen_takes_no_memory(void **state)
{
    (void)state;
    struct training r;
    training_open(&r, "tests/reference", 1);
    struct clip_model *m = with_lora(&r, "q,v", 2, 4), *plain = swap_in(&r, m);
    r.options.optim.ema_decay = 0.9;
    struct clip_step *step = training_step_new(&r);
    for (int64_t s = 0; s < 3; s++)
        training_step(step, training_batch(&r, s * r.capacity, r.capacity));
    const float *moment1 = step->adamw->moment1, *moment2 = step->adamw->moment2;
    int64_t paths = 0, moved = 0;
    for (int64_t i = 0; i < m->param_count; i++) {
        const struct clip_param *p = &m->params[i];
        int64_t n = clip_tensor_count(&p->tensor), at = p->tensor.needs_grad ? p->train_offset : -1;
        assert_true(clip_lora_is(p) ? at == paths : at == -1 && p->tensor.grad == NULL);
        if (at < 0) continue;
        for (int64_t k = at; k < at + n; k++)
            moved += fabsf(m->grad[k]) > 0 && fabsf(moment1[k]) > 0 && fabsf(moment2[k]) > 0 &&
                     fabsf(step->ema[k]) > 0;
        paths += (n + 15) / 16 * 16;
    }
    assert_int_equal(m->trained, paths); /* what each of the four buffers holds */
    assert_int_equal(step->adamw->end, paths);
    assert_true(moved > 0);
    clip_step_free(step);
    clip_model_free(swap_in(&r, plain));
    training_close(&r);
}

static void targets_are_read(void **state)
{
    (void)state;
    struct clip_error error = {0};
    unsigned targets;
    test_ok(clip_lora_targets("q, v", &targets, &error), &error);
    assert_int_equal(targets, CLIP_LORA_Q | CLIP_LORA_V);
    test_ok(clip_lora_targets("all", &targets, &error), &error);
    assert_int_equal(targets, CLIP_LORA_ALL);
    test_ok(clip_lora_targets("c_proj,out_proj,c_fc,k", &targets, &error), &error);
    assert_int_equal(targets, CLIP_LORA_ALL & ~(CLIP_LORA_Q | CLIP_LORA_V));
    test_fails(clip_lora_targets("q,w", &targets, &error), &error, CLIP_ERR_USAGE, "\"w\"");
    test_fails(clip_lora_targets("", &targets, &error), &error, CLIP_ERR_USAGE, "empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_equal_pytorch), cmocka_unit_test(merged_is_the_same),
        cmocka_unit_test(bf16_is_near),        cmocka_unit_test(frozen_takes_no_memory),
        cmocka_unit_test(targets_are_read),
    };
    return cmocka_run_group_tests_name("lora", tests, NULL, NULL);
}
