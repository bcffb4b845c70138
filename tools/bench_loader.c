/* clip_bench loader: what preparing training images costs. */
#include <stdio.h>

#include "bench/bench_loader.h"
#include "tools/bench.h"
#include "tools/cli.h"

static clip_status print_loader(const struct clip_bench_loader_result *r, bool json,
                                struct clip_error *error)
{
    if (!json) {
        printf("%.0f images/s in one thread (%.1f kB, %.0f pixels each)\n", r->images_per_second,
               r->bytes / 1e3, r->pixels);
        printf("ms an image: read %.3f, decode %.3f, crop and resize %.3f, to floats %.3f\n",
               r->read * 1e3, r->decode * 1e3, r->augment * 1e3, r->normalise * 1e3);
        printf("were the bytes only copied once (%.1f GB/s): %.0f images/s\n",
               r->copy_bandwidth / 1e9, r->limit_images_per_second);
        return CLIP_OK;
    }
    json_t *value = json_pack(
        "{s:f, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s}", "images_per_second",
        r->images_per_second, "images", (json_int_t)r->images, "bad", (json_int_t)r->bad, "bytes",
        r->bytes, "pixels", r->pixels, "read_seconds", r->read, "decode_seconds", r->decode,
        "augment_seconds", r->augment, "normalise_seconds", r->normalise, "copy_bytes_per_second",
        r->copy_bandwidth, "limit_images_per_second", r->limit_images_per_second, "jpeg_decoder",
        clip_jpeg_decoder);
    clip_status status = clip_cli_print_json(value, error);
    json_decref(value);
    return status;
}

int clip_bench_run_loader(int argc, char **argv)
{
    struct clip_error error = {0};
    struct clip_bench_loader_options bench = {
        .image_size = 224, .most = 1000, .rounds = 3, .aug_scale_min = 0.9};
    struct clip_bench_loader_result result = {0};
    const struct clip_cli_option options[] = {
        {"data", "DATA", CLIP_CLI_TEXT, &bench.data, "the data whose images are read",
         .required = true},
        {"image-size", "N", CLIP_CLI_INT, &bench.image_size,
         "side of the result in pixels (default 224)", .least = 1, .most = 1 << 14},
        {"count", "N", CLIP_CLI_INT, &bench.most,
         "images to read, spread over the data (default 1000)", .least = 1, .most = 1e9},
        {"pictures", "N", CLIP_CLI_INT, &bench.most, .unlisted = true, /* its old name */
         .least = 1, .most = 1e9},
        {"rounds", "N", CLIP_CLI_INT, &bench.rounds,
         "rounds over them; the best counts (default 3)", .least = 1, .most = 1e6},
        {"aug-scale-min", "X", CLIP_CLI_REAL, &bench.aug_scale_min,
         "smallest share of the image's area in a crop (default 0.9)", .least = 1e-3, .most = 1},
        {"fast-decode", NULL, CLIP_CLI_FLAG, &bench.fast_decode,
         "as the key of [data]: decode large JPEGs at a smaller size"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_bench loader",
        .summary = "Times what one thread does with a training image: read, decode, crop at random "
                   "and resize, convert to floats.",
        .example = "clip_bench loader --data photos/ --image-size 224",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    clip_status status = clip_bench_loader(&bench, &result, &error);
    if (status == CLIP_OK) status = print_loader(&result, cli.json, &error);
    return clip_cli_finish(&cli, status, &error);
}
