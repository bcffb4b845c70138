/* clip_data: looks at data, trains and applies tokenizers, preprocesses images, makes the demo
 * sets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "core/count.h"
#include "core/file.h"
#include "core/progress.h"
#include "data/demo/emoji.h"
#include "data/demo/shapes.h"
#include "data/image/image.h"
#include "data/sets/dataset.h"
#include "data/text/tokenizer.h"
#include "model/model.h"
#include "tools/data_commands.h"
#include "tools/model_options.h"

/* ---- tokenizer train ---- */

/* The captions of a text file, one per line; empty lines are none. */
static clip_status read_lines(const char *path, struct clip_names *out, struct clip_error *error)
{
    struct clip_buffer text = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_file_read_gzip(path, (size_t)8 << 30, &text, error));
    if (memchr(text.data, '\0', text.size) != NULL)
        CLIP_TRY(clip_fail(
            error, CLIP_ERR_FORMAT,
            "%s holds a zero byte, so it is no text; give a file with one caption per line", path));
    char *rest = text.data, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        line[strcspn(line, "\r")] = '\0';
        if (line[0] != '\0') CLIP_TRY(clip_names_add(out, line, error));
    }
out:
    clip_buffer_release(&text);
    return status;
}

/* The captions of a data set: what cannot be read is named and left out. */
static clip_status read_captions(const char *data, const char *column, struct clip_names *out,
                                 int64_t *skipped, struct clip_error *error)
{
    const struct clip_dataset_options options = {.csv_caption_key = column};
    struct clip_dataset *dataset = NULL;
    struct clip_buffer caption = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_dataset_open(&dataset, data, &options, error));
    for (int64_t i = 0; i < dataset->count; i++) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_CAPTION, 0, (uint64_t)i);
        struct clip_error bad = {0};
        caption.size = 0;
        status = dataset->ops->caption(dataset, i, &rng, &caption, &bad);
        if (clip_machine_failed(status)) CLIP_TRY(clip_fail(error, status, "%s", bad.message));
        if (status != CLIP_OK) {
            clip_warn("skipped: %s", bad.message);
            (*skipped)++;
            status = CLIP_OK;
            continue;
        }
        CLIP_TRY(clip_names_add(out, caption.data, error));
    }
out:
    clip_buffer_release(&caption);
    clip_dataset_free(dataset);
    return status;
}

