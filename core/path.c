/* Paths, what stands at them, and folders: made, listed. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/file_internal.h"

clip_status clip_system_failed(struct clip_error *error, const char *path, const char *what)
{
    int reason = errno;
    clip_status status = clip_status_of(reason);
    const char *advice = "";
    if (status == CLIP_ERR_NOT_FOUND) {
        advice = "; check the path";
    } else if (reason == ENOSPC || reason == EDQUOT) {
        advice = "; free some space and try again";
    } else if (reason == EACCES || reason == EPERM) {
        advice = "; check its permissions and its folder's";
    }
    return clip_fail(error, status, "%s could not be %s: %s%s", path, what, strerror(reason),
                     advice);
}

bool clip_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool clip_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool clip_path_is_special(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

/* Makes one level; a folder that exists is fine. A new one's name is brought to the disk: what is
 * then written in it is safe there. */
static clip_status make_folder(const char *path, struct clip_error *error)
{
    if (mkdir(path, 0777) == 0) return clip_sync_folder_of(path, error);
    int reason = errno;
    if (clip_path_is_folder(path)) return CLIP_OK;
    if (reason == EEXIST)
        return clip_fail(error, CLIP_ERR_IO,
                         "%s is a file, and a folder is needed there; move it "
                         "away or give another path",
                         path);
    errno = reason;
    return clip_system_failed(error, path, "made");
}

clip_status clip_folder_create(const char *path, struct clip_error *error)
{
    if (clip_path_is_folder(path)) return CLIP_OK;
    char *copy = clip_string_copy(path, error);
    if (copy == NULL) return CLIP_ERR_MEMORY;
    clip_status status = CLIP_OK;
    for (char *p = copy + 1; *copy != '\0' && *p != '\0'; p++) {
        if (*p != '/' || p[-1] == '/') continue;
        *p = '\0';
        CLIP_TRY(make_folder(copy, error));
        *p = '/';
    }
    status = make_folder(copy, error);
out:
    free(copy);
    return status;
}

char *clip_path_join(const char *folder, const char *name, struct clip_error *error)
{
    if (folder == NULL || *folder == '\0' || *name == '/') return clip_string_copy(name, error);
    struct clip_buffer path = {0};
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    clip_status status = clip_buffer_printf(&path, error, "%s%s%s", folder, slash, name);
    return status == CLIP_OK ? path.data : NULL;
}

char *clip_path_folder(const char *path, struct clip_error *error)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return clip_string_copy(".", error);
    return clip_string_copy_n(path, slash == path ? 1 : (size_t)(slash - path), error);
}

const char *clip_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool clip_path_has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), m = strlen(suffix);
    return n >= m && strcasecmp(path + n - m, suffix) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

clip_status clip_folder_list(const char *path, struct clip_names *out, struct clip_error *error)
{
    *out = (struct clip_names){0};
    DIR *folder = opendir(path);
    if (folder == NULL) return clip_system_failed(error, path, "listed");
    clip_status status = CLIP_OK;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            if (errno != 0) status = clip_system_failed(error, path, "listed");
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        status = clip_names_add(out, entry->d_name, error);
        if (status != CLIP_OK) break;
    }
    closedir(folder);
    if (status == CLIP_OK && out->count > 1)
        qsort(out->names, (size_t)out->count, sizeof *out->names, compare_names);
    if (status != CLIP_OK) clip_names_release(out);
    return status;
}

clip_status clip_names_add(struct clip_names *names, const char *name, struct clip_error *error)
{
    clip_status status = clip_array_grow(&names->names, &names->capacity, names->count + 1,
                                         sizeof *names->names, error);
    if (status != CLIP_OK) return status;
    char *copy = clip_string_copy(name, error);
    if (copy == NULL) return CLIP_ERR_MEMORY;
    names->names[names->count++] = copy;
    return CLIP_OK;
}

void clip_names_release(struct clip_names *names)
{
    for (int64_t i = 0; i < names->count; i++) free(names->names[i]);
    free(names->names);
    *names = (struct clip_names){0};
}
