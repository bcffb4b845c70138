/* Temporary files and folders, .NAME.tmp-PID-N beside the NAME that they will replace.
 *
 * Whoever makes one holds a lock on it until it is renamed or removed, or until the process dies,
 * whatever kills it. One that nobody has locked was left behind: the next process that writes NAME
 * removes it, and so does one that holds the lock of the whole folder (clip_temporaries_remove).
 *
 * A file's lock is one of its open file description (fcntl, F_OFD_SETLK), which HDF5's own flock
 * of the same file does not meet; a folder's is an flock, which folders can have. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/file_internal.h"

enum { MOST_TRIES = 1000000 };

static bool lock_open(int fd, bool folder, bool wait)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (folder) return flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) == 0;
    return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &whole) == 0;
}

/* -1 with errno set. A folder is made and then opened, so that another process may see it unlocked
 * and take it for one that was left behind: then it is gone, and *gone says so. */
static int make(const char *path, bool folder, bool *gone)
{
    struct stat info;
    *gone = false;
    if (folder && mkdir(path, 0777) != 0) return -1;
    int fd = folder ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                    : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        *gone = folder && errno == ENOENT;
        if (folder && !*gone) rmdir(path);
        return -1;
    }
    /* A file system without locks: nothing is taken for left behind there either. */
    if (!lock_open(fd, folder, true)) return fd;
    if (fstat(fd, &info) == 0 && info.st_nlink > 0) return fd;
    close(fd);
    *gone = true;
    errno = ENOENT;
    return -1;
}

clip_status clip_temporary_create(const char *path, bool folder, char **out, int *fd,
                                  struct clip_error *error)
{
    const char *name = clip_path_name(path);
    int before = (int)(name - path);
    if (*name == '\0')
        return clip_fail(error, CLIP_ERR_IO, "\"%s\" names no %s; add a name", path,
                         folder ? "folder" : "file");
    clip_temporaries_remove(path, true);
    for (int n = 0; n < MOST_TRIES; n++) {
        struct clip_buffer text = {0};
        bool gone;
        clip_status status = clip_buffer_printf(&text, error, "%.*s.%.200s.tmp-%ld-%d", before,
                                                path, name, (long)getpid(), n);
        if (status != CLIP_OK) return status;
        *fd = make(text.data, folder, &gone);
        if (*fd >= 0) {
            *out = text.data;
            return CLIP_OK;
        }
        clip_buffer_release(&text);
        if (errno != EEXIST && !gone) return clip_system_failed(error, path, "written");
    }
    return clip_fail(error, CLIP_ERR_IO,
                     "%s: a million temporary files stand beside it; remove those named .%s.tmp-*",
                     path, name);
}

void clip_folder_remove(const char *path)
{
    struct clip_error error;
    struct clip_names names;
    int kept = errno;
    if (clip_folder_list(path, &names, &error) == CLIP_OK) {
        for (int64_t i = 0; i < names.count; i++) {
            char *file = clip_path_join(path, names.names[i], &error);
            if (file != NULL) unlink(file);
            free(file);
        }
        clip_names_release(&names);
    }
    rmdir(path);
    errno = kept;
}

/* Where ".NAME.tmp-PID-N" has its ".tmp-", or NULL: it is no such name. */
static const char *mark_of(const char *name)
{
    const char *mark = NULL;
    if (name[0] != '.') return NULL;
    for (const char *at = strstr(name, ".tmp-"); at != NULL; at = strstr(at + 1, ".tmp-"))
        mark = at;
    if (mark == NULL || mark == name) return NULL;
    const char *digits = mark + strlen(".tmp-");
    size_t pid = strspn(digits, "0123456789");
    if (pid == 0 || digits[pid] != '-') return NULL;
    size_t n = strspn(digits + pid + 1, "0123456789");
    return n > 0 && digits[pid + 1 + n] == '\0' ? mark : NULL;
}

static void remove_unlocked(const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) return;
    bool folder = S_ISDIR(info.st_mode);
    int fd = open(path, (folder ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    if (lock_open(fd, folder, false)) {
        if (folder)
            clip_folder_remove(path);
        else
            unlink(path);
    }
    close(fd);
}

void clip_temporaries_remove(const char *path, bool of_one)
{
    struct clip_error ignored;
    struct clip_names names = {0};
    int kept = errno;
    const char *name = clip_path_name(path);
    char *folder = of_one ? clip_path_folder(path, &ignored) : clip_string_copy(path, &ignored);
    if (folder != NULL && clip_folder_list(folder, &names, &ignored) == CLIP_OK) {
        for (int64_t i = 0; i < names.count; i++) {
            const char *mark = mark_of(names.names[i]);
            if (mark == NULL) continue;
            size_t n = (size_t)(mark - names.names[i] - 1), whole = strlen(name);
            if (of_one &&
                (n != (whole < 200 ? whole : 200) || memcmp(names.names[i] + 1, name, n) != 0))
                continue;
            char *file = clip_path_join(folder, names.names[i], &ignored);
            if (file != NULL) remove_unlocked(file);
            free(file);
        }
        clip_names_release(&names);
    }
    free(folder);
    errno = kept;
}
