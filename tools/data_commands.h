/* clip_data's commands that have a file of their own, and what they share. */
#ifndef CLIP_TOOLS_DATA_COMMANDS_H
#define CLIP_TOOLS_DATA_COMMANDS_H

#include "data/sets/dataset.h"
#include "data/text/tokenizer.h"
#include "tools/cli.h"

int clip_data_check(int argc, char **argv);
int clip_data_pack(int argc, char **argv);

/* What a command has to show: with --json the object, else the text. Takes over `result`, NULL: it
 * could not be made. */
clip_status clip_data_show(const struct clip_cli *cli, json_t *result, const char *text,
                           struct clip_error *error);

/* The options that say how DATA is read, as the keys of [data]; `o` is a struct
 * clip_dataset_options. All but the templates are left out of --help. */
#define CLIP_DATA_SOURCE_OPTIONS(o)                                                                \
    {"class-templates", "FILE", CLIP_CLI_TEXT, &(o).class_templates,                               \
     .help = "templates for the captions of class folders"},                                       \
        {"images-root", "DIR", CLIP_CLI_TEXT, &(o).images_root, .help = "", .unlisted = true},     \
        {"csv-separator", "SEP", CLIP_CLI_TEXT, &(o).csv_separator, .help = "", .unlisted = true}, \
        {"csv-img-key", "NAME", CLIP_CLI_TEXT, &(o).csv_img_key, .help = "", .unlisted = true},    \
    {                                                                                              \
        "csv-caption-key", "NAME", CLIP_CLI_TEXT, &(o).csv_caption_key, .help = "",                \
                                                                        .unlisted = true           \
    }

#endif
