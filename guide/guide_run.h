/* Painting into a folder: frames, the curve, the finished image.
 *
 *   frame_00000.png ...  the image before the first step and every `frame_every` steps
 *   image.png          the finished image
 *   curve.jsonl          a line a step: step, objective, similarity, variation; at a frame also
 *                        "cosines": one of each text and each minus text
 *   curve.svg            similarity and objective by step */
#ifndef CLIP_GUIDE_GUIDE_RUN_H
#define CLIP_GUIDE_GUIDE_RUN_H

#include <signal.h>

#include "guide/guide.h"

struct clip_guide_run_options {
    const char *output;  /* the folder; made where it is not there */
    int64_t frame_every; /* steps */
    bool force;          /* replace a run that is there */
    bool quiet;
    const volatile sig_atomic_t *stop; /* not 0: write what there is, CLIP_ERR_INTERRUPTED */
};
struct clip_guide_outcome {
    int64_t steps, frames;
    double similarity; /* of the finished image: u . d */
    float *cosines;    /* [text_count + minus_count], of the finished image; free() it */
};

/* A folder with an earlier run's curve.jsonl is refused (CLIP_ERR_USAGE) without `force`; with it
 * that run's files are removed. */
clip_status clip_guide_run(struct clip_guide *guide, const struct clip_guide_options *options,
                           const struct clip_guide_run_options *how,
                           struct clip_guide_outcome *outcome, struct clip_error *error);

#endif
