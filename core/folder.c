/* Folders that appear completely or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/file_internal.h"

/* `path` without '/' at its end; if it is a symbolic link, what the link points to. */
static char *resolve_folder(const char *path, struct clip_error *error)
{
    struct stat info;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    char *plain = clip_string_copy_n(path, n, error);
    if (plain == NULL || stat(plain, &info) != 0) return plain;
    if (!S_ISDIR(info.st_mode)) {
        clip_fail(error, CLIP_ERR_IO,
                  "%s is a file, and a folder is to be written there; move it "
                  "away or give another path",
                  plain);
        free(plain);
        return NULL;
    }
    char *real = realpath(plain, NULL);
    if (real == NULL) clip_system_failed(error, plain, "followed");
    free(plain);
    return real;
}

static bool is_among(const char *name, const char *const *known)
{
    for (int i = 0; known != NULL && known[i] != NULL; i++)
        if (strcmp(known[i], name) == 0) return true;
    return false;
}

/* Makes sure that nothing unexpected is lost: every entry of the folder must be a file of a known
 * name. */
static clip_status check_replaceable(const char *path, const char *const *known,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_names names = {0};
    if (!clip_path_exists(path)) return CLIP_OK;
    CLIP_TRY(clip_folder_list(path, &names, error));
    for (int64_t i = 0; i < names.count; i++) {
        char *entry = clip_path_join(path, names.names[i], error);
        if (entry == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        bool folder = clip_path_is_folder(entry);
        free(entry);
        if (known == NULL)
            CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                               "%s is there already and holds %s; give "
                               "another path, or --force to replace an earlier export",
                               path, names.names[i]));
        if (folder || !is_among(names.names[i], known))
            CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                               "%s holds %s, which is no file of an export, "
                               "so the folder is not replaced; give another path",
                               path, names.names[i]));
    }
out:
    clip_names_release(&names);
    return status;
}

clip_status clip_atomic_folder_begin(struct clip_atomic_folder *folder, const char *path,
                                     const char *const *known, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *folder = (struct clip_atomic_folder){.lock = -1};
    folder->path = resolve_folder(path, error);
    if (folder->path == NULL) return error->status;
    folder->may_replace = known != NULL;
    CLIP_TRY(check_replaceable(folder->path, known, error));
    CLIP_TRY(clip_temporary_create(folder->path, true, &folder->temporary, &folder->lock, error));
    return CLIP_OK;
out:
    clip_atomic_folder_abort(folder);
    return status;
}

clip_status clip_atomic_folder_commit(struct clip_atomic_folder *folder, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    /* rename replaces an empty folder. Two folders that hold files change places, and the old one,
     * which then has the temporary name, is removed. */
    if (rename(folder->temporary, folder->path) == 0) {
        free(folder->temporary);
        folder->temporary = NULL;
    } else if (!folder->may_replace || (errno != ENOTEMPTY && errno != EEXIST) ||
               renameat2(AT_FDCWD, folder->temporary, AT_FDCWD, folder->path, RENAME_EXCHANGE)) {
        status = clip_system_failed(error, folder->path, "written");
        goto out;
    }
    status = clip_sync_folder_of(folder->path, error);
out:
    clip_atomic_folder_abort(folder);
    return status;
}

void clip_atomic_folder_abort(struct clip_atomic_folder *folder)
{
    if (folder->temporary != NULL) clip_folder_remove(folder->temporary);
    if (folder->path != NULL && folder->lock >= 0) close(folder->lock);
    free(folder->temporary);
    free(folder->path);
    *folder = (struct clip_atomic_folder){.lock = -1};
}
