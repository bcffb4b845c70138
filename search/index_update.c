#include "search/index_update.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/count.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/progress.h"
#include "embed/images.h"
#include "embed/texts.h"
#include "search/index_place.h"
#include "search/index_run.h"

/* ---- images ---- */

struct batch { /* images that become one segment */
    struct clip_index_run *run;
    const struct clip_images *images;
    const struct clip_index_listing *listing;
    int64_t capacity;
    int64_t *which;          /* [capacity] their numbers in `images` */
    int64_t *old_rows;       /* the row that the name has so far, or -1 */
    float *rows;             /* [capacity,dim] */
    bool *readable, *reused; /* it could be read; the index had its content already */
    int64_t *sizes, *times, *hashes;
    const char **names;
    struct clip_images_watch watch;
};

static void release_batch(struct batch *b)
{
    free(b->which);
    free(b->old_rows);
    free(b->rows);
    free(b->readable);
    free(b->reused);
    free(b->sizes);
    free(b->times);
    free(b->hashes);
    free(b->names);
}

static clip_status make_batch(struct batch *b, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = b->capacity, floats;
    if (!clip_mul_i64(n, b->run->index.dim, &floats)) floats = -1;
    CLIP_NEW(b->which, n);
    CLIP_NEW(b->old_rows, n);
    CLIP_NEW(b->rows, floats);
    CLIP_NEW(b->readable, n);
    CLIP_NEW(b->reused, n);
    CLIP_NEW(b->sizes, n);
    CLIP_NEW(b->times, n);
    CLIP_NEW(b->hashes, n);
    CLIP_NEW(b->names, n);
out:
    return status;
}

/* If the index has this content under any name, takes the row from there. */
static bool reuse_row(void *context, int64_t k, const struct clip_buffer *bytes, float *row)
{
    struct batch *b = context;
    b->hashes[k] = (int64_t)clip_hash64(bytes->data, bytes->size);
    int64_t found = clip_index_run_content(b->run, b->hashes[k]);
    b->reused[k] = found >= 0;
    if (b->reused[k]) clip_index_row(&b->run->index, found, row);
    return b->reused[k];
}

static int64_t hash_of(const struct clip_index *index, int64_t row)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, row);
    return s->hashes[row - s->first];
}

/* Writes the first `done` images of the batch as a segment and marks the rows that they replace. */
static clip_status seal_batch(struct batch *b, int64_t done, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_index_run *u = b->run;
    int64_t dim = u->index.dim, kept = 0, first = u->index.count;
    bool marked = false;
    for (int64_t i = 0; i < done; i++) {
        if (b->old_rows[i] >= 0) clip_index_mark_removed(&u->index, b->old_rows[i]);
        marked = marked || b->old_rows[i] >= 0;
        if (!b->readable[i]) {
            u->changes->removed += b->old_rows[i] >= 0;
            continue;
        }
        bool same = b->old_rows[i] >= 0 && hash_of(&u->index, b->old_rows[i]) == b->hashes[i];
        u->changes->added += b->old_rows[i] < 0;
        u->changes->changed += b->old_rows[i] >= 0 && !same;
        u->changes->unchanged += same;
        u->changes->embedded += !b->reused[i];
        memmove(b->rows + kept * dim, b->rows + i * dim, (size_t)dim * sizeof *b->rows);
        b->names[kept] = b->listing->names[b->which[i]];
        b->sizes[kept] = b->sizes[i];
        b->times[kept] = b->times[i];
        b->hashes[kept++] = b->hashes[i];
    }
    const struct clip_index_rows rows = {kept, b->rows, b->names, b->sizes, b->times, b->hashes};
    if (kept > 0) CLIP_TRY(clip_index_seal(&u->index, u->folder, &rows, error));
    if (kept > 0 || marked) CLIP_TRY(clip_index_run_commit(u, error));
    CLIP_TRY(clip_index_run_note(u, first, error));
out:
    return status;
}

/* Embeds the n images of the batch and writes them; after a signal, those that were embedded. */
static clip_status embed_batch(struct batch *b, int64_t n, struct clip_error *error)
{
    struct clip_index_run *u = b->run;
    int64_t bad = 0;
    struct clip_error sealing;
    b->watch.done = 0;
    const struct clip_images_options options = {.which = b->which, .n = n, .watch = &b->watch};
    clip_status status =
        clip_images_embed(b->images, u->embedder, &options, b->rows, b->readable, &bad, error);
    u->changes->skipped += bad;
    b->watch.before += n;
    clip_status sealed = seal_batch(b, b->watch.done, &sealing);
    if (status != CLIP_OK || sealed == CLIP_OK) return status;
    *error = sealing;
    return sealed;
}

