#include "tools/cli.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/choice.h"
#include "core/escape.h"
#include "core/hdf5.h"
#include "core/memory.h"
#include "core/progress.h"
#include "core/threads.h"
#include "kernels/kernels.h"
#include "tools/completion.h"
#include "tools/lost_file.h"

#ifndef CLIP_VERSION
#error "CLIP_VERSION comes from the Makefile"
#endif

/* argp's keys: printable characters would be short options, so ours begin behind them. */
enum { KEY_THREADS = 0x1000, KEY_QUIET, KEY_JSON, KEY_HELP, KEY_VERSION, KEY_USAGE, KEY_FIRST };
enum { MOST_OPTIONS = 160, MOST_WORDS = 200 };

struct parsing {
    struct clip_cli *cli;
    const struct clip_cli_option *open; /* a CLIP_CLI_MANY that takes the plain arguments */
    bool given[MOST_OPTIONS];
};

static void add_item(const struct clip_cli *cli, struct clip_cli_list *list, const char *item)
{
    struct clip_error error;
    if (clip_array_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items,
                        &error) != CLIP_OK) {
        fprintf(stderr, "%s: %s\n", cli->name, error.message);
        exit(1);
    }
    list->items[list->count++] = item;
}

/* argp_error of a text in which what was typed is spelled. */
static void refuse(struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void refuse(struct argp_state *state, const char *format, ...)
{
    char raw[4096], text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    clip_escape(text, sizeof text, raw);
    argp_error(state, "%s", text);
}

/* The number in `text`, or a sentence and exit status 2. */
static double number(struct argp_state *state, const char *name, const char *text, bool whole,
                     double least, double most)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    bool bounded = least != 0 || most != 0;
    if (end == text || *end != '\0' || errno == ERANGE || !isfinite(value) ||
        (whole && (value != floor(value) || fabs(value) > 0x1p53)) ||
        (bounded && (value < least || value > most))) {
        const char *kind = whole ? "a whole number" : "a number";
        if (bounded)
            refuse(state, "--%s %s: expected %s from %.15g to %.15g", name, text, kind, least,
                   most);
        else
            refuse(state, "--%s %s: expected %s", name, text, kind);
    }
    return value;
}

/* How --help calls an option's value: NULL for a flag's, all words of a choice. */
static const char *value_of(const struct clip_cli_option *option, char room[MOST_WORDS])
{
    return option->names != NULL ? clip_choice_list(option->names, "|", room, MOST_WORDS)
                                 : option->value;
}

static void take_choice(struct argp_state *state, const struct clip_cli_option *option,
                        const char *text)
{
    char words[MOST_WORDS];
    int value = clip_choice_find(option->names, text);
    if (value < 0)
        refuse(state, "--%s %s: expected one of %s", option->name, text, value_of(option, words));
    memcpy(option->target, &value, sizeof value); /* an enum of non-negative values is an int */
}

static void take_option(struct argp_state *state, const struct clip_cli_option *option, char *text)
{
    struct parsing *parsing = state->input;
    parsing->open = option->type == CLIP_CLI_MANY ? option : NULL;
    switch (option->type) {
    case CLIP_CLI_FLAG: *(bool *)option->target = true; break;
    case CLIP_CLI_CHOICE: take_choice(state, option, text); break;
    case CLIP_CLI_TEXT: *(const char **)option->target = text; break;
    case CLIP_CLI_INT:
        *(int64_t *)option->target =
            (int64_t)number(state, option->name, text, true, option->least, option->most);
        break;
    case CLIP_CLI_REAL:
        *(double *)option->target =
            number(state, option->name, text, false, option->least, option->most);
        break;
    case CLIP_CLI_LIST:
    case CLIP_CLI_MANY: add_item(parsing->cli, option->target, text); break;
    case CLIP_CLI_PAIRS:
        add_item(parsing->cli, option->target, option->name);
        add_item(parsing->cli, option->target, text != NULL ? text : "true");
        break;
    }
}

static void check_required(struct argp_state *state)
{
    char words[MOST_WORDS];
    const struct parsing *parsing = state->input;
    const struct clip_cli_option *option = parsing->cli->options;
    for (int i = 0; option != NULL && option->name != NULL; i++, option++)
        if (option->required && !parsing->given[i])
            refuse(state, "--%s %s is missing: %s", option->name, value_of(option, words),
                   option->help);
}

/* The example as it is: argp would break its lines where they are too long for it, which may be
 * inside a quotation. */
static void print_help(struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct clip_error none = {0};
    unsigned without_exit = (unsigned)ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK;
    argp_state_help(state, stdout, without_exit);
    if (parsing->cli->example != NULL) printf("\nExample:\n  %s\n", parsing->cli->example);
    exit(clip_cli_finish(parsing->cli, CLIP_OK, &none));
}

