/* clip_export: a trained model as a file for other programs. */
#include <stdio.h>
#include <string.h>

#include "core/progress.h"
#include "formats/model_export.h"
#include "tools/cli.h"
#include "tools/model_options.h"

static clip_status find_format(const char *name, enum clip_export_format *out,
                               struct clip_error *error)
{
    for (int i = 0; clip_export_formats[i] != NULL; i++) {
        if (strcmp(name, clip_export_formats[i]) != 0) continue;
        *out = (enum clip_export_format)i;
        return CLIP_OK;
    }
    return clip_fail(error, CLIP_ERR_USAGE,
                     "--format %s: there is no such format; choose huggingface, open_clip, hdf5, "
                     "safetensors, onnx or gguf",
                     name);
}

static enum clip_dtype find_dtype(const char *name)
{
    return strcmp(name, "f16") == 0 ? CLIP_F16 : strcmp(name, "bf16") == 0 ? CLIP_BF16 : CLIP_F32;
}

int main(int argc, char **argv)
{
    struct clip_model_options model = {.weights = "ema"};
    const char *format_name = NULL, *output = NULL, *dtype = "f32";
    bool force = false;
    const struct clip_cli_option options[] = {
        MODEL_OPTION(model),
        {"format", "FORMAT", CLIP_CLI_TEXT, &format_name, .required = true,
         .help = "huggingface or open_clip (a folder), hdf5 (native), safetensors, onnx, gguf"},
        {"output", "PATH", CLIP_CLI_TEXT, &output, .required = true,
         .help = "the file or folder to write"},
        {"dtype", "f32|f16|bf16", CLIP_CLI_CHOICE, &dtype, .help = "type of the weights (f32)"},
        WEIGHTS_OPTION(model),
        {"force", NULL, CLIP_CLI_FLAG, &force, .help = "replace a folder with an earlier export"},
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &model.tokenizer,
         .help = "\"clip\" or a file, to write in place of the model's own"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_export",
        .summary = "Writes a trained model's weights, description and tokenizer as another program "
                   "reads them, reads them back and compares. The bytes depend on the model alone.",
        .example = "clip_export --model runs/small --format huggingface --output small-hf",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    struct clip_error error = {0};
    struct clip_model_file *file = NULL;
    struct clip_export_options export = {.dtype = find_dtype(dtype), .replace = force};
    const struct clip_model_file_options open = {
        .weights = clip_model_options_raw(&model) ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA,
        .tokenizer = model.tokenizer,
        .say = !cli.quiet,
    };
    clip_status status;
    CLIP_TRY(find_format(format_name, &export.format, &error));
    CLIP_TRY(clip_model_file_open(&file, model.model, &open, &error));
    CLIP_TRY(clip_model_file_sum(file, &error));
    if (file->tokenizer == NULL)
        clip_warn("%s has no tokenizer, so the export has none; name one with --tokenizer",
                  file->source);
    CLIP_TRY(clip_model_export(file, output, &export, &error));
    if (cli.json) {
        const struct clip_model_config *c = &file->model->config;
        json_t *result = json_pack(
            "{s:s, s:s, s:s, s:I, s:s, s:b, s:s, s:s}", "output", output, "format", format_name,
            "dtype", dtype, "parameters", (json_int_t)clip_model_parameters(file->model),
            "checksum", file->checksum, "tokenizer", file->tokenizer != NULL, "source_format",
            file->format != NULL ? file->format : "clip.c", "activation",
            c->quick_gelu       ? "quick_gelu"
            : c->gelu_tanh      ? "gelu_tanh"
            : c->text_gelu_tanh ? "gelu, text gelu_tanh"
                                : "gelu");
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
