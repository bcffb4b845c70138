/* The embedder, lists of images and texts, and files of embeddings. */
#include "tests/support.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/threads.h"
#include "embed/embeddings.h"
#include "embed/texts.h"
#include "formats/model_export.h"
#include "kernels/gemm.h"
#include "tests/fixture.h"
#include "tests/small_model.h"

enum { E = 24, S = 32, CONTEXT = 12, PIXELS = 3 * S * S };

static struct clip_embedder *embedder_over(const struct clip_model_file *file)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    return e;
}

static float *random_pixels(int64_t n, uint64_t seed)
{
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 0, 0);
    float *pixels = calloc((size_t)(n * PIXELS), sizeof *pixels);
    assert_non_null(pixels);
    for (int64_t i = 0; i < n * PIXELS; i++) pixels[i] = clip_rng_normal(&rng);
    return pixels;
}

/* ---- against open_clip ---- */

static void check_tensors(const char *root, const char *model)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    struct clip_embeddings got = {0};
    char path[64];
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", model);
    test_ok(clip_embedder_open(&e, test_path(root, path), NULL, &error), &error);
    snprintf(path, sizeof path, "%s/expected.safetensors", model);
    struct clip_bundle expected = fixture_read(root, path);
    test_ok(clip_embeddings_from_tensors(&got, e, test_path(root, path), NULL, &error), &error);
    const char *const names[] = {"image_features", "image_embeds", "text_features", "text_embeds",
                                 "logits_per_image"};
    assert_int_equal(got.bundle.tensor_count, 5);
    for (int i = 0; i < 5; i++) {
        const struct clip_tensor *tensor = clip_bundle_find(&got.bundle, names[i]);
        assert_non_null(tensor);
        fixture_close_to(&expected, names[i], tensor->data, 0, i == 4 ? 1e-4 : 2e-5);
    }
    clip_embeddings_release(&got);
    clip_bundle_release(&expected);
    clip_embedder_free(e);
}

static void tensors_give_what_open_clip_gives(void **state)
{
    (void)state;
    static const char *const models[] = {"openclip_tiny", "openclip_quickgelu_tiny"};
    int count = 0;
    for (int i = 0; test_root(i) != NULL; i++)
        for (int m = 0; m < 2; m++) {
            if (test_root_file(i, models[m]) == NULL) continue;
            check_tensors(test_root(i), models[m]);
            count++;
        }
    if (count == 0) test_skip("there is no open_clip model in any set of reference values");
}

/* ---- rows ---- */

static const char *const texts[] = {"a red circle", "a dog", "two green squares in the snow",
                                    "a dog", ""};
enum { TEXTS = 5 };

static void unit_rows_are_raw_rows_normalised(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(1);
    struct clip_embedder *e = embedder_over(file);
    float unit[TEXTS * E], raw[TEXTS * E];
    assert_int_equal(clip_embedder_dim(e), E);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, unit, NULL, &error), &error);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_RAW, raw, NULL, &error), &error);
    for (int i = 0; i < TEXTS; i++) {
        double sum = 0;
        for (int d = 0; d < E; d++) sum += (double)unit[i * E + d] * (double)unit[i * E + d];
        test_close_f64("length", sqrt(sum), 1, 0, 1e-6);
    }
    clip_rows_normalise(raw, TEXTS, E);
    test_same_f32("normalised raw rows", raw, unit, TEXTS * E);
    test_same_f32("the same text twice", unit + E, unit + 3 * E, E);
    assert_true(test_distance(unit, unit + E, E) > 1e-3);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* Packed weights give the same bits; those packed for the other precision are left alone. */
static void packing_changes_nothing(void **state)
{
    (void)state;
    enum { N = 5 };
    struct clip_error error;
    float *pixels = random_pixels(N, 3), images[3][N * E], words[3][TEXTS * E];
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct clip_model_file *file = small_model(2);
        for (int i = 0; i < 3; i++) { /* as they are, packed, packed for the other precision */
            struct clip_embedder *e;
            const struct clip_embedder_options options = {.bf16 = (i == 2) != bf16, .pack = i > 0};
            const struct clip_embedder_options use = {.bf16 = bf16};
            test_ok(clip_embedder_create(&e, file, &options, &error), &error);
            bool packed = i > 0 && clip_gemm_rows_independent();
            assert_true((file->model->vision.blocks[0].c_fc_w->panels != NULL) == packed);
            assert_true((file->model->text.proj->panels != NULL) == packed);
            clip_embedder_free(e);
            test_ok(clip_embedder_create(&e, file, &use, &error), &error);
            test_ok(clip_embedder_pixels(e, pixels, N, CLIP_UNIT, images[i], &error), &error);
            test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, words[i], NULL, &error),
                    &error);
            clip_embedder_free(e);
            test_same_f32("images", images[i], images[0], N * E);
            test_same_f32("texts", words[i], words[0], TEXTS * E);
        }
        clip_model_file_free(file);
    }
    free(pixels);
}

