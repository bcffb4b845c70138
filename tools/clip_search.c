/* clip_search: finding pictures and texts by pictures and texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "eval/search.h"
#include "eval/texts.h"
#include "tools/cli.h"

/* ---- index --------------------------------------------------------------------------------- */

struct indexing {
    const char *model, *weights, *tokenizer, *texts, *output;
    struct clip_cli_list images;
};

/* The index that is there, if it may grow, or an empty one. */
static clip_status open_index(struct clip_index *index, const struct indexing *job,
                              const struct clip_embedder *e, struct clip_error *error)
{
    clip_status status;
    bool texts = job->texts != NULL;
    if (!clip_path_exists(job->output)) return clip_index_start(index, e, texts, error);
    CLIP_TRY(clip_index_read(index, job->output, error));
    CLIP_TRY(clip_index_check(index, e, job->output, error));
    if (index->texts != texts)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is an index of %s; choose another --output",
                           job->output, index->texts ? "texts" : "pictures"));
out:
    return status;
}

static clip_status extend(struct clip_index *index, const struct indexing *job,
                          const struct clip_embedder *e, bool quiet, int64_t *added, int64_t *bad,
                          struct clip_error *error)
{
    clip_status status;
    struct clip_pictures pictures = {0};
    struct clip_texts texts = {0};
    if (job->texts != NULL) {
        CLIP_TRY(clip_texts_read(&texts, job->texts, error));
        CLIP_TRY(clip_index_add_texts(index, e, texts.lines, texts.count, quiet, added, error));
    } else {
        CLIP_TRY(clip_pictures_open(&pictures, job->images.items, job->images.count, error));
        CLIP_TRY(clip_index_add_pictures(index, e, &pictures, quiet, added, bad, error));
    }
    if (index->count == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "there is nothing that can be read, so no index"));
    if (*added > 0 || !clip_path_exists(job->output))
        CLIP_TRY(clip_index_write(index, job->output, error));
out:
    clip_texts_release(&texts);
    clip_pictures_release(&pictures);
    return status;
}

static clip_status report_index(const struct clip_cli *cli, const struct indexing *job,
                                const struct clip_index *index, int64_t added, int64_t bad,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (cli->json) {
        json_t *result = json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:s, s:s}", "output", job->output, "kind",
            index->texts ? "texts" : "images", "count", (json_int_t)index->count, "added",
            (json_int_t)added, "skipped", (json_int_t)bad, "model", index->model, "model_checksum",
            index->model_checksum);
        status = clip_cli_print_json(result, error);
        json_decref(result);
    } else {
        printf("%s: %lld %s, %lld of them new\n", job->output, (long long)index->count,
               index->texts ? "texts" : "pictures", (long long)added);
    }
    if (status == CLIP_OK && bad > 0)
        status = clip_fail(error, CLIP_ERR_DATA,
                           "%lld pictures could not be read and were skipped; the others are in %s",
                           (long long)bad, job->output);
    return status;
}

