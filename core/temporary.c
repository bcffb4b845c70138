/* Temporary files and folders, .NAME.tmp-N beside the NAME that they will replace, where N is the
 * first number that is free.
 *
 * Whoever makes one holds a lock on it until it is renamed or removed, or until the process dies,
 * whatever kills it. One that nobody has locked was left behind: the next process that writes NAME
 * comes upon it by its number and removes it, without looking at what else the folder holds; so
 * does one that owns the whole folder (clip_temporaries_remove).
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

/* Removes `path` if it is a temporary file or folder that nobody has locked. */
static bool remove_unlocked(const char *path)
{
    struct stat info, opened;
    bool removed = false;
    if (lstat(path, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) return false;
    bool folder = S_ISDIR(info.st_mode);
    int fd = open(path, (folder ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return false;
    /* Its writer may have renamed it meanwhile: then `path` is another one. */
    if (lock_open(fd, folder, false) && fstat(fd, &opened) == 0 && lstat(path, &info) == 0 &&
        opened.st_ino == info.st_ino && opened.st_dev == info.st_dev) {
        if (folder)
            clip_folder_remove(path);
        else
            unlink(path);
        removed = lstat(path, &info) != 0;
    }
    close(fd);
    return removed;
}

static clip_status name_of(const char *path, int n, struct clip_buffer *out,
                           struct clip_error *error)
{
    const char *name = clip_path_name(path);
    out->size = 0;
    return clip_buffer_printf(out, error, "%.*s.%.200s.tmp-%d", (int)(name - path), path, name, n);
}

/* Removes those behind number n that were left behind, up to the first number that is free. */
static void remove_following(const char *path, int n)
{
    struct clip_error ignored;
    struct clip_buffer text = {0};
    struct stat info;
    int kept = errno;
    while (name_of(path, ++n, &text, &ignored) == CLIP_OK && lstat(text.data, &info) == 0)
        remove_unlocked(text.data);
    clip_buffer_release(&text);
    errno = kept;
}

clip_status clip_temporary_create(const char *path, bool folder, char **out, int *fd,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    if (*clip_path_name(path) == '\0')
        return clip_fail(error, CLIP_ERR_IO, "\"%s\" names no %s; add a name", path,
                         folder ? "folder" : "file");
    for (int n = 0, tries = 0; tries < MOST_TRIES; tries++) {
        bool gone;
        CLIP_TRY(name_of(path, n, &text, error));
        *fd = make(text.data, folder, &gone);
        if (*fd >= 0) {
            *out = text.data;
            remove_following(path, n);
            return CLIP_OK;
        }
        if (errno != EEXIST && !gone) {
            status = clip_system_failed(error, path, "written");
            goto out;
        }
        if (gone || !remove_unlocked(text.data)) n++; /* somebody else's */
    }
    status = clip_fail(error, CLIP_ERR_IO,
                       "%s: a million temporary files stand beside it; remove those named "
                       ".%s.tmp-*",
                       path, clip_path_name(path));
out:
    clip_buffer_release(&text);
    return status;
}

/* ".NAME.tmp-N", or ".NAME.tmp-PID-N" as older versions called them. */
static bool is_temporary(const char *name)
{
    const char *mark = NULL;
    if (name[0] != '.') return false;
    for (const char *at = strstr(name, ".tmp-"); at != NULL; at = strstr(at + 1, ".tmp-"))
        mark = at;
    if (mark == NULL || mark == name) return false;
    const char *at = mark + strlen(".tmp-");
    size_t digits = strspn(at, "0123456789");
    if (digits > 0 && at[digits] == '-') {
        at += digits + 1;
        digits = strspn(at, "0123456789");
    }
    return digits > 0 && at[digits] == '\0';
}

void clip_temporaries_remove(const char *folder)
{
    struct clip_error ignored;
    struct clip_names names = {0};
    int kept = errno;
    if (clip_folder_list(folder, &names, &ignored) == CLIP_OK) {
        for (int64_t i = 0; i < names.count; i++) {
            if (!is_temporary(names.names[i])) continue;
            char *path = clip_path_join(folder, names.names[i], &ignored);
            if (path != NULL) remove_unlocked(path);
            free(path);
        }
        clip_names_release(&names);
    }
    errno = kept;
}
