#include <string.h>

#include "bench/bench_gemm.h"
#include "tools/bench.h"
#include "tools/cli.h"
#include "train/config.h"

/* One preset, or the model of a configuration. */
static clip_status choose_model(struct clip_model_config *model, const char *preset,
                                const char *path, struct clip_error *error)
{
    clip_status status;
    struct clip_config config = {0};
    if (path == NULL) return clip_model_preset(model, preset, error);
    CLIP_TRY(clip_config_init(&config, error));
    CLIP_TRY(clip_config_read(&config, path, error));
    CLIP_TRY(clip_config_model(&config, model, error));
out:
    clip_config_release(&config);
    return status;
}

static clip_status print(const struct clip_bench_gemm_result *r, bool json,
                         struct clip_error *error)
{
    double peak = r->peak_flops_per_second;
    json_t *rows = json_array();
    if (!json)
        printf("%-16s %6s %6s %6s %18s %12s %12s   (GF/s, share of peak)\n", "product", "rows",
               "width", "depth", "forward", "dx", "dw");
    for (int64_t i = 0; i < r->count; i++) {
        const struct clip_bench_product *p = &r->products[i];
        if (!json)
            printf("%-16s %6lld %6lld %6lld %11.1f %4.0f %% %5.1f %4.0f %% %5.1f %4.0f %%\n",
                   p->of.name, (long long)p->of.rows, (long long)p->of.width,
                   (long long)p->of.depth, p->forward / 1e9, 100 * p->forward / peak, p->dx / 1e9,
                   100 * p->dx / peak, p->dw / 1e9, 100 * p->dw / peak);
        clip_json_push(
            &rows, json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "product", p->of.name, "rows",
                             (json_int_t)p->of.rows, "width", (json_int_t)p->of.width, "depth",
                             (json_int_t)p->of.depth, "forward_flops_per_second", p->forward,
                             "dx_flops_per_second", p->dx, "dw_flops_per_second", p->dw));
    }
    json_t *value = json_pack("{s:o, s:f, s:f}", "products", rows, "flops_per_second",
                              r->flops_per_second, "peak_flops_per_second", peak);
    if (!json)
        printf("a step's products: %.1f of %.1f GF/s (%.0f %%)\n", r->flops_per_second / 1e9,
               peak / 1e9, 100 * r->flops_per_second / peak);
    clip_status status = json ? clip_cli_print_json(value, error) : CLIP_OK;
    json_decref(value);
    return status;
}

int clip_bench_run_gemm(int argc, char **argv)
{
    const char *config = NULL;
    int preset = 0; /* clip_model_preset_name */
    enum clip_precision precision = CLIP_PRECISION_FP32;
    struct clip_bench_gemm_options o = {.batch_size = 32, .seconds = 0.2};
    int64_t tokens = 14;
    const struct clip_cli_option options[] = {
        {"preset", NULL, CLIP_CLI_CHOICE, &preset, .names = clip_model_preset_name,
         .help = "whose products (default vit-b-32)"},
        {"config", "FILE", CLIP_CLI_TEXT, &config, "or a configuration; its [model] counts"},
        {"batch-size", "N", CLIP_CLI_INT, &o.batch_size, "pairs per step (default 32)", .least = 1,
         .most = 1e5},
        {"tokens", "N", CLIP_CLI_INT, &tokens, "tokens per caption (default 14)", .least = 2,
         .most = 1e4},
        {"precision", NULL, CLIP_CLI_CHOICE, &precision, .names = clip_precision_name,
         .help = "what is multiplied (default fp32)"},
        {"seconds", "S", CLIP_CLI_REAL, &o.seconds, "seconds for each figure (default 0.2)",
         .least = 0.001, .most = 1000},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_bench gemm",
        .summary = "Times the matrix products of a training step, forward and backward, beside the "
                   "peak of the machine.",
        .example = "clip_bench gemm --preset vit-b-16 --precision bf16",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_model_config model;
    struct clip_bench_gemm_result result;
    clip_cli_parse(&cli, argc, argv);
    o.tokens = tokens * o.batch_size;
    o.bf16 = precision == CLIP_PRECISION_BF16;
    clip_status status = choose_model(&model, clip_model_preset_name(preset), config, &error);
    if (status == CLIP_OK) status = clip_bench_gemm(&model, &o, &result, &error);
    if (status == CLIP_OK) status = print(&result, cli.json, &error);
    return clip_cli_finish(&cli, status, &error);
}
