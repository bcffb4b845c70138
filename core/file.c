/* Files: reading, mapping, atomic replacement, locks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/file.h"
#include "core/file_internal.h"

/* Opens a regular file for reading; *size becomes its size at that moment. */
static clip_status open_regular(const char *path, int *fd, size_t *size, struct clip_error *error)
{
    struct stat info;
    *size = 0;
    *fd = -1;
    if (clip_path_is_special(path))
        return clip_fail(error, CLIP_ERR_IO, "%s is not a regular file; a file is needed here",
                         path);
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return clip_system_failed(error, path, "opened");
    clip_status status = CLIP_OK;
    if (fstat(*fd, &info) != 0)
        status = clip_system_failed(error, path, "read");
    else if (!S_ISREG(info.st_mode))
        status = clip_fail(error, CLIP_ERR_IO, "%s is %s; a file is needed here", path,
                           S_ISDIR(info.st_mode) ? "a folder" : "not a regular file");
    if (status != CLIP_OK) {
        close(*fd);
        *fd = -1;
        return status;
    }
    *size = (size_t)info.st_size;
    return CLIP_OK;
}

static clip_status too_large(const char *path, size_t limit, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s holds more than the %zu bytes that are read here; check that it is the "
                     "right file",
                     path, limit);
}

clip_status clip_file_read(const char *path, size_t limit, struct clip_buffer *out,
                           struct clip_error *error)
{
    int fd;
    size_t size;
    *out = (struct clip_buffer){0};
    clip_status status = open_regular(path, &fd, &size, error);
    if (status != CLIP_OK) return status;
    if (size > limit) {
        status = too_large(path, limit, error);
        goto out;
    }
    CLIP_TRY(clip_buffer_reserve(out, size, error));
    for (;;) { /* the file may grow or shrink meanwhile: its end decides, not `size` */
        CLIP_TRY(clip_buffer_reserve(out, 1, error));
        ssize_t n = read(fd, out->data + out->size, out->capacity - out->size - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            status = clip_system_failed(error, path, "read");
            goto out;
        }
        if (n == 0) break;
        out->size += (size_t)n;
        if (out->size > limit) {
            status = too_large(path, limit, error);
            goto out;
        }
    }
    out->data[out->size] = '\0';
out:
    close(fd);
    if (status != CLIP_OK) clip_buffer_release(out);
    return status;
}

/* Unpacks one gzip member from stream->next_in, appending to `out`. */
static clip_status inflate_member(z_stream *stream, const char *path, size_t limit,
                                  struct clip_buffer *out, struct clip_error *error)
{
    for (;;) {
        clip_status status = clip_buffer_reserve(out, 64 * 1024, error);
        if (status != CLIP_OK) return status;
        size_t room = out->capacity - out->size - 1;
        if (room > 1 << 30) room = 1 << 30;
        stream->next_out = (unsigned char *)out->data + out->size;
        stream->avail_out = (unsigned)room;
        int code = inflate(stream, Z_NO_FLUSH);
        out->size += room - stream->avail_out;
        out->data[out->size] = '\0';
        if (out->size > limit) return too_large(path, limit, error);
        if (code == Z_STREAM_END) return CLIP_OK;
        if (code == Z_MEM_ERROR)
            return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for unpacking %s", path);
        bool cut = code == Z_BUF_ERROR ||
                   (code == Z_OK && stream->avail_in == 0 && stream->avail_out > 0);
        if (cut)
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s is gzipped, but it ends too early; fetch "
                             "or copy it again",
                             path);
        if (code != Z_OK)
            return clip_fail(error, CLIP_ERR_FORMAT,
                             "%s is gzipped, but damaged: %s; fetch or "
                             "copy it again",
                             path, stream->msg != NULL ? stream->msg : "bad data");
    }
}