static void rows_are_apart(bool bf16)
{
    enum { N = 23 };
    struct clip_error error;
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *e;
    const struct clip_embedder_options options = {.bf16 = bf16};
    test_ok(clip_embedder_create(&e, file, &options, &error), &error);
    float *pixels = random_pixels(N, 3), *together = calloc(N * E, sizeof *together), alone[E];
    float words[TEXTS * E];
    int threads = clip_threads_count();
    test_ok(clip_embedder_pixels(e, pixels, N, CLIP_UNIT, together, &error), &error);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, words, NULL, &error), &error);
    for (int t = 1; t <= 3; t++) {
        clip_threads_set(t);
        for (int i = 0; i < N; i++) {
            test_ok(clip_embedder_pixels(e, pixels + i * PIXELS, 1, CLIP_UNIT, alone, &error),
                    &error);
            test_same_f32("an image alone", alone, together + i * E, E);
        }
        for (int i = 0; i < TEXTS; i++) {
            test_ok(clip_embedder_texts(e, texts + i, 1, CLIP_UNIT, alone, NULL, &error), &error);
            test_same_f32("a text alone", alone, words + i * E, E);
        }
    }
    clip_threads_set(threads);
    free(pixels);
    free(together);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void rows_do_not_depend_on_neighbours_or_threads(void **state)
{
    (void)state;
    rows_are_apart(false);
    rows_are_apart(true);
}

/* Rounding what is multiplied to bfloat16 moves a row by some 2^-8 of its length, and does move it.
 */
static void bf16_rows_are_near(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *exact = embedder_over(file), *e;
    const struct clip_embedder_options options = {.bf16 = true};
    float a[TEXTS * E], b[TEXTS * E];
    test_ok(clip_embedder_create(&e, file, &options, &error), &error);
    test_ok(clip_embedder_texts(exact, texts, TEXTS, CLIP_UNIT, a, NULL, &error), &error);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, b, NULL, &error), &error);
    test_close_rows("bf16", b, a, TEXTS, E, 0.03, 0);
    assert_true(test_distance(b, a, TEXTS * E) > 1e-5);
    clip_embedder_free(exact);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

struct caller {
    const struct clip_embedder *embedder;
    const float *pixels;
    float rows[6 * E], words[TEXTS * E];
    clip_status status;
};

static void *call(void *context)
{
    struct caller *c = context;
    struct clip_error error;
    c->status = clip_embedder_pixels(c->embedder, c->pixels, 6, CLIP_UNIT, c->rows, &error);
    if (c->status == CLIP_OK)
        c->status =
            clip_embedder_texts(c->embedder, texts, TEXTS, CLIP_UNIT, c->words, NULL, &error);
    return NULL;
}