static clip_status train_tokenizer(const struct clip_names *captions, const char *input,
                                   int64_t vocab_size, enum clip_text_cleaning cleaning,
                                   const char *output, int64_t *reached, struct clip_error *error)
{
    struct clip_buffer text = {0};
    struct clip_tokenizer *tokenizer = NULL;
    size_t *sizes = NULL;
    clip_status status = CLIP_OK;
    if (captions->count == 0)
        CLIP_TRY(clip_fail(
            error, CLIP_ERR_DATA,
            "%s holds no caption; give a file with one caption per line, or a csv file", input));
    sizes = clip_array_new(captions->count, sizeof *sizes, error);
    CLIP_TRY(sizes != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    for (int64_t i = 0; i < captions->count; i++) sizes[i] = strlen(captions->names[i]);
    status = clip_tokenizer_train((const char *const *)captions->names, sizes, captions->count,
                                  vocab_size, cleaning, &text, error);
    if (status != CLIP_OK) clip_error_prefix(error, "%s", input);
    CLIP_TRY(status);
    CLIP_TRY(clip_tokenizer_parse(&tokenizer, text.data, text.size, output, error));
    *reached = tokenizer->vocab_size;
    CLIP_TRY(clip_tokenizer_save(output, text.data, text.size, error));
out:
    clip_buffer_release(&text);
    clip_tokenizer_free(tokenizer);
    free(sizes);
    return status;
}

static int run_tokenizer_train(int argc, char **argv)
{
    const char *input = NULL, *output = NULL, *column = "title";
    enum clip_text_cleaning cleaning = CLIP_TEXT_OPEN_CLIP;
    int64_t vocab_size = 0, reached = 0, skipped = 0;
    const struct clip_cli_option options[] = {
        {"input", "FILE", CLIP_CLI_TEXT, &input,
         .help = "a file with one caption per line, or a data set", .required = true},
        {"vocab-size", "N", CLIP_CLI_INT, &vocab_size,
         .help = "size of the vocabulary: 514 and one for each merge", .required = true,
         .least = 515, .most = 49408},
        {"output", "FILE", CLIP_CLI_TEXT, &output,
         .help = "the tokenizer to write, in CLIP's text format", .required = true},
        {"column", "NAME", CLIP_CLI_TEXT, &column,
         .help = "the column of captions in a csv (default title)"},
        {"text-cleaning", NULL, CLIP_CLI_CHOICE, &cleaning, .names = clip_text_cleaning_name,
         .help = "how captions are cleaned first (default open_clip)"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data tokenizer train",
        .summary = "Learns a byte-level BPE tokenizer from captions in any language.",
        .example = "clip_data tokenizer train --input captions.txt --vocab-size 8192 \\\n      "
                   "--output tokenizer.txt",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_names captions = {0};
    clip_status status = CLIP_OK;
    char text[256];
    clip_cli_parse(&cli, argc, argv);
    double start = clip_seconds();
    bool table = clip_dataset_is_named(input);
    CLIP_TRY(table ? read_captions(input, column, &captions, &skipped, &error)
                   : read_lines(input, &captions, &error));
    CLIP_TRY(train_tokenizer(&captions, input, vocab_size, cleaning, output, &reached, &error));
    if (reached < vocab_size)
        clip_warn("no pair of symbols occurs twice any more: the vocabulary has %s, not %lld",
                  CLIP_COUNT(reached, "entry"), (long long)vocab_size);
    snprintf(text, sizeof text, "%s, %lld skipped, a vocabulary of %lld",
             CLIP_COUNT(captions.count, "caption"), (long long)skipped, (long long)reached);
    CLIP_TRY(
        clip_data_show(&cli,
                       json_pack("{s:s, s:I, s:I, s:I, s:I, s:f}", "output", output, "captions",
                                 (json_int_t)captions.count, "skipped", (json_int_t)skipped,
                                 "vocab_size", (json_int_t)reached, "merges",
                                 (json_int_t)(reached - 514), "seconds", clip_seconds() - start),
                       text, &error));
out:
    clip_names_release(&captions);
    return clip_cli_finish(&cli, status, &error);
}

static int run_tokenizer(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"train", "learns a tokenizer from captions", run_tokenizer_train},
        {0},
    };
    return clip_cli_dispatch("clip_data tokenizer", "Makes a tokenizer.",
                             "clip_data tokenizer train --input captions.txt --vocab-size 8192 "
                             "\\\n      --output tokenizer.txt",
                             commands, argc, argv);
}

/* ---- tokenize ---- */

static json_t *ids_to_json(const struct clip_ids *ids)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < ids->count; i++) clip_json_push(&list, json_integer(ids->ids[i]));
    return list;
}

struct tokenizing {
    const struct clip_tokenizer *tokenizer;
    enum clip_text_cleaning cleaning;
    int64_t context_length;
    json_t *all; /* with --json: the lists of all lines, else NULL */
};

static clip_status tokenize_line(const struct tokenizing *t, const char *line, size_t n,
                                 int64_t number, struct clip_ids *ids, struct clip_error *error)
{
    ids->count = 0;
    const struct clip_encode_options how = {t->cleaning, t->context_length};
    clip_status status = clip_tokenizer_encode(t->tokenizer, line, n, &how, ids, NULL, error);
    if (status != CLIP_OK)
        return clip_error_prefix(error, "standard input, line %lld", (long long)number);
    json_t *list = ids_to_json(ids);
    if (list == NULL) return clip_fail(error, CLIP_ERR_MEMORY, "out of memory for the result");
    if (t->all != NULL) /* takes the list over */
        return json_array_append_new(t->all, list) == 0
                   ? CLIP_OK
                   : clip_fail(error, CLIP_ERR_MEMORY, "out of memory for the result");
    status = clip_cli_print_json(list, error);
    json_decref(list);
    return status;
}