static error_t parse_key(int key, char *text, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct clip_cli *cli = parsing->cli;
    if (key >= KEY_FIRST && key < KEY_FIRST + MOST_OPTIONS) {
        parsing->given[key - KEY_FIRST] = true;
        take_option(state, &cli->options[key - KEY_FIRST], text);
        return 0;
    }
    switch (key) {
    case KEY_THREADS:
        cli->threads = (int64_t)number(state, "threads", text, true, 1, CLIP_MAX_THREADS);
        clip_threads_set((int)cli->threads);
        break;
    case KEY_QUIET: cli->quiet = true; break;
    case KEY_JSON: cli->json = true; break;
    case KEY_HELP:
    case 'h': print_help(state); break;
    case KEY_USAGE: argp_state_help(state, stdout, ARGP_HELP_USAGE | ARGP_HELP_EXIT_OK); break;
    case KEY_VERSION: printf("%s " CLIP_VERSION "\n", cli->name); exit(0);
    case ARGP_KEY_ARG:
        if (parsing->open != NULL)
            add_item(cli, parsing->open->target, text);
        else if (cli->arguments != NULL)
            add_item(cli, &cli->plain, text);
        else
            refuse(state, "\"%s\" is not expected here; options begin with --", text);
        return 0;
    case ARGP_KEY_END: check_required(state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
    parsing->open = NULL;
    return 0;
}

/* Behind the program's own. argp sorts by group and keeps no order within one, so each option is a
 * group of its own. */
static const struct argp_option common_options[] = {
    {"threads", KEY_THREADS, "N", 0, "threads to compute with (default: every core)", 101},
    {"quiet", KEY_QUIET, NULL, 0, "show no progress on stderr", 102},
    {"json", KEY_JSON, NULL, 0, "print the result as JSON, one object on one line", 103},
    {"help", KEY_HELP, NULL, 0, "show this help", 104},
    {"version", KEY_VERSION, NULL, 0, "show the version", 105},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, 106},
    {"usage", KEY_USAGE, NULL, OPTION_HIDDEN, NULL, 107},
};

enum { COMMON = sizeof common_options / sizeof *common_options };

/* OpenMP's threads spin while they wait, which on a machine that does other work too costs many
 * times what sleeping does (seen: nine times). Sleeping at once costs the small products a few
 * hundredths, so they look around for some microseconds first. Only the environment can say so, and
 * only before the program starts: set it, and start again. */
static void wait_asleep(char **argv)
{
    if (getauxval(AT_BASE) == 0) return; /* /proc/self/exe is the dynamic linker that was run */
    if (getenv("OMP_WAIT_POLICY") != NULL || setenv("OMP_WAIT_POLICY", "passive", 1) != 0) return;
    if (setenv("GOMP_SPINCOUNT", "4000", 0) != 0) return;
    execv("/proc/self/exe", argv); /* where that cannot be, the program goes on as it is */
}

/* ---- Options that are not there ---- */

/* The option of that name, or the first whose name begins so (argp takes it where it is alone). */
static const struct argp_option *find_option(const struct argp_option *options, const char *name)
{
    const struct argp_option *begins = NULL;
    for (const struct argp_option *o = options; o->name != NULL || o->key != 0; o++) {
        if (o->name == NULL) continue;
        if (strcmp(o->name, name) == 0) return o;
        if (begins == NULL && strncmp(o->name, name, strlen(name)) == 0) begins = o;
    }
    return begins;
}

static void refuse_unknown(const struct clip_cli *cli, const struct argp_option *options,
                           const char *name)
{
    const char *nearest = NULL;
    int least = (int)strlen(name) / 3 + 1; /* further away it is another word */
    for (const struct argp_option *o = options; o->name != NULL || o->key != 0; o++) {
        int d = o->name != NULL ? clip_name_distance(name, o->name) : 99;
        if (d > least || (nearest != NULL && d == least)) continue;
        least = d;
        nearest = o->name;
    }
    if (nearest != NULL)
        clip_cli_wrong_usage(cli, "there is no option --%s; did you mean --%s?", name, nearest);
    clip_cli_wrong_usage(cli, "there is no option --%s", name);
}

/* What is known from another program is answered with its name here, and a slip of the hand with
 * the nearest option. Values are passed over as getopt does it. */
static void check_names(const struct clip_cli *cli, const struct argp_option *options, int argc,
                        char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char name[64];
        if (strncmp(argv[i], "--", 2) != 0) continue;
        size_t n = strcspn(argv[i] + 2, "=");
        if (n >= sizeof name) n = sizeof name - 1;
        memcpy(name, argv[i] + 2, n);
        name[n] = '\0';
        const char *inside = strchr(argv[i], '='), *next = i + 1 < argc ? argv[i + 1] : "";
        const char *value = inside != NULL ? inside + 1 : next;
        const struct argp_option *option = find_option(options, name);
        bool exact = option != NULL && strcmp(option->name, name) == 0;
        for (const struct clip_cli_hint *h = cli->hints; h != NULL && h->name != NULL; h++) {
            if (strcmp(h->name, name) != 0 || (exact && h->value == NULL)) continue;
            if (h->value != NULL && strncmp(value, h->value, strlen(h->value)) != 0) continue;
            clip_cli_wrong_usage(cli, "--%s%s%s is open_clip's; here it is %s", name,
                                 h->value != NULL ? " " : "", h->value != NULL ? value : "",
                                 h->say);
        }
        if (option == NULL) refuse_unknown(cli, options, name);
        if (option->arg != NULL && inside == NULL) i++;
    }
}

