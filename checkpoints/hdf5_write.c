/* Writes the native file: HDF5 through libhdf5, using few of its many forms (hdf5_read.c).
 *
 * A tensor is a chunked dataset with a fletcher32 checksum for each chunk. A scalar is compact: it
 * is in the object's header, which has its own checksum. A tensor without elements has no data. A
 * text is a scalar string dataset of the root group, a list a string dataset [n]. Groups follow the
 * '/' in names. The layout is that of HDF5 1.10, and no times are kept. The first 512 bytes are
 * ours (hdf5_block.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "checkpoints/hdf5_parts.h"
#include "checkpoints/internal.h"
#include "core/count.h"
#include "core/json.h"

#define CHUNK_BYTES ((int64_t)4 << 20)
#define MAPPED_ALIGNMENT 64 /* of the tensors in a file for mapping */

struct writer {
    const char *path;
    hid_t file, dataset_list, group_list; /* the lists are creation properties that keep no times */
    bool mapped;                          /* each tensor in one piece, for clip_hdf5_map */
    struct clip_error *error;
};

/* False for names that HDF5 would take for others: with an empty part, or ".". */
static bool name_is_plain(const char *name)
{
    for (const char *at = name;; at++) {
        size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && at[0] == '.')) return false;
        at += n;
        if (*at == 0) return true;
    }
}

static clip_status make_groups(struct writer *w, const char *name)
{
    clip_status status = CLIP_OK;
    char *path = clip_string_copy(name, w->error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (H5Lexists(w->file, path, H5P_DEFAULT) <= 0) {
            hid_t group = H5Gcreate2(w->file, path, H5P_DEFAULT, w->group_list, H5P_DEFAULT);
            if (group < 0 || H5Gclose(group) < 0) CLIP_TRY(clip_hdf5_fail(w->error, w->path, path));
        }
        *slash = '/';
    }
out:
    free(path);
    return status;
}

/* Sets up *list for the tensor: chunks of whole rows, of at most CHUNK_BYTES. There are none for a
 * scalar, for a tensor without elements, or in a file for mapping. */
static herr_t set_layout(const struct writer *w, hid_t list, const struct clip_tensor *tensor)
{
    hsize_t chunk[CLIP_MAX_DIMS];
    if (tensor->ndim == 0) return H5Pset_layout(list, H5D_COMPACT);
    if (w->mapped || clip_tensor_count(tensor) == 0) return H5Pset_layout(list, H5D_CONTIGUOUS);
    int64_t room = CHUNK_BYTES / (int64_t)clip_dtype_size(tensor->dtype);
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        int64_t n = tensor->shape[i] < room ? tensor->shape[i] : room;
        chunk[i] = (hsize_t)n;
        room /= n;
        if (room < 1) room = 1;
    }
    if (H5Pset_chunk(list, tensor->ndim, chunk) < 0) return -1;
    return H5Pset_fletcher32(list);
}

static clip_status write_tensor(struct writer *w, const struct clip_bundle_source *source,
                                const struct clip_bundle_tensor *entry)
{
    struct clip_tensor own = entry->tensor, *tensor = &own;
    clip_status status = CLIP_OK;
    hsize_t shape[CLIP_MAX_DIMS];
    hid_t type = -1, space = -1, list = -1, dataset = -1;
    if (!name_is_plain(entry->name)) {
        return clip_fail(w->error, CLIP_ERR_DATA,
                         "%s: a tensor named \"%s\" cannot be kept in an HDF5 file; rename it",
                         w->path, entry->name);
    }
    if (own.data == NULL && clip_tensor_count(&own) > 0 && source->fill != NULL)
        CLIP_TRY(source->fill(source->context, entry->name, &own, w->error));
    CLIP_TRY(make_groups(w, entry->name));
    for (int i = 0; i < tensor->ndim; i++) shape[i] = (hsize_t)tensor->shape[i];
    type = clip_hdf5_type(tensor->dtype);
    space = tensor->ndim == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(tensor->ndim, shape, NULL);
    list = H5Pcopy(w->dataset_list);
    bool done = type >= 0 && space >= 0 && list >= 0 && set_layout(w, list, tensor) >= 0;
    if (done) {
        dataset = H5Dcreate2(w->file, entry->name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
        done = dataset >= 0;
    }
    if (done && clip_tensor_count(tensor) > 0)
        done = H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor->data) >= 0;
    if (!done) status = clip_hdf5_fail(w->error, w->path, entry->name);
    if (dataset >= 0 && H5Dclose(dataset) < 0 && done)
        status = clip_hdf5_fail(w->error, w->path, entry->name);
out:
    if (list >= 0) H5Pclose(list);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    return status;
}

/* Lays out the strings of a list side by side, each padded with NULs to the longest: *bytes
 * [*count,*width], which the caller must free(). */
