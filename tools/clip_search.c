/* clip_search: finding images and texts by images and texts. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/file.h"
#include "embed/texts.h"
#include "search/index_place.h"
#include "search/index_update.h"
#include "search/query.h"
#include "search/search.h"
#include "serve/http.h"
#include "tools/cli.h"
#include "tools/model_options.h"

/* ---- index ---- */

struct indexing {
    struct clip_model_options model;
    const char *texts, *output;
    struct clip_cli_list images;
    struct clip_index_options options;
};

static clip_status update(const struct indexing *job, const struct clip_embedder *e,
                          struct clip_index_changes *changes, struct clip_error *error)
{
    clip_status status;
    struct clip_texts texts = {0};
    if (job->texts == NULL)
        return clip_index_update_images(job->output, e, job->images.items, job->images.count,
                                        &job->options, changes, error);
    CLIP_TRY(clip_texts_read(&texts, job->texts, error));
    CLIP_TRY(clip_index_update_texts(job->output, e, texts.lines, texts.count, &job->options,
                                     changes, error));
out:
    clip_texts_release(&texts);
    return status;
}

static clip_status print_changes(const struct clip_cli *cli, const char *path,
                                 const struct clip_index *index, const struct clip_index_changes *c,
                                 struct clip_error *error)
{
    if (!cli->json) {
        printf("%s: %s", CLIP_SHOWN(path), CLIP_COUNT(c->count, index->texts ? "text" : "image"));
        printf(", %lld of them new", (long long)c->added);
        if (c->changed > 0) printf(", %lld changed", (long long)c->changed);
        if (c->removed > 0) printf(", %lld removed", (long long)c->removed);
        putchar('\n');
        return CLIP_OK;
    }
    json_t *result = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:b}", "output", path,
        "kind", index->texts ? "texts" : "images", "count", (json_int_t)c->count, "added",
        (json_int_t)c->added, "skipped", (json_int_t)c->skipped, "changed", (json_int_t)c->changed,
        "removed", (json_int_t)c->removed, "unchanged", (json_int_t)c->unchanged, "embedded",
        (json_int_t)c->embedded, "segments", (json_int_t)c->segments, "model", index->model,
        "model_checksum", index->model_checksum, "weights", index->raw ? "raw" : "ema", "upright",
        (int)index->upright);
    clip_status status = clip_cli_print_json(result, error);
    json_decref(result);
    return status;
}

/* What the command line does not say is as in the index that is there: how its images lie, and the
 * weights. A new index is upright. */
static clip_status remember(struct indexing *job, struct clip_error *error)
{
    struct clip_index index = {.upright = true};
    struct clip_model_options *m = &job->model;
    clip_status status = CLIP_OK;
    if (clip_path_exists(job->output)) status = clip_index_list_read(&index, job->output, error);
    if (status != CLIP_OK) return status;
    if (!m->upright && !m->as_stored) m->upright = index.upright || index.texts;
    if (m->weights < 0) m->weights = index.raw ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA;
    clip_index_release(&index);
    return status;
}

