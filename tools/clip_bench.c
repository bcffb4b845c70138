/* clip_bench: measures this program on this machine, beside the machine's own limits. */
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/bench_search.h"
#include "bench/bench_step.h"
#include "core/count.h"
#include "core/file.h"
#include "tools/bench.h"
#include "tools/cli.h"

struct arguments {
    const char *config, *data;
    enum clip_precision precision;
    int64_t batch_size, steps, micro_batch;
};

static clip_status measure(const struct arguments *a, bool profile,
                           struct clip_bench_step_result *result, struct clip_error *error)
{
    clip_status status;
    struct clip_config config = {0};
    char micro[32];
    struct clip_bench_step_options options = {
        .batch_size = a->batch_size, .steps = a->steps, .data = a->data, .profile = profile};
    CLIP_TRY(clip_config_init(&config, error));
    CLIP_TRY(clip_config_read(&config, a->config, error));
    CLIP_TRY(
        clip_config_put(&config, "train", "precision", clip_precision_name(a->precision), error));
    snprintf(micro, sizeof micro, "%lld", (long long)a->micro_batch);
    CLIP_TRY(clip_config_put(&config, "train", "micro_batch", micro, error));
    CLIP_TRY(clip_bench_step(&config, &options, result, error));
out:
    clip_config_release(&config);
    return status;
}

/* Reads the command line of step and ops, and measures. */
static clip_status run(struct clip_cli *cli, bool profile, int argc, char **argv,
                       struct clip_bench_step_result *result, struct clip_error *error)
{
    struct arguments a = {.data = "synthetic", .batch_size = 32, .steps = 3};
    const struct clip_cli_option options[] = {
        {"config", "FILE", CLIP_CLI_TEXT, &a.config, "a configuration; [model] is enough",
         .required = true},
        {"batch-size", "N", CLIP_CLI_INT, &a.batch_size, "pairs per step (default 32)", .least = 1,
         .most = 1e6},
        {"micro-batch", "N", CLIP_CLI_INT, &a.micro_batch, "pairs in memory at once (default: all)",
         .least = 0, .most = 1e6},
        {"precision", NULL, CLIP_CLI_CHOICE, &a.precision, .names = clip_precision_name,
         .help = "what is multiplied (default fp32)"},
        {"steps", "N", CLIP_CLI_INT, &a.steps,
         "steps to time, after one that is not timed (default 3)", .least = 1, .most = 1e6},
        {"data", "DATA", CLIP_CLI_TEXT, &a.data,
         "a csv or tsv to take captions from (default: synthetic ones)"},
        {0},
    };
    cli->options = options;
    clip_cli_parse(cli, argc, argv);
    return measure(&a, profile, result, error);
}

static clip_status print_step(const struct clip_bench_step_result *r, bool json,
                              struct clip_error *error)
{
    if (!json) {
        printf("%.2f pairs/s, %.3f s per step\n", r->pairs_per_second,
               r->flops_per_step / r->flops_per_second);
        printf("%.1f of %.1f GF/s that this machine can do (%.0f %%)\n", r->flops_per_second / 1e9,
               r->peak_flops_per_second / 1e9,
               100 * r->flops_per_second / r->peak_flops_per_second);
        printf("%.0f MB at most, %.1f tokens per caption\n", (double)r->peak_rss_bytes / 1e6,
               r->tokens_per_caption);
        return CLIP_OK;
    }
    json_t *seconds = json_array();
    for (int64_t i = 0; i < r->steps; i++)
        clip_json_push(&seconds, clip_json_number(r->seconds[i]));
    json_t *value = json_pack(
        "{s:o, s:f, s:I, s:f, s:f, s:f, s:f}", "step_seconds", seconds, "pairs_per_second",
        r->pairs_per_second, "peak_rss_bytes", (json_int_t)r->peak_rss_bytes, "flops_per_step",
        r->flops_per_step, "flops_per_second", r->flops_per_second, "peak_flops_per_second",
        r->peak_flops_per_second, "tokens_per_caption", r->tokens_per_caption);
    clip_status status = clip_cli_print_json(value, error);
    json_decref(value);
    return status;
}

static int run_step(int argc, char **argv)
{
    struct clip_error error = {0};
    struct clip_bench_step_result result = {0};
    struct clip_cli cli = {
        .name = "clip_bench step",
        .summary = "Times a training step: forward, backward, clipping and update.",
        .example = "clip_bench step --config configs/small.ini --batch-size 128 --data train.tsv",
    };
    clip_status status = run(&cli, false, argc, argv, &result, &error);
    if (status == CLIP_OK) status = print_step(&result, cli.json, &error);
    free(result.seconds);
    return clip_cli_finish(&cli, status, &error);
}

