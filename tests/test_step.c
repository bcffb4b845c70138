/* What the training step must do that no reference file can hold: the number of threads changes no
 * bit, nothing is allocated after the first step, locks, averages, learning rates by layer, a loss
 * that is no number. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "tests/training_run.h"

/* Weights and losses after three steps. */
static float *weights_after(struct training *r, int threads, double *loss)
{
    int before = clip_threads_count();
    clip_threads_set(threads);
    training_reset(r);
    struct clip_step *step = training_step_new(r);
    for (int64_t s = 0; s < 3; s++)
        *loss = training_step(step, training_batch(r, s * r->capacity, r->capacity)).loss;
    clip_step_free(step);
    clip_threads_set(before);
    float *weights = malloc((size_t)r->model->size * sizeof *weights);
    assert_non_null(weights);
    memcpy(weights, r->model->data, (size_t)r->model->size * sizeof *weights);
    return weights;
}

static void check_threads(struct training *r)
{
    double first_loss, loss;
    float *first = weights_after(r, 1, &first_loss);
    for (int threads = 2; threads <= 3; threads++) {
        float *again = weights_after(r, threads, &loss);
        assert_true(memcmp(&loss, &first_loss, sizeof loss) == 0);
        test_same_f32("weights with other threads", again, first, r->model->size);
        free(again);
    }
    free(first);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        training_open(&r, test_root(i), 1);
        check_threads(&r);
        r.options.train.micro_batch = 3;
        r.options.train.multi_positive = true;
        r.options.train.patch_dropout = 0.5;
        r.options.optim.ema_decay = 0.9;
        check_threads(&r);
        r.options.train.precision = CLIP_PRECISION_BF16;
        check_threads(&r);
        training_close(&r);
    }
}

/* A batch in slices has the gradient of the batch, but for the order of sums; and whether a slice's
 * forward is kept or computed twice changes no bit. */
static void slices_are_the_batch(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        double whole_loss, loss;
        training_open(&r, test_root(i), 1);
        float *whole = weights_after(&r, 2, &whole_loss);
        for (int64_t world = 2; r.capacity % world == 0 && world <= 4; world *= 2) {
            r.options.train.world_size = world;
            r.options.train.micro_batch = 0;
            float *kept = weights_after(&r, 2, &loss);
            test_close("loss", &(float){(float)loss}, &(float){(float)whole_loss}, 1, 1e-5, 1e-5);
            test_close("weights of slices", kept, whole, r.model->size, 2e-4, 2e-4);
            r.options.train.micro_batch = r.capacity / world;
            float *twice = weights_after(&r, 1, &loss);
            test_same_f32("forward computed twice", twice, kept, r.model->size);
            free(kept);
            free(twice);
        }
        free(whole);
        training_close(&r);
    }
}

/* What backward builds again is the same to the bit. A locked tower has nothing to build again. */
static void recompute_changes_no_bit(void **state)
{
    (void)state;
    struct training r;
    double loss[3];
    float *first = NULL;
    training_open(&r, test_root(0), 1);
    for (int kind = 0; kind < 4; kind++, free(first)) {
        bool locked = kind % 2 == 1;
        r.options.train.precision = kind < 2 ? CLIP_PRECISION_FP32 : CLIP_PRECISION_BF16;
        clip_model_train(r.model);
        if (locked) clip_model_lock_image(r.model, 1);
        for (int k = CLIP_RECOMPUTE_NONE; k <= CLIP_RECOMPUTE_BLOCK; k++) {
            r.options.train.recompute = (enum clip_recompute)k;
            float *weights = weights_after(&r, 2, &loss[k]);
            if (k == CLIP_RECOMPUTE_NONE) {
                first = weights;
                continue;
            }
            assert_true(memcmp(&loss[k], &loss[0], sizeof loss[0]) == 0);
            test_same_f32("weights", weights, first, r.model->size);
            free(weights);
        }
    }
    training_close(&r);
}

