/* A few pairs of a run's data as its model sees them now: what report.html shows. */
#ifndef CLIP_TRAIN_SAMPLES_H
#define CLIP_TRAIN_SAMPLES_H

#include "train/setup.h"

struct clip_samples {      /* start from {0} */
    bool of_validation;    /* of val_data; else, where there is none, of train_data */
    int64_t count;         /* pairs: evenly spaced over the set, each image once */
    int64_t side;          /* of a small image, pixels */
    const char **captions; /* [count] */
    uint8_t *images;       /* [count,side,side,3]: preprocessed, made small */
    float *cosines;        /* [count,count]: image i with caption j */
    bool *fits;            /* [count,count]: caption j is one of image i's own: the same image,
                            * class or text */
    struct clip_arena arena;
};
enum { CLIP_SAMPLES_MOST = 32, CLIP_SAMPLES_SIDE = 96 };

/* What cannot be read is left out. With no pair at all count is 0. */
clip_status clip_samples_take(struct clip_samples *out, const struct clip_setup *setup,
                              struct clip_error *error);
void clip_samples_release(struct clip_samples *samples);
/* The captions in order of their cosine with image i, best first: order [count]. */
void clip_samples_rank(const struct clip_samples *samples, int64_t i, int64_t *order);

#endif
