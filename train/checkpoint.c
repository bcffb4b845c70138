#include "train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "formats/model_file.h"
#include "model/lora.h"

/* Which parameters. */
static bool all(const struct clip_param *p)
{
    (void)p;
    return true;
}
static bool trained(const struct clip_param *p) { return p->tensor.needs_grad; }
static bool adapted(const struct clip_param *p) { return p->adapted; }
static bool plain(const struct clip_param *p) { return !p->adapted && !clip_lora_is(p); }

static const char *const moment_names[2] = {"optimizer/exp_avg/", "optimizer/exp_avg_sq/"};

typedef bool (*choice_fn)(const struct clip_param *param);
typedef clip_status (*bundle_fn)(struct clip_bundle *bundle, const char *name,
                                 const struct clip_tensor *tensor, struct clip_error *error);

struct numbers {                    /* of the parameters that are chosen */
    const char *prefix;             /* of their names in the bundle */
    const struct clip_model *model; /* where the numbers are that are not trained, */
    void *buffer;                   /* and those that are, of `dtype`; NULL: in the model too */
    enum clip_dtype dtype;
    choice_fn chosen;
};

/* Calls `fn` with PREFIX + name and the numbers of each parameter that is chosen. */
static clip_status each_of(struct clip_bundle *bundle, const struct numbers *from, bundle_fn fn,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char name[160];
    for (int64_t i = 0; i < from->model->param_count; i++) {
        const struct clip_param *p = &from->model->params[i];
        if (!from->chosen(p)) continue;
        size_t offset = (size_t)p->train_offset * clip_dtype_size(from->dtype);
        void *data = trained(p) && from->buffer != NULL ? (char *)from->buffer + offset
                                                        : p->tensor.data;
        struct clip_tensor tensor =
            clip_tensor_view(from->dtype, data, p->tensor.ndim, p->tensor.shape);
        snprintf(name, sizeof name, "%s%s", from->prefix, p->name);
        CLIP_TRY(fn(bundle, name, &tensor, error));
    }
out:
    return status;
}

static clip_status each(struct clip_bundle *bundle, const char *prefix, const struct clip_model *m,
                        float *buffer, choice_fn chosen, bundle_fn fn, struct clip_error *error)
{
    return each_of(bundle, &(struct numbers){prefix, m, buffer, CLIP_F32, chosen}, fn, error);
}

static enum clip_dtype moment_type(const struct clip_setup *s)
{
    return s->step->options.optim.moments == CLIP_MOMENTS_BF16 ? CLIP_BF16 : CLIP_F32;
}

/* exp_avg and exp_avg_sq in `moments`, each of all trained parameters. */
static clip_status each_moment(struct clip_bundle *bundle, const struct clip_setup *s,
                               void *const moments[2], bundle_fn fn, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int i = 0; i < 2; i++) {
        const struct numbers from = {moment_names[i], s->model, moments[i], moment_type(s),
                                     trained};
        CLIP_TRY(each_of(bundle, &from, fn, error));
    }
out:
    return status;
}

/* ---- moments of several processes ---- */

/* Gathers one parameter's moment from the processes that have it, into `to` of process 0. */
static void gather_moment(const struct clip_setup *s, const struct clip_moment *which, void *to,
                          int64_t *bounds)
{
    const struct clip_adamw *adamw = s->step->adamw;
    const struct clip_param *p = &s->model->params[which->param];
    int64_t width = (int64_t)clip_dtype_size(moment_type(s)), n = clip_tensor_count(&p->tensor);
    int rank = clip_comm_rank(s->comm);
    for (int r = 0; r <= adamw->parts.count; r++) {
        int64_t at = adamw->parts.floats[r] - p->train_offset;
        bounds[r] = (at < 0 ? 0 : clip_min_i64(at, n)) * width;
    }
    const char *moment = which->second ? adamw->moment2 : adamw->moment1;
    int64_t first = p->train_offset + bounds[rank] / width - adamw->begin;
    clip_comm_gather(s->comm, to, bounds[rank] < bounds[rank + 1] ? moment + first * width : NULL,
                     bounds);
}

