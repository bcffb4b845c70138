/* Zero-shot classification (Radford et al. 2021, section 3.1): the names of the classes are put
 * into templates and embedded, and the embeddings are the classifier. Results are counted as in
 * open_clip and CLIP_benchmark. */
#ifndef CLIP_EVAL_ZEROSHOT_H
#define CLIP_EVAL_ZEROSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "data/sets/dataset.h"
#include "embed/embedder.h"

struct clip_zeroshot_result {
    int64_t n;                     /* images that were classified */
    int64_t skipped;               /* images that could not be read */
    int64_t classes;               /* N */
    double acc1;                   /* share of images whose best class is the true one */
    double acc5;                   /* share whose true class is among the best five; NaN if N < 5 */
    double mean_per_class_recall;  /* mean of acc1 over the classes that have images */
    double *recall;                /* [N] acc1 of each class; NaN if it has no image */
    int64_t *count;                /* [N] images of each class */
    int64_t *labels, *predictions; /* [n] true and best class of each image; only
                                    * clip_zeroshot_run sets them */
};
void clip_zeroshot_release(struct clip_zeroshot_result *result);

/* out [N,E] = normalise(mean over the P templates of normalise(prompt)). The prompts [N,P,E] may
 * have any length, and are normalised in place. */
void clip_zeroshot_average(float *prompts, int64_t classes, int64_t templates, int64_t dim,
                           float *out);
/* out [N,E] = the classifier: every name of every class in every template. A class may have several
 * names, as in "cat|kitten", and is the mean over all of them. */
clip_status clip_zeroshot_classifier(const struct clip_embedder *embedder, char *const *names,
                                     int64_t classes, const struct clip_templates *templates,
                                     float *out, struct clip_error *error);

/* Appends the name by which tables call a class: "cat" for "cat|kitten". */
clip_status clip_zeroshot_called(const char *name, struct clip_buffer *out,
                                 struct clip_error *error);
/* The 95 % interval of a share, after `hits` hits in n tries (Wilson 1927, the score interval
 * without continuity correction). It is 0 to 1 if n is 0. */
void clip_zeroshot_interval(int64_t hits, int64_t n, double *low, double *high);
struct clip_zeroshot_rows {  /* the unit rows of images and of a classifier */
    const float *images;     /* [n,E] */
    const int64_t *labels;   /* [n] in [0,N) */
    const float *classifier; /* [N,E] */
    int64_t n, classes, dim; /* classes is N, dim is E */
};
/* Classifies the images: logits = 100 images classifier^T. Among equal logits the lower class comes
 * first. predictions [n], or NULL, get the best class of each image. The caller must release
 * *result. No memory grows with n N. */
clip_status clip_zeroshot_score(const struct clip_zeroshot_rows *rows, int64_t *predictions,
                                struct clip_zeroshot_result *result, struct clip_error *error);

/* Embeds the images of class folders, which are in a folder or a tar, and classifies them. An image
 * that cannot be read is named on stderr and counted. */
clip_status clip_zeroshot_run(const struct clip_embedder *embedder, const char *images,
                              const struct clip_class_list *classes,
                              const struct clip_templates *templates, bool quiet,
                              struct clip_zeroshot_result *result, struct clip_error *error);

#endif
