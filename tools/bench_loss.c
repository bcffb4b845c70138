#include "bench/bench_loss.h"
#include "tools/bench.h"
#include "tools/cli.h"

static clip_status print(const struct clip_bench_loss_result *r, bool json,
                         struct clip_error *error)
{
    double peak = r->peak_flops_per_second, gemm = r->gemm_flops_per_second;
    if (!json) {
        printf("forward %.3f s, backward %.3f s\n", r->forward_seconds, r->backward_seconds);
        printf("%.1f GF/s: %.0f %% of its products alone (%.1f), %.0f %% of the peak (%.1f)\n",
               r->flops_per_second / 1e9, 100 * r->flops_per_second / gemm, gemm / 1e9,
               100 * r->flops_per_second / peak, peak / 1e9);
        printf("%.0f MB of the process at most, %.1f MB of them to work in\n",
               (double)r->peak_rss_bytes / 1e6, (double)r->workspace_bytes / 1e6);
        return CLIP_OK;
    }
    json_t *value =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "forward_seconds", r->forward_seconds,
                  "backward_seconds", r->backward_seconds, "flops_per_second", r->flops_per_second,
                  "gemm_flops_per_second", gemm, "peak_flops_per_second", peak, "peak_rss_bytes",
                  (json_int_t)r->peak_rss_bytes, "workspace_bytes", (json_int_t)r->workspace_bytes);
    clip_status status = clip_cli_print_json(value, error);
    json_decref(value);
    return status;
}

int clip_bench_run_loss(int argc, char **argv)
{
    int64_t pairs = 32768, dim = 512, runs = 1;
    const struct clip_cli_option options[] = {
        {"pairs", "N", CLIP_CLI_INT, &pairs, "pairs in the batch (default 32768)", .least = 1,
         .most = 1e7},
        {"dim", "D", CLIP_CLI_INT, &dim, "width of an embedding (default 512)", .least = 1,
         .most = 1e5},
        {"runs", "N", CLIP_CLI_INT, &runs, "runs to time, after one that is not timed (default 1)",
         .least = 1, .most = 64},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_bench loss",
        .summary = "Times InfoNCE over a large batch, forward and backward, beside its matrix "
                   "products alone.",
        .example = "clip_bench loss --pairs 8192",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_bench_loss_result result;
    clip_cli_parse(&cli, argc, argv);
    clip_status status = clip_bench_loss(pairs, dim, runs, &result, &error);
    if (status == CLIP_OK) status = print(&result, cli.json, &error);
    return clip_cli_finish(&cli, status, &error);
}