static clip_status lay_out_list(const struct clip_bundle_text *text, char **bytes, hsize_t *count,
                                size_t *width, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t i;
    json_t *item, *list = clip_json_parse(text->value, text->size, text->key, error);
    if (list == NULL) CLIP_TRY(error->status);
    *count = json_array_size(list);
    *width = 1;
    json_array_foreach(list, i, item)
    {
        if (json_string_length(item) > *width) *width = json_string_length(item);
    }
    int64_t n;
    if (!clip_mul_i64((int64_t)*count, (int64_t)*width, &n))
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "the list \"%s\" is too long", text->key));
    CLIP_NEW(*bytes, n + 1);
    json_array_foreach(list, i, item)
    {
        memcpy(*bytes + i * *width, json_string_value(item), json_string_length(item));
    }
out:
    json_decref(list);
    return status;
}

/* Texts are fixed-length UTF-8 strings, so that their size is known before they are read. */
static clip_status write_text(struct writer *w, const struct clip_bundle_text *text)
{
    clip_status status = CLIP_OK;
    char *listed = NULL;
    hsize_t count = 0;
    size_t width = text->size ? text->size : 1;
    hid_t dataset = -1, space = -1, type = -1;
    if (!name_is_plain(text->key) || strchr(text->key, '/') != NULL) {
        return clip_fail(w->error, CLIP_ERR_DATA,
                         "%s: a text named \"%s\" cannot be kept in an HDF5 file; rename it",
                         w->path, text->key);
    }
    if (text->list) CLIP_TRY(lay_out_list(text, &listed, &count, &width, w->error));
    space = text->list ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR);
    type = H5Tcopy(H5T_C_S1);
    bool done = space >= 0 && type >= 0 && H5Tset_size(type, width) >= 0 &&
                H5Tset_cset(type, H5T_CSET_UTF8) >= 0 && H5Tset_strpad(type, H5T_STR_NULLPAD) >= 0;
    if (done) {
        dataset =
            H5Dcreate2(w->file, text->key, type, space, H5P_DEFAULT, w->dataset_list, H5P_DEFAULT);
        done = dataset >= 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                                        listed != NULL ? listed : text->value) >= 0;
    }
    if (!done) status = clip_hdf5_fail(w->error, w->path, text->key);
    if (dataset >= 0 && H5Dclose(dataset) < 0 && done)
        status = clip_hdf5_fail(w->error, w->path, text->key);
out:
    free(listed);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    return status;
}

/* At least as many bytes as lay_out_list takes. */
static int64_t list_estimate(const struct clip_bundle_text *text)
{
    int64_t count = 1, width = 0, longest = 0;
    for (size_t i = 0; i < text->size; i++) {
        bool escaped = text->value[i] == '\\';
        bool end = text->value[i] == '"';
        width += escaped ? 2 : 1;
        if (escaped) i++; /* the next character ends nothing; in UTF-8 it is no longer than this */
        if (width > longest) longest = width;
        if (end) width = 0;
        if (end) count++;
    }
    return count / 2 * longest;
}

/* The bytes that the file may need: data, and space for headers and indexes. */
static int64_t size_estimate(const struct clip_bundle *bundle)
{
    int64_t bytes = 64 << 10;
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        int64_t n = (int64_t)clip_tensor_bytes(&bundle->tensors[i].tensor);
        bytes += n + n / CHUNK_BYTES * 64 + 2048;
    }
    for (int64_t i = 0; i < bundle->text_count; i++) {
        const struct clip_bundle_text *text = &bundle->texts[i];
        bytes += (text->list ? list_estimate(text) : (int64_t)text->size) + 1024;
    }
    return bytes;
}

/* The bytes that the file system has for us; INT64_MAX if it does not say. */
static int64_t room_left(int fd)
{
    struct rlimit limit;
    struct statvfs info;
    int64_t room = INT64_MAX, bytes;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < INT64_MAX)
        room = (int64_t)limit.rlim_cur;
    if (fstatvfs(fd, &info) == 0 && info.f_blocks > 0 &&
        clip_mul_i64((int64_t)info.f_bavail, (int64_t)info.f_frsize, &bytes) && bytes < room)
        room = bytes;
    return room;
}

/* Reserves space before libhdf5 starts, because a library that runs out of disk half-way cannot
 * even close its file. If the file system cannot reserve, what it says is free must be enough. */
static clip_status reserve(const char *path, int fd, int mode, int64_t bytes,
                           struct clip_error *error)
{
    int reason = fallocate(fd, mode, 0, (off_t)bytes) == 0 ? 0 : errno;
    if (reason == 0) return CLIP_OK;
    if (reason != ENOSPC && reason != EDQUOT && reason != EFBIG) {
        if (room_left(fd) >= bytes) return CLIP_OK;
        reason = ENOSPC;
    }
    return clip_fail(error, clip_status_of(reason),
                     "%s: there is no room for a checkpoint of %lld MB (%s); make room or "
                     "choose another place",
                     path, (long long)((bytes + 999999) / 1000000), strerror(reason));
}

