/* clip_eval: what a trained model knows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "core/file.h"
#include "eval/embedder.h"
#include "eval/loss.h"
#include "eval/retrieval.h"
#include "eval/zeroshot.h"
#include "tools/cli.h"
#include "tools/eval_commands.h"

/* ---- options that several commands have ---------------------------------------------------- */

struct model_options {
    const char *model, *weights, *tokenizer;
};

#define MODEL_OPTIONS(m)                                                               \
    {"model", "MODEL", CLIP_CLI_TEXT, &(m).model, .required = true,                    \
     .help = "run folder, checkpoint .h5 or .safetensors"},                            \
    {"weights", "ema|raw", CLIP_CLI_CHOICE, &(m).weights,                              \
     .help = "which weights, where there are both (ema)"},                             \
    {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &(m).tokenizer,                          \
     .help = "\"clip\" or a file (the model's own)"}

#define DATA_OPTIONS(d)                                                                \
    {"data", "DATA", CLIP_CLI_TEXT, &(d).data, .required = true,                       \
     .help = "pairs: .csv, .jsonl, .tar shards, ... (docs/data.md)"},                  \
    {"images-root", "FOLDER", CLIP_CLI_TEXT, &(d).set.images_root,                     \
     .help = "what a .csv's paths count from (its folder)"},                           \
    {"csv-separator", "C", CLIP_CLI_TEXT, &(d).set.csv_separator,                      \
     .help = "auto, comma, tab or a character (auto)"},                                \
    {"csv-img-key", "NAME", CLIP_CLI_TEXT, &(d).set.csv_img_key,                       \
     .help = "the pictures' column (filepath)"},                                       \
    {"csv-caption-key", "NAME", CLIP_CLI_TEXT, &(d).set.csv_caption_key,               \
     .help = "the captions' column (title)"},                                          \
    {"templates", "FILE", CLIP_CLI_TEXT, &(d).set.class_templates,                     \
     .help = "templates that class folders' captions are made from"}

struct data_options {
    const char *data;
    struct clip_dataset_options set;
};

static clip_status open_model(struct clip_embedder **out, const struct model_options *options,
                              struct clip_error *error)
{
    const struct clip_embedder_options open = {
        .tokenizer = options->tokenizer,
        .raw_weights = strcmp(options->weights, "raw") == 0,
    };
    return clip_embedder_open(out, options->model, &open, error);
}

static json_t *number_or_null(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

/* ---- pictures and words -------------------------------------------------------------------- */

/* Columns of a terminal that a UTF-8 text takes. */
static int display_width(const char *text)
{
    int width = 0;
    utf8proc_int32_t point;
    for (utf8proc_ssize_t n; *text != '\0'; text += n) {
        n = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &point);
        if (n < 1) n = 1, point = '?';
        width += utf8proc_charwidth(point);
    }
    return width;
}

static void print_padded(const char *text, int width)
{
    printf("%s%*s", text, width > display_width(text) ? width - display_width(text) : 0, "");
}

/* The embeddings of a few pictures and texts and their cosines. */
struct comparison {
    const struct clip_cli_list *images;
    char **texts; /* as they are embedded */
    int64_t n, m;
    float *image_rows, *text_rows;
    double *cosines; /* [n,m] */
};

static void release_comparison(struct comparison *c)
{
    for (int64_t j = 0; c->texts != NULL && j < c->m; j++) free(c->texts[j]);
    free(c->texts);
    free(c->image_rows);
    free(c->text_rows);
    free(c->cosines);
}

