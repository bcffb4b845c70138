/* clip_eval: what a trained model knows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/progress.h"
#include "embed/embedder.h"
#include "embed/texts.h"
#include "eval/loss.h"
#include "eval/retrieval.h"
#include "tools/cli.h"
#include "tools/columns.h"
#include "tools/eval_commands.h"
#include "tools/model_options.h"

/* ---- options that several commands have ---- */

#define DATA_OPTIONS(d)                                                                            \
    {"data",    "DATA",           CLIP_CLI_TEXT,                                                   \
     &(d).data, .required = true, .help = "pairs: .csv, .jsonl, shards, ... (docs/data.md)"},      \
        {"images-root", "FOLDER", CLIP_CLI_TEXT, &(d).set.images_root,                             \
         .help = "where relative paths start (default: the file's folder)"},                       \
        {"csv-separator", "C", CLIP_CLI_TEXT, &(d).set.csv_separator,                              \
         .help = "auto, comma, tab or a character (default auto)"},                                \
        {"csv-img-key", "NAME", CLIP_CLI_TEXT, &(d).set.csv_img_key,                               \
         .help = "the column of image paths (default filepath)"},                                  \
        {"csv-caption-key", "NAME", CLIP_CLI_TEXT, &(d).set.csv_caption_key,                       \
         .help = "the column of captions (default title)"},                                        \
        {"templates", "FILE", CLIP_CLI_TEXT, &(d).set.class_templates,                             \
         .help = "templates for the captions of class folders"},                                   \
    {                                                                                              \
        "class-templates", "FILE", CLIP_CLI_TEXT, &(d).set.class_templates, .help = "",            \
                                                                            .unlisted = true       \
    }

struct data_options {
    const char *data;
    struct clip_dataset_options set;
};

/* ---- images and texts ---- */

/* The embeddings of a few images and texts and their cosines. */
struct comparison {
    struct clip_cli_list *images; /* that can be read, once they are compared */
    const char *const *texts;
    int64_t n, m, bad;
    float *image_rows, *text_rows;
    double *cosines; /* [n,m] */
};

static void release_comparison(struct comparison *c)
{
    free(c->image_rows);
    free(c->text_rows);
    free(c->cosines);
}

static clip_status compare(struct comparison *c, const struct clip_embedder *e,
                           struct clip_cli_list *images, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(e);
    c->images = images;
    CLIP_NEW(c->image_rows, images->count * dim);
    CLIP_NEW(c->text_rows, c->m * dim);
    CLIP_NEW(c->cosines, images->count * c->m);
    CLIP_TRY(clip_eval_images(e, images, c->image_rows, &c->bad, error));
    c->n = images->count;
    if (c->n == 0)
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_DATA, "no image of %lld can be read", (long long)c->bad));
    CLIP_TRY(clip_embedder_texts(e, c->texts, c->m, CLIP_UNIT, c->text_rows, NULL, error));
    clip_similarity(c->cosines, c->image_rows, c->n, c->text_rows, c->m, dim);
out:
    return status;
}

static json_t *matrix(const double *values, int64_t n, int64_t m)
{
    json_t *rows = json_array();
    for (int64_t i = 0; i < n; i++) {
        json_t *row = json_array();
        for (int64_t j = 0; j < m; j++) clip_json_push(&row, clip_json_number(values[i * m + j]));
        clip_json_push(&rows, row);
    }
    return rows;
}

