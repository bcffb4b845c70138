#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>

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

static clip_status each_moment(struct clip_bundle *bundle, const struct clip_setup *s, bundle_fn fn,
                               struct clip_error *error)
{
    clip_status status;
    const struct clip_adamw *adamw = s->step->adamw;
    enum clip_dtype dtype = s->step->options.optim.moments == CLIP_MOMENTS_BF16 ? CLIP_BF16
                                                                                : CLIP_F32;
    const struct numbers means = {"optimizer/exp_avg/", s->model, adamw->moment1, dtype, trained};
    const struct numbers squares = {"optimizer/exp_avg_sq/", s->model, adamw->moment2, dtype,
                                    trained};
    CLIP_TRY(each_of(bundle, &means, fn, error));
    CLIP_TRY(each_of(bundle, &squares, fn, error));
out:
    return status;
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

clip_status clip_checkpoint_add(struct clip_bundle *bundle, const struct clip_setup *s,
                                struct clip_model *sums[2], struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model *m = s->model;
    float *ema = s->step->ema;
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
    CLIP_TRY(each_moment(bundle, s, clip_bundle_add, error));
out:
    return status;
}

clip_status clip_checkpoint_restore(struct clip_setup *s, const struct clip_bundle *from,
                                    struct clip_error *error)
{
    clip_status status;
    struct clip_bundle *bundle = (struct clip_bundle *)(uintptr_t)from; /* only read */
    struct clip_model *m = s->model;
    float *ema = s->step->ema;
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
    CLIP_TRY(each_moment(bundle, s, copy, error));
out:
    return status;
}
