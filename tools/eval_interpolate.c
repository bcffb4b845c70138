/* clip_eval interpolate: mixes of a model and its fine-tuned self, measured on both tasks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "eval/interpolate.h"
#include "tools/cli.h"
#include "tools/eval_commands.h"
#include "tools/model_options.h"

struct task_options {
    const char *data, *images, *classes, *templates;
};

struct open_task {
    struct clip_task task;
    struct clip_dataset *pairs;
    struct clip_class_list classes;
    struct clip_templates templates;
};

static clip_status open_task(struct open_task *t, const struct task_options *o,
                             const struct clip_dataset_options *set, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (o->data != NULL) {
        CLIP_TRY(clip_dataset_open(&t->pairs, o->data, set, error));
        t->task.pairs = t->pairs;
    } else if (o->images != NULL) {
        CLIP_TRY(clip_class_list_read(o->classes, &t->classes, error));
        CLIP_TRY(clip_templates_read(o->templates, &t->templates, error));
        t->task.images = o->images;
        t->task.classes = &t->classes;
        t->task.templates = &t->templates;
    }
out:
    return status;
}

static void close_task(struct open_task *t)
{
    clip_dataset_free(t->pairs);
    clip_class_list_release(&t->classes);
    clip_templates_release(&t->templates);
}

/* ---- alphas ---- */

static int by_alpha(const void *a, const void *b)
{
    double x = ((const struct clip_mix *)a)->alpha, y = ((const struct clip_mix *)b)->alpha;
    return (x > y) - (x < y);
}

struct mixes {
    struct clip_mix *items;
    int64_t count, capacity;
};

static clip_status add_alpha(struct mixes *m, double alpha, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < m->count; i++)
        if (fabs(m->items[i].alpha - alpha) < 1e-9) return CLIP_OK;
    if (m->count >= 1000)
        return clip_fail(error, CLIP_ERR_USAGE, "--alphas names more than 1,000 mixes");
    CLIP_TRY(clip_array_grow(&m->items, &m->capacity, m->count + 1, sizeof *m->items, error));
    m->items[m->count++] = (struct clip_mix){.alpha = alpha};
out:
    return status;
}

/* "0,0.25,1", where "0,0.1,...,1" counts on by the last difference. 0 is always there: what is
 * kept is kept of it. */
static clip_status read_alphas(struct mixes *m, const char *text, struct clip_error *error)
{
    clip_status status;
    double last = NAN, before = NAN;
    bool range = false;
    CLIP_TRY(add_alpha(m, 0, error));
    for (const char *p = text; *p != '\0';) {
        char *end;
        size_t n = strcspn(p, ",");
        bool dots = (n == 3 && strncmp(p, "...", 3) == 0) || (n == 3 && strncmp(p, "…", 3) == 0);
        double value = strtod(p, &end);
        if (dots && isfinite(before) && last > before) {
            range = true;
        } else if (dots || end != p + n || !(value >= 0 && value <= 1)) {
            return clip_fail(error, CLIP_ERR_USAGE,
                             "--alphas %s: \"%.*s\" is no share of B from 0 to 1; expected as in "
                             "0,0.25,0.5,1 or 0,0.1,...,1",
                             text, (int)n, p);
        } else {
            double step = last - before, from = last;
            for (int64_t k = 1; range && from + (double)k * step < value - 1e-9; k++)
                CLIP_TRY(add_alpha(m, from + (double)k * step, error));
            range = false;
            CLIP_TRY(add_alpha(m, value, error));
            before = last;
            last = value;
        }
        p += n + (p[n] == ',');
    }
    qsort(m->items, (size_t)m->count, sizeof *m->items, by_alpha);
out:
    return status;
}

/* ---- report ---- */