static int run_index(int argc, char **argv)
{
    struct indexing job = {.weights = "ema"};
    const struct clip_cli_option options[] = {
        {"model", "MODEL", CLIP_CLI_TEXT, &job.model, .required = true,
         .help = "run folder, checkpoint .h5 or .safetensors"},
        {"output", "FILE", CLIP_CLI_TEXT, &job.output, .required = true,
         .help = "the index; where it is there already, only what is new is added"},
        {"images", "FOLDER|DATA|FILE...", CLIP_CLI_MANY, &job.images,
         .help = "pictures: files, folders of them, data sets"},
        {"texts", "FILE", CLIP_CLI_TEXT, &job.texts, .help = "a line a text"},
        {"weights", "ema|raw", CLIP_CLI_CHOICE, &job.weights,
         .help = "which weights, where there are both (ema)"},
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &job.tokenizer,
         .help = "\"clip\" or a file (the model's own)"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search index",
        .summary = "Makes an index of pictures or texts, or adds to one what it does not have.",
        .example = "clip_search index --model runs/small --images photos/ --output photos.index",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    if ((job.images.count > 0) == (job.texts != NULL))
        clip_cli_wrong_usage(&cli, "give --images or --texts");
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct clip_index index = {0};
    int64_t added = 0, bad = 0;
    const struct clip_embedder_options open = {
        .checksum = true,
        .tokenizer = job.tokenizer,
        .raw_weights = strcmp(job.weights, "raw") == 0,
    };
    clip_status status;
    CLIP_TRY(clip_embedder_open(&e, job.model, &open, &error));
    CLIP_TRY(open_index(&index, &job, e, &error));
    CLIP_TRY(extend(&index, &job, e, cli.quiet, &added, &bad, &error));
    CLIP_TRY(report_index(&cli, &job, &index, added, bad, &error));
out:
    clip_index_release(&index);
    clip_embedder_free(e);
    free(job.images.items);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- query --------------------------------------------------------------------------------- */

struct asking {
    const char *index, *model, *weights, *tokenizer;
    struct clip_cli_list texts, images, minus;
    int64_t top;
};

struct query { /* one row an asked text or picture */
    char **words;
    double *weights;
    float *rows, *combined;
};

static void release_query(struct query *q, int64_t n)
{
    for (int64_t i = 0; q->words != NULL && i < n; i++) free(q->words[i]);
    free(q->words);
    free(q->weights);
    free(q->rows);
    free(q->combined);
}

/* Rows in the order texts, minus, images. */
static clip_status embed_query(struct query *q, const struct asking *job,
                               const struct clip_embedder *e, struct clip_error *error)
{
    clip_status status;
    const struct clip_cli_list *lists[] = {&job->texts, &job->minus, &job->images};
    int64_t dim = clip_embedder_dim(e), texts = job->texts.count + job->minus.count;
    int64_t n = texts + job->images.count, at = 0;
    struct clip_picture *pictures = NULL;
    CLIP_NEW(q->words, n);
    CLIP_NEW(q->weights, n);
    CLIP_NEW(q->rows, n * dim);
    CLIP_NEW(q->combined, dim);
    CLIP_NEW(pictures, job->images.count);
    for (int l = 0; l < 3; l++)
        for (int64_t i = 0; i < lists[l]->count; i++, at++) {
            CLIP_TRY(clip_query_split(lists[l]->items[i], &q->words[at], &q->weights[at], error));
            if (l == 1) q->weights[at] = -q->weights[at];
            if (l == 2) pictures[i].path = q->words[at];
        }
    CLIP_TRY(texts > 0 ? clip_embedder_texts(e, (const char *const *)q->words, texts, CLIP_UNIT,
                                             q->rows, NULL, error)
                       : CLIP_OK);
    CLIP_TRY(clip_embedder_pictures(e, pictures, job->images.count, CLIP_UNIT,
                                    q->rows + texts * dim, NULL, error));
    CLIP_TRY(clip_query_combine(q->rows, q->weights, n, dim, q->combined, error));
out:
    free(pictures);
    return status;
}

static clip_status report_hits(const struct clip_cli *cli, const struct clip_index *index,
                               const struct clip_hit *hits, int64_t found, struct clip_error *error)
{
    if (!cli->json) {
        for (int64_t i = 0; i < found; i++)
            printf("%7.4f  %s\n", (double)hits[i].score, index->names[hits[i].number]);
        return CLIP_OK;
    }
    json_t *result = json_object(), *list = json_array();
    for (int64_t i = 0; i < found; i++)
        json_array_append_new(list, json_pack("{s:s, s:f}", index->texts ? "text" : "path",
                                              index->names[hits[i].number], "score",
                                              (double)hits[i].score));
    json_object_set_new(result, "results", list);
    clip_status status = clip_cli_print_json(result, error);
    json_decref(result);
    return status;
}

static clip_status ask(const struct clip_cli *cli, const struct asking *job,
                       struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *e = NULL;
    struct clip_index index = {0};
    struct query query = {0};
    struct clip_hit *hits = NULL;
    int64_t found = 0;
    const struct clip_embedder_options open = {
        .checksum = true,
        .tokenizer = job->tokenizer,
        .raw_weights = strcmp(job->weights, "raw") == 0,
    };
    CLIP_TRY(clip_index_read(&index, job->index, error));
    CLIP_TRY(clip_embedder_open(&e, job->model != NULL ? job->model : index.model, &open, error));
    CLIP_TRY(clip_index_check(&index, e, job->index, error));
    CLIP_TRY(embed_query(&query, job, e, error));
    CLIP_NEW(hits, job->top < index.count ? job->top : index.count);
    CLIP_TRY(clip_index_search(&index, query.combined, job->top, hits, &found, error));
    CLIP_TRY(report_hits(cli, &index, hits, found, error));
out:
    free(hits);
    release_query(&query, job->texts.count + job->minus.count + job->images.count);
    clip_index_release(&index);
    clip_embedder_free(e);
    return status;
}

static int run_query(int argc, char **argv)
{
    struct asking job = {.weights = "ema", .top = 10};
    const struct clip_cli_option options[] = {
        {"index", "FILE", CLIP_CLI_TEXT, &job.index, .required = true,
         .help = "what clip_search index made"},
        {"text", "TEXT", CLIP_CLI_LIST, &job.texts,
         .help = "look for this; may be repeated, and weighted, as in \"snow::0.5\""},
        {"image", "FILE", CLIP_CLI_LIST, &job.images, .help = "look for what is like this picture"},
        {"minus", "TEXT", CLIP_CLI_LIST, &job.minus, .help = "look for what is unlike this"},
        {"top", "N", CLIP_CLI_INT, &job.top, .least = 1, .most = 1e9,
         .help = "results to show (10)"},
        {"model", "MODEL", CLIP_CLI_TEXT, &job.model,
         .help = "where the index's model is now, if it was moved"},
        {"weights", "ema|raw", CLIP_CLI_CHOICE, &job.weights,
         .help = "which weights the index was made with (ema)"},
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &job.tokenizer,
         .help = "\"clip\" or a file (the model's own)"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search query",
        .summary = "Finds what fits words, pictures or a sum of them best; scores are cosines.",
        .example = "clip_search query --index photos.index --text \"a dog\" --minus people --top 5",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    if (job.texts.count + job.images.count + job.minus.count == 0)
        clip_cli_wrong_usage(&cli, "say what to look for with --text, --image or --minus");
    struct clip_error error = {0};
    clip_status status = ask(&cli, &job, &error);
    free(job.texts.items);
    free(job.images.items);
    free(job.minus.items);
    return clip_cli_finish(&cli, status, &error);
}

int main(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"index", "makes or extends an index of pictures or texts", run_index},
        {"query", "searches an index by texts and pictures", run_query},
        {0},
    };
    return clip_cli_dispatch("clip_search", "Finds pictures and texts by pictures and texts.",
                             "clip_search query --index photos.index --text \"a dog\"", commands,
                             argc, argv);
}
