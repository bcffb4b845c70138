/* What the programs share: options from a table, sub-commands, results on stdout, sentences on
 * stderr, exit codes, signals. Compiled into every tools/clip_*.c.
 *
 *     static int run_query(int argc, char **argv)
 *     {
 *         const char *index = NULL;
 *         enum clip_weights weights = CLIP_WEIGHTS_EMA;
 *         int64_t top = 10;
 *         struct clip_cli_list texts = {0};
 *         const struct clip_cli_option options[] = {
 *             {"index", "FILE", CLIP_CLI_TEXT, &index, .help = "the index", .required = true},
 *             {"text", "TEXT", CLIP_CLI_LIST, &texts, .help = "words; may be repeated"},
 *             {"top", "N", CLIP_CLI_INT, &top, .help = "results (10)", .least = 1, .most = 1e6},
 *             {"weights", NULL, CLIP_CLI_CHOICE, &weights, .names = clip_weights_name,
 *              .help = "which (ema)"},
 *             {0},
 *         };
 *         struct clip_cli cli = {
 *             .name = "clip_search query",
 *             .summary = "Finds the images of an index that fit words or another image.",
 *             .example = "clip_search query --index photos.index --text \"a dog\"",
 *             .options = options,
 *         };
 *         clip_cli_parse(&cli, argc, argv);
 *         struct clip_error error = {0};
 *         clip_status status = search(..., &error);
 *         if (status == CLIP_OK && cli.json) status = clip_cli_print_json(result, &error);
 *         free(texts.items);
 *         return clip_cli_finish(&cli, status, &error);
 *     }
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const struct clip_command commands[] = {
 *             {"index", "makes or extends an index", run_index},
 *             {"query", "searches an index", run_query},
 *             {0},
 *         };
 *         return clip_cli_dispatch("clip_search", "Searches images by words.",
 *                                  "clip_search query --index photos.index --text \"a dog\"",
 *                                  commands, argc, argv);
 *     }
 *
 * A program without sub-commands calls clip_cli_parse in main. Both know --print-completion too
 * (tools/completion.h). */
#ifndef CLIP_TOOLS_CLI_H
#define CLIP_TOOLS_CLI_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/choice.h"
#include "core/json.h"
#include "core/status.h"

/* What kind of value an option takes; beside each kind stands the type of its target. */
enum clip_cli_type {
    CLIP_CLI_FLAG = 1, /* bool *: set to true */
    CLIP_CLI_TEXT,     /* const char **: points into argv; given twice, the last counts */
    CLIP_CLI_INT,      /* int64_t * */
    CLIP_CLI_REAL,     /* double * */
    CLIP_CLI_CHOICE,   /* an enum: one of `names`; or an int, which stays -1 if it is not given */
    CLIP_CLI_LIST,     /* struct clip_cli_list *: one value each time it is given */
    CLIP_CLI_MANY,     /* the same, and the plain arguments that follow it: --image a b c */
    CLIP_CLI_PAIRS,    /* struct clip_cli_list *: two items each time, the option's name and its
                        * value ("true" for a flag), so that many options may share it */
};

struct clip_cli_list { /* start from {0}; free(items) when done; the strings are argv's */
    const char **items;
    int64_t count, capacity;
};

struct clip_cli_option {
    const char *name;  /* "batch-size", for --batch-size */
    const char *value; /* "N", how --help calls the value; NULL for a flag, and for a choice, whose
                        * value is shown as all of its words: "ema|raw" */
    enum clip_cli_type type;
    void *target; /* holds the default when parsing starts; say the default in `help` */
    const char *help;
    bool required;
    bool unlisted;       /* left out of --help: say in the summary where it is described */
    double least, most;  /* of INT and REAL, both included; both 0: any */
    clip_name_fn *names; /* of CHOICE; of PAIRS: the words that the shell completes */
};

/* An option that people know from another program, and what it is called here. */
struct clip_cli_hint {
    const char *name;  /* "accum-freq" */
    const char *value; /* only where the value begins so, or NULL: always */
    const char *say;   /* behind "here it is " */
};

struct clip_cli {
    /* given by the program */
    const char *name;      /* "clip_train", "clip_eval zeroshot" */
    const char *arguments; /* plain arguments as --help shows them, "LABEL..."; NULL: none taken */
    const char *summary;   /* one or two sentences, first in --help */
    const char *example;   /* one real command, shown at the end of --help */
    const struct clip_cli_option *options; /* one per line of the help; ends with {0} */
    const struct clip_cli_hint *hints;     /* ends with {0}; NULL: none */
    bool silent; /* another process says how it ended; set it at any time */
    /* filled in by clip_cli_parse: the common options, and the plain arguments in order */
    int64_t threads; /* 0: not given; already set for this process */
    bool quiet, json;
    struct clip_cli_list plain;
};

/* Reads the command line into the targets. Adds --threads, --quiet, --json, --help and --version.
 * Wrong usage prints a sentence and exits 2; --help and --version print and exit 0. */
void clip_cli_parse(struct clip_cli *cli, int argc, char **argv);
/* For what the table cannot say ("--images or --texts is needed"): prints the sentence and a hint
 * at --help, exits 2. */
void clip_cli_wrong_usage(const struct clip_cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

/* The command line as one would type it, quoted where a shell needs it; freed by the caller. NULL:
 * memory is short. */
char *clip_cli_command(const struct clip_cli *cli, int argc, char **argv);

struct clip_command {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the sub-command's name; gives the exit code */
};
/* Runs the sub-command that argv[1] names. `program` may itself be a sub-command ("clip_data
 * tokenizer"). The commands end with {0}. */
int clip_cli_dispatch(const char *program, const char *summary, const char *example,
                      const struct clip_command *commands, int argc, char **argv);

/* The value as one line on stdout. */
clip_status clip_cli_print_json(const json_t *value, struct clip_error *error);
/* Flushes stdout: for what has to be read before the end. */
clip_status clip_cli_flush(struct clip_error *error);
/* The end of every run: flushes stdout, and a failure to write it (a full disk) is an error too;
 * prints "NAME: sentence" when something failed; gives the exit code: 0 done, 1 could not, 2
 * CLIP_ERR_USAGE, 128 + the signal after SIGINT, SIGTERM or SIGHUP, which is 130, 143 or 129
 * (CLIP_ERR_INTERRUPTED). */
int clip_cli_finish(struct clip_cli *cli, clip_status status, const struct clip_error *error);

/* From now on SIGINT, SIGTERM and, unless ignored (nohup), SIGHUP set a flag instead of ending
 * the program: *result is the signal's number, 0 before. One that comes more than half a second
 * after the first ends it at once. */
const volatile sig_atomic_t *clip_cli_catch_signals(void);

#endif
