/* Getting the packages and reading their content: a .deb is an ar archive that holds a compressed
 * tar. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "data/demo/emoji.h"

static const size_t max_package = (size_t)64 << 20, max_data = (size_t)256 << 20,
                    max_file = (size_t)8 << 20;
enum { MAX_FILES = 20000 };

/* Appends the current entry's bytes to `out`; more than `limit` is an error. */
static clip_status read_entry(struct archive *archive, size_t limit, const char *name,
                              struct clip_buffer *out, struct clip_error *error)
{
    char block[16384];
    for (;;) {
        la_ssize_t n = archive_read_data(archive, block, sizeof block);
        if (n == 0) return CLIP_OK;
        if (n < 0)
            return clip_fail(error, CLIP_ERR_FORMAT, "%s is damaged: %s; fetch the package again",
                             name, archive_error_string(archive));
        if ((size_t)n > limit - out->size)
            return clip_fail(
                error, CLIP_ERR_FORMAT,
                "%s unpacks to more than %zu bytes; it is not the package it should be", name,
                limit);
        clip_status status = clip_buffer_append(out, block, (size_t)n, error);
        if (status != CLIP_OK) return status;
    }
}

static bool wanted(const char *path)
{
    return clip_path_has_suffix(path, ".png") || strcmp(clip_path_name(path), "index.json") == 0 ||
           strcmp(clip_path_name(path), "copyright") == 0;
}

/* Reads the next entry's header. Returns 1 if there is one, 0 at the end, -1 with *error filled. */
static int next_entry(struct archive *archive, struct archive_entry **entry, const char *name,
                      struct clip_error *error)
{
    int result = archive_read_next_header(archive, entry);
    if (result == ARCHIVE_EOF) return 0;
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN) return 1;
    clip_fail(error, CLIP_ERR_FORMAT, "%s is damaged or no Debian package: %s; fetch it again",
              name, archive_error_string(archive));
    return -1;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct clip_emoji_file *)a)->name,
                  ((const struct clip_emoji_file *)b)->name);
}

/* Reads the wanted files of data.tar.*. */
static clip_status read_data(const struct clip_buffer *data, const char *name,
                             struct clip_emoji_package *out, struct clip_error *error)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    clip_status status = CLIP_OK;
    int more;
    CLIP_TRY(archive != NULL ? CLIP_OK
                             : clip_fail(error, CLIP_ERR_MEMORY, "%s: out of memory", name));
    archive_read_support_filter_all(archive);
    archive_read_support_format_tar(archive);
    if (archive_read_open_memory(archive, data->data, data->size) != ARCHIVE_OK)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: its data archive cannot be read: %s; fetch it again", name,
                           archive_error_string(archive)));
    while ((more = next_entry(archive, &entry, name, error)) > 0) {
        const char *path = archive_entry_pathname(entry);
        if (path == NULL || archive_entry_filetype(entry) != AE_IFREG || !wanted(path)) continue;
        if (out->count >= MAX_FILES)
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                               "%s holds more than %d images; it is not the package it should be",
                               name, MAX_FILES));
        CLIP_TRY(clip_array_grow(&out->files, &out->capacity, out->count + 1, sizeof *out->files,
                                 error));
        struct clip_emoji_file *file = &out->files[out->count];
        file->name = clip_string_copy(path, error);
        CLIP_TRY(file->name != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
        out->count++;
        CLIP_TRY(read_entry(archive, max_file, name, &file->bytes, error));
    }
    CLIP_TRY(more < 0 ? error->status : CLIP_OK);
    if (out->count > 0) qsort(out->files, (size_t)out->count, sizeof *out->files, by_name);
out:
    archive_read_free(archive);
    return status;
}

clip_status clip_emoji_package_parse(const void *bytes, size_t n, const char *name,
                                     struct clip_emoji_package *out, struct clip_error *error)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    struct clip_buffer data = {0};
    clip_status status = CLIP_OK;
    bool found = false;
    *out = (struct clip_emoji_package){0};
    CLIP_TRY(archive != NULL ? CLIP_OK
                             : clip_fail(error, CLIP_ERR_MEMORY, "%s: out of memory", name));
    archive_read_support_format_ar(archive);
    if (archive_read_open_memory(archive, bytes, n) != ARCHIVE_OK)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s is no Debian package: %s; fetch it again",
                           name, archive_error_string(archive)));
    while (!found) {
        int more = next_entry(archive, &entry, name, error);
        CLIP_TRY(more < 0 ? error->status : CLIP_OK);
        if (more == 0) break;
        const char *path = archive_entry_pathname(entry);
        found = path != NULL && strncmp(path, "data.tar", 8) == 0;
    }
    if (!found)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s holds no data.tar, so it is no Debian package; fetch it again",
                           name));
    CLIP_TRY(read_entry(archive, max_data, name, &data, error));
    CLIP_TRY(read_data(&data, name, out, error));
