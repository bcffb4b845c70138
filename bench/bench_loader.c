#include "bench/bench_loader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "data/sets/dataset.h"

struct bench {
    const struct clip_dataset *dataset;
    struct clip_preprocess preprocess;
    struct clip_augment augment;
    struct clip_image_limits limits;
    struct clip_sample sample;
    uint8_t *pixels; /* [S,S,3] */
    float *values;   /* [3,S,S] */
};

/* One image; adds its times to `out`. An image that cannot be read is counted. */
static clip_status prepare(struct bench *bench, int64_t index, struct clip_bench_loader_result *out,
                           struct clip_error *error)
{
    clip_status status;
    struct clip_image image = {0};
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_AUGMENT, 0, (uint64_t)index);
    double t0 = clip_seconds(), t1, t2, t3;
    CLIP_TRY(bench->dataset->ops->read(bench->dataset, index, NULL, &bench->sample, error));
    t1 = clip_seconds();
    CLIP_TRY(clip_image_decode((const uint8_t *)bench->sample.image.data, bench->sample.image.size,
                               &bench->limits, &image, error));
    t2 = clip_seconds();
    CLIP_TRY(clip_augment_image(&bench->preprocess, &bench->augment, &rng, &image, bench->pixels,
                                error));
    t3 = clip_seconds();
    clip_preprocess_normalise(&bench->preprocess, bench->pixels, bench->values);
    out->normalise += clip_seconds() - t3;
    out->read += t1 - t0;
    out->decode += t2 - t1;
    out->augment += t3 - t2;
    out->bytes += (double)bench->sample.image.size;
    out->pixels += (double)image.width * (double)image.height;
    out->images++;
out:
    clip_image_release(&image);
    if (status == CLIP_ERR_MEMORY) return status;
    out->bad += status != CLIP_OK;
    return CLIP_OK;
}

static clip_status run_round(struct bench *bench, int64_t most,
                             struct clip_bench_loader_result *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t count = bench->dataset->count, n = count < most ? count : most;
    *out = (struct clip_bench_loader_result){0};
    for (int64_t i = 0; i < n; i++)
        CLIP_TRY(prepare(bench, (int64_t)((double)i * (double)count / (double)n), out, error));
    if (out->images == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "no image of %lld can be read; see clip_data check", (long long)n));
    double total = out->read + out->decode + out->augment + out->normalise;
    double images = (double)out->images;
    out->images_per_second = images / total;
    out->read /= images;
    out->decode /= images;
    out->augment /= images;
    out->normalise /= images;
    out->bytes /= images;
    out->pixels /= images;
out:
    return status;
}

/* Bytes a second that memcpy moves between two blocks that no cache holds: the best of five. */
static double copy_bandwidth(void)
{
    enum { BYTES = 64 << 20 };
    struct clip_error ignored;
    char *from = clip_array_new(BYTES, 1, &ignored), *to = clip_array_new(BYTES, 1, &ignored);
    double best = 0;
    for (int i = 0; from != NULL && to != NULL && i < 5; i++) {
        double started = clip_seconds();
        memcpy(to, from, BYTES);
        double rate = BYTES / (clip_seconds() - started);
        if (rate > best) best = rate;
        from[i] = to[BYTES - 1];
    }
    free(from);
    free(to);
    return best;
}

clip_status clip_bench_loader(const struct clip_bench_loader_options *options,
                              struct clip_bench_loader_result *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_dataset_options source = {.images_only = true};
    struct clip_dataset *dataset = NULL;
    int64_t S = options->image_size;
    struct bench bench = {
        .preprocess = {.image_size = S, .std = {1, 1, 1}},
        .augment = {.scale_min = options->aug_scale_min},
        .limits = {.max_pixels = CLIP_IMAGE_MAX_PIXELS},
    };
    if (options->fast_decode)
        bench.limits.enough = clip_augment_enough(&bench.preprocess, &bench.augment);
    CLIP_TRY(clip_dataset_open(&dataset, options->data, &source, error));
    bench.dataset = dataset;
    CLIP_NEW(bench.pixels, S * S * 3);
    CLIP_NEW(bench.values, S * S * 3);
    for (int64_t round = 0; round <= options->rounds; round++) {
        struct clip_bench_loader_result one;
        CLIP_TRY(run_round(&bench, options->most, &one, error));
        if (round == 1 || one.images_per_second > out->images_per_second) *out = one;
        if (round == 0) out->images_per_second = 0;
    }
    out->copy_bandwidth = copy_bandwidth();
    out->limit_images_per_second = out->copy_bandwidth /
                                   (out->bytes + 3 * out->pixels + 15.0 * (double)(S * S));
out:
    clip_sample_release(&bench.sample);
    free(bench.pixels);
    free(bench.values);
    clip_dataset_free(dataset);
    return status;
}
