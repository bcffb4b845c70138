#include "embed/images.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/json.h"
#include "core/progress.h"
#include "core/rng.h"
#include "core/string_map.h"
#include "core/threads.h"
#include "data/text/text_points.h"
#include "embed/share.h"

static const size_t LARGEST_FILE = (size_t)1 << 29;

struct clip_images_part {
    const struct clip_dataset *dataset; /* NULL: one image file */
    struct clip_dataset *owned;
    const char *name;   /* the argument */
    int64_t first;      /* number of its first image */
    const char **names; /* [dataset->count] */
};

/* Is it read as a data set? Whatever else, it is an image file. */
static bool is_set(const char *argument)
{
    return clip_path_is_folder(argument) || clip_dataset_is_named(argument);
}

/* What a person calls image `i` of the source: a path that opens it, or its place in a tar. */
static const char *make_name(struct clip_images *p, const struct clip_images_part *source,
                             int64_t i, struct clip_error *error)
{
    const char *name = source->dataset->ops->image_name(source->dataset, i);
    bool in_tar = source->name != NULL && clip_path_has_suffix(source->name, ".tar");
    if (!in_tar || strncmp(name, source->name, strlen(source->name)) == 0)
        return clip_arena_string(&p->arena, name, strlen(name), error);
    char *joined = clip_path_join(source->name, name, error);
    if (joined == NULL) return NULL;
    const char *copy = clip_arena_string(&p->arena, joined, strlen(joined), error);
    free(joined);
    return copy;
}

static clip_status add_set(struct clip_images *p, struct clip_images_part *source,
                           struct clip_error *error)
{
    int64_t count = source->dataset->count;
    source->first = p->count;
    source->names = clip_arena_alloc(&p->arena, count, sizeof *source->names, error);
    if (source->names == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < source->dataset->count; i++) {
        source->names[i] = make_name(p, source, i, error);
        if (source->names[i] == NULL) return CLIP_ERR_MEMORY;
    }
    p->count += source->dataset->count;
    for (int64_t i = 0; i < source->dataset->unread.count; i++) {
        clip_status status = clip_names_add(&p->unread, source->dataset->unread.names[i], error);
        if (status != CLIP_OK) return status;
    }
    return CLIP_OK;
}

clip_status clip_images_open(struct clip_images *p, const char *const *arguments, int64_t n,
                             struct clip_error *error)
{
    return clip_images_open_until(p, arguments, n, NULL, error);
}

