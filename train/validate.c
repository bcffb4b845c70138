#include "train/validate.h"

#include "core/choice.h"
#include "core/progress.h"
#include "embed/share.h"
#include "embed/texts.h"
#include "eval/loss.h"
#include "eval/retrieval.h"
#include "eval/zeroshot.h"
#include "formats/model_file.h"

const char *clip_metric_name(int metric)
{
    static const char *const names[] = {
        [CLIP_METRIC_VAL_LOSS] = "val_loss",
        [CLIP_METRIC_IMAGE_RECALL] = "image_retrieval_recall@1",
        [CLIP_METRIC_TEXT_RECALL] = "text_retrieval_recall@1",
        [CLIP_METRIC_ACC1] = "acc1",
    };
    return CLIP_NAME_OF(names, metric);
}

static bool set_real(json_t *out, const char *key, double value)
{
    return json_object_set_new(out, key, json_real(value)) == 0;
}

static bool set_recalls(json_t *out, const char *prefix, const char *side,
                        const struct clip_recalls *r)
{
    const double values[] = {r->at_1, r->at_5, r->at_10};
    static const int at[] = {1, 5, 10};
    char key[64];
    bool set = true;
    for (int i = 0; i < 3; i++) {
        snprintf(key, sizeof key, "%s%s_retrieval_recall@%d", prefix, side, at[i]);
        set = set && set_real(out, key, values[i]);
    }
    return set;
}

static clip_status measure_retrieval(const struct clip_embedder *embedder,
                                     const struct clip_dataset *data, const char *prefix,
                                     bool first, json_t *out, struct clip_error *error)
{
    struct clip_retrieval_result found;
    clip_status status = clip_retrieval_run(embedder, data, true, &found, error);
    if (status != CLIP_OK) return status;
    if (first) clip_texts_warn_cut(found.cut, "validation caption");
    if (set_recalls(out, prefix, "image", &found.image_retrieval) &&
        set_recalls(out, prefix, "text", &found.text_retrieval))
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating");
}

static clip_status measure_pairs(const struct clip_setup *s, const struct clip_embedder *embedder,
                                 bool first, json_t *out, struct clip_error *error)
{
    clip_status status;
    struct clip_loss_result loss;
    CLIP_TRY(clip_loss_run(embedder, s->val_data, NULL, s->config->train.batch_size, true, &loss,
                           error));
    if (!set_real(out, clip_metric_name(CLIP_METRIC_VAL_LOSS), loss.loss))
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating"));
    CLIP_TRY(measure_retrieval(embedder, s->val_data, "", first, out, error));
out:
    return status;
}

/* A section's keys: [zeroshot], or [probe] with keys that begin with "probe_". */
struct class_keys {
    const char *images, *classes, *templates, *acc1, *acc5;
};

static clip_status measure_classes(const struct class_keys *k, const struct clip_embedder *embedder,
                                   json_t *out, struct clip_error *error)
{
    clip_status status;
    struct clip_class_list classes = {0};
    struct clip_templates templates = {0};
    struct clip_zeroshot_result result = {0};
    CLIP_TRY(clip_class_list_read(k->classes, &classes, error));
    CLIP_TRY(clip_templates_read(k->templates, &templates, error));
    CLIP_TRY(clip_zeroshot_run(embedder, k->images, &classes, &templates, true, &result, error));
    if (!set_real(out, k->acc1, result.acc1) ||
        (classes.count >= 5 && !set_real(out, k->acc5, result.acc5)))
        status = clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating");
out:
    clip_zeroshot_release(&result);
    clip_templates_release(&templates);
    clip_class_list_release(&classes);
    return status;
}

static clip_status measure(const struct clip_setup *s, const struct clip_embedder *embedder,
                           bool first, json_t *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_config *c = s->config;
    const struct class_keys zeroshot = {c->zeroshot.images, c->zeroshot.classes,
                                        c->zeroshot.templates, clip_metric_name(CLIP_METRIC_ACC1),
                                        "acc5"};
    const struct class_keys probe = {c->probe.images, c->probe.classes, c->probe.templates,
                                     "probe_acc1", "probe_acc5"};
    if (s->val_data != NULL) CLIP_TRY(measure_pairs(s, embedder, first, out, error));
    if (zeroshot.images[0] != '\0') CLIP_TRY(measure_classes(&zeroshot, embedder, out, error));
    if (probe.images[0] != '\0') CLIP_TRY(measure_classes(&probe, embedder, out, error));
    if (s->probe_data != NULL)
        CLIP_TRY(measure_retrieval(embedder, s->probe_data, "probe_", first, out, error));
out:
    return status;
}

/* ---- the model as it is now ---- */

/* Points every trained parameter into `average`, of those alone; NULL: into the model's data. */
static void use_average(struct clip_model *model, float *average)
{
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *p = &model->params[i];
        if (p->tensor.needs_grad)
            p->tensor.data = average != NULL ? average + p->train_offset : model->data + p->offset;
    }
}

clip_status clip_trained_open(struct clip_trained *t, const struct clip_setup *s,
                              struct clip_error *error)
{
    const struct clip_embedder_options options = {.max_pixels = s->limits.max_pixels,
                                                  .upright = s->limits.upright};
    *t = (struct clip_trained){.file = {.model = s->model,
                                        .tokenizer = s->tokenizer,
                                        .preprocess = s->preprocess,
                                        .cleaning = s->cleaning,
                                        .ids = s->text_ids}};
    if (s->step->average != NULL) use_average(s->model, s->step->average);
    return clip_embedder_create(&t->embedder, &t->file, &options, error);
}

void clip_trained_close(struct clip_trained *t)
{
    clip_embedder_free(t->embedder);
    use_average(t->file.model, NULL);
}

json_t *clip_validate(const struct clip_setup *s, bool first, struct clip_error *error)
{
    clip_status status;
    struct clip_trained trained;
    json_t *out = json_object();
    CLIP_TRY(clip_trained_open(&trained, s, error));
    clip_embedder_share(trained.embedder, s->comm);
    CLIP_TRY(out != NULL ? CLIP_OK
                         : clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating"));
    CLIP_TRY(measure(s, trained.embedder, first, out, error));
out:
    clip_trained_close(&trained);
    if (status == CLIP_OK) return out;
    json_decref(out);
    return NULL;
}
