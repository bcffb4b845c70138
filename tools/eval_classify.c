/* clip_eval classify: which of some labels fits an image, or each of thousands. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/progress.h"
#include "data/image/image.h"
#include "embed/images.h"
#include "eval/template_sets.h"
#include "eval/zeroshot.h"
#include "tools/cli.h"
#include "tools/columns.h"
#include "tools/eval_commands.h"
#include "tools/model_options.h"

static const char NONE[] = "(none of these)";

clip_status clip_eval_images(const struct clip_embedder *embedder, struct clip_cli_list *paths,
                             float *rows, int64_t *bad, struct clip_error *error)
{
    clip_status status;
    int64_t n = paths->count, dim = clip_embedder_dim(embedder), kept = 0;
    struct clip_image_source *images = NULL;
    struct clip_error *failures = NULL;
    CLIP_NEW(images, n);
    CLIP_NEW(failures, n);
    for (int64_t i = 0; i < n; i++) images[i].path = paths->items[i];
    CLIP_TRY(
        clip_embedder_images(embedder, images, n, CLIP_UNIT, rows, n > 1 ? failures : NULL, error));
    for (int64_t i = 0; i < n; i++) {
        if (failures[i].status != CLIP_OK) {
            clip_warn("skipped: %s", failures[i].message);
            continue;
        }
        memmove(rows + kept * dim, rows + i * dim, (size_t)dim * sizeof *rows);
        paths->items[kept++] = paths->items[i];
    }
    paths->count = kept;
    *bad += n - kept;
out:
    free(images);
    free(failures);
    return status;
}

clip_status clip_eval_skipped(int64_t bad, struct clip_error *error)
{
    if (bad == 0) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA, "%s could not be read and %s skipped",
                     CLIP_COUNT(bad, "image or folder"), clip_counted_word(bad, "was", "were"));
}

struct classifying {
    struct clip_model_options model;
    struct clip_cli_list files, sets; /* --image and --images */
    const char *template, *template_file, *label_file;
    int template_set; /* -1: none */
    double none, none_similarity;
    /* what comes of it */
    struct clip_templates templates;
    struct clip_class_list list;
    struct clip_cli_list labels; /* as given: "cat|kitten" */
    char **called;               /* [m] "cat" */
    struct clip_images images;
    const char **names; /* [n] */
    float *rows, *classifier;
    double *cosines, *p; /* [n,m] */
    int64_t *best;       /* [n] a label's number, -1 for none */
    int64_t n, m, bad;
};

static void release(struct classifying *c)
{
    for (int64_t j = 0; c->called != NULL && j < c->m; j++) free(c->called[j]);
    free(c->called);
    free(c->names);
    free(c->rows);
    free(c->classifier);
    free(c->cosines);
    free(c->p);
    free(c->best);
    free(c->labels.items);
    free(c->files.items);
    free(c->sets.items);
    clip_images_release(&c->images);
    clip_class_list_release(&c->list);
    clip_templates_release(&c->templates);
}

/* ---- images and labels, as given ---- */

static clip_status add_item(struct clip_cli_list *list, const char *item, struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items, error);
    if (status == CLIP_OK) list->items[list->count++] = item;
    return status;
}

/* "--image a.png b.png cat dog": plain arguments in front that are image files are images, the
 * others labels. */
static clip_status split_arguments(struct classifying *c, const struct clip_cli *cli,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t at = 0;
    for (; at < cli->plain.count && clip_image_has_suffix(cli->plain.items[at]); at++)
        CLIP_TRY(add_item(&c->files, cli->plain.items[at], error));
    for (; at < cli->plain.count; at++) CLIP_TRY(add_item(&c->labels, cli->plain.items[at], error));
out:
    return status;
}

