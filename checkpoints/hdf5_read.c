/* Reads the native file: only what hdf5_write.c writes, and each thing is checked before it is
 * trusted.
 *
 * The first block's length and checksum are checked before libhdf5 sees the file, so what gets here
 * was written completely. The checks below are for a file that somebody else made to look like
 * ours. No link leads out of the file, no dataset is compressed, virtual or external, and all that
 * is read is together no larger than the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoints/hdf5_parts.h"
#include "checkpoints/internal.h"
#include "core/file.h"
#include "core/json.h"

#define MAX_DEPTH 16 /* of nested groups */

struct reader {
    const char *path;
    hid_t file;
    struct clip_bundle *out;
    struct clip_names names;  /* the names of all datasets */
    struct clip_buffer group; /* the name of the current group: "", or with a '/' at its end */
    int depth;
    int64_t links;
    /* bytes of the file that are not yet read: all data together is no larger than the file */
    int64_t room;
    /* if not empty, tensors that lie in it in one piece are not read */
    struct clip_mapping mapping;
    clip_status status;
    struct clip_error *error;
};

/* Opens the very file that `fd` is open on, because its name may meanwhile be that of a newer
 * checkpoint. */
static clip_status open_file(struct reader *r, int fd)
{
    clip_status status = CLIP_OK;
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access >= 0 && H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
        H5Pset_file_locking(access, false, true) >= 0)
        r->file = H5Fopen(name, H5F_ACC_RDONLY, access);
    if (r->file < 0)
        status = clip_hdf5_fail(r->error, CLIP_ERR_FORMAT, r->path, "read", "the file");
    if (access >= 0) H5Pclose(access);
    return status;
}

static clip_status walk_group(struct reader *r, hid_t group);

/* Visits one link of a group: walks through groups and notes datasets. */
static clip_status visit_object(struct reader *r, hid_t group, const char *name)
{
    clip_status status = CLIP_OK;
    size_t length = r->group.size;
    hid_t object = -1;
    CLIP_TRY(clip_buffer_append(&r->group, name, strlen(name), r->error));
    object = H5Oopen(group, name, H5P_DEFAULT);
    H5I_type_t type = object >= 0 ? H5Iget_type(object) : H5I_BADID;
    if (type == H5I_DATASET) {
        CLIP_TRY(clip_names_add(&r->names, r->group.data, r->error));
    } else if (type == H5I_GROUP && r->depth < MAX_DEPTH) {
        CLIP_TRY(clip_buffer_append(&r->group, "/", 1, r->error));
        r->depth++;
        status = walk_group(r, object);
        r->depth--;
    } else if (type == H5I_GROUP) {
        status = clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: \"%s\" lies more than %d groups deep; this is no checkpoint",
                           r->path, r->group.data, MAX_DEPTH);
    } else if (type == H5I_BADID) {
        status = clip_hdf5_fail(r->error, CLIP_ERR_FORMAT, r->path, "read", r->group.data);
    } else {
        status = clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: \"%s\" is neither a tensor nor a group; this is no checkpoint",
                           r->path, r->group.data);
    }
out:
    if (object >= 0) H5Oclose(object);
    r->group.size = length;
    if (r->group.data != NULL) r->group.data[length] = 0;
    return status;
}

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
    struct reader *r = context;
    if (info->type != H5L_TYPE_HARD) {
        r->status = clip_fail(r->error, CLIP_ERR_FORMAT,
                              "%s: \"%s\" is a link to another place; a checkpoint holds its data "
                              "itself",
                              r->path, name);
    } else if (++r->links > CLIP_HDF5_LINKS) {
        r->status = clip_fail(r->error, CLIP_ERR_FORMAT,
                              "%s: there are more than %d objects; this is no checkpoint", r->path,
                              CLIP_HDF5_LINKS);
    } else {
        r->status = visit_object(r, group, name);
    }
    return r->status == CLIP_OK ? 0 : -1;
}

static clip_status walk_group(struct reader *r, hid_t group)
{
    herr_t done = H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, visit_link, r);
    if (done < 0 && r->status == CLIP_OK) {
        r->status = clip_hdf5_fail(r->error, CLIP_ERR_FORMAT, r->path, "read",
                                   r->group.size ? r->group.data : "the list of tensors");
    }
    return r->status;
}

