/* Writes a packed data set (packed.h). libhdf5 lays the file out and writes its own records; the
 * data is written by this file into the places that libhdf5 has set aside, so that a full disk is
 * an error here and not inside the library. */
#include "data/sets/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/hdf5.h"
#include "core/progress.h"
#include "core/threads.h"
#include "data/image/image_formats.h"
#include "data/sets/dataset_internal.h"

enum { PIECE = 64, BLOCK_BYTES = 64 << 20, ROOM = 1 << 20 };

struct work { /* the work on one image of a piece */
    struct clip_sample sample;
    struct clip_buffer pixels;
    struct clip_error error;
    clip_status status;
};

struct pack {
    const struct clip_dataset *dataset;
    struct clip_pack_options options;
    const char *path;
    struct clip_error *error;
    struct clip_pack_counts *counts;

    hid_t file, dataset_list;
    int fd;
    int64_t blocks;
    int64_t end;              /* where the written part of the file ends */
    struct clip_buffer block; /* images that are still to be written */
    int64_t waiting;          /* how many of the last images those are */
    struct clip_buffer tables[CLIP_PACKED_TABLES];
    struct clip_packed_head head;

    /* [count] the sample that reads i's image, and the number of that image */
    int64_t *reader, *image;
    int64_t *todo; /* the samples that read images, in order */
    int64_t first; /* where the piece begins in todo */
    struct work works[PIECE];
};

/* ---- The file ---- */
/* Reserves space for n bytes behind pack->end and for libhdf5's own records, because once a disk is
 * full, libhdf5 can neither continue nor close a file. If the file system cannot reserve space,
 * clip_hdf5_close does what it can. */
static clip_status reserve(const struct pack *pack, int64_t n)
{
    if (fallocate(pack->fd, 0, 0, (off_t)(pack->end + n + ROOM)) == 0) return CLIP_OK;
    if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG) return CLIP_OK;
    return clip_fail(pack->error, clip_status_of(errno),
                     "%s could not be written: %s; make room or choose another place", pack->path,
                     strerror(errno));
}

static clip_status create_file(struct pack *pack, const char *temporary)
{
    clip_status status = CLIP_OK;
    hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    bool done = create >= 0 && access >= 0 && H5Pset_userblock(create, CLIP_PACKED_BLOCK) >= 0 &&
                H5Pset_obj_track_times(create, false) >= 0 &&
                H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
                H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 &&
                H5Pset_file_locking(access, false, true) >= 0;
    if (done) pack->file = H5Fcreate(temporary, H5F_ACC_TRUNC, create, access);
    pack->dataset_list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t groups = H5Pcreate(H5P_GROUP_CREATE);
    done = pack->file >= 0 && pack->dataset_list >= 0 && groups >= 0 &&
           H5Pset_obj_track_times(groups, false) >= 0 &&
           H5Pset_obj_track_times(pack->dataset_list, false) >= 0 &&
           H5Pset_layout(pack->dataset_list, H5D_CONTIGUOUS) >= 0 &&
           H5Pset_alloc_time(pack->dataset_list, H5D_ALLOC_TIME_EARLY) >= 0 &&
           H5Pset_fill_time(pack->dataset_list, H5D_FILL_TIME_NEVER) >= 0;
    static const char *const names[] = {"pictures", "pictures/blocks", "samples", "classes"};
    for (int i = 0; i < 4 && done; i++) {
        hid_t group = H5Gcreate2(pack->file, names[i], H5P_DEFAULT, groups, H5P_DEFAULT);
        done = group >= 0 && H5Gclose(group) >= 0;
    }
    if (!done)
        status = clip_hdf5_fail(pack->error, pack->path, "the file");
    else
        status = reserve(pack, 0);
    if (groups >= 0) H5Pclose(groups);
    if (access >= 0) H5Pclose(access);
    if (create >= 0) H5Pclose(create);
    return status;
}

static clip_status put(const struct pack *pack, const void *bytes, size_t n, int64_t position)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(pack->fd, (const char *)bytes + done, n - done,
                             (off_t)(position + (int64_t)done));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return clip_fail(pack->error, clip_status_of(errno),
                             "%s could not be written: %s; make room or choose another place",
                             pack->path, strerror(errno));
        done += (size_t)put;
    }
    return CLIP_OK;
}

