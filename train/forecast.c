/* --dry-run: what a run will need, from its configuration and data, without training. */
#include <math.h>

#include "checkpoints/checksum.h"
#include "core/memory.h"
#include "core/threads.h"
#include "kernels/gemm.h"
#include "train/advice.h"
#include "train/setup.h"

enum {
    THREAD_BYTES = 2 << 20, /* a thread's stack and room for a tile */
    HDF5_BYTES = 8 << 20,   /* what HDF5 takes while a checkpoint is written */
};

/* Mean and standard deviation of a caption's tokens, both ends included, over a sample of the data.
 */
static clip_status measure_tokens(const struct clip_setup *s, double *mean, double *deviation,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    enum { SAMPLE = 1000 };
    const struct clip_dataset *data = clip_dataset_example(s->train_data);
    int64_t count = data->count, step = count > SAMPLE ? count / SAMPLE : 1, n = 0;
    double total = 0, squares = 0;
    struct clip_buffer caption = {0};
    struct clip_ids ids = {0};
    for (int64_t i = 0; i < count; i += step) {
        struct clip_rng rng =
            clip_rng_at((uint64_t)s->config->train.seed, CLIP_RNG_CAPTION, 0, (uint64_t)i);
        caption.size = 0;
        ids.count = 0;
        status = data->ops->caption(data, i, &rng, &caption, error);
        if (clip_machine_failed(status)) goto out;
        bool good = status == CLIP_OK;
        status = CLIP_OK;
        if (!good) continue; /* a bad sample: the loader names it */
        const struct clip_encode_options how = {s->cleaning, s->model_config.context_length};
        CLIP_TRY(clip_tokenizer_encode(s->tokenizer, caption.data, caption.size, &how, &ids, NULL,
                                       error));
        total += (double)ids.count;
        squares += (double)ids.count * (double)ids.count;
        n++;
    }
    *mean = n > 0 ? total / (double)n : (double)s->model_config.context_length;
    *deviation = n > 0 ? sqrt(fmax(squares / (double)n - *mean * *mean, 0)) : 0;
out:
    clip_buffer_release(&caption);
    clip_ids_release(&ids);
    return status;
}

/* A batch's pixels as numbers and as bytes, and two batches of bytes ahead (data/sets/loader.h). */
static int64_t loader_bytes(const struct clip_setup *s)
{
    int64_t side = s->model_config.image_size, pixels = 3 * side * side;
    int64_t ahead = s->config->data.workers > 0 ? 2 * s->config->train.batch_size : 1;
    return pixels * ((int64_t)(sizeof(float) + 1) * s->config->train.batch_size + ahead);
}

/* What the largest product of a step packs, forward and backward. */
static int64_t packing_bytes(const struct clip_setup *s, int64_t pairs, int64_t tokens)
{
    struct clip_model_product products[CLIP_MODEL_PRODUCTS];
    int64_t count = clip_model_products(&s->model_config, pairs, tokens, products), most = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t sizes[] = {products[i].rows, products[i].width, products[i].depth};
        for (int k = 0; k < 3; k++) { /* y, dx, dw: k is each of the three */
            const struct clip_gemm g = {.m = sizes[k == 0 ? 1 : 0],
                                        .k = sizes[k],
                                        .n = sizes[k == 2 ? 1 : 2],
                                        .multiply_bf16 = s->step->tape->dtype == CLIP_BF16};
            int64_t bytes = (int64_t)clip_gemm_workspace_bytes(&g);
            if (bytes > most) most = bytes;
        }
    }
    return most;
}

static int64_t moment_bytes(const struct clip_step *s)
{
    return s->options.optim.moments == CLIP_MOMENTS_BF16 ? 2 : 4;
}

/* A checkpoint is written and read again for its checksum; LoRA's is made of sums of weights and
 * paths. */
static int64_t saving_bytes(const struct clip_setup *s, int64_t trained)
{
    int64_t models = s->step->ema != NULL ? 2 : 1; /* the weights, and their average */
    int64_t weights = models * s->model->size * (int64_t)sizeof(float);
    int64_t file = weights + 2 * moment_bytes(s->step) * trained;
    return HDF5_BYTES + clip_min_i64(file, CLIP_CHECKSUM_BYTES) +
           (s->model_config.lora.rank > 0 ? weights : 0);
}

/* The most pairs that go through the towers at once: of a step, or of the advice before it. */
static int64_t pairs_at_once(const struct clip_setup *s, bool tuning)
{
    const struct clip_config *c = s->config;
    int64_t pairs = c->train.micro_batch > 0 ? c->train.micro_batch : c->train.batch_size;
    int64_t advice = tuning ? clip_min_i64(CLIP_ADVICE_PAIRS, s->train_data->count) : 0;
    return pairs > advice ? pairs : advice;
}

clip_status clip_train_forecast(struct clip_config *config,
                                const struct clip_train_options *options,
                                struct clip_train_forecast *f, struct clip_error *error)
{
    clip_status status;
    struct clip_setup s;
    size_t activations;
    double deviation = 0;
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
    CLIP_TRY(measure_tokens(&s, &f->tokens_per_caption, &deviation, error));
    double batch = (double)config->train.batch_size;
    int64_t tokens = (int64_t)(f->tokens_per_caption * batch);
    int64_t longest = (int64_t)(f->tokens_per_caption * batch + 2 * deviation * sqrt(batch));
    CLIP_TRY(clip_step_plan(s.step, longest, &activations, error));
    f->flops_per_step = clip_model_flops(&s.model_config, config->train.batch_size, tokens, true);
    /* gradients, two moments and average are of what is trained; the last three are divided among
     * processes */
    f->weights_bytes = s.model->size * (int64_t)sizeof(float) +
                       f->trained * (4 * s.step->slices->buffer_count +
                                     (2 * moment_bytes(s.step) + (s.step->ema != NULL ? 4 : 0)) /
                                         clip_comm_size(options->comm));
    f->activation_bytes = (int64_t)activations;
    /* All that is open by now, weights and moments with it, is counted as it lies in memory. */
    int64_t pairs = pairs_at_once(&s, options->init != NULL);
    f->peak_bytes = clip_memory_rss() + f->activation_bytes + loader_bytes(&s) +
                    packing_bytes(&s, pairs, (int64_t)(f->tokens_per_caption * (double)pairs)) +
                    THREAD_BYTES * clip_threads_count() + saving_bytes(&s, f->trained);
    if (f->peak_bytes < clip_memory_peak_rss()) f->peak_bytes = clip_memory_peak_rss();
out:
    clip_setup_release(&s);
    return status;
}