/* Images down, texts across; texts that do not fit are numbered and listed above. */
static void print_matrix(const struct comparison *c)
{
    enum { LINE = 100, COLUMN = 7 };
    int name = 0, widest = COLUMN;
    for (int64_t i = 0; i < c->n; i++)
        if (clip_columns_width(c->images->items[i]) > name)
            name = clip_columns_width(c->images->items[i]);
    for (int64_t j = 0; j < c->m; j++)
        if (clip_columns_width(c->texts[j]) > widest) widest = clip_columns_width(c->texts[j]);
    bool numbered = name + (int64_t)(widest + 2) * c->m > LINE;
    for (int64_t j = 0; numbered && j < c->m; j++)
        printf("[%lld] %s\n", (long long)j + 1, CLIP_SHOWN(c->texts[j]));
    if (numbered) widest = COLUMN;
    printf("%*s", name, "");
    for (int64_t j = 0; j < c->m; j++) {
        char number[32];
        snprintf(number, sizeof number, "[%lld]", (long long)j + 1);
        const char *head = numbered ? number : c->texts[j];
        printf("%*s%s", widest + 2 - clip_columns_width(head), "", CLIP_SHOWN(head));
    }
    putchar('\n');
    for (int64_t i = 0; i < c->n; i++) {
        clip_columns_print(c->images->items[i], name);
        for (int64_t j = 0; j < c->m; j++) printf("%*.4f", widest + 2, c->cosines[i * c->m + j]);
        putchar('\n');
    }
}

static int run_similarity(int argc, char **argv)
{
    struct clip_model_options model = {0};
    struct clip_cli_list images = {0}, texts = {0};
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        UPRIGHT_OPTIONS(model, "", " (default)"),
        {"image", "FILE...", CLIP_CLI_MANY, &images, .help = "one or more images",
         .required = true},
        {"text", "TEXT...", CLIP_CLI_MANY, &texts, .help = "one or more texts", .required = true},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval similarity",
        .summary = "Shows how well images and texts fit: the cosine of each image with each text.",
        .example = "clip_eval similarity --model runs/small --image a.png b.png \\\n      --text "
                   "\"a red circle\" \"a dog\"",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct comparison c = {0};
    clip_status status;
    CLIP_TRY(clip_model_options_open(&e, &cli, &model, NULL, &error));
    c.texts = texts.items;
    c.m = texts.count;
    CLIP_TRY(compare(&c, e, &images, &error));
    if (cli.json) {
        json_t *result = json_object();
        clip_json_set(&result, "images", clip_json_texts(images.items, c.n));
        clip_json_set(&result, "texts", clip_json_texts(texts.items, c.m));
        clip_json_set(&result, "similarity", matrix(c.cosines, c.n, c.m));
        clip_json_set(&result, "skipped", json_integer(c.bad));
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        print_matrix(&c);
    }
    if (status == CLIP_OK) status = clip_eval_skipped(c.bad, &error);
out:
    release_comparison(&c);
    clip_embedder_free(e);
    free(images.items);
    free(texts.items);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- data sets ---- */

static void add_recalls(json_t **result, const char *side, const struct clip_recalls *r)
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
        clip_json_set(result, key, clip_json_number(values[i].value));
    }
}

static void print_recalls(const char *side, const struct clip_recalls *r)
{
    printf("%-14s %9.1f %% %7.1f %% %7.1f %% %12g\n", side, 100 * r->at_1, 100 * r->at_5,
           100 * r->at_10, r->median_rank);
}