static clip_status fill_moment(void *context, const char *name, struct clip_tensor *tensor,
                               struct clip_error *error)
{
    struct clip_moments_gather *g = context;
    const struct clip_model *m = g->setup->model;
    struct clip_moment which = {.param = 0};
    size_t prefix[2] = {strlen(moment_names[0]), strlen(moment_names[1])};
    which.second = strncmp(name, moment_names[1], prefix[1]) == 0;
    while (which.param < m->param_count &&
           strcmp(m->params[which.param].name, name + prefix[which.second]) != 0)
        which.param++;
    if (which.param == m->param_count)
        return clip_fail(error, CLIP_ERR_DATA, "nothing is known of the moment %s", name);
    clip_comm_broadcast(g->setup->comm, &which, sizeof which);
    gather_moment(g->setup, &which, g->room, g->bounds);
    tensor->data = g->room;
    return CLIP_OK;
}

clip_status clip_moments_begin(struct clip_moments_gather *g, const struct clip_setup *s,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t most = 0;
    *g = (struct clip_moments_gather){.setup = s};
    for (int64_t i = 0; i < s->model->param_count; i++) {
        int64_t n = clip_tensor_count(&s->model->params[i].tensor);
        if (trained(&s->model->params[i]) && n > most) most = n;
    }
    CLIP_NEW(g->bounds, clip_comm_size(s->comm) + 1);
    if (clip_comm_rank(s->comm) == 0) CLIP_NEW(g->room, most);
out:
    return status;
}

void clip_moments_give(struct clip_moments_gather *g)
{
    struct clip_moment which;
    if (clip_comm_rank(g->setup->comm) == 0) return;
    for (;;) {
        clip_comm_broadcast(g->setup->comm, &which, sizeof which);
        if (which.param < 0) return;
        gather_moment(g->setup, &which, NULL, g->bounds);
    }
}

void clip_moments_end(struct clip_moments_gather *g)
{
    struct clip_moment none = {.param = -1};
    if (clip_comm_rank(g->setup->comm) == 0)
        clip_comm_broadcast(g->setup->comm, &none, sizeof none);
    free(g->bounds);
    free(g->room);
}

static clip_status add_shape(struct clip_bundle *bundle, const char *name,
                             const struct clip_tensor *tensor, struct clip_error *error)
{
    struct clip_tensor shape = *tensor;
    shape.data = NULL;
    return clip_bundle_add(bundle, name, &shape, error);
}

static clip_status copy(struct clip_bundle *bundle, const char *name,
                        const struct clip_tensor *tensor, struct clip_error *error)
{
    return clip_bundle_copy(bundle, name, tensor, error);
}

/* The sum of base and paths, those of `buffer` where it is not NULL, as a model by itself. */
static clip_status merge(struct clip_model **out, const struct clip_model *m, float *buffer,
                         struct clip_error *error)
{
    struct clip_model_config config = m->config;
    config.lora = (struct clip_lora_config){0};
    clip_status status = clip_model_create(out, &config, error);
    if (status == CLIP_OK) clip_lora_merge(*out, m, buffer);
    return status;
}

/* The moments where they lie, or, of several processes, their shapes. */
static clip_status add_moments(struct clip_bundle *bundle, const struct clip_setup *s,
                               struct clip_moments_gather *gather, struct clip_error *error)
{
    struct clip_adamw *adamw = s->step->adamw;
    void *const moments[2] = {adamw->moment1, adamw->moment2};
    if (adamw->parts.count == 1) return each_moment(bundle, s, moments, clip_bundle_add, error);
    bundle->source = (struct clip_bundle_source){fill_moment, gather};
    return each_moment(bundle, s, (void *const[]){NULL, NULL}, add_shape, error);
}