out:
    archive_read_free(archive);
    clip_buffer_release(&data);
    if (status != CLIP_OK) clip_emoji_package_release(out);
    return status;
}

clip_status clip_emoji_package_read(const char *path, struct clip_emoji_package *out,
                                    struct clip_error *error)
{
    struct clip_buffer bytes = {0};
    *out = (struct clip_emoji_package){0};
    clip_status status = clip_file_read(path, max_package, &bytes, error);
    if (status == CLIP_OK)
        status = clip_emoji_package_parse(bytes.data, bytes.size, path, out, error);
    clip_buffer_release(&bytes);
    return status;
}

void clip_emoji_package_release(struct clip_emoji_package *package)
{
    for (int64_t i = 0; i < package->count; i++) {
        free(package->files[i].name);
        clip_buffer_release(&package->files[i].bytes);
    }
    free(package->files);
    *package = (struct clip_emoji_package){0};
}

const struct clip_emoji_file *clip_emoji_package_find(const struct clip_emoji_package *package,
                                                      const char *suffix)
{
    for (int64_t i = 0; i < package->count; i++)
        if (clip_path_has_suffix(package->files[i].name, suffix)) return &package->files[i];
    return NULL;
}

/* Runs `apt-get download NAME` in `folder`, without a shell; its output goes to stderr. */
static clip_status download(const char *folder, const char *name, bool quiet,
                            struct clip_error *error)
{
    char program[] = "apt-get", verb[] = "download", level[] = "-qq",
         option[] = "-oAPT::Sandbox::User=root";
    char *package = clip_string_copy(name, error);
    if (package == NULL) return CLIP_ERR_MEMORY;
    char *arguments[] = {program, level, option, verb, package, NULL};
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || chdir(folder) != 0) _exit(126);
        dup2(null, 0);
        dup2(quiet ? null : 2, 1);
        if (quiet) dup2(null, 2);
        execvp(program, arguments);
        _exit(127);
    }
    int reason = errno, state = 0;
    free(package);
    if (child < 0)
        return clip_fail(error, CLIP_ERR_IO,
                         "apt-get cannot be started: %s; fetch %s_*.deb elsewhere and name its "
                         "folder with --debs",
                         strerror(reason), name);
    while (waitpid(child, &state, 0) < 0)
        if (errno != EINTR)
            return clip_fail(error, CLIP_ERR_IO, "waiting for apt-get failed: %s", strerror(errno));
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_IO,
                     "the Debian package %s could not be fetched (`apt-get download %s` ended with "
                     "status %d); go online and run "
                     "`apt-get update` once, or put %s_*.deb into a folder and name it with --debs",
                     name, name, WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state),
                     name);
}

/* Finds NAME_*.deb in `folder`, the last one by bytes; NULL and status CLIP_OK if there is none. */
static clip_status find_package(const char *folder, const char *name, char **path,
                                struct clip_error *error)
{
    struct clip_names names = {0};
    clip_status status = clip_folder_list(folder, &names, error);
    size_t length = strlen(name);
    *path = NULL;
    for (int64_t i = names.count - 1; status == CLIP_OK && i >= 0 && *path == NULL; i--) {
        const char *file = names.names[i];
        if (strncmp(file, name, length) != 0 || file[length] != '_' ||
            !clip_path_has_suffix(file, ".deb"))
            continue;
        *path = clip_path_join(folder, file, error);
        if (*path == NULL) status = CLIP_ERR_MEMORY;
    }
    clip_names_release(&names);
    return status;
}

char *clip_emoji_package_get(const char *folder, const char *name, bool fetch, bool quiet,
                             struct clip_error *error)
{
    char *path = NULL;
    clip_status status;
    CLIP_TRY(find_package(folder, name, &path, error));
    if (path == NULL && fetch) {
        CLIP_TRY(download(folder, name, quiet, error));
        CLIP_TRY(find_package(folder, name, &path, error));
    }
    if (path == NULL)
        clip_fail(
            error, CLIP_ERR_NOT_FOUND,
            "%s holds no %s_*.deb; get it with `apt-get download %s` on a machine that is online",
            folder, name, name);
out:
    return status == CLIP_OK ? path : NULL;
}
