/* Between a model and its fine-tuned self: WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of
 * zero-shot models"). The weights are mixed, theta = (1 - alpha) A + alpha B, and both tasks are
 * measured: the new one that B was tuned for, and an old one that A knew. */
#ifndef CLIP_EVAL_INTERPOLATE_H
#define CLIP_EVAL_INTERPOLATE_H

#include "eval/retrieval.h"
#include "eval/zeroshot.h"
#include "formats/model_file.h"

struct clip_task { /* pairs to retrieve, or images to classify; {0}: there is none */
    const struct clip_dataset *pairs;
    const char *images;
    const struct clip_class_list *classes;
    const struct clip_templates *templates;
};
bool clip_task_is(const struct clip_task *task);
const char *clip_task_metric(const struct clip_task *task); /* what `score` is, by its name */

struct clip_task_score {
    double score; /* image_retrieval_recall@1, or acc1; NaN where there is no task */
    struct clip_retrieval_result retrieval;
    double acc5, mean_per_class_recall; /* as struct clip_zeroshot_result has them */
};

struct clip_mix {
    double alpha;
    struct clip_task_score fresh, old;
};

/* out = (1 - alpha) a + alpha b for every parameter: to the bit a at 0 and b at 1. */
void clip_model_mix(struct clip_model *out, const struct clip_model *a, const struct clip_model *b,
                    double alpha);
/* CLIP_ERR_DATA names the first thing in which the two are not one model at two times: sizes,
 * activation, preprocessing, tokenizer. */
clip_status clip_mix_check(const struct clip_model_file *a, const struct clip_model_file *b,
                           struct clip_error *error);

struct clip_mixing { /* of models a and b, measured on both tasks */
    const struct clip_model_file *a, *b;
    const struct clip_task *fresh, *old;
    bool quiet; /* no progress line */
};
/* Measures mixes[i].alpha for each of n. A progress line names alpha. */
clip_status clip_mix_run(const struct clip_mixing *mixing, struct clip_mix *mixes, int64_t n,
                         struct clip_error *error);
/* The rule: of the mixes whose old score is at least `keep` times that of the first, the one with
 * the best new score; among equals the one nearer to the first. Without a new task the best old
 * score decides. The first must be alpha 0. */
int64_t clip_mix_choose(const struct clip_mix *mixes, int64_t n, double keep);

/* B's description with the mixed weights, as clip_model_export wants it. */
clip_status clip_mix_write(const struct clip_model_file *a, const struct clip_model_file *b,
                           double alpha, const char *path, struct clip_error *error);
/* An SVG: old score across, new score up, a point a mix, the chosen one and the limit marked. */
struct clip_mix_chart_options {
    int64_t chosen; /* number of the chosen mix */
    double keep;    /* as clip_mix_choose had it */
    const char *fresh_metric, *old_metric;
};
clip_status clip_mix_chart(const struct clip_mix *mixes, int64_t n,
                           const struct clip_mix_chart_options *options, const char *path,
                           struct clip_error *error);

#endif