static int run_tokenize(int argc, char **argv)
{
    const char *name = "clip";
    enum clip_text_cleaning cleaning = CLIP_TEXT_OPEN_CLIP;
    int64_t context = 0;
    const struct clip_cli_option options[] = {
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &name,
         .help = "\"clip\" or a file (default clip)"},
        {"text-cleaning", NULL, CLIP_CLI_CHOICE, &cleaning, .names = clip_text_cleaning_name,
         .help = "how texts are cleaned (default open_clip)"},
        {"context-length", "N", CLIP_CLI_INT, &context,
         .help = "cut longer texts as CLIP does (default: do not cut)", .least = 2,
         .most = 1 << 20},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data tokenize",
        .summary = "Turns each line of standard input into one JSON list of token ids, with start "
                   "and end.",
        .example = "echo \"a dog\" | clip_data tokenize --tokenizer clip",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_ids ids = {0};
    clip_status status = CLIP_OK;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    clip_cli_parse(&cli, argc, argv);
    struct tokenizing t = {.cleaning = cleaning, .context_length = context};
    CLIP_TRY(clip_tokenizer_open(&tokenizer, name, NULL, &error));
    t.tokenizer = tokenizer;
    if (cli.json && (t.all = json_array()) == NULL)
        CLIP_TRY(clip_fail(&error, CLIP_ERR_MEMORY, "out of memory for the result"));
    for (int64_t number = 1; errno = 0, (n = getline(&line, &capacity, stdin)) >= 0; number++) {
        if (n > 0 && line[n - 1] == '\n') n--;
        CLIP_TRY(tokenize_line(&t, line, (size_t)n, number, &ids, &error));
    }
    if (ferror(stdin))
        CLIP_TRY(clip_fail(&error, clip_status_of(errno), "standard input cannot be read: %s",
                           strerror(errno)));
    if (t.all != NULL) CLIP_TRY(clip_data_show(&cli, json_pack("{s:O}", "ids", t.all), "", &error));
out:
    json_decref(t.all);
    free(line);
    clip_ids_release(&ids);
    clip_tokenizer_free(tokenizer);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- preprocess ---- */

static clip_status preprocess_all(const struct clip_preprocess *preprocess,
                                  const struct clip_image_limits *limits,
                                  const struct clip_cli_list *paths, uint8_t *pixels, float *values,
                                  struct clip_error *error)
{
    int64_t n = preprocess->image_size * preprocess->image_size * 3;
    for (int64_t i = 0; i < paths->count; i++) {
        struct clip_image image = {0};
        clip_status status = clip_image_decode_file(paths->items[i], limits, &image, error);
        if (status == CLIP_OK) {
            status = clip_preprocess_image(preprocess, &image, pixels + i * n, error);
            if (status != CLIP_OK) clip_error_prefix(error, "%s", paths->items[i]);
        }
        clip_image_release(&image);
        if (status != CLIP_OK) return status;
        clip_preprocess_normalise(preprocess, pixels + i * n, values + i * n);
    }
    return CLIP_OK;
}

static clip_status write_pixels(const char *output, int64_t count, int64_t size, uint8_t *pixels,
                                float *values, struct clip_error *error)
{
    struct clip_bundle bundle = {0};
    const struct clip_tensor value_tensor =
        clip_tensor_view(CLIP_F32, values, 4, (int64_t[]){count, 3, size, size});
    const struct clip_tensor pixel_tensor =
        clip_tensor_view(CLIP_U8, pixels, 4, (int64_t[]){count, size, size, 3});
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_bundle_add(&bundle, "pixel_values", &value_tensor, error));
    CLIP_TRY(clip_bundle_add(&bundle, "pixels", &pixel_tensor, error));
    CLIP_TRY(clip_safetensors_write(output, &bundle, error));
out:
    clip_bundle_release(&bundle);
    return status;
}

