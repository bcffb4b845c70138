/* Reads a packed data set (packed.h): its tables are kept in memory, and its images are read from
 * where they are in the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "data/sets/dataset_internal.h"
#include "data/sets/packed.h"

struct packed {
    struct clip_dataset base;
    struct clip_dataset_ops ops;
    char *path;
    int fd;
    bool images_only;
    struct clip_packed_head head;
    void *tables[CLIP_PACKED_TABLES];
    /* a class set's templates, as asked for; count 0: those in the file */
    struct clip_templates templates;
};

static const struct packed *packed_of(const struct clip_dataset *dataset)
{
    return (const struct packed *)dataset;
}

static int64_t count_of(const struct packed *packed, enum clip_packed_table table)
{
    return packed->head.tables[table].count;
}

static int64_t number(const struct packed *packed, enum clip_packed_table table, int64_t i)
{
    return ((const int64_t *)packed->tables[table])[i];
}

/* Text i of the table after `ends`, and its length. */
static const char *text(const struct packed *packed, enum clip_packed_table ends, int64_t i,
                        size_t *n)
{
    int64_t start = i > 0 ? number(packed, ends, i - 1) : 0;
    *n = (size_t)(number(packed, ends, i) - start);
    return *n == 0 ? "" : (const char *)packed->tables[ends + 1] + start;
}

/* ---- The functions ---- */
static const char *packed_image_name(const struct clip_dataset *dataset, int64_t index)
{
    size_t n;
    const struct packed *packed = packed_of(dataset);
    return text(packed, CLIP_PACKED_NAME_ENDS, number(packed, CLIP_PACKED_IMAGE, index), &n);
}

static void name_sample(const struct clip_dataset *dataset, int64_t index, char *name, size_t size)
{
    snprintf(name, size, "%s (%s)", packed_of(dataset)->path, packed_image_name(dataset, index));
}

static clip_status class_caption(const struct packed *packed, int64_t index, struct clip_rng *rng,
                                 struct clip_buffer *out, struct clip_error *error)
{
    size_t n;
    bool own = packed->templates.count == 0;
    int64_t count = own ? count_of(packed, CLIP_PACKED_TEMPLATE_ENDS) : packed->templates.count;
    uint32_t choice = rng != NULL ? clip_rng_below(rng, (uint32_t)count) : 0;
    const char *line = own ? text(packed, CLIP_PACKED_TEMPLATE_ENDS, choice, &n)
                           : packed->templates.lines[choice];
    return clip_template_fill(
        line, text(packed, CLIP_PACKED_CLASS_ENDS, packed->base.group[index], &n), out, error);
}

static clip_status packed_caption(const struct clip_dataset *dataset, int64_t index,
                                  struct clip_rng *rng, struct clip_buffer *out,
                                  struct clip_error *error)
{
    const struct packed *packed = packed_of(dataset);
    char name[512];
    size_t n;
    clip_status status = clip_dataset_set(out, "", 0, error);
    if (status != CLIP_OK || packed->images_only) return status;
    if (count_of(packed, CLIP_PACKED_CLASS_ENDS) > 0)
        return class_caption(packed, index, rng, out, error);
    const char *caption = text(packed, CLIP_PACKED_CAPTION_ENDS, index, &n);
    status = clip_buffer_append(out, caption, n, error);
    if (status != CLIP_OK) return status;
    name_sample(dataset, index, name, sizeof name);
    return clip_dataset_caption_check(out, name, error);
}

static clip_status packed_negative(const struct clip_dataset *dataset, int64_t index,
                                   struct clip_buffer *out, struct clip_error *error)
{
    size_t n;
    const char *negative = text(packed_of(dataset), CLIP_PACKED_NEGATIVE_ENDS, index, &n);
    return clip_dataset_set(out, negative, n, error);
}

