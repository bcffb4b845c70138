/* The handler of SIGBUS. It calls only what a signal's handler may: open, read, stat, write and
 * _exit. The file is looked up in /proc/self/maps, whose lines are
 *
 *     7f31c1e00000-7f31c1f00000 r--p 00010000 fe:00 1837     /home/me/model.safetensors
 *     first byte - behind it    how  offset   device inode   path */
#include "tools/lost_file.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a handler may touch has to be global. */
static const char *name;
static struct sigaction before;
static atomic_flag entered = ATOMIC_FLAG_INIT;

struct mapped {
    uint64_t first, end, offset;
    const char *path; /* in the line */
};

static uint64_t take_hex(const char **at)
{
    uint64_t value = 0;
    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

static const char *behind_blanks(const char *at)
{
    while (*at == ' ') at++;
    return at;
}

static const char *behind_word(const char *at)
{
    while (*at != ' ' && *at != '\0') at++;
    return behind_blanks(at);
}

static struct mapped parse_line(const char *line)
{
    struct mapped m = {0};
    m.first = take_hex(&line);
    if (*line == '-') line++;
    m.end = take_hex(&line);
    line = behind_word(behind_blanks(line)); /* r--p */
    m.offset = take_hex(&line);
    m.path = behind_word(behind_word(behind_blanks(line))); /* fe:00 1837 */
    return m;
}

/* Is the address in a mapped file? Then *out tells which; its path is in `line`. */
static bool find(uint64_t address, char line[], size_t capacity, struct mapped *out)
{
    char piece[4096];
    size_t used = 0;
    ssize_t got;
    bool found = false;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0) return false;
    while (!found && (got = read(maps, piece, sizeof piece)) > 0)
        for (ssize_t i = 0; i < got && !found; i++) {
            if (piece[i] != '\n') {
                if (used + 1 < capacity) line[used++] = piece[i];
                continue;
            }
            line[used] = '\0';
            used = 0;
            *out = parse_line(line);
            found = address >= out->first && address < out->end && out->path[0] == '/';
        }
    close(maps);
    return found;
}

static void put(const char *text)
{
    for (size_t n = strlen(text); n > 0;) {
        ssize_t done = write(STDERR_FILENO, text, n);
        if (done <= 0) return;
        text += done;
        n -= (size_t)done;
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    static char line[PATH_MAX + 128];
    struct mapped m;
    struct stat file;
    uint64_t address = (uint64_t)(uintptr_t)info->si_addr;
    (void)context;
    while (atomic_flag_test_and_set(&entered)) pause(); /* another thread is about to exit */
    if (info->si_code <= 0 || !find(address, line, sizeof line, &m)) {
        atomic_flag_clear(&entered);
        sigaction(number, &before, NULL);
        if (info->si_code <= 0) raise(number); /* it was sent; else it comes again */
        return;
    }
    bool shorter = stat(m.path, &file) != 0 ||
                   address - m.first + m.offset >= (uint64_t)file.st_size;
    put(name);
    put(": ");
    put(m.path);
    put(shorter ? " became shorter while it was in use; start again with a whole one (a file in "
                  "use is replaced by renaming another over it)\n"
                : " cannot be read any more; check the disk\n");
    _exit(1);
}

void clip_lost_file_watch(const char *program)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    name = program;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
}
