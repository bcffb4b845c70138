#include "serve/store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/string_map.h"
#include "data/image/image.h"
#include "embed/images.h"

static const size_t LARGEST_FILE = (size_t)1 << 29;
enum { BUCKETS = 1 << 14 };

struct archive { /* a tar that images of the index lie in */
    char *path;
    int64_t size, time; /* of the file; another one is opened anew, and this one stays open */
    struct clip_images images;
    struct clip_string_map names;
    struct archive *next;
};

struct thumbnail { /* in a ring from the last used to the longest unused */
    int64_t hash;  /* of the image's file */
    struct clip_buffer bytes;
    struct thumbnail *before, *after;
    struct thumbnail *next; /* in its bucket */
};

struct clip_store {
    int64_t max_pixels;
    pthread_mutex_t lock; /* of what follows */
    struct archive *archives;
    struct thumbnail *buckets[BUCKETS]; /* by the hash's last bits */
    struct thumbnail ring;
    size_t held, capacity;
};

clip_status clip_store_create(struct clip_store **out, int64_t max_pixels, size_t cache_bytes,
                              struct clip_error *error)
{
    struct clip_store *store = clip_array_new(1, sizeof *store, error);
    if (store == NULL) return CLIP_ERR_MEMORY;
    store->max_pixels = max_pixels;
    store->capacity = cache_bytes;
    store->ring.before = store->ring.after = &store->ring;
    pthread_mutex_init(&store->lock, NULL);
    *out = store;
    return CLIP_OK;
}

static void free_archive(struct archive *archive)
{
    if (archive == NULL) return;
    clip_string_map_release(&archive->names);
    clip_images_release(&archive->images);
    free(archive->path);
    free(archive);
}