clip_status clip_checkpoint_add(struct clip_bundle *bundle, const struct clip_setup *s,
                                struct clip_model *sums[2], struct clip_moments_gather *gather,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model *m = s->model;
    float *ema = s->step->average;
    bool lora = m->config.lora.rank > 0;
    sums[0] = sums[1] = NULL;
    if (lora) CLIP_TRY(merge(&sums[0], m, NULL, error));
    if (lora && ema != NULL) CLIP_TRY(merge(&sums[1], m, ema, error));
    const struct clip_model_file file = {.model = lora ? sums[0] : m,
                                         .tokenizer = s->tokenizer,
                                         .preprocess = s->preprocess,
                                         .cleaning = s->cleaning,
                                         .ids = s->text_ids};
    CLIP_TRY(clip_model_file_add(bundle, &file, "model/", error));
    if (lora && ema != NULL)
        CLIP_TRY(each(bundle, "ema/", sums[1], sums[1]->data, all, clip_bundle_add, error));
    else if (ema != NULL)
        CLIP_TRY(each(bundle, "ema/", m, ema, all, clip_bundle_add, error));
    if (lora) {
        CLIP_TRY(each(bundle, "base/", m, NULL, adapted, clip_bundle_add, error));
        CLIP_TRY(each(bundle, "lora/", m, NULL, clip_lora_is, clip_bundle_add, error));
        if (ema != NULL)
            CLIP_TRY(each(bundle, "lora_ema/", m, ema, clip_lora_is, clip_bundle_add, error));
    }
    CLIP_TRY(add_moments(bundle, s, gather, error));
out:
    return status;
}

/* The process' own floats of what was read into `all`. */
static void take_own(const struct clip_setup *s, void *to, const void *all, size_t width)
{
    const struct clip_adamw *adamw = s->step->adamw;
    memcpy(to, (const char *)all + (size_t)adamw->begin * width,
           (size_t)(adamw->end - adamw->begin) * width);
}

/* Of several processes each reads all, into the memory of the gradients, and keeps its own. */
static clip_status restore_moments(struct clip_setup *s, struct clip_bundle *bundle,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_adamw *adamw = s->step->adamw;
    void *const moments[2] = {adamw->moment1, adamw->moment2};
    if (adamw->parts.count == 1) return each_moment(bundle, s, moments, copy, error);
    for (int i = 0; i < 2; i++) {
        const struct numbers from = {moment_names[i], s->model, s->model->grad, moment_type(s),
                                     trained};
        CLIP_TRY(each_of(bundle, &from, copy, error));
        take_own(s, moments[i], s->model->grad, clip_dtype_size(moment_type(s)));
    }
out:
    return status;
}

clip_status clip_checkpoint_restore(struct clip_setup *s, const struct clip_bundle *from,
                                    struct clip_error *error)
{
    clip_status status;
    struct clip_bundle *bundle = (struct clip_bundle *)(uintptr_t)from; /* only read */
    struct clip_model *m = s->model;
    bool alone = s->step->adamw->parts.count == 1;
    float *ema = s->step->ema == NULL || alone ? s->step->ema : m->grad;
    bool has_ema = clip_bundle_find(from, "ema/logit_scale") != NULL;
    CLIP_TRY(each(bundle, "model/", m, NULL, plain, copy, error));
    if (m->config.lora.rank > 0) {
        CLIP_TRY(each(bundle, "base/", m, NULL, adapted, copy, error));
        CLIP_TRY(each(bundle, "lora/", m, NULL, clip_lora_is, copy, error));
        if (ema != NULL)
            CLIP_TRY(
                each(bundle, has_ema ? "lora_ema/" : "lora/", m, ema, clip_lora_is, copy, error));
    } else if (ema != NULL) {
        CLIP_TRY(each(bundle, has_ema ? "ema/" : "model/", m, ema, trained, copy, error));
    }
    if (ema != NULL && !alone) take_own(s, s->step->ema, ema, sizeof *ema);
    CLIP_TRY(restore_moments(s, bundle, error));
out:
    return status;
}
