/* clip_eval zeroshot: accuracy at naming images by class names alone, class by class, and which
 * classes are taken for which. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/count.h"
#include "core/escape.h"
#include "eval/template_sets.h"
#include "eval/zeroshot.h"
#include "tools/cli.h"
#include "tools/columns.h"
#include "tools/eval_commands.h"
#include "tools/model_options.h"

enum { TABLE = 16, LIST = 20 }; /* classes of a whole table; confusions of a list */

struct confusion { /* images of class `label` that were taken for `taken` */
    int64_t label, taken, n;
};

struct confusions {
    struct confusion *items; /* not those that are right; the most frequent first */
    int64_t count;
};

static int by_classes(const void *a, const void *b)
{
    const struct confusion *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return (x->taken > y->taken) - (x->taken < y->taken);
}

static int by_number(const void *a, const void *b)
{
    const struct confusion *x = a, *y = b;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return by_classes(a, b);
}

static clip_status count_confusions(const struct clip_zeroshot_result *r, struct confusions *out,
                                    struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t wrong = 0;
    CLIP_NEW(out->items, r->n);
    for (int64_t i = 0; i < r->n; i++)
        if (r->labels[i] != r->predictions[i])
            out->items[wrong++] = (struct confusion){r->labels[i], r->predictions[i], 1};
    qsort(out->items, (size_t)wrong, sizeof *out->items, by_classes);
    for (int64_t i = 0; i < wrong; i++) {
        struct confusion *last = &out->items[out->count > 0 ? out->count - 1 : 0];
        if (out->count > 0 && by_classes(last, &out->items[i]) == 0)
            last->n++;
        else
            out->items[out->count++] = out->items[i];
    }
    qsort(out->items, (size_t)out->count, sizeof *out->items, by_number);
out:
    return status;
}

static void interval_of(const struct clip_zeroshot_result *r, int64_t c, double *low, double *high)
{
    int64_t hits = r->count[c] > 0 ? llround(r->recall[c] * (double)r->count[c]) : 0;
    clip_zeroshot_interval(hits, r->count[c], low, high);
}

/* Classes down, what they were taken for across. */
static void print_confusion_table(const struct clip_class_list *classes,
                                  const struct clip_zeroshot_result *r)
{
    int width = clip_columns_widest((const char *const *)classes->names, classes->count, 40);
    printf("\n      ");
    clip_columns_print("taken for", width);
    for (int64_t c = 0; c < classes->count; c++) {
        char head[32];
        snprintf(head, sizeof head, "[%lld]", (long long)c + 1);
        printf(" %7s", head);
    }
    putchar('\n');
    for (int64_t c = 0; c < classes->count; c++) {
        printf(" %3lld  ", (long long)c + 1);
        clip_columns_print(classes->names[c], width);
        for (int64_t taken = 0; taken < classes->count; taken++) {
            int64_t n = 0;
            for (int64_t i = 0; i < r->n; i++) n += r->labels[i] == c && r->predictions[i] == taken;
            if (n > 0)
                printf(" %7lld", (long long)n);
            else
                printf("       .");
        }
        putchar('\n');
    }
}

static void print_confusions(const struct clip_class_list *classes,
                             const struct clip_zeroshot_result *r, const struct confusions *all)
{
    if (classes->count <= TABLE) {
        print_confusion_table(classes, r);
        return;
    }
    printf("\nmost often taken for another:\n");
    for (int64_t i = 0; i < all->count && i < LIST; i++)
        printf("  %5lld  %s, taken for %s\n", (long long)all->items[i].n,
               CLIP_SHOWN(classes->names[all->items[i].label]),
               CLIP_SHOWN(classes->names[all->items[i].taken]));
}

static void print_result(const struct clip_class_list *classes,
                         const struct clip_zeroshot_result *r)
{
    double low, high;
    int width = clip_columns_widest((const char *const *)classes->names, classes->count, 60);
    for (int64_t c = 0; c < classes->count; c++) {
        if (r->count[c] == 0) continue;
        interval_of(r, c, &low, &high);
        printf("  ");
        clip_columns_print(classes->names[c], width);
        printf("  %5.1f %%  (%.1f to %.1f)  of %lld\n", 100 * r->recall[c], 100 * low, 100 * high,
               (long long)r->count[c]);
    }
    clip_zeroshot_interval(llround(r->acc1 * (double)r->n), r->n, &low, &high);
    printf("zero-shot accuracy: %.1f %% (%s, %s)\n", 100 * r->acc1, CLIP_COUNT(r->classes, "class"),
           CLIP_COUNT(r->n, "image"));
    printf("95 %% interval: %.1f to %.1f %%\n", 100 * low, 100 * high);
    if (!isnan(r->acc5)) printf("among the best five: %.1f %%\n", 100 * r->acc5);
    printf("mean per-class recall: %.1f %%\n", 100 * r->mean_per_class_recall);
}

