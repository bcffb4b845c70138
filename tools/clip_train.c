/* clip_train: trains or fine-tunes a CLIP model from a configuration file. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/memory.h"
#include "tools/cli.h"
#include "train/report.h"
#include "train/trainer.h"

struct arguments {
    const char *config, *init, *output;
    struct clip_cli_list set, compare; /* set: pairs "set", "train.seed=1" or "seed", "1" */
    bool resume, force, dry_run, help_config, help_config_markdown;
};

/* runs/NAME, NAME the configuration file's without its suffix. */
static clip_status choose_output(struct clip_config *config, const struct arguments *a,
                                 struct clip_error *error)
{
    char name[256];
    if (a->output != NULL) return clip_config_put(config, "train", "output", a->output, error);
    if (config->train.output[0] != '\0') return CLIP_OK;
    snprintf(name, sizeof name, "runs/%.200s", clip_path_name(a->config));
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot > name + strlen("runs/")) *dot = '\0';
    return clip_config_put(config, "train", "output", name, error);
}

static clip_status read_config(struct clip_config *config, const struct arguments *a,
                               struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(clip_config_init(config, error));
    CLIP_TRY(clip_config_read(config, a->config, error));
    for (int64_t i = 0; i < a->set.count; i += 2) {
        const char *name = a->set.items[i], *value = a->set.items[i + 1];
        CLIP_TRY(strcmp(name, "set") == 0 ? clip_config_set(config, value, error)
                                          : clip_config_set_option(config, name, value, error));
    }
    CLIP_TRY(choose_output(config, a, error));
out:
    return status;
}

static clip_status print_forecast(const struct clip_train_forecast *f, bool json,
                                  struct clip_error *error)
{
    if (!json) {
        printf("samples              %lld\n", (long long)f->samples);
        printf("steps                %lld (%lld per epoch)\n", (long long)f->steps,
               (long long)f->steps_per_epoch);
        printf("parameters           %lld, %lld trained\n", (long long)f->parameters,
               (long long)f->trained);
        printf("tokens per caption   %.1f\n", f->tokens_per_caption);
        printf("FLOPs per step       %.1f G\n", f->flops_per_step / 1e9);
        printf("forecast peak memory %.0f MB: %.0f weights, gradients and moments, %.0f "
               "activations, %.0f the rest\n",
               (double)f->peak_bytes / 1e6, (double)f->weights_bytes / 1e6,
               (double)f->activation_bytes / 1e6,
               (double)(f->peak_bytes - f->weights_bytes - f->activation_bytes) / 1e6);
        return CLIP_OK;
    }
    json_t *value = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I}", "samples", (json_int_t)f->samples,
        "steps", (json_int_t)f->steps, "steps_per_epoch", (json_int_t)f->steps_per_epoch,
        "parameters", (json_int_t)f->parameters, "trained_parameters", (json_int_t)f->trained,
        "tokens_per_caption", f->tokens_per_caption, "flops_per_step", f->flops_per_step,
        "weights_bytes", (json_int_t)f->weights_bytes, "activation_bytes",
        (json_int_t)f->activation_bytes, "peak_rss_bytes", (json_int_t)f->peak_bytes);
    clip_status status = clip_cli_print_json(value, error);
    json_decref(value);
    return status;
}

