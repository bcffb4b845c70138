#include <math.h>
#include <string.h>

#include "core/threads.h"
#include "guide/guide_parts.h"
#include "kernels/kernels.h"

/* ---- resampling ---- */

clip_status clip_resample_create(struct clip_resample *r, int64_t in, int64_t out, double longest,
                                 struct clip_arena *arena, struct clip_error *error)
{
    double scale = fmax(longest / (double)out, 1);
    *r = (struct clip_resample){.in = in, .out = out, .room = 2 * (int64_t)ceil(scale) + 1};
    r->first = clip_arena_alloc(arena, out, sizeof *r->first, error);
    r->weights = clip_arena_alloc(arena, out * r->room, sizeof *r->weights, error);
    return r->first != NULL && r->weights != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

void clip_resample_set(struct clip_resample *r, double begin, double end)
{
    double step = (end - begin) / (double)r->out, support = fmax(step, 1);
    r->taps = 2 * (int64_t)ceil(support) + 1;
    if (r->taps > r->room) r->taps = r->room;
    for (int64_t i = 0; i < r->out; i++) {
        double centre = begin + ((double)i + 0.5) * step, sum = 0;
        float *weights = r->weights + i * r->room;
        r->first[i] = (int64_t)floor(centre - support);
        for (int64_t k = 0; k < r->taps; k++) {
            double from = fabs((double)(r->first[i] + k) + 0.5 - centre) / support;
            weights[k] = from < 1 ? (float)(1 - from) : 0;
            sum += (double)weights[k];
        }
        for (int64_t k = 0; k < r->taps; k++) weights[k] = (float)((double)weights[k] / sum);
    }
}

static int64_t inside(int64_t i, int64_t n) { return i < 0 ? 0 : i >= n ? n - 1 : i; }

void clip_resample_forward(float *out, const float *in, const struct clip_resample *rows,
                           const struct clip_resample *columns, float *scratch)
{
    int64_t width = columns->out;
    for (int64_t y = 0; y < rows->in; y++)
        for (int64_t x = 0; x < width; x++) {
            const float *weights = columns->weights + x * columns->room;
            const float *row = in + y * columns->in;
            float sum = 0;
            for (int64_t k = 0; k < columns->taps; k++)
                sum += weights[k] * row[inside(columns->first[x] + k, columns->in)];
            scratch[y * width + x] = sum;
        }
    memset(out, 0, (size_t)(rows->out * width) * sizeof *out);
    for (int64_t y = 0; y < rows->out; y++)
        for (int64_t k = 0; k < rows->taps; k++)
            clip_kernels()->axpy(out + y * width, rows->weights[y * rows->room + k],
                                 scratch + inside(rows->first[y] + k, rows->in) * width, width);
}

void clip_resample_backward(float *in, const float *out, const struct clip_resample *rows,
                            const struct clip_resample *columns, float *scratch)
{
    int64_t width = columns->out;
    memset(scratch, 0, (size_t)(rows->in * width) * sizeof *scratch);
    for (int64_t y = 0; y < rows->out; y++)
        for (int64_t k = 0; k < rows->taps; k++)
            clip_kernels()->axpy(scratch + inside(rows->first[y] + k, rows->in) * width,
                                 rows->weights[y * rows->room + k], out + y * width, width);
    for (int64_t y = 0; y < rows->in; y++)
        for (int64_t x = 0; x < width; x++) {
            const float *weights = columns->weights + x * columns->room;
            float value = scratch[y * width + x];
            for (int64_t k = 0; k < columns->taps; k++)
                in[y * columns->in + inside(columns->first[x] + k, columns->in)] += weights[k] *
                                                                                    value;
        }
}

/* ---- the canvas ---- */

enum { SMALLEST = 2 };

static float logit(float x)
{
    double p = fmin(fmax((double)x, 0.02), 0.98);
    return (float)log(p / (1 - p));
}

static clip_status allocate(struct clip_canvas *c, struct clip_error *error)
{
    int64_t pixels = 3 * c->size * c->size;
    float **planes[] = {&c->base, &c->image, &c->image_grad, &c->scratch};
    for (int i = 0; i < 4; i++)
        if ((*planes[i] = clip_arena_alloc(&c->arena, pixels, sizeof(float), error)) == NULL)
            return CLIP_ERR_MEMORY;
    c->numbers = clip_arena_alloc(&c->arena, c->count, sizeof(float), error);
    c->grad = clip_arena_alloc(&c->arena, c->count, sizeof(float), error);
    return c->numbers != NULL && c->grad != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

clip_status clip_canvas_create(struct clip_canvas *c, int64_t size, const float *image,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *c = (struct clip_canvas){.size = size};
    for (int64_t side = size; c->levels < CLIP_CANVAS_LEVELS; side = (side + 1) / 2) {
        int l = c->levels++;
        c->side[l] = side;
        c->offset[l] = c->count;
        /* Numbers of coarse levels count for more, since Adam moves all numbers alike. */
        c->gain[l] = (float)pow(2, 0.5 * l);
        c->count += 3 * side * side;
        CLIP_TRY(clip_resample_create(&c->up[l], side, size, (double)side, &c->arena, error));
        clip_resample_set(&c->up[l], 0, (double)side);
        if (side <= SMALLEST) break;
    }
    double sum = 0;
    for (int l = 0; l < c->levels; l++) sum += (double)(c->gain[l] * c->gain[l]);
    for (int l = 0; l < c->levels; l++) c->gain[l] /= (float)sqrt(sum);
    CLIP_TRY(allocate(c, error));
    for (int64_t i = 0; image != NULL && i < 3 * size * size; i++) c->base[i] = logit(image[i]);
    clip_canvas_forward(c);
out:
    if (status != CLIP_OK) clip_canvas_release(c);
    return status;
}

void clip_canvas_release(struct clip_canvas *c)
{
    clip_arena_release(&c->arena);
    *c = (struct clip_canvas){0};
}

void clip_canvas_noise(struct clip_canvas *c, float scale, uint64_t seed)
{
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_GUIDE, 0, 0);
    for (int64_t i = 0; i < c->count; i++) c->numbers[i] = scale * clip_rng_normal(&rng);
    clip_canvas_forward(c);
}

static void forward_plane(void *context, int64_t channel)
{
    struct clip_canvas *c = context;
    int64_t n = c->size * c->size;
    float *x = c->image + channel * n, *scratch = c->scratch + channel * n;
    float *level = c->image_grad + channel * n; /* which is not used any more */
    memcpy(x, c->base + channel * n, (size_t)n * sizeof *x);
    for (int l = 0; l < c->levels; l++) {
        int64_t s = c->side[l];
        clip_resample_forward(level, c->numbers + c->offset[l] + channel * s * s, &c->up[l],
                              &c->up[l], scratch);
        clip_kernels()->axpy(x, c->gain[l], level, n);
    }
    for (int64_t i = 0; i < n; i++) x[i] = 1 / (1 + expf(-x[i]));
}

void clip_canvas_forward(struct clip_canvas *c) { clip_parallel_for(3, forward_plane, c); }

static void backward_plane(void *context, int64_t channel)
{
    struct clip_canvas *c = context;
    int64_t n = c->size * c->size;
    const float *x = c->image + channel * n;
    float *dx = c->image_grad + channel * n, *scratch = c->scratch + channel * n;
    for (int64_t i = 0; i < n; i++) dx[i] *= x[i] * (1 - x[i]);
    for (int l = 0; l < c->levels; l++) {
        int64_t s = c->side[l];
        float *grad = c->grad + c->offset[l] + channel * s * s;
        memset(grad, 0, (size_t)(s * s) * sizeof *grad);
        clip_resample_backward(grad, dx, &c->up[l], &c->up[l], scratch);
        clip_kernels()->scale(grad, c->gain[l], grad, s * s);
    }
}

void clip_canvas_backward(struct clip_canvas *c) { clip_parallel_for(3, backward_plane, c); }

double clip_canvas_variation(struct clip_canvas *c, float weight)
{
    int64_t n = c->size;
    double sum = 0, share = 1 / (double)(3 * n * n);
    for (int64_t y = 0; y < 3 * n; y++) /* the rows of all three planes */
        for (int64_t x = 0; x < n; x++) {
            int64_t i = y * n + x;
            bool right = x + 1 < n, below = (y + 1) % n != 0;
            float across = right ? c->image[i + 1] - c->image[i] : 0;
            float down = below ? c->image[i + n] - c->image[i] : 0;
            float length = sqrtf(across * across + down * down + 1e-4f);
            float f = weight * (float)share / length;
            sum += (double)length;
            c->image_grad[i] -= f * (across + down);
            if (right) c->image_grad[i + 1] += f * across;
            if (below) c->image_grad[i + n] += f * down;
        }
    return sum * share;
}

double clip_canvas_distance(struct clip_canvas *c, const float *start, float weight)
{
    int64_t n = 3 * c->size * c->size;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        float d = c->image[i] - start[i];
        sum += (double)(d * d);
        c->image_grad[i] += weight * 2 * d / (float)n;
    }
    return sum / (double)n;
}