/* In a model of some depth each kind needs less memory than the one before. */
static void recompute_saves_memory(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_config config;
    struct clip_model *model;
    size_t planned[3];
    test_ok(clip_model_preset(&config, "vit-b-32", &error), &error);
    config.vision.width = config.text.width = 128;
    config.vision.heads = config.text.heads = 2;
    config.vocab_size = 100;
    test_ok(clip_model_create(&model, &config, &error), &error);
    clip_model_train(model);
    for (int k = CLIP_RECOMPUTE_NONE; k <= CLIP_RECOMPUTE_BLOCK; k++) {
        struct clip_step_options options = {
            .train = {.batch_size = 32, .recompute = (enum clip_recompute)k},
            .optim = {.warmup = "0", .cooldown = "0"}};
        struct clip_step *step;
        test_ok(clip_step_create(&step, model, &options, &error), &error);
        test_ok(clip_step_plan(step, 32 * 14, &planned[k], &error), &error);
        clip_step_free(step);
    }
    assert_true(planned[CLIP_RECOMPUTE_MLP] < planned[CLIP_RECOMPUTE_NONE] * 7 / 10);
    assert_true(planned[CLIP_RECOMPUTE_BLOCK] < planned[CLIP_RECOMPUTE_NONE] * 4 / 10);
    clip_model_free(model);
}

/* Patch dropout draws by seed and sample: the same again for the same seed, others for another. */
static void patch_dropout_is_keyed(void **state)
{
    (void)state;
    struct training r;
    double loss[3];
    training_open(&r, test_root(0), 1);
    r.options.train.patch_dropout = 0.5;
    for (int k = 0; k < 3; k++) {
        r.options.train.seed = k == 2 ? 8 : 7;
        free(weights_after(&r, 2, &loss[k]));
    }
    assert_true(memcmp(&loss[0], &loss[1], sizeof loss[0]) == 0);
    assert_true(loss[0] < loss[2] || loss[0] > loss[2]);
    training_close(&r);
}

/* average = decay average + (1 - decay) weights, from the initial weights on; the decay grows as
 * 2/11, 3/12, ... to what is asked for. */
static void moving_average_follows(void **state)
{
    (void)state;
    struct training r;
    training_open(&r, test_root(0), 1);
    r.options.optim.ema_decay = 0.3;
    const double decays[] = {2.0 / 11, 3.0 / 12, 0.3, 0.3};
    struct clip_step *step = training_step_new(&r);
    float *expected = malloc((size_t)r.model->size * sizeof *expected);
    assert_non_null(expected);
    memcpy(expected, r.model->data, (size_t)r.model->size * sizeof *expected);
    for (int64_t s = 0; s < 4; s++) {
        training_step(step, training_batch(&r, s * r.capacity, r.capacity));
        for (int64_t i = 0; i < r.model->size; i++)
            expected[i] = (float)(decays[s] * (double)expected[i] +
                                  (1 - decays[s]) * (double)r.model->data[i]);
    }
    test_close("moving average", step->ema, expected, r.model->size, 1e-6, 1e-6);
    free(expected);
    clip_step_free(step);
    training_close(&r);
}

/* Without decay and clipping, AdamW's first update is lr g / (|g| + eps'): with lr times 0.5^depth
 * the updates of two runs differ by that factor. */
static void layer_decay_scales_updates(void **state)
{
    (void)state;
    struct training r;
    training_open(&r, test_root(0), 1);
    r.options.optim.wd = 0;
    r.options.optim.layer_decay = 0.5;
    struct clip_step *step = training_step_new(&r);
    float *before = malloc((size_t)r.model->size * sizeof *before);
    assert_non_null(before);
    memcpy(before, r.model->data, (size_t)r.model->size * sizeof *before);
    struct clip_step_result result = training_step(step, training_batch(&r, 0, r.capacity));
    for (int64_t i = 0; i < r.model->param_count; i++) {
        struct clip_param *p = &r.model->params[i];
        double largest = 0;
        for (int64_t j = 0; j < clip_tensor_count(&p->tensor); j++)
            largest = fmax(largest, fabs((double)((float *)p->tensor.data)[j] -
                                         (double)before[p->offset + j]));
        test_close_f64(p->name, largest, result.lr * pow(0.5, p->depth), 0.05, 1e-7);
    }
    free(before);
    clip_step_free(step);
    training_close(&r);
}

