/* Walking through a folder: every file below it, each folder once. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/count.h"
#include "core/progress.h"
#include "data/image/image.h"
#include "data/sets/dataset_internal.h"

enum { DEPTH_MOST = 64 };   /* of folders in folders */
enum { SUFFIX_MOST = 12 };  /* a longer end of a name is no suffix */
enum { SUFFIXES_SAID = 8 }; /* the others are counted together */

struct walking {
    const char *path; /* of the folder that is walked through */
    const struct clip_folder_walk *how;
    struct clip_string_map visited; /* device and inode -> 1 */
    struct clip_string_map passed;  /* ".mov" -> how many files */
    struct clip_names links;        /* to folders, below `path`; they come after all real ones */
};

/* ---- One folder ---- */

enum kind { KIND_FILE, KIND_FOLDER, KIND_SPECIAL, KIND_GONE };

struct entry {
    char *name;
    enum kind kind;
    bool link;
};

struct entries {
    struct entry *items;
    int64_t count, capacity;
};

static void release_entries(struct entries *entries)
{
    for (int64_t i = 0; i < entries->count; i++) free(entries->items[i].name);
    free(entries->items);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* A link is what it points to; one that points nowhere is KIND_GONE. */
static enum kind kind_of(DIR *folder, const struct dirent *entry, bool *link)
{
    struct stat info;
    *link = entry->d_type == DT_LNK;
    if (entry->d_type == DT_REG) return KIND_FILE;
    if (entry->d_type == DT_DIR) return KIND_FOLDER;
    if (entry->d_type == DT_UNKNOWN)
        *link = fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISLNK(info.st_mode);
    if (fstatat(dirfd(folder), entry->d_name, &info, 0) != 0) return KIND_GONE;
    if (S_ISREG(info.st_mode)) return KIND_FILE;
    return S_ISDIR(info.st_mode) ? KIND_FOLDER : KIND_SPECIAL;
}

static clip_status add_entry(struct entries *out, DIR *folder, const struct dirent *entry,
                             struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&out->items, &out->capacity, out->count + 1, sizeof *out->items, error);
    if (status != CLIP_OK) return status;
    struct entry *item = &out->items[out->count];
    item->name = clip_string_copy(entry->d_name, error);
    if (item->name == NULL) return CLIP_ERR_MEMORY;
    item->kind = kind_of(folder, entry, &item->link);
    out->count++;
    return CLIP_OK;
}

/* What does not begin with a dot, in order. A folder that cannot be listed: *reason is set. */
static clip_status list_entries(const char *path, struct entries *out, int *reason,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct dirent *entry;
    DIR *folder = opendir(path);
    *reason = folder == NULL ? errno : 0;
    if (folder == NULL) return CLIP_OK;
    for (;;) {
        errno = 0;
        entry = readdir(folder);
        if (entry == NULL) break;
        if (entry->d_name[0] != '.') CLIP_TRY(add_entry(out, folder, entry, error));
    }
    *reason = errno;
    if (out->count > 1) qsort(out->items, (size_t)out->count, sizeof *out->items, compare_entries);
out:
    closedir(folder);
    return status;
}

/* ---- What is passed over ---- */

static clip_status pass_over(struct walking *w, const char *path, const char *why,
                             struct clip_error *error)
{
    clip_warn("%s %s and is passed over", path, why);
    return w->how->unread != NULL ? clip_names_add(w->how->unread, path, error) : CLIP_OK;
}

/* Counts a file that nobody took by its suffix, in small letters. */
static clip_status count_passed(struct walking *w, const char *name, struct clip_error *error)
{
    char suffix[SUFFIX_MOST + 1] = "";
    struct clip_string_entry *entry;
    const char *dot = strrchr(clip_path_name(name), '.');
    size_t n = dot != NULL ? strlen(dot) : 0;
    if (n > 1 && n <= SUFFIX_MOST)
        for (size_t i = 0; i < n; i++) suffix[i] = (char)tolower((unsigned char)dot[i]);
    clip_status status = clip_string_map_add(&w->passed, suffix, strlen(suffix), 0, &entry, error);
    if (status == CLIP_OK) entry->value++;
    return status;
}

static int compare_counts(const void *a, const void *b)
{
    const struct clip_string_entry *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? 1 : -1;
    if (x->n == 0 || y->n == 0) return x->n == 0 ? 1 : -1; /* names without a suffix come last */
    return strcmp(x->key, y->key);
}

