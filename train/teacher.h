/* A teacher's kept embeddings of the training data, for distillation: what `clip_embed --pairs`
 * writes, one row per sample. */
#ifndef CLIP_TRAIN_TEACHER_H
#define CLIP_TRAIN_TEACHER_H

#include "data/sets/dataset.h"

struct clip_teacher { /* start from {0} */
    int64_t count, dim;
    float *image, *text; /* [count, dim] unit rows by sample number; zeros where there is none */
    bool *there;         /* [count] */
    float scale;         /* exp of the teacher's logit_scale */
};

/* Reads `image_embeds` and `text_embeds` [n,D] (normalised again), `names` [n], and `logit_scale`
 * (a logarithm; without it the scale is CLIP's 100) from an .h5 or .safetensors. Rows are the data
 * set's samples in order, but for samples that the teacher could not read: `names`, the images'
 * names, tell which. CLIP_ERR_DATA when they do not fit the data set. */
clip_status clip_teacher_read(struct clip_teacher *out, const char *path,
                              const struct clip_dataset *dataset, struct clip_error *error);
/* Keeps the rows of samples[0..n), ascending, as those of samples 0 to n. */
void clip_teacher_take(struct clip_teacher *teacher, const int64_t *samples, int64_t n);
void clip_teacher_release(struct clip_teacher *teacher);

#endif
