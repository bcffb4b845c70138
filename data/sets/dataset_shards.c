/* A list of tar shards in one name: {000..012} and {a,b}, a pattern with * ? [, a folder of shards,
 * and several of these joined by "::". */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

/* ---- Braces ---- */
enum { SHARDS_MOST = 100000 };

/* "{000..012}", from `open` to its `close`. */
struct shard_range {
    int first, last, digits; /* of the first number: the others get as many */
};

static bool read_range(const char *open, const char *close, struct shard_range *out)
{
    int begin = 0, middle = 0, end = 0;
    bool range = sscanf(open, "{%n%9d..%n%9d}%n", &begin, &out->first, &middle, &out->last, &end) ==
                 2;
    out->digits = middle - 2 - begin;
    return range && end == (int)(close + 1 - open) && out->first >= 0;
}

/* The first braces of `pattern` that stand for several names: they count, or they hold a comma. */
static bool find_braces(const char *pattern, const char **open, const char **close)
{
    struct shard_range range;
    for (*open = strchr(pattern, '{'); *open != NULL; *open = strchr(*open + 1, '{')) {
        *close = strchr(*open, '}');
        if (*close == NULL) return false;
        if (read_range(*open, *close, &range)) return true;
        if (memchr(*open, ',', (size_t)(*close - *open)) != NULL) return true;
    }
    return false;
}

static clip_status expand_braces(const char *pattern, struct clip_names *names,
                                 struct clip_error *error);

/* Adds what `pattern` stands for with `item` in place of the braces from `open` to `close`. */
static clip_status expand_item(const char *pattern, const char *open, const char *close,
                               const char *item, size_t n, struct clip_names *names,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_buffer name = {0};
    CLIP_TRY(clip_buffer_append(&name, pattern, (size_t)(open - pattern), error));
    CLIP_TRY(clip_buffer_append(&name, item, n, error));
    CLIP_TRY(clip_buffer_append(&name, close + 1, strlen(close + 1), error));
    CLIP_TRY(expand_braces(name.data, names, error));
    if (names->count > SHARDS_MOST)
        status = clip_fail(error, CLIP_ERR_USAGE, "%s: these are more than %d shards", pattern,
                           SHARDS_MOST);
out:
    clip_buffer_release(&name);
    return status;
}

/* Appends to `names` what `pattern` stands for: each {000..012} counts (with the zeros of its first
 * number), each {a,b} lists; braces that do neither stay as they are. */
static clip_status expand_braces(const char *pattern, struct clip_names *names,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct shard_range range;
    const char *open, *close;
    char number[32];
    if (!find_braces(pattern, &open, &close)) return clip_names_add(names, pattern, error);
    if (!read_range(open, close, &range)) {
        for (const char *item = open + 1; item <= close && status == CLIP_OK;) {
            size_t n = strcspn(item, ",}");
            status = expand_item(pattern, open, close, item, n, names, error);
            item += n + 1;
        }
        return status;
    }
    if (range.last < range.first)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s counts down; shards are named from the first to the last, as in "
                         "{000..012}",
                         pattern);
    for (int i = range.first; i <= range.last && status == CLIP_OK; i++) {
        int n = snprintf(number, sizeof number, "%0*d", range.digits, i);
        status = expand_item(pattern, open, close, number, (size_t)n, names, error);
    }
    return status;
}

/* ---- Patterns, folders, lists ---- */
static bool has_braces(const char *text)
{
    const char *open, *close;
    return find_braces(text, &open, &close);
}

static bool is_pattern(const char *text) { return strpbrk(text, "*?[") != NULL; }

static clip_status add_matches(const char *pattern, struct clip_names *names,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    glob_t found = {0};
    int code = glob(pattern, 0, NULL, &found);
    if (code == GLOB_NOMATCH)
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND, "%s: no file fits this pattern", pattern));
    if (code == GLOB_NOSPACE)
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "memory is short for the files of %s", pattern));
    if (code != 0)
        CLIP_TRY(clip_fail(error, clip_status_of(errno), "%s: a folder could not be read: %s",
                           pattern, strerror(errno)));
    for (size_t i = 0; i < found.gl_pathc; i++)
        CLIP_TRY(clip_names_add(names, found.gl_pathv[i], error));
out:
    globfree(&found);
    return status;
}

/* A pipe or a device of that name is none, and is not opened. */
static bool is_shard(const char *folder, const char *name)
{
    struct clip_error ignored;
    if (name[0] == '.' || !clip_path_has_suffix(name, ".tar")) return false;
    char *path = clip_path_join(folder, name, &ignored);
    bool shard = path != NULL && !clip_path_is_special(path);
    free(path);
    return shard;
}

/* Has the folder a shard, and neither an image nor a list beside it? */
static bool is_shard_folder(const char *path)
{
    struct clip_error error;
    struct clip_names names = {0};
    bool shards = false, others = false;
    if (!clip_path_is_folder(path)) return false;
    if (clip_folder_list(path, &names, &error) != CLIP_OK) return false;
    for (int64_t i = 0; i < names.count; i++) {
        shards = shards || is_shard(path, names.names[i]);
        others = others || clip_dataset_is_image(names.names[i]);
    }
    clip_names_release(&names);
    return shards && !others;
}

