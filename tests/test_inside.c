/* Hidden states and pixel gradients: what image generators take from a CLIP model. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "embed/embeddings.h"
#include "tests/fixture.h"
#include "tests/small_model.h"

/* image 32, patch 8, width 48; context 12, width 40; embedding 24 */
enum { E = 24, S = 32, CONTEXT = 12, TEXT_WIDTH = 40, PIXELS = 3 * S * S };

/* ---- against PyTorch ---- */

struct layer_name {
    enum clip_layer layer;
    const char *name;
};
static const struct layer_name layers[] = {{CLIP_LAST, "last"}, {CLIP_PENULTIMATE, "penultimate"}};

/* `got` holds NAME, `expected` NAME.LAYER. */
static void check_states(const struct clip_bundle *got, const struct clip_bundle *expected,
                         const char *name, const char *layer)
{
    const struct clip_tensor *tensor = fixture_tensor(got, "%s", name);
    const struct clip_tensor *wanted = fixture_tensor(expected, "%s.%s", name, layer);
    assert_int_equal(tensor->ndim, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(tensor->shape[i], wanted->shape[i]);
    test_close(name, tensor->data, wanted->data, clip_tensor_count(wanted), 1e-5, 1e-6);
}

static void check_model(const char *root, const char *model, bool *found)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    char path[96];
    snprintf(path, sizeof path, "%s/inside.safetensors", model);
    if (!clip_path_exists(test_path(root, path))) return;
    *found = true;
    struct clip_bundle expected = fixture_read(root, path);
    const char *input = test_path(root, path);
    snprintf(path, sizeof path, "%s/open_clip_model.safetensors", model);
    test_ok(clip_embedder_open(&e, test_path(root, path), NULL, &error), &error);
    for (int i = 0; i < 2; i++) {
        struct clip_embeddings got = {0};
        const struct clip_embeddings_extras extras = {true, layers[i].layer, true};
        test_ok(clip_embeddings_from_tensors(&got, e, input, &extras, &error), &error);
        check_states(&got.bundle, &expected, "hidden_states", layers[i].name);
        check_states(&got.bundle, &expected, "hidden_states_ln", layers[i].name);
        check_states(&got.bundle, &expected, "vision_hidden_states", layers[i].name);
        check_states(&got.bundle, &expected, "vision_hidden_states_ln", layers[i].name);
        fixture_close_to(&expected, "pixel_grad", fixture_f32(&got.bundle, "pixel_grad"), 2e-5, 0);
        clip_embeddings_release(&got);
    }
    clip_bundle_release(&expected);
    clip_embedder_free(e);
}

static void states_and_gradients_are_pytorchs(void **state)
{
    (void)state;
    bool found = false;
    for (int i = 0; test_root(i) != NULL; i++) {
        check_model(test_root(i), "openclip_tiny", &found);
        check_model(test_root(i), "openclip_quickgelu_tiny", &found);
    }
    if (!found) test_skip("there are no hidden states in any set of reference values");
}

/* transformers' CLIPModel: what its text and vision models give as hidden states. */
static void states_are_transformers(void **state)
{
    (void)state;
    struct clip_error error;
    int found = 0;
    for (int i = 0; test_root(i) != NULL; i++) {
        const char *input = test_root_file(i, "hf_tiny/expected.safetensors");
        struct clip_embedder *e = NULL;
        struct clip_embeddings last = {0}, before = {0};
        struct clip_embeddings_extras extras = {.states = true, .layer = CLIP_LAST};
        if (input == NULL) continue;
        found++;
        struct clip_bundle expected = fixture_read(test_root(i), "hf_tiny/expected.safetensors");
        test_ok(clip_embedder_open(&e, test_path(test_root(i), "hf_tiny"), NULL, &error), &error);
        test_ok(clip_embeddings_from_tensors(&last, e, input, &extras, &error), &error);
        extras.layer = CLIP_PENULTIMATE;
        test_ok(clip_embeddings_from_tensors(&before, e, input, &extras, &error), &error);
        fixture_close_to(&expected, "text_last_hidden_state",
                         fixture_f32(&last.bundle, "hidden_states_ln"), 0, 2e-5);
        fixture_close_to(&expected, "text_penultimate",
                         fixture_f32(&before.bundle, "hidden_states"), 0, 2e-5);
        fixture_close_to(&expected, "text_penultimate_ln",
                         fixture_f32(&before.bundle, "hidden_states_ln"), 0, 2e-5);
        fixture_close_to(&expected, "vision_last_hidden_state",
                         fixture_f32(&last.bundle, "vision_hidden_states"), 0, 5e-5);
        clip_embeddings_release(&last);
        clip_embeddings_release(&before);
        clip_bundle_release(&expected);
        clip_embedder_free(e);
    }
    if (found == 0) test_skip("there is no transformers model in any set of reference values");
}

