/* What is said before a run: the activation that the weights were trained with, what repeats in a
 * data set and what two of them share. The sentences themselves are in test_finetune.sh. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/loss.h"
#include "tests/sets.h"
#include "tests/training_run.h"
#include "train/advice.h"

/* ---- activation ---- */

/* Both GELUs differ by 0.02 at most; large weights behind make much of it. Every hidden unit of the
 * last vision block is given a bias where they do, and a bias behind takes the value with GELU away
 * again: nothing changes for the one, and all images look alike to the other. */
static void depend_on_gelu(struct clip_model *m)
{
    struct clip_block *b = &m->vision.blocks[m->config.vision.layers - 1];
    int64_t width = m->config.vision.width, hidden = b->c_fc_w->shape[0];
    const double at = -2.2, gelu = at * 0.5 * erfc(-at / sqrt(2)), behind = 40;
    memset(b->c_fc_w->data, 0, (size_t)(hidden * width) * sizeof(float));
    for (int64_t h = 0; h < hidden; h++) ((float *)b->c_fc_b->data)[h] = (float)at;
    for (int64_t w = 0; w < width; w++) {
        for (int64_t h = 0; h < hidden; h++)
            ((float *)b->c_proj_w->data)[w * hidden + h] = w % 2 ? (float)behind : (float)-behind;
        ((float *)b->c_proj_b->data)[w] =
            (float)((w % 2 ? -1 : 1) * behind * (double)hidden * gelu);
    }
}

static bool is_quick(const struct clip_model *m)
{
    assert_int_equal(m->config.vision.activation, m->config.text.activation);
    return m->config.vision.activation == CLIP_QUICK_GELU;
}

static void check_activation(struct training *r, const struct clip_batch *batch, bool expected)
{
    double losses[2];
    bool suspect, before = is_quick(r->model);
    struct clip_error error = {0};
    test_ok(clip_activation_check(r->model, NULL, batch, losses, &suspect, &error), &error);
    assert_int_equal(suspect, expected);
    assert_int_equal(is_quick(r->model), before);
    assert_true(isfinite(losses[0]) && isfinite(losses[1]));
}

static void wrong_activation_is_seen(void **state)
{
    (void)state;
    for (int i = 0; test_root(i) != NULL; i++) {
        struct training r;
        training_open(&r, test_root(i), 1);
        if (is_quick(r.model)) {
            training_close(&r);
            continue;
        }
        const struct clip_batch *batch = training_batch(&r, 0, r.capacity);
        for (int64_t k = 0; k < batch->count; k++) r.batch.ids[k] = (int32_t)k;
        depend_on_gelu(r.model);
        struct clip_step *step = training_step_new(&r);
        check_activation(&r, batch, false); /* nothing is learned yet */
        double loss = INFINITY, learned = 0.6 * log((double)batch->count);
        for (int64_t s = 0; s < 300 && loss > learned; s++) loss = training_step(step, batch).loss;
        check_activation(&r, batch, false);
        r.model->config.vision.activation = r.model->config.text.activation = CLIP_QUICK_GELU;
        check_activation(&r, batch, true);
        clip_step_free(step);
        training_close(&r);
    }
}

/* The loss of the advice is that of training: the sigmoid loss where the model has a logit_bias,
 * and another only where the model has what that needs. */
static void advice_takes_the_models_loss(void **state)
{
    (void)state;
    struct clip_error error = {0};
    for (int i = 0; test_root(i) != NULL; i++)
        for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
            struct training r;
            double own[2], infonce[2], siglip[2];
            bool suspect;
            training_open_for(&r, test_root(i), 1, sigmoid == 1);
            const struct clip_batch *batch = training_batch(&r, 0, r.capacity);
            for (int64_t k = 0; k < batch->count; k++) r.batch.ids[k] = (int32_t)k;
            test_ok(clip_activation_check(r.model, NULL, batch, own, &suspect, &error), &error);
            test_ok(
                clip_activation_check(r.model, &clip_losses[0], batch, infonce, &suspect, &error),
                &error);
            test_ok(
                clip_activation_check(r.model, &clip_losses[1], batch, siglip, &suspect, &error),
                &error);
            struct clip_step *step = training_step_new(&r);
            test_close_f64("trained", own[0], training_step(step, batch).loss, 1e-6, 0);
            assert_true((own[0] == infonce[0]) == (sigmoid == 0));
            assert_true(own[0] == siglip[0]);
            clip_step_free(step);
            training_close(&r);
        }
}

/* ---- data ---- */

static struct clip_dataset *set_of(const char *folder, const char *text)
{
    static const struct clip_dataset_options options = {0};
    return test_open_set(test_write_text(folder, "pairs.csv", text), &options);
}

static void repeats_are_counted(void **state)
{
    (void)state;
    struct clip_error error = {0};
    double chance;
    /* six samples, 15 pairs: of one image 0-1; with one caption 1-2, 1-3, 2-3; both 4-5 */
    struct clip_dataset *set = set_of(test_folder(),
                                      "filepath,title\na.jpg,one\na.jpg,two\nb.jpg,two\nc.jpg,two\n"
                                      "d.jpg,three\nd.jpg,three\n");
    test_ok(clip_dataset_repeats(set, &chance, &error), &error);
    test_close_f64("chance", chance, 5.0 / 15, 1e-12, 0);
    clip_dataset_free(set);
    set = set_of(test_folder(), "filepath,title\na.jpg,one\n");
    test_ok(clip_dataset_repeats(set, &chance, &error), &error);
    test_close_f64("chance", chance, 0, 0, 0);
    clip_dataset_free(set);
}

static void shared_images_are_found(void **state)
{
    (void)state;
    struct clip_error error = {0};
    const char *here = test_folder(), *there = test_folder();
    char example[64] = "", text[1024];
    int64_t shared;
    test_write_text(here, "a.jpg", "A");
    test_write_text(here, "b.jpg", "B");
    test_write_text(there, "a.jpg", "A");
    struct clip_dataset *a = set_of(here, "filepath,title\na.jpg,one\nb.jpg,two\ngone.jpg,three\n");
    snprintf(text, sizeof text,
             "filepath,title\na.jpg,elsewhere\n%s/b.jpg,again\n%s/b.jpg,and again\n"
             "%s/gone.jpg,not readable\n",
             here, here, here);
    struct clip_dataset *b = set_of(there, text);
    test_ok(clip_dataset_shared(a, b, &shared, example, sizeof example, &error), &error);
    assert_int_equal(shared, 2);
    assert_non_null(strstr(example, "b.jpg"));
    clip_dataset_free(a);
    clip_dataset_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_activation_is_seen),
        cmocka_unit_test(advice_takes_the_models_loss),
        cmocka_unit_test(repeats_are_counted),
        cmocka_unit_test(shared_images_are_found),
    };
    return cmocka_run_group_tests_name("advice", tests, NULL, NULL);
}
