/* What <clip/clip.h> promises to programs of others: structures of other sizes, the log, cancelled
 * calls, both steps of an embedding by themselves, hidden states. */
#include "tests/support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/threads.h"
#include "embed/embedder.h"
#include "formats/model_export.h"
#include "tests/small_model.h"

enum { E = 24, S = 32, CONTEXT = 12, TEXT_WIDTH = 40, PIXELS = 3 * S * S };

static const char *const texts[] = {"a red circle", "a dog", "two green squares in the snow",
                                    "a large blue triangle left of a green square and a dog", ""};
enum { TEXTS = 5 };

static struct clip_embedder *embedder_over(const struct clip_model_file *file,
                                           const struct clip_embedder_options *options)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_embedder_create(&e, file, options, &error), &error);
    return e;
}

/* A file of a small model. */
static const char *exported(uint64_t seed, const char *name, enum clip_export_format format)
{
    struct clip_error error;
    struct clip_model_file *file = small_model(seed);
    const char *path = test_path(test_folder(), name);
    const struct clip_export_options options = {format, CLIP_F32, false};
    test_ok(clip_model_export(file, path, &options, &error), &error);
    clip_model_file_free(file);
    return path;
}

/* ---- structures of other sizes ---- */

static void options_may_be_those_of_another_version(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_embedder *e = NULL;
    const char *path = exported(1, "m.h5", CLIP_EXPORT_HDF5);
    struct {
        struct clip_embedder_options known;
        int64_t later;
    } newer = {.known.use = CLIP_USE_TEXTS};
    struct clip_embedder_options now = {.use = CLIP_USE_TEXTS};
    float row[E];
    test_ok(clip_embedder_open_sized(&e, path, &newer.known, sizeof newer, &error), &error);
    test_ok(clip_embedder_texts(e, texts, 1, CLIP_UNIT, row, NULL, &error), &error);
    clip_embedder_free(e);
    newer.later = 1;
    test_fails(clip_embedder_open_sized(&e, path, &newer.known, sizeof newer, &error), &error,
               CLIP_ERR_USAGE, "does not know");
    assert_null(e);
    test_fails(clip_embedder_open_sized(&e, path, &now, sizeof &now, &error), &error,
               CLIP_ERR_USAGE, "clip_embedder_options of 8 bytes there has never been");
    test_fails(clip_embedder_open_sized(&e, path, &now, SIZE_MAX, &error), &error, CLIP_ERR_USAGE,
               "there has never been");
    test_ok(clip_embedder_open_sized(&e, path, NULL, 0, &error), &error);
    clip_embedder_free(e);
    now.use = (enum clip_embedder_use)3;
    test_fails(clip_embedder_open(&e, path, &now, &error), &error, CLIP_ERR_USAGE,
               "enum clip_embedder_use");
    test_fails(clip_embedder_open(&e, test_path(path, "none"), NULL, &error), &error,
               CLIP_ERR_NOT_FOUND, "none");
    assert_null(e);
}