void clip_cli_parse(struct clip_cli *cli, int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* past the largest size, writing fails with EFBIG: a sentence */
    wait_asleep(argv);
    clip_lost_file_watch(cli->name);
    void *some = malloc(1 << 16); /* without a little memory libhdf5 does not even fail */
    if (some == NULL) {
        fprintf(stderr, "%s: memory is short; close other programs or raise the limit\n",
                cli->name);
        exit(1);
    }
    free(some);
    clip_json_watch_memory();
    clip_hdf5_leave_at_exit();
    /* For pkill and top: started again it would be "exe". */
    prctl(PR_SET_NAME, program_invocation_short_name);
    struct argp_option options[MOST_OPTIONS + COMMON + 1] = {0};
    char words[MOST_OPTIONS][MOST_WORDS];
    int n = 0;
    for (; cli->options != NULL && cli->options[n].name != NULL; n++) {
        if (n == MOST_OPTIONS) abort(); /* our mistake: raise the limit */
        const struct clip_cli_option *option = &cli->options[n];
        options[n] = (struct argp_option){
            .name = option->name,
            .key = KEY_FIRST + n,
            .arg = value_of(option, words[n]),
            .doc = option->help,
            .flags = option->unlisted ? OPTION_HIDDEN : 0,
            .group = n + 1,
        };
    }
    memcpy(options + n, common_options, sizeof common_options);

    const char *shell = clip_completion_asked(argc, argv);
    if (shell != NULL) clip_completion_print(cli, options, shell);
    check_names(cli, options, argc, argv);
    struct parsing parsing = {.cli = cli};
    const struct argp argp = {options, parse_key, cli->arguments, cli->summary, NULL, NULL, NULL};
    char *name = argc > 0 ? argv[0] : NULL;
    char *none[] = {NULL, NULL};
    char **arguments = argc > 0 ? argv : none;
    arguments[0] = (char *)(uintptr_t)cli->name; /* argp only reads it */
    argp_err_exit_status = 2;
    unsigned flags = ARGP_IN_ORDER | ARGP_NO_HELP; /* in order: "--image a b" knows whose b is */
    error_t failed = argp_parse(&argp, argc > 0 ? argc : 1, arguments, flags, NULL, &parsing);
    if (argc > 0) argv[0] = name;
    if (failed != 0) {
        fprintf(stderr, "%s: %s\n", cli->name, strerror(failed));
        exit(1);
    }
    const char *instead = clip_kernels_instead();
    if (instead != NULL) clip_warn("%s", instead);
}

void clip_cli_wrong_usage(const struct clip_cli *cli, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clip_say("%s: %s", cli->name, text);
    fprintf(stderr, "Try `%s --help'.\n", cli->name);
    exit(2);
}

char *clip_cli_command(const struct clip_cli *cli, int argc, char **argv)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=:,./@%";
    struct clip_buffer text = {0};
    struct clip_error error;
    clip_status status = clip_buffer_printf(&text, &error, "%s", cli->name);
    for (int i = 1; i < argc && status == CLIP_OK; i++) {
        bool quoted = argv[i][0] == '\0' || argv[i][strspn(argv[i], plain)] != '\0';
        status = clip_buffer_printf(&text, &error, quoted ? " '" : " ");
        for (const char *at = argv[i]; *at != '\0' && status == CLIP_OK; at++)
            status = *at == '\'' ? clip_buffer_printf(&text, &error, "'\\''")
                                 : clip_buffer_append(&text, at, 1, &error);
        if (quoted && status == CLIP_OK) status = clip_buffer_append(&text, "'", 1, &error);
    }
    if (status == CLIP_OK) return text.data;
    clip_buffer_release(&text);
    return NULL;
}

