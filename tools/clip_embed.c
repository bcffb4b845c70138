/* clip_embed: images, texts or tensors -> rows of numbers in a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/progress.h"
#include "embed/embeddings.h"
#include "embed/texts.h"
#include "tools/cli.h"
#include "tools/model_options.h"

enum padding { PAD_END, PAD_ZERO };
static const char *padding_name(int padding)
{
    static const char *const names[] = {[PAD_END] = "end", [PAD_ZERO] = "zero"};
    return CLIP_NAME_OF(names, padding);
}

struct job {
    struct clip_model_options model;
    const char *output, *texts, *tensors, *pairs;
    int hidden_states, padding;      /* enum clip_layer, enum padding; -1: not asked for */
    struct clip_dataset_options set; /* of --pairs */
    struct clip_cli_list images;
    bool raw, grad;
};

struct outcome {
    const char *kind; /* "images", "texts", "pairs", "tensors" */
    int64_t rows, bad;
};

static clip_status embed_images(const struct job *job, const struct clip_embedder *e, bool quiet,
                                struct outcome *outcome, struct clip_error *error)
{
    clip_status status;
    struct clip_images images = {0};
    struct clip_embeddings out = {0};
    enum clip_row_kind kind = job->raw ? CLIP_RAW : CLIP_UNIT;
    outcome->kind = "images";
    CLIP_TRY(clip_images_open(&images, job->images.items, job->images.count, error));
    CLIP_TRY(clip_embeddings_from_images(&out, e, &images, kind, quiet, error));
    outcome->rows = out.count;
    outcome->bad = out.skipped;
    CLIP_TRY(clip_embeddings_write(&out, job->output, out.names, out.count, error));
out:
    clip_embeddings_release(&out);
    clip_images_release(&images);
    return status;
}

/* The hidden states of texts in whole, padded rows. */
static clip_status add_states(const struct job *job, const struct clip_embedder *e,
                              const struct clip_texts *texts, struct clip_embeddings *out,
                              struct clip_error *error)
{
    clip_status status;
    int32_t *ids = NULL, padding = CLIP_PAD_MODEL;
    int64_t context = clip_embedder_context(e);
    if (job->padding >= 0) padding = job->padding == PAD_ZERO ? 0 : CLIP_PAD_END;
    CLIP_NEW(ids, texts->count * context);
    CLIP_TRY(clip_embedder_tokenize(e, texts->lines, texts->count, padding, ids, NULL, error));
    CLIP_TRY(clip_embeddings_add_states(out, e, ids, texts->count, context,
                                        (enum clip_layer)job->hidden_states, error));
out:
    free(ids);
    return status;
}

static clip_status embed_texts(const struct job *job, const struct clip_embedder *e, bool quiet,
                               struct outcome *outcome, struct clip_error *error)
{
    clip_status status;
    struct clip_texts texts = {0};
    struct clip_embeddings out = {0};
    float *rows;
    int64_t cut, dim = clip_embedder_dim(e);
    const struct clip_texts_options options = {job->raw ? CLIP_RAW : CLIP_UNIT, quiet};
    outcome->kind = "texts";
    CLIP_TRY(clip_texts_read(&texts, job->texts, error));
    outcome->rows = texts.count;
    CLIP_TRY(clip_embeddings_add(&out, "text_embeds", texts.count, dim, &rows, error));
    CLIP_TRY(clip_texts_embed(e, texts.lines, texts.count, &options, rows, &cut, error));
    clip_texts_warn_cut(cut, "text");
    if (job->hidden_states >= 0) CLIP_TRY(add_states(job, e, &texts, &out, error));
    CLIP_TRY(clip_embeddings_write(&out, job->output, texts.lines, texts.count, error));
out:
    clip_embeddings_release(&out);
    clip_texts_release(&texts);
    return status;
}

