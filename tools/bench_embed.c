#include <string.h>

#include "bench/bench_embed.h"
#include "tools/bench.h"
#include "tools/cli.h"

static void add(json_t **value, const char *name, const struct clip_bench_embed_rate *rate,
                double peak, bool json)
{
    char key[64];
    snprintf(key, sizeof key, "%s_per_second", name);
    clip_json_set(value, key, clip_json_number(rate->items_per_second));
    snprintf(key, sizeof key, "%s_flops_per_second", name);
    clip_json_set(value, key, clip_json_number(rate->flops_per_second));
    if (json) return;
    printf("%-18s %10.2f a second %8.1f GF/s (%.0f %% of peak)\n", name, rate->items_per_second,
           rate->flops_per_second / 1e9, 100 * rate->flops_per_second / peak);
}

static clip_status print(const struct clip_bench_embed_result *r, bool json,
                         struct clip_error *error)
{
    double peak = r->peak_flops_per_second;
    json_t *value = json_object();
    add(&value, "images_alone", &r->images[0], peak, json);
    add(&value, "images", &r->images[1], peak, json);
    add(&value, "texts_alone", &r->texts[0], peak, json);
    add(&value, "texts", &r->texts[1], peak, json);
    clip_json_set(&value, "peak_flops_per_second", clip_json_number(peak));
    clip_status status = json ? clip_cli_print_json(value, error) : CLIP_OK;
    if (!json) printf("peak: %.1f GF/s\n", peak / 1e9);
    json_decref(value);
    return status;
}

/* A model from a file, or of a preset with drawn weights: its speed is the same. */
static clip_status measure(const char *path, const char *preset,
                           const struct clip_bench_embed_options *o,
                           struct clip_bench_embed_result *result, struct clip_error *error)
{
    clip_status status;
    struct clip_model_file *file = NULL, made = {.towers = CLIP_TOWERS_BOTH};
    struct clip_model_file_options options = {0};
    struct clip_model_config config;
    if (path != NULL) {
        CLIP_TRY(clip_model_file_open(&file, path, &options, error));
    } else {
        CLIP_TRY(clip_model_preset(&config, preset, error));
        CLIP_TRY(clip_model_create(&made.model, &config, error));
        clip_model_init(made.model, 0);
    }
    CLIP_TRY(clip_bench_embed(file != NULL ? file : &made, o, result, error));
out:
    clip_model_file_free(file);
    clip_model_free(made.model);
    return status;
}

int clip_bench_run_embed(int argc, char **argv)
{
    const char *model = NULL;
    int preset = 0; /* clip_model_preset_name */
    enum clip_precision precision = CLIP_PRECISION_FP32;
    struct clip_bench_embed_options o = {.batch_size = 32, .tokens = 14, .runs = 5};
    const struct clip_cli_option options[] = {
        {"model", "MODEL", CLIP_CLI_TEXT, &model, "a model to measure"},
        {"preset", NULL, CLIP_CLI_CHOICE, &preset, .names = clip_model_preset_name,
         .help = "or one of these, with random weights (default vit-b-32)"},
        {"batch-size", "N", CLIP_CLI_INT, &o.batch_size, "images or texts per batch (default 32)",
         .least = 1, .most = 1e5},
        {"tokens", "N", CLIP_CLI_INT, &o.tokens, "tokens per text, with start and end (default 14)",
         .least = 2, .most = 1e4},
        {"precision", NULL, CLIP_CLI_CHOICE, &precision, .names = clip_precision_name,
         .help = "what is multiplied (default fp32)"},
        {"runs", "N", CLIP_CLI_INT, &o.runs,
         "runs of each, after one that is not timed (default 5)", .least = 1, .most = 64},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_bench embed",
        .summary = "Times the embedding of images and texts, one at a time and in batches, beside "
                   "the peak of the machine.",
        .example = "clip_bench embed --model runs/small --precision bf16",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_bench_embed_result result;
    clip_cli_parse(&cli, argc, argv);
    o.bf16 = precision == CLIP_PRECISION_BF16;
    clip_status status = measure(model, clip_model_preset_name(preset), &o, &result, &error);
    if (status == CLIP_OK) status = print(&result, cli.json, &error);
    return clip_cli_finish(&cli, status, &error);
}