static clip_status print_json(const struct clip_class_list *classes,
                              const struct clip_zeroshot_result *r, const struct confusions *all,
                              struct clip_error *error)
{
    double low, high;
    json_t *result = json_object(), *per_class = json_array(), *confusion = json_array();
    for (int64_t c = 0; c < classes->count; c++) {
        interval_of(r, c, &low, &high);
        clip_json_push(&per_class,
                       json_pack("{s:s, s:I, s:o, s:f, s:f}", "class", classes->names[c], "n",
                                 (json_int_t)r->count[c], "recall", clip_json_number(r->recall[c]),
                                 "low", low, "high", high));
    }
    for (int64_t i = 0; all != NULL && i < all->count; i++)
        clip_json_push(&confusion,
                       json_pack("{s:s, s:s, s:I}", "class", classes->names[all->items[i].label],
                                 "taken_for", classes->names[all->items[i].taken], "n",
                                 (json_int_t)all->items[i].n));
    clip_zeroshot_interval(llround(r->acc1 * (double)r->n), r->n, &low, &high);
    clip_json_set(&result, "acc1", clip_json_number(r->acc1));
    clip_json_set(&result, "acc1_interval", json_pack("[f, f]", low, high));
    clip_json_set(&result, "acc5", clip_json_number(r->acc5));
    clip_json_set(&result, "mean_per_class_recall", clip_json_number(r->mean_per_class_recall));
    clip_json_set(&result, "n", json_integer(r->n));
    clip_json_set(&result, "skipped", json_integer(r->skipped));
    clip_json_set(&result, "per_class", per_class);
    if (all != NULL)
        clip_json_set(&result, "confusion", confusion);
    else
        json_decref(confusion);
    clip_status status = clip_cli_print_json(result, error);
    json_decref(result);
    return status;
}

/* The files that CLIP_benchmark writes beside its shards, where none is named. */
static clip_status find_files(const char *images, const char **classes, const char **templates,
                              char *found[2], struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (*classes == NULL) {
        CLIP_TRY(clip_dataset_companion(images, "classnames.txt", &found[0], error));
        *classes = found[0];
    }
    if (templates != NULL && *templates == NULL) {
        CLIP_TRY(clip_dataset_companion(images, "zeroshot_classification_templates.txt", &found[1],
                                        error));
        *templates = found[1];
    }
out:
    return status;
}

int clip_eval_zeroshot(int argc, char **argv)
{
    struct clip_model_options model = {0};
    const char *images = NULL, *class_file = NULL, *template_file = NULL;
    int template_set = -1;
    bool confusion = false;
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        UPRIGHT_OPTIONS(model, "", " (default)"),
        {"images", "FOLDER|TAR|H5", CLIP_CLI_TEXT, &images,
         .help = "class folders: a folder, a tar of them, or packed; or shards with KEY.cls",
         .required = true},
        {"classes", "FILE", CLIP_CLI_TEXT, &class_file,
         .help = "one class per line: its name (or several: cat|kitten), then after a tab its "
                 "folder if that differs (default: classnames.txt beside the shards)"},
        {"templates", "FILE", CLIP_CLI_TEXT, &template_file,
         .help = "one template per line, as in: a photo of a {} (default: "
                 "zeroshot_classification_templates.txt beside the shards)"},
        {"template-set", NULL, CLIP_CLI_CHOICE, &template_set, .names = clip_template_set_name,
         .help = "built-in templates instead of a file"},
        {"confusion", NULL, CLIP_CLI_FLAG, &confusion,
         .help = "also tell which classes are mistaken for which"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval zeroshot",
        .summary = "Classifies images by the names of their classes alone and counts how often "
                   "that is right, as open_clip counts.",
        .example = "clip_eval zeroshot --model runs/small --images test.tar \\\n      --classes "
                   "classes.txt --templates templates.txt",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    char *found[2] = {NULL, NULL};
    struct clip_embedder *e = NULL;
    struct clip_class_list classes = {0};
    struct clip_templates templates = {0};
    struct clip_zeroshot_result result = {0};
    struct confusions all = {0};
    clip_status status;
    CLIP_TRY(
        find_files(images, &class_file, template_set >= 0 ? NULL : &template_file, found, &error));
    if ((template_file != NULL) == (template_set >= 0))
        clip_cli_wrong_usage(&cli, "give --templates FILE or --template-set NAME");
    if (class_file == NULL) clip_cli_wrong_usage(&cli, "give --classes FILE");
    CLIP_TRY(clip_model_options_open(&e, &cli, &model, NULL, &error));
    CLIP_TRY(clip_class_list_read(class_file, &classes, &error));
    CLIP_TRY(template_file != NULL ? clip_templates_read(template_file, &templates, &error)
                                   : clip_template_set(template_set, &templates, &error));
    CLIP_TRY(clip_zeroshot_run(e, images, &classes, &templates, cli.quiet, &result, &error));
    if (confusion) CLIP_TRY(count_confusions(&result, &all, &error));
    if (cli.json) {
        CLIP_TRY(print_json(&classes, &result, confusion ? &all : NULL, &error));
    } else {
        print_result(&classes, &result);
        if (confusion) print_confusions(&classes, &result, &all);
    }
out:
    free(found[0]);
    free(found[1]);
    free(all.items);
    clip_zeroshot_release(&result);
    clip_templates_release(&templates);
    clip_class_list_release(&classes);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}