/* Does the image's file have the size and time that it had when it was embedded? */
static bool is_unchanged(const struct clip_index *index, int64_t row, int64_t size, int64_t time)
{
    if (row < 0 || size < 0) return false;
    const struct clip_index_segment *s = clip_index_segment_of(index, row);
    return s->sizes[row - s->first] == size && s->times[row - s->first] == time;
}

/* Embeds the images with pending[i], which are new or may have changed, one segment after the
 * other. */
static clip_status take_images(struct batch *b, const bool *pending, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = 0, count = b->images->count;
    for (int64_t i = 0; i < count; i++) {
        if (pending[i]) {
            b->which[n] = i;
            clip_images_stat(b->images, i, &b->sizes[n], &b->times[n]);
            const char *place = b->listing->places[i];
            b->old_rows[n++] = clip_string_map_find(&b->run->places, place, strlen(place));
        }
        if (n == b->capacity || (n > 0 && i == count - 1)) {
            CLIP_TRY(embed_batch(b, n, error));
            n = 0;
        }
    }
out:
    return status;
}

/* The places of those of the n paths that can hold images: folders, tars and (`all`) whatever. */
static clip_status find_places(const char *const *paths, int64_t n, bool all,
                               struct clip_names *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer place = {0};
    char *here = getcwd(NULL, 0);
    for (int64_t i = 0; i < n; i++) {
        if (!all && !clip_path_is_folder(paths[i]) && !clip_path_has_suffix(paths[i], ".tar"))
            continue;
        CLIP_TRY(clip_index_place(&place, here, paths[i], error));
        CLIP_TRY(clip_names_add(out, place.data, error));
    }
out:
    free(here);
    clip_buffer_release(&place);
    return status;
}

static bool lies_in_any(const char *place, const struct clip_names *folders)
{
    for (int64_t i = 0; i < folders->count; i++)
        if (clip_index_lies_in(place, folders->names[i])) return true;
    return false;
}

/* Marks the rows of images that were in the listed places and are not there any more. Of what lies
 * in a folder that could not be looked into nobody knows. */
static clip_status mark_gone(struct clip_index_run *u, const struct clip_index_listing *listing,
                             const struct clip_names *given, const struct clip_names *unread,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer place = {0};
    int64_t before = u->changes->removed;
    for (int64_t k = 0; k < u->index.segment_count; k++) {
        const struct clip_index_segment *s = &u->index.segments[k];
        for (int64_t i = 0; i < s->count; i++) {
            if (s->removed[i]) continue;
            CLIP_TRY(clip_index_place(&place, u->index.base, s->names[i], error));
            if (clip_string_map_find(&listing->places_of, place.data, place.size) >= 0) continue;
            if (!lies_in_any(place.data, given) || lies_in_any(place.data, unread)) continue;
            clip_index_mark_removed(&u->index, s->first + i);
            u->changes->removed++;
        }
    }
    if (u->changes->removed > before || u->folded) status = clip_index_run_commit(u, error);
out:
    clip_buffer_release(&place);
    return status;
}

static clip_status update_images(struct clip_index_run *u, const struct clip_images *images,
                                 const struct clip_index_listing *listing, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t waiting = 0;
    bool *pending = NULL;
    struct clip_progress progress;
    struct batch batch = {.run = u, .images = images, .listing = listing};
    CLIP_NEW(pending, images->count);
    for (int64_t i = 0; i < images->count; i++) {
        int64_t size, time;
        const char *place = listing->places[i];
        if (clip_string_map_find(&listing->places_of, place, strlen(place)) != i) continue;
        clip_images_stat(images, i, &size, &time);
        int64_t row = clip_string_map_find(&u->places, place, strlen(place));
        pending[i] = !is_unchanged(&u->index, row, size, time);
        waiting += pending[i];
        u->changes->unchanged += !pending[i];
    }
    batch.capacity = clip_index_run_rows(u->options, CLIP_INDEX_SEGMENT);
    if (batch.capacity > waiting) batch.capacity = waiting > 0 ? waiting : 1;
    CLIP_TRY(make_batch(&batch, error));
    clip_progress_start(&progress, "embedding", "image", 0, waiting, u->options->quiet);
    batch.watch = (struct clip_images_watch){
        .reuse = reuse_row, .context = &batch, .stop = u->options->stop, .progress = &progress};
    status = take_images(&batch, pending, error);
    clip_progress_end(&progress);
out:
    release_batch(&batch);
    free(pending);
    return status;
}

