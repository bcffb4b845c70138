/* clip_guide: paints an image towards texts. */
#include <stdio.h>
#include <stdlib.h>

#include "core/count.h"
#include "core/escape.h"
#include "guide/guide_run.h"
#include "tools/cli.h"
#include "tools/model_options.h"

struct arguments {
    struct clip_model_options model;
    const char *output, *image;
    struct clip_cli_list text, minus;
    int64_t size, steps, views, frame_every, seed; /* size 0: the model's */
    double lr, smooth, keep;
    bool force;
};

static clip_status report(const struct clip_cli *cli, const struct arguments *a,
                          const struct clip_guide_outcome *o, struct clip_error *error)
{
    if (!cli->json) {
        printf("%s/image.png: %s, %s beside it\n", CLIP_SHOWN(a->output),
               CLIP_COUNT(o->steps, "step"), CLIP_COUNT(o->frames, "frame"));
        for (int64_t i = 0; i < a->text.count; i++)
            printf("  %6.3f  %s\n", (double)o->cosines[i], CLIP_SHOWN(a->text.items[i]));
        for (int64_t i = 0; i < a->minus.count; i++)
            printf("  %6.3f  not %s\n", (double)o->cosines[a->text.count + i],
                   CLIP_SHOWN(a->minus.items[i]));
        return CLIP_OK;
    }
    json_t *texts = json_object(), *minus = json_object();
    for (int64_t i = 0; i < a->text.count; i++)
        clip_json_set(&texts, a->text.items[i], clip_json_number((double)o->cosines[i]));
    for (int64_t i = 0; i < a->minus.count; i++)
        clip_json_set(&minus, a->minus.items[i],
                      clip_json_number((double)o->cosines[a->text.count + i]));
    json_t *value = json_pack("{s:s, s:I, s:I, s:f, s:o, s:o}", "output", a->output, "steps",
                              (json_int_t)o->steps, "frames", (json_int_t)o->frames, "similarity",
                              o->similarity, "text", texts, "minus", minus);
    clip_status status = clip_cli_print_json(value, error);
    json_decref(value);
    return status;
}

static clip_status guide(const struct arguments *a, const struct clip_cli *cli,
                         struct clip_guide_outcome *outcome, struct clip_error *error)
{
    clip_status status;
    struct clip_embedder *e = NULL;
    struct clip_guide *g = NULL;
    struct clip_image start = {0};
    const struct clip_image_limits limits = {.max_pixels = CLIP_IMAGE_MAX_PIXELS, .upright = true};
    const struct clip_guide_run_options how = {.output = a->output,
                                               .frame_every = a->frame_every,
                                               .force = a->force,
                                               .quiet = cli->quiet,
                                               .stop = clip_cli_catch_signals()};
    const struct clip_embedder_options steps = {.pack = true};
    CLIP_TRY(clip_model_options_open(&e, cli, &a->model, &steps, error));
    if (a->image != NULL) CLIP_TRY(clip_image_decode_file(a->image, &limits, &start, error));
    const struct clip_guide_options options = {
        .texts = a->text.items,
        .text_count = a->text.count,
        .minus = a->minus.items,
        .minus_count = a->minus.count,
        .start = a->image != NULL ? &start : NULL,
        .size = a->size > 0 ? a->size : clip_embedder_image_size(e),
        .steps = a->steps,
        .views = a->views,
        .lr = a->lr,
        .smooth = a->smooth,
        .keep = a->keep,
        .seed = (uint64_t)a->seed,
    };
    CLIP_TRY(clip_guide_create(&g, e, &options, error));
    CLIP_TRY(clip_guide_run(g, &options, &how, outcome, error));
out:
    clip_guide_free(g);
    clip_image_release(&start);
    clip_embedder_free(e);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .steps = 200, .views = 16, .frame_every = 20, .lr = 0.1, .smooth = 2, .keep = 1};
    const struct clip_cli_option options[] = {
        MODEL_OPTION(a.model),
        {"text", "TEXT", CLIP_CLI_LIST, &a.text, .required = true,
         .help = "what to paint (may be repeated)"},
        {"minus", "TEXT", CLIP_CLI_LIST, &a.minus,
         .help = "what to move away from (may be repeated)"},
        {"image", "FILE", CLIP_CLI_TEXT, &a.image,
         .help = "an image to change (default: start from noise)"},
        {"output", "FOLDER", CLIP_CLI_TEXT, &a.output, .required = true,
         .help = "the folder for image.png, frames and curve"},
        {"size", "N", CLIP_CLI_INT, &a.size,
         .help = "side of the image in pixels (default: the model's)", .least = 8, .most = 4096},
        {"steps", "N", CLIP_CLI_INT, &a.steps, .help = "number of steps (default 200)", .least = 1,
         .most = 1e6},
        {"views", "N", CLIP_CLI_INT, &a.views, .help = "random views per step (default 16)",
         .least = 1, .most = 4096},
        {"lr", "X", CLIP_CLI_REAL, &a.lr,
         .help = "learning rate: how far a step goes (default 0.1)", .least = 1e-6, .most = 100},
        {"smooth", "X", CLIP_CLI_REAL, &a.smooth, .help = "weight of smoothness (default 2)",
         .least = 0, .most = 1e6},
        {"keep", "X", CLIP_CLI_REAL, &a.keep, .help = "weight of staying near --image (default 1)",
         .least = 0, .most = 1e6},
        {"seed", "N", CLIP_CLI_INT, &a.seed, .help = "seed of the noise and the views (default 0)",
         .least = 0, .most = 9e15},
        {"frame-every", "N", CLIP_CLI_INT, &a.frame_every,
         .help = "steps between frames (default 20)", .least = 1, .most = 1e6},
        {"force", NULL, CLIP_CLI_FLAG, &a.force,
         .help = "replace an earlier painting in the folder"},
        WEIGHTS_OPTION(a.model),
        TOKENIZER_OPTION(a.model),
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_guide",
        .summary = "Paints an image towards a text, or changes a given image, by the gradient of "
                   "their similarity.",
        .example = "clip_guide --model runs/small --text \"a red circle\" --output frames/",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_guide_outcome outcome = {0};
    clip_status status = guide(&a, &cli, &outcome, &error);
    if (status == CLIP_OK) status = report(&cli, &a, &outcome, &error);
    free(outcome.cosines);
    free(a.text.items);
    free(a.minus.items);
    return clip_cli_finish(&cli, status, &error);
}
