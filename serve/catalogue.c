#include "serve/catalogue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/progress.h"
#include "core/string_map.h"

struct stamp { /* of the list's file: another one is another list */
    int64_t inode, size, time;
};

struct clip_catalogue {
    char *path;
    const struct clip_embedder *embedder;
    pthread_mutex_t lock; /* of what follows */
    struct clip_shown *current;
    struct stamp seen; /* of the list that was opened last, or tried */
    bool opening;      /* by one thread; the others go on with what is there */
};

/* ---- one index ---- */

static void free_shown(struct clip_shown *shown)
{
    if (shown == NULL) return;
    clip_search_filter_release(&shown->all);
    clip_search_filter_release(&shown->folded);
    clip_copies_release(&shown->copies);
    free(shown->newest);
    clip_index_release(&shown->index);
    clip_arena_release(&shown->arena);
    free(shown->folders);
    free(shown);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct clip_shown_folder *)a)->path,
                  ((const struct clip_shown_folder *)b)->path);
}

/* Counts one more image in the folder, which is listed where there is room. */
static clip_status count_in(struct clip_shown *shown, struct clip_string_map *set,
                            int64_t *capacity, const char *path, size_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t number = clip_string_map_find(set, path, n);
    if (number < 0 && shown->folder_count < CLIP_SHOWN_FOLDERS) {
        const char *kept = clip_arena_string(&shown->arena, path, n, error);
        if (kept == NULL) return CLIP_ERR_MEMORY;
        CLIP_TRY(clip_array_grow(&shown->folders, capacity, shown->folder_count + 1,
                                 sizeof *shown->folders, error));
        CLIP_TRY(clip_string_map_number(set, kept, n, &number, error));
        shown->folders[shown->folder_count++] = (struct clip_shown_folder){kept, 0};
    }
    if (number >= 0) shown->folders[number].count++;
out:
    return status;
}

/* The folders that hold images, with how many lie in each. */
static clip_status list_folders(struct clip_shown *shown, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map set = {.borrows = true};
    int64_t capacity = 0;
    for (int64_t row = 0; row < shown->index.count; row++) {
        if (shown->all.skip[row]) continue;
        const char *name = clip_index_name(&shown->index, row), *slash = strrchr(name, '/');
        CLIP_TRY(count_in(shown, &set, &capacity, name, slash != NULL ? (size_t)(slash - name) : 0,
                          error));
    }
    if (shown->folder_count > 0)
        qsort(shown->folders, (size_t)shown->folder_count, sizeof *shown->folders, by_path);
out:
    clip_string_map_release(&set);
    return status;
}

struct dated {
    int64_t time, row;
};

static int by_date(const void *a, const void *b)
{
    const struct dated *x = a, *y = b;
    if (x->time != y->time) return x->time > y->time ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static clip_status order_by_date(struct clip_shown *shown, struct clip_error *error)
{
    clip_status status;
    struct dated *rows = NULL;
    CLIP_NEW(rows, shown->index.count);
    CLIP_NEW(shown->newest, shown->index.count);
    for (int64_t row = 0; row < shown->index.count; row++)
        rows[row] = (struct dated){clip_index_time(&shown->index, row), row};
    qsort(rows, (size_t)shown->index.count, sizeof *rows, by_date);
    for (int64_t i = 0; i < shown->index.count; i++) shown->newest[i] = rows[i].row;
out:
    free(rows);
    return status;
}

static clip_status open_shown(struct clip_shown **out, const struct clip_catalogue *c,
                              struct clip_error *error)
{
    clip_status status;
    struct clip_shown *shown = NULL;
    CLIP_NEW(shown, 1);
    CLIP_TRY(clip_index_open(&shown->index, c->path, error));
    if (shown->index.texts)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s is an index of texts; the page shows images",
                           c->path));
    CLIP_TRY(clip_index_check(&shown->index, c->embedder, c->path, error));
    CLIP_TRY(clip_search_filter_make(&shown->all, &shown->index, NULL, 0, error));
    CLIP_TRY(clip_copies_find(&shown->copies, &shown->index, error));
    CLIP_TRY(clip_search_filter_make(&shown->folded, &shown->index, NULL, 0, error));
    CLIP_TRY(clip_copies_fold(&shown->copies, &shown->index, &shown->folded, error));
    CLIP_TRY(order_by_date(shown, error));
    CLIP_TRY(list_folders(shown, error));
    shown->users = shown->version = 1;
    *out = shown;
    shown = NULL;
out:
    free_shown(shown);
    return status;
}

/* ---- the current one ---- */

static bool read_stamp(const char *path, struct stamp *out)
{
    struct stat info;
    if (stat(path, &info) != 0) return false;
    *out = (struct stamp){(int64_t)info.st_ino, info.st_size,
                          (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec};
    return true;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->inode == b->inode && a->size == b->size && a->time == b->time;
}

clip_status clip_catalogue_create(struct clip_catalogue **out, const char *path,
                                  const struct clip_embedder *embedder, struct clip_error *error)
{
    clip_status status;
    struct clip_catalogue *c = NULL;
    CLIP_NEW(c, 1);
    pthread_mutex_init(&c->lock, NULL);
    c->embedder = embedder;
    c->path = clip_string_copy(path, error);
    if (c->path == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    read_stamp(path, &c->seen);
    CLIP_TRY(open_shown(&c->current, c, error));
    *out = c;
out:
    if (status != CLIP_OK) clip_catalogue_free(c);
    return status;
}

void clip_catalogue_free(struct clip_catalogue *c)
{
    if (c == NULL) return;
    free_shown(c->current);
    pthread_mutex_destroy(&c->lock);
    free(c->path);
    free(c);
}

/* Does the newer index begin with the segments of the older one? */
static bool continues(const struct clip_index *newer, const struct clip_index *older)
{
    if (newer->segment_count < older->segment_count) return false;
    for (int64_t i = 0; i < older->segment_count; i++) {
        const struct clip_index_segment *a = &newer->segments[i], *b = &older->segments[i];
        if (strcmp(a->file, b->file) != 0 || a->count != b->count || a->time != b->time)
            return false;
    }
    return true;
}

/* With the lock: one user less. */
static void leave(struct clip_shown *shown)
{
    if (--shown->users == 0) free_shown(shown);
}

/* With the lock, which is let go of while the list that has changed is opened. */
static void renew(struct clip_catalogue *c)
{
    struct clip_shown *next = NULL, *old;
    struct clip_error error;
    c->opening = true;
    pthread_mutex_unlock(&c->lock);
    if (open_shown(&next, c, &error) != CLIP_OK)
        clip_warn("%s has changed and is shown as it was: %s", c->path, error.message);
    pthread_mutex_lock(&c->lock);
    c->opening = false;
    if (next == NULL) return;
    old = c->current;
    next->first = continues(&next->index, &old->index) ? old->first : old->first + old->index.count;
    next->version = old->version + 1;
    c->current = next;
    leave(old);
}

const struct clip_shown *clip_catalogue_take(struct clip_catalogue *c)
{
    struct stamp now;
    pthread_mutex_lock(&c->lock);
    if (!c->opening && read_stamp(c->path, &now) && !same_stamp(&now, &c->seen)) {
        c->seen = now;
        renew(c);
    }
    struct clip_shown *shown = c->current;
    shown->users++;
    pthread_mutex_unlock(&c->lock);
    return shown;
}

void clip_catalogue_give(struct clip_catalogue *c, const struct clip_shown *shown)
{
    pthread_mutex_lock(&c->lock);
    leave((struct clip_shown *)(uintptr_t)shown);
    pthread_mutex_unlock(&c->lock);
}