clip_status clip_images_open_until(struct clip_images *p, const char *const *arguments, int64_t n,
                                   const volatile sig_atomic_t *stop, struct clip_error *error)
{
    clip_status status;
    const struct clip_dataset_options options = {.images_only = true, .stop = stop};
    CLIP_NEW(p->sources, n);
    for (int64_t i = 0; i < n; i++) {
        struct clip_images_part *source = &p->sources[p->source_count++];
        source->name = clip_arena_string(&p->arena, arguments[i], strlen(arguments[i]), error);
        if (source->name == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        source->first = p->count;
        if (!is_set(arguments[i])) {
            p->count++;
            continue;
        }
        CLIP_TRY(clip_dataset_open(&source->owned, arguments[i], &options, error));
        source->dataset = source->owned;
        CLIP_TRY(add_set(p, source, error));
    }
out:
    if (status != CLIP_OK) clip_images_release(p);
    return status;
}

void clip_images_say(const struct clip_images *images)
{
    for (int64_t i = 0; i < images->source_count; i++)
        if (images->sources[i].owned != NULL)
            clip_dataset_say(images->sources[i].owned, images->sources[i].name, "image");
}

clip_status clip_images_over(struct clip_images *p, const struct clip_dataset *dataset,
                             struct clip_error *error)
{
    clip_status status;
    CLIP_NEW(p->sources, 1);
    p->source_count = 1;
    p->sources[0].dataset = dataset;
    CLIP_TRY(add_set(p, &p->sources[0], error));
out:
    if (status != CLIP_OK) clip_images_release(p);
    return status;
}

void clip_images_release(struct clip_images *p)
{
    for (int64_t i = 0; i < p->source_count; i++) clip_dataset_free(p->sources[i].owned);
    free(p->sources);
    clip_names_release(&p->unread);
    clip_arena_release(&p->arena);
    *p = (struct clip_images){0};
}

/* The source that holds image i: the last that begins at or before it (none is empty). */
static const struct clip_images_part *source_of(const struct clip_images *p, int64_t i)
{
    int64_t low = 0, high = p->source_count - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (p->sources[middle].first <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return &p->sources[low];
}

const char *clip_images_name(const struct clip_images *p, int64_t i)
{
    const struct clip_images_part *source = source_of(p, i);
    return source->dataset == NULL ? source->name : source->names[i - source->first];
}

bool clip_images_is_path(const struct clip_images *p, int64_t i)
{
    const struct clip_images_part *source = source_of(p, i);
    return source->dataset == NULL || source->dataset->paths ||
           (source->name != NULL && clip_path_has_suffix(source->name, ".tar"));
}

clip_status clip_images_unique(const struct clip_images *p, int64_t *first,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map set = {.borrows = true};
    struct clip_string_entry *entry;
    for (int64_t i = 0; i < p->count; i++) {
        const char *name = clip_images_name(p, i);
        CLIP_TRY(clip_string_map_add(&set, name, strlen(name), i, &entry, error));
        first[i] = entry->value;
    }
out:
    clip_string_map_release(&set);
    return status;
}

void clip_images_stat(const struct clip_images *p, int64_t i, int64_t *size, int64_t *time)
{
    const struct clip_images_part *source = source_of(p, i);
    bool in_tar = source->name != NULL && clip_path_has_suffix(source->name, ".tar");
    struct stat info;
    *size = *time = -1;
    if (stat(in_tar ? source->name : clip_images_name(p, i), &info) != 0) return;
    *size = info.st_size;
    *time = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
}

clip_status clip_images_read(const struct clip_images *p, int64_t i, struct clip_buffer *out,
                             struct clip_error *error)
{
    const struct clip_images_part *source = source_of(p, i);
    struct clip_sample sample = {0};
    *out = (struct clip_buffer){0};
    if (source->dataset == NULL) return clip_file_read(source->name, LARGEST_FILE, out, error);
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_CAPTION, 0, (uint64_t)(i - source->first));
    clip_status status =
        source->dataset->ops->read(source->dataset, i - source->first, &rng, &sample, error);
    if (status == CLIP_OK) {
        *out = sample.image;
        sample.image = (struct clip_buffer){0};
    }
    clip_sample_release(&sample);
    return status;
}

/* ---- embedding ---- */

enum { CHUNK = 64 }; /* images whose bytes are held at once, or one per thread */

struct chunk {
    const struct clip_images *images;
    const struct clip_embedder *embedder;
    enum clip_row_kind kind;
    const int64_t *which; /* NULL: start, start + 1, ... */
    int64_t start;
    struct clip_sample *samples;
    struct clip_image_source *ready; /* those that were read, */
    int64_t *place;                  /* and their places in the chunk */
    struct clip_error *read_failures, *failures;
    float *rows;
    struct clip_images_watch *watch; /* or NULL */
};

static int64_t number_in(const struct chunk *c, int64_t i)
{
    return c->which != NULL ? c->which[c->start + i] : c->start + i;
}

/* Names go into JSON lists, so they have to be text. */
static clip_status check_name(const char *name, struct clip_error *error)
{
    struct clip_points points = {0};
    clip_status status = clip_points_decode(&points, name, strlen(name), error);
    clip_points_release(&points);
    if (status == CLIP_OK || clip_machine_failed(status)) return status;
    return clip_fail(error, CLIP_ERR_DATA, "%s: the name is not UTF-8; rename the file", name);
}

/* Files are read by the embedder; a data set's bytes are fetched here, and all where somebody wants
 * to see them. */
static void fetch(void *context, int64_t i)
{
    const struct chunk *c = context;
    int64_t number = number_in(c, i);
    const struct clip_images_part *source = source_of(c->images, number);
    c->read_failures[i].status = CLIP_OK;
    if (check_name(clip_images_name(c->images, number), &c->read_failures[i]) != CLIP_OK) return;
    if (source->dataset == NULL) {
        clip_buffer_release(&c->samples[i].image);
        if (c->watch != NULL)
            clip_file_read(source->name, LARGEST_FILE, &c->samples[i].image, &c->read_failures[i]);
        return;
    }
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_CAPTION, 0, (uint64_t)(number - source->first));
    source->dataset->ops->read(source->dataset, number - source->first, &rng, &c->samples[i],
                               &c->read_failures[i]);
}

static void name_bad(const struct chunk *c, int64_t i, struct clip_error *failure)
{
    const struct clip_images_part *source = source_of(c->images, number_in(c, i));
    if (source->dataset != NULL && c->read_failures[i].status == CLIP_OK)
        clip_error_prefix(failure, "%s", c->samples[i].name);
    else if (c->watch != NULL && c->read_failures[i].status == CLIP_OK)
        clip_error_prefix(failure, "%s", source->name);
    clip_warn("skipped: %s", failure->message);
}