static clip_status embed_pairs(const struct job *job, const struct clip_embedder *e, bool quiet,
                               struct outcome *outcome, struct clip_error *error)
{
    clip_status status;
    struct clip_dataset *dataset = NULL;
    struct clip_embeddings out = {0};
    enum clip_row_kind kind = job->raw ? CLIP_RAW : CLIP_UNIT;
    outcome->kind = "pairs";
    CLIP_TRY(clip_dataset_open(&dataset, job->pairs, &job->set, error));
    CLIP_TRY(clip_embeddings_from_pairs(&out, e, dataset, kind, quiet, error));
    outcome->rows = out.count;
    outcome->bad = out.skipped;
    CLIP_TRY(clip_embeddings_write(&out, job->output, out.names, out.count, error));
out:
    clip_embeddings_release(&out);
    clip_dataset_free(dataset);
    return status;
}

static clip_status embed_tensors(const struct job *job, const struct clip_embedder *e,
                                 struct outcome *outcome, struct clip_error *error)
{
    clip_status status;
    struct clip_embeddings out = {0};
    struct clip_embeddings_extras extras = {.states = job->hidden_states >= 0, .grad = job->grad};
    outcome->kind = "tensors";
    if (extras.states) extras.layer = (enum clip_layer)job->hidden_states;
    CLIP_TRY(clip_embeddings_from_tensors(&out, e, job->tensors, &extras, error));
    for (int64_t i = 0; i < out.bundle.tensor_count; i++)
        if (clip_path_has_suffix(out.bundle.tensors[i].name, "_embeds"))
            outcome->rows += out.bundle.tensors[i].tensor.shape[0];
    CLIP_TRY(clip_embeddings_write(&out, job->output, NULL, 0, error));
out:
    clip_embeddings_release(&out);
    return status;
}

static clip_status embed(const struct job *job, struct clip_cli *cli, struct outcome *outcome,
                         int64_t *dim, struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *e = NULL;
    const struct clip_embedder_options how = {
        .use = job->texts != NULL      ? CLIP_USE_TEXTS
               : job->images.count > 0 ? CLIP_USE_IMAGES
                                       : CLIP_USE_BOTH,
    };
    bool several = job->tensors != NULL || job->pairs != NULL || job->hidden_states >= 0;
    CLIP_TRY(clip_embeddings_check(job->output, several, error));
    CLIP_TRY(clip_model_options_open(&e, cli, &job->model, &how, error));
    *dim = clip_embedder_dim(e);
    if (job->tensors != NULL)
        status = embed_tensors(job, e, outcome, error);
    else if (job->pairs != NULL)
        status = embed_pairs(job, e, cli->quiet, outcome, error);
    else if (job->texts != NULL)
        status = embed_texts(job, e, cli->quiet, outcome, error);
    else
        status = embed_images(job, e, cli->quiet, outcome, error);
out:
    clip_embedder_free(e);
    return status;
}

static clip_status report(const struct clip_cli *cli, const struct job *job,
                          const struct outcome *outcome, int64_t dim, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (cli->json) {
        json_t *result = json_pack("{s:s, s:s, s:I, s:I, s:I}", "output", job->output, "kind",
                                   outcome->kind, "rows", (json_int_t)outcome->rows, "dim",
                                   (json_int_t)dim, "skipped", (json_int_t)outcome->bad);
        status = clip_cli_print_json(result, error);
        json_decref(result);
    } else {
        printf("%s: %s of %lld\n", CLIP_SHOWN(job->output), CLIP_COUNT(outcome->rows, "row"),
               (long long)dim);
    }
    if (status == CLIP_OK && outcome->bad > 0)
        status =
            clip_fail(error, CLIP_ERR_DATA, "%s could not be read and %s skipped; %s is in %s",
                      CLIP_COUNT(outcome->bad, job->pairs != NULL ? "pair" : "image or folder"),
                      clip_counted_word(outcome->bad, "was", "were"),
                      CLIP_COUNT(outcome->rows, "row"), job->output);
    return status;
}

