/* clip_guide's engine: resampling, canvas and views with their gradients, painting, the folder. */
#include "tests/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/threads.h"
#include "guide/guide_parts.h"
#include "guide/guide_run.h"
#include "tests/markup.h"
#include "tests/small_model.h"

static float *normal(int64_t n, uint64_t seed)
{
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_TEST, 0, 0);
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = clip_rng_normal(&rng);
    return x;
}

static double inner(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* ---- resampling ---- */

struct ranges {
    int64_t in, out;
    double begin, end;
};
static const struct ranges cases[] = {{9, 9, 0, 9},     {9, 5, 0, 9},        {5, 12, 0, 5},
                                      {20, 6, 3.3, 19}, {20, 6, -2.5, 22.5}, {7, 7, 6.2, 9},
                                      {2, 31, 0, 2},    {31, 2, 0, 31}};
enum { CASES = sizeof cases / sizeof cases[0] };

/* <R x, y> = <x, R^T y>: the backward pass is the transpose of the forward pass. */
static void resampling_backward_is_its_transpose(void **state)
{
    (void)state;
    struct clip_error error;
    for (int a = 0; a < CASES; a++) {
        const struct ranges *r = &cases[a], *c = &cases[(a + 3) % CASES];
        struct clip_arena arena = {0};
        struct clip_resample rows, columns;
        test_ok(clip_resample_create(&rows, r->in, r->out, r->end - r->begin, &arena, &error),
                &error);
        test_ok(clip_resample_create(&columns, c->in, c->out, c->end - c->begin, &arena, &error),
                &error);
        clip_resample_set(&rows, r->begin, r->end);
        clip_resample_set(&columns, c->begin, c->end);
        int64_t in = r->in * c->in, out = r->out * c->out;
        float *x = normal(in, 1), *y = normal(out, 2), *rx = normal(out, 3), *rty = normal(in, 4);
        float *scratch = normal(r->in * c->out, 5);
        clip_resample_forward(rx, x, &rows, &columns, scratch);
        memset(rty, 0, (size_t)in * sizeof *rty);
        clip_resample_backward(rty, y, &rows, &columns, scratch);
        test_close_f64("inner products", inner(rx, y, out), inner(x, rty, in), 1e-5, 1e-5);
        free(x);
        free(y);
        free(rx);
        free(rty);
        free(scratch);
        clip_arena_release(&arena);
    }
}

/* What is constant stays so in every case; the same size and range is the same image; half the
 * size is a triangle's mean: of a line, the line. */
static void resampling_is_interpolation(void **state)
{
    (void)state;
    struct clip_error error;
    for (int a = 0; a < CASES; a++) {
        const struct ranges *r = &cases[a];
        struct clip_arena arena = {0};
        struct clip_resample axis, one;
        float in[32], out[32], scratch[32];
        test_ok(clip_resample_create(&axis, r->in, r->out, r->end - r->begin, &arena, &error),
                &error);
        test_ok(clip_resample_create(&one, 1, 1, 1, &arena, &error), &error);
        clip_resample_set(&axis, r->begin, r->end);
        clip_resample_set(&one, 0, 1);
        for (int i = 0; i < 32; i++) in[i] = 3;
        clip_resample_forward(out, in, &one, &axis, scratch);
        for (int64_t i = 0; i < r->out; i++) test_close_f64("constant", out[i], 3, 0, 1e-5);
        for (int i = 0; i < 32; i++) in[i] = (float)i + 0.5f;
        clip_resample_forward(out, in, &one, &axis, scratch);
        double step = (r->end - r->begin) / (double)r->out, support = fmax(step, 1);
        for (int64_t i = 0; i < r->out; i++) {
            double centre = r->begin + ((double)i + 0.5) * step;
            if (centre < support || centre > (double)r->in - support) continue;
            test_close_f64("line", out[i], centre, 0, step > 1 ? 0.2 : 1e-5);
        }
        clip_arena_release(&arena);
    }
}

/* ---- the canvas ---- */

enum { N = 11, PLANES = 3 * N * N };

/* f(numbers) = sum of w . image + 0.7 variation + 1.3 distance, in double. */
static double canvas_value(struct clip_canvas *c, const float *w, const float *start)
{
    clip_canvas_forward(c);
    return inner(c->image, w, PLANES) + 0.7 * clip_canvas_variation(c, 0) +
           1.3 * clip_canvas_distance(c, start, 0);
}

static void the_canvas_gradient_is_the_measured_one(void **state)
{
    (void)state;
    const float h = 0.02f;
    struct clip_error error;
    struct clip_canvas c;
    float *w = normal(PLANES, 6), *start = normal(PLANES, 7);
    for (int i = 0; i < PLANES; i++) {
        start[i] = 1 / (1 + expf(-start[i]));
        w[i] /= PLANES;
    }
    test_ok(clip_canvas_create(&c, N, start, &error), &error);
    assert_true(c.levels == 4 && c.side[1] == 6 && c.side[3] == 2);
    test_close("numbers 0 are the start", c.image, start, PLANES, 0, 1e-5);
    clip_canvas_noise(&c, 0.8f, 3);
    memcpy(c.image_grad, w, PLANES * sizeof *w);
    clip_canvas_variation(&c, 0.7f);
    clip_canvas_distance(&c, start, 1.3f);
    clip_canvas_backward(&c);
    double largest = 0;
    for (int64_t i = 0; i < c.count; i++) largest = fmax(largest, fabs((double)c.grad[i]));
    for (int64_t i = 0; i < c.count; i++) {
        float kept = c.numbers[i];
        c.numbers[i] = kept + h;
        double above = canvas_value(&c, w, start);
        c.numbers[i] = kept - h;
        double below = canvas_value(&c, w, start);
        c.numbers[i] = kept;
        test_close_f64("number", c.grad[i], (above - below) / (2 * (double)h), 0, 0.01 * largest);
    }
    clip_canvas_release(&c);
    free(w);
    free(start);
}

/* ---- views ---- */

static void a_view_of_the_whole_is_the_preprocessed_image(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_arena arena = {0};
    struct clip_view view;
    const struct clip_preprocess p = {
        .image_size = N, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.2f, 0.3f, 0.4f}};
    float *image = normal(PLANES, 8), pixels[PLANES], expected[PLANES];
    test_ok(clip_view_create(&view, N, N, 1.2 * N, &arena, &error), &error);
    clip_view_whole(&view);
    clip_view_forward(&view, &p, image, pixels);
    for (int i = 0; i < PLANES; i++)
        expected[i] = (image[i] - p.mean[i / (N * N)]) / p.std[i / (N * N)];
    test_close("whole view", pixels, expected, PLANES, 1e-6, 1e-6);
    free(image);
    clip_arena_release(&arena);
}

