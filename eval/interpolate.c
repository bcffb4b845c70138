#include "eval/interpolate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "embed/self_check.h"
#include "embed/texts.h"
#include "formats/model_export.h"

bool clip_task_is(const struct clip_task *task)
{
    return task->pairs != NULL || task->images != NULL;
}

const char *clip_task_metric(const struct clip_task *task)
{
    if (!clip_task_is(task)) return "none";
    return task->pairs != NULL ? "image_retrieval_recall@1" : "acc1";
}

/* ---- the two models ---- */

void clip_model_mix(struct clip_model *out, const struct clip_model *a, const struct clip_model *b,
                    double alpha)
{
    for (int64_t i = 0; i < out->param_count; i++) {
        const float *x = a->params[i].tensor.data, *y = b->params[i].tensor.data;
        float *to = out->params[i].tensor.data;
        int64_t n = clip_tensor_count(&out->params[i].tensor);
        for (int64_t k = 0; k < n; k++)
            to[k] = (float)((1 - alpha) * (double)x[k] + alpha * (double)y[k]);
    }
}

static bool same_tokenizer(const struct clip_tokenizer *a, const struct clip_tokenizer *b)
{
    if (a == NULL || b == NULL) return a == b;
    return clip_tokenizer_equal(a, b);
}

static bool same_shape(const struct clip_tensor *a, const struct clip_tensor *b)
{
    size_t bytes = (size_t)a->ndim * sizeof *a->shape;
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, bytes) == 0;
}

static bool same_preprocess(const struct clip_preprocess *a, const struct clip_preprocess *b)
{
    return a->image_size == b->image_size && a->interpolation == b->interpolation &&
           a->resize_mode == b->resize_mode && a->shortest == b->shortest && a->crop == b->crop &&
           memcmp(a->mean, b->mean, sizeof a->mean) == 0 &&
           memcmp(a->std, b->std, sizeof a->std) == 0;
}

/* What two towers whose parameters have the same names and shapes differ in; NULL: nothing. */
static const char *tower_differs(const struct clip_tower *a, const struct clip_tower *b)
{
    const struct clip_tower_property *property = clip_tower_differs(a, b);
    if (a->heads != b->heads) return "attention heads";
    if (a->activation != b->activation) return "activation";
    if (fabs(a->norm_eps - b->norm_eps) > 0) return "LayerNorm's epsilon";
    return property != NULL ? property->name : NULL;
}

clip_status clip_mix_check(const struct clip_model_file *a, const struct clip_model_file *b,
                           struct clip_error *error)
{
    const struct clip_model *x = a->model, *y = b->model;
    const char *differs = NULL;
    if (x->param_count != y->param_count) differs = "number of parameters";
    for (int64_t i = 0; differs == NULL && i < x->param_count; i++)
        if (strcmp(x->params[i].name, y->params[i].name) != 0 ||
            !same_shape(&x->params[i].tensor, &y->params[i].tensor))
            differs = x->params[i].name;
    if (differs == NULL) differs = tower_differs(&x->config.vision, &y->config.vision);
    if (differs == NULL) differs = tower_differs(&x->config.text, &y->config.text);
    if (differs == NULL && !same_preprocess(&a->preprocess, &b->preprocess))
        differs = "preprocessing";
    if (differs == NULL && !same_tokenizer(a->tokenizer, b->tokenizer)) differs = "tokenizer";
    if (differs == NULL && a->cleaning != b->cleaning) differs = "cleaning of texts";
    if (differs == NULL) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s and %s differ in their %s; only a model and what was fine-tuned from it "
                     "(clip_train --init) can be mixed",
                     a->source, b->source, differs);
}

/* ---- measuring ---- */

static clip_status measure_task(const struct clip_embedder *e, const struct clip_task *task,
                                struct clip_task_score *out, struct clip_error *error)
{
    clip_status status;
    struct clip_zeroshot_result classes = {0};
    *out = (struct clip_task_score){.score = NAN};
    if (!clip_task_is(task)) return CLIP_OK;
    if (task->pairs != NULL) {
        status = clip_retrieval_run(e, task->pairs, true, &out->retrieval, error);
        out->score = out->retrieval.image_retrieval.at_1;
        return status;
    }
    status =
        clip_zeroshot_run(e, task->images, task->classes, task->templates, true, &classes, error);
    out->score = classes.acc1;
    out->acc5 = classes.acc5;
    out->mean_per_class_recall = classes.mean_per_class_recall;
    clip_zeroshot_release(&classes);
    return status;
}

clip_status clip_mix_run(const struct clip_mixing *mixing, struct clip_mix *mixes, int64_t n,
                         struct clip_error *error)
{
    clip_status status;
    const struct clip_model_file *a = mixing->a, *b = mixing->b;
    struct clip_model *model = NULL;
    struct clip_embedder *e = NULL;
    struct clip_model_file mixed = *b;
    struct clip_progress progress;
    char note[32];
    clip_progress_start(&progress, "measuring", "mix", 0, n, mixing->quiet);
    CLIP_TRY(clip_model_create(&model, &b->model->config, error));
    mixed.model = model;
    CLIP_TRY(clip_embedder_create(&e, &mixed, NULL, error));
    for (int64_t i = 0; i < n; i++) {
        clip_model_mix(model, a->model, b->model, mixes[i].alpha);
        CLIP_TRY(measure_task(e, mixing->fresh, &mixes[i].fresh, error));
        CLIP_TRY(measure_task(e, mixing->old, &mixes[i].old, error));
        int64_t cut = mixes[i].fresh.retrieval.cut + mixes[i].old.retrieval.cut;
        if (i == 0) clip_texts_warn_cut(cut, "caption"); /* every mix has the same captions */
        snprintf(note, sizeof note, "alpha %g", mixes[i].alpha);
        clip_progress_update(&progress, i + 1, note);
    }
out:
    clip_progress_end(&progress);
    clip_embedder_free(e);
    clip_model_free(model);
    return status;
}

int64_t clip_mix_choose(const struct clip_mix *mixes, int64_t n, double keep)
{
    int64_t best = 0;
    bool by_new = !isnan(mixes[0].fresh.score);
    for (int64_t i = 1; i < n; i++) {
        const struct clip_mix *m = &mixes[i], *b = &mixes[best];
        bool kept = isnan(m->old.score) || m->old.score >= keep * mixes[0].old.score;
        double gain = by_new ? m->fresh.score - b->fresh.score : m->old.score - b->old.score;
        if (kept && gain > 0) best = i;
    }
    return best;
}

clip_status clip_mix_write(const struct clip_model_file *a, const struct clip_model_file *b,
                           double alpha, const char *path, struct clip_error *error)
{
    clip_status status;
    struct clip_model *model = NULL;
    struct clip_model_file mixed = *b;
    bool native = clip_path_has_suffix(path, ".h5");
    const struct clip_export_options options = {.format = native ? CLIP_EXPORT_HDF5
                                                                 : CLIP_EXPORT_SAFETENSORS,
                                                .dtype = CLIP_F32,
                                                .check = clip_self_check};
    if (!native && !clip_path_has_suffix(path, ".safetensors"))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s: the name tells the format; end it in .h5 or .safetensors", path);
    CLIP_TRY(clip_model_create(&model, &b->model->config, error));
    clip_model_mix(model, a->model, b->model, alpha);
    mixed.model = model;
    CLIP_TRY(clip_model_export(&mixed, path, &options, error));
out:
    clip_model_free(model);
    return status;
}