static clip_status read_at(const struct packed *packed, int64_t position, void *bytes, size_t n,
                           struct clip_error *error)
{
    for (size_t done = 0; done < n;) {
        ssize_t got =
            pread(packed->fd, (char *)bytes + done, n - done, (off_t)(position + (int64_t)done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return clip_fail(error, got < 0 ? clip_status_of(errno) : CLIP_ERR_DATA,
                             "%s could not be read: %s", packed->path,
                             got < 0 ? strerror(errno) : "it became shorter meanwhile");
        done += (size_t)got;
    }
    return CLIP_OK;
}

static clip_status packed_read(const struct clip_dataset *dataset, int64_t index,
                               struct clip_rng *rng, struct clip_sample *out,
                               struct clip_error *error)
{
    clip_status status;
    const struct packed *packed = packed_of(dataset);
    int64_t image = number(packed, CLIP_PACKED_IMAGE, index);
    size_t n = (size_t)number(packed, CLIP_PACKED_SIZE, image);
    name_sample(dataset, index, out->name, sizeof out->name);
    CLIP_TRY(packed_caption(dataset, index, rng, &out->caption, error));
    out->image.size = 0;
    CLIP_TRY(clip_buffer_reserve(&out->image, n, error));
    CLIP_TRY(
        read_at(packed, number(packed, CLIP_PACKED_POSITION, image), out->image.data, n, error));
    out->image.size = n;
    out->image.data[n] = '\0';
    if ((int64_t)crc32(0, (const Bytef *)out->image.data, (uInt)n) !=
        number(packed, CLIP_PACKED_CRC, image))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: the image's checksum does not match its bytes; use another copy "
                           "of the packed set or pack again",
                           out->name));
out:
    return status;
}

static void packed_free(struct clip_dataset *dataset)
{
    struct packed *packed = (struct packed *)dataset;
    if (packed->fd >= 0) close(packed->fd);
    for (int i = 0; i < CLIP_PACKED_TABLES; i++) free(packed->tables[i]);
    clip_templates_release(&packed->templates);
    free(packed->path);
    free(packed);
}

/* ---- Opening ---- */
static clip_status fail_inconsistent(const struct packed *packed, enum clip_packed_table table,
                                     struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: the packed set's table %s is damaged; use another copy or pack again",
                     packed->path, clip_packed_names[table]);
}