/* texts[j]: the template filled with words[j], or the word itself where the template is NULL. */
static clip_status fill_texts(struct comparison *c, const struct clip_cli_list *words,
                              const char *template, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer text = {0};
    CLIP_NEW(c->texts, words->count);
    c->m = words->count;
    for (int64_t j = 0; j < c->m; j++) {
        text.size = 0;
        const char *line = template != NULL ? template : "{}";
        CLIP_TRY(clip_template_fill(line, words->items[j], &text, error));
        c->texts[j] = clip_string_copy_n(text.data, text.size, error);
        if (c->texts[j] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
out:
    clip_buffer_release(&text);
    return status;
}

static clip_status compare(struct comparison *c, const struct clip_embedder *e,
                           const struct clip_cli_list *images, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(e);
    struct clip_picture *pictures = NULL;
    c->images = images;
    c->n = images->count;
    CLIP_NEW(pictures, c->n);
    CLIP_NEW(c->image_rows, c->n * dim);
    CLIP_NEW(c->text_rows, c->m * dim);
    CLIP_NEW(c->cosines, c->n * c->m);
    for (int64_t i = 0; i < c->n; i++) pictures[i].path = images->items[i];
    CLIP_TRY(clip_embedder_pictures(e, pictures, c->n, CLIP_UNIT, c->image_rows, NULL, error));
    CLIP_TRY(clip_embedder_texts(e, (const char *const *)c->texts, c->m, CLIP_UNIT, c->text_rows,
                                 NULL, error));
    clip_similarity(c->cosines, c->image_rows, c->n, c->text_rows, c->m, dim);
out:
    free(pictures);
    return status;
}

static json_t *string_list(const char *const *items, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_string(items[i]));
    return list;
}

static json_t *matrix(const double *values, int64_t n, int64_t m)
{
    json_t *rows = json_array();
    for (int64_t i = 0; i < n; i++) {
        json_t *row = json_array();
        for (int64_t j = 0; j < m; j++) json_array_append_new(row, json_real(values[i * m + j]));
        json_array_append_new(rows, row);
    }
    return rows;
}

enum { BAR = 24 };

/* One picture's labels, the likeliest first, each with a bar as long as it is likely. */
static void print_classes(const struct comparison *c, int64_t i, const struct clip_cli_list *labels)
{
    const double *p = c->cosines + i * c->m;
    int width = 0;
    for (int64_t j = 0; j < c->m; j++)
        if (display_width(labels->items[j]) > width) width = display_width(labels->items[j]);
    printf("%s%s\n", i > 0 ? "\n" : "", c->images->items[i]);
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
        print_padded(labels->items[best], width);
        printf("  %5.1f %%  ", 100 * above);
        for (int b = 0; b < (int)lround(BAR * above); b++) fputs("█", stdout);
        putchar('\n');
    }
}

/* Pictures down, texts across; texts that do not fit are numbered and listed above. */
static void print_matrix(const struct comparison *c)
{
    enum { LINE = 100, COLUMN = 7 };
    int name = 0, widest = COLUMN;
    for (int64_t i = 0; i < c->n; i++)
        if (display_width(c->images->items[i]) > name) name = display_width(c->images->items[i]);
    for (int64_t j = 0; j < c->m; j++)
        if (display_width(c->texts[j]) > widest) widest = display_width(c->texts[j]);
    bool numbered = name + (int64_t)(widest + 2) * c->m > LINE;
    for (int64_t j = 0; numbered && j < c->m; j++)
        printf("[%lld] %s\n", (long long)j + 1, c->texts[j]);
    if (numbered) widest = COLUMN;
    printf("%*s", name, "");
    for (int64_t j = 0; j < c->m; j++) {
        char number[32];
        snprintf(number, sizeof number, "[%lld]", (long long)j + 1);
        const char *head = numbered ? number : c->texts[j];
        printf("%*s%s", widest + 2 - display_width(head), "", head);
    }
    putchar('\n');
    for (int64_t i = 0; i < c->n; i++) {
        print_padded(c->images->items[i], name);
        for (int64_t j = 0; j < c->m; j++) printf("%*.4f", widest + 2, c->cosines[i * c->m + j]);
        putchar('\n');
    }
}

static bool looks_like_picture(const char *text)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (clip_path_has_suffix(text, suffixes[i])) return true;
    return false;
}

