/* Resizing, equal to Pillow 13's Image.resize to the bit (libImaging/Resample.c, 8-bit samples).
 *
 * There are two passes, along rows and then along columns; the order is reversed if the height
 * shrinks by more than twice as many pixels as the width does (in Pillow 13; it shows in the last
 * bit). An output sample is the weighted sum of the input samples within the filter's support
 * around its centre. The support widens with the reduction, so that nothing aliases. Weights are
 * real numbers that add up to 1, rounded to multiples of 2^-22. A sum starts at one half, and after
 * each pass it is shifted down and limited to 0..255.
 *
 * Both passes use one inner loop (kernels/pixels.c): rows of neighbouring bytes, each multiplied by
 * one weight, are added up over the support. For the pass along rows, rows are first transposed
 * into columns. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image/image_formats.h"
#include "kernels/kernels.h"

/* gcc does not fuse multiply and add under -std=c11; for the weights that is not allowed */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#define PRECISION 22 /* 32 bits, minus 8 for the sample and 2 for sums above 1 */
#define TURNED 64    /* how many rows are transposed together */

/* One side of an image and its new size: the output samples from .. from + n - 1 of `out_size` are
 * made from `in_size` samples, of which only the part [low, high) counts. The box's edges are
 * single precision, as in Pillow. */
struct axis {
    int64_t in_size, out_size, from, n;
    float low, high;
};

/* The weights of each of the n output samples of a pass. */
struct weights {
    int64_t n, taps;        /* taps: the most weights that a sample has */
    int64_t *first, *count; /* [n] */
    int32_t *fixed;         /* [n, taps] in units of 2^-22 */
};

static void weights_release(struct weights *weights)
{
    free(weights->first);
    free(weights->count);
    free(weights->fixed);
}