static void print_commands(const char *program, const char *summary, const char *example,
                           const struct clip_command *commands)
{
    int width = 0;
    for (const struct clip_command *c = commands; c->name != NULL; c++)
        if ((int)strlen(c->name) > width) width = (int)strlen(c->name);
    printf("Usage: %s COMMAND [OPTION...]\n%s\n\n", program, summary);
    for (const struct clip_command *c = commands; c->name != NULL; c++)
        printf("  %-*s  %s\n", width, c->name, c->summary);
    printf("\n`%s COMMAND --help' shows the options of a command.\n", program);
    printf("\nExample:\n  %s\n", example);
}

int clip_cli_dispatch(const char *program, const char *summary, const char *example,
                      const struct clip_command *commands, int argc, char **argv)
{
    wait_asleep(argv);
    struct clip_cli self = {.name = program};
    struct clip_error error = {0};
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word != NULL && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
        print_commands(program, summary, example, commands);
        return clip_cli_finish(&self, CLIP_OK, &error);
    }
    if (word != NULL && strcmp(word, "--version") == 0) {
        printf("%s " CLIP_VERSION "\n", program);
        return clip_cli_finish(&self, CLIP_OK, &error);
    }
    const char *shell = clip_completion_asked(argc, argv);
    if (shell != NULL) clip_completion_print_commands(program, commands, shell);
    for (const struct clip_command *c = commands; word != NULL && c->name != NULL; c++)
        if (strcmp(word, c->name) == 0) return c->run(argc - 1, argv + 1);

    struct clip_buffer names = {0};
    for (const struct clip_command *c = commands; c->name != NULL; c++)
        if (clip_buffer_printf(&names, &error, "%s%s", c == commands ? "" : ", ", c->name) !=
            CLIP_OK)
            break;
    const char *list = names.data != NULL ? names.data : "";
    if (word == NULL)
        fprintf(stderr, "%s: a command is missing; there are: %s\n", program, list);
    else
        clip_say("%s: there is no command \"%s\"; there are: %s", program, word, list);
    fprintf(stderr, "Try `%s --help'.\n", program);
    clip_buffer_release(&names);
    return 2;
}

clip_status clip_cli_print_json(const json_t *value, struct clip_error *error)
{
    struct clip_buffer line = {0};
    clip_status status;
    char part[4096];
    CLIP_TRY(clip_json_append(&line, value, error));
    const char *text = line.data;
    if (isatty(STDOUT_FILENO) == 1) {
        for (; *text != '\0'; fputs(part, stdout)) text += clip_escape(part, sizeof part, text);
    } else {
        fwrite(text, 1, line.size, stdout);
    }
    putchar('\n');
    if (ferror(stdout))
        status = clip_fail(error, clip_status_of(errno),
                           "the result could not be written to stdout: %s", strerror(errno));
out:
    clip_buffer_release(&line);
    return status;
}

static volatile sig_atomic_t caught; /* what a handler may touch has to be global */
static volatile double caught_at;

/* The first is a wish to stop, a later one ends the program at once. timeout(1) and Ctrl-C under a
 * shell script send the same wish twice, to the program and to its group: what comes within half a
 * second is one. */
static void on_signal(int number_of_signal)
{
    double now = clip_seconds();
    if (caught == 0) {
        caught_at = now;
        caught = number_of_signal;
    } else if (now - caught_at > 0.5) {
        signal(number_of_signal, SIG_DFL);
        raise(number_of_signal); /* when this returns */
    }
}

const volatile sig_atomic_t *clip_cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hangup; /* one that nohup ignores stays ignored */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &action, NULL);
    return &caught;
}

clip_status clip_cli_flush(struct clip_error *error)
{
    int reason = fflush(stdout) != 0 ? errno : ferror(stdout) ? EIO : 0;
    if (reason == 0) return CLIP_OK;
    return clip_fail(error, clip_status_of(reason), "the result could not be written to stdout: %s",
                     strerror(reason));
}

int clip_cli_finish(struct clip_cli *cli, clip_status status, const struct clip_error *error)
{
    struct clip_error flushing;
    clip_status flushed = clip_cli_flush(&flushing);
    free(cli->plain.items);
    cli->plain = (struct clip_cli_list){0};
    if (status != CLIP_OK && !cli->silent) fprintf(stderr, "%s: %s\n", cli->name, error->message);
    if (status == CLIP_ERR_INTERRUPTED) return caught != 0 ? 128 + caught : 130;
    if (status == CLIP_ERR_USAGE) return 2;
    if (status == CLIP_OK && flushed != CLIP_OK)
        fprintf(stderr, "%s: %s\n", cli->name, flushing.message);
    return status != CLIP_OK || flushed != CLIP_OK;
}
