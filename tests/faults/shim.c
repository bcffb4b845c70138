/* A machine that fails on purpose: preloaded before a program (LD_PRELOAD), it makes the n-th call
 * of one kind fail, once or from then on, or kills the program there.
 *
 *     CLIP_FAULT=CALL:N:MODE   CALL: a name of `kinds` below; N from 1; MODE: once, always, kill
 *     CLIP_FAULT_HIT=FILE      is made when that call comes
 *     CLIP_FAULT_COUNTS=FILE   at exit, one line "CALL COUNT" per kind is appended to FILE
 *
 * Only calls that the program and its libraries make through the dynamic linker are seen, which is
 * every one but those inside libc itself; stdio is therefore intercepted by its own names. Calls
 * before main (of the dynamic linker and of constructors) are not counted. */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum kind {
    ALLOC,
    OPEN,
    READ,
    WRITE,
    FSYNC,
    RENAME,
    LINK,
    UNLINK,
    FTRUNCATE,
    MMAP,
    CLOSE,
    FOPEN,
    FWRITE,
    MKDIR,
    KINDS
};
static const char *const kinds[KINDS] = {
    "alloc",  "open",      "read", "write", "fsync", "rename", "link",
    "unlink", "ftruncate", "mmap", "close", "fopen", "fwrite", "mkdir",
};
static const int errors[KINDS] = {ENOMEM, EMFILE, EIO,    ENOSPC, EIO,    EIO,    EMLINK,
                                  EIO,    ENOSPC, ENOMEM, EIO,    EMFILE, ENOSPC, ENOSPC};
static atomic_llong counts[KINDS];
static int kind = -1;
static long long n;
static enum { ONCE, ALWAYS, KILL } mode;
static atomic_bool counting;
static const char *counts_path, *hit_path;

/* The libc's own function. dlsym may allocate: what is asked for meanwhile comes from `early`. */
static char early[65536];
static atomic_size_t early_used;

#define REAL(type, name, parameters)                                                               \
    static type(*real_##name) parameters;                                                          \
    if (real_##name == NULL) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static bool fails(enum kind k)
{
    if (!atomic_load(&counting)) return false;
    long long number = atomic_fetch_add(&counts[k], 1) + 1;
    if ((int)k != kind || number < n || (mode != ALWAYS && number != n)) return false;
    if (number == n && hit_path != NULL)
        syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, hit_path, O_WRONLY | O_CREAT, 0666));
    if (mode == KILL) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    errno = errors[k];
    return true;
}