/* transformers' SiglipModel: both last hidden states are behind the last norm. */
static void states_of_siglip_are_transformers(void **state)
{
    (void)state;
    struct clip_error error;
    int found = 0;
    for (int i = 0; test_root(i) != NULL; i++) {
        const char *input = test_root_file(i, "siglip_tiny/expected.safetensors");
        struct clip_embedder *e = NULL;
        struct clip_embeddings got = {0};
        const struct clip_embeddings_extras extras = {.states = true, .layer = CLIP_LAST};
        if (input == NULL) continue;
        found++;
        struct clip_bundle expected =
            fixture_read(test_root(i), "siglip_tiny/expected.safetensors");
        test_ok(clip_embedder_open(&e, test_path(test_root(i), "siglip_tiny"), NULL, &error),
                &error);
        test_ok(clip_embeddings_from_tensors(&got, e, input, &extras, &error), &error);
        fixture_close_to(&expected, "text_last_hidden_state",
                         fixture_f32(&got.bundle, "hidden_states_ln"), 0, 2e-5);
        fixture_close_to(&expected, "vision_last_hidden_state",
                         fixture_f32(&got.bundle, "vision_hidden_states_ln"), 0, 3e-5);
        clip_embeddings_release(&got);
        clip_bundle_release(&expected);
        clip_embedder_free(e);
    }
    if (found == 0) test_skip("there is no SigLIP model in any set of reference values");
}

/* ---- hidden states ---- */

static const char *const texts[] = {"a red circle", "two green squares in the snow", ""};
enum { TEXTS = 3, STATES = TEXTS * CONTEXT * TEXT_WIDTH };

static struct clip_embedder *embedder_over(const struct clip_model_file *file)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    return e;
}