/* A view is an affine function of the image: exact differences, any step. */
static void a_views_gradient_is_the_measured_one(void **state)
{
    (void)state;
    enum { S = 6, SEEN = 3 * S * S };
    struct clip_error error;
    struct clip_arena arena = {0};
    struct clip_view view;
    const struct clip_preprocess p = {
        .image_size = S, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.2f, 0.3f, 0.4f}};
    float *image = normal(PLANES, 9), *dy = normal(SEEN, 10), *shift = normal(PLANES, 11);
    float before[SEEN], after[SEEN], grad[PLANES];
    test_ok(clip_view_create(&view, N, S, CLIP_VIEW_LARGEST * N, &arena, &error), &error);
    for (uint64_t draw = 0; draw < 20; draw++) {
        float *used = normal(SEEN, 10);
        clip_view_draw(&view, 0.3, 0.4, 0.2, clip_rng_at(12, CLIP_RNG_TEST, 0, draw));
        assert_true(view.side >= 0.3 * N && view.side <= CLIP_VIEW_LARGEST * N);
        clip_view_forward(&view, &p, image, before);
        for (int i = 0; i < PLANES; i++) image[i] += shift[i];
        clip_view_forward(&view, &p, image, after);
        memset(grad, 0, sizeof grad);
        for (int c = 0; c < 3; c++) clip_view_backward(&view, &p, c, grad, used);
        double moved = inner(after, dy, SEEN) - inner(before, dy, SEEN);
        test_close_f64("view", inner(grad, shift, PLANES), moved, 1e-4, 1e-3);
        free(used);
    }
    free(image);
    free(dy);
    free(shift);
    clip_arena_release(&arena);
}