/* Counts n bytes as read; more than the file has is an error. */
static clip_status take_room(struct reader *r, const char *name, int64_t n)
{
    if (n > r->room) {
        return clip_fail(r->error, CLIP_ERR_FORMAT,
                         "%s: \"%s\" would be larger than the file; this is no checkpoint", r->path,
                         name);
    }
    r->room -= n;
    return CLIP_OK;
}

/* Adds the list of `count` strings of `width` bytes each, padded with NULs, as JSON. */
static clip_status add_list(struct reader *r, const char *name, const char *strings, size_t count,
                            size_t width)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *string = strings + i * width;
        json_t *item = json_stringn(string, strnlen(string, width));
        if (item == NULL || json_array_append_new(list, item) != 0) {
            CLIP_TRY(clip_fail(r->error, CLIP_ERR_FORMAT,
                               "%s: \"%s\" holds a text that is not UTF-8; this is no checkpoint",
                               r->path, name));
        }
    }
    CLIP_TRY(clip_json_append(&text, list, r->error));
    CLIP_TRY(clip_bundle_add_list(r->out, name, text.data, text.size, r->error));
out:
    json_decref(list);
    clip_buffer_release(&text);
    return status;
}

static clip_status read_text(struct reader *r, const char *name, hid_t dataset, hid_t type,
                             hid_t space)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = r->error;
    char *value = NULL;
    size_t n = H5Tget_size(type);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    bool list = H5Sget_simple_extent_ndims(space) == 1;
    int64_t bytes;
    if (H5Tis_variable_str(type) != 0 || n > INT64_MAX / 2 || count < (list ? 0 : 1) ||
        (!list && H5Sget_simple_extent_type(space) != H5S_SCALAR) ||
        !clip_mul_i64(count, (int64_t)n, &bytes)) {
        return clip_fail(r->error, CLIP_ERR_FORMAT,
                         "%s: \"%s\" is no text of a fixed size; this is no checkpoint", r->path,
                         name);
    }
    CLIP_TRY(take_room(r, name, bytes));
    CLIP_NEW(value, bytes + 1);
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) < 0)
        CLIP_TRY(clip_hdf5_fail(r->error, CLIP_ERR_FORMAT, r->path, "read", name));
    if (list)
        CLIP_TRY(add_list(r, name, value, (size_t)count, n));
    else
        CLIP_TRY(clip_bundle_add_text(r->out, name, value, strlen(value), r->error));
out:
    free(value);
    return status;
}

static bool find_dtype(hid_t type, enum clip_dtype *out)
{
    bool found = false;
    for (int i = CLIP_F32; i <= CLIP_U8 && !found; i++) {
        hid_t candidate = clip_hdf5_type((enum clip_dtype)i);
        found = candidate >= 0 && H5Tequal(candidate, type) > 0;
        *out = (enum clip_dtype)i;
        if (candidate >= 0) H5Tclose(candidate);
    }
    return found;
}

/* Is the dataset laid out in a way that we write? Its bytes are in the file, fletcher32 is the only
 * filter, and no chunk is larger than the file. */
static bool layout_is_ours(hid_t dataset, int64_t file_size)
{
    hid_t list = H5Dget_create_plist(dataset);
    if (list < 0) return false;
    H5D_layout_t layout = H5Pget_layout(list);
    int filters = H5Pget_nfilters(list);
    bool fine = layout == H5D_COMPACT || layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED;
    fine = fine && H5Pget_external_count(list) == 0 && filters >= 0 && filters <= 1;
    if (fine && filters == 1) {
        unsigned flags;
        size_t none = 0;
        fine = H5Pget_filter2(list, 0, &flags, &none, NULL, 0, NULL, NULL) == H5Z_FILTER_FLETCHER32;
    }
    if (fine && layout == H5D_CHUNKED) {
        hsize_t chunk[H5S_MAX_RANK];
        int64_t bytes = 8; /* of the widest type */
        int ndim = H5Pget_chunk(list, H5S_MAX_RANK, chunk);
        fine = ndim >= 0 && ndim <= CLIP_MAX_DIMS;
        for (int i = 0; i < ndim && fine; i++)
            fine = chunk[i] <= INT64_MAX && clip_mul_i64(bytes, (int64_t)chunk[i], &bytes);
        fine = fine && bytes / 8 <= file_size;
    }
    H5Pclose(list);
    return fine;
}

/* Where the mapped file holds the dataset's `bytes`. NULL if it must be read, because it lies in
 * several pieces, or not at a multiple of its elements' size. */