static int run_preprocess(int argc, char **argv)
{
    const char *output = NULL;
    struct clip_preprocess preprocess = {0};
    int64_t size = 224, max_pixels = 100000000;
    struct clip_upright turn = {0};
    const struct clip_cli_option options[] = {
        {"image-size", "N", CLIP_CLI_INT, &size,
         .help = "side of the result in pixels (default 224)", .least = 1, .most = 1 << 14},
        {"output", "FILE", CLIP_CLI_TEXT, &output, .help = "the .safetensors file to write",
         .required = true},
        {"interpolation", NULL, CLIP_CLI_CHOICE, &preprocess.interpolation,
         .names = clip_interpolation_name, .help = "filter for resizing (default bicubic)"},
        {"resize-mode", NULL, CLIP_CLI_CHOICE, &preprocess.resize_mode,
         .names = clip_resize_mode_name, .help = "which side becomes N pixels (default shortest)"},
        {"crop", NULL, CLIP_CLI_CHOICE, &preprocess.crop, .names = clip_crop_name,
         .help = "whose rounding of the centre crop (default open_clip)"},
        {"upright", NULL, CLIP_CLI_FLAG, &turn.upright,
         .help = "turn images as their EXIF orientation says"},
        {"as-stored", NULL, CLIP_CLI_FLAG, &turn.as_stored, .help = "", .unlisted = true},
        {"max-pixels", "N", CLIP_CLI_INT, &max_pixels,
         .help = "refuse images with more pixels (default 100000000)", .least = 1, .most = 1e12},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data preprocess",
        .arguments = "IMAGE...",
        .summary = "Writes images as a model sees them: pixels u8 [n,N,N,3] and pixel_values f32 "
                   "[n,3,N,N], normalised with CLIP's mean and standard deviation.",
        .example = "clip_data preprocess --image-size 224 --output pixels.safetensors a.jpg",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_model_config clip;
    clip_status status = CLIP_OK;
    uint8_t *pixels = NULL;
    float *values = NULL;
    int64_t elements;
    char text[256];
    clip_cli_parse(&cli, argc, argv);
    int64_t count = cli.plain.count;
    if (count == 0)
        clip_cli_wrong_usage(
            &cli,
            "an image is needed, as in clip_data preprocess --output pixels.safetensors a.jpg");
    CLIP_TRY(clip_model_preset(&clip, "vit-b-32", &error)); /* for CLIP's mean and deviation */
    preprocess.image_size = size;
    memcpy(preprocess.mean, clip.image_mean, sizeof preprocess.mean);
    memcpy(preprocess.std, clip.image_std, sizeof preprocess.std);
    if (!clip_mul_i64(count, 3 * size * size, &elements))
        CLIP_TRY(clip_fail(&error, CLIP_ERR_MEMORY,
                           "memory does not hold %s of %s per side; give fewer",
                           CLIP_COUNT(count, "image"), CLIP_COUNT(size, "pixel")));
    pixels = clip_array_new(elements, 1, &error);
    CLIP_TRY(pixels != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    values = clip_array_new(elements, sizeof *values, &error);
    CLIP_TRY(values != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    const struct clip_image_limits limits = {.max_pixels = max_pixels,
                                             .upright = clip_upright(&cli, &turn)};
    CLIP_TRY(preprocess_all(&preprocess, &limits, &cli.plain, pixels, values, &error));
    CLIP_TRY(write_pixels(output, count, size, pixels, values, &error));
    snprintf(text, sizeof text, "%s", CLIP_COUNT(count, "image"));
    CLIP_TRY(clip_data_show(&cli,
                            json_pack("{s:s, s:I, s:I}", "output", output, "count",
                                      (json_int_t)count, "image_size", (json_int_t)size),
                            text, &error));
out:
    free(pixels);
    free(values);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- shapes and emoji ---- */

static int run_shapes(int argc, char **argv)
{
    struct clip_shapes_options set = {
        .count = 20000, .image_size = 64, .two_objects = CLIP_SHAPES_TWO_OBJECTS};
    struct clip_shapes_counts counts = {0};
    int64_t seed = 0;
    const struct clip_cli_option options[] = {
        {"output", "DIR", CLIP_CLI_TEXT, &set.output, .help = "the folder to write",
         .required = true},
        {"count", "N", CLIP_CLI_INT, &set.count,
         .help = "number of training images (default 20000)", .least = 1, .most = 1e7},
        {"image-size", "N", CLIP_CLI_INT, &set.image_size,
         .help = "side of an image in pixels (default 64)", .least = 16, .most = 1024},
        {"two-objects", "N", CLIP_CLI_INT, &set.two_objects,
         .help = "how many of 100 images show two objects (default 15)", .least = 0, .most = 100},
        {"seed", "N", CLIP_CLI_INT, &seed, .help = "another seed gives other images (default 0)",
         .least = 0, .most = 1e15},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data shapes",
        .summary = "Draws the shapes data set: images of one or two coloured shapes with captions, "
                   "and two zero-shot tests, one of them on pairs of colour and shape that never "
                   "occur in training.",
        .example = "clip_data shapes --output runs/shapes",
        .options = options,
    };
    struct clip_error error = {0};
    char text[256];
    clip_cli_parse(&cli, argc, argv);
    double start = clip_seconds();
    set.seed = (uint64_t)seed;
    set.quiet = cli.quiet;
    clip_status status = clip_shapes_write(&set, &counts, &error);
    double seconds = clip_seconds() - start;
    snprintf(text, sizeof text,
             "%s with %s, %lld for validation, zero-shot: %lld of seen pairs, %lld of never-seen, "
             "in %.1f s",
             CLIP_COUNT(counts.train_images, "training image"),
             CLIP_COUNT(counts.train_pairs, "caption"), (long long)counts.val_pairs,
             (long long)counts.zeroshot_seen, (long long)counts.zeroshot_unseen, seconds);
    if (status == CLIP_OK)
        status = clip_data_show(
            &cli,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "output", set.output,
                      "train_images", (json_int_t)counts.train_images, "train_pairs",
                      (json_int_t)counts.train_pairs, "val_pairs", (json_int_t)counts.val_pairs,
                      "zeroshot_seen", (json_int_t)counts.zeroshot_seen, "zeroshot_unseen",
                      (json_int_t)counts.zeroshot_unseen, "image_size", (json_int_t)set.image_size,
                      "seed", (json_int_t)seed, "seconds", seconds),
            text, &error);
    return clip_cli_finish(&cli, status, &error);
}

static int run_emoji(int argc, char **argv)
{
    struct clip_emoji_options set = {.image_size = 64, .variants = 24};
    struct clip_emoji_counts counts = {0};
    int64_t seed = 0;
    const struct clip_cli_option options[] = {
        {"output", "DIR", CLIP_CLI_TEXT, &set.output, .help = "the folder to write",
         .required = true},
        {"debs", "DIR", CLIP_CLI_TEXT, &set.debs,
         .help = "a folder with the two .deb files (default: fetch them by apt-get)"},
        {"image-size", "N", CLIP_CLI_INT, &set.image_size,
         .help = "side of an image in pixels (default 64)", .least = 16, .most = 512},
        {"variants", "N", CLIP_CLI_INT, &set.variants,
         .help = "training images per emoji (default 24)", .least = 1, .most = 1000},
        {"seed", "N", CLIP_CLI_INT, &seed, .help = "another seed gives other variants (default 0)",
         .least = 0, .most = 1e15},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data emoji",
        .summary = "Makes the emoji data set from two Debian packages: training images by one "
                   "artist, test images of the same ideas by another.",
        .example = "clip_data emoji --output runs/emoji",
        .options = options,
    };
    struct clip_error error = {0};
    char text[256];
    clip_cli_parse(&cli, argc, argv);
    double start = clip_seconds();
    set.seed = (uint64_t)seed;
    set.quiet = cli.quiet;
    clip_status status = clip_emoji_write(&set, &counts, &error);
    double seconds = clip_seconds() - start;
    snprintf(text, sizeof text,
             "%lld emoji: %s by one artist, %lld for validation, %s by the other, in %.1f s",
             (long long)counts.ideas, CLIP_COUNT(counts.train_pairs, "training pair"),
             (long long)counts.val_pairs, CLIP_COUNT(counts.test_pairs, "test pair"), seconds);
    if (status == CLIP_OK)
        status = clip_data_show(
            &cli,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "output", set.output,
                      "ideas", (json_int_t)counts.ideas, "train_pairs",
                      (json_int_t)counts.train_pairs, "val_pairs", (json_int_t)counts.val_pairs,
                      "test_pairs", (json_int_t)counts.test_pairs, "image_size",
                      (json_int_t)set.image_size, "variants", (json_int_t)set.variants, "seed",
                      (json_int_t)seed, "seconds", seconds),
            text, &error);
    return clip_cli_finish(&cli, status, &error);
}

int main(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"check", "tells what a data set holds and what is wrong with it", clip_data_check},
        {"pack", "packs a data set into one HDF5 file", clip_data_pack},
        {"tokenizer", "train: learns a tokenizer from captions", run_tokenizer},
        {"tokenize", "turns lines of text into token ids", run_tokenize},
        {"preprocess", "writes images as a model sees them", run_preprocess},
        {"shapes", "draws the demo set of coloured shapes", run_shapes},
        {"emoji", "makes the demo set of emoji", run_emoji},
        {0},
    };
    return clip_cli_dispatch(
        "clip_data", "Checks and packs data, trains and applies tokenizers, makes the demo sets.",
        "clip_data check pairs.csv", commands, argc, argv);
}