/* zlib's own gzread does not notice every file that was cut short. */
clip_status clip_file_read_gzip(const char *path, size_t limit, struct clip_buffer *out,
                                struct clip_error *error)
{
    static const unsigned char magic[2] = {0x1F, 0x8B};
    struct clip_buffer packed;
    *out = (struct clip_buffer){0};
    size_t packed_limit = limit < SIZE_MAX / 2 ? limit + limit / 100 + 4096 : limit;
    clip_status status = clip_file_read(path, packed_limit, &packed, error);
    if (status != CLIP_OK) return status;
    if (packed.size < 2 || memcmp(packed.data, magic, 2) != 0) {
        if (packed.size > limit) {
            clip_buffer_release(&packed);
            return too_large(path, limit, error);
        }
        *out = packed;
        return CLIP_OK;
    }
    z_stream stream = {.next_in = (unsigned char *)packed.data};
    if (packed.size > UINT32_MAX) {
        status = too_large(path, UINT32_MAX, error);
        goto out;
    }
    stream.avail_in = (unsigned)packed.size;
    if (inflateInit2(&stream, 15 + 16) != Z_OK) {
        status = clip_fail(error, CLIP_ERR_MEMORY, "memory is short for unpacking %s", path);
        goto out;
    }
    do { /* a gzip file may consist of several members */
        status = inflate_member(&stream, path, limit, out, error);
        if (status == CLIP_OK) inflateReset(&stream);
    } while (status == CLIP_OK && stream.avail_in > 0);
    inflateEnd(&stream);
out:
    clip_buffer_release(&packed);
    if (status != CLIP_OK) clip_buffer_release(out);
    return status;
}

clip_status clip_file_map_open(int fd, size_t size, const char *path, struct clip_mapping *out,
                               struct clip_error *error)
{
    *out = (struct clip_mapping){0};
    if (size == 0) return CLIP_OK;
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) return clip_system_failed(error, path, "mapped");
    *out = (struct clip_mapping){data, size};
    return CLIP_OK;
}

clip_status clip_file_map(const char *path, struct clip_mapping *out, struct clip_error *error)
{
    int fd;
    size_t size;
    *out = (struct clip_mapping){0};
    clip_status status = open_regular(path, &fd, &size, error);
    if (status != CLIP_OK) return status;
    status = clip_file_map_open(fd, size, path, out, error);
    close(fd);
    return status;
}

void clip_file_unmap(struct clip_mapping *mapping)
{
    if (mapping->data != NULL) munmap((void *)mapping->data, mapping->size);
    *mapping = (struct clip_mapping){0};
}

/* The file that a write to `path` must replace: the one behind a symbolic link, or `path`
 * itself. */
static char *resolve_target(const char *path, mode_t *mode, struct clip_error *error)
{
    struct stat info;
    *mode = 0;
    if (stat(path, &info) != 0) {
        if (errno != ENOENT) {
            clip_system_failed(error, path, "written");
            return NULL;
        }
        return clip_string_copy(path, error);
    }
    if (!S_ISREG(info.st_mode)) {
        clip_fail(error, CLIP_ERR_IO,
                  "%s is %s, and a file is to be written there; "
                  "give another path",
                  path, S_ISDIR(info.st_mode) ? "a folder" : "not a regular file");
        return NULL;
    }
    *mode = info.st_mode & 0777;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        char *real = realpath(path, NULL);
        if (real == NULL) clip_system_failed(error, path, "followed");
        return real;
    }
    return clip_string_copy(path, error);
}

/* The temporary file, with the permissions of what it will replace (0: there is none). */
static clip_status make_temporary(struct clip_atomic *file, mode_t mode, struct clip_error *error)
{
    int fd;
    clip_status status = clip_temporary_create(file->path, false, &file->temporary, &fd, error);
    if (status != CLIP_OK) return status;
    if (mode != 0 && fchmod(fd, mode) != 0) mode = 0; /* the file system has no modes */
    file->stream = fdopen(fd, "w+b");
    if (file->stream != NULL) return CLIP_OK;
    close(fd);
    return clip_fail(error, CLIP_ERR_MEMORY, "memory is short for writing %s", file->path);
}

