/* Completion in the shell: `PROGRAM --print-completion bash|zsh` prints a file that the shell
 * loads, made from the tables by which the programs read their command lines. Commands, options
 * and the words of choices complete; elsewhere files do. The option is for `make install` and is
 * not listed. */
#ifndef CLIP_TOOLS_COMPLETION_H
#define CLIP_TOOLS_COMPLETION_H

#include <argp.h>

#include "tools/cli.h"

/* The shell that the command line asks a completion for; NULL where it asks for none. */
const char *clip_completion_asked(int argc, char **argv);

/* Prints the completion of a program or command with these options (argp's, ending with {0}) and
 * ends the process. An option's value that reads "a|b" is completed by a and b. */
_Noreturn void clip_completion_print(const struct clip_cli *cli, const struct argp_option *options,
                                     const char *shell);
/* The same of a program that has commands, each of which is asked in a process of its own. */
_Noreturn void clip_completion_print_commands(const char *program,
                                              const struct clip_command *commands,
                                              const char *shell);

#endif