static int run_index(int argc, char **argv)
{
    struct indexing job = {.model.weights = -1};
    int precision = -1;
    bool no_f32 = false;
    const struct clip_cli_option options[] = {
        MODEL_OPTION(job.model),
        {"output", "FILE", CLIP_CLI_TEXT, &job.output, .required = true,
         .help = "the index; if it exists, it is brought up to date"},
        {"images", "FOLDER|DATA|FILE...", CLIP_CLI_MANY, &job.images,
         .help = "image files, folders of images, or data sets"},
        {"texts", "FILE", CLIP_CLI_TEXT, &job.texts, .help = "a file with one text per line"},
        {"precision", NULL, CLIP_CLI_CHOICE, &precision, .names = clip_index_precision_name,
         .help = "precision of the rows that a query reads (default f32)"},
        {"no-f32", NULL, CLIP_CLI_FLAG, &no_f32,
         .help = "keep no f32 rows beside bf16 or int8: a smaller file, but a less exact order"},
        {"segment-size", "N", CLIP_CLI_INT, &job.options.segment_rows, .least = 1, .most = 1e6,
         .help = "images to embed before a segment is written (default 1024)"},
        {"force", NULL, CLIP_CLI_FLAG, &job.options.force,
         .help = "start over if the index has another model, precision or kind"},
        UPRIGHT_OPTIONS(job.model, " (default of a new index)", ""),
        {"weights", NULL, CLIP_CLI_CHOICE, &job.model.weights, .names = clip_weights_name,
         .help = "which weights, if it has both (default: the index's; ema in a new one)"},
        TOKENIZER_OPTION(job.model),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search index",
        .summary = "Makes an index of images or texts, or brings it up to date: only what is new "
                   "or has changed is embedded, and what is gone is marked as removed.",
        .example = "clip_search index --model runs/small --images photos/ --output photos.index",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    if ((job.images.count > 0) == (job.texts != NULL))
        clip_cli_wrong_usage(&cli, "give --images or --texts");
    job.options.quiet = cli.quiet;
    job.options.precision = clip_index_precision_name(precision);
    job.options.drop_exact = no_f32;
    job.options.stop = clip_cli_catch_signals();
    struct clip_error error = {0};
    struct clip_embedder *e = NULL;
    struct clip_index index = {0};
    struct clip_index_changes changes = {0};
    const struct clip_embedder_options how = {.checksum = true};
    clip_status status;
    CLIP_TRY(remember(&job, &error));
    CLIP_TRY(clip_model_options_open(&e, &cli, &job.model, &how, &error));
    CLIP_TRY(update(&job, e, &changes, &error));
    CLIP_TRY(clip_index_list_read(&index, job.output, &error));
    CLIP_TRY(print_changes(&cli, job.output, &index, &changes, &error));
    if (changes.skipped > 0)
        status = clip_fail(&error, CLIP_ERR_DATA,
                           "%s could not be read and %s skipped; the others are in %s",
                           CLIP_COUNT(changes.skipped, "image or folder"),
                           clip_counted_word(changes.skipped, "was", "were"), job.output);
out:
    clip_index_release(&index);
    clip_embedder_free(e);
    free(job.images.items);
    return clip_cli_finish(&cli, status, &error);
}

static int run_compact(int argc, char **argv)
{
    const char *path = NULL;
    struct clip_index_options job = {0};
    int precision = -1;
    const struct clip_cli_option options[] = {
        {"index", "FILE", CLIP_CLI_TEXT, &path, .required = true,
         .help = "an index, made by clip_search index"},
        {"precision", NULL, CLIP_CLI_CHOICE, &precision, .names = clip_index_precision_name,
         .help = "precision of the rows that a query reads (default: unchanged)"},
        {"no-f32", NULL, CLIP_CLI_FLAG, &job.drop_exact,
         .help = "keep no f32 rows beside bf16 or int8"},
        {"segment-size", "N", CLIP_CLI_INT, &job.segment_rows, .least = 1, .most = 1e6,
         .help = "rows per file (default 65536)"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search compact",
        .summary = "Writes an index anew without embedding anything: few files, no removed rows, "
                   "and another precision if you ask for one.",
        .example = "clip_search compact --index photos.index --precision int8",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_index index = {0};
    struct clip_index_changes changes;
    clip_status status;
    job.precision = clip_index_precision_name(precision);
    CLIP_TRY(clip_index_compact(path, &job, &changes, &error));
    CLIP_TRY(clip_index_list_read(&index, path, &error));
    CLIP_TRY(print_changes(&cli, path, &index, &changes, &error));
out:
    clip_index_release(&index);
    return clip_cli_finish(&cli, status, &error);
}

static int run_check(int argc, char **argv)
{
    const char *path = NULL;
    const struct clip_cli_option options[] = {
        {"index", "FILE", CLIP_CLI_TEXT, &path, .required = true,
         .help = "an index, made by clip_search index"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search check",
        .summary = "Reads an index completely and compares its checksums.",
        .example = "clip_search check --index photos.index",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_index index = {0};
    clip_status status;
    CLIP_TRY(clip_index_verify(path, &error));
    CLIP_TRY(clip_index_open(&index, path, &error));
    if (cli.json) {
        json_t *result = json_pack(
            "{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:b, s:s, s:s}", "index", path, "kind",
            index.texts ? "texts" : "images", "count", (json_int_t)index.live, "removed",
            (json_int_t)(index.count - index.live), "dim", (json_int_t)index.dim, "segments",
            (json_int_t)index.segment_count, "precision",
            clip_index_precision_name(index.precision), "f32_kept", (int)index.keeps_exact, "model",
            index.model, "model_checksum", index.model_checksum);
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("%s is whole: %s of %s, %lld removed, %s of %s rows\n", CLIP_SHOWN(path),
               CLIP_COUNT(index.live, index.texts ? "text" : "image"), CLIP_SHOWN(index.model),
               (long long)(index.count - index.live), CLIP_COUNT(index.segment_count, "segment"),
               clip_index_precision_name(index.precision));
    }
out:
    clip_index_release(&index);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- the model of an index ---- */

#define INDEX_MODEL_OPTIONS(m)                                                                     \
    {"model", "MODEL", CLIP_CLI_TEXT, &(m).model,                                                  \
     .help = "where the index's model is now, if it was moved"},                                   \
        {"weights",                                                                                \
         NULL,                                                                                     \
         CLIP_CLI_CHOICE,                                                                          \
         &(m).weights,                                                                             \
         .names = clip_weights_name,                                                               \
         .help = "which weights the index was made with (default: as it remembers)"},              \
        TOKENIZER_OPTION(m)

static clip_status open_model(struct clip_embedder **out, const struct clip_cli *cli,
                              const struct clip_model_options *options,
                              const struct clip_index *index,
                              const struct clip_embedder_options *how, struct clip_error *error)
{
    struct clip_model_options found = *options;
    if (found.model == NULL) found.model = index->model;
    if (found.weights < 0) found.weights = index->raw ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA;
    found.upright = index->upright || index->texts; /* a photograph that is asked with */
    return clip_model_options_open(out, cli, &found, how, error);
}

/* ---- query ---- */

struct asking {
    const char *index;
    struct clip_model_options model; /* its model NULL: the index's */
    struct clip_cli_list texts, minus, images, minus_images, under;
    const char *words; /* given plainly, one text; NULL: none */
    int64_t top;
};

static clip_status make_query(struct clip_query *q, const struct asking *job,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct {
        const struct clip_cli_list *list;
        bool images, minus;
    } options[] = {
        {&job->texts, false, false},
        {&job->minus, false, true},
        {&job->images, true, false},
        {&job->minus_images, true, true},
    };
    if (job->words != NULL) CLIP_TRY(clip_query_add_text(q, job->words, false, error));
    for (size_t k = 0; k < sizeof options / sizeof *options; k++)
        for (int64_t i = 0; i < options[k].list->count; i++) {
            const char *written = options[k].list->items[i];
            CLIP_TRY(options[k].images ? clip_query_add_file(q, written, options[k].minus, error)
                                       : clip_query_add_text(q, written, options[k].minus, error));
        }
out:
    return status;
}

static clip_status report_hits(const struct clip_cli *cli, const struct clip_index *index,
                               const struct clip_hit *hits, int64_t found, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *result = NULL, *list = json_array();
    struct clip_buffer path = {0};
    char *here = getcwd(NULL, 0);
    for (int64_t i = 0; i < found; i++) {
        CLIP_TRY(clip_index_path(&path, index, hits[i].number, here, error));
        if (!cli->json)
            printf("%7.4f  %s\n", (double)hits[i].score, CLIP_SHOWN(path.data));
        else
            CLIP_TRY(clip_json_add(list, error, "{s:s, s:f}", index->texts ? "text" : "path",
                                   path.data, "score", (double)hits[i].score));
    }
    if (!cli->json) goto out;
    CLIP_TRY(clip_json_pack(&result, error, "{s:O}", "results", list));
    CLIP_TRY(clip_cli_print_json(result, error));
out:
    free(here);
    clip_buffer_release(&path);
    json_decref(list);
    json_decref(result);
    return status;
}

/* The folders as the index can find them: where the program stands elsewhere than the index was
 * begun, one that is there counts from here. */
static clip_status find_folders(const struct clip_index *index, const struct clip_cli_list *under,
                                struct clip_names *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer place = {0};
    char *here = getcwd(NULL, 0);
    for (int64_t i = 0; i < under->count; i++) {
        bool from_here = here != NULL && clip_path_is_folder(under->items[i]);
        CLIP_TRY(clip_index_place(&place, from_here ? here : index->base, under->items[i], error));
        CLIP_TRY(clip_names_add(out, place.data, error));
    }
out:
    free(here);
    clip_buffer_release(&place);
    return status;
}

static clip_status ask(const struct clip_cli *cli, const struct asking *job,
                       struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *e = NULL;
    struct clip_index index = {0};
    struct clip_query query = {0};
    struct clip_search_filter filter = {0};
    struct clip_names under = {0};
    struct clip_hit *hits = NULL;
    float *row = NULL;
    int64_t found = 0;
    const struct clip_embedder_options how = {.checksum = true};
    CLIP_TRY(clip_index_open(&index, job->index, error));
    CLIP_TRY(find_folders(&index, &job->under, &under, error));
    CLIP_TRY(clip_search_filter_make(&filter, &index, (const char *const *)under.names, under.count,
                                     error));
    if (filter.count == 0 && job->under.count > 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s has no images under %s; relative folders count from here, or from "
                           "%s, where the index was begun",
                           job->index, job->under.items[0], index.base));
    CLIP_TRY(open_model(&e, cli, &job->model, &index, &how, error));
    CLIP_TRY(clip_index_check(&index, e, job->index, error));
    CLIP_TRY(make_query(&query, job, error));
    CLIP_NEW(row, index.dim);
    CLIP_TRY(clip_query_resolve(&query, e, &index, row, error));
    CLIP_NEW(hits, job->top < index.count ? job->top : index.count);
    CLIP_TRY(clip_index_search(&index, &filter, row, job->top, hits, &found, error));
    CLIP_TRY(report_hits(cli, &index, hits, found, error));
out:
    free(hits);
    free(row);
    clip_names_release(&under);
    clip_query_release(&query);
    clip_search_filter_release(&filter);
    clip_index_release(&index);
    clip_embedder_free(e);
    return status;
}

/* `clip_search query a dog` looks for the text "a dog": the plain words are one text. */
static clip_status join_words(const struct clip_cli_list *words, struct clip_buffer *out,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < words->count && status == CLIP_OK; i++)
        status = clip_buffer_printf(out, error, "%s%s", i > 0 ? " " : "", words->items[i]);
    return status;
}

static int run_query(int argc, char **argv)
{
    struct asking job = {.top = 10, .model.weights = -1};
    const struct clip_cli_option options[] = {
        {"index", "FILE", CLIP_CLI_TEXT, &job.index, .required = true,
         .help = "an index, made by clip_search index"},
        {"text", "TEXT", CLIP_CLI_LIST, &job.texts,
         .help = "find what fits this; may have a weight, as in \"snow::0.5\""},
        {"image", "FILE", CLIP_CLI_LIST, &job.images, .help = "find what is like this image"},
        {"minus", "TEXT", CLIP_CLI_LIST, &job.minus, .help = "find what is unlike this text"},
        {"minus-image", "FILE", CLIP_CLI_LIST, &job.minus_images,
         .help = "find what is unlike this image"},
        {"under", "FOLDER", CLIP_CLI_LIST, &job.under,
         .help = "show only images whose path is in this folder"},
        {"top", "N", CLIP_CLI_INT, &job.top, .least = 1, .most = 1e9,
         .help = "results to show (default 10)"},
        INDEX_MODEL_OPTIONS(job.model),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search query",
        .arguments = "[WORDS...]",
        .summary = "Finds what best fits texts, images or a combination of them; WORDS are one "
                   "text. Scores are cosines. --text, --image, --minus, --minus-image and --under "
                   "may be repeated.",
        .example = "clip_search query --index photos.index --text \"a dog\" --minus people --top 5",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    if (job.texts.count + job.minus.count + job.images.count + job.minus_images.count +
            cli.plain.count ==
        0)
        clip_cli_wrong_usage(&cli, "say what to look for: words, --text, --image or --minus");
    struct clip_error error = {0};
    struct clip_buffer words = {0};
    clip_status status = join_words(&cli.plain, &words, &error);
    job.words = words.data;
    if (status == CLIP_OK) status = ask(&cli, &job, &error);
    clip_buffer_release(&words);
    free(job.texts.items);
    free(job.images.items);
    free(job.minus.items);
    free(job.minus_images.items);
    free(job.under.items);
    return clip_cli_finish(&cli, status, &error);
}

/* ---- serve ---- */

struct serving {
    const char *index, *address;
    struct clip_model_options model; /* its model NULL: the index's */
    int64_t port;
};

/* Says where the page is: what a script waits for. */
static clip_status say_ready(const struct clip_cli *cli, const struct serving *job, int port,
                             int64_t count, struct clip_error *error)
{
    clip_status status;
    char url[128];
    bool six = strchr(job->address, ':') != NULL;
    snprintf(url, sizeof url, "http://%s%s%s:%d/", six ? "[" : "", job->address, six ? "]" : "",
             port);
    if (cli->json) {
        json_t *result =
            json_pack("{s:s, s:i, s:I}", "url", url, "port", port, "count", (json_int_t)count);
        status = clip_cli_print_json(result, error);
        json_decref(result);
    } else {
        printf("%s shows %s; Ctrl-C ends it\n", url, CLIP_COUNT(count, "image"));
        status = CLIP_OK;
    }
    return status == CLIP_OK ? clip_cli_flush(error) : status;
}

static clip_status serve(const struct clip_cli *cli, const struct serving *job,
                         struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *e = NULL;
    struct clip_index index = {0};
    struct clip_api *api = NULL;
    struct clip_http *http = NULL;
    const struct clip_embedder_options how = {
        .max_pixels = CLIP_API_PIXELS, .checksum = true, .pack = true};
    const volatile sig_atomic_t *stop = clip_cli_catch_signals();
    CLIP_TRY(clip_index_list_read(&index, job->index, error));
    CLIP_TRY(open_model(&e, cli, &job->model, &index, &how, error));
    CLIP_TRY(clip_api_create(&api, job->index, e, (int)cli->threads, error));
    CLIP_TRY(clip_http_start(&http, api, job->address, (int)job->port, error));
    CLIP_TRY(say_ready(cli, job, clip_http_port(http), clip_api_count(api), error));
    while (*stop == 0) {
        poll(NULL, 0, 100);
        clip_http_sweep(http);
    }
    status = clip_fail(error, CLIP_ERR_INTERRUPTED, "ended by a signal");
out:
    clip_http_stop(http);
    clip_api_free(api);
    clip_index_release(&index);
    clip_embedder_free(e);
    return status;
}

static int run_serve(int argc, char **argv)
{
    struct serving job = {.address = "127.0.0.1", .port = 8080, .model.weights = -1};
    const struct clip_cli_option options[] = {
        {"index", "FILE", CLIP_CLI_TEXT, &job.index, .help = "an index of images"},
        {"port", "N", CLIP_CLI_INT, &job.port, .least = 0, .most = 65535,
         .help = "where to listen (default 8080; 0 takes any free port)"},
        {"address", "ADDRESS", CLIP_CLI_TEXT, &job.address,
         .help = "where to listen, in digits (default 127.0.0.1: only this machine can ask; with "
                 "0.0.0.0 everybody who reaches it sees all images)"},
        INDEX_MODEL_OPTIONS(job.model),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_search serve",
        .arguments = "[INDEX]",
        .summary = "Serves a page on which an index of images is searched in the browser.",
        .example = "clip_search serve --index photos.index --port 8080",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    if (cli.plain.count + (job.index != NULL ? 1 : 0) != 1)
        clip_cli_wrong_usage(&cli, "name one index, as in clip_search serve photos.index");
    if (job.index == NULL) job.index = cli.plain.items[0];
    struct clip_error error = {0};
    clip_status status = serve(&cli, &job, &error);
    return clip_cli_finish(&cli, status, &error);
}

int main(int argc, char **argv)
{
    static const struct clip_command commands[] = {
        {"index", "makes an index of images or texts, or brings it up to date", run_index},
        {"query", "searches an index by texts and images", run_query},
        {"serve", "serves a page that searches an index of images", run_serve},
        {"compact", "writes an index anew: fewer files, or another precision", run_compact},
        {"check", "reads an index completely and compares its checksums", run_check},
        {0},
    };
    return clip_cli_dispatch("clip_search", "Finds images and texts by images and texts.",
                             "clip_search query --index photos.index --text \"a dog\"", commands,
                             argc, argv);
}