static clip_status print_ops(const struct clip_bench_step_result *r, bool json,
                             struct clip_error *error)
{
    double total = 0;
    for (int64_t i = 0; i < r->steps; i++) total += r->seconds[i];
    json_t *rows = json_array();
    if (!json)
        printf("%-14s %8s %12s %12s %8s\n", "op", "calls", "forward s", "backward s", "share");
    for (int i = 0; i < r->profile.count; i++) {
        const struct clip_profile_row *row = &r->profile.rows[i];
        double n = (double)r->steps, share = (row->forward + row->backward) / total;
        if (!json)
            printf("%-14s %8.0f %12.4f %12.4f %7.1f%%\n", row->name, (double)row->calls / n,
                   row->forward / n, row->backward / n, 100 * share);
        clip_json_push(&rows, json_pack("{s:s, s:f, s:f, s:f, s:f}", "op", row->name, "calls",
                                        (double)row->calls / n, "forward_seconds", row->forward / n,
                                        "backward_seconds", row->backward / n, "share", share));
    }
    json_t *value = json_pack("{s:o, s:f, s:f, s:f}", "ops", rows, "step_seconds",
                              total / (double)r->steps, "flops_per_second", r->flops_per_second,
                              "peak_flops_per_second", r->peak_flops_per_second);
    clip_status status = json ? clip_cli_print_json(value, error) : CLIP_OK;
    json_decref(value);
    return status;
}

static int run_ops(int argc, char **argv)
{
    struct clip_error error = {0};
    struct clip_bench_step_result result = {0};
    struct clip_cli cli = {
        .name = "clip_bench ops",
        .summary = "Shows how much time of a training step each op takes.",
        .example = "clip_bench ops --config configs/small.ini --batch-size 128",
    };
    clip_status status = run(&cli, true, argc, argv, &result, &error);
    if (status == CLIP_OK) status = print_ops(&result, cli.json, &error);
    free(result.seconds);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- search ---- */

static clip_status print_search(const struct clip_bench_search_options *o,
                                const struct clip_bench_search_result *r, bool json,
                                struct clip_error *error)
{
    const char *precision = clip_index_precision_name(o->precision);
    if (!json) {
        printf("%s of %lld %s numbers: %.1f ms a query\n", CLIP_COUNT(o->rows, "row"),
               (long long)o->dim, precision, 1e3 * r->query_seconds);
        printf("reading them once: %.1f ms (%.1f GB/s); a query takes %.2f times as long\n",
               1e3 * r->read_seconds, r->bytes_per_second / 1e9, r->ratio);
        printf("recall@%lld: %.4f\n", (long long)o->top, r->recall);
        return CLIP_OK;
    }
    json_t *value = json_pack(
        "{s:I, s:I, s:s, s:b, s:f, s:f, s:f, s:f, s:f, s:f}", "rows", (json_int_t)o->rows, "dim",
        (json_int_t)o->dim, "precision", precision, "f32_kept", (int)o->exact, "query_seconds",
        r->query_seconds, "read_seconds", r->read_seconds, "ratio", r->ratio, "bytes", r->bytes,
        "bytes_per_second", r->bytes_per_second, "recall", r->recall);
    clip_status status = clip_cli_print_json(value, error);
    json_decref(value);
    return status;
}

static int run_search(int argc, char **argv)
{
    struct clip_bench_search_options o = {.rows = 1000000, .dim = 512, .queries = 9, .top = 10};
    bool no_f32 = false;
    const struct clip_cli_option options[] = {
        {"rows", "N", CLIP_CLI_INT, &o.rows, "rows of the index (default 1000000)", .least = 1,
         .most = 1e8},
        {"dim", "N", CLIP_CLI_INT, &o.dim, "numbers per row (default 512)", .least = 1,
         .most = 65536},
        {"precision", NULL, CLIP_CLI_CHOICE, &o.precision, .names = clip_index_precision_name,
         .help = "how rows are stored (default f32)"},
        {"no-f32", NULL, CLIP_CLI_FLAG, &no_f32, "do not put the best in order by f32 rows"},
        {"top", "N", CLIP_CLI_INT, &o.top, "results per query (default 10)", .least = 1,
         .most = 1e5},
        {"queries", "N", CLIP_CLI_INT, &o.queries, "queries to time (default 9)", .least = 1,
         .most = 1e5},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_bench search",
        .summary = "Times an exact query over random rows in memory, in turns with reading the "
                   "same rows once, and counts how many of the best rows the query finds.",
        .example = "clip_bench search --rows 1000000 --dim 512",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_bench_search_result result;
    clip_status status;
    o.exact = o.precision != CLIP_INDEX_F32 && !no_f32;
    CLIP_TRY(clip_bench_search(&o, &result, &error));
    CLIP_TRY(print_search(&o, &result, cli.json, &error));
out:
    return clip_cli_finish(&cli, status, &error);
}

int main(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"step", "times a training step", run_step},
        {"ops", "shows how much time of a step each op takes", run_ops},
        {"search", "times an exact query of an index", run_search},
        {"gemm", "times the matrix products of a step", clip_bench_run_gemm},
        {"embed", "times the embedding of images and texts", clip_bench_run_embed},
        {"loss", "times InfoNCE over a large batch", clip_bench_run_loss},
        {"loader", "times the preparation of training images", clip_bench_run_loader},
        {0},
    };
    return clip_cli_dispatch(
        "clip_bench", "Measures how fast each part is, beside the machine's own limit.",
        "clip_bench step --config configs/small.ini --batch-size 128", commands, argc, argv);
}