static json_t *score_object(const struct clip_task *task, const struct clip_task_score *s)
{
    json_t *out = json_object();
    if (task->pairs == NULL) {
        clip_json_set(&out, "acc1", clip_json_number(s->score));
        clip_json_set(&out, "acc5", clip_json_number(s->acc5));
        clip_json_set(&out, "mean_per_class_recall", clip_json_number(s->mean_per_class_recall));
        return out;
    }
    const struct {
        const char *key;
        double value;
    } values[] = {
        {"image_retrieval_recall@1", s->retrieval.image_retrieval.at_1},
        {"image_retrieval_recall@5", s->retrieval.image_retrieval.at_5},
        {"image_retrieval_recall@10", s->retrieval.image_retrieval.at_10},
        {"text_retrieval_recall@1", s->retrieval.text_retrieval.at_1},
        {"text_retrieval_recall@5", s->retrieval.text_retrieval.at_5},
        {"text_retrieval_recall@10", s->retrieval.text_retrieval.at_10},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        clip_json_set(&out, values[i].key, clip_json_number(values[i].value));
    return out;
}

struct report {
    const struct clip_task *fresh, *old;
    const struct mixes *mixes;
    int64_t chosen;
    double keep;
    bool by_hand;
};

static clip_status print_json(const struct report *r, struct clip_error *error)
{
    json_t *rows = json_array(), *out = json_object();
    for (int64_t i = 0; i < r->mixes->count; i++) {
        const struct clip_mix *m = &r->mixes->items[i];
        json_t *row = json_object();
        clip_json_set(&row, "alpha", clip_json_number(m->alpha));
        if (clip_task_is(r->fresh)) {
            clip_json_set(&row, "new", clip_json_number(m->fresh.score));
            clip_json_set(&row, "new_task", score_object(r->fresh, &m->fresh));
        }
        if (clip_task_is(r->old)) {
            clip_json_set(&row, "old", clip_json_number(m->old.score));
            clip_json_set(&row, "old_task", score_object(r->old, &m->old));
        }
        clip_json_push(&rows, row);
    }
    clip_json_set(&out, "results", rows);
    clip_json_set(&out, "new_metric", json_string(clip_task_metric(r->fresh)));
    clip_json_set(&out, "old_metric", json_string(clip_task_metric(r->old)));
    clip_json_set(&out, "keep", clip_json_number(r->keep));
    clip_json_set(&out, "chosen_by", json_string(r->by_hand ? "--choose" : "rule"));
    clip_json_set(&out, "alpha", clip_json_number(r->mixes->items[r->chosen].alpha));
    clip_status status = clip_cli_print_json(out, error);
    json_decref(out);
    return status;
}

static void print_score(const struct clip_task *task, double score, double first)
{
    if (!clip_task_is(task)) return;
    printf("  %10.1f %%  %+7.1f", 100 * score, 100 * (score - first));
}

static void print_table(const struct report *r)
{
    const struct clip_mix *first = &r->mixes->items[0];
    printf("alpha");
    if (clip_task_is(r->fresh)) printf("  %21s", "new task");
    if (clip_task_is(r->old)) printf("  %21s", "old task");
    putchar('\n');
    for (int64_t i = 0; i < r->mixes->count; i++) {
        const struct clip_mix *m = &r->mixes->items[i];
        printf("%-5.3g", m->alpha);
        print_score(r->fresh, m->fresh.score, first->fresh.score);
        print_score(r->old, m->old.score, first->old.score);
        printf("%s\n", i == r->chosen ? "  <- chosen" : "");
    }
    if (clip_task_is(r->fresh)) printf("new: %s", clip_task_metric(r->fresh));
    if (clip_task_is(r->fresh) && clip_task_is(r->old)) printf(", ");
    if (clip_task_is(r->old)) printf("old: %s", clip_task_metric(r->old));
    if (r->by_hand)
        printf("; chosen by --choose\n");
    else if (clip_task_is(r->old) && clip_task_is(r->fresh))
        printf("; chosen: the best new one that keeps %g %% of the old\n", 100 * r->keep);
    else
        printf("; chosen: the best\n");
}

/* ---- the command ---- */

struct arguments {
    struct clip_cli_list models;
    const char *alphas, *output, *chart;
    enum clip_weights weights;
    struct task_options fresh, old;
    struct clip_dataset_options set;
    double keep, choose;
};

/* Without --old-..., --data is the new task and --images the old one. */
static void share_out(struct arguments *a)
{
    if (a->old.data != NULL || a->old.images != NULL || a->fresh.data == NULL ||
        a->fresh.images == NULL)
        return;
    a->old = a->fresh;
    a->old.data = NULL;
    a->fresh.images = NULL;
}

static void check_usage(struct arguments *a, struct clip_cli *cli)
{
    if (a->models.count + cli->plain.count != 2)
        clip_cli_wrong_usage(cli, "give two models: the one before and the one after fine-tuning, "
                                  "as in --model A --model B");
    share_out(a);
    const struct task_options *tasks[] = {&a->fresh, &a->old};
    for (int i = 0; i < 2; i++) {
        const char *prefix = i == 0 ? "" : "old-";
        if (tasks[i]->images != NULL && (tasks[i]->classes == NULL || tasks[i]->templates == NULL))
            clip_cli_wrong_usage(cli, "--%simages needs --%sclasses and --%stemplates beside it",
                                 prefix, prefix, prefix);
        if (tasks[i]->data != NULL && tasks[i]->images != NULL)
            clip_cli_wrong_usage(cli, "give one of --%sdata and --%simages for a task", prefix,
                                 prefix);
    }
    if (a->fresh.data == NULL && a->fresh.images == NULL && a->old.data == NULL &&
        a->old.images == NULL && isnan(a->choose))
        clip_cli_wrong_usage(cli, "give a task to measure: --data or --images, and --old-data or "
                                  "--old-images");
    if (a->chart != NULL && ((a->fresh.data == NULL && a->fresh.images == NULL) ||
                             (a->old.data == NULL && a->old.images == NULL)))
        clip_cli_wrong_usage(cli, "--chart draws two tasks against each other; give both");
}

static clip_status run(struct arguments *a, const struct clip_cli *cli, struct clip_error *error)
{
    clip_status status;
    struct clip_model_file *files[2] = {NULL, NULL};
    struct open_task fresh = {0}, old = {0};
    struct mixes mixes = {0};
    struct report r = {&fresh.task, &old.task, &mixes, 0, a->keep, !isnan(a->choose)};
    const struct clip_model_file_options open = {.weights = a->weights, .say = !cli->quiet};
    CLIP_TRY(read_alphas(&mixes, a->alphas, error));
    if (r.by_hand) CLIP_TRY(add_alpha(&mixes, a->choose, error));
    qsort(mixes.items, (size_t)mixes.count, sizeof *mixes.items, by_alpha);
    for (int64_t i = 0; i < 2; i++) {
        int64_t listed = a->models.count;
        const char *name = i < listed ? a->models.items[i] : cli->plain.items[i - listed];
        CLIP_TRY(clip_model_file_open(&files[i], name, &open, error));
    }
    CLIP_TRY(clip_mix_check(files[0], files[1], error));
    CLIP_TRY(open_task(&fresh, &a->fresh, &a->set, error));
    CLIP_TRY(open_task(&old, &a->old, &a->set, error));
    const struct clip_mixing mixing = {files[0], files[1], r.fresh, r.old, cli->quiet};
    if (clip_task_is(r.fresh) || clip_task_is(r.old))
        CLIP_TRY(clip_mix_run(&mixing, mixes.items, mixes.count, error));
    r.chosen = clip_mix_choose(mixes.items, mixes.count, a->keep);
    for (int64_t i = 0; r.by_hand && i < mixes.count; i++)
        if (fabs(mixes.items[i].alpha - a->choose) < 1e-9) r.chosen = i;
    if (a->output != NULL)
        CLIP_TRY(clip_mix_write(files[0], files[1], mixes.items[r.chosen].alpha, a->output, error));
    const struct clip_mix_chart_options chart = {r.chosen, a->keep, clip_task_metric(r.fresh),
                                                 clip_task_metric(r.old)};
    if (a->chart != NULL)
        CLIP_TRY(clip_mix_chart(mixes.items, mixes.count, &chart, a->chart, error));
    if (cli->json)
        CLIP_TRY(print_json(&r, error));
    else
        print_table(&r);
out:
    close_task(&fresh);
    close_task(&old);
    free(mixes.items);
    clip_model_file_free(files[0]);
    clip_model_file_free(files[1]);
    return status;
}

int clip_eval_interpolate(int argc, char **argv)
{
    struct arguments a = {.alphas = "0,0.1,...,1", .keep = 0.8, .choose = NAN};
    const struct clip_cli_option options[] = {
        {"model", "MODEL", CLIP_CLI_LIST, &a.models,
         .help = "give it twice: before fine-tuning (A), and after (B)"},
        {"alphas", "LIST", CLIP_CLI_TEXT, &a.alphas,
         .help = "shares of B to try (default 0,0.1,...,1)"},
        {"data", "DATA", CLIP_CLI_TEXT, &a.fresh.data, .help = "the new task: pairs to retrieve"},
        {"images", "FOLDER|TAR|H5", CLIP_CLI_TEXT, &a.fresh.images,
         .help = "or class folders to classify (beside --data: the old task)"},
        {"classes", "FILE", CLIP_CLI_TEXT, &a.fresh.classes, .help = "their class file"},
        {"templates", "FILE", CLIP_CLI_TEXT, &a.fresh.templates, .help = "their template file"},
        {"old-data", "DATA", CLIP_CLI_TEXT, &a.old.data, .help = "the old task: pairs to retrieve"},
        {"old-images", "FOLDER|TAR|H5", CLIP_CLI_TEXT, &a.old.images,
         .help = "or class folders to classify"},
        {"old-classes", "FILE", CLIP_CLI_TEXT, &a.old.classes, .help = "their class file"},
        {"old-templates", "FILE", CLIP_CLI_TEXT, &a.old.templates, .help = "their template file"},
        {"images-root", "FOLDER", CLIP_CLI_TEXT, &a.set.images_root, .unlisted = true},
        {"csv-separator", "C", CLIP_CLI_TEXT, &a.set.csv_separator, .unlisted = true},
        {"csv-img-key", "NAME", CLIP_CLI_TEXT, &a.set.csv_img_key, .unlisted = true},
        {"csv-caption-key", "NAME", CLIP_CLI_TEXT, &a.set.csv_caption_key, .unlisted = true},
        {"keep", "SHARE", CLIP_CLI_REAL, &a.keep, .most = 1,
         .help = "smallest share of A's old score to keep (default 0.8)"},
        {"choose", "ALPHA", CLIP_CLI_REAL, &a.choose, .most = 1,
         .help = "choose this mix, not the best new score that --keep allows"},
        {"output", "FILE", CLIP_CLI_TEXT, &a.output,
         .help = "write the chosen mix: .h5 or .safetensors"},
        {"chart", "FILE.svg", CLIP_CLI_TEXT, &a.chart,
         .help = "draw the new score against the old one"},
        {"picture", "FILE.svg", CLIP_CLI_TEXT, &a.chart, .unlisted = true}, /* its old name */
        WEIGHTS_OPTION(a),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval interpolate",
        .arguments = "[A B]",
        .summary =
            "Mixes the weights of a model before and after fine-tuning (WiSE-FT) and measures what "
            "is gained and what is forgotten. Columns are named as for clip_eval retrieval.",
        .example = "clip_eval interpolate --model before --model after --data val.csv \\\n      "
                   "--old-data old.csv --output mix.h5",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    check_usage(&a, &cli);
    struct clip_error error = {0};
    clip_status status = run(&a, &cli, &error);
    free(a.models.items);
    return clip_cli_finish(&cli, status, &error);
}