static void *find_mapped(const struct reader *r, hid_t dataset, enum clip_dtype dtype,
                         int64_t bytes)
{
    hid_t list = r->mapping.size > 0 ? H5Dget_create_plist(dataset) : -1;
    if (list < 0) return NULL;
    bool contiguous = H5Pget_layout(list) == H5D_CONTIGUOUS;
    H5Pclose(list);
    haddr_t at = contiguous ? H5Dget_offset(dataset) : HADDR_UNDEF;
    if (at == HADDR_UNDEF || at % clip_dtype_size(dtype) != 0) return NULL;
    if (at > r->mapping.size || (uint64_t)bytes > r->mapping.size - at) return NULL;
    return (void *)(uintptr_t)(r->mapping.data + at);
}

static clip_status read_tensor(struct reader *r, const char *name, hid_t dataset, hid_t type,
                               hid_t space)
{
    clip_status status = CLIP_OK;
    struct clip_tensor tensor = {0};
    hsize_t shape[H5S_MAX_RANK];
    int64_t bytes;
    if (!find_dtype(type, &tensor.dtype)) {
        return clip_fail(r->error, CLIP_ERR_FORMAT,
                         "%s: \"%s\" is of a type that no checkpoint has; expected float32 or one "
                         "of float16, bfloat16, int32, int64, uint8",
                         r->path, name);
    }
    int ndim = H5Sget_simple_extent_ndims(space);
    if (ndim < 0 || ndim > CLIP_MAX_DIMS || H5Sget_simple_extent_type(space) == H5S_NULL ||
        H5Sget_simple_extent_dims(space, shape, NULL) < 0) {
        return clip_fail(r->error, CLIP_ERR_FORMAT,
                         "%s: \"%s\" has %d dimensions; up to %d can be "
                         "read",
                         r->path, name, ndim, CLIP_MAX_DIMS);
    }
    tensor.ndim = ndim;
    bytes = (int64_t)clip_dtype_size(tensor.dtype);
    bool empty = false;
    for (int i = 0; i < ndim; i++) { /* zeros are left out, so that no product can overflow later */
        int64_t n = shape[i] <= INT64_MAX ? (int64_t)shape[i] : INT64_MAX;
        empty = empty || n == 0;
        if (!clip_mul_i64(bytes, n ? n : 1, &bytes)) bytes = INT64_MAX;
        tensor.shape[i] = n;
    }
    if (empty && bytes < INT64_MAX) bytes = 0;
    CLIP_TRY(take_room(r, name, bytes));
    tensor.data = bytes > 0 ? find_mapped(r, dataset, tensor.dtype, bytes) : NULL;
    if (tensor.data != NULL) return clip_bundle_add(r->out, name, &tensor, r->error);
    tensor.data = clip_arena_alloc(&r->out->arena, bytes, 1, r->error);
    if (tensor.data == NULL) return CLIP_ERR_MEMORY;
    if (bytes > 0 && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, tensor.data) < 0)
        CLIP_TRY(clip_hdf5_fail(r->error, CLIP_ERR_FORMAT, r->path, "read", name));
    CLIP_TRY(clip_bundle_add(r->out, name, &tensor, r->error));
out:
    return status;
}

/* Reads a dataset: every text, and a tensor if its name begins with `prefix`. */
static clip_status read_dataset(struct reader *r, const char *name, const char *prefix,
                                int64_t file_size)
{
    clip_status status = CLIP_OK;
    hid_t type = -1, space = -1, dataset = H5Dopen2(r->file, name, H5P_DEFAULT);
    if (dataset >= 0) {
        type = H5Dget_type(dataset);
        space = H5Dget_space(dataset);
    }
    if (dataset < 0 || type < 0 || space < 0)
        CLIP_TRY(clip_hdf5_fail(r->error, CLIP_ERR_FORMAT, r->path, "read", name));
    if (!layout_is_ours(dataset, file_size)) {
        CLIP_TRY(clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: \"%s\" is stored in a way that no checkpoint is (compressed, or "
                           "outside of the file)",
                           r->path, name));
    }
    if (H5Tget_class(type) == H5T_STRING)
        CLIP_TRY(read_text(r, name, dataset, type, space));
    else if (prefix == NULL || strncmp(name, prefix, strlen(prefix)) == 0)
        CLIP_TRY(read_tensor(r, name, dataset, type, space));