/* A locked tower keeps its bits, but for its last blocks and what follows them where they are
 * unlocked. */
static void check_lock(struct training *r, bool image, int64_t unlocked)
{
    training_reset(r);
    clip_model_train(r->model);
    (image ? clip_model_lock_image : clip_model_lock_text)(r->model, unlocked);
    float *before = malloc((size_t)r->model->size * sizeof *before);
    assert_non_null(before);
    memcpy(before, r->model->data, (size_t)r->model->size * sizeof *before);
    struct clip_step *step = training_step_new(r);
    training_step(step, training_batch(r, 0, r->capacity));
    int64_t layers = image ? r->model->config.vision.layers : r->model->config.text.layers;
    for (int64_t i = 0; i < r->model->param_count; i++) {
        struct clip_param *p = &r->model->params[i];
        size_t bytes = (size_t)clip_tensor_count(&p->tensor) * sizeof(float);
        bool same = memcmp(p->tensor.data, before + p->offset, bytes) == 0;
        const char *block = strstr(p->name, "resblocks.");
        bool visual = strncmp(p->name, "visual.", 7) == 0,
             scale = strcmp(p->name, "logit_scale") == 0;
        bool after = strstr(p->name, "ln_post") != NULL || strstr(p->name, "ln_final") != NULL ||
                     strstr(p->name, "proj") == p->name + (visual ? 7 : 5);
        bool open = unlocked > 0 && (block != NULL ? atol(block + 10) >= layers - unlocked : after);
        bool locked = !scale && visual == image && !open;
        if (same != locked)
            test_fail("%s %s", p->name,
                      locked ? "is locked and moved" : "is not locked and did not move");
    }
    free(before);
    clip_step_free(step);
}

static void locked_towers_stay(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        training_open(&r, test_root(i), 1);
        for (int64_t unlocked = 0; unlocked <= 1; unlocked++) {
            check_lock(&r, true, unlocked);
            check_lock(&r, false, unlocked);
        }
        training_close(&r);
    }
}

/* A loss that is no number stops the step; weights and the optimizer's moments are as they were. */
static void a_loss_that_is_no_number(void **state)
{
    (void)state;
    struct training r;
    struct clip_error error = {0};
    struct clip_step_result result;
    training_open(&r, test_root(0), 1);
    struct clip_step *step = training_step_new(&r);
    const struct clip_batch *batch = training_batch(&r, 0, r.capacity);
    training_step(step, batch);
    float *before = malloc((size_t)r.model->size * sizeof *before);
    assert_non_null(before);
    memcpy(before, r.model->data, (size_t)r.model->size * sizeof *before);
    r.batch.pixels[5] = NAN;
    test_fails(clip_step_run(step, batch, &result, &error), &error, CLIP_ERR_DIVERGED, "step 2");
    test_same_f32("weights after a failed step", r.model->data, before, r.model->size);
    assert_int_equal(step->adamw->step, 1);
    r.batch.pixels[5] = 0;
    training_step(step, batch);
    free(before);
    clip_step_free(step);
    training_close(&r);
}

/* How much more captions of uneven lengths may take than even ones: attention goes by the square of
 * a length, and of pieces the one with the longest captions counts. */
static double unevenness(const struct clip_batch *batch, int64_t piece)
{
    int64_t n = batch->count;
    double longest = 0, mean = (double)batch->offsets[n] / (double)n;
    for (int64_t i = 0; i < n; i++)
        longest += pow((double)(batch->offsets[i + 1] - batch->offsets[i]) / mean, 2) / (double)n;
    for (int64_t from = 0; piece > 0 && from < n; from += piece) {
        int64_t to = from + piece < n ? from + piece : n;
        double tokens = (double)(batch->offsets[to] - batch->offsets[from]);
        longest = fmax(longest, tokens / (double)piece / mean);
    }
    return longest;
}