/* Creates or truncates the file `temporary`; w->file is open on success. */
static clip_status create_file(struct writer *w, const char *temporary, int64_t bytes)
{
    clip_status status = CLIP_OK;
    hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    bool done = create >= 0 && access >= 0 && H5Pset_userblock(create, CLIP_HDF5_BLOCK) >= 0 &&
                H5Pset_obj_track_times(create, false) >= 0 &&
                H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
                H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
                H5Pset_file_locking(access, false, true) >= 0 &&
                (!w->mapped || H5Pset_alignment(access, 1, MAPPED_ALIGNMENT) >= 0);
    if (done) {
        w->file = H5Fcreate(temporary, H5F_ACC_TRUNC, create, access);
        done = w->file >= 0;
    }
    if (!done) status = clip_hdf5_fail(w->error, w->path, "the file");
    int fd = done ? clip_hdf5_descriptor(w->file) : -1;
    if (fd >= 0) status = reserve(w->path, fd, FALLOC_FL_KEEP_SIZE, bytes, w->error);
    if (access >= 0) H5Pclose(access);
    if (create >= 0) H5Pclose(create);
    return status;
}

static clip_status write_all(struct writer *w, const char *temporary,
                             const struct clip_bundle *bundle)
{
    clip_status status = CLIP_OK;
    CLIP_TRY(create_file(w, temporary, size_estimate(bundle)));
    w->dataset_list = H5Pcreate(H5P_DATASET_CREATE);
    w->group_list = H5Pcreate(H5P_GROUP_CREATE);
    if (w->dataset_list < 0 || w->group_list < 0 ||
        H5Pset_obj_track_times(w->dataset_list, false) < 0 ||
        H5Pset_obj_track_times(w->group_list, false) < 0)
        CLIP_TRY(clip_hdf5_fail(w->error, w->path, "the file"));
    for (int64_t i = 0; i < bundle->tensor_count; i++)
        CLIP_TRY(write_tensor(w, &bundle->source, &bundle->tensors[i]));
    for (int64_t i = 0; i < bundle->text_count; i++) CLIP_TRY(write_text(w, &bundle->texts[i]));
out:
    if (w->group_list >= 0) H5Pclose(w->group_list);
    if (w->dataset_list >= 0) H5Pclose(w->dataset_list);
    return clip_hdf5_close(w->file, w->path, status, w->error);
}

/* Writes the first block over the zeros that libhdf5 left for it. */
static clip_status seal_file(struct clip_atomic *file, struct clip_error *error)
{
    char block[CLIP_HDF5_BLOCK];
    struct stat info;
    int fd = fileno(file->stream);
    if (fstat(fd, &info) != 0) {
        return clip_fail(error, clip_status_of(errno), "%s: writing failed (%s)", file->path,
                         strerror(errno));
    }
    clip_status status = clip_hdf5_seal(block, fd, info.st_size, file->path, error);
    return status == CLIP_OK ? clip_atomic_put(file, block, sizeof block, error) : status;
}

static clip_status write_file(const char *path, const struct clip_bundle *bundle, bool mapped,
                              struct clip_error *error)
{
    struct writer writer = {.path = path,
                            .file = -1,
                            .dataset_list = -1,
                            .group_list = -1,
                            .mapped = mapped,
                            .error = error};
    struct clip_atomic file = {0};
    struct clip_hdf5_guard guard;
    clip_status status = CLIP_OK;
    if (bundle->tensor_count + bundle->text_count > CLIP_HDF5_LINKS / 2) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: %s are too many for one file; up to %d can be kept", path,
                         CLIP_COUNT(bundle->tensor_count, "tensor"), CLIP_HDF5_LINKS / 2);
    }
    CLIP_TRY(clip_hdf5_check_memory(error));
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    CLIP_TRY(reserve(path, fileno(file.stream), 0, size_estimate(bundle), error));
    clip_hdf5_enter(&guard);
    status = write_all(&writer, file.temporary, bundle);
    clip_hdf5_leave(&guard);
    if (status != CLIP_OK) goto out;
    CLIP_TRY(seal_file(&file, error));
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    return status;
}

clip_status clip_hdf5_write(const char *path, const struct clip_bundle *bundle,
                            struct clip_error *error)
{
    return write_file(path, bundle, false, error);
}

clip_status clip_hdf5_write_mapped(const char *path, const struct clip_bundle *bundle,
                                   struct clip_error *error)
{
    return write_file(path, bundle, true, error);
}
