/* clip_export: a trained model as a file for other programs. */
#include <stdio.h>
#include <string.h>

#include "core/progress.h"
#include "eval/model_file.h"
#include "tools/cli.h"

static clip_status find_format(const char *name, enum clip_export_format *out,
                               struct clip_error *error)
{
    *out = CLIP_EXPORT_HDF5;
    if (strcmp(name, "hdf5") == 0) return CLIP_OK;
    *out = CLIP_EXPORT_SAFETENSORS;
    if (strcmp(name, "safetensors") == 0) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "--format %s: this version writes hdf5 (the native format) and safetensors "
                     "(open_clip's names); choose one of them",
                     name);
}

static enum clip_dtype find_dtype(const char *name)
{
    return strcmp(name, "f16") == 0 ? CLIP_F16 : strcmp(name, "bf16") == 0 ? CLIP_BF16 : CLIP_F32;
}

int main(int argc, char **argv)
{
    const char *model = NULL, *format_name = NULL, *output = NULL, *dtype = "f32";
    const char *weights = "ema", *tokenizer = NULL;
    const struct clip_cli_option options[] = {
        {"model", "MODEL", CLIP_CLI_TEXT, &model, .required = true,
         .help = "run folder, checkpoint .h5 or .safetensors"},
        {"format", "FORMAT", CLIP_CLI_TEXT, &format_name, .required = true,
         .help = "hdf5 (native) or safetensors (open_clip's names)"},
        {"output", "PATH", CLIP_CLI_TEXT, &output, .required = true, .help = "the file to write"},
        {"dtype", "f32|f16|bf16", CLIP_CLI_CHOICE, &dtype, .help = "type of the weights (f32)"},
        {"weights", "ema|raw", CLIP_CLI_CHOICE, &weights,
         .help = "which weights, where there are both (ema)"},
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &tokenizer,
         .help = "\"clip\" or a file, to write in place of the model's own"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_export",
        .summary = "Writes a trained model's weights, description and tokenizer into one file, "
                   "reads it back and compares. The bytes depend on the model alone.",
        .example = "clip_export --model runs/small --format safetensors --output small.safetensors",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_model_file *file = NULL;
    enum clip_export_format format;
    const struct clip_model_file_options open = {
        .weights = strcmp(weights, "raw") == 0 ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA,
        .tokenizer = tokenizer,
    };
    clip_status status;
    CLIP_TRY(find_format(format_name, &format, &error));
    CLIP_TRY(clip_model_file_open(&file, model, &open, &error));
    if (file->tokenizer == NULL)
        clip_warn("%s has no tokenizer, so the file will have none; name one with --tokenizer",
                  file->source);
    CLIP_TRY(clip_model_export(file, format, output, find_dtype(dtype), &error));
    if (cli.json) {
        json_t *result = json_pack("{s:s, s:s, s:s, s:I, s:s, s:b}", "output", output, "format",
                                   format_name, "dtype", dtype, "parameters",
                                   (json_int_t)clip_model_parameters(file->model), "checksum",
                                   file->checksum, "tokenizer", file->tokenizer != NULL);
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("%s: %lld parameters as %s, read back and equal\n", output,
               (long long)clip_model_parameters(file->model), dtype);
    }
out:
    clip_model_file_free(file);
    return clip_cli_finish(&cli, status, &error);
}
