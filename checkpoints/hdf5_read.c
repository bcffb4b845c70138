/* Reads the native file: only what hdf5_write.c writes, and each thing is checked before it is
 * trusted.
 *
 * The first block's length and checksum are checked before anything else, so what gets further was
 * written completely. The checks below are for a file that somebody else made to look like ours.
 * libhdf5 takes no part in it (hdf5_inside.h). No link leads out of the file, no dataset is
 * compressed, virtual or external, and all that is read is together no larger than the file. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoints/hdf5_inside.h"
#include "checkpoints/hdf5_parts.h"
#include "checkpoints/internal.h"
#include "core/count.h"
#include "core/file.h"
#include "core/json.h"

#define MAX_DEPTH 16 /* of nested groups */

struct reader {
    const char *path;
    struct clip_hdf5_inside file;
    struct clip_bundle *out;
    struct clip_hdf5_links datasets; /* with the whole names: "model/text_projection" */
    struct clip_buffer group; /* the name of the current group: "", or with a '/' at its end */
    int depth;
    int64_t links;
    /* bytes of the file that are not yet read: all data together is no larger than the file */
    int64_t room;
    /* if not empty, tensors that lie in it in one piece are not read */
    struct clip_mapping mapping;
    struct clip_error *error;
};

static clip_status walk_group(struct reader *r, const struct clip_hdf5_object *group);

/* Notes a dataset, whose name is r->group. */
static clip_status note_dataset(struct reader *r, uint64_t address)
{
    struct clip_hdf5_links *all = &r->datasets;
    clip_status status =
        clip_array_grow(&all->links, &all->capacity, all->count + 1, sizeof *all->links, r->error);
    if (status != CLIP_OK) return status;
    struct clip_hdf5_link *link = &all->links[all->count];
    link->name = clip_string_copy(r->group.data, r->error);
    link->address = address;
    if (link->name == NULL) return CLIP_ERR_MEMORY;
    all->count++;
    return CLIP_OK;
}

/* Visits one link of a group: walks through groups and notes datasets. */
static clip_status visit_link(struct reader *r, const struct clip_hdf5_link *link)
{
    clip_status status = CLIP_OK;
    size_t length = r->group.size;
    struct clip_hdf5_object object = {0};
    if (++r->links > CLIP_HDF5_LINKS) {
        CLIP_TRY(clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: there are more than %d objects; this is no checkpoint", r->path,
                           CLIP_HDF5_LINKS));
    }
    CLIP_TRY(clip_buffer_append(&r->group, link->name, strlen(link->name), r->error));
    CLIP_TRY(clip_hdf5_object_read(&r->file, link->address, &object));
    if (object.kind == CLIP_HDF5_DATASET) {
        CLIP_TRY(note_dataset(r, link->address));
    } else if (object.kind == CLIP_HDF5_GROUP && r->depth < MAX_DEPTH) {
        CLIP_TRY(clip_buffer_append(&r->group, "/", 1, r->error));
        r->depth++;
        status = walk_group(r, &object);
        r->depth--;
    } else if (object.kind == CLIP_HDF5_GROUP) {
        status = clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: \"%s\" lies more than %d groups deep; this is no checkpoint",
                           r->path, r->group.data, MAX_DEPTH);
    } else {
        status = clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: \"%s\" is neither a tensor nor a group; this is no checkpoint",
                           r->path, r->group.data);
    }
out:
    clip_hdf5_object_release(&object);
    r->group.size = length;
    if (r->group.data != NULL) r->group.data[length] = 0;
    return status;
}

static clip_status walk_group(struct reader *r, const struct clip_hdf5_object *group)
{
    struct clip_hdf5_links more = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_hdf5_group_links(&r->file, group, &more));
    for (int64_t i = 0; i < group->links.count; i++)
        CLIP_TRY(visit_link(r, &group->links.links[i]));
    for (int64_t i = 0; i < more.count; i++) CLIP_TRY(visit_link(r, &more.links[i]));
out:
    clip_hdf5_links_release(&more);
    return status;
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

static clip_status read_text(struct reader *r, const char *name,
                             const struct clip_hdf5_object *dataset)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = r->error;
    char *value = NULL;
    bool list = dataset->ndim == 1;
    uint64_t count = list ? dataset->shape[0] : 1;
    int64_t bytes;
    if (dataset->element == 0 || dataset->ndim > 1 || dataset->null_space || count > INT64_MAX ||
        !clip_mul_i64((int64_t)count, (int64_t)dataset->element, &bytes)) {
        return clip_fail(r->error, CLIP_ERR_FORMAT,
                         "%s: \"%s\" is no text of a fixed size; this is no checkpoint", r->path,
                         name);
    }
    CLIP_TRY(take_room(r, name, bytes));
    CLIP_NEW(value, bytes + 1);
    CLIP_TRY(clip_hdf5_data_read(&r->file, dataset, bytes, value));
    if (list)
        CLIP_TRY(add_list(r, name, value, (size_t)count, (size_t)dataset->element));
    else
        CLIP_TRY(clip_bundle_add_text(r->out, name, value, strlen(value), r->error));