static void several_callers_share_an_embedder(void **state)
{
    (void)state;
    enum { CALLERS = 3 };
    struct clip_model_file *file = small_model(4);
    struct clip_embedder *e = embedder_over(file);
    float *pixels = random_pixels(6, 5);
    struct caller callers[CALLERS] = {0};
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.embedder = e, .pixels = pixels};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].status, CLIP_OK);
        test_same_f32("images", callers[i].rows, callers[0].rows, 6 * E);
        test_same_f32("texts", callers[i].words, callers[0].words, TEXTS * E);
    }
    free(pixels);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void padded_ids_are_pooled_at_their_first_largest(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(6);
    struct clip_embedder *e = embedder_over(file);
    int32_t end = file->tokenizer->end;
    int32_t start = file->tokenizer->start;
    int32_t ids[4][CONTEXT] = {{start, 5, 9, end, 0, 0},
                               {start, 5, 9, end, end, end, 7},
                               {start, 5, 9, end, 3, end, 44},
                               {start, 5, end, 9, end}};
    float rows[4 * E];
    test_ok(clip_embedder_ids(e, ids[0], 4, CONTEXT, CLIP_RAW, rows, &error), &error);
    test_same_f32("padded with ends", rows + E, rows, E);
    test_same_f32("words behind the end", rows + 2 * E, rows, E);
    assert_true(test_distance(rows + 3 * E, rows, E) > 1e-4);
    int32_t wrong[CONTEXT] = {start, -1, end};
    test_fails(clip_embedder_ids(e, wrong, 1, CONTEXT, CLIP_RAW, rows, &error), &error,
               CLIP_ERR_DATA, "holds id -1 at place 1");
    wrong[1] = (int32_t)file->model->config.vocab_size;
    test_fails(clip_embedder_ids(e, wrong, 1, CONTEXT, CLIP_RAW, rows, &error), &error,
               CLIP_ERR_DATA, "row 0 of input_ids");
    int32_t longer[CONTEXT + 1] = {0};
    longer[CONTEXT] = end;
    test_fails(clip_embedder_ids(e, longer, 1, CONTEXT + 1, CLIP_RAW, rows, &error), &error,
               CLIP_ERR_DATA, "context_length is 12");
    longer[2] = end; /* what stands behind the end may be as long as it likes */
    test_ok(clip_embedder_ids(e, longer, 1, CONTEXT + 1, CLIP_RAW, rows, &error), &error);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void texts_and_their_ids_agree(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(7);
    struct clip_embedder *e = embedder_over(file);
    static const char text[] = "a red circle left of a dog and a blue circle above two squares";
    const char *list[] = {text};
    struct clip_ids ids = {0};
    float by_text[E], by_ids[E];
    int64_t cut = 0;
    test_ok(clip_tokenizer_encode(file->tokenizer, text, strlen(text),
                                  &(struct clip_encode_options){file->cleaning, CONTEXT}, &ids,
                                  NULL, &error),
            &error);
    assert_int_equal(ids.count, CONTEXT);
    test_ok(clip_embedder_texts(e, list, 1, CLIP_UNIT, by_text, &cut, &error), &error);
    assert_int_equal(cut, 1);
    test_ok(clip_embedder_ids(e, ids.ids, 1, CONTEXT, CLIP_UNIT, by_ids, &error), &error);
    test_same_f32("text and ids", by_text, by_ids, E);
    clip_ids_release(&ids);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void texts_need_a_tokenizer_and_utf8(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(8);
    struct clip_embedder *e = embedder_over(file);
    const char *bad[] = {"a dog", "a \xff", "a \xfe"};
    float rows[3 * E];
    test_fails(clip_embedder_texts(e, bad, 3, CLIP_UNIT, rows, NULL, &error), &error, CLIP_ERR_DATA,
               "text 2");
    clip_tokenizer_free(file->tokenizer);
    file->tokenizer = NULL;
    test_fails(clip_embedder_texts(e, bad, 1, CLIP_UNIT, rows, NULL, &error), &error, CLIP_ERR_DATA,
               "--tokenizer");
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* ---- images ---- */

static void an_image_is_the_same_by_path_bytes_and_pixels(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(9);
    struct clip_embedder *e = embedder_over(file);
    const char *path = small_image(test_folder(), "a.png", 50, 41, 1);
    struct clip_buffer bytes = {0};
    struct clip_image image = {0};
    float rows[3 * E];
    test_ok(clip_file_read(path, 1 << 20, &bytes, &error), &error);
    const struct clip_image_limits limits = {.max_pixels = 10000};
    test_ok(clip_image_decode_file(path, &limits, &image, &error), &error);
    const struct clip_image_source images[] = {
        {.path = path},
        {.bytes = bytes.data, .size = bytes.size},
        {.rgb = image.rgb, .width = image.width, .height = image.height}};
    test_ok(clip_embedder_images(e, images, 3, CLIP_UNIT, rows, NULL, &error), &error);
    test_same_f32("bytes", rows + E, rows, E);
    test_same_f32("decoded", rows + 2 * E, rows, E);
    clip_image_release(&image);
    clip_buffer_release(&bytes);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void a_broken_image_fails_alone(void **state)
{
    (void)state;
    struct clip_error error, failures[3];
    struct clip_model_file *file = small_model(10);
    struct clip_embedder *e = embedder_over(file);
    const char *folder = test_folder();
    const char *good = small_image(folder, "a.png", 33, 40, 2);
    const char *broken = test_write_text(folder, "b.png", "\x89PNG\r\n\x1a\n and no more");
    const struct clip_image_source images[] = {{.path = good}, {.path = broken}, {.path = good}};
    float rows[3 * E], expected[E] = {0}, zero[E] = {0};
    test_ok(clip_embedder_images(e, images, 1, CLIP_UNIT, expected, NULL, &error), &error);
    test_ok(clip_embedder_images(e, images, 3, CLIP_UNIT, rows, failures, &error), &error);
    assert_int_equal(failures[0].status, CLIP_OK);
    assert_int_not_equal(failures[1].status, CLIP_OK);
    assert_non_null(strstr(failures[1].message, "b.png"));
    assert_int_equal(failures[2].status, CLIP_OK);
    test_same_f32("before", rows, expected, E);
    test_same_f32("broken", rows + E, zero, E);
    test_same_f32("behind", rows + 2 * E, expected, E);
    assert_int_not_equal(clip_embedder_images(e, images, 3, CLIP_UNIT, rows, NULL, &error),
                         CLIP_OK);
    assert_non_null(strstr(error.message, "b.png"));
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void images_larger_than_allowed_are_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(11);
    struct clip_embedder *e = NULL;
    const struct clip_embedder_options options = {.max_pixels = 100};
    const struct clip_image_source image = {.path = small_image(test_folder(), "a.png", 20, 20, 3)};
    float row[E];
    test_ok(clip_embedder_create(&e, file, &options, &error), &error);
    assert_int_not_equal(clip_embedder_images(e, &image, 1, CLIP_UNIT, row, NULL, &error), CLIP_OK);
    assert_non_null(strstr(error.message, "a.png"));
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* A folder with three good images (one in a folder within) and a broken one. */
static const char *photo_folder(void)
{
    struct clip_error error;
    const char *folder = test_folder();
    small_image(folder, "a.png", 30, 40, 1);
    test_write_text(folder, "b.png", "no image");
    small_image(folder, "c.png", 64, 32, 2);
    test_ok(clip_folder_create(test_path(folder, "d"), &error), &error);
    small_image(folder, "d/e.png", 32, 32, 3);
    return folder;
}

static void a_list_embeds_files_and_folders_in_order(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(12);
    struct clip_embedder *e = embedder_over(file);
    const char *folder = photo_folder();
    const char *arguments[] = {test_path(folder, "c.png"), folder, "/nowhere/x.png"};
    struct clip_images images = {0};
    struct clip_embeddings out = {0};
    test_ok(clip_images_open(&images, arguments, 3, &error), &error);
    assert_int_equal(images.count, 6);
    test_ok(clip_embeddings_from_images(&out, e, &images, CLIP_UNIT, true, &error), &error);
    const char **names = out.names;
    assert_int_equal(out.count, 4);
    assert_int_equal(out.skipped, 2);
    assert_string_equal(names[0], test_path(folder, "c.png"));
    assert_string_equal(names[1], test_path(folder, "a.png"));
    assert_string_equal(names[2], test_path(folder, "c.png"));
    assert_string_equal(names[3], test_path(folder, "d/e.png"));
    const float *rows = clip_bundle_find(&out.bundle, "image_embeds")->data;
    test_same_f32("the same image twice", rows, rows + 2 * E, E);
    for (int i = 0; i < 4; i++) {
        const struct clip_image_source image = {.path = names[i]};
        float row[E];
        test_ok(clip_embedder_images(e, &image, 1, CLIP_UNIT, row, NULL, &error), &error);
        test_same_f32(names[i], rows + i * E, row, E);
    }
    clip_embeddings_release(&out);
    clip_images_release(&images);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void a_list_without_a_readable_image_fails(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(13);
    struct clip_embedder *e = embedder_over(file);
    const char *odd = test_write_text(test_folder(), "bad\xff.png", "x");
    const char *arguments[] = {"/nowhere/x.png", odd};
    struct clip_images images = {0};
    struct clip_embeddings out = {0};
    test_ok(clip_images_open(&images, arguments, 2, &error), &error);
    test_fails(clip_embeddings_from_images(&out, e, &images, CLIP_UNIT, true, &error), &error,
               CLIP_ERR_DATA, "no image of 2");
    clip_embeddings_release(&out);
    clip_images_release(&images);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* ---- files ---- */

static void text_files_are_read_a_line_a_text(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_texts got = {0};
    const char *folder = test_folder();
    const char *path = test_write_text(folder, "a.txt", "a dog\r\n\na cat in\tthe snow");
    test_ok(clip_texts_read(&got, path, &error), &error);
    assert_int_equal(got.count, 3);
    assert_string_equal(got.lines[0], "a dog");
    assert_string_equal(got.lines[1], "");
    assert_string_equal(got.lines[2], "a cat in\tthe snow");
    clip_texts_release(&got);
    test_fails(clip_texts_read(&got, test_write_text(folder, "b.txt", ""), &error), &error,
               CLIP_ERR_DATA, "empty");
    test_fails(clip_texts_read(&got, test_write(folder, "c.txt", "a\0b\n", 4), &error), &error,
               CLIP_ERR_FORMAT, "NUL");
    test_fails(clip_texts_read(&got, test_path(folder, "none.txt"), &error), &error,
               CLIP_ERR_NOT_FOUND, "none.txt");
}

static void check_names(const struct clip_bundle *bundle, const char *const *names, int64_t n)
{
    struct clip_error error;
    struct clip_arena arena = {0};
    const struct clip_bundle_text *text = clip_bundle_text(bundle, "names");
    const char **got = NULL;
    int64_t count = 0;
    assert_non_null(text);
    test_ok(clip_names_from_json(text->value, text->size, "test", &arena, &got, &count, &error),
            &error);
    assert_int_equal(count, n);
    for (int64_t i = 0; i < n; i++) assert_string_equal(got[i], names[i]);
    clip_arena_release(&arena);
}

static void embeddings_are_read_back_from_every_format(void **state)
{
    (void)state;
    struct clip_error error;
    const char *folder = test_folder();
    const char *names[] = {"b.png", "ä \"quoted\"\n.png", "a.png"};
    for (int format = 0; format < 3; format++) {
        static const char *const files[] = {"x.h5", "x.safetensors", "x.npy"};
        const char *path = test_path(folder, files[format]);
        struct clip_embeddings out = {0};
        struct clip_bundle in = {0};
        float *rows;
        test_ok(clip_embeddings_check(path, false, &error), &error);
        test_ok(clip_embeddings_add(&out, "image_embeds", 3, 2, &rows, &error), &error);
        for (int i = 0; i < 6; i++) rows[i] = (float)i / 3;
        test_ok(clip_embeddings_write(&out, path, names, 3, &error), &error);
        if (format < 2) {
            test_ok(format == 0 ? clip_hdf5_read(path, NULL, &in, &error)
                                : clip_safetensors_read(path, &in, &error),
                    &error);
            const struct clip_tensor *got = clip_bundle_find(&in, "image_embeds");
            assert_non_null(got);
            test_same_f32(path, got->data, rows, 6);
            check_names(&in, names, 3);
            assert_int_equal(clip_bundle_text(&in, "names")->list, format == 0); /* [n] in HDF5 */
        } else {
            struct clip_buffer bytes = {0};
            test_ok(clip_file_read(path, 4096, &bytes, &error), &error);
            assert_true(bytes.size > 24);
            assert_memory_equal(bytes.data + bytes.size - 24, rows, 24);
            clip_buffer_release(&bytes);
            json_t *list = clip_json_read(test_path(folder, "x.npy.names.json"), 4096, &error);
            assert_int_equal(json_array_size(list), 3);
            assert_string_equal(json_string_value(json_array_get(list, 1)), names[1]);
            json_decref(list);
        }
        clip_bundle_release(&in);
        clip_embeddings_release(&out);
    }
}

static void output_names_are_checked_before_the_work(void **state)
{
    (void)state;
    struct clip_error error;
    test_fails(clip_embeddings_check("x.txt", false, &error), &error, CLIP_ERR_USAGE,
               ".safetensors");
    test_fails(clip_embeddings_check("x.npy", true, &error), &error, CLIP_ERR_USAGE, "one matrix");
    test_ok(clip_embeddings_check("x.H5", true, &error), &error);
}

static void wrong_tensors_are_named(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(14);
    struct clip_embedder *e = embedder_over(file);
    const char *folder = test_folder();
    float pixels[2 * 3 * 4 * 4] = {0};
    int64_t ids[2] = {0, INT64_C(1) << 40};
    const struct {
        const char *name, *word;
        struct clip_tensor tensor;
    } cases[] = {
        {"pixel_values", "[2, 3, 4, 4]",
         clip_tensor_view(CLIP_F32, pixels, 4, (const int64_t[]){2, 3, 4, 4})},
        {"pixel_values", "[n, 3, 32, 32]", clip_tensor_f32(pixels, 3, 16)},
        {"input_ids", "I32", clip_tensor_f32(pixels, 2, 8)},
        {"input_ids", "holds id", clip_tensor_view(CLIP_I64, ids, 2, (const int64_t[]){1, 2})},
        {"other", "neither", clip_tensor_f32(pixels, 2, 8)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_bundle in = {0};
        struct clip_embeddings out = {0};
        const char *path = test_path(folder, "in.safetensors");
        test_ok(clip_bundle_add(&in, cases[i].name, &cases[i].tensor, &error), &error);
        test_ok(clip_safetensors_write(path, &in, &error), &error);
        clip_bundle_release(&in);
        test_fails(clip_embeddings_from_tensors(&out, e, path, NULL, &error), &error, CLIP_ERR_DATA,
                   cases[i].word);
        assert_non_null(strstr(error.message, "in.safetensors"));
        clip_embeddings_release(&out);
    }
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void an_exported_model_gives_the_same_rows(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(15);
    struct clip_embedder *e = embedder_over(file);
    const char *folder = test_folder();
    const struct clip_image_source image = {.path = small_image(folder, "a.png", 45, 45, 9)};
    float expected[(TEXTS + 1) * E], got[(TEXTS + 1) * E];
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, expected, NULL, &error), &error);
    test_ok(clip_embedder_images(e, &image, 1, CLIP_UNIT, expected + TEXTS * E, NULL, &error),
            &error);
    clip_embedder_free(e);
    for (int format = 0; format < 2; format++) {
        const char *path = test_path(folder, format == 0 ? "m.h5" : "m.safetensors");
        const struct clip_export_options export = {
            format == 0 ? CLIP_EXPORT_HDF5 : CLIP_EXPORT_SAFETENSORS, CLIP_F32, false};
        test_ok(clip_model_export(file, path, &export, &error), &error);
        const struct clip_embedder_options options = {.checksum = true};
        test_ok(clip_embedder_open(&e, path, &options, &error), &error);
        assert_string_equal(clip_embedder_checksum(e), file->checksum);
        test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_UNIT, got, NULL, &error), &error);
        test_ok(clip_embedder_images(e, &image, 1, CLIP_UNIT, got + TEXTS * E, NULL, &error),
                &error);
        test_same_f32(path, got, expected, (TEXTS + 1) * E);
        clip_embedder_free(e);
    }
    test_fails(clip_embedder_open(&e, test_path(folder, "none.h5"), NULL, &error), &error,
               CLIP_ERR_NOT_FOUND, "none.h5");
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_give_what_open_clip_gives),
        cmocka_unit_test(unit_rows_are_raw_rows_normalised),
        cmocka_unit_test(packing_changes_nothing),
        cmocka_unit_test(rows_do_not_depend_on_neighbours_or_threads),
        cmocka_unit_test(bf16_rows_are_near),
        cmocka_unit_test(several_callers_share_an_embedder),
        cmocka_unit_test(padded_ids_are_pooled_at_their_first_largest),
        cmocka_unit_test(texts_and_their_ids_agree),
        cmocka_unit_test(texts_need_a_tokenizer_and_utf8),
        cmocka_unit_test(an_image_is_the_same_by_path_bytes_and_pixels),
        cmocka_unit_test(a_broken_image_fails_alone),
        cmocka_unit_test(images_larger_than_allowed_are_refused),
        cmocka_unit_test(a_list_embeds_files_and_folders_in_order),
        cmocka_unit_test(a_list_without_a_readable_image_fails),
        cmocka_unit_test(text_files_are_read_a_line_a_text),
        cmocka_unit_test(embeddings_are_read_back_from_every_format),
        cmocka_unit_test(output_names_are_checked_before_the_work),
        cmocka_unit_test(wrong_tensors_are_named),
        cmocka_unit_test(an_exported_model_gives_the_same_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