/* ---- painting ---- */

static const char *const texts[] = {"a red circle"};
static const char *const minus[] = {"two green squares"};

static struct clip_guide_options options_of(int64_t steps)
{
    return (struct clip_guide_options){.texts = texts,
                                       .text_count = 1,
                                       .size = 40,
                                       .steps = steps,
                                       .views = 5,
                                       .lr = 0.1,
                                       .smooth = 0.5,
                                       .keep = 1,
                                       .seed = 4};
}

static struct clip_embedder *embedder_over(const struct clip_model_file *file)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    return e;
}

/* All steps; the finished image (free it) and its cosines. */
static uint8_t *paint(const struct clip_embedder *e, const struct clip_guide_options *o,
                      float *cosines)
{
    struct clip_error error;
    struct clip_guide *g = NULL;
    struct clip_guide_result r;
    uint8_t *rgb = calloc((size_t)(o->size * o->size), 3);
    assert_non_null(rgb);
    test_ok(clip_guide_create(&g, e, o, &error), &error);
    for (int64_t i = 0; i < o->steps; i++) {
        test_ok(clip_guide_step(g, &r, &error), &error);
        assert_int_equal(r.step, i + 1);
    }
    clip_guide_image(g, rgb);
    if (cosines != NULL) test_ok(clip_guide_cosines(g, cosines, &error), &error);
    clip_guide_free(g);
    return rgb;
}