out:
    free(value);
    return status;
}

/* Is the dataset laid out in a way that we write? Its bytes are in the file, fletcher32 is the only
 * filter, and no chunk is larger than the file. */
static bool layout_is_ours(const struct reader *r, const struct clip_hdf5_object *dataset)
{
    if (dataset->foreign_layout) return false;
    if (dataset->index < CLIP_HDF5_ONE_CHUNK) return true;
    int64_t bytes = 8; /* of the widest type */
    for (int i = 0; i < dataset->ndim; i++) {
        uint64_t n = dataset->chunk[i];
        if (n > INT64_MAX || !clip_mul_i64(bytes, (int64_t)n, &bytes)) return false;
    }
    return bytes / 8 <= r->file.size;
}

/* Where the mapped file holds the dataset's `bytes`. NULL if it must be read, because it lies in
 * several pieces, or not at a multiple of its elements' size. */
static void *find_mapped(const struct reader *r, const struct clip_hdf5_object *dataset,
                         int64_t bytes)
{
    uint64_t at = (uint64_t)r->file.base + dataset->address;
    if (dataset->index != CLIP_HDF5_IN_ONE_PIECE || dataset->bytes != (uint64_t)bytes) return NULL;
    if (dataset->address > r->mapping.size || at % dataset->element != 0) return NULL;
    if (at > r->mapping.size || (uint64_t)bytes > r->mapping.size - at) return NULL;
    return (void *)(uintptr_t)(r->mapping.data + at);
}

static clip_status read_tensor(struct reader *r, const char *name,
                               const struct clip_hdf5_object *dataset)
{
    clip_status status = CLIP_OK;
    struct clip_tensor tensor = {.dtype = dataset->dtype, .ndim = dataset->ndim};
    if (dataset->type != CLIP_HDF5_NUMBERS) {
        return clip_fail(r->error, CLIP_ERR_FORMAT,
                         "%s: \"%s\" is of a type that no checkpoint has; expected float32 or one "
                         "of float16, bfloat16, int32, int64, uint8",
                         r->path, name);
    }
    if (dataset->ndim > CLIP_MAX_DIMS || dataset->null_space) {
        return clip_fail(r->error, CLIP_ERR_FORMAT, "%s: \"%s\" has %s; up to %d can be read",
                         r->path, name, CLIP_COUNT(dataset->ndim, "dimension"), CLIP_MAX_DIMS);
    }
    int64_t bytes = (int64_t)clip_dtype_size(tensor.dtype);
    bool empty = false;
    for (int i = 0; i < tensor.ndim; i++) { /* zeros are left out: no product overflows later */
        int64_t n = dataset->shape[i] <= INT64_MAX ? (int64_t)dataset->shape[i] : INT64_MAX;
        empty = empty || n == 0;
        if (!clip_mul_i64(bytes, n ? n : 1, &bytes)) bytes = INT64_MAX;
        tensor.shape[i] = n;
    }
    if (empty && bytes < INT64_MAX) bytes = 0;
    CLIP_TRY(take_room(r, name, bytes));
    tensor.data = bytes > 0 && r->mapping.size > 0 ? find_mapped(r, dataset, bytes) : NULL;
    if (tensor.data != NULL) return clip_bundle_add(r->out, name, &tensor, r->error);
    tensor.data = clip_arena_alloc(&r->out->arena, bytes, 1, r->error);
    if (tensor.data == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(clip_hdf5_data_read(&r->file, dataset, bytes, tensor.data));
    CLIP_TRY(clip_bundle_add(r->out, name, &tensor, r->error));
out:
    return status;
}

/* Reads a dataset: every text, and a tensor if its name begins with `prefix`. */
static clip_status read_dataset(struct reader *r, const struct clip_hdf5_link *link,
                                const char *prefix)
{
    clip_status status = CLIP_OK;
    struct clip_hdf5_object dataset = {0};
    CLIP_TRY(clip_hdf5_object_read(&r->file, link->address, &dataset));
    if (!layout_is_ours(r, &dataset)) {
        CLIP_TRY(clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: \"%s\" is stored in a way that no checkpoint is (compressed, or "
                           "outside of the file)",
                           r->path, link->name));
    }
    if (dataset.type == CLIP_HDF5_TEXT)
        CLIP_TRY(read_text(r, link->name, &dataset));
    else if (prefix == NULL || strncmp(link->name, prefix, strlen(prefix)) == 0)
        CLIP_TRY(read_tensor(r, link->name, &dataset));
out:
    clip_hdf5_object_release(&dataset);
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct clip_hdf5_link *)a)->name,
                  ((const struct clip_hdf5_link *)b)->name);
}

