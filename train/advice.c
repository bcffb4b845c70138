#include "train/advice.h"

#include <math.h>
#include <string.h>

#include "core/count.h"
#include "core/progress.h"
#include "model/loss.h"

static void advise_schedule(struct clip_setup *s)
{
    int64_t warmup = s->step->schedule.warmup;
    if (warmup > s->steps)
        clip_setup_warn(
            s,
            "[optim] warmup of %s is longer than the run of %s: the learning rate never "
            "reaches lr; a share such as 10%% fits any run",
            CLIP_COUNT(warmup, "step"), CLIP_COUNT(s->steps, "step"));
}

/* From scratch people use 5e-4 and more; whole models are tuned with a tenth of that or less
 * (Wortsman et al. 2022, appendix; Dong et al. 2022: 1e-5 with layer decay). */
static void advise_lr(struct clip_setup *s)
{
    double lr = s->step->schedule.lr;
    if (lr >= 5e-4 && s->model_config.lora.rank == 0) /* paths begin at zero and want more */
        clip_setup_warn(
            s,
            "[optim] lr = %g is a learning rate for training from scratch; with --init it "
            "soon overwrites what the model knows: try %g, or configs/finetune.ini",
            lr, lr / 10);
}

/* ---- activation ---- */

static clip_status batch_loss(struct clip_model *m, const struct clip_batch *batch,
                              const struct clip_loss *kind, double *loss, struct clip_error *error)
{
    clip_status status;
    int64_t size = m->config.image_size;
    struct clip_tape *t = NULL;
    struct clip_tensor pixels = clip_tensor_view(CLIP_F32, batch->pixels, 4,
                                                 (int64_t[]){batch->count, 3, size, size}),
                       tokens = clip_tensor_i32(batch->tokens, batch->offsets[batch->count]),
                       offsets = clip_tensor_i32(batch->offsets, batch->count + 1),
                       ids = clip_tensor_i32(batch->ids, batch->count);
    CLIP_TRY(clip_tape_create(&t, error));
    t->record = false;
    struct clip_tensor *image = clip_vision_encode(t, m, &pixels, NULL);
    struct clip_tensor *text = clip_text_encode(t, m, &tokens, &offsets);
    struct clip_tensor *y =
        clip_model_loss(t, m, image, text, &(struct clip_loss_inputs){.loss = kind, .ids = &ids});
    CLIP_TRY(clip_tape_status(t, error));
    *loss = (double)*(const float *)y->data;
out:
    clip_tape_free(t);
    return status;
}

clip_status clip_activation_check(struct clip_model *model, const struct clip_loss *loss,
                                  const struct clip_batch *batch, double losses[2], bool *suspect,
                                  struct clip_error *error)
{
    if (loss == NULL || (loss->needs_bias && model->logit_bias == NULL))
        loss = clip_loss_of(&model->config);
    clip_status status = batch_loss(model, batch, loss, &losses[0], error);
    if (status != CLIP_OK) return status;
    struct clip_model_config *c = &model->config;
    enum clip_activation vision = c->vision.activation, text = c->text.activation;
    c->vision.activation = c->text.activation = vision == CLIP_QUICK_GELU ? CLIP_GELU
                                                                          : CLIP_QUICK_GELU;
    status = batch_loss(model, batch, loss, &losses[1], error);
    c->vision.activation = vision;
    c->text.activation = text;
    *suspect = losses[1] < 0.8 * loss->chance(batch->count) && 1.1 * losses[1] < losses[0];
    return status;
}

/* OpenAI's weights need QuickGELU and open_clip's own mostly do not, and the wrong one only makes
 * the model worse: so a batch is tried with both. */
static clip_status advise_activation(struct clip_setup *s, struct clip_error *error)
{
    clip_status status;
    struct clip_loader *loader = NULL;
    struct clip_batch batch;
    double losses[2];
    bool suspect;
    const struct clip_dataset *data = clip_dataset_example(s->train_data);
    int64_t count = data->count;
    struct clip_loader_options options = {
        .batch_size = count < CLIP_ADVICE_PAIRS ? count : CLIP_ADVICE_PAIRS,
        .context_length = s->model_config.context_length,
        .vocab_size = s->model_config.vocab_size,
        .shuffle = true,
        .preprocess = s->preprocess,
        .limits = s->limits,
        .cleaning = s->cleaning,
        .max_bad_fraction = 1,
        .quiet = true,
    };
    CLIP_TRY(clip_loader_create(&loader, data, s->tokenizer, &options, error));
    status = clip_loader_next(loader, &batch, NULL, error);
    if (status != CLIP_OK) { /* too much of the data is bad: the run itself says so */
        status = clip_machine_failed(status) ? status : CLIP_OK;
        goto out;
    }
    CLIP_TRY(clip_activation_check(s->model, s->init_loss, &batch, losses, &suspect, error));
    bool quick = s->model->config.vision.activation == CLIP_QUICK_GELU;
    if (suspect)
        clip_setup_warn(
            s,
            "[model] quick_gelu = %s does not seem to match the weights: the loss of %s is "
            "%.2f with it and %.2f without; set [model] quick_gelu = %s, or see what the "
            "model's own description says",
            quick ? "true" : "false", CLIP_COUNT(batch.count, "pair"), losses[0], losses[1],
            quick ? "false" : "true");
out:
    clip_loader_free(loader);
    return status;
}

