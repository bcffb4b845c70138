/* DATA: which source is it, or which ones? Chosen by the name and the content; the readers stand
 * below this file and do not know of it. */
#include <stdlib.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

static clip_status open_tars(struct clip_dataset **out, const char *data,
                             const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status;
    struct clip_tar *tars = NULL;
    int64_t count = 0;
    CLIP_TRY(clip_shards_open(&tars, &count, data, error));
    CLIP_TRY(clip_dataset_webdataset_open(out, tars, count, options, error));
    if (*out == NULL) status = clip_dataset_folder_tar(out, &tars[0], options, error);
out:
    clip_shards_close(tars, count);
    return status;
}

static bool is_packed_tar(const char *data)
{
    static const char *const suffixes[] = {".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (clip_path_has_suffix(data, suffixes[i])) return true;
    return false;
}

static const struct {
    const char *suffix;
    clip_status (*open)(struct clip_dataset **, const char *, const struct clip_dataset_options *,
                        struct clip_error *);
} sources[] = {
    {".csv", clip_dataset_csv_open},
    {".tsv", clip_dataset_csv_open},
    {".jsonl", clip_dataset_jsonl_open},
    {".json", clip_dataset_coco_open},
    {".tar", open_tars},
    {".h5", clip_dataset_packed_open},
};
enum { SOURCES = sizeof sources / sizeof *sources };

static int find_source(const char *data)
{
    int i = 0;
    while (i < SOURCES && !clip_path_has_suffix(data, sources[i].suffix)) i++;
    return i;
}

bool clip_dataset_is_named(const char *data)
{
    bool list = strstr(data, "::") != NULL && !clip_path_exists(data);
    return list || find_source(data) < SOURCES;
}

static const char accepted[] =
    "expected a .csv, .tsv or .jsonl, COCO's captions .json, a packed .h5, a folder or an "
    "uncompressed .tar of class folders, or webdataset .tar shards as in "
    "shards/{000..012}.tar";

static clip_status open_folder(struct clip_dataset **out, const char *path,
                               const struct clip_dataset_options *options, struct clip_error *error)
{
    struct clip_error foreign;
    clip_status status = clip_dataset_folder_open(out, path, options, error);
    if (status != CLIP_ERR_DATA) return status;
    if (clip_dataset_refuse_foreign_inside(path, &foreign) == CLIP_ERR_DATA) *error = foreign;
    return status;
}

/* What has one name. */
static clip_status open_one(struct clip_dataset **out, const char *data,
                            const struct clip_dataset_options *options, struct clip_error *error)
{
    if (clip_shards_is_pipe(data))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s is a command; only [data] train_data of clip_train reads its output",
                         data);
    clip_status status = clip_dataset_refuse_foreign(data, error);
    if (status != CLIP_OK) return status;
    if (clip_shards_are(data)) return open_tars(out, data, options, error);
    if (clip_dataset_muge_is(data)) return clip_dataset_muge_open(out, data, options, error);
    if (clip_path_is_folder(data)) return open_folder(out, data, options, error);
    if (find_source(data) < SOURCES)
        return sources[find_source(data)].open(out, data, options, error);
    if (!clip_path_exists(data))
        return clip_fail(error, CLIP_ERR_NOT_FOUND, "%s: no such file or folder; %s", data,
                         accepted);
    if (clip_path_has_suffix(data, ".txt") && clip_dataset_csv_is(data))
        return clip_dataset_csv_open(out, data, options, error);
    if (is_packed_tar(data))
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: a compressed tar cannot be read at any place; unpack it to a .tar "
                         "first (gunzip and the like)",
                         data);
    return clip_fail(error, CLIP_ERR_DATA, "%s: not a data set that can be read; %s", data,
                     accepted);
}

/* ---- Several ---- */
struct parts {
    struct clip_dataset **sets;
    int64_t count, capacity;
};