/* What planning foretells is near what a step takes. */
static void planned_memory_is_what_it_takes(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++)
        for (int64_t micro = 0; micro <= 4; micro += 4) {
            struct training r;
            struct clip_error error = {0};
            size_t bytes = 0;
            training_open(&r, test_root(i), 1);
            r.options.train.micro_batch = micro;
            struct clip_step *step = training_step_new(&r);
            const struct clip_batch *batch = training_batch(&r, 0, r.capacity);
            test_ok(clip_step_plan(step, batch->offsets[batch->count], &bytes, &error), &error);
            training_step(step, batch);
            /* Planned sequences are all of one length, those of the piece that takes most are not;
             * the towers of a piece, planned on one tape, follow each other. */
            double took = (double)(clip_tape_peak(step->tape) + clip_tape_peak(step->loss_tape));
            double planned = (double)bytes;
            double least = took / unevenness(batch, micro);
            if (planned < 0.95 * least || planned > (micro > 0 ? 2 : 1.05) * took)
                test_fail("planned %.0f bytes, took %.0f (micro_batch %d)", planned, took,
                          (int)micro);
            clip_step_free(step);
            training_close(&r);
        }
}

/* ---- nothing is allocated after the first step ---- */

/* malloc and its kin are counted, and the workspace is asked. */

#ifndef __has_feature /* gcc */
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    __has_feature(address_sanitizer)
static int64_t allocations_so_far(void) { return 0; }
#else
static int64_t allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static int64_t allocations_so_far(void) { return __atomic_load_n(&allocations, __ATOMIC_SEQ_CST); }
static void count_one(void) { __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST); }

void *malloc(size_t size)
{
    count_one();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count_one();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    count_one();
    return __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_one();
    return __libc_memalign(alignment, size);
}
#endif

static void check_allocations(struct training *r)
{
    training_reset(r);
    int before = clip_threads_count();
    clip_threads_set(2);
    struct clip_step *step = training_step_new(r);
    const struct clip_batch *batch = training_batch(r, 0, r->capacity);
    struct clip_step_result result;
    struct clip_error error = {0};
    training_step(step, batch);
    int64_t allocated = allocations_so_far(), grown = clip_tape_grown(step->tape);
    for (int s = 0; s < 3; s++)
        if (clip_step_run(step, batch, &result, &error) != CLIP_OK) test_fail("%s", error.message);
    int64_t more = allocations_so_far() - allocated;
    if (more != 0) test_fail("three steps after the first allocated %lld times", (long long)more);
    assert_int_equal(clip_tape_grown(step->tape), grown);
    clip_threads_set(before);
    clip_step_free(step);
}

static void nothing_is_allocated_after_the_first_step(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        training_open(&r, test_root(i), 1);
        check_allocations(&r);
        r.options.train.micro_batch = 3;
        r.options.train.multi_positive = true;
        r.options.train.patch_dropout = 0.5;
        r.options.optim.ema_decay = 0.9;
        check_allocations(&r);
        training_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_the_batch),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(recompute_changes_no_bit),
        cmocka_unit_test(recompute_saves_memory),
        cmocka_unit_test(patch_dropout_is_keyed),
        cmocka_unit_test(moving_average_follows),
        cmocka_unit_test(layer_decay_scales_updates),
        cmocka_unit_test(locked_towers_stay),
        cmocka_unit_test(a_loss_that_is_no_number),
        cmocka_unit_test(planned_memory_is_what_it_takes),
        cmocka_unit_test(nothing_is_allocated_after_the_first_step),
    };
    clip_threads_set(1); /* the models are tiny; threads have a test of their own */
    return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
