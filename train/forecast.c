/* --dry-run: what a run will need, from its configuration and data, without training. */
#include "train/setup.h"

/* Mean tokens of a caption over a sample of the data, both ends included. */
static clip_status mean_tokens(const struct clip_setup *s, double *mean, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    enum { SAMPLE = 1000 };
    int64_t count = s->train_data->count, step = count > SAMPLE ? count / SAMPLE : 1, n = 0,
            total = 0;
    struct clip_buffer caption = {0};
    struct clip_ids ids = {0};
    for (int64_t i = 0; i < count; i += step) {
        struct clip_rng rng = clip_rng_at((uint64_t)s->config->train.seed, CLIP_RNG_CAPTION, 0,
                                          (uint64_t)i);
        caption.size = 0;
        ids.count = 0;
        if (s->train_data->ops->caption(s->train_data, i, &rng, &caption, error) != CLIP_OK)
            continue; /* a bad sample */
        CLIP_TRY(clip_tokenizer_encode(s->tokenizer, caption.data, caption.size, s->cleaning,
                                       s->model_config.context_length, &ids, NULL, error));
        total += ids.count;
        n++;
    }
    *mean = n > 0 ? (double)total / (double)n : (double)s->model_config.context_length;
out:
    clip_buffer_release(&caption);
    clip_ids_release(&ids);
    return status;
}

clip_status clip_train_forecast(struct clip_config *config,
                                const struct clip_train_options *options,
                                struct clip_train_forecast *f, struct clip_error *error)
{
    clip_status status;
    struct clip_setup s;
    size_t activations;
    const int64_t program = 60 << 20; /* code, libraries, tokenizer */
    CLIP_TRY(clip_setup_open(&s, config, options, error));
    *f = (struct clip_train_forecast){
        .samples = s.train_data->count,
        .steps = s.steps,
        .steps_per_epoch = s.steps_per_epoch,
        .parameters = clip_model_parameters(s.model),
    };
    for (int64_t i = 0; i < s.model->param_count; i++)
        if (s.model->params[i].tensor.needs_grad)
            f->trained += clip_tensor_count(&s.model->params[i].tensor);
    CLIP_TRY(mean_tokens(&s, &f->tokens_per_caption, error));
    int64_t batch = config->train.batch_size,
            tokens = (int64_t)(f->tokens_per_caption * (double)batch);
    int64_t pixels = batch * 3 * s.model_config.image_size * s.model_config.image_size *
                     (int64_t)sizeof(float);
    CLIP_TRY(clip_step_plan(s.step, tokens, &activations, error));
    f->flops_per_step = clip_model_flops(&s.model_config, batch, tokens, true);
    f->weights_bytes = s.model->size * (int64_t)sizeof(float) * (s.step->ema != NULL ? 5 : 4);
    f->activation_bytes = (int64_t)activations;
    f->peak_bytes = f->weights_bytes + f->activation_bytes + 3 * pixels +
                    program; /* a batch, and two ahead */
out:
    clip_setup_release(&s);
    return status;
}
