/* CLIP guidance paints an image that is like some texts and unlike others. It follows the gradient
 * of their similarity (the cosine of Radford et al. 2021) by the pixels.
 *
 *     maximise  mean over views v of u(v) . d  -  smooth variation(x)  -  keep |x - start|^2
 *     d = mean of the texts' unit rows - mean of the minus texts' unit rows
 *
 * x is a pyramid of numbers (guide_parts.h) that Adam updates. Views are random squares of x that
 * are shifted, scaled, recoloured and get noise, as in "cutouts" (Murdock 2021). So the model sees
 * the image at many sizes and places, and a grain that fits only one of them does not pay. The
 * first view is the whole image.
 *
 * The same options and the same seed give the same bits for any number of threads. */
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
    const struct clip_image *start; /* becomes a square of `size`; NULL: begin with noise */
    int64_t size;                   /* side in pixels */
    int64_t steps;                  /* of the whole run, at whose end the learning rate is 0 */
    int64_t views;                  /* per step */
    double lr;                      /* learning rate of Adam */
    double smooth, keep;            /* weights, see above; `keep` needs a start */
    uint64_t seed;
};

struct clip_guide;
/* Borrows the embedder. CLIP_ERR_USAGE if there is no text. clip_guide_free accepts NULL. */
clip_status clip_guide_create(struct clip_guide **out, const struct clip_embedder *embedder,
                              const struct clip_guide_options *options, struct clip_error *error);
void clip_guide_free(struct clip_guide *guide);

struct clip_guide_result {
    int64_t step;      /* number of the step, from 1 */
    double objective;  /* mean of u . d over the step's views, before the step */
    double variation;  /* of the image, before the step */
    double similarity; /* u . d of the whole image */
};
/* Makes one step of the run, which has options.steps of them. */
clip_status clip_guide_step(struct clip_guide *guide, struct clip_guide_result *result,
                            struct clip_error *error);
/* rgb [size,size,3] = the image as it is now. */
void clip_guide_image(const struct clip_guide *guide, uint8_t *rgb);
/* cosines [text_count + minus_count] = those of the whole image with each text and each minus
 * text. */
clip_status clip_guide_cosines(const struct clip_guide *guide, float *cosines,
                               struct clip_error *error);

#endif
