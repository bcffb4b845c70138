/* Which loss a model is measured by: the table's rows, what a file says of its model, and what a
 * checkpoint without a word about it has always meant. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/loss.h"
#include "formats/model_export.h"
#include "tests/gradcheck.h"
#include "tests/sets.h"
#include "tests/small_model.h"

enum { PAIRS = 7, BATCH = 3 };

/* The small model with a logit_bias, and its twin without one; the same weights. */
static struct clip_model_file *model_with(bool bias)
{
    struct clip_error error;
    struct clip_model_file *file = small_model(4);
    struct clip_model *plain = file->model;
    struct clip_model_config config = plain->config;
    if (!bias) return file;
    config.logit_bias = true;
    test_ok(clip_model_create(&file->model, &config, &error), &error);
    for (int64_t i = 0; i < plain->param_count; i++) {
        const struct clip_tensor *from = &plain->params[i].tensor;
        memcpy(clip_model_param(file->model, plain->params[i].name)->tensor.data, from->data,
               (size_t)clip_tensor_count(from) * sizeof(float));
    }
    *(float *)file->model->logit_bias->data = -2;
    clip_model_free(plain);
    return file;
}

static struct clip_dataset *pairs(void)
{
    static const struct clip_dataset_options options = {0};
    const char *folder = test_folder();
    struct clip_buffer text = {0};
    struct clip_error error;
    test_ok(clip_buffer_printf(&text, &error, "filepath\ttitle\n"), &error);
    for (int i = 0; i < PAIRS; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.png", i);
        small_image(folder, name, 40, 36, (uint64_t)i);
        test_ok(clip_buffer_printf(&text, &error, "%s\t%d dogs\n", name, i), &error);
    }
    struct clip_dataset *set =
        test_open_set(test_write(folder, "pairs.tsv", text.data, text.size), &options);
    clip_buffer_release(&text);
    return set;
}

static double measured(struct clip_model_file *file, const struct clip_loss *kind,
                       const char *expected)
{
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct clip_loss_result result;
    struct clip_dataset *set = pairs();
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    test_ok(clip_loss_run(e, set, kind, BATCH, true, &result, &error), &error);
    assert_string_equal(result.kind->name, expected);
    assert_int_equal(result.n, PAIRS);
    clip_embedder_free(e);
    clip_dataset_free(set);
    return result.loss;
}

/* ---- the table ---- */

/* The loss of n pairs whose embeddings are all the same, with the bias that costs least: the losses
 * are convex in it. */
static double least_of_constants(struct clip_tape *tape, struct clip_model *model,
                                 const struct clip_loss *loss, int64_t n)
{
    float rows[16 * 2];
    for (int i = 0; i < 16; i++) {
        rows[2 * i] = 0.6f;
        rows[2 * i + 1] = 0.8f;
    }
    struct clip_tensor image = clip_tensor_f32(rows, n, 2), text = clip_tensor_f32(rows, n, 2);
    const struct clip_loss_inputs inputs = {.loss = loss};
    double least = INFINITY, from = -60, to = 60;
    *(float *)model->logit_scale->data = 0;
    for (int turn = 0; turn < 80; turn++) {
        double at[2] = {(2 * from + to) / 3, (from + 2 * to) / 3}, value[2];
        for (int i = 0; i < 2; i++) {
            *(float *)model->logit_bias->data = (float)at[i];
            clip_tape_clear(tape);
            struct clip_tensor *y = clip_model_loss(tape, model, &image, &text, &inputs);
            value[i] = (double)*(float *)y->data;
            least = fmin(least, value[i]);
        }
        *(value[0] < value[1] ? &to : &from) = at[value[0] < value[1]];
    }
    return least;
}

static void chance_is_the_best_constant_answer(void **state)
{
    (void)state;
    struct clip_model_file *file = model_with(true);
    struct clip_tape *tape = NULL;
    struct clip_error error = {0};
    test_ok(clip_tape_create(&tape, &error), &error);
    for (int64_t n = 1; n <= 16; n++)
        for (int i = 0; clip_loss_name(i) != NULL; i++)
            test_close_f64(clip_loss_name(i),
                           least_of_constants(tape, file->model, &clip_losses[i], n),
                           clip_losses[i].chance(n), 1e-6, 1e-6);
    clip_tape_free(tape);
    clip_model_file_free(file);
}

/* A constant distance to the teacher's affinities is added with its weight, and gradients reach the
 * embeddings through both parts. */
static void distillation_is_added_by_its_weight(void **state)
{
    (void)state;
    struct clip_model_file *file = model_with(false);
    struct clip_tape *tape = NULL;
    struct clip_error error = {0};
    enum { N = 5, E = 6 };
    float *data = gradcheck_normal(4 * N * E, 1, 8);
    struct clip_tensor x[4];
    double value[3];
    test_ok(clip_tape_create(&tape, &error), &error);
    for (int i = 0; i < 4; i++) x[i] = clip_tensor_f32(data + i * N * E, N, E);
    const struct clip_loss_inputs inputs[] = {
        {0},
        {.teacher_image = &x[2], .teacher_text = &x[3], .teacher_scale = 2, .distill_weight = 1},
        {.teacher_image = &x[2], .teacher_text = &x[3], .teacher_scale = 2, .distill_weight = 3},
    };
    for (int i = 0; i < 3; i++) {
        clip_tape_clear(tape);
        value[i] =
            (double)*(float *)clip_model_loss(tape, file->model, &x[0], &x[1], &inputs[i])->data;
    }
    assert_true(value[1] > value[0] + 0.01);
    test_close_f64("three times", value[2] - value[0], 3 * (value[1] - value[0]), 1e-5, 0);
    clip_tape_free(tape);
    clip_model_file_free(file);
    free(data);
}