/* The number of the first prefix that a name has; -1 if none has any. */
static int choose_prefix(const struct clip_hdf5_links *datasets, const char *const *prefixes,
                         int count)
{
    for (int p = 0; p < count; p++) {
        size_t n = strlen(prefixes[p]);
        for (int64_t i = 0; i < datasets->count; i++)
            if (strncmp(datasets->links[i].name, prefixes[p], n) == 0) return p;
    }
    return -1;
}

/* Reads the file that is open on `fd`, through the descriptor, because its name may meanwhile be
 * that of a newer checkpoint. */
static clip_status read_all(struct reader *r, int fd, int64_t size, const char *const *prefixes,
                            int count, int *chosen)
{
    clip_status status = CLIP_OK;
    struct clip_hdf5_object root = {0};
    uint64_t address;
    r->room = size;
    r->file = (struct clip_hdf5_inside){.fd = fd,
                                        .size = size,
                                        .base = CLIP_HDF5_BLOCK,
                                        .budget = 4 * size + (64 << 10),
                                        .path = r->path,
                                        .error = r->error};
    CLIP_TRY(clip_hdf5_root(&r->file, &address));
    CLIP_TRY(clip_hdf5_object_read(&r->file, address, &root));
    CLIP_TRY(walk_group(r, &root));
    if (r->datasets.count > 0)
        qsort(r->datasets.links, (size_t)r->datasets.count, sizeof *r->datasets.links, by_name);
    *chosen = choose_prefix(&r->datasets, prefixes, count);
    for (int64_t i = 0; i < r->datasets.count; i++) {
        const struct clip_hdf5_link *link = &r->datasets.links[i];
        const char *prefix = *chosen >= 0 ? prefixes[*chosen] : NULL;
        /* Texts are in the root group: what lies deeper and has another prefix is not opened. */
        if (count > 0 && strchr(link->name, '/') != NULL &&
            (prefix == NULL || strncmp(link->name, prefix, strlen(prefix)) != 0))
            continue;
        CLIP_TRY(read_dataset(r, link, count > 0 && !prefix ? "/" : prefix));
    }
out:
    clip_hdf5_object_release(&root);
    clip_hdf5_links_release(&r->datasets);
    clip_buffer_release(&r->group);
    return status;
}

/* Opens the file at `path`; *size becomes its length. */
static clip_status open_path(const char *path, int *fd, int64_t *size, struct clip_error *error)
{
    struct stat info = {0};
    bool special = clip_path_is_special(path);
    *fd = special ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int reason = *fd < 0 && !special ? errno : 0;
    if (reason == 0 && !special && fstat(*fd, &info) != 0) reason = errno;
    *size = info.st_size;
    if (reason == 0 && S_ISREG(info.st_mode)) return CLIP_OK;
    return clip_fail(error, reason != 0 ? clip_status_of(reason) : CLIP_ERR_IO,
                     "%s: the checkpoint cannot be read (%s); check the path", path,
                     reason ? strerror(reason) : "it is no file");
}

clip_status clip_hdf5_read_first(const char *path, const char *const *prefixes, int count,
                                 int *chosen, struct clip_bundle *out, struct clip_error *error)
{
    struct reader reader = {.path = path, .out = out, .error = error};
    clip_status status = CLIP_OK;
    int fd;
    int64_t size;
    CLIP_TRY(open_path(path, &fd, &size, error));
    CLIP_TRY(clip_hdf5_check(fd, size, path, error));
    CLIP_TRY(read_all(&reader, fd, size, prefixes, count, chosen));
out:
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
    struct reader reader = {.path = path, .out = out, .error = error};
    clip_status status = CLIP_OK;
    struct clip_mapping mapping = {0};
    int fd, chosen;
    int64_t size;
    CLIP_TRY(open_path(path, &fd, &size, error));
    CLIP_TRY(known ? clip_hdf5_check_length(fd, size, path, error)
                   : clip_hdf5_check(fd, size, path, error));
    CLIP_TRY(clip_file_map_open(fd, (size_t)size, path, &mapping, error));
    reader.mapping = mapping;
    CLIP_TRY(read_all(&reader, fd, size, NULL, 0, &chosen));
    CLIP_TRY(clip_bundle_keep(out, &mapping, error));
out:
    clip_file_unmap(&mapping);
    if (status != CLIP_OK) clip_bundle_release(out);
    if (fd >= 0) close(fd);
    return status;
}
