/* DATA: which source is it? Chosen by the name and the content; the readers stand below this file
 * and do not know of it. */
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

bool clip_dataset_is_named(const char *data) { return find_source(data) < SOURCES; }

clip_status clip_dataset_open(struct clip_dataset **out, const char *data,
                              const struct clip_dataset_options *options, struct clip_error *error)
{
    static const char accepted[] =
        "expected a .csv, .tsv or .jsonl, COCO's captions .json, a packed .h5, a folder or an "
        "uncompressed .tar of class folders, or webdataset .tar shards as in "
        "shards/{000..012}.tar";
    *out = NULL;
    if (data == NULL || data[0] == '\0')
        return clip_fail(error, CLIP_ERR_USAGE, "no data set is named; %s", accepted);
    if (clip_shards_are(data)) return open_tars(out, data, options, error);
    if (clip_dataset_muge_is(data)) return clip_dataset_muge_open(out, data, options, error);
    if (clip_path_is_folder(data)) return clip_dataset_folder_open(out, data, options, error);
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
