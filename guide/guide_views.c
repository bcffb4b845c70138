#include <math.h>

#include "guide/guide_parts.h"

clip_status clip_view_create(struct clip_view *view, int64_t canvas, int64_t size, double longest,
                             struct clip_arena *arena, struct clip_error *error)
{
    clip_status status;
    *view = (struct clip_view){0};
    CLIP_TRY(clip_resample_create(&view->rows, canvas, size, longest, arena, error));
    CLIP_TRY(clip_resample_create(&view->columns, canvas, size, longest, arena, error));
    view->scratch = clip_arena_alloc(arena, 3 * canvas * size, sizeof(float), error);
    if (view->scratch == NULL) status = CLIP_ERR_MEMORY;
out:
    return status;
}

static void place(struct clip_view *view)
{
    clip_resample_set(&view->rows, view->top, view->top + view->side);
    clip_resample_set(&view->columns, view->left, view->left + view->side);
}

void clip_view_whole(struct clip_view *view)
{
    view->left = view->top = 0;
    view->side = (double)view->rows.in;
    for (int c = 0; c < 3; c++) view->gain[c] = 1, view->offset[c] = 0;
    view->noise = 0;
    place(view);
}

void clip_view_draw(struct clip_view *view, double least, double colour, double noise,
                    struct clip_rng rng)
{
    double n = (double)view->rows.in;
    view->side = n * clip_rng_range(&rng, least, CLIP_VIEW_LARGEST);
    double low = fmin(0, n - view->side), high = fmax(0, n - view->side);
    view->left = clip_rng_range(&rng, low, high);
    view->top = clip_rng_range(&rng, low, high);
    double contrast = 1 + clip_rng_range(&rng, -colour, colour);
    double brightness = clip_rng_range(&rng, -colour, colour) / 2;
    for (int c = 0; c < 3; c++) {
        double gain = contrast * (1 + clip_rng_range(&rng, -colour, colour) / 4);
        view->gain[c] = (float)gain;
        view->offset[c] = (float)(0.5 - 0.5 * gain + brightness);
    }
    view->noise = (float)noise;
    view->rng = rng;
    place(view);
}

void clip_view_forward(const struct clip_view *view, const struct clip_preprocess *preprocess,
                       const float *image, float *pixels)
{
    int64_t n = view->rows.in, s = view->rows.out;
    struct clip_rng rng = view->rng;
    for (int c = 0; c < 3; c++) {
        float *to = pixels + c * s * s;
        float gain = view->gain[c] / preprocess->std[c];
        float offset = (view->offset[c] - preprocess->mean[c]) / preprocess->std[c];
        clip_resample_forward(to, image + c * n * n, &view->rows, &view->columns,
                              view->scratch + c * n * s);
        for (int64_t i = 0; i < s * s; i++) to[i] = gain * to[i] + offset;
        for (int64_t i = 0; view->noise > 0 && i < s * s; i++)
            to[i] += view->noise * clip_rng_normal(&rng);
    }
}

void clip_view_backward(const struct clip_view *view, const struct clip_preprocess *preprocess,
                        int64_t channel, float *image_grad, float *grad)
{
    int64_t n = view->rows.in, s = view->rows.out;
    float gain = view->gain[channel] / preprocess->std[channel];
    for (int64_t i = 0; i < s * s; i++) grad[channel * s * s + i] *= gain;
    clip_resample_backward(image_grad + channel * n * n, grad + channel * s * s, &view->rows,
                           &view->columns, view->scratch + channel * n * s);
}