static clip_status read_words(struct classifying *c, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer called = {0};
    if (c->label_file != NULL) {
        CLIP_TRY(clip_class_list_read(c->label_file, &c->list, error));
        for (int64_t i = 0; i < c->list.count; i++)
            CLIP_TRY(add_item(&c->labels, c->list.names[i], error));
    }
    c->m = c->labels.count;
    CLIP_NEW(c->called, c->m);
    for (int64_t j = 0; j < c->m; j++) {
        called.size = 0;
        CLIP_TRY(clip_zeroshot_called(c->labels.items[j], &called, error));
        c->called[j] = clip_string_copy_n(called.data, called.size, error);
        if (c->called[j] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
    CLIP_TRY(c->template_file != NULL ? clip_templates_read(c->template_file, &c->templates, error)
             : c->template_set >= 0   ? clip_template_set(c->template_set, &c->templates, error)
                                      : clip_template_one(c->template, &c->templates, error));
out:
    clip_buffer_release(&called);
    return status;
}

/* ---- images ---- */

/* Rows of the images that can be read, and their names. */
static clip_status embed(struct classifying *c, const struct clip_embedder *e, bool quiet,
                         struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(e), few = c->files.count, many, floats, bad = 0;
    bool *good = NULL;
    if (c->sets.count > 0)
        CLIP_TRY(clip_images_open(&c->images, c->sets.items, c->sets.count, error));
    many = c->images.count;
    if (!clip_mul_i64(few + many, dim, &floats)) floats = -1;
    CLIP_NEW(c->rows, floats);
    CLIP_NEW(c->names, few + many);
    CLIP_NEW(good, many);
    CLIP_TRY(clip_eval_images(e, &c->files, c->rows, &c->bad, error));
    few = c->files.count;
    for (; c->n < few; c->n++) c->names[c->n] = c->files.items[c->n];
    if (many > 0)
        CLIP_TRY(clip_images_embed(&c->images, e, &(struct clip_images_options){.quiet = quiet},
                                   c->rows + few * dim, good, &bad, error));
    c->bad += bad + c->images.unread.count;
    for (int64_t i = 0; i < many; i++) {
        if (!good[i]) continue;
        memmove(c->rows + c->n * dim, c->rows + (few + i) * dim, (size_t)dim * sizeof *c->rows);
        c->names[c->n++] = clip_images_name(&c->images, i);
    }
    if (c->n == 0)
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_DATA, "no image of %lld can be read", (long long)c->bad));
out:
    free(good);
    return status;
}

static clip_status classify(struct classifying *c, const struct clip_embedder *e,
                            struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(e), cells;
    if (!clip_mul_i64(c->n, c->m, &cells)) cells = -1;
    CLIP_NEW(c->classifier, c->m * dim);
    CLIP_NEW(c->cosines, cells);
    CLIP_NEW(c->p, cells);
    CLIP_NEW(c->best, c->n);
    CLIP_TRY(clip_zeroshot_classifier(e, (char *const *)(uintptr_t)c->labels.items, c->m,
                                      &c->templates, c->classifier, error));
    clip_similarity(c->cosines, c->rows, c->n, c->classifier, c->m, dim);
    memcpy(c->p, c->cosines, (size_t)cells * sizeof *c->p);
    clip_embedder_probabilities(e, c->p, c->n, c->m);
    for (int64_t i = 0; i < c->n; i++) {
        const double *p = c->p + i * c->m;
        int64_t best = 0;
        for (int64_t j = 1; j < c->m; j++)
            if (p[j] > p[best]) best = j;
        bool fits = p[best] >= c->none && c->cosines[i * c->m + best] >= c->none_similarity;
        c->best[i] = fits ? best : -1;
    }
out:
    return status;
}

/* ---- showing ---- */

static const char *called(const struct classifying *c, int64_t label)
{
    return label >= 0 ? c->called[label] : NONE;
}

/* One image's labels, the likeliest first, each with a bar as long as it is likely. */
static void print_bars(const struct classifying *c, int64_t i)
{
    const double *p = c->p + i * c->m;
    int width = clip_columns_widest((const char *const *)c->called, c->m, 60);
    printf("%s%s%s%s\n", i > 0 ? "\n" : "", CLIP_SHOWN(c->names[i]), c->best[i] < 0 ? "  " : "",
           c->best[i] < 0 ? NONE : "");
    double above = INFINITY; /* the row shown last, and its number: equal ones come in order */
    int64_t last = -1;
    for (int64_t shown = 0; shown < c->m; shown++) {
        int64_t best = -1;
        for (int64_t j = 0; j < c->m; j++) {
            bool is_left = p[j] < above || (p[j] == above && j > last);
            if (is_left && (best < 0 || p[j] > p[best])) best = j;
        }
        if (best < 0) return; /* what is left is no number */
        above = p[best];
        last = best;
        printf("  ");
        clip_columns_print(c->called[best], width);
        printf("  %5.1f %%  ", 100 * above);
        clip_columns_bar(above);
        putchar('\n');
    }
}

/* A line an image: its label, how probable that is, its path; then how often each label came. */
static void print_table(const struct classifying *c)
{
    int width = clip_columns_widest((const char *const *)c->called, c->m, 40);
    bool none = false;
    for (int64_t i = 0; i < c->n; i++) none = none || c->best[i] < 0;
    if (none && width < (int)strlen(NONE)) width = (int)strlen(NONE);
    for (int64_t i = 0; i < c->n; i++) {
        double most = 0;
        for (int64_t j = 0; j < c->m; j++) most = fmax(most, c->p[i * c->m + j]);
        clip_columns_print(called(c, c->best[i]), width);
        printf("  %5.1f %%  %s\n", 100 * most, CLIP_SHOWN(c->names[i]));
    }
    putchar('\n');
    for (int64_t j = 0; j <= c->m; j++) {
        int64_t label = j < c->m ? j : -1, count = 0;
        for (int64_t i = 0; i < c->n; i++) count += c->best[i] == label;
        if (label < 0 && count == 0) continue;
        clip_columns_print(called(c, label), width);
        printf("  %5lld of %lld  ", (long long)count, (long long)c->n);
        clip_columns_bar((double)count / (double)c->n);
        putchar('\n');
    }
}

