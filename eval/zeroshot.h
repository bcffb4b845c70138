/* Zero-shot classification (Radford et al. 2021, section 3.1): the classes' names, put into
 * templates and embedded, are the classifier. Counted as open_clip and CLIP_benchmark count. */
#ifndef CLIP_EVAL_ZEROSHOT_H
#define CLIP_EVAL_ZEROSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"

struct clip_zeroshot_result {
    int64_t n;       /* images that were classified */
    int64_t skipped; /* images that could not be read */
    int64_t classes; /* N */
    double acc1;     /* share whose best class is the true one */
    double acc5;     /* ... whose true class is among the best five; NaN below 5 classes */
    double mean_per_class_recall;  /* mean of the classes' acc1, over classes that have images */
    double *recall;                /* [N] each class's acc1; NaN where it has no image */
    int64_t *count;                /* [N] its images */
    int64_t *labels, *predictions; /* [n] true and best class of each; NULL but after
                                    * clip_zeroshot_run */
};
void clip_zeroshot_release(struct clip_zeroshot_result *result);

/* out [N,E] = normalise(mean over the P templates of normalise(prompt)). prompts [N,P,E] of any
 * length; they are normalised in place. */
void clip_zeroshot_average(float *prompts, int64_t classes, int64_t templates, int64_t dim,
                           float *out);
/* The classifier [N,E] of every class's name in every template. A name may be several,
 * "cat|kitten": the class is then the mean over all of them. */
clip_status clip_zeroshot_classifier(const struct clip_embedder *embedder, char *const *names,
                                     int64_t classes, const struct clip_templates *templates,
                                     float *out, struct clip_error *error);

/* "cat|kitten" -> "cat", what the class is called in a table; appended to `out`. */
clip_status clip_zeroshot_called(const char *name, struct clip_buffer *out,
                                 struct clip_error *error);
/* The 95 % interval of a share of which hits of n were seen (Wilson 1927, score interval without
 * continuity correction); 0 to 1 where n is 0. */
void clip_zeroshot_interval(int64_t hits, int64_t n, double *low, double *high);
struct clip_zeroshot_rows {  /* unit rows, of images and of a classifier */
    const float *images;     /* [n,E] */
    const int64_t *labels;   /* [n] in [0,N) */
    const float *classifier; /* [N,E] */
    int64_t n, classes, dim; /* classes: N; dim: E */
};
/* logits = 100 images classifier^T. Among equal logits the lower class comes first. predictions [n]
 * or NULL: the best class.
 * *result is filled and the caller's to release; nothing is kept that grows with n N. */
clip_status clip_zeroshot_score(const struct clip_zeroshot_rows *rows, int64_t *predictions,
                                struct clip_zeroshot_result *result, struct clip_error *error);

/* All of it: images of class folders in a folder or tar. Images that cannot be read are named
 * on stderr and counted. */
clip_status clip_zeroshot_run(const struct clip_embedder *embedder, const char *images,
                              const struct clip_class_list *classes,
                              const struct clip_templates *templates, bool quiet,
                              struct clip_zeroshot_result *result, struct clip_error *error);

#endif
