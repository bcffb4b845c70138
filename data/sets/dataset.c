#include "data/sets/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utf8proc.h>

#include "data/image/image.h"
#include "data/sets/dataset_internal.h"

void clip_sample_release(struct clip_sample *sample)
{
    clip_buffer_release(&sample->image);
    clip_buffer_release(&sample->caption);
}

void clip_dataset_free(struct clip_dataset *dataset)
{
    if (dataset != NULL) dataset->ops->free(dataset);
}

bool clip_dataset_is_image(const char *name)
{
    const char *base = clip_path_name(name);
    return base[0] != '.' && clip_image_has_suffix(base);
}

bool clip_dataset_is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && (text[i] < '\t' || text[i] > '\r')) return false;
    return true;
}

clip_status clip_dataset_caption_check(const struct clip_buffer *caption, const char *name,
                                       struct clip_error *error)
{
    if (clip_dataset_is_blank(caption->data, caption->size))
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the caption is empty; write one or leave the sample out", name);
    if (memchr(caption->data, '\0', caption->size) != NULL)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s: the caption holds a NUL byte; save the captions as UTF-8 text", name);
    for (size_t at = 0; at < caption->size;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)caption->data + at,
                                              (utf8proc_ssize_t)(caption->size - at), &point);
        if (n <= 0)
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s: the caption is not UTF-8 (byte %zu is 0x%02x); save it as UTF-8",
                             name, at + 1, (unsigned char)caption->data[at]);
        at += (size_t)n;
    }
    return CLIP_OK;
}

clip_status clip_dataset_set(struct clip_buffer *out, const void *bytes, size_t n,
                             struct clip_error *error)
{
    out->size = 0;
    return clip_buffer_append(out, bytes, n, error);
}

clip_status clip_dataset_read_file(const char *path, struct clip_buffer *out,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct stat info;
    out->size = 0;
    if (clip_path_is_special(path))
        return clip_fail(error, CLIP_ERR_DATA, "%s is not a regular file", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return clip_fail(error, CLIP_ERR_NOT_FOUND,
                         "%s: no such file; correct the path or set images_root", path);
    if (fd < 0)
        return clip_fail(error, CLIP_ERR_IO, "%s could not be opened: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is not a regular file", path));
    if (info.st_size == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is empty; replace or remove it", path));
    if (info.st_size > CLIP_IMAGE_BYTES)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s has %lld bytes, more than any image's %d",
                           path, (long long)info.st_size, CLIP_IMAGE_BYTES));
    CLIP_TRY(clip_buffer_reserve(out, (size_t)info.st_size, error));
    while (out->size < (size_t)info.st_size) {
        ssize_t n = read(fd, out->data + out->size, (size_t)info.st_size - out->size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_IO, "%s could not be read: %s", path,
                               n < 0 ? strerror(errno) : "it became shorter meanwhile"));
        out->size += (size_t)n;
    }
    out->data[out->size] = '\0';
out:
    close(fd);
    return status;
}

/* ---- DATA: which source is it? ---- */
enum { SHARDS_MOST = 100000 };

/* "{000..012}", from `open` to its `close`. */
struct shard_range {
    int first, last, digits; /* of the first number; the others get as many digits */
};

static bool read_range(const char *open, const char *close, struct shard_range *out)
{
    int begin = 0, middle = 0, end = 0;
    bool range = sscanf(open, "{%n%9d..%n%9d}%n", &begin, &out->first, &middle, &out->last, &end) ==
                 2;
    out->digits = middle - 2 - begin;
    return range && end == (int)(close + 1 - open) && out->first >= 0;
}

/* The first braces of `pattern` that stand for several names: they count, or they have a comma. */
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

/* Adds the names of `pattern` with `item` in place of the braces from `open` to `close`. */
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

/* Appends to `names` what `pattern` stands for: each {000..012} counts (with as many digits as its
 * first number), and each {a,b} lists. Braces that do neither stay as they are. */
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

static clip_status open_tars(struct clip_dataset **out, const char *data,
                             const struct clip_dataset_options *options, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_names names = {0};
    struct clip_tar *tars = NULL;
    if (clip_path_exists(data))
        CLIP_TRY(clip_names_add(&names, data, error));
    else
        CLIP_TRY(expand_braces(data, &names, error));
    CLIP_NEW(tars, names.count);
    for (int64_t i = 0; i < names.count; i++)
        CLIP_TRY(clip_tar_open(&tars[i], names.names[i], error));
    if (names.count == 1 && !clip_dataset_webdataset_is(&tars[0]))
        status = clip_dataset_folder_tar(out, &tars[0], options, error);
    else
        status = clip_dataset_webdataset_open(out, tars, names.count, options, error);
out:
    for (int64_t i = 0; tars != NULL && i < names.count; i++) clip_tar_close(&tars[i]);
    free(tars);
    clip_names_release(&names);
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
    if (clip_path_is_folder(data)) return clip_dataset_folder_open(out, data, options, error);
    if (find_source(data) < SOURCES)
        return sources[find_source(data)].open(out, data, options, error);
    if (!clip_path_exists(data))
        return clip_fail(error, CLIP_ERR_NOT_FOUND, "%s: no such file or folder; %s", data,
                         accepted);
    if (is_packed_tar(data))
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: a compressed tar cannot be read at any place; unpack it to a .tar "
                         "first (gunzip and the like)",
                         data);
    return clip_fail(error, CLIP_ERR_DATA, "%s: not a data set that can be read; %s", data,
                     accepted);
}