static clip_status read_head(struct packed *packed, struct clip_error *error)
{
    struct stat info;
    char block[CLIP_PACKED_BLOCK];
    if (clip_path_is_special(packed->path))
        return clip_fail(error, CLIP_ERR_IO, "%s is not a regular file", packed->path);
    packed->fd = open(packed->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (packed->fd < 0)
        return clip_fail(error, clip_status_of(errno), "%s could not be opened: %s; check the path",
                         packed->path, strerror(errno));
    if (fstat(packed->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return clip_fail(error, CLIP_ERR_IO, "%s is not a regular file", packed->path);
    size_t n = info.st_size < CLIP_PACKED_BLOCK ? (size_t)info.st_size : CLIP_PACKED_BLOCK;
    clip_status status = read_at(packed, 0, block, n, error);
    if (status != CLIP_OK) return status;
    return clip_packed_head_read(&packed->head, block, n, info.st_size, packed->path, error);
}

static clip_status read_tables(struct packed *packed, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int i = 0; i < CLIP_PACKED_TABLES; i++) {
        const struct clip_packed_place *place = &packed->head.tables[i];
        size_t size = clip_packed_is_bytes((enum clip_packed_table)i) ? 1 : sizeof(int64_t);
        size_t n = (size_t)place->count * size;
        packed->tables[i] = clip_array_new(place->count, size, error);
        if (packed->tables[i] == NULL) return CLIP_ERR_MEMORY;
        CLIP_TRY(read_at(packed, place->position, packed->tables[i], n, error));
        uLong crc = 0;
        for (size_t at = 0; at < n;) {
            uInt part = n - at < 1 << 30 ? (uInt)(n - at) : 1 << 30;
            crc = crc32(crc, (const Bytef *)packed->tables[i] + at, part);
            at += part;
        }
        if (n > 0 && (uint32_t)crc != place->crc)
            CLIP_TRY(fail_inconsistent(packed, (enum clip_packed_table)i, error));
    }
out:
    return status;
}

/* Checks the ends of `count` texts: they never decrease, and the last is the number of the bytes;
 * with `nul` each text ends with a NUL. */
static clip_status check_texts(const struct packed *packed, enum clip_packed_table ends,
                               int64_t count, bool nul, struct clip_error *error)
{
    const char *bytes = packed->tables[ends + 1];
    int64_t before = 0, total = count_of(packed, ends + 1);
    if (count_of(packed, ends) != count) return fail_inconsistent(packed, ends, error);
    for (int64_t i = 0; i < count; i++) {
        int64_t end = number(packed, ends, i);
        if (end < before || end > total || (nul && (end == before || bytes[end - 1] != '\0')))
            return fail_inconsistent(packed, ends, error);
        before = end;
    }
    return before == total ? CLIP_OK : fail_inconsistent(packed, ends, error);
}

static clip_status check_numbers(const struct packed *packed, enum clip_packed_table table,
                                 int64_t count, int64_t below, struct clip_error *error)
{
    bool good = count_of(packed, table) == count;
    for (int64_t i = 0; good && i < count; i++)
        good = number(packed, table, i) >= 0 && number(packed, table, i) < below;
    return good ? CLIP_OK : fail_inconsistent(packed, table, error);
}

/* Checks that everything that is read later is in its place. */
static clip_status check_tables(const struct packed *packed, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t samples = count_of(packed, CLIP_PACKED_IMAGE);
    int64_t images = count_of(packed, CLIP_PACKED_POSITION);
    int64_t classes = count_of(packed, CLIP_PACKED_CLASS_ENDS);
    int64_t negatives = count_of(packed, CLIP_PACKED_NEGATIVE_ENDS);
    if (samples < 1) return fail_inconsistent(packed, CLIP_PACKED_IMAGE, error);
    CLIP_TRY(check_numbers(packed, CLIP_PACKED_POSITION, images, packed->head.bytes + 1, error));
    CLIP_TRY(check_numbers(packed, CLIP_PACKED_SIZE, images, CLIP_IMAGE_BYTES + 1, error));
    CLIP_TRY(check_numbers(packed, CLIP_PACKED_CRC, images, (int64_t)1 << 32, error));
    for (int64_t i = 0; i < images; i++)
        if (number(packed, CLIP_PACKED_SIZE, i) >
            packed->head.bytes - number(packed, CLIP_PACKED_POSITION, i))
            return fail_inconsistent(packed, CLIP_PACKED_SIZE, error);
    CLIP_TRY(check_texts(packed, CLIP_PACKED_NAME_ENDS, images, true, error));
    CLIP_TRY(check_numbers(packed, CLIP_PACKED_IMAGE, samples, images, error));
    CLIP_TRY(check_numbers(packed, CLIP_PACKED_GROUP, samples, samples, error));
    if (classes > 0) CLIP_TRY(check_numbers(packed, CLIP_PACKED_GROUP, samples, classes, error));
    CLIP_TRY(check_texts(packed, CLIP_PACKED_CLASS_ENDS, classes, true, error));
    CLIP_TRY(check_texts(packed, CLIP_PACKED_TEMPLATE_ENDS,
                         count_of(packed, CLIP_PACKED_TEMPLATE_ENDS), true, error));
    if (classes > 0 && count_of(packed, CLIP_PACKED_TEMPLATE_ENDS) == 0)
        return fail_inconsistent(packed, CLIP_PACKED_TEMPLATE_ENDS, error);
    CLIP_TRY(check_texts(packed, CLIP_PACKED_CAPTION_ENDS,
                         count_of(packed, CLIP_PACKED_CAPTION_ENDS) > 0 ? samples : 0, false,
                         error));
    CLIP_TRY(
        check_texts(packed, CLIP_PACKED_NEGATIVE_ENDS, negatives > 0 ? samples : 0, false, error));
out:
    return status;
}

static clip_status use_options(struct packed *packed, const struct clip_dataset_options *options,
                               struct clip_error *error)
{
    const char *key = options->csv_negative_key, *templates = options->class_templates;
    bool classes = count_of(packed, CLIP_PACKED_CLASS_ENDS) > 0;
    packed->images_only = options->images_only;
    if (key != NULL && key[0] != '\0' && count_of(packed, CLIP_PACKED_NEGATIVE_ENDS) > 0)
        packed->ops.negative = packed_negative;
    if (!options->images_only && !classes && count_of(packed, CLIP_PACKED_CAPTION_ENDS) == 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s holds images without captions; pack it again without --images-only",
                         packed->path);
    if (classes && templates != NULL && templates[0] != '\0')
        return clip_templates_read(templates, &packed->templates, error);
    return CLIP_OK;
}

clip_status clip_dataset_packed_open(struct clip_dataset **out, const char *path,
                                     const struct clip_dataset_options *options,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct packed *packed = NULL;
    *out = NULL;
    CLIP_NEW(packed, 1);
    packed->fd = -1;
    packed->ops = (struct clip_dataset_ops){.name = "packed",
                                            .read = packed_read,
                                            .caption = packed_caption,
                                            .image_name = packed_image_name,
                                            .free = packed_free};
    packed->base.ops = &packed->ops;
    CLIP_TRY((packed->path = clip_string_copy(path, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    CLIP_TRY(read_head(packed, error));
    CLIP_TRY(read_tables(packed, error));
    CLIP_TRY(check_tables(packed, error));
    CLIP_TRY(use_options(packed, options, error));
    packed->base.count = count_of(packed, CLIP_PACKED_IMAGE);
    packed->base.group = packed->tables[CLIP_PACKED_GROUP];
    *out = &packed->base;
    packed = NULL;
out:
    if (packed != NULL) packed_free(&packed->base);
    return status;
}
