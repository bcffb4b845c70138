/* Shards that a command writes ("pipe:curl -s https://..."): its output is kept in a file while it
 * is read, for a tar is read at any place. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/progress.h"
#include "data/sets/dataset_internal.h"

enum { BLOCK = 1 << 16, LONGEST_PAUSE = 30 };
static const char prefix[] = "clip-shard-";

/* A new file whose name nobody else has, locked. One that another process took for a dead one's and
 * removed, before it was locked, is made again. */
static clip_status new_file(const char *folder, char **path, int *lock, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer name = {0};
    struct stat info = {0};
    while (info.st_nlink == 0) {
        name.size = 0;
        CLIP_TRY(clip_buffer_printf(&name, error, "%s/%sXXXXXX", folder, prefix));
        *lock = mkostemp(name.data, O_CLOEXEC);
        if (*lock < 0 || flock(*lock, LOCK_EX) != 0 || fstat(*lock, &info) != 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_MACHINE,
                               "no file could be made in %s: %s; name another [data] cache_folder",
                               folder, strerror(errno)));
        if (info.st_nlink == 0) close(*lock);
    }
    *path = name.data;
    return CLIP_OK;
out:
    if (*lock >= 0) close(*lock);
    *lock = -1;
    clip_buffer_release(&name);
    return status;
}

static clip_status write_all(int file, const char *bytes, size_t n, const char *path,
                             struct clip_error *error)
{
    while (n > 0) {
        ssize_t done = write(file, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0)
            return clip_fail(error, CLIP_ERR_MACHINE,
                             "%s could not be written: %s; make room, or set [data] cache_bytes "
                             "lower",
                             path, strerror(errno));
        bytes += done;
        n -= (size_t)done;
    }
    return CLIP_OK;
}

/* Starts `sh -c command`; *output is the end of the pipe that it writes to. It gets signals, which
 * the threads of a loader do not. */
static clip_status start(const char *command, pid_t *process, int *output, struct clip_error *error)
{
    char shell[] = "sh", option[] = "-c";
    char *arguments[] = {shell, option, NULL, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return clip_fail(error, CLIP_ERR_MACHINE, "pipe:%s could not be started: %s", command,
                         strerror(errno));
    arguments[2] = clip_string_copy(command, error);
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int code = arguments[2] == NULL
                   ? ENOMEM
                   : posix_spawn(process, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(arguments[2]);
    close(ends[1]);
    *output = ends[0];
    if (code == 0) return CLIP_OK;
    close(ends[0]);
    return clip_fail(error, CLIP_ERR_MACHINE, "pipe:%s could not be started: %s", command,
                     strerror(code));
}

/* The output becomes the file's contents. */
static clip_status copy(const struct clip_spool *spool, const char *command, int output, int file,
                        const char *path, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *bytes = NULL;
    int64_t size = 0;
    CLIP_NEW(bytes, BLOCK);
    if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_MACHINE, "%s could not be written: %s", path,
                           strerror(errno)));
    for (;;) {
        ssize_t n = read(output, bytes, BLOCK);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_MACHINE, "pipe:%s could not be read: %s", command,
                               strerror(errno)));
        if (n == 0) break;
        size += n;
        if (size > spool->most)
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "pipe:%s writes more than the %lld bytes that a shard may have "
                               "here; set [data] cache_bytes higher or shard_group lower",
                               command, (long long)spool->most));
        CLIP_TRY(write_all(file, bytes, (size_t)n, path, error));
    }
out:
    free(bytes);
    return status;
}

/* One try. */
static clip_status run(const struct clip_spool *spool, const char *command, int file,
                       const char *path, struct clip_error *error)
{
    pid_t process;
    int output, code = 0;
    clip_status status = start(command, &process, &output, error);
    if (status != CLIP_OK) return status;
    status = copy(spool, command, output, file, path, error);
    if (status != CLIP_OK) kill(process, SIGTERM);
    close(output);
    while (waitpid(process, &code, 0) < 0 && errno == EINTR) continue;
    if (status != CLIP_OK || code == 0) return status;
    if (WIFEXITED(code))
        return clip_fail(error, CLIP_ERR_DATA, "pipe:%s ended with status %d; try it in a shell",
                         command, WEXITSTATUS(code));
    return clip_fail(error, CLIP_ERR_DATA, "pipe:%s was stopped by signal %d", command,
                     WTERMSIG(code));
}

/* Waits, but not where the program is to stop. */
static void pause_for(const struct clip_spool *spool, int64_t seconds)
{
    for (int64_t i = 0; i < 10 * seconds && (spool->stop == NULL || !*spool->stop); i++)
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

clip_status clip_spool_command(const struct clip_spool *spool, const char *command, char **path,
                               int *lock, struct clip_error *error)
{
    *path = NULL;
    *lock = -1;
    clip_status status = new_file(spool->folder, path, lock, error);
    if (status != CLIP_OK) return status;
    for (int64_t try = 0, pause = 1;; try++) {
        status = run(spool, command, *lock, *path, error);
        if (status != CLIP_ERR_DATA || try == spool->retries) break;
        clip_warn("%s; it is tried again in %lld s", error->message, (long long)pause);
        pause_for(spool, pause);
        if (spool->stop != NULL && *spool->stop) break;
        pause = clip_min_i64(2 * pause, LONGEST_PAUSE);
    }
    if (status == CLIP_OK) return status;
    unlink(*path);
    close(*lock);
    free(*path);
    *path = NULL;
    *lock = -1;
    return status;
}

clip_status clip_spool_clean(const char *folder, struct clip_error *error)
{
    clip_status status;
    struct clip_names names = {0};
    char *path = NULL;
    CLIP_TRY(clip_folder_list(folder, &names, error));
    for (int64_t i = 0; i < names.count; i++) {
        if (strncmp(names.names[i], prefix, sizeof prefix - 1) != 0) continue;
        path = clip_path_join(folder, names.names[i], error);
        CLIP_TRY(path != NULL ? CLIP_OK : error->status);
        int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) == 0) unlink(path);
        if (file >= 0) close(file);
        free(path);
        path = NULL;
    }
out:
    free(path);
    clip_names_release(&names);
    return status;
}
