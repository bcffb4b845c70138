/* The clean list: the samples with which a check found nothing wrong, as csv or tsv. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "data/sets/check.h"

struct writer {
    FILE *stream;
    char separator;
    char here[PATH_MAX]; /* the new file's folder, with links resolved */
    struct clip_buffer path, folder;
    char real[PATH_MAX]; /* `folder` with links resolved, for the last folder that was asked for */
};

/* out = the relative path from folder `here` to folder `there`, both absolute and without links:
 * "", or with a slash at the end. */
static clip_status way_between(struct clip_buffer *out, const char *here, const char *there,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t common = 0; /* up to and including the last slash that both have */
    if (strcmp(here, "/") == 0) here = "";
    if (strcmp(there, "/") == 0) there = "";
    for (size_t i = 0;; i++) {
        bool end_here = here[i] == '/' || here[i] == '\0';
        bool end_there = there[i] == '/' || there[i] == '\0';
        if (end_here && end_there) common = i;
        if (here[i] != there[i] || here[i] == '\0') break;
    }
    for (const char *p = here + common; *p != '\0'; p++)
        if (*p == '/') CLIP_TRY(clip_buffer_append(out, "../", 3, error));
    const char *rest = there + common;
    if (*rest == '/') rest++;
    CLIP_TRY(clip_buffer_append(out, rest, strlen(rest), error));
    if (*rest != '\0') CLIP_TRY(clip_buffer_append(out, "/", 1, error));
out:
    return status;
}

/* writer->path = the image's path, for a list in folder `here`. */
static clip_status make_path(struct writer *writer, const char *image, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *name = clip_path_name(image);
    size_t n = (size_t)(name - image);
    writer->path.size = 0;
    if (image[0] == '/') return clip_buffer_append(&writer->path, image, strlen(image), error);
    if (writer->folder.size != n || memcmp(writer->folder.data, image, n) != 0) {
        writer->folder.size = 0;
        CLIP_TRY(clip_buffer_append(&writer->folder, image, n, error));
        if (realpath(n > 0 ? writer->folder.data : ".", writer->real) == NULL)
            CLIP_TRY(clip_fail(error, CLIP_ERR_IO, "%s: its folder cannot be found: %s", image,
                               strerror(errno)));
    }
    CLIP_TRY(way_between(&writer->path, writer->here, writer->real, error));
    CLIP_TRY(clip_buffer_append(&writer->path, name, strlen(name), error));
out:
    return status;
}

/* Writes a field as Python's csv module does. */
static void write_field(const struct writer *writer, const char *text, size_t n)
{
    bool quote = memchr(text, writer->separator, n) != NULL || memchr(text, '"', n) != NULL ||
                 memchr(text, '\n', n) != NULL || memchr(text, '\r', n) != NULL;
    if (!quote) {
        fwrite(text, 1, n, writer->stream);
        return;
    }
    putc('"', writer->stream);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') putc('"', writer->stream);
        putc(text[i], writer->stream);
    }
    putc('"', writer->stream);
}

/* Counts the sample; true if it is kept. */
static bool keep(unsigned char verdicts, struct clip_check_fixed *out)
{
    int64_t *count = &out->kept;
    if (verdicts & CLIP_CHECK_BAD)
        count = &out->bad;
    else if (verdicts & CLIP_CHECK_TINY)
        count = &out->tiny;
    else if (verdicts & CLIP_CHECK_COPY)
        count = &out->copies;
    else if (verdicts & CLIP_CHECK_NEAR)
        count = &out->near;
    else if (verdicts & CLIP_CHECK_REPEAT)
        count = &out->repeats;
    else if (verdicts & CLIP_CHECK_LEAK)
        count = &out->leaks;
    ++*count;
    return count == &out->kept;
}

static clip_status write_rows(struct writer *writer, const struct clip_check_report *report,
                              const struct clip_dataset *dataset, bool images_only,
                              struct clip_check_fixed *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer caption = {0};
    fputs("filepath", writer->stream);
    if (!images_only) fprintf(writer->stream, "%ctitle", writer->separator);
    putc('\n', writer->stream);
    for (int64_t i = 0; i < dataset->count; i++) {
        if (!keep(report->verdicts[i], out)) continue;
        CLIP_TRY(make_path(writer, dataset->ops->image_name(dataset, i), error));
        write_field(writer, writer->path.data, writer->path.size);
        if (!images_only) {
            CLIP_TRY(dataset->ops->caption(dataset, i, NULL, &caption, error));
            putc(writer->separator, writer->stream);
            write_field(writer, caption.data, caption.size);
        }
        putc('\n', writer->stream);
    }
    if (out->kept == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "no sample is left; nothing is written"));
out:
    clip_buffer_release(&caption);
    return status;
}

clip_status clip_check_can_fix(const char *path, const struct clip_dataset *dataset,
                               const char *data, struct clip_error *error)
{
    if (!clip_path_has_suffix(path, ".csv") && !clip_path_has_suffix(path, ".tsv"))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s: the clean list is written as .csv or .tsv; name it so", path);
    if (dataset->paths) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%s: a clean list names images by their paths, and those inside of %s (%s) "
                     "have none; clip_data pack leaves bad samples out of the copy that it writes",
                     data, clip_path_name(data), dataset->ops->name);
}

clip_status clip_check_fix(const char *path, const struct clip_check_report *report,
                           const struct clip_dataset *dataset, bool images_only,
                           struct clip_check_fixed *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct writer writer = {.separator = clip_path_has_suffix(path, ".tsv") ? '\t' : ','};
    struct clip_atomic file = {0};
    char *folder = NULL;
    *out = (struct clip_check_fixed){0};
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    CLIP_TRY((folder = clip_path_folder(path, error)) != NULL ? CLIP_OK : error->status);
    if (realpath(folder, writer.here) == NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_IO, "%s: its folder cannot be found: %s", path,
                           strerror(errno)));
    writer.stream = file.stream;
    status = write_rows(&writer, report, dataset, images_only, out, error);
    if (status != CLIP_OK) clip_error_prefix(error, "%s", path);
    CLIP_TRY(status);
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    clip_buffer_release(&writer.path);
    clip_buffer_release(&writer.folder);
    free(folder);
    return status;
}