clip_status clip_atomic_begin(struct clip_atomic *file, const char *path, struct clip_error *error)
{
    mode_t mode;
    *file = (struct clip_atomic){0};
    file->path = resolve_target(path, &mode, error);
    if (file->path == NULL) return error->status;
    clip_status status = make_temporary(file, mode, error);
    if (status != CLIP_OK) clip_atomic_abort(file);
    return status;
}

/* File systems that cannot fsync a folder return EINVAL, and a folder may be written to without
 * being readable: neither is an error here. */
clip_status clip_sync_folder_of(const char *path, struct clip_error *error)
{
    char *folder = clip_path_folder(path, error);
    if (folder == NULL) return error->status;
    clip_status status = CLIP_OK;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool failed = fd < 0 ? errno != EACCES && errno != EPERM
                         : fsync(fd) != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT);
    if (failed) status = clip_system_failed(error, folder, "brought to the disk");
    if (fd >= 0) close(fd);
    free(folder);
    return status;
}

clip_status clip_atomic_commit(struct clip_atomic *file, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int lock = -1;
    if (fflush(file->stream) != 0 || ferror(file->stream) || fsync(fileno(file->stream)) != 0) {
        status = clip_system_failed(error, file->path, "written");
        goto out;
    }
    /* The lock lasts until the file has its name: nobody is to take it for left behind. */
    lock = dup(fileno(file->stream));
    int closed = fclose(file->stream);
    file->stream = NULL;
    if (closed != 0 || rename(file->temporary, file->path) != 0) {
        status = clip_system_failed(error, file->path, "written");
        goto out;
    }
    free(file->temporary);
    file->temporary = NULL;
    status = clip_sync_folder_of(file->path, error);
out:
    if (lock >= 0) close(lock);
    clip_atomic_abort(file);
    return status;
}

void clip_atomic_abort(struct clip_atomic *file)
{
    int kept = errno; /* callers report the first failure */
    if (file->stream != NULL) fclose(file->stream);
    if (file->temporary != NULL) unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    *file = (struct clip_atomic){0};
    errno = kept;
}

clip_status clip_file_write(const char *path, const void *bytes, size_t n, struct clip_error *error)
{
    struct clip_atomic file;
    clip_status status = clip_atomic_begin(&file, path, error);
    if (status != CLIP_OK) return status;
    if (n > 0 && fwrite(bytes, 1, n, file.stream) != n) {
        status = clip_system_failed(error, path, "written");
        clip_atomic_abort(&file);
        return status;
    }
    return clip_atomic_commit(&file, error);
}

static clip_status lock_is_taken(int fd, const char *folder, struct clip_error *error)
{
    char holder[32] = "";
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    if (n > 0) holder[strspn(holder, "0123456789")] = '\0';
    return clip_fail(error, CLIP_ERR_BUSY,
                     "%s is in use by another process%s%s; wait until it has ended, or give "
                     "another folder",
                     folder, *holder != '\0' ? ", number " : "", holder);
}

clip_status clip_lock_acquire(const char *folder, const char *name, int *lock,
                              struct clip_error *error)
{
    *lock = -1;
    char *path = clip_path_join(folder, name, error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    clip_status status = CLIP_OK;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = clip_system_failed(error, path, "made");
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        status = errno == EWOULDBLOCK ? lock_is_taken(fd, folder, error)
                                      : clip_system_failed(error, path, "locked");
    } else {
        /* only for the other process's message, so failing to write it is no error */
        char holder[32];
        int n = snprintf(holder, sizeof holder, "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) == 0 && pwrite(fd, holder, (size_t)n, 0) == n) errno = 0;
        *lock = fd;
        fd = -1;
    }
    if (fd >= 0) close(fd);
    free(path);
    return status;
}

void clip_lock_release(int *lock)
{
    if (*lock >= 0) close(*lock);
    *lock = -1;
}
