/* Paints into a folder, which gets
 *
 *   frame_00000.png ...  the image before the first step and after every `frame_every` steps
 *   image.png            the finished image
 *   curve.jsonl          one line per step: step, objective, similarity, variation; at a frame also
 *                        "cosines": that of each text and each minus text
 *   curve.svg            similarity and objective by step */
#ifndef CLIP_GUIDE_GUIDE_RUN_H
#define CLIP_GUIDE_GUIDE_RUN_H

#include <signal.h>

#include "guide/guide.h"

struct clip_guide_run_options {
    const char *output;  /* the folder; it is made if it does not exist */
    int64_t frame_every; /* steps */
    bool force;          /* replaces an earlier run */
    bool quiet;
    const volatile sig_atomic_t *stop; /* when it is not 0, the run ends: CLIP_ERR_INTERRUPTED */
};
struct clip_guide_outcome {
    int64_t steps, frames;
    double similarity; /* u . d of the finished image */
    float
        *cosines; /* [text_count + minus_count] of the finished image; the caller must free() it */
};

/* If the folder holds the curve.jsonl of an earlier run, it is refused (CLIP_ERR_USAGE); with
 * `force` the files of that run are removed. */
clip_status clip_guide_run(struct clip_guide *guide, const struct clip_guide_options *options,
                           const struct clip_guide_run_options *how,
                           struct clip_guide_outcome *outcome, struct clip_error *error);

#endif
