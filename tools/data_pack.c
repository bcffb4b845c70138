/* clip_data pack: a data set as one HDF5 file. */
#include <stdio.h>

#include "core/count.h"
#include "core/progress.h"
#include "data/sets/packed.h"
#include "tools/data_commands.h"
#include "tools/model_options.h"

int clip_data_pack(int argc, char **argv)
{
    struct clip_dataset_options source = {0};
    struct clip_pack_options pack = {.limits = {.max_pixels = CLIP_IMAGE_MAX_PIXELS}};
    struct clip_upright turn = {0};
    const char *output = NULL;
    const struct clip_cli_option options[] = {
        {"output", "FILE", CLIP_CLI_TEXT, &output, .help = "the .h5 file to write",
         .required = true},
        {"image-size", "N", CLIP_CLI_INT, &pack.image_size,
         .help =
             "store pixels, with short sides above N scaled to N (default: store the image files)",
         .least = 1, .most = 1 << 14},
        {"images-only", NULL, CLIP_CLI_FLAG, &pack.images_only,
         .help = "pack images without captions"},
        UPRIGHT_OPTIONS(turn, " (with --image-size)", " (default)"),
        CLIP_DATA_SOURCE_OPTIONS(source),
        {"csv-negative-key", "NAME", CLIP_CLI_TEXT, &source.csv_negative_key, .help = "",
         .unlisted = true},
        {"max-pixels", "N", CLIP_CLI_INT, &pack.limits.max_pixels, .help = "", .unlisted = true,
         .least = 1, .most = 1e12},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data pack",
        .arguments = "DATA",
        .summary = "Packs a data set into one HDF5 file, which can be used as DATA. These keys of "
                   "[data] are options too: --images-root, --csv-separator, --csv-img-key, "
                   "--csv-caption-key, --csv-negative-key, --max-pixels.",
        .example = "clip_data pack train.csv --output train.h5 --image-size 256",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_dataset *dataset = NULL;
    struct clip_pack_counts counts = {0};
    clip_status status = CLIP_OK;
    char text[256];
    clip_cli_parse(&cli, argc, argv);
    double start = clip_seconds();
    if (cli.plain.count != 1)
        clip_cli_wrong_usage(&cli, "one DATA is needed, and %lld are given",
                             (long long)cli.plain.count);
    pack.limits.upright = clip_upright(&cli, &turn);
    source.images_only = pack.images_only;
    pack.quiet = cli.quiet;
    CLIP_TRY(clip_dataset_open(&dataset, cli.plain.items[0], &source, &error));
    CLIP_TRY(clip_pack_write(output, dataset, &pack, &counts, &error));
    double seconds = clip_seconds() - start;
    if (cli.quiet && counts.bad > 0)
        clip_warn("left out of %s: %s", output, CLIP_COUNT(counts.bad, "bad sample"));
    snprintf(text, sizeof text, "%s: %s of %s, %s left out, %.1f MB, in %.1f s", output,
             CLIP_COUNT(counts.samples, "sample"), CLIP_COUNT(counts.images, "image"),
             CLIP_COUNT(counts.bad, "bad one"), (double)counts.bytes / 1e6, seconds);
    CLIP_TRY(
        clip_data_show(&cli,
                       json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "output", output, "samples",
                                 (json_int_t)counts.samples, "images", (json_int_t)counts.images,
                                 "bad", (json_int_t)counts.bad, "bytes", (json_int_t)counts.bytes,
                                 "image_size", (json_int_t)pack.image_size, "seconds", seconds),
                       text, &error));
    CLIP_TRY(clip_dataset_passed_over(dataset, cli.plain.items[0], &error));
out:
    clip_dataset_free(dataset);
    return clip_cli_finish(&cli, status, &error);
}