/* Writes a dataset of n elements; *position becomes its place in the file. */
static clip_status write_dataset(struct pack *pack, const char *name, bool is_bytes,
                                 const struct clip_buffer *data, int64_t *position)
{
    struct clip_hdf5_guard guard;
    clip_status status = reserve(pack, (int64_t)data->size);
    if (status != CLIP_OK) return status;
    hsize_t n = is_bytes ? data->size : data->size / sizeof(int64_t);
    clip_hdf5_enter(&guard);
    hid_t type = is_bytes ? H5T_STD_U8LE : H5T_STD_I64LE;
    hid_t space = H5Screate_simple(1, &n, NULL), set = -1;
    haddr_t offset = HADDR_UNDEF;
    if (space >= 0)
        set =
            H5Dcreate2(pack->file, name, type, space, H5P_DEFAULT, pack->dataset_list, H5P_DEFAULT);
    if (set >= 0) offset = H5Dget_offset(set);
    if (offset == HADDR_UNDEF) status = clip_hdf5_fail(pack->error, pack->path, name);
    if (set >= 0) H5Dclose(set);
    if (space >= 0) H5Sclose(space);
    clip_hdf5_leave(&guard);
    if (status != CLIP_OK) return status;
    *position = (int64_t)offset;
    pack->end = *position + (int64_t)data->size;
    return put(pack, data->data, data->size, *position);
}

static int64_t *numbers(const struct pack *pack, enum clip_packed_table table)
{
    return (int64_t *)(void *)pack->tables[table].data;
}

static clip_status add_number(struct pack *pack, enum clip_packed_table table, int64_t value)
{
    return clip_buffer_append(&pack->tables[table], &value, sizeof value, pack->error);
}

/* Adds n bytes to the table after `ends`, and their end to `ends`. */
static clip_status add_text(struct pack *pack, enum clip_packed_table ends, const char *bytes,
                            size_t n)
{
    clip_status status = clip_buffer_append(&pack->tables[ends + 1], bytes, n, pack->error);
    if (status != CLIP_OK) return status;
    return add_number(pack, ends, (int64_t)pack->tables[ends + 1].size);
}

static clip_status flush_block(struct pack *pack)
{
    char name[64];
    int64_t position, count = pack->counts->images;
    if (pack->waiting == 0) return CLIP_OK;
    snprintf(name, sizeof name, "pictures/blocks/%06lld", (long long)pack->blocks++);
    clip_status status = write_dataset(pack, name, true, &pack->block, &position);
    if (status != CLIP_OK) return status;
    for (int64_t i = count - pack->waiting; i < count; i++)
        numbers(pack, CLIP_PACKED_POSITION)[i] += position;
    pack->block.size = 0;
    pack->waiting = 0;
    return CLIP_OK;
}

/* ---- Images ---- */
/* Scales the image down so that its short side is at most image_size, as the preprocessing's
 * `shortest` does. */
static clip_status scale_down(struct clip_image *image, int64_t most, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_image small = {0};
    double w = (double)image->width, h = (double)image->height, size = (double)most;
    if (image->width <= most || image->height <= most) return CLIP_OK;
    small.width = w <= h ? most : (int64_t)(size * w / h);
    small.height = w <= h ? (int64_t)(size * h / w) : most;
    CLIP_NEW(small.rgb, small.width * small.height * 3);
    CLIP_TRY(clip_image_resize(&small, image, CLIP_BICUBIC, error));
    clip_image_release(image);
    *image = small;
    small = (struct clip_image){0};
out:
    clip_image_release(&small);
    return status;
}

