/* clip_data check: the report as text, JSON or HTML, and the clean list. */
#include <stdio.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "data/sets/check.h"
#include "tools/data_commands.h"
#include "tools/model_options.h"

clip_status clip_data_show(const struct clip_cli *cli, json_t *result, const char *text,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (result == NULL)
        status = clip_fail(error, CLIP_ERR_MEMORY, "out of memory for the result");
    else if (cli->json)
        status = clip_cli_print_json(result, error);
    else
        puts(CLIP_SHOWN(text));
    json_decref(result);
    return status;
}

/* The report on stdout; with --json what --fix wrote is in it. */
static clip_status show_report(const struct clip_cli *cli, const struct clip_check_report *report,
                               const char *fix, const struct clip_check_fixed *fixed,
                               struct clip_error *error)
{
    if (!cli->json) {
        clip_check_print(report, stdout);
        if (fix != NULL)
            printf("%s: %s; left out: %lld bad, %lld tiny, %lld of copied images, %lld of images "
                   "that look like another, %s, %s\n",
                   CLIP_SHOWN(fix), CLIP_COUNT(fixed->kept, "sample"), (long long)fixed->bad,
                   (long long)fixed->tiny, (long long)fixed->copies, (long long)fixed->near,
                   CLIP_COUNT(fixed->repeats, "repeated pair"), CLIP_COUNT(fixed->leaks, "leak"));
        return CLIP_OK;
    }
    json_t *result = clip_check_to_json(report, error);
    if (result == NULL) return error->status;
    if (fix != NULL) {
        json_t *object = json_pack(
            "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "output", fix, "kept",
            (json_int_t)fixed->kept, "bad", (json_int_t)fixed->bad, "tiny", (json_int_t)fixed->tiny,
            "copies", (json_int_t)fixed->copies, "near", (json_int_t)fixed->near, "repeats",
            (json_int_t)fixed->repeats, "leaks", (json_int_t)fixed->leaks);
        clip_json_set(&result, "fixed", object);
    }
    return clip_data_show(cli, result, "", error);
}

/* CLIP_ERR_DATA, by which the exit status is 1, where more is bad than may be. */
static clip_status judge(const struct clip_check_report *report, const char *data, double most_bad,
                         struct clip_error *error)
{
    if (report->bad_count == 0 || (double)report->bad_count <= most_bad * (double)report->samples)
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s has %s of %lld; they are listed above, mend or remove them", data,
                     CLIP_COUNT(report->bad_count, "bad sample"), (long long)report->samples);
}

int clip_data_check(int argc, char **argv)
{
    struct clip_dataset_options source = {0};
    const char *tokenizer_name = NULL;
    struct clip_check_options check = {.cleaning = CLIP_TEXT_OPEN_CLIP,
                                       .context_length = 77,
                                       .limits = {.max_pixels = CLIP_IMAGE_MAX_PIXELS},
                                       .tiny = 32};
    const char *against_name = NULL, *html = NULL, *fix = NULL;
    struct clip_upright turn = {0};
    double most_bad = 0.01; /* as [data] max_bad_fraction */
    bool strict = false;
    const struct clip_cli_option options[] = {
        {"against", "DATA", CLIP_CLI_TEXT, &against_name,
         .help = "another set that must not share images with DATA"},
        {"html", "FILE", CLIP_CLI_TEXT, &html, .help = "also write the report as an HTML page"},
        {"fix", "FILE", CLIP_CLI_TEXT, &fix, .help = "write the good samples as a .csv or .tsv"},
        {"tiny", "N", CLIP_CLI_INT, &check.tiny,
         .help = "an image with a shorter side is tiny (default 32)", .least = 1, .most = 1 << 14},
        {"tokenizer", "TOKENIZER", CLIP_CLI_TEXT, &tokenizer_name,
         .help = "count tokens with it: \"clip\" or a file"},
        {"context-length", "N", CLIP_CLI_INT, &check.context_length,
         .help = "most tokens of a caption (default 77)", .least = 3, .most = 1 << 20},
        {"images-only", NULL, CLIP_CLI_FLAG, &check.images_only, .help = "do not look at captions"},
        {"strict", NULL, CLIP_CLI_FLAG, &strict, .help = "exit with status 1 if any sample is bad"},
        {"max-bad-fraction", "X", CLIP_CLI_REAL, &most_bad,
         .help = "exit with status 1 if a larger share is bad (default 0.01)", .least = 0,
         .most = 1},
        CLIP_DATA_SOURCE_OPTIONS(source),
        {"text-cleaning", NULL, CLIP_CLI_CHOICE, &check.cleaning, .names = clip_text_cleaning_name,
         .help = "", .unlisted = true},
        {"upright", NULL, CLIP_CLI_FLAG, &turn.upright, .help = "", .unlisted = true},
        {"as-stored", NULL, CLIP_CLI_FLAG, &turn.as_stored, .help = "", .unlisted = true},
        {"max-pixels", "N", CLIP_CLI_INT, &check.limits.max_pixels, .help = "", .unlisted = true,
         .least = 1, .most = 1e12},
        {0},
    };
    struct clip_cli cli = {
        .name = "clip_data check",
        .arguments = "DATA",
        .summary = "Tells what a data set holds and what is wrong with each bad sample. These keys "
                   "of [data] are options too: --images-root, --csv-separator, --csv-img-key, "
                   "--csv-caption-key, --text-cleaning, --max-pixels, --upright.",
        .example = "clip_data check pairs.csv --against val.csv --fix clean.csv",
        .options = options,
    };
    struct clip_error error = {0};
    struct clip_dataset *dataset = NULL, *against = NULL;
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_check_report report = {0};
    struct clip_check_fixed fixed = {0};
    clip_status status = CLIP_OK;
    clip_cli_parse(&cli, argc, argv);
    if (cli.plain.count != 1)
        clip_cli_wrong_usage(&cli, "one DATA is needed, and %lld are given",
                             (long long)cli.plain.count);
    const char *data = cli.plain.items[0];
    source.images_only = check.images_only;
    source.names_are_captions = true;
    CLIP_TRY(clip_dataset_open(&dataset, data, &source, &error));
    if (fix != NULL) CLIP_TRY(clip_check_can_fix(fix, dataset, data, &error));
    if (against_name != NULL) CLIP_TRY(clip_dataset_open(&against, against_name, &source, &error));
    if (tokenizer_name != NULL)
        CLIP_TRY(clip_tokenizer_open(&tokenizer, tokenizer_name, NULL, &error));
    check.tokenizer = tokenizer;
    check.limits.upright = clip_upright(&cli, &turn);
    check.quiet = cli.quiet;
    CLIP_TRY(clip_check_run(&report, dataset, against, against_name, &check, &error));
    if (fix != NULL)
        CLIP_TRY(clip_check_fix(fix, &report, dataset, check.images_only, &fixed, &error));
    if (html != NULL)
        CLIP_TRY(clip_check_write_html(html, &report, data, dataset, against, &error));
    CLIP_TRY(show_report(&cli, &report, fix, &fixed, &error));
    CLIP_TRY(judge(&report, data, strict ? 0 : most_bad, &error));
    CLIP_TRY(clip_dataset_passed_over(dataset, data, &error));
out:
    clip_check_release(&report);
    clip_tokenizer_free(tokenizer);
    clip_dataset_free(dataset);
    clip_dataset_free(against);
    return clip_cli_finish(&cli, status, &error);
}
