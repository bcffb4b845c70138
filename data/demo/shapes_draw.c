/* Drawing a scene: backgrounds, and forms by their signed distance. */
#include <math.h>

#include "data/demo/shapes.h"

#define PI 3.14159265358979f

static float clamp01(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

static float box(float x, float y, float half_width, float half_height)
{
    return fmaxf(fabsf(x) - half_width, fabsf(y) - half_height);
}

/* The triangle: equilateral, one corner up, corners at 1.15: the largest of the distances to three
 * lines, each 0.575 from the centre. */
static float triangle(float x, float y)
{
    const float c = 0.8660254f;
    return fmaxf(y, fmaxf(c * x, -c * x) - 0.5f * y) - 0.575f;
}

/* The star: five points, one up, outer corners at 1.12, inner ones at 0.5. The plane is folded to
 * half a point, where the edge is one line. */
static float star(float x, float y)
{
    const float outer = 1.12f, inner = 0.5f, wedge = PI / 5;
    float turn = atan2f(x, -y); /* 0 is up */
    float folded =
        fabsf(turn - 2 * wedge * roundf(turn / (2 * wedge))); /* 0 (outer) to wedge (inner) */
    float length = sqrtf(x * x + y * y);
    float px = length * cosf(folded) - outer, py = length * sinf(folded);
    float ex = inner * cosf(wedge) - outer, ey = inner * sinf(wedge);
    return (py * -ex + px * ey) / sqrtf(ex * ex + ey * ey);
}

/* The signed distance to the form's edge, negative inside, for a form of radius 1 around the origin
 * (y downwards). It is exact near the edges, where smoothing needs it. */
static float form_distance(int form, float x, float y)
{
    switch (form) {
    case 0: return sqrtf(x * x + y * y) - 1; /* circle */
    case 1: return box(x, y, 0.84f, 0.84f);  /* square */
    case 2: return triangle(x, y);
    case 3: return star(x, y);
    case 4: return fminf(box(x, y, 1.1f, 0.22f), box(x, y, 0.22f, 1.1f)); /* cross */
    default: return fabsf(sqrtf(x * x + y * y) - 0.74f) - 0.26f;          /* ring */
    }
}

/* Paints one object over rgb. `pixel` is the side of a pixel in parts of the image's side. */
static void draw_object(const struct clip_shapes_object *o, int64_t size, uint8_t *rgb)
{
    float pixel = 1.0f / (float)size, ca = cosf(o->angle), sa = sinf(o->angle);
    float reach = o->radius * 1.25f + 2 * pixel;
    int64_t x0 = (int64_t)floorf((o->x - reach) * (float)size),
            x1 = (int64_t)ceilf((o->x + reach) * (float)size);
    int64_t y0 = (int64_t)floorf((o->y - reach) * (float)size),
            y1 = (int64_t)ceilf((o->y + reach) * (float)size);
    x0 = x0 < 0 ? 0 : x0;
    y0 = y0 < 0 ? 0 : y0;
    x1 = x1 > size ? size : x1;
    y1 = y1 > size ? size : y1;
    for (int64_t row = y0; row < y1; row++)
        for (int64_t column = x0; column < x1; column++) {
            float dx = ((float)column + 0.5f) * pixel - o->x,
                  dy = ((float)row + 0.5f) * pixel - o->y;
            float u = (ca * dx + sa * dy) / (o->radius * o->aspect),
                  v = (ca * dy - sa * dx) / o->radius;
            float d = form_distance(o->form, u, v) * o->radius;
            float cover = clamp01(0.5f - d / pixel);
            if (cover == 0) continue;
            float light = 1 + o->shade * clamp01(0.5f + 0.5f * v) * 2 - o->shade;
            if (o->outline > 0)
                light *= 1 - 0.3f * clamp01(0.5f + (d + o->outline * o->radius) / pixel);
            uint8_t *p = rgb + 3 * (row * size + column);
            for (int c = 0; c < 3; c++)
                p[c] =
                    (uint8_t)(p[c] * (1 - cover) + 255 * clamp01(o->rgb[c] * light) * cover + 0.5f);
        }
}

/* 1 in the middle of a period's first half, 0 in that of the other, with edges `soft` periods
 * wide. */
static float wave(float periods, float soft)
{
    return clamp01(0.5f + (fabsf(periods - floorf(periods) - 0.5f) - 0.25f) / soft);
}

/* How much of the second colour a place has, 0 to 1. u and v run along and across the pattern's
 * direction from the image's middle, in parts of its side; `pixel` is the side of a pixel. */
static float background_mix(const struct clip_shapes_scene *s, float u, float v, float pixel)
{
    switch (s->background) {
    case 1: return clamp01(0.5f + u);
    case 2: return wave(u / s->period, pixel / s->period);
    case 4: {
        float f = wave(u / s->period, pixel / s->period),
              g = wave(v / s->period, pixel / s->period);
        return f + g - 2 * f * g;
    }
    default: return 0;
    }
}

static void draw_background(const struct clip_shapes_scene *s, int64_t size, uint8_t *rgb)
{
    float pixel = 1.0f / (float)size, ca = cosf(s->angle), sa = sinf(s->angle);
    struct clip_rng noise = s->noise;
    for (int64_t row = 0; row < size; row++)
        for (int64_t column = 0; column < size; column++) {
            uint8_t *p = rgb + 3 * (row * size + column);
            float x = ((float)column + 0.5f) * pixel - 0.5f, y = ((float)row + 0.5f) * pixel - 0.5f;
            float mix = s->background == 3
                            ? 0.125f * (float)(clip_rng_u32(&noise) >> 29)
                            : background_mix(s, ca * x + sa * y, ca * y - sa * x, pixel);
            for (int c = 0; c < 3; c++)
                p[c] = (uint8_t)(255 * (s->rgb[0][c] + mix * (s->rgb[1][c] - s->rgb[0][c])) + 0.5f);
        }
}

void clip_shapes_draw(const struct clip_shapes_scene *scene, int64_t size, uint8_t *rgb)
{
    draw_background(scene, size, rgb);
    for (int i = 0; i < scene->count; i++) draw_object(&scene->object[i], size, rgb);
}