static clip_status print_json(const struct classifying *c, struct clip_error *error)
{
    const char *const *lines = (const char *const *)c->templates.lines;
    json_t *result = json_object(), *rows = json_array(), *best = json_array();
    for (int64_t i = 0; i < c->n; i++) {
        json_t *row = json_array();
        for (int64_t j = 0; j < c->m; j++)
            clip_json_push(&row, clip_json_number(c->p[i * c->m + j]));
        clip_json_push(&rows, row);
        clip_json_push(&best, c->best[i] >= 0 ? json_string(c->called[c->best[i]]) : json_null());
    }
    if (c->templates.count == 1)
        clip_json_set(&result, "template", json_string(lines[0]));
    else
        clip_json_set(&result, "templates", clip_json_texts(lines, c->templates.count));
    clip_json_set(&result, "labels", clip_json_texts((const char *const *)c->called, c->m));
    clip_json_set(&result, "images", clip_json_texts(c->names, c->n));
    clip_json_set(&result, "probabilities", rows);
    clip_json_set(&result, "best", best);
    clip_json_set(&result, "skipped", json_integer(c->bad));
    clip_status status = clip_cli_print_json(result, error);
    json_decref(result);
    return status;
}

static void check_usage(const struct clip_cli *cli, const struct classifying *c)
{
    if (c->files.count + c->sets.count == 0)
        clip_cli_wrong_usage(cli, "--image FILE is missing: an image, or --images for a folder");
    if (c->labels.count < 1 && c->label_file == NULL)
        clip_cli_wrong_usage(cli, "give at least one LABEL, or --labels FILE");
    if (c->template_file != NULL && c->template_set >= 0)
        clip_cli_wrong_usage(cli, "give --templates or --template-set, not both");
}

int clip_eval_classify(int argc, char **argv)
{
    struct classifying c = {
        .template = "a photo of a {}", .template_set = -1, .none_similarity = -2};
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(c.model),
        UPRIGHT_OPTIONS(c.model, "", " (default)"),
        {"image", "FILE", CLIP_CLI_LIST, &c.files, .help = "an image (may be repeated)"},
        {"images", "FOLDER|DATA", CLIP_CLI_LIST, &c.sets,
         .help = "all images of a folder or a data set (may be repeated)"},
        {"labels", "FILE", CLIP_CLI_TEXT, &c.label_file, .help = "a file with one label per line"},
        {"template", "TEXT", CLIP_CLI_TEXT, &c.template,
         .help = "the text into which a label is put, at {} (default \"a photo of a {}\")"},
        {"template-set", NULL, CLIP_CLI_CHOICE, &c.template_set, .names = clip_template_set_name,
         .help = "the mean over a built-in set of templates instead"},
        {"templates", "FILE", CLIP_CLI_TEXT, &c.template_file,
         .help = "or over the templates of a file"},
        {"none", "P", CLIP_CLI_REAL, &c.none, .least = 0, .most = 1,
         .help = "a lower probability means \"none of these\" (default 0)"},
        {"none-similarity", "COSINE", CLIP_CLI_REAL, &c.none_similarity, .least = -2, .most = 1,
         .help = "a lower cosine means \"none of these\""},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval classify",
        .arguments = "LABEL...",
        .summary = "Tells which label fits an image best, and how probable each label is: "
                   "softmax(exp(logit_scale) cosine). A label may have several names: "
                   "\"cat|kitten\".",
        .example = "clip_eval classify --model runs/small --image a.png \\\n"
                   "      \"red circle\" \"blue square\"",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    clip_status status;
    CLIP_TRY(split_arguments(&c, &cli, &error));
    check_usage(&cli, &c);
    CLIP_TRY(read_words(&c, &error));
    CLIP_TRY(clip_model_options_open(&e, &cli, &c.model, NULL, &error));
    CLIP_TRY(embed(&c, e, cli.quiet, &error));
    CLIP_TRY(classify(&c, e, &error));
    if (cli.json)
        CLIP_TRY(print_json(&c, &error));
    else if (c.sets.count > 0)
        print_table(&c);
    else
        for (int64_t i = 0; i < c.n; i++) print_bars(&c, i);
    if (status == CLIP_OK) status = clip_eval_skipped(c.bad, &error);
out:
    release(&c);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}
