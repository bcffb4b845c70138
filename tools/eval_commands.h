/* Sub-commands of clip_eval that stand in files of their own, and what all of them have. */
#ifndef CLIP_TOOLS_EVAL_COMMANDS_H
#define CLIP_TOOLS_EVAL_COMMANDS_H

#include "core/status.h"
#include "eval/embedder.h"

struct clip_eval_model { /* start from {.weights = "ema"} */
    const char *model, *weights, *tokenizer;
};

#define MODEL_OPTIONS(m)                                                               \
    {"model", "MODEL", CLIP_CLI_TEXT, &(m).model, .required = true,                    \
     .help = "run folder, checkpoint .h5 or .safetensors"},                            \
    {"weights", "ema|raw", CLIP_CLI_CHOICE, &(m).weights,                              \
     .help = "which weights, where there are both (ema)"},                             \
    {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &(m).tokenizer,                          \
     .help = "\"clip\" or a file (the model's own)"}

clip_status clip_eval_open_model(struct clip_embedder **out, const struct clip_eval_model *options,
                                 struct clip_error *error);

int clip_eval_classify(int argc, char **argv);
int clip_eval_zeroshot(int argc, char **argv);
int clip_eval_interpolate(int argc, char **argv);

#endif