static clip_status to_pixels(const struct pack *pack, struct work *work)
{
    clip_status status;
    struct clip_image image = {0};
    struct clip_error *error = &work->error;
    const struct clip_buffer *bytes = &work->sample.image;
    work->pixels.size = 0;
    status = clip_image_decode((const uint8_t *)bytes->data, bytes->size, &pack->options.limits,
                               &image, error);
    if (status != CLIP_OK) clip_error_prefix(error, "%s", work->sample.name);
    CLIP_TRY(status);
    if (pack->options.image_size == 0) goto out; /* it was only decoded to see whether it can be */
    CLIP_TRY(scale_down(&image, pack->options.image_size, error));
    CLIP_TRY(clip_raw_encode(&image, &work->pixels, error));
out:
    clip_image_release(&image);
    return status;
}

static void prepare(void *context, int64_t place)
{
    struct pack *pack = context;
    struct work *work = &pack->works[place];
    int64_t index = pack->todo[pack->first + place];
    work->status =
        pack->dataset->ops->read(pack->dataset, index, NULL, &work->sample, &work->error);
    if (work->status == CLIP_OK) work->status = to_pixels(pack, work);
}

static clip_status add_image(struct pack *pack, int64_t reader, const struct work *work)
{
    clip_status status;
    bool pixels = pack->options.image_size > 0;
    const struct clip_buffer *bytes = pixels ? &work->pixels : &work->sample.image;
    const char *name = pack->dataset->ops->image_name(pack->dataset, reader);
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)bytes->data, (uInt)bytes->size);
    CLIP_TRY(add_number(pack, CLIP_PACKED_POSITION, (int64_t)pack->block.size));
    CLIP_TRY(add_number(pack, CLIP_PACKED_SIZE, (int64_t)bytes->size));
    CLIP_TRY(add_number(pack, CLIP_PACKED_CRC, crc));
    CLIP_TRY(add_text(pack, CLIP_PACKED_NAME_ENDS, name, strlen(name) + 1));
    CLIP_TRY(clip_buffer_append(&pack->block, bytes->data, bytes->size, pack->error));
    pack->image[reader] = pack->counts->images++;
    pack->waiting++;
    if (pack->block.size >= BLOCK_BYTES) status = flush_block(pack);
out:
    return status;
}

static void name_bad(const struct pack *pack, const struct clip_error *reason)
{
    if (!pack->options.quiet) clip_warn("left out: %s", reason->message);
}

static clip_status pack_images(struct pack *pack, int64_t n)
{
    clip_status status = CLIP_OK;
    struct clip_progress progress;
    clip_progress_start(&progress, "packing", "image", 0, n, pack->options.quiet);
    for (pack->first = 0; pack->first < n; pack->first += PIECE) {
        int64_t piece = n - pack->first < PIECE ? n - pack->first : PIECE;
        clip_parallel_for(piece, prepare, pack);
        for (int64_t i = 0; i < piece; i++) {
            const struct work *work = &pack->works[i];
            if (clip_machine_failed(work->status)) *pack->error = work->error;
            if (clip_machine_failed(work->status)) CLIP_TRY(work->status);
            if (work->status == CLIP_OK)
                CLIP_TRY(add_image(pack, pack->todo[pack->first + i], work));
            else
                name_bad(pack, &work->error);
        }
        clip_progress_update(&progress, pack->first + piece, NULL);
    }
    CLIP_TRY(flush_block(pack));
out:
    clip_progress_end(&progress);
    return status;
}

/* ---- Samples ---- */
struct named {
    const char *name;
    int64_t sample;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    if (x->name != y->name) return x->name < y->name ? -1 : 1;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

/* reader[i] = the first sample with a good caption of i's image, -1 if i's own caption is bad.
 * Lists the readers and returns how many they are. */
static clip_status choose_readers(struct pack *pack, int64_t *readers)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = pack->error;
    const struct clip_dataset *dataset = pack->dataset;
    struct clip_buffer caption = {0};
    struct named *named = NULL;
    int64_t n = dataset->count, good = 0;
    CLIP_NEW(named, n);
    for (int64_t i = 0; i < n; i++) {
        struct clip_error reason;
        clip_status read = CLIP_OK;
        pack->reader[i] = pack->image[i] = -1;
        if (!pack->options.images_only)
            read = dataset->ops->caption(dataset, i, NULL, &caption, &reason);
        if (clip_machine_failed(read)) {
            *error = reason;
            CLIP_TRY(read);
        }
        if (read == CLIP_OK)
            named[good++] = (struct named){dataset->ops->image_name(dataset, i), i};
        else
            name_bad(pack, &reason);
    }
    qsort(named, (size_t)good, sizeof *named, compare_named);
    for (int64_t i = 0, head = 0; i < good; i++) {
        if (named[i].name != named[head].name) head = i;
        pack->reader[named[i].sample] = named[head].sample;
    }
    *readers = 0;
    for (int64_t i = 0; i < n; i++)
        if (pack->reader[i] == i) pack->todo[(*readers)++] = i;
out:
    clip_buffer_release(&caption);
    free(named);
    return status;
}

