/* The options by which the programs name a model, and the opening of what they name. */
#ifndef CLIP_TOOLS_MODEL_OPTIONS_H
#define CLIP_TOOLS_MODEL_OPTIONS_H

#include "core/status.h"
#include "embed/embedder.h"
#include "formats/model_file.h"
#include "tools/cli.h"

struct clip_model_options { /* start from {0} */
    const char *model, *tokenizer;
    int weights; /* of enum clip_weights; -1: nothing was said, which is ema */
    enum clip_precision precision;
    bool upright, as_stored; /* what is said of images */
};

/* Rows of a program's table of options; m is its struct clip_model_options. */
#define MODEL_OPTION(m)                                                                            \
    {                                                                                              \
        "model", "MODEL", CLIP_CLI_TEXT, &(m).model,                                               \
            .required = true,                                                                      \
            .help = "a run folder, or a model in a file, folder or Hugging Face's cache "          \
                    "(docs/models.md)"                                                             \
    }
#define WEIGHTS_OPTION(m)                                                                          \
    {                                                                                              \
        "weights", NULL, CLIP_CLI_CHOICE, &(m).weights,                                            \
            .names = clip_weights_name, .help = "which weights, if it has both (default ema)"      \
    }
#define TOKENIZER_OPTION(m)                                                                        \
    {                                                                                              \
        "tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &(m).tokenizer,                                   \
            .help = "\"clip\" or a file (default: the model's own)"                                \
    }
#define PRECISION_OPTION(m)                                                                        \
    {                                                                                              \
        "precision", NULL, CLIP_CLI_CHOICE, &(m).precision,                                        \
            .names = clip_precision_name,                                                          \
            .help = "what is multiplied (default fp32); bf16 is faster and almost as exact"        \
    }
#define UPRIGHT_OPTIONS(m, upright_is, as_stored_is)                                               \
    {"upright", NULL, CLIP_CLI_FLAG, &(m).upright,                                                 \
     .help = "turn images as their EXIF orientation says" upright_is},                             \
    {                                                                                              \
        "as-stored", NULL, CLIP_CLI_FLAG, &(m).as_stored,                                          \
            .help = "leave images as they are stored" as_stored_is                                 \
    }
#define MODEL_OPTIONS(m)                                                                           \
    MODEL_OPTION(m), WEIGHTS_OPTION(m), TOKENIZER_OPTION(m), PRECISION_OPTION(m)

/* Where no model is named: what UPRIGHT_OPTIONS fill. */
struct clip_upright {
    bool upright, as_stored;
};
/* Are images turned? Both options at once are wrong usage. */
bool clip_upright(const struct clip_cli *cli, const struct clip_upright *said);

/* Opens options->model as they say; `how`, NULL for nothing, is what else is wanted of it. What was
 * found of another project's model is said, unless the command line asked for quiet. */
clip_status clip_model_options_open(struct clip_embedder **out, const struct clip_cli *cli,
                                    const struct clip_model_options *options,
                                    const struct clip_embedder_options *how,
                                    struct clip_error *error);

#endif