static void images_may_be_those_of_another_version(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *e = embedder_over(file, NULL);
    const char *folder = test_folder();
    const char *a = small_image(folder, "a.png", 40, 33, 1);
    const char *b = small_image(folder, "b.png", 33, 50, 2);
    const struct clip_image_source now[] = {{.path = a}, {.path = b}};
    struct {
        struct clip_image_source known;
        int64_t later;
    } newer[] = {{.known.path = a}, {.known.path = b}};
    float rows[2 * E], got[2 * E], pixels[2 * PIXELS];
    test_ok(clip_embedder_images(e, now, 2, CLIP_UNIT, rows, NULL, &error), &error);
    test_ok(clip_embedder_images_sized(e, &newer[0].known, sizeof newer[0], 2, CLIP_UNIT, got, NULL,
                                       &error),
            &error);
    test_same_f32("larger structures", got, rows, 2 * E);
    newer[1].later = 1;
    test_fails(clip_embedder_images_sized(e, &newer[0].known, sizeof newer[0], 2, CLIP_UNIT, got,
                                          NULL, &error),
               &error, CLIP_ERR_USAGE, "does not know (byte 48)");
    test_fails(clip_embedder_preprocess_sized(e, now, sizeof(void *), 2, pixels, NULL, &error),
               &error, CLIP_ERR_USAGE, "clip_image_source of 8 bytes");
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void an_image_of_nothing_is_refused(void **state)
{
    (void)state;
    struct clip_error error, failures[3];
    struct clip_model_file *file = small_model(3);
    struct clip_embedder *e = embedder_over(file, NULL);
    const uint8_t rgb[3] = {1, 2, 3};
    const struct clip_image_source images[] = {
        {0}, {.rgb = rgb, .height = 1}, {.rgb = rgb, .width = 1, .height = 1}};
    float rows[3 * E];
    test_ok(clip_embedder_images(e, images, 3, CLIP_UNIT, rows, failures, &error), &error);
    assert_int_equal(failures[0].status, CLIP_ERR_USAGE);
    assert_non_null(strstr(failures[0].message, "neither"));
    assert_int_equal(failures[1].status, CLIP_ERR_USAGE);
    assert_non_null(strstr(failures[1].message, "0 x 1"));
    assert_int_equal(failures[2].status, CLIP_OK);
    test_fails(clip_embedder_images(e, images + 2, 1, (enum clip_row_kind)2, rows, NULL, &error),
               &error, CLIP_ERR_USAGE, "enum clip_row_kind");
    test_ok(clip_embedder_images(e, NULL, 0, CLIP_UNIT, NULL, NULL, &error), &error);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* ---- the log ---- */

struct heard {
    int notes, warnings;
    bool elsewhere;
    pthread_t caller;
    char last[2048];
};

static void hear(void *context, enum clip_log_level level, const char *message)
{
    struct heard *heard = context;
    if (level == CLIP_LOG_NOTE)
        heard->notes++;
    else
        heard->warnings++;
    heard->elsewhere |= !pthread_equal(heard->caller, pthread_self());
    snprintf(heard->last, sizeof heard->last, "%s", message);
}

static void open_and_hear(struct heard *heard, const char *path, bool say)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    *heard = (struct heard){.caller = pthread_self()};
    const struct clip_embedder_options options = {.say = say, .log = hear, .context = heard};
    test_ok(clip_embedder_open(&e, path, &options, &error), &error);
    assert_false(heard->elsewhere);
    assert_null(strchr(heard->last, '\n'));
    clip_embedder_free(e);
}

static void notes_go_to_the_log(void **state)
{
    (void)state;
    struct heard heard;
    const char *path = exported(4, "theirs", CLIP_EXPORT_HUGGINGFACE);
    open_and_hear(&heard, path, true);
    assert_int_equal(heard.notes, 1);
    assert_int_equal(heard.warnings, 0);
    assert_non_null(strstr(heard.last, "Hugging Face"));
    open_and_hear(&heard, path, false);
    assert_int_equal(heard.notes + heard.warnings, 0);
}

/* A .gguf whose logit_scale has another name. */
static void a_missing_logit_scale_is_a_warning(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer bytes = {0};
    struct heard heard;
    const char *path = exported(5, "m.gguf", CLIP_EXPORT_GGUF);
    static const char key[] = "clip.logit_scale";
    test_ok(clip_file_read(path, 1 << 24, &bytes, &error), &error);
    char *at = memmem(bytes.data, bytes.size, key, strlen(key));
    assert_non_null(at);
    at[strlen(key) - 1] = 'x';
    test_ok(clip_file_write(path, bytes.data, bytes.size, &error), &error);
    clip_buffer_release(&bytes);
    open_and_hear(&heard, path, false);
    assert_int_equal(heard.warnings, 1);
    assert_non_null(strstr(heard.last, "logit_scale"));
    assert_non_null(strstr(heard.last, "m.gguf"));
}

/* Weights alone, of widths that tell the number of heads. */
static void a_missing_description_is_a_warning(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model *model = NULL;
    struct clip_model_config config;
    struct clip_bundle bundle = {0};
    struct heard heard;
    const char *path = test_path(test_folder(), "weights.safetensors");
    test_ok(clip_model_preset(&config, "vit-b-32", &error), &error);
    config.image_size = 32, config.patch_size = 16, config.embed_dim = 8;
    config.vision.width = config.text.width = 64, config.vision.heads = config.text.heads = 1;
    config.vision.layers = config.text.layers = 1, config.vocab_size = 520;
    test_ok(clip_model_create(&model, &config, &error), &error);
    clip_model_init(model, 6);
    for (int64_t i = 0; i < model->param_count; i++)
        test_ok(clip_bundle_add(&bundle, model->params[i].name, &model->params[i].tensor, &error),
                &error);
    test_ok(clip_safetensors_write(path, &bundle, &error), &error);
    clip_bundle_release(&bundle);
    clip_model_free(model);
    open_and_hear(&heard, path, false);
    assert_int_equal(heard.warnings, 1);
    assert_non_null(strstr(heard.last, "weights.safetensors has no description"));
}

/* ---- cancelled calls ---- */

struct patience {
    int asked, most; /* true from the one behind `most` on */
    bool elsewhere;
    pthread_t caller;
};

static bool lose_patience(void *context)
{
    struct patience *patience = context;
    patience->elsewhere |= !pthread_equal(patience->caller, pthread_self());
    return ++patience->asked > patience->most;
}

enum { MANY = 200 };

struct call {
    const struct clip_embedder *e;
    struct clip_image_source images[MANY];
    const char *texts[MANY];
    int32_t ids[MANY * CONTEXT];
    float pixels[MANY * PIXELS], out[MANY * PIXELS];
};

static clip_status call(struct call *c, int which, struct clip_error *error)
{
    switch (which) {
    case 0: return clip_embedder_images(c->e, c->images, MANY, CLIP_UNIT, c->out, NULL, error);
    case 1: return clip_embedder_preprocess(c->e, c->images, MANY, c->out, NULL, error);
    case 2: return clip_embedder_pixels(c->e, c->pixels, MANY, CLIP_UNIT, c->out, error);
    case 3: return clip_embedder_texts(c->e, c->texts, MANY, CLIP_UNIT, c->out, NULL, error);
    case 4: return clip_embedder_ids(c->e, c->ids, MANY, CONTEXT, CLIP_UNIT, c->out, error);
    case 5:
        return clip_embedder_tokenize(c->e, c->texts, MANY, CLIP_PAD_MODEL, (int32_t *)c->out, NULL,
                                      error);
    case 6:
        return clip_embedder_text_states(c->e, c->ids, MANY, CONTEXT, CLIP_LAST, c->out, NULL,
                                         error);
    default:
        return clip_embedder_image_states(c->e, c->pixels, MANY, CLIP_LAST, NULL, c->out, error);
    }
}

static void every_long_call_can_be_cancelled(void **state)
{
    (void)state;
    static struct call c;
    static const uint8_t rgb[12] = {1, 200, 30, 77};
    struct clip_error error;
    struct clip_model_file *file = small_model(7);
    struct patience patience;
    const struct clip_embedder_options options = {.cancelled = lose_patience, .context = &patience};
    c.e = embedder_over(file, &options);
    for (int i = 0; i < MANY; i++) {
        c.images[i] = (struct clip_image_source){.rgb = rgb, .width = 2, .height = 2};
        c.texts[i] = texts[i % TEXTS];
        c.ids[i * CONTEXT] = file->tokenizer->end;
    }
    for (int which = 0; which < 8; which++) {
        for (int most = 0; most < 3; most++) {
            patience = (struct patience){.most = most, .caller = pthread_self()};
            test_fails(call(&c, which, &error), &error, CLIP_ERR_INTERRUPTED, "cancelled");
            assert_int_equal(patience.asked, most + 1);
            assert_false(patience.elsewhere);
        }
        patience = (struct patience){.most = 1000, .caller = pthread_self()};
        test_ok(call(&c, which, &error), &error);
        assert_in_range(patience.asked, 4, 60);
    }
    clip_embedder_free((struct clip_embedder *)(uintptr_t)c.e);
    clip_model_file_free(file);
}

/* ---- processes ---- */

static void a_child_of_fork_calls_with_one_thread(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(12);
    struct clip_embedder *e = embedder_over(file, NULL);
    float rows[TEXTS * E], got[TEXTS * E];
    int threads = clip_threads_count(), status = -1;
    clip_threads_set(4);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, rows, NULL, &error), &error);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60); /* it would wait for threads that it does not have */
        clip_threads_set(1);
        bool same = clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, got, NULL, &error) == CLIP_OK &&
                    memcmp(got, rows, sizeof rows) == 0;
        _exit(same ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    clip_threads_set(threads);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* ---- both steps by themselves ---- */

static void preprocessed_images_give_the_same_rows(void **state)
{
    (void)state;
    struct clip_error error, failures[3];
    struct clip_embedder *e = NULL, *of_texts = NULL;
    const char *path = exported(8, "m.safetensors", CLIP_EXPORT_SAFETENSORS);
    const char *folder = test_folder();
    const struct clip_image_source images[] = {
        {.path = small_image(folder, "a.png", 50, 41, 1)},
        {.path = test_write_text(folder, "b.png", "no image")},
        {.path = small_image(folder, "c.png", 20, 64, 2)}};
    const struct clip_embedder_options options = {.use = CLIP_USE_TEXTS};
    static float pixels[3 * PIXELS], others[3 * PIXELS];
    float rows[3 * E], got[3 * E], zeros[PIXELS] = {0};
    test_ok(clip_embedder_open(&e, path, NULL, &error), &error);
    test_ok(clip_embedder_preprocess(e, images, 3, pixels, failures, &error), &error);
    assert_int_equal(failures[0].status, CLIP_OK);
    assert_int_not_equal(failures[1].status, CLIP_OK);
    assert_non_null(strstr(failures[1].message, "b.png"));
    assert_int_equal(failures[2].status, CLIP_OK);
    test_same_f32("no image", pixels + PIXELS, zeros, PIXELS);
    test_ok(clip_embedder_pixels(e, pixels, 3, CLIP_UNIT, got, &error), &error);
    test_ok(clip_embedder_images(e, images, 3, CLIP_UNIT, rows, failures, &error), &error);
    test_same_f32("the first", got, rows, E);
    test_same_f32("the last", got + 2 * E, rows + 2 * E, E);
    test_fails(clip_embedder_preprocess(e, images, 3, pixels, NULL, &error), &error,
               failures[1].status, "b.png");
    clip_embedder_free(e);
    test_ok(clip_embedder_open(&of_texts, path, &options, &error), &error);
    test_ok(clip_embedder_preprocess(of_texts, images, 1, others, NULL, &error), &error);
    test_same_f32("without the images' tower", others, pixels, PIXELS);
    test_fails(clip_embedder_images(of_texts, images, 1, CLIP_UNIT, got, NULL, &error), &error,
               CLIP_ERR_USAGE, "for texts alone");
    clip_embedder_free(of_texts);
}

static void tokenized_texts_give_the_same_rows(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(9);
    int32_t end = file->tokenizer->end, ids[TEXTS * CONTEXT], last = CONTEXT - 1;
    float rows[TEXTS * E], got[TEXTS * E];
    int64_t cut = -1, longer = 0;
    file->filler = 3;
    struct clip_embedder *e = embedder_over(file, NULL);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, rows, &longer, &error), &error);
    assert_in_range(longer, 1, TEXTS - 2);
    const int32_t paddings[][2] = {{CLIP_PAD_MODEL, 3}, {CLIP_PAD_END, end}, {0, 0}, {7, 7}};
    for (int i = 0; i < 4; i++) {
        test_ok(clip_embedder_tokenize(e, texts, TEXTS, paddings[i][0], ids, &cut, &error), &error);
        assert_int_equal(cut, longer);
        assert_int_equal(ids[0], file->tokenizer->start);
        assert_int_equal(ids[last], paddings[i][1]);
        assert_int_equal(ids[3 * CONTEXT + last], end); /* of the one that was cut */
        test_ok(clip_embedder_ids(e, ids, TEXTS, CONTEXT, CLIP_UNIT, got, &error), &error);
        test_same_f32("ids", got, rows, TEXTS * E);
    }
    test_fails(clip_embedder_tokenize(e, texts, TEXTS, -3, ids, NULL, &error), &error,
               CLIP_ERR_USAGE, "id -3");
    const int32_t beyond = (int32_t)file->model->config.vocab_size;
    test_fails(clip_embedder_tokenize(e, texts, TEXTS, beyond, ids, NULL, &error), &error,
               CLIP_ERR_USAGE, "expected 0 to");
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void texts_of_a_model_for_images_are_refused_as_such(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_embedder *e = NULL;
    const struct clip_embedder_options options = {.use = CLIP_USE_IMAGES};
    int32_t ids[CONTEXT];
    float row[E];
    test_ok(clip_embedder_open(&e, exported(10, "m.h5", CLIP_EXPORT_HDF5), &options, &error),
            &error);
    test_fails(clip_embedder_texts(e, texts, 1, CLIP_UNIT, row, NULL, &error), &error,
               CLIP_ERR_USAGE, "for images alone");
    test_fails(clip_embedder_tokenize(e, texts, 1, 0, ids, NULL, &error), &error, CLIP_ERR_USAGE,
               "for images alone");
    assert_string_equal(clip_embedder_checksum(e), "");
    clip_embedder_free(e);
}