static clip_status print_summary(const struct clip_config *config,
                                 const struct clip_train_summary *s, const struct clip_cli *cli,
                                 struct clip_error *error)
{
    bool measured = isfinite(s->best) && s->best_step > 0;
    if (cli->json) {
        json_t *value =
            json_pack("{s:s, s:I, s:I, s:I, s:b, s:b, s:I}", "output", config->train.output, "step",
                      (json_int_t)s->step, "steps", (json_int_t)s->steps, "samples",
                      (json_int_t)s->samples, "was_finished", s->was_finished, "stopped_early",
                      s->stopped_early, "peak_rss_bytes", (json_int_t)s->peak_rss_bytes);
        if (measured) {
            clip_json_set(&value, "best_metric", json_string(s->metric));
            clip_json_set(&value, "best", clip_json_number(s->best));
            clip_json_set(&value, "best_step", json_integer(s->best_step));
        }
        clip_status status = clip_cli_print_json(value, error);
        json_decref(value);
        return status;
    }
    printf("%s: %s after %s, %s\n", CLIP_SHOWN(config->train.output),
           s->was_finished    ? "was finished already"
           : s->stopped_early ? "stopped early"
                              : "finished",
           CLIP_COUNT(s->step, "step"), CLIP_COUNT(s->samples, "pair"));
    if (measured)
        printf("best %s %.4f at step %lld: %s/best.h5\n", s->metric, s->best,
               (long long)s->best_step, CLIP_SHOWN(config->train.output));
    printf("last checkpoint: %s/last.h5\n", CLIP_SHOWN(config->train.output));
    return CLIP_OK;
}

static int compare(struct arguments *a, struct clip_cli *cli)
{
    struct clip_error error = {0};
    const char *path = a->output != NULL ? a->output : "compare.html";
    clip_status status = clip_report_compare(a->compare.items, a->compare.count, path, &error);
    if (status == CLIP_OK && cli->json) {
        json_t *value =
            json_pack("{s:s, s:I}", "output", path, "runs", (json_int_t)a->compare.count);
        status = clip_cli_print_json(value, &error);
        json_decref(value);
    } else if (status == CLIP_OK) {
        printf("%s: %s\n", CLIP_SHOWN(path), CLIP_COUNT(a->compare.count, "run"));
    }
    free(a->set.items);
    free(a->compare.items);
    return clip_cli_finish(cli, status, &error);
}

/* ---- the command line ---- */

enum { OWN = 10, MOST_KEYS = 140 };

struct command_line {
    struct clip_cli_option options[OWN + MOST_KEYS + 1];
    struct clip_config_option keys[MOST_KEYS];
};

/* The program's own options, and behind them each key of the configuration. */
static void list_options(struct command_line *line, struct arguments *a)
{
    const struct clip_cli_option own[OWN] = {
        {"config", "FILE", CLIP_CLI_TEXT, &a->config, "the configuration, an INI file"},
        {"set", "SECTION.KEY=VALUE", CLIP_CLI_PAIRS, &a->set,
         "set a key of the configuration (may be repeated)"},
        {"init", "MODEL", CLIP_CLI_TEXT, &a->init, "start from this model's weights (fine-tuning)"},
        {"resume", NULL, CLIP_CLI_FLAG, &a->resume, "continue from the newest complete checkpoint"},
        {"force", NULL, CLIP_CLI_FLAG, &a->force,
         "overwrite a run; with --resume: continue although the configuration has changed"},
        {"output", "DIR", CLIP_CLI_TEXT, &a->output,
         "the run's folder (default: runs/NAME, by the configuration's file name)"},
        {"compare", "RUN...", CLIP_CLI_MANY, &a->compare,
         "only compare runs on one page (--output, default compare.html)"},
        {"dry-run", NULL, CLIP_CLI_FLAG, &a->dry_run,
         "only show parameters, FLOPs and a forecast of the memory"},
        {"help-config", NULL, CLIP_CLI_FLAG, &a->help_config,
         "list every key of the configuration"},
        {"help-config-markdown", NULL, CLIP_CLI_FLAG, &a->help_config_markdown,
         "the same as Markdown tables"},
    };
    memcpy(line->options, own, sizeof own);
    int n = OWN, count = clip_config_option_count();
    assert(count <= MOST_KEYS);
    for (int i = 0; i < count; i++) {
        line->keys[i] = clip_config_option(i);
        if (strcmp(line->keys[i].name, "output") == 0) continue; /* the program's own */
        line->options[n++] = (struct clip_cli_option){
            .name = line->keys[i].name,
            .value = line->keys[i].flag ? NULL : "VALUE",
            .type = CLIP_CLI_PAIRS,
            .target = &a->set,
            .help = "",
            .unlisted = true,
            .names = line->keys[i].names,
        };
    }
    line->options[n] = (struct clip_cli_option){0};
}

