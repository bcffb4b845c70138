/* clip_bench loader: what preparing training images costs, beside the machine's limit. */
#ifndef CLIP_BENCH_BENCH_LOADER_H
#define CLIP_BENCH_BENCH_LOADER_H

#include <stdint.h>

#include "core/status.h"
#include "data/image/image.h"

struct clip_bench_loader_options {
    const char *data;     /* DATA; captions are not looked at */
    int64_t image_size;   /* S */
    int64_t most;         /* images, evenly spread over the data; fewer where it has fewer */
    int64_t rounds;       /* over them, after one that is not timed (files, memory) */
    double aug_scale_min; /* as the key of [data] */
    bool fast_decode;
};

struct clip_bench_loader_result {
    int64_t images, bad;      /* timed, and such as cannot be read */
    double bytes, pixels;     /* of an image's file and of the image, on average */
    double images_per_second; /* of one thread, all four steps; the best of the rounds */
    double read, decode, augment, normalise; /* seconds an image, of that round */
    double copy_bandwidth;                   /* the limit: bytes a second that one thread copies */
    double limit_images_per_second; /* were all bytes in, between and out only copied once */
};

/* One thread's work: read a file, decode, random resized crop, to floats. */
clip_status clip_bench_loader(const struct clip_bench_loader_options *options,
                              struct clip_bench_loader_result *out, struct clip_error *error);

#endif
