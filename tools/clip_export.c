/* clip_export: a trained model as a file for other programs. */
#include <stdio.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/progress.h"
#include "embed/self_check.h"
#include "formats/architectures.h"
#include "formats/model_export.h"
#include "tools/cli.h"
#include "tools/model_options.h"

static const struct {
    const char *suffix;
    enum clip_export_format format;
} suffixes[] = {
    {".h5", CLIP_EXPORT_HDF5},   {".hdf5", CLIP_EXPORT_HDF5},
    {".gguf", CLIP_EXPORT_GGUF}, {".safetensors", CLIP_EXPORT_SAFETENSORS},
    {".onnx", CLIP_EXPORT_ONNX},
};

/* `format`, -1 where the command line names none, or what --output's suffix says. Two
 * towers by themselves are ONNX. A suffix of another format is a slip of the hand and refused. */
static enum clip_export_format choose_format(const struct clip_cli *cli, int format, bool split,
                                             const char *output)
{
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        int meant = (int)suffixes[i].format;
        if (!clip_path_has_suffix(output, suffixes[i].suffix)) continue;
        if (format >= 0 && format != meant)
            clip_cli_wrong_usage(cli,
                                 "--format %s contradicts --output %s, which ends as %s does; "
                                 "leave out --format or give another name",
                                 clip_export_format_name(format), output,
                                 clip_export_format_name(meant));
        return suffixes[i].format;
    }
    if (format < 0 && split) return CLIP_EXPORT_ONNX;
    if (format < 0)
        clip_cli_wrong_usage(cli,
                             "the name %s does not tell the format (.safetensors, .onnx, "
                             ".gguf and .h5 do); give --format",
                             output);
    return (enum clip_export_format)format;
}

int main(int argc, char **argv)
{
    struct clip_model_options model = {0};
    const char *output = NULL;
    int format = -1;
    struct clip_export_options export = {.dtype = CLIP_F32, .check = clip_self_check};
    const struct clip_cli_option options[] = {
        MODEL_OPTION(model),
        {"format", NULL, CLIP_CLI_CHOICE, &format, .names = clip_export_format_name,
         .help = "the format (default: by --output's suffix); huggingface and open_clip are "
                 "folders, hdf5 is this program's own"},
        {"output", "PATH", CLIP_CLI_TEXT, &output, .required = true,
         .help = "the file or folder to write"},
        {"dtype", NULL, CLIP_CLI_CHOICE, &export.dtype, .names = clip_export_dtype_name,
         .help = "type of the weights (default f32)"},
        WEIGHTS_OPTION(model),
        {"split", NULL, CLIP_CLI_FLAG, &export.split,
         .help = "onnx: a folder with vision_model.onnx and text_model.onnx"},
        {"force", NULL, CLIP_CLI_FLAG, &export.replace,
         .help = "replace a folder that holds an earlier export"},
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &model.tokenizer,
         .help = "write this one, \"clip\" or a file, instead of the model's own"},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_export",
        .summary = "Writes a model's weights, description and tokenizer in the form that another "
                   "program reads, then reads them back, opens and uses them, and compares.",
        .example = "clip_export --model runs/small --format huggingface --output small-hf",
        .options = options,
    };
    clip_cli_parse(&cli, argc, argv);
    export.format = choose_format(&cli, format, export.split, output);
    struct clip_error error = {0};
    struct clip_model_file *file = NULL;
    const struct clip_model_file_options open = {
        .weights = model.weights,
        .tokenizer = model.tokenizer,
        .say = !cli.quiet,
    };
    clip_status status;
    CLIP_TRY(clip_model_file_open(&file, model.model, &open, &error));
    CLIP_TRY(clip_model_file_sum(file, &error));
    if (file->tokenizer == NULL)
        clip_warn("%s has no tokenizer, so the export has none; name one with --tokenizer",
                  file->source);
    CLIP_TRY(clip_model_export(file, output, &export, &error));
    if (cli.json) {
        const struct clip_model_config *c = &file->model->config;
        const char *vision = clip_activation_key(c->vision.activation);
        const char *of_text = clip_activation_key(c->text.activation);
        char activation[64];
        snprintf(activation, sizeof activation, vision == of_text ? "%s" : "%s, text %s", vision,
                 of_text);
        json_t *result = json_pack(
            "{s:s, s:s, s:s, s:I, s:s, s:b, s:s, s:s, s:s}", "output", output, "format",
            clip_export_format_name(export.format), "dtype", clip_export_dtype_name(export.dtype),
            "parameters", (json_int_t)clip_model_parameters(file->model), "checksum",
            file->checksum, "tokenizer", file->tokenizer != NULL, "source_format",
            file->format != NULL ? file->format : "clip.c", "activation", activation, "checked",
            export.format == CLIP_EXPORT_ONNX ? "weights" : "embeddings");
        status = clip_cli_print_json(result, &error);
        json_decref(result);
    } else {
        printf("%s: %s as %s, read back and equal%s\n", CLIP_SHOWN(output),
               CLIP_COUNT(clip_model_parameters(file->model), "parameter"),
               clip_export_dtype_name(export.dtype),
               export.format == CLIP_EXPORT_ONNX
                   ? " (a graph is not opened by this program: its weights were compared)"
                   : "; opened again, texts and an image give the same");
    }
out:
    clip_model_file_free(file);
    return clip_cli_finish(&cli, status, &error);
}