static void painting_goes_towards_the_text_and_away_from_the_other(void **state)
{
    (void)state;
    struct clip_model_file *file = small_model(1);
    struct clip_embedder *e = embedder_over(file);
    struct clip_guide_options o = options_of(40);
    float before[2], after[2], away[2];
    o.minus = minus;
    o.minus_count = 1;
    o.lr = 1e-9;
    free(paint(e, &o, before));
    o.lr = 0.1;
    free(paint(e, &o, away));
    o.minus_count = 0;
    free(paint(e, &o, after));
    assert_true(after[0] > before[0] + 0.2f);
    assert_true(away[0] - away[1] > before[0] - before[1] + 0.1f);
    assert_true(away[0] > before[0]);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void the_same_seed_gives_the_same_bits(void **state)
{
    (void)state;
    struct clip_model_file *file = small_model(2);
    struct clip_embedder *e = embedder_over(file);
    struct clip_guide_options o = options_of(6);
    int threads = clip_threads_count();
    uint8_t *first = paint(e, &o, NULL);
    for (int t = 1; t <= 3; t++) {
        clip_threads_set(t);
        uint8_t *again = paint(e, &o, NULL);
        test_same_u8("image", again, first, o.size * o.size * 3);
        free(again);
    }
    clip_threads_set(threads);
    o.seed = 5;
    uint8_t *other = paint(e, &o, NULL);
    assert_true(memcmp(other, first, (size_t)(o.size * o.size * 3)) != 0);
    free(other);
    free(first);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static double mean_difference(const uint8_t *a, const uint8_t *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += abs(a[i] - b[i]);
    return sum / (double)n;
}

static void a_given_image_is_changed_and_kept(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(3);
    struct clip_embedder *e = embedder_over(file);
    struct clip_guide_options o = options_of(30);
    uint8_t rgb[40 * 40 * 3];
    for (int i = 0; i < 40 * 40 * 3; i++) rgb[i] = (uint8_t)(60 + (i / 3 % 40) * 3 + i % 3 * 20);
    const struct clip_image start = {40, 40, rgb};
    struct clip_guide *g = NULL;
    uint8_t seen[40 * 40 * 3];
    o.start = &start;
    test_ok(clip_guide_create(&g, e, &o, &error), &error);
    clip_guide_image(g, seen);
    clip_guide_free(g);
    test_same_u8("the start", seen, rgb, 40 * 40 * 3);
    uint8_t *near, *far;
    o.keep = 1000;
    near = paint(e, &o, NULL);
    o.keep = 0;
    far = paint(e, &o, NULL);
    double kept = mean_difference(near, rgb, sizeof rgb);
    double left = mean_difference(far, rgb, sizeof rgb);
    assert_true(kept > 0.01 && left > 4 * kept);
    free(near);
    free(far);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(3);
    struct clip_embedder *e = embedder_over(file);
    struct clip_guide_options o = options_of(1);
    struct clip_guide *g = NULL;
    o.text_count = 0;
    test_fails(clip_guide_create(&g, e, &o, &error), &error, CLIP_ERR_USAGE, "no text");
    o = options_of(0);
    test_fails(clip_guide_create(&g, e, &o, &error), &error, CLIP_ERR_USAGE, "at least one");
    clip_embedder_free(e);
    clip_model_file_free(file);
}

/* ---- the folder ---- */

static void a_folder_holds_frames_curve_and_image(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_model_file *file = small_model(5);
    struct clip_embedder *e = embedder_over(file);
    const char *folder = test_path(test_folder(), "frames");
    const struct clip_guide_options o = options_of(5);
    volatile sig_atomic_t stop = 0;
    struct clip_guide_run_options how = {
        .output = folder, .frame_every = 2, .quiet = true, .stop = &stop};
    struct clip_guide_outcome outcome;
    for (int round = 0; round < 3; round++) {
        struct clip_guide *g = NULL;
        test_ok(clip_guide_create(&g, e, &o, &error), &error);
        if (round == 0) {
            test_ok(clip_guide_run(g, &o, &how, &outcome, &error), &error);
            assert_int_equal(outcome.frames, 4);
            test_close_f64("similarity", outcome.similarity, outcome.cosines[0], 0, 1e-6);
        } else if (round == 1) {
            test_fails(clip_guide_run(g, &o, &how, &outcome, &error), &error, CLIP_ERR_USAGE,
                       "holds a painting already");
            test_write_text(folder, "frame_00099.png", "an older, longer run's");
            test_write_text(folder, "frame_x.png", "mine");
        } else {
            how.force = true;
            stop = 15;
            test_fails(clip_guide_run(g, &o, &how, &outcome, &error), &error, CLIP_ERR_INTERRUPTED,
                       "after 1 of 5 steps");
        }
        free(outcome.cosines);
        clip_guide_free(g);
    }
    assert_false(clip_path_exists(test_path(folder, "frame_00099.png")));
    assert_true(clip_path_exists(test_path(folder, "frame_x.png")));
    struct clip_buffer curve = {0};
    test_ok(clip_file_read(test_path(folder, "curve.jsonl"), 1 << 20, &curve, &error), &error);
    json_t *line = clip_json_parse(curve.data, curve.size, "curve.jsonl", &error);
    assert_non_null(line);
    assert_int_equal(json_array_size(json_object_get(line, "cosines")), 1);
    json_decref(line);
    clip_buffer_release(&curve);
    test_ok(clip_file_read(test_path(folder, "curve.svg"), 1 << 20, &curve, &error), &error);
    markup_check("curve.svg", curve.data);
    clip_buffer_release(&curve);
    struct clip_image image = {0};
    const struct clip_image_limits limits = {.max_pixels = 1 << 20};
    test_ok(clip_image_decode_file(test_path(folder, "image.png"), &limits, &image, &error),
            &error);
    assert_int_equal(image.width, 40);
    clip_image_release(&image);
    clip_embedder_free(e);
    clip_model_file_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resampling_backward_is_its_transpose),
        cmocka_unit_test(resampling_is_interpolation),
        cmocka_unit_test(the_canvas_gradient_is_the_measured_one),
        cmocka_unit_test(a_view_of_the_whole_is_the_preprocessed_image),
        cmocka_unit_test(a_views_gradient_is_the_measured_one),
        cmocka_unit_test(painting_goes_towards_the_text_and_away_from_the_other),
        cmocka_unit_test(the_same_seed_gives_the_same_bits),
        cmocka_unit_test(a_given_image_is_changed_and_kept),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_folder_holds_frames_curve_and_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
