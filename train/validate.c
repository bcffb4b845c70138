#include "train/validate.h"

#include "eval/loss.h"
#include "eval/model_file.h"
#include "eval/retrieval.h"
#include "eval/zeroshot.h"

static bool set_real(json_t *out, const char *key, double value)
{
    return json_object_set_new(out, key, json_real(value)) == 0;
}

static clip_status measure_pairs(const struct clip_setup *s, const struct clip_embedder *embedder,
                                 json_t *out, struct clip_error *error)
{
    clip_status status;
    struct clip_loss_result loss;
    struct clip_retrieval_result found;
    CLIP_TRY(clip_loss_run(embedder, s->val_data, s->config->train.batch_size, true, &loss, error));
    CLIP_TRY(clip_retrieval_run(embedder, s->val_data, true, &found, error));
    if (!set_real(out, "val_loss", loss.loss) ||
        !set_real(out, "image_retrieval_recall@1", found.image_retrieval.at_1) ||
        !set_real(out, "image_retrieval_recall@5", found.image_retrieval.at_5) ||
        !set_real(out, "image_retrieval_recall@10", found.image_retrieval.at_10) ||
        !set_real(out, "text_retrieval_recall@1", found.text_retrieval.at_1) ||
        !set_real(out, "text_retrieval_recall@5", found.text_retrieval.at_5) ||
        !set_real(out, "text_retrieval_recall@10", found.text_retrieval.at_10))
        status = clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating");
out:
    return status;
}

static clip_status measure_classes(const struct clip_setup *s, const struct clip_embedder *embedder,
                                   json_t *out, struct clip_error *error)
{
    clip_status status;
    const struct clip_config *c = s->config;
    struct clip_class_list classes = {0};
    struct clip_templates templates = {0};
    struct clip_zeroshot_result result = {0};
    if (c->zeroshot.classes[0] == '\0' || c->zeroshot.templates[0] == '\0')
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[zeroshot] images is set; set classes and templates beside it");
    CLIP_TRY(clip_class_list_read(c->zeroshot.classes, &classes, error));
    CLIP_TRY(clip_templates_read(c->zeroshot.templates, &templates, error));
    CLIP_TRY(clip_zeroshot_run(embedder, c->zeroshot.images, &classes, &templates, true, &result,
                               error));
    if (!set_real(out, "acc1", result.acc1) ||
        (classes.count >= 5 && !set_real(out, "acc5", result.acc5)))
        status = clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating");
out:
    clip_zeroshot_release(&result);
    clip_templates_release(&templates);
    clip_class_list_release(&classes);
    return status;
}

/* Points every parameter into `buffer`, laid out like the model's own. */
static void use_buffer(struct clip_model *model, float *buffer)
{
    for (int64_t i = 0; i < model->param_count; i++)
        model->params[i].tensor.data = buffer + model->params[i].offset;
}

json_t *clip_validate(const struct clip_setup *s, struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *embedder = NULL;
    struct clip_model_file file = {.model = s->model,
                                   .tokenizer = s->tokenizer,
                                   .preprocess = s->preprocess,
                                   .cleaning = s->cleaning};
    struct clip_embedder_options options = {.max_pixels = s->limits.max_pixels};
    json_t *out = json_object();
    if (s->step->ema != NULL) use_buffer(s->model, s->step->ema);
    CLIP_TRY(out != NULL ? CLIP_OK
                         : clip_fail(error, CLIP_ERR_MEMORY, "out of memory while validating"));
    CLIP_TRY(clip_embedder_create(&embedder, &file, &options, error));
    if (s->val_data != NULL) CLIP_TRY(measure_pairs(s, embedder, out, error));
    if (s->config->zeroshot.images[0] != '\0') CLIP_TRY(measure_classes(s, embedder, out, error));
out:
    use_buffer(s->model, s->model->data);
    clip_embedder_free(embedder);
    if (status == CLIP_OK) return out;
    json_decref(out);
    return NULL;
}