static clip_status add_captions(struct pack *pack, int64_t i, struct clip_buffer *text)
{
    clip_status status = CLIP_OK;
    const struct clip_dataset *dataset = pack->dataset;
    if (pack->options.images_only || dataset->classes != NULL) return CLIP_OK;
    CLIP_TRY(dataset->ops->caption(dataset, i, NULL, text, pack->error));
    CLIP_TRY(add_text(pack, CLIP_PACKED_CAPTION_ENDS, text->data, text->size));
    if (dataset->ops->negative == NULL) return CLIP_OK;
    CLIP_TRY(dataset->ops->negative(dataset, i, text, pack->error));
    CLIP_TRY(add_text(pack, CLIP_PACKED_NEGATIVE_ENDS, text->data, text->size));
out:
    return status;
}

/* Groups are numbered anew in the order of appearance, since samples may have been left out;
 * classes keep their numbers. */
static clip_status add_samples(struct pack *pack)
{
    clip_status status = CLIP_OK;
    struct clip_error *error = pack->error;
    const struct clip_dataset *dataset = pack->dataset;
    struct clip_buffer text = {0};
    int64_t *renumbered = NULL, groups = 0;
    CLIP_NEW(renumbered, dataset->count);
    for (int64_t i = 0; i < dataset->count; i++) {
        int64_t reader = pack->reader[i], group = dataset->group[i];
        if (reader < 0 || pack->image[reader] < 0) {
            pack->counts->bad++;
            continue;
        }
        if (renumbered[group] == 0) renumbered[group] = ++groups;
        if (dataset->classes == NULL) group = renumbered[group] - 1;
        CLIP_TRY(add_number(pack, CLIP_PACKED_IMAGE, pack->image[reader]));
        CLIP_TRY(add_number(pack, CLIP_PACKED_GROUP, group));
        CLIP_TRY(add_captions(pack, i, &text));
        pack->counts->samples++;
    }
    if (pack->tables[CLIP_PACKED_NEGATIVES].size == 0)
        pack->tables[CLIP_PACKED_NEGATIVE_ENDS].size = 0; /* no sample has one */
    if (pack->counts->samples == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s: no sample is left; nothing is written",
                           pack->path));
out:
    clip_buffer_release(&text);
    free(renumbered);
    return status;
}

static clip_status add_classes(struct pack *pack)
{
    clip_status status = CLIP_OK;
    const struct clip_class_list *classes = pack->dataset->classes;
    const struct clip_templates *templates = pack->dataset->templates;
    for (int64_t i = 0; classes != NULL && i < classes->count; i++)
        CLIP_TRY(add_text(pack, CLIP_PACKED_CLASS_ENDS, classes->names[i],
                          strlen(classes->names[i]) + 1));
    for (int64_t i = 0; classes != NULL && i < templates->count; i++)
        CLIP_TRY(add_text(pack, CLIP_PACKED_TEMPLATE_ENDS, templates->lines[i],
                          strlen(templates->lines[i]) + 1));
out:
    return status;
}