static clip_status add_folder(const char *path, struct clip_names *names, struct clip_error *error)
{
    clip_status status;
    struct clip_names inside = {0};
    char *shard = NULL;
    CLIP_TRY(clip_folder_list(path, &inside, error));
    for (int64_t i = 0; i < inside.count; i++) {
        if (!is_shard(path, inside.names[i])) continue;
        shard = clip_path_join(path, inside.names[i], error);
        CLIP_TRY(shard != NULL ? CLIP_OK : error->status);
        CLIP_TRY(clip_names_add(names, shard, error));
        free(shard);
        shard = NULL;
    }
out:
    free(shard);
    clip_names_release(&inside);
    return status;
}

bool clip_shards_is_pipe(const char *name) { return strncmp(name, "pipe:", 5) == 0; }

clip_status clip_shards_expand(const char *part, struct clip_names *names, struct clip_error *error)
{
    /* what a command is given is no pattern of files */
    if (clip_shards_is_pipe(part)) return expand_braces(part, names, error);
    if (is_shard_folder(part)) return add_folder(part, names, error);
    if (clip_path_exists(part)) return clip_names_add(names, part, error);
    if (has_braces(part)) return expand_braces(part, names, error);
    if (is_pattern(part)) return add_matches(part, names, error);
    return clip_names_add(names, part, error);
}

/* Is this part of a list, or the whole name, one or more tars? */
static bool is_tars(const char *part)
{
    if (is_shard_folder(part)) return true;
    return clip_path_has_suffix(part, ".tar") && !clip_path_is_folder(part);
}

bool clip_shards_are(const char *data)
{
    struct clip_error ignored;
    bool all = true;
    if (clip_path_exists(data)) return is_tars(data);
    char *list = clip_string_copy(data, &ignored);
    for (char *part = list, *next; part != NULL && all; part = next) {
        next = clip_shards_next(part);
        all = is_tars(part);
    }
    free(list);
    return list != NULL && all;
}

bool clip_shards_are_names(const char *data)
{
    if (clip_path_exists(data)) return false;
    return strstr(data, "::") != NULL || is_pattern(data) || has_braces(data);
}

char *clip_shards_next(char *part)
{
    char *joint = strstr(part, "::");
    if (joint == NULL) return NULL;
    *joint = '\0';
    return joint + 2;
}

static clip_status list_shards(const char *data, struct clip_names *names, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *list = NULL;
    if (clip_path_exists(data)) return clip_shards_expand(data, names, error);
    list = clip_string_copy(data, error);
    if (list == NULL) return CLIP_ERR_MEMORY;
    for (char *part = list, *next; part != NULL; part = next) {
        next = clip_shards_next(part);
        if (part[0] == '\0')
            CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                               "%s: a name is missing beside \"::\", which joins shards", data));
        CLIP_TRY(clip_shards_expand(part, names, error));
    }
out:
    free(list);
    return status;
}

clip_status clip_shards_list(const char *data, struct clip_names *names, int64_t **ends,
                             int64_t *parts, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t capacity = 0;
    char *list = NULL;
    *ends = NULL;
    *parts = 0;
    list = clip_string_copy(data, error);
    if (list == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (char *part = list, *next; part != NULL; part = next) {
        next = clip_path_exists(data) ? NULL : clip_shards_next(part);
        if (!is_tars(part) && !clip_shards_is_pipe(part)) {
            clip_names_release(names);
            *parts = 0;
            break;
        }
        CLIP_TRY(clip_shards_expand(part, names, error));
        CLIP_TRY(clip_array_grow(ends, &capacity, *parts + 1, sizeof **ends, error));
        (*ends)[(*parts)++] = names->count;
    }
out:
    free(list);
    return status;
}

clip_status clip_shards_open(struct clip_tar **out, int64_t *count, const char *data,
                             struct clip_error *error)
{
    clip_status status;
    struct clip_names names = {0};
    *out = NULL;
    *count = 0;
    CLIP_TRY(list_shards(data, &names, error));
    CLIP_NEW(*out, names.count);
    *count = names.count;
    for (int64_t i = 0; i < names.count; i++)
        CLIP_TRY(clip_tar_open(&(*out)[i], names.names[i], error));
out:
    if (status != CLIP_OK) {
        clip_shards_close(*out, *count);
        *out = NULL;
        *count = 0;
    }
    clip_names_release(&names);
    return status;
}

void clip_shards_close(struct clip_tar *tars, int64_t count)
{
    for (int64_t i = 0; i < count; i++) clip_tar_close(&tars[i]);
    free(tars);
}

clip_status clip_dataset_companion(const char *data, const char *name, char **out,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *folder = clip_path_is_folder(data) ? clip_string_copy(data, error)
                                             : clip_path_folder(data, error);
    *out = NULL;
    for (int up = 0; up < 2 && *out == NULL; up++) {
        if (folder == NULL) CLIP_TRY(error->status);
        char *path = clip_path_join(folder, name, error);
        if (path == NULL) CLIP_TRY(error->status);
        bool found = clip_path_exists(path);
        if (found) *out = path;
        if (!found) free(path);
        char *above = clip_path_folder(folder, error);
        free(folder);
        folder = above;
    }
out:
    free(folder);
    return status;
}
