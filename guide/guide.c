#include "guide/guide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/threads.h"
#include "formats/model_file.h"
#include "guide/guide_parts.h"
#include "kernels/kernels.h"
#include "optim/optim.h"

struct clip_guide {
    const struct clip_embedder *embedder;
    struct clip_guide_options options;
    struct clip_canvas canvas;
    struct clip_adamw *adam;
    float *start;      /* [3,N,N], or NULL */
    float *texts;      /* [text_count + minus_count, E], unit rows */
    float *directions; /* [views,E]; every row is d */
    struct clip_view *views;
    float *pixels, *pixel_grad; /* [views,3,S,S] */
    float *products;            /* [views], u . d */
    int64_t step;
    struct clip_arena arena;
};

/* Least side, change of colours and noise of views, and noise of the first numbers. */
static const double LEAST_VIEW = 0.6, COLOUR = 0.2, NOISE = 0.4, FIRST_NOISE = 0.1;

/* ---- making one ---- */

/* Converts the start to planes of floats [3,N,N]: the short side becomes N, and the middle is
 * kept. */
static clip_status set_start(struct clip_guide *g, const struct clip_image *image,
                             struct clip_error *error)
{
    clip_status status;
    int64_t n = g->options.size;
    uint8_t *square = NULL;
    struct clip_preprocess preprocess = {
        .image_size = n, .interpolation = CLIP_BICUBIC, .std = {1, 1, 1}};
    CLIP_NEW(square, n * n * 3);
    CLIP_TRY(clip_preprocess_image(&preprocess, image, square, error));
    g->start = clip_arena_alloc(&g->arena, 3 * n * n, sizeof *g->start, error);
    CLIP_TRY(g->start != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    clip_preprocess_normalise(&preprocess, square, g->start);
out:
    free(square);
    return status;
}

/* Sets d for every view. It points towards the texts and away from the minus texts. */
static clip_status set_directions(struct clip_guide *g, struct clip_error *error)
{
    clip_status status;
    const struct clip_guide_options *o = &g->options;
    int64_t dim = clip_embedder_dim(g->embedder), n = o->text_count, m = o->minus_count;
    float *minus = g->texts + n * dim;
    CLIP_TRY(clip_embedder_texts(g->embedder, o->texts, n, CLIP_UNIT, g->texts, NULL, error));
    CLIP_TRY(clip_embedder_texts(g->embedder, o->minus, m, CLIP_UNIT, minus, NULL, error));
    for (int64_t v = 0; v < o->views; v++) {
        float *d = g->directions + v * dim;
        for (int64_t i = 0; i < n; i++)
            clip_kernels()->axpy(d, 1 / (float)n, g->texts + i * dim, dim);
        for (int64_t i = 0; i < m; i++)
            clip_kernels()->axpy(d, -1 / (float)m, minus + i * dim, dim);
    }
out:
    return status;
}

static clip_status make_views(struct clip_guide *g, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t s = clip_embedder_image_size(g->embedder), n = g->options.size, v = g->options.views;
    for (int64_t i = 0; i < v; i++)
        CLIP_TRY(
            clip_view_create(&g->views[i], n, s, CLIP_VIEW_LARGEST * (double)n, &g->arena, error));
out:
    return status;
}

static clip_status make_adam(struct clip_guide *g, struct clip_error *error)
{
    const struct clip_adamw_options adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
    const struct clip_optim_param all = {.count = g->canvas.count, .trained = true, .lr_factor = 1};
    return clip_adamw_create(&g->adam, &adam, &all, 1, g->canvas.count, error);
}

static clip_status check(const struct clip_guide_options *o, struct clip_error *error)
{
    if (o->text_count < 1) return clip_fail(error, CLIP_ERR_USAGE, "there is no text to paint");
    if (o->size < 8 || o->size > 4096 || o->views < 1 || o->steps < 1)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "an image of side %lld by %s of %s: expected a side of 8 to 4096 and at "
                         "least one of each",
                         (long long)o->size, CLIP_COUNT(o->steps, "step"),
                         CLIP_COUNT(o->views, "view"));
    return CLIP_OK;
}

clip_status clip_guide_create(struct clip_guide **out, const struct clip_embedder *embedder,
                              const struct clip_guide_options *options, struct clip_error *error)
{
    clip_status status = check(options, error);
    struct clip_guide *g = NULL;
    if (status != CLIP_OK) return status;
    int64_t dim = clip_embedder_dim(embedder), s = clip_embedder_image_size(embedder);
    CLIP_NEW(g, 1);
    g->embedder = embedder;
    g->options = *options;
    CLIP_NEW(g->texts, (options->text_count + options->minus_count) * dim);
    CLIP_NEW(g->directions, options->views * dim);
    CLIP_NEW(g->views, options->views);
    CLIP_NEW(g->pixels, options->views * 3 * s * s);
    CLIP_NEW(g->pixel_grad, options->views * 3 * s * s);
    CLIP_NEW(g->products, options->views);
    CLIP_TRY(set_directions(g, error));
    CLIP_TRY(make_views(g, error));
    if (options->start != NULL) CLIP_TRY(set_start(g, options->start, error));
    CLIP_TRY(clip_canvas_create(&g->canvas, options->size, g->start, error));
    if (g->start == NULL) clip_canvas_noise(&g->canvas, (float)FIRST_NOISE, options->seed);
    CLIP_TRY(make_adam(g, error));
    *out = g;
    return CLIP_OK;
out:
    clip_guide_free(g);
    return status;
}