/* Keys' cubic filter with a = -0.5; its support is 2. */
static double bicubic(double x)
{
    const double a = -0.5;

    if (x < 0) x = -x;
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

/* The triangle filter; its support is 1. */
static double bilinear(double x)
{
    if (x < 0) x = -x;
    return x < 1 ? 1 - x : 0;
}

/* How many input samples have a weight; they begin at weights->first[0]. */
static int64_t samples_used(const struct weights *weights)
{
    int64_t last = weights->n - 1;
    return weights->first[last] + weights->count[last] - weights->first[0];
}

static clip_status weights_init(struct weights *weights, const struct axis *axis,
                                enum clip_interpolation interpolation, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = axis->n;
    double (*filter)(double) = interpolation == CLIP_BICUBIC ? bicubic : bilinear;
    double scale = (double)(axis->high - axis->low) / (double)axis->out_size;
    double stretch = scale < 1 ? 1 : scale;
    double support = (interpolation == CLIP_BICUBIC ? 2.0 : 1.0) * stretch;
    double *real = NULL;
    int64_t total;

    *weights = (struct weights){.n = n, .taps = (int64_t)ceil(support) * 2 + 1};
    if (!clip_mul_i64(n, weights->taps, &total)) total = -1;
    CLIP_NEW(weights->first, n);
    CLIP_NEW(weights->count, n);
    CLIP_NEW(weights->fixed, total);
    CLIP_NEW(real, weights->taps);
    for (int64_t i = 0; i < n; i++) {
        double centre = axis->low + ((double)(axis->from + i) + 0.5) * scale, sum = 0;
        int64_t first = (int64_t)(centre - support + 0.5);
        int64_t end = (int64_t)(centre + support + 0.5);

        if (first < 0) first = 0;
        if (end > axis->in_size) end = axis->in_size;
        weights->first[i] = first;
        weights->count[i] = end - first;
        for (int64_t t = 0; t < end - first; t++) {
            real[t] = filter(((double)(t + first) - centre + 0.5) * (1.0 / stretch));
            sum += real[t];
        }
        for (int64_t t = 0; t < end - first; t++) {
            double weight = sum != 0 ? real[t] / sum : real[t];

            weights->fixed[i * weights->taps + t] =
                (int32_t)((weight < 0 ? -0.5 : 0.5) + weight * (1 << PRECISION));
        }
    }

out:
    free(real);
    return status;
}

/* The pass along rows: src [rows,?,C] at `stride`, whose first column is the first with a weight ->
 * dst [rows,n,C]. A group of rows is transposed, so that a sample's neighbours are below each
 * other: `turned` holds the source columns in use [columns,C,group], `result` the new ones. */
static clip_status resize_rows(uint8_t *dst, const uint8_t *src, int64_t stride, int64_t rows,
                               int channels, const struct weights *weights,
                               struct clip_error *error)
{
    clip_status status;
    int64_t n = weights->n;
    const struct clip_kernels *kernels = clip_kernels();
    uint8_t *turned = NULL, *result = NULL;
    int64_t from = weights->first[0];
    int64_t bytes = samples_used(weights) * channels;
    int64_t most = rows < TURNED ? rows : TURNED;

    CLIP_NEW(turned, bytes * most);
    CLIP_NEW(result, n * channels * most);
    for (int64_t y = 0; y < rows; y += most) {
        int64_t group = rows - y < most ? rows - y : most, step = channels * group;

        kernels->turn_bytes(turned, group, src + y * stride, stride, group, bytes);
        for (int64_t x = 0; x < n; x++)
            kernels->weigh_bytes(result + x * step, turned + (weights->first[x] - from) * step,
                                 step, weights->fixed + x * weights->taps, weights->count[x], step);
        kernels->turn_bytes(dst + y * n * channels, n * channels, result, group, n * channels,
                            group);
    }

out:
    free(turned);
    free(result);
    return status;
}

/* The pass along columns: src [?,bytes] at `stride`, whose first row is the first with a weight ->
 * dst [n,bytes]. */
static void resize_columns(uint8_t *dst, const uint8_t *src, int64_t stride, int64_t bytes,
                           const struct weights *weights)
{
    for (int64_t y = 0; y < weights->n; y++)
        clip_kernels()->weigh_bytes(dst + y * bytes,
                                    src + (weights->first[y] - weights->first[0]) * stride, stride,
                                    weights->fixed + y * weights->taps, weights->count[y], bytes);
}

static void copy_rows(uint8_t *dst, const uint8_t *src, int64_t stride, int64_t bytes, int64_t rows)
{
    for (int64_t y = 0; y < rows; y++) memcpy(dst + y * bytes, src + y * stride, (size_t)bytes);
}

/* Runs both passes. src begins at the first row and column in use. */
static clip_status resize_both(uint8_t *dst, const struct clip_resize *resize, const uint8_t *src,
                               const struct weights *across, const struct weights *down,
                               struct clip_error *error)
{
    clip_status status;
    int64_t columns = samples_used(across), rows = samples_used(down);
    int channels = resize->channels;
    int64_t bytes = resize->w * channels, dx = resize->src_width - resize->width;
    int64_t dy = resize->src_height - resize->height;
    uint8_t *between = NULL;

    if (dy > 0 && dy > 2 * dx) {
        CLIP_NEW(between, resize->h * columns * channels);
        resize_columns(between, src, resize->stride, columns * channels, down);
        CLIP_TRY(resize_rows(dst, between, columns * channels, resize->h, channels, across, error));
    } else {
        CLIP_NEW(between, rows * bytes);
        CLIP_TRY(resize_rows(between, src, resize->stride, rows, channels, across, error));
        resize_columns(dst, between, bytes, bytes, down);
    }

out:
    free(between);
    return status;
}

clip_status clip_resize_part(uint8_t *dst, const struct clip_resize *resize,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct weights across = {0}, down = {0};
    const double *box = resize->box;
    int64_t w = resize->w, h = resize->h, stride = resize->stride;
    int64_t x = resize->x, y = resize->y; /* where the part of the source that is used begins */
    bool need_across = resize->width != resize->src_width || box[0] != 0 ||
                       box[2] != (double)resize->width;
    bool need_down = resize->height != resize->src_height || box[1] != 0 ||
                     box[3] != (double)resize->height;
    const uint8_t *src;

    if (need_across) {
        const struct axis axis = {resize->src_width, resize->width, x, w,
                                  (float)box[0],     (float)box[2]};
        CLIP_TRY(weights_init(&across, &axis, resize->interpolation, error));
        x = across.first[0];
    }
    if (need_down) {
        const struct axis axis = {resize->src_height, resize->height, y, h,
                                  (float)box[1],      (float)box[3]};
        CLIP_TRY(weights_init(&down, &axis, resize->interpolation, error));
        y = down.first[0];
    }
    src = resize->src + y * stride + x * resize->channels;
    if (need_across && need_down)
        CLIP_TRY(resize_both(dst, resize, src, &across, &down, error));
    else if (need_across)
        CLIP_TRY(resize_rows(dst, src, stride, h, resize->channels, &across, error));
    else if (need_down)
        resize_columns(dst, src, stride, w * resize->channels, &down);
    else
        copy_rows(dst, src, stride, w * resize->channels, h);

out:
    weights_release(&across);
    weights_release(&down);
    return status;
}

clip_status clip_image_resize(struct clip_image *out, const struct clip_image *image,
                              enum clip_interpolation interpolation, struct clip_error *error)
{
    if (out->width <= 0 || out->height <= 0 || image->width <= 0 || image->height <= 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "an image of %lld x %lld pixels cannot be resized to %lld x %lld; sizes "
                         "must be above 0",
                         (long long)image->width, (long long)image->height, (long long)out->width,
                         (long long)out->height);
    const struct clip_resize resize = {
        .src = image->rgb,
        .src_width = image->width,
        .src_height = image->height,
        .stride = image->width * 3,
        .channels = 3,
        .interpolation = interpolation,
        .box = {0, 0, (double)image->width, (double)image->height},
        .width = out->width,
        .height = out->height,
        .w = out->width,
        .h = out->height,
    };
    return clip_resize_part(out->rgb, &resize, error);
}
