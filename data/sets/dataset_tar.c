/* Uncompressed tars through libarchive. One scan notes where each entry's headers begin; to read an
 * entry later, a small archive is opened that starts there. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/count.h"
#include "data/sets/dataset_internal.h"

/* Bytes per read: when scanning; at most, and beyond an entry's size, when reading one. */
enum { SCAN = 16 * 1024, BLOCK = 256 * 1024, HEADERS = 4096 };

struct source { /* what libarchive's callbacks read: a file, from `position` on */
    int fd;
    int64_t position, end;
    size_t block;
    char *bytes; /* [block] */
};

static la_ssize_t source_read(struct archive *archive, void *context, const void **bytes)
{
    struct source *source = context;
    for (;;) {
        ssize_t n = pread(source->fd, source->bytes, source->block, source->position);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            archive_set_error(archive, errno, "%s", strerror(errno));
            return -1;
        }
        source->position += n;
        *bytes = source->bytes;
        return n;
    }
}

static la_int64_t source_skip(struct archive *archive, void *context, la_int64_t request)
{
    struct source *source = context;
    (void)archive;
    int64_t left = source->end - source->position;
    if (request > left) request = left > 0 ? left : 0;
    source->position += request;
    return request;
}

/* Why the archive could not be read: the machine failed (source_read's errno, or libarchive's own
 * ENOMEM), or the bytes are no tar. */
static clip_status archive_status(struct archive *archive)
{
    clip_status status = clip_status_of(archive_errno(archive));
    return clip_machine_failed(status) ? status : CLIP_ERR_FORMAT;
}

/* Opens an archive that reads an uncompressed tar from the source; NULL with *error filled. */
static struct archive *archive_begin(struct source *source, const char *path,
                                     struct clip_error *error)
{
    struct archive *archive = archive_read_new();
    if (archive == NULL) {
        clip_fail(error, CLIP_ERR_MEMORY, "memory is short for reading %s", path);
        return NULL;
    }
    archive_read_support_format_tar(archive);
    archive_read_set_read_callback(archive, source_read);
    archive_read_set_skip_callback(archive, source_skip);
    archive_read_set_callback_data(archive, source);
    if (archive_read_open1(archive) != ARCHIVE_OK) {
        const char *reason = archive_error_string(archive);
        clip_fail(error, archive_status(archive), "%s is not an uncompressed tar: %s", path,
                  reason != NULL ? reason : "it cannot be opened as one");
        archive_read_free(archive);
        return NULL;
    }
    return archive;
}

