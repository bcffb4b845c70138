/* Emoji images: decoding with transparency, and variants of them. */
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "data/demo/emoji.h"

#define PI 3.14159265358979f

/* How far variants go from the original. */
static const double max_turn = 0.35;               /* radians either way */
static const double scale_range[2] = {0.72, 1.06}; /* 1: as in the original */
static const double stretch_range[2] = {0.84,
                                        1.19}; /* the ratio of the axes' scales, log-uniform */
static const double max_shift = 0.08;          /* parts of the side */
static const double max_bend = 0.045;          /* amplitude of the two waves that bend each axis */
static const double max_hue = 0.30;            /* radians around the grey axis */
static const double saturation_range[2] = {0.5, 1.35};
static const double contrast_range[2] = {0.7, 1.2};
static const double brightness_range[2] = {-0.10, 0.12};
enum { GREY = 8, WHITE = 65 }; /* percent of the variants that are grey, and that are on white */

clip_status clip_emoji_image_decode(const struct clip_buffer *png, const char *name,
                                    struct clip_emoji_image *out, struct clip_error *error)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    *out = (struct clip_emoji_image){0};
    if (!png_image_begin_read_from_memory(&image, png->data, png->size))
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s is no readable PNG: %s; fetch the package again", name, image.message);
    if (image.width > 1024 || image.height > 1024) {
        png_image_free(&image);
        return clip_fail(
            error, CLIP_ERR_DATA,
            "%s has more than 1024 pixels per side; it is not the package it should be", name);
    }
    image.format = PNG_FORMAT_RGBA;
    out->width = image.width;
    out->height = image.height;
    out->rgba = clip_array_new(out->width * out->height, 4, error);
    if (out->rgba == NULL) {
        png_image_free(&image);
        return CLIP_ERR_MEMORY;
    }
    if (png_image_finish_read(&image, NULL, out->rgba, 0, NULL)) return CLIP_OK;
    clip_emoji_image_release(out);
    return clip_fail(error, CLIP_ERR_FORMAT, "%s is a damaged PNG: %s; fetch the package again",
                     name, image.message);
}

void clip_emoji_image_release(struct clip_emoji_image *image)
{
    free(image->rgba);
    *image = (struct clip_emoji_image){0};
}

clip_status clip_emoji_image_plain(const struct clip_emoji_image *image, int64_t size, uint8_t *rgb,
                                   struct clip_error *error)
{
    int64_t n = image->width * image->height;
    clip_status status = CLIP_OK;
    struct clip_image flat = {image->width, image->height, NULL}, plain = {size, size, rgb};
    CLIP_NEW(flat.rgb, n * 3);
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *p = image->rgba + 4 * i;
        for (int c = 0; c < 3; c++)
            flat.rgb[3 * i + c] = (uint8_t)((p[c] * p[3] + 255 * (255 - p[3]) + 127) / 255);
    }
    CLIP_TRY(clip_image_resize(&plain, &flat, CLIP_BICUBIC, error));
out:
    free(flat.rgb);
    return status;
}

enum { FINE = 2 }; /* samples per pixel along each axis */

/* Where a variant's point (u, v), each -0.5 to 0.5 from its middle, lies in the original: a linear
 * map, and then each axis is bent by two waves that run along the other one. */
struct warp {
    float matrix[4], shift[2];
    float amplitude[2][2], frequency[2][2], phase[2][2]; /* [axis][wave] */
};

static void make_warp(struct warp *w, struct clip_rng *rng)
{
    float turn = (float)clip_rng_range(rng, -max_turn, max_turn);
    float scale = (float)clip_rng_range(rng, scale_range[0], scale_range[1]);
    float stretch =
        sqrtf(expf((float)clip_rng_range(rng, log(stretch_range[0]), log(stretch_range[1]))));
    float x = 1 / (scale * stretch), y = stretch / scale;
    w->matrix[0] = x * cosf(turn);
    w->matrix[1] = x * sinf(turn);
    w->matrix[2] = -y * sinf(turn);
    w->matrix[3] = y * cosf(turn);
    for (int axis = 0; axis < 2; axis++) {
        w->shift[axis] = (float)clip_rng_range(rng, -max_shift, max_shift);
        for (int wave = 0; wave < 2; wave++) {
            w->amplitude[axis][wave] = (float)clip_rng_range(rng, 0, max_bend / (1 + wave));
            w->frequency[axis][wave] = (float)clip_rng_range(rng, 0.5, 1.2) * (float)(1 + wave) *
                                       2 * PI;
            w->phase[axis][wave] = (float)clip_rng_range(rng, 0, 2 * PI);
        }
    }
}

static float bend(const struct warp *w, int axis, float along)
{
    float sum = 0;
    for (int wave = 0; wave < 2; wave++)
        sum += w->amplitude[axis][wave] *
               sinf(w->frequency[axis][wave] * along + w->phase[axis][wave]);
    return sum;
}

/* The original, prepared for sampling: red, green and blue times alpha, and alpha, all 0 to 255,
 * within a border of empty pixels, so that sampling near the edge needs no checks. */
struct canvas {
    int64_t width, height; /* with the border */
    float (*pixels)[4];
};

static clip_status canvas_init(struct canvas *canvas, const struct clip_emoji_image *image,
                               struct clip_error *error)
{
    canvas->width = image->width + 2;
    canvas->height = image->height + 2;
    canvas->pixels = clip_array_new(canvas->width * canvas->height, sizeof *canvas->pixels, error);
    if (canvas->pixels == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < image->width * image->height; i++) {
        const uint8_t *p = image->rgba + 4 * i;
        float *q = canvas->pixels[(i / image->width + 1) * canvas->width + i % image->width + 1];
        for (int c = 0; c < 3; c++) q[c] = (float)p[c] * (float)p[3] / 255;
        q[3] = (float)p[3];
    }
    return CLIP_OK;
}

