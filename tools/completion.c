#include "tools/completion.h"

#include "core/progress.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTION "--print-completion"

/* Instead of a shell's name: a program asks its commands for their branches alone. */
static const char inner[] = "branches";

const char *clip_completion_asked(int argc, char **argv)
{
    return argc == 3 && strcmp(argv[1], OPTION) == 0 ? argv[2] : NULL;
}

/* ---- What is completed: one branch per command, which both shells understand ---- */

static void print_branch(const struct clip_cli *cli, const struct argp_option *options)
{
    printf("    \"%s\")\n        options='", cli->name);
    for (const struct argp_option *o = options; o->name != NULL || o->key != 0; o++)
        if (o->name != NULL) printf("%s--%s", o == options ? "" : " ", o->name);
    printf("'\n        case $before in\n");
    for (const struct clip_cli_option *o = cli->options; o != NULL && o->name != NULL; o++) {
        if (o->names == NULL) continue;
        char words[512];
        printf("        --%s) values='%s' ;;\n", o->name,
               clip_choice_list(o->names, " ", words, sizeof words));
    }
    const char *between = "        ";
    for (const struct argp_option *o = options; o->name != NULL || o->key != 0; o++) {
        if (o->name == NULL || o->arg == NULL) continue;
        printf("%s--%s", between, o->name);
        between = "|";
    }
    printf(") files=yes ;;\n        esac ;;\n");
}

/* ---- The file around it ---- */

static const char bash_file[] =
    "_%s() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} word\n"
    "    local place=%s commands='' options='' values='' files=''\n"
    "    if [[ $current == = ]]; then\n"
    "        current=''\n"
    "    elif [[ $before == = ]]; then\n"
    "        before=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    fi\n"
    "    _%s_words\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
    "        [[ \" $commands \" == *\" $word \"* ]] || break\n"
    "        place=\"$place $word\" commands=''\n"
    "        _%s_words\n"
    "    done\n"
    "    COMPREPLY=()\n"
    "    if [[ -n $values ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$current\")\n"
    "    elif [[ -z $files && $current == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\")\n"
    "    elif [[ -z $files && -n $commands ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$current\")\n"
    "    fi\n"
    "}\n"
    "complete -o bashdefault -o default -F _%s %s\n";

static const char zsh_file[] =
    "_%s() {\n"
    "    local current=${words[CURRENT]} before=${words[CURRENT-1]} word\n"
    "    local place=%s commands='' options='' values='' files=''\n"
    "    if [[ $current == --*=* ]]; then\n"
    "        before=${current%%%%=*}\n"
    "        compset -P '*='\n"
    "    fi\n"
    "    _%s_words\n"
    "    for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
    "        [[ \" $commands \" == *\" $word \"* ]] || break\n"
    "        place=\"$place $word\" commands=''\n"
    "        _%s_words\n"
    "    done\n"
    "    if [[ -n $values ]]; then\n"
    "        compadd -- ${=values}\n"
    "    elif [[ -z $files && $current == -* ]]; then\n"
    "        compadd -- ${=options}\n"
    "    elif [[ -z $files && -n $commands ]]; then\n"
    "        compadd -- ${=commands}\n"
    "    else\n"
    "        _files\n"
    "    fi\n"
    "}\n"
    "_%s \"$@\"\n";

static bool begin(const char *program, const char *shell)
{
    if (strcmp(shell, inner) == 0) return true;
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0) {
        clip_say("%s: " OPTION " %s: expected bash or zsh", program, shell);
        return false;
    }
    if (strcmp(shell, "zsh") == 0) printf("#compdef %s\n", program);
    printf("# Made by %s " OPTION " %s.\n_%s_words() {\n    case $place in\n", program, shell,
           program);
    return true;
}

_Noreturn static void end(const char *name, const char *shell, bool whole)
{
    if (strcmp(shell, inner) != 0) printf("    esac\n}\n");
    if (strcmp(shell, "bash") == 0) printf(bash_file, name, name, name, name, name, name);
    if (strcmp(shell, "zsh") == 0) printf(zsh_file, name, name, name, name, name);
    exit(fflush(stdout) == 0 && whole ? 0 : 1);
}

_Noreturn void clip_completion_print(const struct clip_cli *cli, const struct argp_option *options,
                                     const char *shell)
{
    if (!begin(cli->name, shell)) exit(2);
    print_branch(cli, options);
    end(cli->name, shell, true);
}

_Noreturn void clip_completion_print_commands(const char *program,
                                              const struct clip_command *commands,
                                              const char *shell)
{
    if (!begin(program, shell)) exit(2);
    printf("    \"%s\")\n        options='--help --version'\n        commands='", program);
    for (const struct clip_command *c = commands; c->name != NULL; c++)
        printf("%s%s", c == commands ? "" : " ", c->name);
    printf("' ;;\n");
    bool whole = true;
    for (const struct clip_command *c = commands; c->name != NULL; c++) {
        char *arguments[] = {(char *)(uintptr_t)c->name, (char *)(uintptr_t)OPTION,
                             (char *)(uintptr_t)inner, NULL};
        int status = 1;
        fflush(stdout);
        pid_t child = fork(); /* a command that is asked ends its process */
        if (child == 0) exit(c->run(3, arguments));
        whole = child > 0 && waitpid(child, &status, 0) == child && status == 0 && whole;
    }
    end(program, shell, whole);
}
