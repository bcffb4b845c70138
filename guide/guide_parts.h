/* The parts of guide/guide.c: the canvas, what is painted on; and views, what the model is shown of
 * it. Private to eval/guide*.c. Images here are floats in planes [3,N,N], 0 to 1. */
#ifndef CLIP_GUIDE_GUIDE_PARTS_H
#define CLIP_GUIDE_GUIDE_PARTS_H

#include <stdint.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/status.h"
#include "data/image/image.h"

/* ---- resampling ---- */

/* One axis: out[i] = sum over k of weights[i,k] in[first[i] + k], indices beyond an end standing
 * for the sample at that end. A triangle filter over the source's samples, as wide as a sample of
 * the result where that is the wider, so that shrinking averages. */
struct clip_resample {
    int64_t in, out, taps, room; /* taps in use and at most */
    int64_t *first;              /* [out] */
    float *weights;              /* [out,room]; the first `taps` of a row sum to 1 */
};
/* Room for ranges of up to `longest` samples of the source; the arena's memory. */
clip_status clip_resample_create(struct clip_resample *r, int64_t in, int64_t out, double longest,
                                 struct clip_arena *arena, struct clip_error *error);
/* The result covers [begin, end) of the source, in its samples. */
void clip_resample_set(struct clip_resample *r, double begin, double end);
/* One plane, by rows and columns: out [rows.out,columns.out] from in [rows.in,columns.in], and the
 * transposed pass, which *adds* to `in`. scratch [rows.in,columns.out]. */
void clip_resample_forward(float *out, const float *in, const struct clip_resample *rows,
                           const struct clip_resample *columns, float *scratch);
void clip_resample_backward(float *in, const float *out, const struct clip_resample *rows,
                            const struct clip_resample *columns, float *scratch);

/* ---- the canvas ---- */

/* An image as a pyramid (Burt & Adelson 1983): x = sigmoid(base + sum over levels of gain_l
 * up(level_l)). Level 0 has N x N numbers, each next one half the side, down to 2. A coarse number
 * moves many pixels at once, so that an optimizer paints shapes before it paints grain. */
enum { CLIP_CANVAS_LEVELS = 14 };

struct clip_canvas {
    int64_t size; /* N */
    int levels;
    int64_t side[CLIP_CANVAS_LEVELS], offset[CLIP_CANVAS_LEVELS]; /* of level l in `numbers` */
    float gain[CLIP_CANVAS_LEVELS];
    struct clip_resample up[CLIP_CANVAS_LEVELS];
    int64_t count;                       /* of all numbers */
    float *numbers, *grad;               /* [count] */
    float *base;                         /* [3,N,N] */
    float *image, *image_grad, *scratch; /* [3,N,N] */
    struct clip_arena arena;
};

/* Numbers 0: the image [3,N,N] (cut to 0.02..0.98), or grey where it is NULL. */
clip_status clip_canvas_create(struct clip_canvas *canvas, int64_t size, const float *image,
                               struct clip_error *error);
void clip_canvas_release(struct clip_canvas *canvas);
/* Normal numbers of standard deviation `scale` in every level. */
void clip_canvas_noise(struct clip_canvas *canvas, float scale, uint64_t seed);
void clip_canvas_forward(struct clip_canvas *canvas);  /* numbers -> image */
void clip_canvas_backward(struct clip_canvas *canvas); /* image_grad -> grad */

/* Mean of sqrt(across^2 + down^2 + 1e-4), the differences of a pixel to its neighbours: total
 * variation (Rudin, Osher, Fatemi 1992), rounded off at 0. Adds weight times its gradient to
 * image_grad. */
double clip_canvas_variation(struct clip_canvas *canvas, float weight);
/* Mean of (image - start)^2, likewise. */
double clip_canvas_distance(struct clip_canvas *canvas, const float *start, float weight);

/* ---- views ---- */

/* A view: a square of the canvas resampled to S x S, its colours changed a little, normalised as
 * the model wants it, noise on top. */
struct clip_view {
    double left, top, side;   /* in pixels of the canvas; may reach beyond its edge */
    float gain[3], offset[3]; /* of each channel, on 0 to 1 */
    float noise;              /* standard deviation, of normalised pixels */
    struct clip_rng rng;      /* of the noise */
    struct clip_resample rows, columns;
    float *scratch; /* [3,N,S] */
};

clip_status clip_view_create(struct clip_view *view, int64_t canvas, int64_t size, double longest,
                             struct clip_arena *arena, struct clip_error *error);
/* The whole canvas, unchanged. */
void clip_view_whole(struct clip_view *view);
/* A random one: side from `least` to CLIP_VIEW_LARGEST of the canvas, colours by up to `colour`. */
#define CLIP_VIEW_LARGEST 1.15
void clip_view_draw(struct clip_view *view, double least, double colour, double noise,
                    struct clip_rng rng);
/* pixels [3,S,S] of the image [3,N,N]. */
void clip_view_forward(const struct clip_view *view, const struct clip_preprocess *preprocess,
                       const float *image, float *pixels);
/* Adds to one channel of image_grad [3,N,N] what the pixels' gradient [3,S,S] gives; that channel
 * of `grad` is used up. */
void clip_view_backward(const struct clip_view *view, const struct clip_preprocess *preprocess,
                        int64_t channel, float *image_grad, float *grad);

#endif