/* ---- All of it ---- */
static clip_status write_tables(struct pack *pack)
{
    for (int i = 0; i < CLIP_PACKED_TABLES; i++) {
        const struct clip_buffer *table = &pack->tables[i];
        struct clip_packed_place *place = &pack->head.tables[i];
        bool is_bytes = clip_packed_is_bytes((enum clip_packed_table)i);
        if (table->size == 0) continue;
        clip_status status =
            write_dataset(pack, clip_packed_names[i], is_bytes, table, &place->position);
        if (status != CLIP_OK) return status;
        place->count = (int64_t)(is_bytes ? table->size : table->size / sizeof(int64_t));
        uLong crc = 0;
        for (size_t at = 0; at < table->size;) {
            uInt part = table->size - at < 1 << 30 ? (uInt)(table->size - at) : 1 << 30;
            crc = crc32(crc, (const Bytef *)table->data + at, part);
            at += part;
        }
        place->crc = (uint32_t)crc;
    }
    return CLIP_OK;
}

static clip_status fill(struct pack *pack, const char *temporary)
{
    clip_status status;
    struct clip_hdf5_guard guard;
    int64_t readers;
    hsize_t size = 0;
    CLIP_TRY(reserve(pack, 0));
    CLIP_TRY(clip_hdf5_check_memory(pack->error));
    clip_hdf5_enter(&guard);
    status = create_file(pack, temporary);
    clip_hdf5_leave(&guard);
    CLIP_TRY(status);
    CLIP_TRY(choose_readers(pack, &readers));
    CLIP_TRY(pack_images(pack, readers));
    CLIP_TRY(add_samples(pack));
    CLIP_TRY(add_classes(pack));
    CLIP_TRY(write_tables(pack));
out:
    if (pack->file < 0 && pack->dataset_list < 0) return status; /* nothing was begun */
    clip_hdf5_enter(&guard);
    if (pack->dataset_list >= 0) H5Pclose(pack->dataset_list);
    if (status == CLIP_OK &&
        (H5Fflush(pack->file, H5F_SCOPE_GLOBAL) < 0 || H5Fget_filesize(pack->file, &size) < 0))
        status = clip_hdf5_fail(pack->error, pack->path, "the file");
    pack->head.bytes = (int64_t)size;
    status = clip_hdf5_close(pack->file, pack->path, status, pack->error);
    clip_hdf5_leave(&guard);
    return status;
}

/* After libhdf5 is done: cuts off the reserved space that was not needed, and writes the first
 * block. */
static clip_status seal(struct pack *pack)
{
    char block[CLIP_PACKED_BLOCK];
    if (ftruncate(pack->fd, (off_t)pack->head.bytes) != 0)
        return clip_fail(pack->error, clip_status_of(errno), "%s: writing failed (%s)", pack->path,
                         strerror(errno));
    pack->counts->bytes = pack->head.bytes;
    pack->head.image_size = pack->options.image_size;
    clip_packed_head_write(block, &pack->head);
    return put(pack, block, sizeof block, 0);
}

static void release(struct pack *pack)
{
    for (int i = 0; i < PIECE; i++) {
        clip_sample_release(&pack->works[i].sample);
        clip_buffer_release(&pack->works[i].pixels);
    }
    for (int i = 0; i < CLIP_PACKED_TABLES; i++) clip_buffer_release(&pack->tables[i]);
    clip_buffer_release(&pack->block);
    free(pack->reader);
    free(pack->image);
    free(pack->todo);
    free(pack);
}

clip_status clip_pack_write(const char *path, const struct clip_dataset *dataset,
                            const struct clip_pack_options *options, struct clip_pack_counts *out,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    struct pack *pack = NULL;
    *out = (struct clip_pack_counts){0};
    if (!clip_path_has_suffix(path, ".h5"))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s: a packed set is known by its name's end, .h5; name it so", path);
    CLIP_NEW(pack, 1);
    pack->dataset = dataset;
    pack->options = *options;
    if (options->limits.max_pixels <= 0) pack->options.limits.max_pixels = CLIP_IMAGE_MAX_PIXELS;
    pack->path = path;
    pack->error = error;
    pack->counts = out;
    pack->file = pack->dataset_list = -1;
    CLIP_NEW(pack->reader, dataset->count);
    CLIP_NEW(pack->image, dataset->count);
    CLIP_NEW(pack->todo, dataset->count);
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    pack->fd = fileno(file.stream);
    CLIP_TRY(fill(pack, file.temporary));
    CLIP_TRY(seal(pack));
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_atomic_abort(&file);
    if (pack != NULL) release(pack);
    return status;
}
