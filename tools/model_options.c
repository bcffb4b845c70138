#include "tools/model_options.h"

bool clip_upright(const struct clip_cli *cli, const struct clip_upright *said)
{
    if (said->upright && said->as_stored)
        clip_cli_wrong_usage(cli, "give --upright or --as-stored, not both");
    return said->upright;
}

clip_status clip_model_options_open(struct clip_embedder **out, const struct clip_cli *cli,
                                    const struct clip_model_options *options,
                                    const struct clip_embedder_options *how,
                                    struct clip_error *error)
{
    struct clip_embedder_options all = {0};
    if (how != NULL) all = *how;
    all.upright = clip_upright(cli, &(struct clip_upright){options->upright, options->as_stored});
    all.tokenizer = options->tokenizer;
    all.say = !cli->quiet;
    all.raw_weights = options->weights == CLIP_WEIGHTS_RAW;
    all.bf16 = options->precision == CLIP_PRECISION_BF16;
    return clip_embedder_open(out, options->model, &all, error);
}