out:
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (dataset >= 0) H5Dclose(dataset);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The number of the first prefix that a name has; -1 if none has any. */
static int choose_prefix(const struct clip_names *names, const char *const *prefixes, int count)
{
    for (int p = 0; p < count; p++) {
        size_t n = strlen(prefixes[p]);
        for (int64_t i = 0; i < names->count; i++)
            if (strncmp(names->names[i], prefixes[p], n) == 0) return p;
    }
    return -1;
}

static clip_status read_all(struct reader *r, int fd, int64_t size, const char *const *prefixes,
                            int count, int *chosen)
{
    clip_status status = CLIP_OK;
    CLIP_TRY(open_file(r, fd));
    CLIP_TRY(walk_group(r, r->file));
    if (r->names.count > 0)
        qsort(r->names.names, (size_t)r->names.count, sizeof *r->names.names, by_name);
    *chosen = choose_prefix(&r->names, prefixes, count);
    for (int64_t i = 0; i < r->names.count; i++) {
        const char *name = r->names.names[i], *prefix = *chosen >= 0 ? prefixes[*chosen] : NULL;
        /* Texts are in the root group: what lies deeper and has another prefix is not opened. */
        if (count > 0 && strchr(name, '/') != NULL &&
            (prefix == NULL || strncmp(name, prefix, strlen(prefix)) != 0))
            continue;
        CLIP_TRY(read_dataset(r, name, count > 0 && !prefix ? "/" : prefix, size));
    }
out:
    if (r->file >= 0) H5Fclose(r->file);
    return status;
}

/* Opens the file at `path`; *size becomes its length. */
static clip_status open_path(const char *path, int *fd, int64_t *size, struct clip_error *error)
{
    struct stat info = {0};
    bool special = clip_path_is_special(path);
    *fd = special ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int reason = *fd < 0 && !special ? errno : 0;
    if (reason == 0 && fstat(*fd, &info) != 0) reason = errno;
    *size = info.st_size;
    if (reason == 0 && S_ISREG(info.st_mode)) return CLIP_OK;
    return clip_fail(error, reason == ENOENT ? CLIP_ERR_NOT_FOUND : CLIP_ERR_IO,
                     "%s: the checkpoint cannot be read (%s); check the path", path,
                     reason ? strerror(reason) : "it is no file");
}

clip_status clip_hdf5_read_first(const char *path, const char *const *prefixes, int count,
                                 int *chosen, struct clip_bundle *out, struct clip_error *error)
{
    struct reader reader = {.path = path, .file = -1, .out = out, .error = error};
    struct clip_hdf5_guard guard;
    clip_status status = CLIP_OK;
    int fd;
    int64_t size;
    CLIP_TRY(open_path(path, &fd, &size, error));
    CLIP_TRY(clip_hdf5_check(fd, size, path, error));
    reader.room = size;
    clip_hdf5_enter(&guard);
    status = read_all(&reader, fd, size, prefixes, count, chosen);
    clip_hdf5_leave(&guard);
out:
    clip_names_release(&reader.names);
    clip_buffer_release(&reader.group);
    if (status != CLIP_OK) clip_bundle_release(out);
    if (fd >= 0) close(fd);
    return status;
}

clip_status clip_hdf5_read(const char *path, const char *prefix, struct clip_bundle *out,
                           struct clip_error *error)
{
    int chosen;
    return clip_hdf5_read_first(path, &prefix, prefix != NULL ? 1 : 0, &chosen, out, error);
}

clip_status clip_hdf5_map(const char *path, bool known, struct clip_bundle *out,
                          struct clip_error *error)
{
    struct reader reader = {.path = path, .file = -1, .out = out, .error = error};
    struct clip_hdf5_guard guard;
    clip_status status = CLIP_OK;
    struct clip_mapping mapping = {0};
    int fd, chosen;
    int64_t size;
    char name[64];
    CLIP_TRY(open_path(path, &fd, &size, error));
    CLIP_TRY(known ? clip_hdf5_check_length(fd, size, path, error)
                   : clip_hdf5_check(fd, size, path, error));
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    CLIP_TRY(clip_file_map(name, &mapping, error));
    reader.mapping = mapping;
    reader.room = size;
    clip_hdf5_enter(&guard);
    status = read_all(&reader, fd, size, NULL, 0, &chosen);
    clip_hdf5_leave(&guard);
    if (status == CLIP_OK) status = clip_bundle_keep(out, &mapping, error);
out:
    clip_file_unmap(&mapping);
    clip_names_release(&reader.names);
    clip_buffer_release(&reader.group);
    if (status != CLIP_OK) clip_bundle_release(out);
    if (fd >= 0) close(fd);
    return status;
}