/* ---- hidden states ---- */

static void either_hidden_state_may_be_left_out(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(11);
    struct clip_embedder *e = embedder_over(file, NULL);
    const uint8_t rgb[12] = {255, 0, 128};
    const struct clip_image_source image = {.rgb = rgb, .width = 2, .height = 2};
    int32_t ids[CONTEXT];
    float pixels[PIXELS];
    int64_t n = clip_embedder_image_tokens(e) * clip_embedder_vision_width(e);
    assert_int_equal(n, (16 + 1) * 48);
    assert_int_equal(clip_embedder_text_width(e), TEXT_WIDTH);
    assert_int_equal(clip_embedder_context(e), CONTEXT);
    assert_int_equal(clip_embedder_image_size(e), S);
    float *both[2], *one[2];
    for (int i = 0; i < 2; i++) {
        both[i] = calloc((size_t)n, sizeof **both);
        one[i] = calloc((size_t)n, sizeof **one);
        assert_non_null(both[i]);
        assert_non_null(one[i]);
    }
    test_ok(clip_embedder_preprocess(e, &image, 1, pixels, NULL, &error), &error);
    test_ok(clip_embedder_tokenize(e, texts, 1, CLIP_PAD_END, ids, NULL, &error), &error);
    for (int layer = 0; layer < 2; layer++) {
        enum clip_layer l = layer == 0 ? CLIP_LAST : CLIP_PENULTIMATE;
        test_ok(clip_embedder_image_states(e, pixels, 1, l, both[0], both[1], &error), &error);
        test_ok(clip_embedder_image_states(e, pixels, 1, l, one[0], NULL, &error), &error);
        test_ok(clip_embedder_image_states(e, pixels, 1, l, NULL, one[1], &error), &error);
        for (int i = 0; i < 2; i++) test_same_f32("image", one[i], both[i], n);
        test_ok(clip_embedder_text_states(e, ids, 1, CONTEXT, l, both[0], both[1], &error), &error);
        test_ok(clip_embedder_text_states(e, ids, 1, CONTEXT, l, one[0], NULL, &error), &error);
        test_ok(clip_embedder_text_states(e, ids, 1, CONTEXT, l, NULL, one[1], &error), &error);
        for (int i = 0; i < 2; i++) test_same_f32("text", one[i], both[i], CONTEXT * TEXT_WIDTH);
        assert_true(test_distance(both[0], both[1], CONTEXT * TEXT_WIDTH) > 1e-2);
    }
    test_fails(
        clip_embedder_text_states(e, ids, 1, CONTEXT, (enum clip_layer)2, one[0], NULL, &error),
        &error, CLIP_ERR_USAGE, "enum clip_layer");
    test_fails(clip_embedder_image_states(e, pixels, 1, (enum clip_layer)2, one[0], NULL, &error),
               &error, CLIP_ERR_USAGE, "enum clip_layer");
    for (int i = 0; i < 2; i++) {
        free(both[i]);
        free(one[i]);
    }
    clip_embedder_free(e);
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_may_be_those_of_another_version),
        cmocka_unit_test(images_may_be_those_of_another_version),
        cmocka_unit_test(an_image_of_nothing_is_refused),
        cmocka_unit_test(notes_go_to_the_log),
        cmocka_unit_test(a_missing_logit_scale_is_a_warning),
        cmocka_unit_test(a_missing_description_is_a_warning),
        cmocka_unit_test(every_long_call_can_be_cancelled),
        cmocka_unit_test(a_child_of_fork_calls_with_one_thread),
        cmocka_unit_test(preprocessed_images_give_the_same_rows),
        cmocka_unit_test(tokenized_texts_give_the_same_rows),
        cmocka_unit_test(texts_of_a_model_for_images_are_refused_as_such),
        cmocka_unit_test(either_hidden_state_may_be_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