/* ---- data ---- */

static clip_status advise_repeats(struct clip_setup *s, struct clip_error *error)
{
    double chance, batch = (double)s->config->train.batch_size;
    if (s->config->train.multi_positive) return CLIP_OK;
    clip_status status = clip_dataset_repeats(clip_dataset_example(s->train_data), &chance, error);
    if (status != CLIP_OK) return status;
    double pairs = chance * batch * (batch - 1) / 2; /* expected in a batch */
    if (pairs > 0.02 * batch)
        clip_setup_warn(s,
                        "about %s of a batch of %.0f will show one image or class, or have the "
                        "same caption, as another, and are learned as wrong answers; set [train] "
                        "multi_positive = true",
                        CLIP_COUNT(lround(2 * pairs < batch ? 2 * pairs : batch), "pair"), batch);
    return CLIP_OK;
}

static clip_status advise_length(struct clip_setup *s, struct clip_error *error)
{
    enum { SAMPLE = 1000 };
    clip_status status = CLIP_OK;
    struct clip_buffer caption = {0};
    struct clip_ids ids = {0};
    const struct clip_dataset *data = clip_dataset_example(s->train_data);
    int64_t count = data->count, stride = (count + SAMPLE - 1) / SAMPLE, seen = 0, cut = 0;
    for (int64_t i = 0; i < count; i += stride) {
        bool shorter = false;
        ids.count = 0;
        status = data->ops->caption(data, i, NULL, &caption, error);
        if (clip_machine_failed(status)) goto out;
        bool good = status == CLIP_OK;
        status = CLIP_OK;
        if (!good) continue; /* a bad sample: the loader names it */
        const struct clip_encode_options how = {s->cleaning, s->model_config.context_length};
        CLIP_TRY(clip_tokenizer_encode(s->tokenizer, caption.data, caption.size, &how, &ids,
                                       &shorter, error));
        cut += shorter;
        seen++;
    }
    if (cut > seen / 20)
        clip_setup_warn(
            s,
            "%.0f %% of the captions are longer than [model] context_length = %s and lose "
            "their ends; %s",
            100 * (double)cut / (double)seen, CLIP_COUNT(s->model_config.context_length, "token"),
            "shorten them, or train with a longer context or a larger vocabulary");
out:
    clip_buffer_release(&caption);
    clip_ids_release(&ids);
    return status;
}

static clip_status advise_leaks(struct clip_setup *s, struct clip_error *error)
{
    int64_t shared;
    char example[256] = "";
    if (s->val_data == NULL) return CLIP_OK;
    clip_status status = clip_dataset_shared(clip_dataset_example(s->train_data), s->val_data,
                                             &shared, example, sizeof example, error);
    if (status == CLIP_OK && shared > 0)
        clip_setup_warn(s,
                        "%lld of %s of val_data %s images that are trained on (%s is the first): "
                        "validation will look better than the model is; clip_data check finds more",
                        (long long)shared, CLIP_COUNT(s->val_data->count, "sample"),
                        clip_counted_word(shared, "shows", "show"), example);
    return status;
}

/* Recall in a few pairs goes up and down by chance, and so would the end of the run. */
static void advise_few(struct clip_setup *s)
{
    enum { ENOUGH = 100 };
    const struct clip_config *c = s->config;
    enum clip_metric metric = c->train.best_metric;
    bool recall = metric == CLIP_METRIC_IMAGE_RECALL || metric == CLIP_METRIC_TEXT_RECALL;
    if (c->train.early_stop == 0 || s->val_data == NULL || s->val_data->count >= ENOUGH || !recall)
        return;
    clip_setup_warn(
        s,
        "validation has only %s: %s changes by %.1f %% at a time, and chance decides which "
        "step is best and when early_stop ends the run; set more aside by [data] val_share "
        "or val_data, or set [train] best_metric = val_loss",
        CLIP_COUNT(s->val_data->count, "pair"), clip_metric_name(metric),
        100 / (double)s->val_data->count);
}

clip_status clip_advise(struct clip_setup *s, bool tuning, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    advise_schedule(s);
    if (tuning) advise_lr(s);
    if (tuning) CLIP_TRY(advise_activation(s, error));
    CLIP_TRY(advise_repeats(s, error));
    CLIP_TRY(advise_length(s, error));
    CLIP_TRY(advise_leaks(s, error));
    advise_few(s);
out:
    return status;
}