static clip_status add_set(struct parts *parts, const char *name,
                           const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(clip_array_grow(&parts->sets, &parts->capacity, parts->count + 1, sizeof *parts->sets,
                             error));
    CLIP_TRY(open_one(&parts->sets[parts->count], name, options, error));
    parts->count++;
out:
    return status;
}

/* The tars of one part are one set; anything else is a set each. */
static clip_status add_part(struct parts *parts, const char *part,
                            const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_names names = {0};
    if (clip_shards_are(part)) return add_set(parts, part, options, error);
    CLIP_TRY(clip_shards_expand(part, &names, error));
    for (int64_t i = 0; i < names.count; i++)
        CLIP_TRY(add_set(parts, names.names[i], options, error));
out:
    clip_names_release(&names);
    return status;
}

static clip_status check_list(const char *data, struct clip_error *error)
{
    size_t n = strlen(data);
    if (strncmp(data, "::", 2) != 0 && strstr(data, "::::") == NULL &&
        (n < 2 || strcmp(data + n - 2, "::") != 0))
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%s: a name is missing beside \"::\", which joins data sets", data);
}

/* The set of the parts, or of the only one. */
static clip_status join_parts(struct clip_dataset **out, struct parts *parts,
                              struct clip_error *error)
{
    if (parts->count > 1) return clip_dataset_join(out, parts->sets, parts->count, error);
    *out = parts->sets[0];
    parts->sets[0] = NULL;
    return CLIP_OK;
}

static void free_parts(struct parts *parts)
{
    for (int64_t i = 0; i < parts->count; i++) clip_dataset_free(parts->sets[i]);
    free(parts->sets);
}

static clip_status open_several(struct clip_dataset **out, const char *data,
                                const struct clip_dataset_options *options,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct parts parts = {0};
    char *list = NULL;
    CLIP_TRY(check_list(data, error));
    list = clip_string_copy(data, error);
    if (list == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (char *part = list, *next; part != NULL; part = next) {
        next = clip_shards_next(part);
        CLIP_TRY(add_part(&parts, part, options, error));
    }
    CLIP_TRY(join_parts(out, &parts, error));
out:
    free_parts(&parts);
    free(list);
    return status;
}

clip_status clip_dataset_open(struct clip_dataset **out, const char *data,
                              const struct clip_dataset_options *options, struct clip_error *error)
{
    *out = NULL;
    if (data == NULL || data[0] == '\0')
        return clip_fail(error, CLIP_ERR_USAGE, "no data set is named; %s", accepted);
    if (clip_shards_are_names(data) && !clip_shards_are(data))
        return open_several(out, data, options, error);
    return open_one(out, data, options, error);
}

clip_status clip_dataset_open_parts(struct clip_dataset **out, const char *data,
                                    const struct clip_dataset_options *options, int64_t **ends,
                                    int64_t *count, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct parts parts = {0};
    int64_t end = 0;
    char *list = NULL;
    *out = NULL;
    *ends = NULL;
    if (!clip_path_exists(data)) CLIP_TRY(check_list(data, error));
    list = clip_string_copy(data, error);
    if (list == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (char *part = list, *next; part != NULL; part = next) {
        next = clip_path_exists(data) ? NULL : clip_shards_next(part);
        CLIP_TRY(clip_array_grow(&parts.sets, &parts.capacity, parts.count + 1, sizeof *parts.sets,
                                 error));
        CLIP_TRY(clip_dataset_open(&parts.sets[parts.count], part, options, error));
        parts.count++;
    }
    CLIP_NEW(*ends, parts.count);
    for (int64_t i = 0; i < parts.count; i++) (*ends)[i] = end += parts.sets[i]->count;
    *count = parts.count;
    CLIP_TRY(join_parts(out, &parts, error));
out:
    if (status != CLIP_OK) {
        free(*ends);
        *ends = NULL;
    }
    free_parts(&parts);
    free(list);
    return status;
}