static void write_counts(void)
{
    char line[64];
    atomic_store(&counting, false);
    int file = counts_path != NULL ? open(counts_path, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
    for (int k = 0; file >= 0 && k < KINDS; k++) {
        int length = snprintf(line, sizeof line, "%s %lld\n", kinds[k], atomic_load(&counts[k]));
        if (write(file, line, (size_t)length) != length) break;
    }
    if (file >= 0) close(file);
}

/* "faults: WHAT NUMBER in MODULE" on stderr: the first of the frames that is in neither this file
 * nor libc. */
static void say_where(const char *what, int number)
{
    void *frames[24];
    char line[200];
    const char *name = "?";
    Dl_info own = {0}, place = {0};
    dladdr((void *)(uintptr_t)fails, &own);
    int count = backtrace(frames, sizeof frames / sizeof *frames);
    for (int i = 0; i < count; i++) {
        if (dladdr(frames[i], &place) == 0 || place.dli_fbase == own.dli_fbase) continue;
        name = place.dli_fname;
        if (strstr(name, "/libc.so") == NULL) break;
    }
    const char *slash = strrchr(name, '/');
    int length = snprintf(line, sizeof line, "\nfaults: %s %d in %.100s\n", what, number,
                          slash != NULL ? slash + 1 : name);
    if (syscall(SYS_write, 2, line, length) != length) return;
}

/* It runs on a stack of its own: that of an endless recursion is full. */
static void crashed(int number)
{
    say_where("signal", number);
    signal(number, SIG_DFL);
    raise(number);
}

/* A library that ends the program. */
void exit(int status)
{
    REAL(void, exit, (int));
    if (status < 0) say_where("exit", status);
    real_exit(status);
    for (;;) pause();
}

static void watch_crashes(void)
{
    static char own[65536];
    const stack_t stack = {.ss_sp = own, .ss_size = sizeof own};
    struct sigaction action = {.sa_handler = crashed, .sa_flags = SA_ONSTACK};
    void *frame;
    backtrace(&frame, 1); /* the first call loads what it needs */
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
}

__attribute__((constructor)) static void start(void)
{
    const char *fault = getenv("CLIP_FAULT");
    char name[16], how[16];
    counts_path = getenv("CLIP_FAULT_COUNTS");
    hit_path = getenv("CLIP_FAULT_HIT");
    if (fault != NULL && sscanf(fault, "%15[^:]:%lld:%15s", name, &n, how) == 3) {
        for (int k = 0; k < KINDS; k++)
            if (strcmp(name, kinds[k]) == 0) kind = k;
        mode = how[0] == 'o' ? ONCE : how[0] == 'a' ? ALWAYS : KILL;
    }
    if (counts_path != NULL) atexit(write_counts);
    watch_crashes();
    unsetenv("LD_PRELOAD");
    atomic_store(&counting, true);
}

/* ---- memory ---- */

static void *early_alloc(size_t size)
{
    size_t at = atomic_fetch_add(&early_used, (size + 15) / 16 * 16);
    return at + size <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

static __thread bool inside; /* dlsym's own allocations */

#define REAL_ALLOC(type, name, parameters, size)                                                   \
    static type(*real_##name) parameters;                                                          \
    if (real_##name == NULL) {                                                                     \
        if (inside) return early_alloc(size);                                                      \
        inside = true;                                                                             \
        *(void **)&real_##name = dlsym(RTLD_NEXT, #name);                                          \
        inside = false;                                                                            \
    }

void *malloc(size_t size)
{
    REAL_ALLOC(void *, malloc, (size_t), size)
    return fails(ALLOC) ? NULL : real_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    REAL_ALLOC(void *, calloc, (size_t, size_t), count *size)
    return fails(ALLOC) ? NULL : real_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    REAL_ALLOC(void *, realloc, (void *, size_t), size)
    if (is_early(p)) {
        void *moved = malloc(size);
        size_t most = (size_t)(early + sizeof early - (char *)p);
        if (moved != NULL) memcpy(moved, p, size < most ? size : most);
        return moved;
    }
    return fails(ALLOC) ? NULL : real_realloc(p, size);
}

void free(void *p)
{
    static void (*real_free)(void *);
    if (p == NULL || is_early(p)) return;
    if (real_free == NULL) *(void **)&real_free = dlsym(RTLD_NEXT, "free");
    real_free(p);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    REAL(int, posix_memalign, (void **, size_t, size_t));
    return fails(ALLOC) ? ENOMEM : real_posix_memalign(out, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    REAL(void *, aligned_alloc, (size_t, size_t));
    return fails(ALLOC) ? NULL : real_aligned_alloc(alignment, size);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset)
{
    REAL(void *, mmap, (void *, size_t, int, int, int, off_t));
    return fails(MMAP) ? MAP_FAILED : real_mmap(address, size, protection, flags, file, offset);
}

/* ---- files ---- */

static mode_t mode_of(int flags, va_list more)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
}

#define OPENING(name)                                                                              \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(int, name, (const char *, int, ...));                                                 \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t bits = mode_of(flags, more);                                                        \
        va_end(more);                                                                              \
        return fails(OPEN) ? -1 : real_##name(path, flags, bits);                                  \
    }
OPENING(open)
OPENING(open64)

#define OPENING_AT(name)                                                                           \
    int name(int folder, const char *path, int flags, ...)                                         \
    {                                                                                              \
        REAL(int, name, (int, const char *, int, ...));                                            \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t bits = mode_of(flags, more);                                                        \
        va_end(more);                                                                              \
        return fails(OPEN) ? -1 : real_##name(folder, path, flags, bits);                          \
    }
OPENING_AT(openat)
OPENING_AT(openat64)

#define CALL(kind, type, failed, name, parameters, arguments)                                      \
    type name parameters                                                                           \
    {                                                                                              \
        REAL(type, name, parameters);                                                              \
        return fails(kind) ? (failed) : real_##name arguments;                                     \
    }
CALL(READ, ssize_t, -1, read, (int file, void *to, size_t size), (file, to, size))
CALL(READ, ssize_t, -1, pread, (int file, void *to, size_t size, off_t at), (file, to, size, at))
CALL(READ, ssize_t, -1, pread64, (int file, void *to, size_t size, off64_t at),
     (file, to, size, at))
CALL(WRITE, ssize_t, -1, write, (int file, const void *from, size_t size), (file, from, size))
CALL(WRITE, ssize_t, -1, pwrite, (int file, const void *from, size_t size, off_t at),
     (file, from, size, at))
CALL(WRITE, ssize_t, -1, pwrite64, (int file, const void *from, size_t size, off64_t at),
     (file, from, size, at))
CALL(FSYNC, int, -1, fsync, (int file), (file))
CALL(FSYNC, int, -1, fdatasync, (int file), (file))
CALL(RENAME, int, -1, rename, (const char *from, const char *to), (from, to))
CALL(RENAME, int, -1, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
CALL(RENAME, int, -1, renameat2,
     (int a, const char *from, int b, const char *to, unsigned int flags), (a, from, b, to, flags))
CALL(LINK, int, -1, link, (const char *from, const char *to), (from, to))
CALL(LINK, int, -1, linkat, (int a, const char *from, int b, const char *to, int flags),
     (a, from, b, to, flags))
CALL(LINK, int, -1, symlink, (const char *from, const char *to), (from, to))
CALL(UNLINK, int, -1, unlink, (const char *path), (path))
CALL(UNLINK, int, -1, rmdir, (const char *path), (path))
CALL(FTRUNCATE, int, -1, ftruncate, (int file, off_t size), (file, size))
CALL(FTRUNCATE, int, -1, ftruncate64, (int file, off64_t size), (file, size))
CALL(MKDIR, int, -1, mkdir, (const char *path, mode_t bits), (path, bits))
CALL(FOPEN, FILE *, NULL, fopen, (const char *path, const char *how), (path, how))
CALL(FOPEN, FILE *, NULL, fopen64, (const char *path, const char *how), (path, how))
CALL(FOPEN, FILE *, NULL, fdopen, (int file, const char *how), (file, how))
/* What fails to be written sets the stream's error indicator, as libc does it. */
static bool write_fails(FILE *file)
{
    bool failed = fails(FWRITE);
    if (failed && file != NULL) file->_flags |= 0x20; /* libio's _IO_ERR_SEEN */
    return failed;
}

size_t fwrite(const void *from, size_t size, size_t count, FILE *to)
{
    REAL(size_t, fwrite, (const void *, size_t, size_t, FILE *));
    return write_fails(to) ? 0 : real_fwrite(from, size, count, to);
}

int fflush(FILE *file)
{
    REAL(int, fflush, (FILE *));
    return write_fails(file) ? EOF : real_fflush(file);
}

/* A close or fclose that fails has closed all the same, as Linux does it. */
int close(int file)
{
    REAL(int, close, (int));
    bool failed = fails(CLOSE);
    int result = real_close(file);
    if (failed) errno = EIO;
    return failed ? -1 : result;
}

int fclose(FILE *file)
{
    REAL(int, fclose, (FILE *));
    bool failed = fails(CLOSE);
    int result = real_fclose(file);
    if (failed) errno = EIO;
    return failed ? EOF : result;
}
