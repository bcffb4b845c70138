/* CLIP guidance: paints an image towards texts and away from others, by the gradient of their
 * similarity (Radford et al. 2021's cosine) by the pixels.
 *
 *     maximise  mean over views v of u(v) . d  -  smooth variation(x)  -  keep |x - start|^2
 *     d = mean of the texts' unit rows - mean of the minus texts' unit rows
 *
 * x is a pyramid of numbers (guide_parts.h) moved by Adam. Views are random squares of x, shifted,
 * scaled, recoloured and with noise, as in "cutouts" (Murdock 2021), so that what the model sees
 * is there at any size and place and no grain that only fits one; the first view is the whole
 * image.
 *
 * The same options and seed give the same bits, for any number of threads. */
#ifndef CLIP_GUIDE_GUIDE_H
#define CLIP_GUIDE_GUIDE_H

#include "core/status.h"
#include "data/image/image.h"
#include "embed/embedder.h"

struct clip_guide_options {
    const char *const *texts; /* at least one */
    int64_t text_count;
    const char *const *minus;
    int64_t minus_count;
    const struct clip_image *start; /* changed into a square of `size`; NULL: begin from noise */
    int64_t size;                   /* side in pixels */
    int64_t steps;                  /* of the whole run: the learning rate falls to 0 at its end */
    int64_t views;                  /* in a step */
    double lr;                      /* Adam's */
    double smooth, keep;            /* weights, see above; keep only with a start */
    uint64_t seed;
};

struct clip_guide;
/* Borrows the embedder. CLIP_ERR_USAGE: no text. clip_guide_free accepts NULL. */
clip_status clip_guide_create(struct clip_guide **out, const struct clip_embedder *embedder,
                              const struct clip_guide_options *options, struct clip_error *error);
void clip_guide_free(struct clip_guide *guide);

struct clip_guide_result {
    int64_t step;      /* steps done */
    double objective;  /* mean of u . d over the step's views, before the step */
    double variation;  /* of the image, before the step */
    double similarity; /* u . d of the whole image */
};
/* One step of the run; no more than options.steps of them. */
clip_status clip_guide_step(struct clip_guide *guide, struct clip_guide_result *result,
                            struct clip_error *error);
/* The image as it is now: rgb [size,size,3]. */
void clip_guide_image(const struct clip_guide *guide, uint8_t *rgb);
/* Cosines of the whole image with each text and each minus text, [text_count + minus_count]. */
clip_status clip_guide_cosines(const struct clip_guide *guide, float *cosines,
                               struct clip_error *error);

#endif
