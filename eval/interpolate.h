/* WiSE-FT (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models") mixes the weights of a
 * model A and of its fine-tuned form B:
 *
 *   theta = (1 - alpha) A + alpha B
 *
 * It measures each mix on two tasks: the new one that B was tuned for, and an old one that A
 * knew. */
#ifndef CLIP_EVAL_INTERPOLATE_H
#define CLIP_EVAL_INTERPOLATE_H

#include "eval/retrieval.h"
#include "eval/zeroshot.h"
#include "formats/model_file.h"

struct clip_task { /* pairs to retrieve, or images to classify; {0}: no task */
    const struct clip_dataset *pairs;
    const char *images;
    const struct clip_class_list *classes;
    const struct clip_templates *templates;
};
bool clip_task_is(const struct clip_task *task);
const char *clip_task_metric(const struct clip_task *task); /* the name of what `score` is */

struct clip_task_score {
    double score; /* image_retrieval_recall@1 or acc1; NaN if there is no task */
    struct clip_retrieval_result retrieval;
    double acc5, mean_per_class_recall; /* as in struct clip_zeroshot_result */
};

struct clip_mix {
    double alpha;
    struct clip_task_score fresh, old;
};

/* out = (1 - alpha) a + alpha b for every parameter. It equals a at 0 and b at 1, to the bit. */
void clip_model_mix(struct clip_model *out, const struct clip_model *a, const struct clip_model *b,
                    double alpha);
/* CLIP_ERR_DATA unless the two models may be one model at two times. The sentence names the first
 * difference: sizes, activation, preprocessing, tokenizer. */
clip_status clip_mix_check(const struct clip_model_file *a, const struct clip_model_file *b,
                           struct clip_error *error);

struct clip_mixing { /* models a and b, and the tasks that measure their mixes */
    const struct clip_model_file *a, *b;
    const struct clip_task *fresh, *old;
    bool quiet; /* shows no progress line */
};
/* Measures mixes[i].alpha for each of the n mixes. A progress line names alpha. */
clip_status clip_mix_run(const struct clip_mixing *mixing, struct clip_mix *mixes, int64_t n,
                         struct clip_error *error);
/* Chooses a mix: of those whose old score is at least `keep` times that of the first one, the mix
 * with the best new score, and among equals the one nearer to the first. If there is no new task,
 * the best old score decides. The first mix must have alpha 0. */
int64_t clip_mix_choose(const struct clip_mix *mixes, int64_t n, double keep);

/* Writes the mixed weights with the description of B, by clip_model_export. */
clip_status clip_mix_write(const struct clip_model_file *a, const struct clip_model_file *b,
                           double alpha, const char *path, struct clip_error *error);
struct clip_mix_chart_options {
    int64_t chosen; /* number of the chosen mix */
    double keep;    /* as clip_mix_choose got it */
    const char *fresh_metric, *old_metric;
};
/* Writes an SVG with one point per mix: its old score is the x and its new score the y. The chosen
 * mix and the limit are marked. */
clip_status clip_mix_chart(const struct clip_mix *mixes, int64_t n,
                           const struct clip_mix_chart_options *options, const char *path,
                           struct clip_error *error);

#endif