clip_status clip_index_update_images(const char *path, const struct clip_embedder *embedder,
                                     const char *const *arguments, int64_t n,
                                     const struct clip_index_options *options,
                                     struct clip_index_changes *changes, struct clip_error *error)
{
    clip_status status;
    struct clip_images images = {0};
    struct clip_index_listing listing = {0};
    struct clip_names given = {0}, unread = {0};
    struct clip_index_run u = {
        .path = path, .lock = -1, .embedder = embedder, .options = options, .changes = changes};
    *changes = (struct clip_index_changes){0};
    CLIP_TRY(clip_images_open_until(&images, arguments, n, options->stop, error));
    if (!options->quiet) clip_images_say(&images);
    CLIP_TRY(clip_index_run_open(&u, false, error));
    CLIP_TRY(clip_index_listing_make(&listing, &u.index, &images, path, error));
    CLIP_TRY(find_places(arguments, n, false, &given, error));
    CLIP_TRY(find_places((const char *const *)images.unread.names, images.unread.count, true,
                         &unread, error));
    status = update_images(&u, &images, &listing, error);
    if (status == CLIP_OK) status = mark_gone(&u, &listing, &given, &unread, error);
    changes->skipped += images.unread.count;
    clip_index_run_finish(&u);
    if (status == CLIP_OK) status = clip_index_run_not_empty(&u, error);
out:
    clip_names_release(&given);
    clip_names_release(&unread);
    clip_index_listing_release(&listing);
    clip_images_release(&images);
    clip_index_run_close(&u);
    return status;
}

/* ---- texts ---- */

static bool is_blank(const char *text) { return text[strspn(text, " \t\r\n\v\f")] == '\0'; }

/* Chooses the texts that the index does not have, each once. It passes over empty texts, and warns
 * of texts that are only spaces. */
static clip_status choose_texts(struct clip_index_run *u, const char *const *texts, int64_t n,
                                const char **added, int64_t *count, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_map set = {.borrows = true};
    struct clip_string_entry *entry;
    int64_t blank = 0, first = 0;
    *count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (is_blank(texts[i])) {
            if (texts[i][0] != '\0' && blank++ == 0) first = i + 1;
            continue;
        }
        size_t length = strlen(texts[i]);
        CLIP_TRY(clip_string_map_add(&set, texts[i], length, i, &entry, error));
        if (entry->value != i) continue;
        if (clip_string_map_find(&u->places, texts[i], length) < 0)
            added[(*count)++] = texts[i];
        else
            u->changes->unchanged++;
    }
    if (blank > 0)
        clip_warn("not indexed: %s of only spaces; the first is text %lld",
                  CLIP_COUNT(blank, "text"), (long long)first);
out:
    clip_string_map_release(&set);
    return status;
}

static clip_status update_texts(struct clip_index_run *u, const char *const *texts, int64_t n,
                                struct clip_error *error)
{
    clip_status status;
    const char **added = NULL;
    float *rows = NULL;
    int64_t count, cut = 0, dim = u->index.dim;
    int64_t step = clip_index_run_rows(u->options, 16 * (int64_t)CLIP_INDEX_SEGMENT);
    const struct clip_texts_options options = {.quiet = true};
    struct clip_progress progress;
    clip_progress_start(&progress, "embedding", "text", 0, 0, u->options->quiet);
    CLIP_NEW(added, n);
    CLIP_TRY(choose_texts(u, texts, n, added, &count, error));
    progress.total = count;
    CLIP_NEW(rows, (step < count ? step : count) * dim);
    for (int64_t i = 0; i < count; i += step) {
        int64_t b = count - i < step ? count - i : step, cut_here = 0;
        if (u->options->stop != NULL && *u->options->stop != 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_INTERRUPTED, "stopped by a signal"));
        CLIP_TRY(clip_texts_embed(u->embedder, added + i, b, &options, rows, &cut_here, error));
        const struct clip_index_rows segment = {.count = b, .rows = rows, .names = added + i};
        CLIP_TRY(clip_index_seal(&u->index, u->folder, &segment, error));
        CLIP_TRY(clip_index_run_commit(u, error));
        cut += cut_here;
        u->changes->added += b;
        u->changes->embedded += b;
        clip_progress_update(&progress, i + b, NULL);
    }
out:
    clip_progress_end(&progress);
    clip_texts_warn_cut(cut, "text");
    free(added);
    free(rows);
    return status;
}

clip_status clip_index_update_texts(const char *path, const struct clip_embedder *embedder,
                                    const char *const *texts, int64_t n,
                                    const struct clip_index_options *options,
                                    struct clip_index_changes *changes, struct clip_error *error)
{
    clip_status status;
    struct clip_index_run u = {
        .path = path, .lock = -1, .embedder = embedder, .options = options, .changes = changes};
    CLIP_TRY(clip_index_run_open(&u, true, error));
    status = update_texts(&u, texts, n, error);
    clip_index_run_finish(&u);
    if (status == CLIP_OK) status = clip_index_run_not_empty(&u, error);
out:
    clip_index_run_close(&u);
    return status;
}