/* "--image a.png b.png cat dog": plain arguments in front that are picture files are pictures. */
static clip_status split_arguments(struct clip_cli *cli, struct clip_cli_list *images,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t moved = 0;
    while (moved < cli->plain.count && looks_like_picture(cli->plain.items[moved])) {
        const char *path = cli->plain.items[moved];
        if (!clip_path_exists(path))
            return clip_fail(error, CLIP_ERR_NOT_FOUND, "%s: no such picture; correct the path",
                             path);
        CLIP_TRY(clip_array_grow(&images->items, &images->capacity, images->count + 1,
                                 sizeof *images->items, error));
        images->items[images->count++] = path;
        moved++;
    }
    if (moved == 0) return CLIP_OK;
    cli->plain.count -= moved;
    memmove(cli->plain.items, cli->plain.items + moved,
            (size_t)cli->plain.count * sizeof *cli->plain.items);
out:
    return status;
}

static int run_classify(int argc, char **argv)
{
    struct model_options model = {.weights = "ema"};
    struct clip_cli_list images = {0};
    const char *template = "a photo of a {}";
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        {"image", "FILE", CLIP_CLI_LIST, &images, .required = true,
         .help = "a picture; may be repeated"},
        {"template", "TEXT", CLIP_CLI_TEXT, &template,
         .help = "the text each label is put into, at {} (\"a photo of a {}\"; \"{}\" for the "
                 "label alone)"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval classify",
        .arguments = "LABEL...",
        .summary = "Says which of some words fits a picture best, and how probable each is: "
                   "softmax(exp(logit_scale) cosine).",
        .example = "clip_eval classify --model runs/small --image a.png \"red circle\" "
                   "\"blue square\"",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct comparison c = {0};
    clip_status status;
    CLIP_TRY(split_arguments(&cli, &images, &error));
    if (cli.plain.count < 1) clip_cli_wrong_usage(&cli, "give at least one LABEL");
    CLIP_TRY(open_model(&e, &model, &error));
    CLIP_TRY(fill_texts(&c, &cli.plain, template, &error));
    CLIP_TRY(compare(&c, e, &images, &error));
    clip_embedder_probabilities(e, c.cosines, c.n, c.m);
    if (cli.json) {
        json_t *result = json_object();
        json_object_set_new(result, "template", json_string(template));
        json_object_set_new(result, "labels", string_list(cli.plain.items, c.m));
        json_object_set_new(result, "images", string_list(images.items, c.n));
        json_object_set_new(result, "probabilities", matrix(c.cosines, c.n, c.m));
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        for (int64_t i = 0; i < c.n; i++) print_classes(&c, i, &cli.plain);
    }
out:
    release_comparison(&c);
    clip_embedder_free(e);
    free(images.items);
    return clip_cli_finish(&cli, status, &error);
}

static int run_similarity(int argc, char **argv)
{
    struct model_options model = {.weights = "ema"};
    struct clip_cli_list images = {0}, texts = {0};
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        {"image", "FILE...", CLIP_CLI_MANY, &images, .help = "pictures", .required = true},
        {"text", "TEXT...", CLIP_CLI_MANY, &texts, .help = "texts", .required = true},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval similarity",
        .summary = "Shows how well pictures and texts fit: the cosines of their embeddings.",
        .example = "clip_eval similarity --model runs/small --image a.png b.png "
                   "--text \"a red circle\" \"a dog\"",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct comparison c = {0};
    clip_status status;
    CLIP_TRY(open_model(&e, &model, &error));
    CLIP_TRY(fill_texts(&c, &texts, NULL, &error));
    CLIP_TRY(compare(&c, e, &images, &error));
    if (cli.json) {
        json_t *result = json_object();
        json_object_set_new(result, "images", string_list(images.items, c.n));
        json_object_set_new(result, "texts", string_list(texts.items, c.m));
        json_object_set_new(result, "similarity", matrix(c.cosines, c.n, c.m));
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        print_matrix(&c);
    }
out:
    release_comparison(&c);
    clip_embedder_free(e);
    free(images.items);
    free(texts.items);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- data sets ----------------------------------------------------------------------------- */

static clip_status report_zeroshot(const struct clip_cli *cli,
                                   const struct clip_class_list *classes,
                                   const struct clip_zeroshot_result *r, struct clip_error *error)
{
    if (!cli->json) {
        int width = 0;
        for (int64_t c = 0; c < classes->count; c++)
            if (display_width(classes->names[c]) > width) width = display_width(classes->names[c]);
        for (int64_t c = 0; c < classes->count; c++) {
            if (r->count[c] == 0) continue;
            printf("  ");
            print_padded(classes->names[c], width);
            printf("  %5.1f %%  of %lld\n", 100 * r->recall[c], (long long)r->count[c]);
        }
        printf("zero-shot accuracy: %.1f %% (%lld classes, %lld pictures)\n", 100 * r->acc1,
               (long long)r->classes, (long long)r->n);
        if (!isnan(r->acc5)) printf("among the best five: %.1f %%\n", 100 * r->acc5);
        printf("mean per-class recall: %.1f %%\n", 100 * r->mean_per_class_recall);
        return CLIP_OK;
    }
    json_t *result = json_object(), *per_class = json_array();
    for (int64_t c = 0; c < classes->count; c++)
        json_array_append_new(
            per_class, json_pack("{s:s, s:I, s:o}", "class", classes->names[c], "n",
                                 (json_int_t)r->count[c], "recall", number_or_null(r->recall[c])));
    json_object_set_new(result, "acc1", json_real(r->acc1));
    json_object_set_new(result, "acc5", number_or_null(r->acc5));
    json_object_set_new(result, "mean_per_class_recall", json_real(r->mean_per_class_recall));
    json_object_set_new(result, "n", json_integer(r->n));
    json_object_set_new(result, "skipped", json_integer(r->skipped));
    json_object_set_new(result, "per_class", per_class);
    clip_status status = clip_cli_print_json(result, error);
    json_decref(result);
    return status;
}

static int run_zeroshot(int argc, char **argv)
{
    struct model_options model = {.weights = "ema"};
    const char *images = NULL, *class_file = NULL, *template_file = NULL;
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        {"images", "FOLDER|TAR", CLIP_CLI_TEXT, &images, .help = "pictures in a folder a class",
         .required = true},
        {"classes", "FILE", CLIP_CLI_TEXT, &class_file, .required = true,
         .help = "a line a class: its name, after a tab its folder where it differs"},
        {"templates", "FILE", CLIP_CLI_TEXT, &template_file,
         .help = "a line a template, as in: a photo of a {}", .required = true},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval zeroshot",
        .summary = "Classifies pictures by the names of their classes alone and counts how often "
                   "it is right, as open_clip counts.",
        .example = "clip_eval zeroshot --model runs/small --images test.tar --classes classes.txt "
                   "--templates templates.txt",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct clip_class_list classes = {0};
    struct clip_templates templates = {0};
    struct clip_zeroshot_result result = {0};
    clip_status status;
    CLIP_TRY(open_model(&e, &model, &error));
    CLIP_TRY(clip_class_list_read(class_file, &classes, &error));
    CLIP_TRY(clip_templates_read(template_file, &templates, &error));
    CLIP_TRY(clip_zeroshot_run(e, images, &classes, &templates, cli.quiet, &result, &error));
    CLIP_TRY(report_zeroshot(&cli, &classes, &result, &error));
out:
    clip_zeroshot_release(&result);
    clip_templates_release(&templates);
    clip_class_list_release(&classes);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}

static void add_recalls(json_t *result, const char *side, const struct clip_recalls *r)
{
    const struct {
        const char *name;
        double value;
    } values[] = {
        {"recall@1", r->at_1},       {"recall@5", r->at_5},           {"recall@10", r->at_10},
        {"mean_rank", r->mean_rank}, {"median_rank", r->median_rank},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char key[64];
        snprintf(key, sizeof key, "%s_%s", side, values[i].name);
        json_object_set_new(result, key, json_real(values[i].value));
    }
}

static void print_recalls(const char *side, const struct clip_recalls *r)
{
    printf("%-14s %9.1f %% %7.1f %% %7.1f %% %12g\n", side, 100 * r->at_1, 100 * r->at_5,
           100 * r->at_10, r->median_rank);
}

static int run_retrieval(int argc, char **argv)
{
    struct model_options model = {.weights = "ema"};
    struct data_options data = {0};
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        DATA_OPTIONS(data),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval retrieval",
        .summary = "Finds each caption's picture among all pictures and each picture's captions "
                   "among all captions; recall@k as CLIP_benchmark counts it.",
        .example = "clip_eval retrieval --model runs/flickr8k --data val_en.tsv",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct clip_dataset *set = NULL;
    struct clip_retrieval_result r;
    clip_status status;
    CLIP_TRY(clip_dataset_open(&set, data.data, &data.set, &error));
    CLIP_TRY(open_model(&e, &model, &error));
    CLIP_TRY(clip_retrieval_run(e, set, cli.quiet, &r, &error));
    if (cli.json) {
        json_t *result = json_object();
        add_recalls(result, "image_retrieval", &r.image_retrieval);
        add_recalls(result, "text_retrieval", &r.text_retrieval);
        json_object_set_new(result, "images", json_integer(r.images));
        json_object_set_new(result, "texts", json_integer(r.texts));
        json_object_set_new(result, "skipped", json_integer(r.skipped));
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("%lld pictures, %lld captions\n", (long long)r.images, (long long)r.texts);
        printf("%-14s %11s %9s %9s %12s\n", "", "recall@1", "@5", "@10", "median rank");
        print_recalls("text -> image", &r.image_retrieval);
        print_recalls("image -> text", &r.text_retrieval);
    }
out:
    clip_dataset_free(set);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}

static int run_loss(int argc, char **argv)
{
    struct model_options model = {.weights = "ema"};
    struct data_options data = {0};
    int64_t batch_size = 128;
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        DATA_OPTIONS(data),
        {"batch-size", "N", CLIP_CLI_INT, &batch_size, .least = 1, .most = 65536,
         .help = "pairs that are told from each other (128); losses of one size compare"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval loss",
        .summary = "Measures the contrastive loss on a data set, in order, batch by batch.",
        .example = "clip_eval loss --model runs/flickr8k --data val_en.tsv --batch-size 128",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct clip_dataset *set = NULL;
    struct clip_loss_result r;
    clip_status status;
    CLIP_TRY(clip_dataset_open(&set, data.data, &data.set, &error));
    CLIP_TRY(open_model(&e, &model, &error));
    CLIP_TRY(clip_loss_run(e, set, batch_size, cli.quiet, &r, &error));
    if (cli.json) {
        json_t *result = json_pack("{s:f, s:I, s:I, s:I, s:I, s:f}", "loss", r.loss, "batch_size",
                                   (json_int_t)r.batch_size, "batches", (json_int_t)r.batches, "n",
                                   (json_int_t)r.n, "skipped", (json_int_t)r.skipped, "logit_scale",
                                   clip_embedder_logit_scale(e));
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("loss: %.4f (%lld pairs in batches of %lld; chance is %.4f)\n", r.loss,
               (long long)r.n, (long long)r.batch_size, log((double)r.batch_size));
    }
out:
    clip_dataset_free(set);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}

int main(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"classify", "which of some words fits a picture", run_classify},
        {"similarity", "how well pictures and texts fit", run_similarity},
        {"zeroshot", "accuracy at naming pictures by class names alone", run_zeroshot},
        {"retrieval", "finding pictures by captions and captions by pictures", run_retrieval},
        {"loss", "the contrastive loss on a data set", run_loss},
        {"interpolate", "mixes of a model before and after fine-tuning", clip_eval_interpolate},
        {0},
    };
    return clip_cli_dispatch(
        "clip_eval", "Tries out and measures a trained model.",
        "clip_eval classify --model runs/small --image a.png \"red circle\" \"blue square\"",
        commands, argc, argv);
}