void clip_guide_free(struct clip_guide *g)
{
    if (g == NULL) return;
    clip_canvas_release(&g->canvas);
    clip_adamw_free(g->adam);
    clip_arena_release(&g->arena);
    free(g->texts);
    free(g->directions);
    free(g->views);
    free(g->pixels);
    free(g->pixel_grad);
    free(g->products);
    free(g);
}

/* ---- a step ---- */

static int64_t view_floats(const struct clip_guide *g)
{
    int64_t s = clip_embedder_image_size(g->embedder);
    return 3 * s * s;
}

static const struct clip_preprocess *preprocess_of(const struct clip_guide *g)
{
    return &clip_embedder_file(g->embedder)->preprocess;
}

static void draw_view(void *context, int64_t v)
{
    struct clip_guide *g = context;
    struct clip_view *view = &g->views[v];
    struct clip_rng rng =
        clip_rng_at(g->options.seed, CLIP_RNG_GUIDE, (uint32_t)g->step + 1, (uint64_t)v);
    if (v == 0)
        clip_view_whole(view);
    else
        clip_view_draw(view, LEAST_VIEW, COLOUR, NOISE, rng);
    clip_view_forward(view, preprocess_of(g), g->canvas.image, g->pixels + v * view_floats(g));
}

/* Adds the gradients of the views, in order, to one channel of the image's gradient. */
static void gather_channel(void *context, int64_t channel)
{
    struct clip_guide *g = context;
    for (int64_t v = 0; v < g->options.views; v++)
        clip_view_backward(&g->views[v], preprocess_of(g), channel, g->canvas.image_grad,
                           g->pixel_grad + v * view_floats(g));
}

/* Half a cosine wave from lr down to 0. */
static double lr_at(const struct clip_guide *g)
{
    double done = (double)g->step / (double)g->options.steps;
    return g->options.lr * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

clip_status clip_guide_step(struct clip_guide *g, struct clip_guide_result *result,
                            struct clip_error *error)
{
    clip_status status;
    const struct clip_guide_options *o = &g->options;
    struct clip_canvas *c = &g->canvas;
    int64_t floats = 3 * c->size * c->size;
    clip_parallel_for(o->views, draw_view, g);
    CLIP_TRY(clip_embedder_pixel_grad(g->embedder, g->pixels, o->views, g->directions, g->products,
                                      g->pixel_grad, error));
    memset(c->image_grad, 0, (size_t)floats * sizeof(float));
    clip_parallel_for(3, gather_channel, g);
    clip_kernels()->scale(c->image_grad, -1 / (float)o->views, c->image_grad, floats);
    result->variation = clip_canvas_variation(c, (float)o->smooth);
    if (g->start != NULL) clip_canvas_distance(c, g->start, (float)o->keep);
    clip_canvas_backward(c);
    result->objective = 0;
    for (int64_t v = 0; v < o->views; v++)
        result->objective += (double)g->products[v] / (double)o->views;
    result->similarity = (double)g->products[0];
    clip_adamw_step(g->adam, c->numbers, c->grad, lr_at(g), 1);
    clip_canvas_forward(c);
    result->step = ++g->step;
out:
    return status;
}

/* ---- looking at it ---- */

void clip_guide_image(const struct clip_guide *g, uint8_t *rgb)
{
    int64_t n = g->canvas.size * g->canvas.size;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)lrintf(255 * g->canvas.image[c * n + i]);
}

clip_status clip_guide_cosines(const struct clip_guide *g, float *cosines, struct clip_error *error)
{
    clip_status status;
    int64_t n = g->canvas.size, dim = clip_embedder_dim(g->embedder);
    uint8_t *rgb = NULL;
    float *row = NULL;
    CLIP_NEW(rgb, n * n * 3);
    CLIP_NEW(row, dim);
    clip_guide_image(g, rgb);
    const struct clip_image_source image = {.rgb = rgb, .width = n, .height = n};
    CLIP_TRY(clip_embedder_images(g->embedder, &image, 1, CLIP_UNIT, row, NULL, error));
    for (int64_t i = 0; i < g->options.text_count + g->options.minus_count; i++)
        cosines[i] = clip_kernels()->dot(row, g->texts + i * dim, dim);
out:
    free(rgb);
    free(row);
    return status;
}
