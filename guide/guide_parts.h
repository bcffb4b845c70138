/* The parts of guide/guide.c: the canvas, on which it paints, and views, which are what the model
 * sees of it. Only guide/ uses them. Images here are planes of floats [3,N,N] from 0 to 1. */
#ifndef CLIP_GUIDE_GUIDE_PARTS_H
#define CLIP_GUIDE_GUIDE_PARTS_H

#include <stdint.h>

#include "core/memory.h"
#include "core/rng.h"
#include "core/status.h"
#include "data/image/image.h"

/* ---- resampling ---- */

/* Resampling along one axis:
 *
 *   out[i] = sum over k of weights[i,k] in[first[i] + k]
 *
 * An index beyond an end means the sample at that end. The filter is a triangle over the samples of
 * the source; where a sample of the result is wider, the filter is as wide, so that shrinking takes
 * averages. */
struct clip_resample {
    int64_t in, out, taps, room; /* `taps` are in use, of at most `room` */
    int64_t *first;              /* [out] */
    float *weights;              /* [out,room]; the first `taps` of each row sum to 1 */
};
/* Makes room in the arena for ranges of up to `longest` samples of the source. */
clip_status clip_resample_create(struct clip_resample *r, int64_t in, int64_t out, double longest,
                                 struct clip_arena *arena, struct clip_error *error);
/* Lets the result cover the samples [begin, end) of the source. */
void clip_resample_set(struct clip_resample *r, double begin, double end);
/* Resample one plane by rows and columns: in [rows.in,columns.in], out [rows.out,columns.out],
 * scratch [rows.in,columns.out]. The backward pass is the transposed one and adds to `in`. */
void clip_resample_forward(float *out, const float *in, const struct clip_resample *rows,
                           const struct clip_resample *columns, float *scratch);
void clip_resample_backward(float *in, const float *out, const struct clip_resample *rows,
                            const struct clip_resample *columns, float *scratch);

/* ---- the canvas ---- */

/* An image as a pyramid (Burt & Adelson 1983):
 *
 *   x = sigmoid(base + sum over levels of gain_l up(level_l))
 *
 * Level 0 has N x N numbers, and each next level has half the side, down to 2. A number of a coarse
 * level moves many pixels, so that an optimizer paints shapes before it paints grain. */
enum { CLIP_CANVAS_LEVELS = 14 };

struct clip_canvas {
    int64_t size; /* N */
    int levels;
    int64_t side[CLIP_CANVAS_LEVELS],
        offset[CLIP_CANVAS_LEVELS]; /* of level l; offset: in `numbers` */
    float gain[CLIP_CANVAS_LEVELS];
    struct clip_resample up[CLIP_CANVAS_LEVELS];
    int64_t count;                       /* of numbers in all levels */
    float *numbers, *grad;               /* [count] */
    float *base;                         /* [3,N,N] */
    float *image, *image_grad, *scratch; /* [3,N,N] */
    struct clip_arena arena;
};

/* Where all numbers are 0, the canvas shows `image` [3,N,N], limited to 0.02..0.98, or grey if that
 * is NULL. */
clip_status clip_canvas_create(struct clip_canvas *canvas, int64_t size, const float *image,
                               struct clip_error *error);
void clip_canvas_release(struct clip_canvas *canvas);
/* Fills every level with normal numbers of standard deviation `scale`. */
void clip_canvas_noise(struct clip_canvas *canvas, float scale, uint64_t seed);
void clip_canvas_forward(struct clip_canvas *canvas);  /* numbers -> image */
void clip_canvas_backward(struct clip_canvas *canvas); /* image_grad -> grad */

/* Total variation (Rudin, Osher, Fatemi 1992), smooth at 0: the mean of sqrt(across^2 + down^2 +
 * 1e-4), where across and down are the differences of a pixel to its neighbours. Adds weight times
 * its gradient to image_grad. */
double clip_canvas_variation(struct clip_canvas *canvas, float weight);
/* The mean of (image - start)^2. It adds weight times its gradient too. */
double clip_canvas_distance(struct clip_canvas *canvas, const float *start, float weight);

/* ---- views ---- */

/* A view is a square of the canvas, resampled to S x S. Its colours are changed a little, then it
 * is normalised for the model, then noise is added. */
struct clip_view {
    double left, top, side;   /* in pixels of the canvas; the square may reach beyond its edge */
    float gain[3], offset[3]; /* change of each channel, whose values are 0 to 1 */
    float noise;              /* its standard deviation, in normalised pixels */
    struct clip_rng rng;      /* draws the noise */
    struct clip_resample rows, columns;
    float *scratch; /* [3,N,S] */
};

clip_status clip_view_create(struct clip_view *view, int64_t canvas, int64_t size, double longest,
                             struct clip_arena *arena, struct clip_error *error);
/* Makes it a view of the whole canvas, without changes. */
void clip_view_whole(struct clip_view *view);
/* Makes it a random view: its side is from `least` to CLIP_VIEW_LARGEST times that of the canvas,
 * and its colours change by at most `colour`. */
#define CLIP_VIEW_LARGEST 1.15
void clip_view_draw(struct clip_view *view, double least, double colour, double noise,
                    struct clip_rng rng);
/* pixels [3,S,S] = what the view shows of the image [3,N,N]. */
void clip_view_forward(const struct clip_view *view, const struct clip_preprocess *preprocess,
                       const float *image, float *pixels);
/* Adds the gradient `grad` [3,S,S] of the pixels to one channel of image_grad [3,N,N]. It
 * overwrites that channel of `grad`. */
void clip_view_backward(const struct clip_view *view, const struct clip_preprocess *preprocess,
                        int64_t channel, float *image_grad, float *grad);

#endif
