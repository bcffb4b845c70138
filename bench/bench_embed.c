#include "bench/bench_embed.h"

#include <stdlib.h>

#include "bench/bench.h"
#include "core/count.h"
#include "core/memory.h"
#include "core/progress.h"
#include "core/rng.h"
#include "embed/embedder.h"

enum { MOST_RUNS = 64 };

struct inputs {
    float *pixels; /* [batch,3,S,S] */
    int32_t *ids;  /* [batch,tokens], the last the end token */
    float *rows;   /* [batch,E] */
};

static clip_status make_inputs(struct inputs *in, const struct clip_model_config *c,
                               const struct clip_bench_embed_options *o, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t values = o->batch_size * 3 * c->image_size * c->image_size;
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_BENCH, 0, 5);
    CLIP_NEW(in->pixels, values);
    CLIP_NEW(in->ids, o->batch_size * o->tokens);
    CLIP_NEW(in->rows, o->batch_size * c->embed_dim);
    for (int64_t i = 0; i < values; i++) in->pixels[i] = (float)clip_rng_range(&rng, -1, 1);
    for (int64_t i = 0; i < o->batch_size * o->tokens; i++)
        in->ids[i] = (i + 1) % o->tokens == 0
                         ? (int32_t)c->vocab_size - 1
                         : (int32_t)clip_rng_below(&rng, (uint32_t)c->vocab_size - 1);
out:
    return status;
}

static clip_status measure(const struct clip_embedder *e, const struct inputs *in, int64_t n,
                           bool images, const struct clip_bench_embed_options *o,
                           struct clip_bench_embed_rate *rate, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_model_config *c = &clip_embedder_file(e)->model->config;
    double seconds[MOST_RUNS], room[MOST_RUNS];
    int64_t runs = o->runs < MOST_RUNS ? o->runs : MOST_RUNS;
    for (int64_t k = -1; k < runs; k++) {
        double started = clip_seconds();
        if (images)
            CLIP_TRY(clip_embedder_pixels(e, in->pixels, n, CLIP_UNIT, in->rows, error));
        else
            CLIP_TRY(clip_embedder_ids(e, in->ids, n, o->tokens, CLIP_UNIT, in->rows, error));
        if (k >= 0) seconds[k] = clip_seconds() - started;
    }
    double median = clip_bench_median(seconds, runs, room);
    double both = clip_model_flops(c, n, n * o->tokens, false);
    double alone = clip_model_flops(c, n, 0, false); /* what is left out with the texts */
    rate->items_per_second = (double)n / median;
    rate->flops_per_second = (images ? alone : both - alone) / median;
out:
    return status;
}

clip_status clip_bench_embed(const struct clip_model_file *file,
                             const struct clip_bench_embed_options *o,
                             struct clip_bench_embed_result *r, struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *e = NULL;
    struct inputs in = {0};
    const struct clip_embedder_options options = {.bf16 = o->bf16, .pack = true};
    *r = (struct clip_bench_embed_result){0};
    if (o->tokens > file->model->config.context_length)
        return clip_fail(
            error, CLIP_ERR_USAGE, "a text of %s is longer than the model's context_length, %lld",
            CLIP_COUNT(o->tokens, "token"), (long long)file->model->config.context_length);
    CLIP_TRY(clip_embedder_create(&e, file, &options, error));
    CLIP_TRY(make_inputs(&in, &file->model->config, o, error));
    for (int k = 0; k < 2; k++) {
        int64_t n = k == 0 ? 1 : o->batch_size;
        CLIP_TRY(measure(e, &in, n, true, o, &r->images[k], error));
        CLIP_TRY(measure(e, &in, n, false, o, &r->texts[k], error));
    }
    r->peak_flops_per_second = clip_bench_peak_flops(o->bf16);
out:
    clip_embedder_free(e);
    free(in.pixels), free(in.ids), free(in.rows);
    return status;
}