/* Options of open_clip's trainer that are called otherwise here. */
static const struct clip_cli_hint hints[] = {
    {"model", NULL, "--preset vit-b-32 for the sizes, and --init MODEL for weights to start from"},
    {"pretrained", NULL, "--init MODEL"},
    {"accum-freq", NULL,
     "--micro-batch N, the samples that are computed at once; --batch-size is "
     "the whole batch"},
    {"siglip", NULL, "--loss siglip"},
    {"grad-checkpointing", NULL, "--recompute block"},
    {"imagenet-val", NULL,
     "--set zeroshot.images=FOLDER, zeroshot.classes=FILE and "
     "zeroshot.templates=FILE"},
    {"report-to", NULL,
     "--tensorboard true; report.html, log.jsonl and metrics.jsonl are always "
     "written"},
    {"precision", "amp", "--precision bf16"},
    {"precision", "pure_bf16", "--precision bf16"},
    {"resume", "latest", "--resume alone, which takes the newest complete checkpoint of --output"},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct command_line line;
    list_options(&line, &a);
    struct clip_cli cli = {
        .name = "clip_train",
        .summary = "Trains a CLIP model on pairs of images and captions, or fine-tunes one. Every "
                   "key of the configuration is an option too, as in --batch-size 256.",
        .example = "clip_train --config configs/small.ini --batch-size 256 --precision bf16",
        .options = line.options,
        .hints = hints,
    };
    clip_cli_parse(&cli, argc, argv);
    if (a.help_config || a.help_config_markdown) {
        clip_config_help(stdout, a.help_config_markdown);
        return clip_cli_finish(&cli, CLIP_OK, &(struct clip_error){0});
    }
    if (a.compare.count > 0) return compare(&a, &cli);
    if (a.config == NULL) clip_cli_wrong_usage(&cli, "--config FILE is needed");
    struct clip_error error = {0};
    struct clip_config config = {0};
    struct clip_train_options how = {
        .init = a.init, .resume = a.resume, .force = a.force, .quiet = cli.quiet};
    clip_status status = clip_comm_open(&how.comm, &error);
    cli.silent = clip_comm_rank(how.comm) > 0;
    cli.quiet |= cli.silent;
    how.quiet |= cli.silent;
    if (status == CLIP_OK) status = read_config(&config, &a, &error);
    status = clip_comm_agree(how.comm, status, &error);
    if (status == CLIP_OK && a.dry_run) {
        struct clip_train_forecast forecast;
        status = clip_train_forecast(&config, &how, &forecast, &error);
        status = clip_comm_agree(how.comm, status, &error);
        if (status == CLIP_OK && !cli.silent) status = print_forecast(&forecast, cli.json, &error);
    } else if (status == CLIP_OK) {
        struct clip_train_summary summary = {0};
        char *command = clip_cli_command(&cli, argc, argv);
        how.command = command;
        how.stop = clip_cli_catch_signals();
        status = clip_train_run(&config, &how, &summary, &error);
        free(command);
        if (status == CLIP_OK && !cli.silent)
            status = print_summary(&config, &summary, &cli, &error);
        if (status == CLIP_OK && summary.passed_over > 0)
            status = clip_fail(&error, CLIP_ERR_IO,
                               "%lld of what lies in the data's folders could not be read and was "
                               "passed over, as was warned of; the run is done with the rest",
                               (long long)summary.passed_over);
    }
    clip_comm_close(how.comm);
    clip_config_release(&config);
    free(a.set.items);
    return clip_cli_finish(&cli, status, &error);
}