static clip_status source_open(struct source *source, const char *path, int64_t position,
                               size_t block, struct clip_error *error)
{
    struct stat info;
    if (clip_path_is_special(path))
        return clip_fail(error, CLIP_ERR_IO, "%s is not a regular file; a tar is needed here",
                         path);
    source->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (source->fd < 0)
        return clip_fail(error, clip_status_of(errno), "%s could not be opened: %s; check the path",
                         path, strerror(errno));
    if (fstat(source->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return clip_fail(error, CLIP_ERR_IO, "%s is not a regular file; a tar is needed here",
                         path);
    source->position = position;
    source->end = info.st_size;
    source->block = block;
    source->bytes = clip_array_new((int64_t)block, 1, error);
    return source->bytes != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

static void source_close(struct source *source)
{
    if (source->fd >= 0) close(source->fd);
    free(source->bytes);
}

/* Reads the next entry; *more becomes false at the end. */
static clip_status next_entry(struct archive *archive, struct archive_entry **entry, bool *more,
                              const char *path, struct clip_error *error)
{
    int code = archive_read_next_header(archive, entry);
    while (code == ARCHIVE_RETRY) code = archive_read_next_header(archive, entry);
    *more = code != ARCHIVE_EOF;
    if (code == ARCHIVE_EOF || code == ARCHIVE_OK || code == ARCHIVE_WARN) return CLIP_OK;
    const char *reason = archive_error_string(archive);
    return clip_fail(error, archive_status(archive),
                     "%s is damaged or cut (%s); fetch or copy it again", path,
                     reason != NULL ? reason : "its tar headers make no sense");
}

/* The name as in the tar: bytes, or UTF-8 if the locale cannot represent them. */
static const char *entry_name(const char *bytes, const char *utf8)
{
    const char *name = bytes != NULL ? bytes : utf8;
    while (name != NULL && name[0] == '.' && name[1] == '/') {
        name += 2;
        while (*name == '/') name++;
    }
    return name;
}

static clip_status add_entry(struct clip_tar *tar, struct archive *archive,
                             struct archive_entry *entry, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *name =
        entry_name(archive_entry_pathname(entry), archive_entry_pathname_utf8(entry));
    const char *link =
        entry_name(archive_entry_hardlink(entry), archive_entry_hardlink_utf8(entry));
    bool regular = archive_entry_filetype(entry) == AE_IFREG;
    if (name == NULL || name[0] == '\0' || (!regular && link == NULL)) return CLIP_OK;
    CLIP_TRY(clip_array_grow(&tar->entries, &tar->capacity, tar->count + 1, sizeof *tar->entries,
                             error));
    struct clip_tar_entry *added = &tar->entries[tar->count];
    added->name = clip_arena_string(&tar->arena, name, strlen(name), error);
    if (added->name == NULL) return CLIP_ERR_MEMORY;
    if (link != NULL) {
        added->link = clip_arena_string(&tar->arena, link, strlen(link), error);
        if (added->link == NULL) return CLIP_ERR_MEMORY;
    }
    added->position = archive_read_header_position(archive);
    added->size = archive_entry_size(entry);
    tar->count++;
out:
    return status;
}

/* A tar stores a file with two names once, and the second name as a link to the first. This gives
 * both the same bytes. */
static clip_status resolve_links(struct clip_tar *tar, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map names = {.borrows = true};
    int64_t *holder = NULL; /* by name: the last earlier entry that has bytes */
    int64_t kept = 0, number;
    bool any = false;
    for (int64_t i = 0; i < tar->count; i++) any = any || tar->entries[i].link != NULL;
    if (!any) return CLIP_OK;
    CLIP_NEW(holder, tar->count);
    for (int64_t i = 0; i < tar->count; i++) {
        struct clip_tar_entry entry = tar->entries[i];
        if (entry.link != NULL) {
            number = clip_string_map_find(&names, entry.link, strlen(entry.link));
            if (number < 0) continue;
            entry.position = tar->entries[holder[number]].position;
            entry.size = tar->entries[holder[number]].size;
            entry.link = NULL;
        }
        CLIP_TRY(clip_string_map_number(&names, entry.name, strlen(entry.name), &number, error));
        holder[number] = kept;
        tar->entries[kept++] = entry;
    }
    tar->count = kept;
out:
    clip_string_map_release(&names);
    free(holder);
    return status;
}

static clip_status refuse_gzip(const char *path, const struct source *source,
                               struct clip_error *error)
{
    static const struct {
        const char *magic, *name, *tool;
    } packers[] = {{"\x1f\x8b", "gzipped", "gunzip"},
                   {"BZh", "packed by bzip2", "bunzip2"},
                   {"\xfd"
                    "7zXZ",
                    "packed by xz", "unxz"},
                   {"\x28\xb5\x2f\xfd", "packed by zstd", "unzstd"}};
    char head[8] = "";
    /* the scan will report it */
    if (pread(source->fd, head, sizeof head - 1, 0) < 0) return CLIP_OK;
    for (size_t i = 0; i < sizeof packers / sizeof *packers; i++)
        if (strncmp(head, packers[i].magic, strlen(packers[i].magic)) == 0)
            return clip_fail(error, CLIP_ERR_DATA,
                             "%s is %s: entries of a packed tar cannot be read one by one; unpack "
                             "it first (%s)",
                             path, packers[i].name, packers[i].tool);
    return CLIP_OK;
}

/* damage NULL: a damaged tar is an error. */
static clip_status scan_tar(struct clip_tar *out, const char *path, struct clip_error *damage,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct source source = {.fd = -1};
    struct archive *archive = NULL;
    *out = (struct clip_tar){0};
    CLIP_TRY((out->path = clip_string_copy(path, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    CLIP_TRY(source_open(&source, path, 0, SCAN, error));
    CLIP_TRY(refuse_gzip(path, &source, error));
    if (source.end == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is empty; a tar is needed here", path));
    CLIP_TRY((archive = archive_begin(&source, path, error)) != NULL ? CLIP_OK : error->status);
    for (bool more = true;;) {
        struct archive_entry *entry = NULL;
        status = next_entry(archive, &entry, &more, path, error);
        if (status != CLIP_OK && damage != NULL && out->count > 0 && !clip_machine_failed(status)) {
            *damage = *error;
            break;
        }
        CLIP_TRY(status);
        if (!more) break;
        CLIP_TRY(add_entry(out, archive, entry, error));
    }
    CLIP_TRY(resolve_links(out, error));
out:
    if (archive != NULL) archive_read_free(archive);
    source_close(&source);
    if (status != CLIP_OK) clip_tar_close(out);
    return status;
}

clip_status clip_tar_open(struct clip_tar *out, const char *path, struct clip_error *error)
{
    return scan_tar(out, path, NULL, error);
}

clip_status clip_tar_open_damaged(struct clip_tar *out, const char *path, struct clip_error *damage,
                                  struct clip_error *error)
{
    *damage = (struct clip_error){0};
    return scan_tar(out, path, damage, error);
}

/* out = the data of the archive's current entry; holes of a sparse file are zeros. */
static clip_status read_data(struct archive *archive, const char *path,
                             const struct clip_tar_entry *entry, size_t limit,
                             struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (;;) {
        const void *bytes;
        size_t n;
        la_int64_t offset;
        int code = archive_read_data_block(archive, &bytes, &n, &offset);
        if (code == ARCHIVE_EOF) return CLIP_OK;
        if (code == ARCHIVE_RETRY) continue;
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN) {
            const char *reason = archive_error_string(archive);
            return clip_fail(error, archive_status(archive), "%s in %s is damaged or cut (%s)",
                             entry->name, path, reason != NULL ? reason : "it cannot be read");
        }
        if (offset < 0 || (size_t)offset < out->size || (size_t)offset > limit ||
            n > limit - (size_t)offset)
            return clip_fail(error, CLIP_ERR_DATA,
                             "%s in %s has more than the %zu bytes that are read here", entry->name,
                             path, limit);
        if ((size_t)offset > out->size) {
            size_t hole = (size_t)offset - out->size;
            CLIP_TRY(clip_buffer_reserve(out, hole, error));
            memset(out->data + out->size, 0, hole);
            out->size += hole;
        }
        CLIP_TRY(clip_buffer_append(out, bytes, n, error));
    }
out:
    return status;
}

clip_status clip_tar_read(const struct clip_tar *tar, const struct clip_tar_entry *entry,
                          size_t limit, struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct source source = {.fd = -1};
    struct archive *archive = NULL;
    struct archive_entry *header = NULL;
    bool more = true;
    out->size = 0;
    if (entry->size > (int64_t)limit)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s in %s has %s, more than the %zu that are read here", entry->name,
                         tar->path, CLIP_COUNT(entry->size, "byte"), limit);
    size_t block = entry->size < BLOCK - HEADERS ? (size_t)entry->size + HEADERS : BLOCK;
    CLIP_TRY(source_open(&source, tar->path, entry->position, block, error));
    CLIP_TRY((archive = archive_begin(&source, tar->path, error)) != NULL ? CLIP_OK
                                                                          : error->status);
    CLIP_TRY(next_entry(archive, &header, &more, tar->path, error));
    if (!more)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s no longer holds %s; it has changed",
                           tar->path, entry->name));
    CLIP_TRY(read_data(archive, tar->path, entry, limit, out, error));
    if (out->size == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s in %s is empty; replace or remove it",
                           entry->name, tar->path));
out:
    if (archive != NULL) archive_read_free(archive);
    source_close(&source);
    return status;
}

void clip_tar_close(struct clip_tar *tar)
{
    free(tar->path);
    free(tar->entries);
    clip_arena_release(&tar->arena);
    *tar = (struct clip_tar){0};
}