int main(int argc, char **argv)
{
    struct job job = {.hidden_states = -1, .padding = -1};
    const struct clip_cli_option options[] = {
        MODEL_OPTION(job.model),
        UPRIGHT_OPTIONS(job.model, "", " (default)"),
        {"output", "FILE", CLIP_CLI_TEXT, &job.output, .required = true,
         .help = "the file to write: .h5, .safetensors or .npy"},
        {"images", "FOLDER|DATA|FILE...", CLIP_CLI_MANY, &job.images,
         .help = "image files, folders of images, or data sets"},
        {"texts", "FILE", CLIP_CLI_TEXT, &job.texts, .help = "a file with one text per line"},
        {"pairs", "DATA", CLIP_CLI_TEXT, &job.pairs,
         .help = "images and captions of a data set, for [train] teacher_embeddings"},
        {"images-root", "FOLDER", CLIP_CLI_TEXT, &job.set.images_root, .help = "",
         .unlisted = true},
        {"csv-separator", "C", CLIP_CLI_TEXT, &job.set.csv_separator, .help = "", .unlisted = true},
        {"csv-img-key", "NAME", CLIP_CLI_TEXT, &job.set.csv_img_key, .help = "", .unlisted = true},
        {"csv-caption-key", "NAME", CLIP_CLI_TEXT, &job.set.csv_caption_key, .help = "",
         .unlisted = true},
        {"class-templates", "FILE", CLIP_CLI_TEXT, &job.set.class_templates, .help = "",
         .unlisted = true},
        {"templates", "FILE", CLIP_CLI_TEXT, &job.set.class_templates, .help = "",
         .unlisted = true},
        {"tensors", "FILE", CLIP_CLI_TEXT, &job.tensors,
         .help = "ready inputs: pixel_values [n,3,S,S], input_ids [n,T], or both"},
        {"raw", NULL, CLIP_CLI_FLAG, &job.raw, .help = "do not normalise rows to length 1"},
        {"hidden-states", NULL, CLIP_CLI_CHOICE, &job.hidden_states, .names = clip_layer_name,
         .help = "also write hidden_states [n,context,width]"},
        {"padding", NULL, CLIP_CLI_CHOICE, &job.padding, .names = padding_name,
         .help = "what fills the rows of hidden_states (default: as the model's tokenizer says)"},
        {"grad", NULL, CLIP_CLI_FLAG, &job.grad,
         .help = "also write pixel_grad, the gradient of the pairs' cosines"},
        PRECISION_OPTION(job.model),
        WEIGHTS_OPTION(job.model),
        TOKENIZER_OPTION(job.model),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_embed",
        .summary = "Writes the embeddings of images, texts, pairs or ready tensors. These keys of "
                   "[data] are options too: --images-root, --csv-separator, --csv-img-key, "
                   "--csv-caption-key, --class-templates.",
        .example = "clip_embed --model runs/small --images photos/ --output photos.h5",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    int sources = (job.images.count > 0) + (job.texts != NULL) + (job.tensors != NULL) +
                  (job.pairs != NULL);
    if (sources != 1)
        clip_cli_wrong_usage(&cli, "give one of --images, --texts, --pairs and --tensors");
    if (job.hidden_states >= 0 && (job.images.count > 0 || job.pairs != NULL))
        clip_cli_wrong_usage(&cli, "--hidden-states goes with --texts or --tensors");
    if (job.padding >= 0 && (job.hidden_states < 0 || job.texts == NULL))
        clip_cli_wrong_usage(&cli, "--padding goes with --texts and --hidden-states");
    if (job.grad && job.tensors == NULL) clip_cli_wrong_usage(&cli, "--grad goes with --tensors");
    struct clip_error error = {0};
    struct outcome outcome = {0};
    int64_t dim = 0;
    clip_status status = embed(&job, &cli, &outcome, &dim, &error);
    if (status == CLIP_OK) status = report(&cli, &job, &outcome, dim, &error);
    free(job.images.items);
    return clip_cli_finish(&cli, status, &error);
}
