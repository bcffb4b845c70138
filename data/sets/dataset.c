/* What every reader needs: a caption is checked and a file is read in one way. Nothing here knows a
 * reader. */
#include "data/sets/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utf8proc.h>

#include "core/count.h"
#include "core/progress.h"
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

clip_status clip_dataset_passed_over(const struct clip_dataset *dataset, const char *data,
                                     struct clip_error *error)
{
    const struct clip_names *unread = &dataset->unread;
    if (unread->count == 0) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_IO,
                     "%lld of what lies in %s could not be read and was passed over, first %s; the "
                     "rest is done",
                     (long long)unread->count, data, unread->names[0]);
}

void clip_dataset_say(const struct clip_dataset *dataset, const char *data, const char *unit)
{
    char digits[32], number[48];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)dataset->count), to = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) number[to++] = ',';
        number[to++] = digits[i];
    }
    number[to] = '\0';
    const char *name = clip_counted_name(&(struct clip_counted){{0}}, dataset->count, unit);
    const char *reading = dataset->ops->name;
    const char *captions = dataset->captions;
    if (strcmp(reading, "images") == 0) /* a folder of images: there is no more to say */
        clip_say("%s: %s %s", data, number, name);
    else if (captions[0] == '\0')
        clip_say("%s: %s %s, %s", data, number, name, reading);
    else
        clip_say("%s: %s %s, %s (%s)", data, number, name, reading, captions);
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
        return clip_fail(error, clip_status_of(errno), "%s could not be opened: %s", path,
                         strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is not a regular file", path));
    if (info.st_size == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is empty; replace or remove it", path));
    if (info.st_size > CLIP_IMAGE_BYTES)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s has %s, more than any image's %d", path,
                           CLIP_COUNT(info.st_size, "byte"), CLIP_IMAGE_BYTES));
    CLIP_TRY(clip_buffer_reserve(out, (size_t)info.st_size, error));
    while (out->size < (size_t)info.st_size) {
        ssize_t n = read(fd, out->data + out->size, (size_t)info.st_size - out->size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            CLIP_TRY(clip_fail(error, n < 0 ? clip_status_of(errno) : CLIP_ERR_DATA,
                               "%s could not be read: %s", path,
                               n < 0 ? strerror(errno) : "it became shorter meanwhile"));
        out->size += (size_t)n;
    }
    out->data[out->size] = '\0';
out:
    close(fd);
    return status;
}
