#include "bench/bench_step.h"

#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "core/progress.h"
#include "core/rng.h"
#include "train/step.h"

struct captions {
    struct clip_ids ids;
    int32_t *offsets;
};

static clip_status synthetic_captions(const struct clip_model_config *c, int64_t batch,
                                      struct captions *out, struct clip_error *error)
{
    clip_status status;
    int64_t length = c->context_length / 2 > 2 ? c->context_length / 2 : 2;
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 0, 1);
    CLIP_TRY(clip_array_grow(&out->ids.ids, &out->ids.capacity, batch * length,
                             sizeof *out->ids.ids, error));
    for (int64_t b = 0; b < batch; b++) {
        out->offsets[b] = (int32_t)out->ids.count;
        for (int64_t i = 0; i < length; i++)
            out->ids.ids[out->ids.count++] = (int32_t)clip_rng_below(&rng, (uint32_t)c->vocab_size);
    }
    out->offsets[batch] = (int32_t)out->ids.count;
out:
    return status;
}

/* Ids of CLIP's vocabulary in a smaller one: words spread over it, lengths stay. */
static void fold(int32_t *ids, int64_t n, int64_t vocab)
{
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)(ids[i] % (vocab - 2) + 1);
    ids[n - 1] = (int32_t)(vocab - 1);
}

/* CLIP's vocabulary: where tokenizers are looked for, or in a folder "clip" beside the data's. */
static clip_status open_clip_vocabulary(const char *data, struct clip_tokenizer **out,
                                        struct clip_error *error)
{
    struct clip_error ignored;
    char *folder = clip_path_folder(data, &ignored);
    char *beside = folder != NULL ? clip_path_join(folder, "../clip", &ignored) : NULL;
    clip_status status = clip_tokenizer_open(out, "clip", folder, error);
    if (status == CLIP_ERR_NOT_FOUND && beside != NULL &&
        clip_tokenizer_open(out, "clip", beside, &ignored) == CLIP_OK)
        status = CLIP_OK;
    free(beside);
    free(folder);
    return status;
}

static clip_status real_captions(const struct clip_model_config *c, int64_t batch, const char *data,
                                 struct captions *out, struct clip_error *error)
{
    clip_status status;
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_dataset *dataset = NULL;
    struct clip_buffer text = {0};
    struct clip_dataset_options options = {0};
    CLIP_TRY(open_clip_vocabulary(data, &tokenizer, error));
    CLIP_TRY(clip_dataset_open(&dataset, data, &options, error));
    for (int64_t b = 0; b < batch; b++) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_CAPTION, 0, (uint64_t)b);
        int64_t begin = out->ids.count;
        text.size = 0;
        CLIP_TRY(dataset->ops->caption(dataset, b * 7 % dataset->count, &rng, &text, error));
        const struct clip_encode_options how = {CLIP_TEXT_OPEN_CLIP, c->context_length};
        CLIP_TRY(
            clip_tokenizer_encode(tokenizer, text.data, text.size, &how, &out->ids, NULL, error));
        if (c->vocab_size < tokenizer->vocab_size)
            fold(out->ids.ids + begin, out->ids.count - begin, c->vocab_size);
        out->offsets[b] = (int32_t)begin;
    }
    out->offsets[batch] = (int32_t)out->ids.count;
out:
    clip_buffer_release(&text);
    clip_dataset_free(dataset);
    clip_tokenizer_free(tokenizer);
    return status;
}

static clip_status time_steps(struct clip_step *step, const struct clip_batch *batch, bool profile,
                              struct clip_bench_step_result *r, struct clip_error *error)
{
    clip_status status;
    struct clip_step_result ignored;
    CLIP_TRY(clip_step_run(step, batch, &ignored, error));
    if (profile) step->tape->profile = &r->profile;
    for (int64_t i = 0; i < r->steps; i++) {
        double started = clip_seconds();
        CLIP_TRY(clip_step_run(step, batch, &ignored, error));
        r->seconds[i] = clip_seconds() - started;
    }
out:
    return status;
}

clip_status clip_bench_step(const struct clip_config *config,
                            const struct clip_bench_step_options *o,
                            struct clip_bench_step_result *r, struct clip_error *error)
{
    clip_status status;
    struct clip_model_config c;
    struct clip_model *model = NULL;
    struct clip_step *step = NULL;
    struct captions captions = {0};
    double *room = NULL;
    struct clip_batch batch = {.count = o->batch_size};
    struct clip_step_options options = {.train = config->train, .optim = config->optim};
    *r = (struct clip_bench_step_result){.steps = o->steps};
    options.train.batch_size = o->batch_size;
    options.train.multi_positive = false; /* the batch has no ids */
    options.train.patch_dropout = options.optim.ema_decay = options.optim.lr_width = 0;
    CLIP_TRY(clip_config_model(config, &c, error));
    CLIP_NEW(r->seconds, o->steps);
    CLIP_NEW(room, o->steps);
    CLIP_NEW(captions.offsets, o->batch_size + 1);
    CLIP_NEW(batch.samples, o->batch_size);
    CLIP_NEW(batch.pixels, o->batch_size * 3 * c.image_size * c.image_size);
    if (strcmp(o->data, "synthetic") == 0)
        CLIP_TRY(synthetic_captions(&c, o->batch_size, &captions, error));
    else
        CLIP_TRY(real_captions(&c, o->batch_size, o->data, &captions, error));
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 0, 0);
    for (int64_t i = 0; i < o->batch_size * 3 * c.image_size * c.image_size; i++)
        batch.pixels[i] = clip_rng_normal(&rng);
    batch.tokens = captions.ids.ids;
    batch.offsets = captions.offsets;
    CLIP_TRY(clip_model_create(&model, &c, error));
    clip_model_init(model, 0);
    clip_model_train(model);
    CLIP_TRY(clip_step_create(&step, model, &options, error));
    CLIP_TRY(time_steps(step, &batch, o->profile, r, error));
    double seconds = clip_bench_median(r->seconds, r->steps, room);
    r->pairs_per_second = (double)o->batch_size / seconds;
    r->flops_per_step = clip_model_flops(&c, o->batch_size, captions.ids.count, true);
    r->flops_per_second = r->flops_per_step / seconds;
    r->tokens_per_caption = (double)captions.ids.count / (double)o->batch_size;
    r->peak_rss_bytes = clip_memory_peak_rss();
    r->peak_flops_per_second = clip_bench_peak_flops(step->tape->dtype == CLIP_BF16);
out:
    clip_step_free(step);
    clip_model_free(model);
    free(batch.samples);
    free(batch.pixels);
    free(captions.offsets);
    clip_ids_release(&captions.ids);
    free(room);
    return status;
}