/* "photos: passed over: 812 .mov, 40 .psd"; where HEIC is among them, how it is read. */
static clip_status say_passed(const struct walking *w, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    struct clip_string_entry *sorted = NULL;
    int64_t others = 0, n = w->passed.count;
    bool heif = false;
    if (n == 0) return CLIP_OK;
    CLIP_NEW(sorted, n);
    memcpy(sorted, w->passed.entries, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_counts);
    for (int64_t i = 0; i < n; i++) {
        const char *suffix = sorted[i].key[0] != '\0' ? sorted[i].key : "without a suffix";
        heif = heif || clip_image_needs_libheif(suffix);
        if (i >= SUFFIXES_SAID)
            others += sorted[i].value;
        else
            CLIP_TRY(clip_buffer_printf(&text, error, "%s%lld %s", i > 0 ? ", " : "",
                                        (long long)sorted[i].value, suffix));
    }
    if (others > 0) CLIP_TRY(clip_buffer_printf(&text, error, ", %s", CLIP_COUNT(others, "other")));
    clip_say("%s: passed over: %s%s", w->path, text.data,
             heif ? " (HEIC and AVIF are read by programs that were built where libheif-dev is)"
                  : "");
out:
    free(sorted);
    clip_buffer_release(&text);
    return status;
}

/* ---- All folders ---- */

/* Is the folder seen for the first time? */
static clip_status visit(struct walking *w, const char *path, bool *first, struct clip_error *error)
{
    struct stat info;
    struct clip_string_entry *entry;
    char key[sizeof info.st_dev + sizeof info.st_ino];
    *first = true;
    if (stat(path, &info) != 0) return CLIP_OK; /* listing it says why */
    memcpy(key, &info.st_dev, sizeof info.st_dev);
    memcpy(key + sizeof info.st_dev, &info.st_ino, sizeof info.st_ino);
    clip_status status = clip_string_map_add(&w->visited, key, sizeof key, 0, &entry, error);
    if (status == CLIP_OK) *first = entry->value++ == 0;
    return status;
}

static clip_status walk(struct walking *w, const char *below, int depth, struct clip_error *error);

static clip_status take_entry(struct walking *w, const struct entry *entry, const char *below,
                              int depth, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    bool taken = false;
    char *path = NULL, *inner = clip_path_join(below, entry->name, error);
    if (inner == NULL) CLIP_TRY(error->status);
    if (entry->kind == KIND_FOLDER) {
        CLIP_TRY(entry->link ? clip_names_add(&w->links, inner, error)
                             : walk(w, inner, depth + 1, error));
    } else if (entry->kind == KIND_FILE || entry->kind == KIND_GONE) {
        CLIP_TRY(w->how->found(w->how->context, inner, &taken, error));
        if (!taken && entry->kind == KIND_FILE) CLIP_TRY(count_passed(w, inner, error));
    } else if (clip_dataset_is_image(entry->name)) {
        path = clip_path_join(w->path, inner, error);
        if (path == NULL) CLIP_TRY(error->status);
        CLIP_TRY(pass_over(w, path, "is no regular file (a pipe, a socket or a device)", error));
    }
out:
    free(path);
    free(inner);
    return status;
}

static clip_status walk(struct walking *w, const char *below, int depth, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct entries entries = {0};
    bool first;
    int reason = 0;
    char why[160], *path = clip_path_join(w->path, below, error);
    if (path == NULL) CLIP_TRY(error->status);
    CLIP_TRY(visit(w, path, &first, error));
    if (!first) goto out;
    snprintf(why, sizeof why, "lies more than %d folders deep", DEPTH_MOST);
    if (depth <= DEPTH_MOST) {
        CLIP_TRY(list_entries(path, &entries, &reason, error));
        if (reason != 0) snprintf(why, sizeof why, "could not be listed (%s)", strerror(reason));
    }
    clip_status reached = clip_status_of(reason);
    if (reason != 0 && (below[0] == '\0' || clip_machine_failed(reached)))
        CLIP_TRY(clip_fail(error, reached, "%s %s%s", path, why,
                           clip_machine_failed(reached) ? "" : "; check its permissions"));
    if (reason != 0 || depth > DEPTH_MOST) CLIP_TRY(pass_over(w, path, why, error));
    for (int64_t i = 0; i < entries.count; i++) {
        if (w->how->stop != NULL && *w->how->stop != 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_INTERRUPTED, "stopped by a signal"));
        CLIP_TRY(take_entry(w, &entries.items[i], below, depth, error));
    }
out:
    free(path);
    release_entries(&entries);
    return status;
}

clip_status clip_folder_walk(const char *path, const struct clip_folder_walk *how,
                             struct clip_error *error)
{
    clip_status status;
    struct walking w = {.path = path, .how = how};
    CLIP_TRY(walk(&w, "", 0, error));
    for (int64_t i = 0; i < w.links.count; i++) { /* the list grows meanwhile */
        int depth = 1;
        for (const char *p = w.links.names[i]; *p != '\0'; p++) depth += *p == '/';
        CLIP_TRY(walk(&w, w.links.names[i], depth, error));
    }
    status = say_passed(&w, error);
out:
    clip_string_map_release(&w.visited);
    clip_string_map_release(&w.passed);
    clip_names_release(&w.links);
    return status;
}