static clip_status embed_chunk(struct chunk *c, int64_t b, float *out, bool *good, int64_t *bad,
                               struct clip_error *error)
{
    int64_t ready = 0, dim = clip_embedder_dim(c->embedder);
    struct clip_images_watch *watch = c->watch;
    clip_parallel_for(b, fetch, c);
    memset(out, 0, (size_t)(b * dim) * sizeof *out);
    for (int64_t i = 0; i < b; i++) {
        int64_t number = number_in(c, i);
        if (clip_machine_failed(c->read_failures[i].status)) {
            *error = c->read_failures[i];
            return error->status;
        }
        const struct clip_buffer *bytes = &c->samples[i].image;
        good[i] = c->read_failures[i].status == CLIP_OK;
        if (!good[i]) continue;
        if (watch != NULL && watch->reuse(watch->context, watch->done + i, bytes, out + i * dim))
            continue;
        c->ready[ready] = (struct clip_image_source){.bytes = bytes->data, .size = bytes->size};
        if (source_of(c->images, number)->dataset == NULL && watch == NULL)
            c->ready[ready].path = clip_images_name(c->images, number);
        c->place[ready++] = i;
    }
    clip_status status =
        clip_embedder_images(c->embedder, c->ready, ready, c->kind, c->rows, c->failures, error);
    if (status != CLIP_OK) return status;
    for (int64_t k = 0; k < ready; k++) {
        int64_t i = c->place[k];
        memcpy(out + i * dim, c->rows + k * dim, (size_t)dim * sizeof *out);
        good[i] = c->failures[k].status == CLIP_OK;
        if (!good[i]) name_bad(c, i, &c->failures[k]);
    }
    for (int64_t i = 0; i < b; i++) {
        if (c->read_failures[i].status != CLIP_OK) name_bad(c, i, &c->read_failures[i]);
        *bad += !good[i];
    }
    return CLIP_OK;
}

static void release_chunk(struct chunk *c, int64_t size)
{
    for (int64_t i = 0; c->samples != NULL && i < size; i++) clip_sample_release(&c->samples[i]);
    free(c->samples);
    free(c->ready);
    free(c->place);
    free(c->read_failures);
    free(c->failures);
    free(c->rows);
}

clip_status clip_images_embed(const struct clip_images *p, const struct clip_embedder *embedder,
                              const struct clip_images_options *options, float *out, bool *good,
                              int64_t *bad, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(embedder), threads = clip_threads_count();
    int64_t n = options->which != NULL ? options->n : p->count;
    int64_t size = threads > CHUNK ? threads : CHUNK;
    struct clip_images_watch *watch = options->watch;
    struct clip_progress line, *progress = watch != NULL ? watch->progress : &line;
    int64_t before = watch != NULL ? watch->before : 0;
    struct clip_share share = {0};
    struct chunk chunk = {.images = p,
                          .embedder = embedder,
                          .kind = options->kind,
                          .which = options->which,
                          .watch = watch};
    *bad = 0;
    if (watch == NULL) clip_progress_start(&line, "embedding", "image", 0, n, options->quiet);
    CLIP_NEW(chunk.samples, size);
    CLIP_NEW(chunk.ready, size);
    CLIP_NEW(chunk.place, size);
    CLIP_NEW(chunk.read_failures, size);
    CLIP_NEW(chunk.failures, size);
    CLIP_NEW(chunk.rows, size * dim);
    CLIP_TRY(clip_share_begin(&share, clip_embedder_comm(embedder), n, error));
    for (int64_t i = share.begin; i < share.end; i += size) {
        int64_t b = share.end - i < size ? share.end - i : size;
        if (watch != NULL && watch->stop != NULL && *watch->stop != 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_INTERRUPTED, "stopped by a signal"));
        chunk.start = i;
        CLIP_TRY(embed_chunk(&chunk, b, out + i * dim, good + i, bad, error));
        if (watch != NULL) watch->done = i + b;
        clip_progress_update(progress, before + i + b, NULL);
    }
out:
    status = clip_share_rows(&share, status, out, (size_t)dim * sizeof *out, error);
    if (status == CLIP_OK) status = clip_share_rows(&share, status, good, sizeof *good, error);
    if (status == CLIP_OK) *bad = clip_comm_sum(share.comm, *bad);
    clip_share_end(&share);
    if (watch == NULL) clip_progress_end(&line);
    release_chunk(&chunk, size);
    return status;
}

clip_status clip_images_embed_all(const struct clip_images *images, const struct clip_embedder *e,
                                  enum clip_row_kind kind, bool quiet, float *rows, bool *good,
                                  struct clip_error *error)
{
    clip_status status;
    int64_t count = images->count, dim = clip_embedder_dim(e), distinct = 0, bad = 0;
    int64_t *first = NULL, *which = NULL, *place = NULL;
    float *computed = NULL;
    bool *readable = NULL;
    CLIP_NEW(first, count);
    CLIP_NEW(which, count);
    CLIP_NEW(place, count);
    CLIP_TRY(clip_images_unique(images, first, error));
    for (int64_t i = 0; i < count; i++) {
        if (first[i] != i) continue;
        place[i] = distinct;
        which[distinct++] = i;
    }
    CLIP_NEW(computed, distinct * dim);
    CLIP_NEW(readable, distinct);
    const struct clip_images_options options = {
        .which = which, .n = distinct, .kind = kind, .quiet = quiet};
    CLIP_TRY(clip_images_embed(images, e, &options, computed, readable, &bad, error));
    for (int64_t i = 0; i < count; i++) {
        int64_t k = place[first[i]];
        memcpy(rows + i * dim, computed + k * dim, (size_t)dim * sizeof *rows);
        good[i] = readable[k];
    }
out:
    free(first);
    free(which);
    free(place);
    free(computed);
    free(readable);
    return status;
}