static int run_retrieval(int argc, char **argv)
{
    struct clip_model_options model = {0};
    struct data_options data = {0};
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        UPRIGHT_OPTIONS(model, "", " (default)"),
        DATA_OPTIONS(data),
        {"csv-negative-key", "NAME", CLIP_CLI_TEXT, &data.set.csv_negative_key,
         .help = "the column of hard negatives; tells how often the caption fits better"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval retrieval",
        .summary = "Finds each caption's image among all images, and each image's captions among "
                   "all captions. Recall@k is counted as in CLIP_benchmark.",
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
    if (!cli.quiet) clip_dataset_say(set, data.data, "pair");
    CLIP_TRY(clip_model_options_open(&e, &cli, &model, NULL, &error));
    CLIP_TRY(clip_retrieval_run(e, set, cli.quiet, &r, &error));
    clip_texts_warn_cut(r.cut, "caption");
    if (cli.json) {
        json_t *result = json_object();
        add_recalls(&result, "image_retrieval", &r.image_retrieval);
        add_recalls(&result, "text_retrieval", &r.text_retrieval);
        clip_json_set(&result, "images", json_integer(r.images));
        clip_json_set(&result, "texts", json_integer(r.texts));
        clip_json_set(&result, "skipped", json_integer(r.skipped));
        clip_json_set(&result, "cut", json_integer(r.cut));
        if (r.negatives > 0) {
            clip_json_set(&result, "negatives", json_integer(r.negatives));
            clip_json_set(&result, "negative_accuracy", clip_json_number(r.negative_accuracy));
        }
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("%s, %s\n", CLIP_COUNT(r.images, "image"), CLIP_COUNT(r.texts, "caption"));
        printf("%-14s %11s %9s %9s %12s\n", "", "recall@1", "@5", "@10", "median rank");
        print_recalls("text -> image", &r.image_retrieval);
        print_recalls("image -> text", &r.text_retrieval);
        if (r.negatives > 0)
            printf("%.1f %% of %s fit better than their hard negatives (chance: 50 %%)\n",
                   100 * r.negative_accuracy, CLIP_COUNT(r.negatives, "caption"));
    }
    if (status == CLIP_OK) status = clip_dataset_passed_over(set, data.data, &error);
out:
    clip_dataset_free(set);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}

static int run_loss(int argc, char **argv)
{
    struct clip_model_options model = {0};
    struct data_options data = {0};
    int64_t batch_size = 128;
    int kind = -1;
    const struct clip_cli_option options[] = {
        MODEL_OPTIONS(model),
        UPRIGHT_OPTIONS(model, "", " (default)"),
        DATA_OPTIONS(data),
        {"batch-size", "N", CLIP_CLI_INT, &batch_size, .least = 1, .most = 65536,
         .help = "pairs that are compared with each other (default 128)"},
        {"loss", NULL, CLIP_CLI_CHOICE, &kind, .names = clip_loss_name,
         .help = "which loss (default: the one that the model was trained with)"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_eval loss",
        .summary = "Measures the contrastive loss on a data set, in its order, batch by batch. "
                   "Only losses with the same --batch-size can be compared.",
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
    if (!cli.quiet) clip_dataset_say(set, data.data, "pair");
    CLIP_TRY(clip_model_options_open(&e, &cli, &model, NULL, &error));
    CLIP_TRY(clip_loss_run(e, set, kind >= 0 ? &clip_losses[kind] : NULL, batch_size, cli.quiet, &r,
                           &error));
    if (cli.json) {
        json_t *result = json_pack("{s:f, s:I, s:I, s:I, s:I, s:f, s:s}", "loss", r.loss,
                                   "batch_size", (json_int_t)r.batch_size, "batches",
                                   (json_int_t)r.batches, "n", (json_int_t)r.n, "skipped",
                                   (json_int_t)r.skipped, "logit_scale",
                                   clip_embedder_logit_scale(e), "kind", r.kind->name);
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("%s loss: %.4f (%s in batches of %lld; chance is %.4f)\n", r.kind->name, r.loss,
               CLIP_COUNT(r.n, "pair"), (long long)r.batch_size, r.kind->chance(r.batch_size));
    }
    if (status == CLIP_OK) status = clip_dataset_passed_over(set, data.data, &error);
out:
    clip_dataset_free(set);
    clip_embedder_free(e);
    return clip_cli_finish(&cli, status, &error);
}

int main(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"classify", "tells which label fits an image", clip_eval_classify},
        {"similarity", "shows how well images and texts fit", run_similarity},
        {"zeroshot", "measures classification by class names alone", clip_eval_zeroshot},
        {"retrieval", "measures how captions and images find each other", run_retrieval},
        {"loss", "measures the contrastive loss on a data set", run_loss},
        {"interpolate", "mixes a model before and after fine-tuning", clip_eval_interpolate},
        {0},
    };
    return clip_cli_dispatch("clip_eval", "Uses and measures a trained model.",
                             "clip_eval classify --model runs/small --image a.png \\\n      \"red "
                             "circle\" \"blue square\"",
                             commands, argc, argv);
}