/* ---- files ---- */

static struct clip_model_file *through(const struct clip_model_file *file,
                                       enum clip_export_format format)
{
    struct clip_error error = {0};
    struct clip_model_file *back = NULL;
    const struct clip_export_options how = {.format = format, .dtype = CLIP_F32};
    bool named = format == CLIP_EXPORT_SAFETENSORS;
    const char *path = test_path(test_folder(), named ? "model.safetensors" : "model");
    test_ok(clip_model_export(file, path, &how, &error), &error);
    test_ok(clip_model_file_open(&back, path, NULL, &error), &error);
    return back;
}

/* A file tells which loss its model is measured by: nothing is said where the logit_bias says it,
 * so that the bytes are those of ever; a name where it does not. */
static void a_file_keeps_its_models_loss(void **state)
{
    (void)state;
    struct clip_buffer text = {0};
    struct clip_error error = {0};
    struct clip_model_file *plain = model_with(false), *biased = model_with(true);
    double infonce = measured(plain, NULL, "infonce"), siglip = measured(biased, NULL, "siglip");
    assert_true(fabs(infonce - siglip) > 0.1);
    test_close_f64("as asked", measured(biased, &clip_losses[0], "infonce"), infonce, 0, 0);
    for (int loss = 0; clip_loss_name(loss) != NULL; loss++) {
        bool implied = strcmp(clip_loss_name(loss), "siglip") == 0;
        clip_loss_choose(&biased->model->config, loss);
        assert_true((biased->model->config.loss == NULL) == implied);
        struct clip_model_description d = clip_model_file_description(biased);
        text.size = 0;
        test_ok(clip_model_description_format(&d, &text, &error), &error);
        assert_true((strstr(text.data, "\"loss\"") == NULL) == implied);
        double own = measured(biased, NULL, clip_loss_name(loss));
        struct clip_model_file *back = through(biased, CLIP_EXPORT_HDF5);
        test_close_f64("from a file", measured(back, NULL, clip_loss_name(loss)), own, 0, 0);
        test_close_f64("as asked", measured(back, &clip_losses[1], "siglip"), siglip, 0, 0);
        clip_model_file_free(back);
    }
    clip_buffer_release(&text);
    clip_model_file_free(plain);
    clip_model_file_free(biased);
}

/* So do the formats of other projects that have room for it. */
static void exports_keep_their_models_loss(void **state)
{
    (void)state;
    struct clip_error error = {0};
    struct clip_model_file *clip = model_with(true), *siglip = NULL;
    test_ok(clip_model_file_open(&siglip, "tests/reference/siglip_openclip_tiny", NULL, &error),
            &error);
    const struct {
        struct clip_model_file *file;
        enum clip_export_format format;
    } cases[] = {
        {clip, CLIP_EXPORT_SAFETENSORS},
        {clip, CLIP_EXPORT_OPEN_CLIP},
        {siglip, CLIP_EXPORT_SAFETENSORS},
        {siglip, CLIP_EXPORT_HUGGINGFACE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int loss = 0; clip_loss_name(loss) != NULL; loss++) {
            clip_loss_choose(&cases[i].file->model->config, loss);
            struct clip_model_file *back = through(cases[i].file, cases[i].format);
            assert_ptr_equal(back->model->config.loss, cases[i].file->model->config.loss);
            assert_string_equal(clip_loss_of(&back->model->config)->name, clip_loss_name(loss));
            clip_model_file_free(back);
        }
    clip_model_file_free(clip);
    clip_model_file_free(siglip);
}

static void a_loss_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"{\"model_cfg\":{\"embed_dim\":8},\"loss\":\"hinge\"}", "\"infonce\" or \"siglip\""},
        {"{\"model_cfg\":{\"embed_dim\":8},\"loss\":7}", "\"infonce\" or \"siglip\""},
        {"{\"model_cfg\":{\"embed_dim\":8},\"loss\":\"siglip\"}", "needs a logit_bias"},
    };
    struct clip_error error = {0};
    struct clip_model_description d;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        test_fails(
            clip_model_description_parse(texts[i][0], strlen(texts[i][0]), "a.json", &d, &error),
            &error, CLIP_ERR_DATA, texts[i][1]);

    struct clip_model_file *plain = model_with(false);
    struct clip_embedder *e = NULL;
    struct clip_loss_result result;
    struct clip_dataset *set = pairs();
    test_ok(clip_embedder_create(&e, plain, NULL, &error), &error);
    test_fails(clip_loss_run(e, set, &clip_losses[1], BATCH, true, &result, &error), &error,
               CLIP_ERR_DATA, "the siglip loss needs a logit_bias");
    clip_embedder_free(e);
    clip_dataset_free(set);
    clip_model_file_free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chance_is_the_best_constant_answer),
        cmocka_unit_test(distillation_is_added_by_its_weight),
        cmocka_unit_test(a_file_keeps_its_models_loss),
        cmocka_unit_test(exports_keep_their_models_loss),
        cmocka_unit_test(a_loss_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