/* Adds the original's value at (x, y), in pixels, to sum (bilinear). */
static void sample(const struct canvas *canvas, float x, float y, float sum[4])
{
    x += 0.5f; /* from pixel edges without the border to pixel centres with it */
    y += 0.5f;
    if (!(x >= 0 && y >= 0 && x < (float)(canvas->width - 1) && y < (float)(canvas->height - 1)))
        return;
    int64_t column = (int64_t)x, row = (int64_t)y;
    float wx = x - (float)column, wy = y - (float)row;
    const float(*p)[4] = (const float(*)[4])(canvas->pixels + row * canvas->width + column);
    const float(*q)[4] = p + canvas->width;
    for (int c = 0; c < 4; c++) {
        float upper = p[0][c] + wx * (p[1][c] - p[0][c]);
        float lower = q[0][c] + wx * (q[1][c] - q[0][c]);
        sum[c] += upper + wy * (lower - upper);
    }
}

/* A linear map of colours, 0 to 255: rotation around the grey axis, saturation, contrast around the
 * middle, brightness. */
struct tint {
    float matrix[3][3], offset;
};

static void make_tint(struct tint *t, struct clip_rng *rng)
{
    bool grey = clip_rng_below(rng, 100) < GREY;
    float hue = (float)clip_rng_range(rng, -max_hue, max_hue);
    float saturation = (float)clip_rng_range(rng, saturation_range[0], saturation_range[1]);
    float contrast = (float)clip_rng_range(rng, contrast_range[0], contrast_range[1]);
    float brightness = (float)clip_rng_range(rng, brightness_range[0], brightness_range[1]);
    float c = cosf(hue), s = sinf(hue) / sqrtf(3);
    if (grey) saturation = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) { /* Rodrigues' rotation about (1,1,1); 1/3 is the grey part */
            float turn = (i == j ? c : (j - i + 3) % 3 == 1 ? -s : s) + (1 - c) / 3;
            t->matrix[i][j] = contrast * (1.0f / 3 + saturation * (turn - 1.0f / 3));
        }
    t->offset = 255 * brightness + 127.5f * (1 - contrast);
}

/* Mostly white, else a light or any colour. */
static void make_background(float rgb[3], struct clip_rng *rng)
{
    bool white = clip_rng_below(rng, 100) < WHITE;
    double low = clip_rng_below(rng, 2) ? 170 : 0;
    for (int c = 0; c < 3; c++) rgb[c] = white ? 255 : (float)clip_rng_range(rng, low, 255);
}

/* Maps one row of fine samples: where each lies in the original, in parts of its side. x and y hold
 * size * FINE values; `bent` is the bend of the second axis at each column. */
static void map_row(const struct warp *w, int64_t row, int64_t size, const float *bent, float *x,
                    float *y)
{
    float step = 1.0f / (float)(size * FINE);
    float v = ((float)row + 0.5f) * step - 0.5f + w->shift[1], bent_x = bend(w, 0, v) + 0.5f;
    for (int64_t i = 0; i < size * FINE; i++) {
        float u = ((float)i + 0.5f) * step - 0.5f + w->shift[0];
        x[i] = w->matrix[0] * u + w->matrix[1] * v + bent_x;
        y[i] = w->matrix[2] * u + w->matrix[3] * v + bent[i] + 0.5f;
    }
}

static float between(float low, float value, float high)
{
    return value < low ? low : value > high ? high : value;
}

/* Paints a pixel; sum is that of its FINE * FINE samples. */
static void paint_pixel(const struct tint *tint, const float back[3], const float sum[4],
                        uint8_t rgb[3])
{
    float alpha = sum[3] / (255 * FINE * FINE);
    for (int c = 0; c < 3; c++) {
        float colour = tint->offset * alpha;
        for (int j = 0; j < 3; j++) colour += tint->matrix[c][j] * sum[j] / (FINE * FINE);
        float over = between(0, colour, 255 * alpha) + back[c] * (1 - alpha);
        rgb[c] = (uint8_t)(between(0, over, 255) + 0.5f);
    }
}

clip_status clip_emoji_image_vary(const struct clip_emoji_image *image, struct clip_rng *rng,
                                  int64_t size, uint8_t *rgb, struct clip_error *error)
{
    enum { MOST = CLIP_EMOJI_MAX_SIZE * FINE };
    float bent[MOST], x[MOST], y[MOST], sums[CLIP_EMOJI_MAX_SIZE][4], back[3];
    float width = (float)image->width, height = (float)image->height;
    struct warp warp;
    struct tint tint;
    struct canvas canvas;
    clip_status status = canvas_init(&canvas, image, error);
    if (status != CLIP_OK) return status;
    make_warp(&warp, rng);
    make_tint(&tint, rng);
    make_background(back, rng);
    for (int64_t i = 0; i < size * FINE; i++)
        bent[i] = bend(&warp, 1, ((float)i + 0.5f) / (float)(size * FINE) - 0.5f + warp.shift[0]);
    for (int64_t row = 0; row < size; row++) {
        memset(sums, 0, sizeof sums);
        for (int64_t fine = row * FINE; fine < (row + 1) * FINE; fine++) {
            map_row(&warp, fine, size, bent, x, y);
            for (int64_t i = 0; i < size * FINE; i++)
                sample(&canvas, x[i] * width, y[i] * height, sums[i / FINE]);
        }
        for (int64_t i = 0; i < size; i++)
            paint_pixel(&tint, back, sums[i], rgb + 3 * (row * size + i));
    }
    free(canvas.pixels);
    return CLIP_OK;
}