void clip_store_free(struct clip_store *store)
{
    if (store == NULL) return;
    for (struct archive *a = store->archives, *next; a != NULL; a = next) {
        next = a->next;
        free_archive(a);
    }
    for (struct thumbnail *t = store->ring.after, *next; t != &store->ring; t = next) {
        next = t->after;
        clip_buffer_release(&t->bytes);
        free(t);
    }
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ---- files ---- */

static void stat_file(const char *path, int64_t *size, int64_t *time)
{
    struct stat info;
    *size = *time = -1;
    if (stat(path, &info) != 0) return;
    *size = info.st_size;
    *time = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
}

static clip_status open_archive(struct archive **out, const char *path, struct clip_error *error)
{
    clip_status status;
    struct archive *a = NULL;
    struct clip_string_entry *entry;
    CLIP_NEW(a, 1);
    a->names.borrows = true;
    a->path = clip_string_copy(path, error);
    if (a->path == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    stat_file(path, &a->size, &a->time);
    CLIP_TRY(clip_images_open(&a->images, &path, 1, error));
    for (int64_t i = 0; i < a->images.count; i++) {
        const char *name = clip_images_name(&a->images, i);
        CLIP_TRY(clip_string_map_add(&a->names, name, strlen(name), i, &entry, error));
    }
    *out = a;
out:
    if (status != CLIP_OK) free_archive(a);
    return status;
}

/* The archive at `path` as it is now, opened once and kept. */
static clip_status find_archive(struct clip_store *store, const char *path, struct archive **out,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t size, time;
    stat_file(path, &size, &time);
    pthread_mutex_lock(&store->lock);
    struct archive *a = store->archives;
    while (a != NULL && (strcmp(a->path, path) != 0 || a->size != size || a->time != time))
        a = a->next;
    if (a == NULL) {
        status = open_archive(&a, path, error);
        if (status == CLIP_OK) {
            a->next = store->archives;
            store->archives = a;
        }
    }
    pthread_mutex_unlock(&store->lock);
    *out = a;
    return status;
}

/* "some/set.tar/a/b.png": image a/b.png of the tar. */
static clip_status read_member(struct clip_store *store, const char *path, struct clip_buffer *out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct archive *archive = NULL;
    char *tar = NULL;
    const char *end = strstr(path, ".tar/");
    if (end == NULL)
        return clip_fail(error, CLIP_ERR_NOT_FOUND,
                         "%s is not there any more; bring the index up "
                         "to date",
                         path);
    tar = clip_string_copy_n(path, (size_t)(end - path) + 4, error);
    if (tar == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(find_archive(store, tar, &archive, error));
    int64_t i = clip_string_map_find(&archive->names, path, strlen(path));
    if (i < 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s is not there any more; bring the index "
                           "up to date",
                           path));
    CLIP_TRY(clip_images_read(&archive->images, i, out, error));
out:
    free(tar);
    return status;
}

clip_status clip_store_image(struct clip_store *store, const struct clip_index *index, int64_t row,
                             struct clip_buffer *out, struct clip_error *error)
{
    *out = (struct clip_buffer){0};
    char *path = clip_path_join(index->base, clip_index_name(index, row), error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    clip_status status = clip_path_exists(path) ? clip_file_read(path, LARGEST_FILE, out, error)
                                                : read_member(store, path, out, error);
    free(path);
    return status;
}

clip_status clip_store_stat(struct clip_store *store, const struct clip_index *index, int64_t row,
                            int64_t *size, int64_t *time, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer member = {0};
    char *path = clip_path_join(index->base, clip_index_name(index, row), error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    stat_file(path, size, time);
    if (*size < 0) {
        CLIP_TRY(read_member(store, path, &member, error));
        *size = (int64_t)member.size;
        *time = clip_index_time(index, row);
    }
out:
    clip_buffer_release(&member);
    free(path);
    return status;
}

/* ---- thumbnails ---- */

static void unlink_thumbnail(struct thumbnail *t)
{
    t->before->after = t->after;
    t->after->before = t->before;
}

static void put_first(struct clip_store *store, struct thumbnail *t)
{
    t->before = &store->ring;
    t->after = store->ring.after;
    t->after->before = t;
    store->ring.after = t;
}

static struct thumbnail **bucket_of(struct clip_store *store, int64_t hash)
{
    return &store->buckets[(uint64_t)hash % BUCKETS];
}

static struct thumbnail *find_kept(struct clip_store *store, int64_t hash)
{
    struct thumbnail *t = *bucket_of(store, hash);
    while (t != NULL && t->hash != hash) t = t->next;
    return t;
}

/* The longest unused one goes. */
static void drop_last(struct clip_store *store)
{
    struct thumbnail *old = store->ring.before, **link = bucket_of(store, old->hash);
    unlink_thumbnail(old);
    while (*link != old) link = &(*link)->next;
    *link = old->next;
    store->held -= old->bytes.capacity + sizeof *old;
    clip_buffer_release(&old->bytes);
    free(old);
}

/* Copies the thumbnail out where it is in memory; false where it is not. */
static bool take_kept(struct clip_store *store, int64_t hash, struct clip_buffer *out,
                      clip_status *status, struct clip_error *error)
{
    pthread_mutex_lock(&store->lock);
    struct thumbnail *t = find_kept(store, hash);
    if (t != NULL) {
        *status = clip_buffer_append(out, t->bytes.data, t->bytes.size, error);
        unlink_thumbnail(t);
        put_first(store, t);
    }
    pthread_mutex_unlock(&store->lock);
    return t != NULL;
}

/* Keeps a copy, unless another thread was faster or memory is short, and drops what is too much. */
static void keep(struct clip_store *store, int64_t hash, const struct clip_buffer *bytes)
{
    struct clip_error ignored;
    struct thumbnail *t = clip_array_new(1, sizeof *t, &ignored);
    if (t == NULL) return;
    t->hash = hash;
    if (clip_buffer_append(&t->bytes, bytes->data, bytes->size, &ignored) != CLIP_OK) {
        free(t);
        return;
    }
    pthread_mutex_lock(&store->lock);
    bool mine = find_kept(store, hash) == NULL;
    if (mine) {
        t->next = *bucket_of(store, hash);
        *bucket_of(store, hash) = t;
        store->held += t->bytes.capacity + sizeof *t;
        put_first(store, t);
    }
    while (store->held > store->capacity && store->ring.before != &store->ring) drop_last(store);
    pthread_mutex_unlock(&store->lock);
    if (mine) return;
    clip_buffer_release(&t->bytes);
    free(t);
}

size_t clip_store_held(struct clip_store *store)
{
    pthread_mutex_lock(&store->lock);
    size_t held = store->held;
    pthread_mutex_unlock(&store->lock);
    return held;
}

/* The image made so small that its longer side is CLIP_THUMBNAIL_SIDE; a smaller one stays. */
static clip_status shrink(struct clip_image *image, struct clip_error *error)
{
    clip_status status;
    struct clip_image small = {0};
    int64_t longer = image->width > image->height ? image->width : image->height;
    if (longer <= CLIP_THUMBNAIL_SIDE) return CLIP_OK;
    small.width = (image->width * CLIP_THUMBNAIL_SIDE + longer / 2) / longer;
    small.height = (image->height * CLIP_THUMBNAIL_SIDE + longer / 2) / longer;
    if (small.width < 1) small.width = 1;
    if (small.height < 1) small.height = 1;
    CLIP_NEW(small.rgb, small.width * small.height * 3);
    CLIP_TRY(clip_image_resize(&small, image, CLIP_BICUBIC, error));
    clip_image_release(image);
    *image = small;
    small.rgb = NULL;
out:
    free(small.rgb);
    return status;
}

clip_status clip_store_thumbnail(struct clip_store *store, const struct clip_index *index,
                                 int64_t row, struct clip_buffer *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_index_segment *s = clip_index_segment_of(index, row);
    int64_t hash = s->hashes[row - s->first];
    struct clip_buffer file = {0};
    struct clip_image image = {0};
    const struct clip_image_limits limits = {
        .max_pixels = store->max_pixels, .upright = true, .enough = CLIP_THUMBNAIL_SIDE};
    *out = (struct clip_buffer){0};
    if (take_kept(store, hash, out, &status, error)) return status;
    CLIP_TRY(clip_store_image(store, index, row, &file, error));
    CLIP_TRY(clip_image_decode((const uint8_t *)file.data, file.size, &limits, &image, error));
    CLIP_TRY(shrink(&image, error));
    CLIP_TRY(clip_image_encode_small(&image, out, error));
    keep(store, hash, out);
out:
    clip_image_release(&image);
    clip_buffer_release(&file);
    if (status != CLIP_OK) clip_buffer_release(out);
    return status;
}

clip_status clip_store_convert(const struct clip_store *store, struct clip_buffer *file,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_image image = {0};
    struct clip_buffer shown = {0};
    const struct clip_image_limits limits = {.max_pixels = store->max_pixels, .upright = true};
    CLIP_TRY(clip_image_decode((const uint8_t *)file->data, file->size, &limits, &image, error));
    CLIP_TRY(clip_image_encode_small(&image, &shown, error));
    clip_buffer_release(file);
    *file = shown;
    shown = (struct clip_buffer){0};
out:
    clip_image_release(&image);
    clip_buffer_release(&shown);
    return status;
}