static void padding_is_run_and_changes_nothing_before_it(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(1);
    struct clip_embedder *e = embedder_over(file);
    int32_t end = file->tokenizer->end, zeros[TEXTS * CONTEXT], ends[TEXTS * CONTEXT];
    static float a[STATES], b[STATES], a_ln[STATES], b_ln[STATES];
    int64_t cut;
    test_ok(clip_embedder_tokenize(e, texts, TEXTS, 0, zeros, &cut, &error), &error);
    test_ok(clip_embedder_tokenize(e, texts, TEXTS, end, ends, &cut, &error), &error);
    test_ok(clip_embedder_text_states(e, zeros, TEXTS, CONTEXT, CLIP_LAST, a, a_ln, &error),
            &error);
    test_ok(clip_embedder_text_states(e, ends, TEXTS, CONTEXT, CLIP_LAST, b, b_ln, &error), &error);
    for (int i = 0; i < TEXTS; i++) {
        int length = 0;
        while (zeros[i * CONTEXT + length] != end) length++;
        length++;
        assert_int_equal(zeros[i * CONTEXT], file->tokenizer->start);
        const float *x = a + i * CONTEXT * TEXT_WIDTH, *y = b + i * CONTEXT * TEXT_WIDTH;
        test_close("up to the end token", x, y, length * TEXT_WIDTH, 1e-6, 0);
        if (length == CONTEXT) continue;
        assert_int_equal(zeros[i * CONTEXT + length], 0);
        assert_int_equal(ends[i * CONTEXT + CONTEXT - 1], end);
        assert_true(test_distance(x + length * TEXT_WIDTH, y + length * TEXT_WIDTH, TEXT_WIDTH) >
                    1e-2);
    }
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* The normed state at the end token, projected, is the text's embedding. */
static void the_end_tokens_state_gives_the_embedding(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *e = embedder_over(file);
    const float *projection = file->model->text.proj->data; /* [W,E] */
    int32_t ids[TEXTS * CONTEXT];
    static float states[STATES], normed[STATES];
    float rows[TEXTS * E], projected[E];
    int64_t cut;
    test_ok(clip_embedder_tokenize(e, texts, TEXTS, 0, ids, &cut, &error), &error);
    test_ok(clip_embedder_text_states(e, ids, TEXTS, CONTEXT, CLIP_LAST, states, normed, &error),
            &error);
    test_ok(clip_embedder_texts(e, texts, TEXTS, CLIP_RAW, rows, NULL, &error), &error);
    for (int i = 0; i < TEXTS; i++) {
        int at = 0;
        while (ids[i * CONTEXT + at] != file->tokenizer->end) at++;
        const float *x = normed + (i * CONTEXT + at) * TEXT_WIDTH;
        for (int d = 0; d < E; d++) {
            double sum = 0;
            for (int w = 0; w < TEXT_WIDTH; w++)
                sum += (double)x[w] * (double)projection[w * E + d];
            projected[d] = (float)sum;
        }
        test_close("projection", projected, rows + i * E, E, 1e-5, 0);
    }
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void rows_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(3);
    struct clip_embedder *e = embedder_over(file);
    int32_t ids[CONTEXT + 1] = {1, file->tokenizer->end, 0, -5};
    static float states[(CONTEXT + 1) * TEXT_WIDTH], normed[(CONTEXT + 1) * TEXT_WIDTH];
    test_fails(clip_embedder_text_states(e, ids, 1, CONTEXT, CLIP_LAST, states, normed, &error),
               &error, CLIP_ERR_DATA, "holds id -5 at place 3");
    test_fails(clip_embedder_text_states(e, ids, 1, CONTEXT + 1, CLIP_LAST, states, normed, &error),
               &error, CLIP_ERR_DATA, "rows of 13 ids");
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* ---- gradients ---- */

static float *normal(int64_t n, uint64_t seed)
{
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 0, 0);
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = clip_rng_normal(&rng);
    return x;
}

/* u(x) . d by the embedder's forward alone, in double. */
static double product(const struct clip_embedder *e, const float *pixels, const float *direction)
{
    struct clip_error error;
    float row[E];
    double sum = 0, length = 0;
    test_ok(clip_embedder_pixels(e, pixels, 1, CLIP_RAW, row, &error), &error);
    for (int d = 0; d < E; d++) {
        sum += (double)row[d] * (double)direction[d];
        length += (double)row[d] * (double)row[d];
    }
    return sum / sqrt(length);
}

static void pixel_grad_is_the_measured_one(void **state)
{
    (void)state;
    enum { N = 3, PROBES = 24 };
    const double h = 0.02;
    struct clip_error error;
    struct clip_model_file *file = small_model(4);
    struct clip_embedder *e = embedder_over(file);
    float *pixels = normal(N * PIXELS, 5), *directions = normal(N * E, 6), cosines[N];
    float *grad = normal(N * PIXELS, 7), *shifted = calloc(PIXELS, sizeof *shifted);
    struct clip_rng rng = clip_rng_at(8, CLIP_RNG_TEST, 0, 0);
    clip_rows_normalise(directions, N, E);
    test_ok(clip_embedder_pixel_grad(e, pixels, N, directions, cosines, grad, &error), &error);
    for (int i = 0; i < N; i++) {
        const float *x = pixels + i * PIXELS, *g = grad + i * PIXELS;
        double largest = 0;
        for (int k = 0; k < PIXELS; k++) largest = fmax(largest, fabs((double)g[k]));
        assert_true(largest > 1e-4);
        test_close_f64("cosine", cosines[i], product(e, x, directions + i * E), 0, 1e-6);
        for (int p = 0; p < PROBES; p++) {
            uint32_t k = clip_rng_below(&rng, PIXELS);
            memcpy(shifted, x, PIXELS * sizeof *shifted);
            shifted[k] = x[k] + (float)h;
            double above = product(e, shifted, directions + i * E);
            shifted[k] = x[k] - (float)h;
            double below = product(e, shifted, directions + i * E);
            test_close_f64("pixel", g[k], (above - below) / (2 * h), 0, 0.02 * largest);
        }
    }
    free(pixels);
    free(directions);
    free(grad);
    free(shifted);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void gradients_are_the_same_bits_with_any_threads(void **state)
{
    (void)state;
    enum { N = 7 };
    struct clip_error error;
    struct clip_model_file *file = small_model(9);
    struct clip_embedder *e = embedder_over(file);
    float *pixels = normal(N * PIXELS, 10), *directions = normal(N * E, 11);
    float *first = normal(N * PIXELS, 12), *again = normal(N * PIXELS, 13);
    int threads = clip_threads_count();
    for (int t = 1; t <= 3; t++) {
        clip_threads_set(t);
        float *to = t == 1 ? first : again;
        test_ok(clip_embedder_pixel_grad(e, pixels, N, directions, NULL, to, &error), &error);
        test_same_f32("gradient", to, first, N * PIXELS);
    }
    clip_threads_set(threads);
    free(pixels);
    free(directions);
    free(first);
    free(again);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void grad_wants_pairs(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(14);
    struct clip_embedder *e = embedder_over(file);
    const char *path = test_path(test_folder(), "in.safetensors");
    const struct clip_embeddings_extras extras = {.grad = true};
    float *pixels = normal(2 * PIXELS, 15);
    int32_t ids[3 * CONTEXT] = {0};
    for (int i = 0; i < 3; i++) ids[i * CONTEXT + 1] = file->tokenizer->end;
    for (int texts_given = 0; texts_given <= 3; texts_given += 3) {
        struct clip_bundle in = {0};
        struct clip_embeddings out = {0};
        const struct clip_tensor x =
            clip_tensor_view(CLIP_F32, pixels, 4, (const int64_t[]){2, 3, S, S});
        const struct clip_tensor t =
            clip_tensor_view(CLIP_I32, ids, 2, (const int64_t[]){texts_given, CONTEXT});
        test_ok(clip_bundle_add(&in, "pixel_values", &x, &error), &error);
        if (texts_given > 0) test_ok(clip_bundle_add(&in, "input_ids", &t, &error), &error);
        test_ok(clip_safetensors_write(path, &in, &error), &error);
        test_fails(clip_embeddings_from_tensors(&out, e, path, &extras, &error), &error,
                   CLIP_ERR_USAGE, texts_given > 0 ? "2 images and 3 texts" : "needs both");
        clip_bundle_release(&in);
        clip_embeddings_release(&out);
    }
    free(pixels);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_and_gradients_are_pytorchs),
        cmocka_unit_test(states_are_transformers),
        cmocka_unit_test(states_of_siglip_are_transformers),
        cmocka_unit_test(padding_is_run_and_changes_nothing_before_it),
        cmocka_unit_test(the_end_tokens_state_gives_the_embedding),
        cmocka_unit_test(rows_that_do_not_fit_are_refused),
        cmocka_unit_test(pixel_grad_is_the_measured_one),
        cmocka_unit_test(gradients_are_the_same_bits_with_any_threads),
        cmocka_unit_test(grad_wants_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
