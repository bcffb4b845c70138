#include "search/index_run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "formats/model_file.h"
#include "search/index_place.h"

int64_t clip_index_run_content(const struct clip_index_run *u, int64_t hash)
{
    return clip_int_map_find(&u->contents, (uint64_t)hash);
}

/* ---- opening and closing ---- */

clip_status clip_index_run_note(struct clip_index_run *u, int64_t first, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_string_entry *entry;
    struct clip_buffer place = {0};
    for (int64_t k = 0; k < u->index.segment_count; k++) {
        const struct clip_index_segment *s = &u->index.segments[k];
        if (s->first < first) continue;
        for (int64_t i = 0; i < s->count; i++) {
            int64_t row = s->first + i;
            if (s->hashes != NULL)
                CLIP_TRY(clip_int_map_put(&u->contents, (uint64_t)s->hashes[i], row, error));
            if (s->removed[i]) continue;
            const char *key = s->names[i];
            if (!u->index.texts) {
                CLIP_TRY(clip_index_place(&place, u->index.base, s->names[i], error));
                key = place.data;
            }
            CLIP_TRY(clip_string_map_add(&u->places, key, strlen(key), row, &entry, error));
            if (entry->value == row || first > 0) continue;
            if (strcmp(clip_index_name(&u->index, entry->value), s->names[i]) == 0)
                CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                                   "%s holds \"%s\" twice; the index was damaged: make it anew",
                                   u->path, s->names[i]));
            clip_index_mark_removed(&u->index, row); /* the same image, spelled otherwise */
            u->changes->removed++;
            u->folded = true;
        }
    }
out:
    clip_buffer_release(&place);
    return status;
}

static bool is_listed(const struct clip_index *index, const char *file)
{
    for (int64_t i = 0; i < index->segment_count; i++)
        if (strcmp(index->segments[i].file, file) == 0) return true;
    return false;
}

/* Removes each file of the folder whose name begins with `start` and that the list, if there is
 * one, does not name. A file that cannot be removed stays, which does no harm. */
static clip_status sweep_folder(const char *folder, const char *start,
                                const struct clip_index *list, struct clip_error *error)
{
    struct clip_names names;
    clip_status status = clip_folder_list(folder, &names, error);
    if (status != CLIP_OK) return status;
    for (int64_t i = 0; i < names.count; i++) {
        if (strncmp(names.names[i], start, strlen(start)) != 0) continue;
        if (list != NULL && is_listed(list, names.names[i])) continue;
        char *path = clip_path_join(folder, names.names[i], error);
        if (path != NULL) unlink(path);
        free(path);
    }
    clip_names_release(&names);
    return CLIP_OK;
}

/* Removes what a killed run has left: segments that the list does not name, and temporary files. */
static clip_status sweep(const struct clip_index_run *u, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer start = {0};
    char *beside = clip_path_folder(u->path, error);
    if (beside == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(sweep_folder(u->folder, "seg_", &u->index, error));
    CLIP_TRY(sweep_folder(u->folder, ".seg_", NULL, error));
    CLIP_TRY(clip_buffer_printf(&start, error, ".%.200s.tmp-", clip_path_name(u->path)));
    CLIP_TRY(sweep_folder(beside, start.data, NULL, error));
out:
    clip_buffer_release(&start);
    free(beside);
    return status;
}

void clip_index_run_close(struct clip_index_run *u)
{
    clip_index_release(&u->index);
    clip_string_map_release(&u->places);
    clip_int_map_release(&u->contents);
    free(u->folder);
    clip_lock_release(&u->lock);
}

/* Makes an empty index for rows of this embedder. Segments are numbered from `next` on, so that no
 * name is used twice. */
static clip_status start_index(struct clip_index_run *u, bool texts, int64_t next,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_index *index = &u->index;
    const char *source = clip_embedder_source(u->embedder);
    char *absolute = realpath(source, NULL), *here = getcwd(NULL, 0);
    clip_index_release(index);
    *index = (struct clip_index){.texts = texts,
                                 .dim = clip_embedder_dim(u->embedder),
                                 .next_segment = next,
                                 .upright = !texts && clip_embedder_upright(u->embedder),
                                 .raw = clip_embedder_raw_weights(u->embedder)};
    if (u->options->precision != NULL)
        CLIP_TRY(clip_index_precision_from(u->options->precision, &index->precision, error));
    index->keeps_exact = index->precision != CLIP_INDEX_F32 && !u->options->drop_exact;
    index->model = clip_string_copy(absolute != NULL ? absolute : source, error);
    index->model_checksum = clip_string_copy(clip_embedder_checksum(u->embedder), error);
    index->base = clip_string_copy(here != NULL ? here : ".", error);
    if (index->model == NULL || index->model_checksum == NULL || index->base == NULL)
        status = CLIP_ERR_MEMORY;
    u->is_new = true;
out:
    free(absolute);
    free(here);
    return status;
}

/* CLIP_ERR_DATA if the rows of this run do not fit the index that is there. */
static clip_status check_fits(const struct clip_index_run *u, bool texts, struct clip_error *error)
{
    const char *wanted = u->options->precision;
    const char *has = clip_index_precision_name(u->index.precision);
    if (u->index.texts != texts)
        return clip_fail(error, CLIP_ERR_DATA, "%s is an index of %s; choose another --output",
                         u->path, u->index.texts ? "texts" : "images");
    if (wanted != NULL && strcmp(wanted, has) != 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s holds %s rows, not %s; clip_search compact changes them, and index "
                         "--force starts over",
                         u->path, has, wanted);
    if (!texts && u->index.upright != clip_embedder_upright(u->embedder))
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s holds images %s; leave %s out, or start over with index --force",
                         u->path, u->index.upright ? "turned upright" : "as they are stored",
                         u->index.upright ? "--as-stored" : "--upright");
    return clip_index_check(&u->index, u->embedder, u->path, error);
}

clip_status clip_index_run_lock(struct clip_index_run *u, struct clip_error *error)
{
    clip_status status;
    char *beside = clip_path_folder(u->path, error);
    u->lock = -1;
    u->folder = clip_index_folder(u->path, error);
    if (u->folder == NULL || beside == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    if (!clip_path_is_folder(beside))
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s: there is no folder %s; make it or give another path", u->path,
                           beside));
    CLIP_TRY(clip_folder_create(u->folder, error));
    CLIP_TRY(clip_lock_acquire(u->folder, "lock", &u->lock, error));
out:
    free(beside);
    return status;
}

clip_status clip_index_run_open(struct clip_index_run *u, bool texts, struct clip_error *error)
{
    clip_status status;
    *u->changes = (struct clip_index_changes){0};
    CLIP_TRY(clip_index_run_lock(u, error));
    u->places.borrows = texts;
    if (!clip_path_exists(u->path)) {
        CLIP_TRY(start_index(u, texts, 1, error));
    } else {
        CLIP_TRY(clip_index_open(&u->index, u->path, error));
        status = check_fits(u, texts, error);
        if (status != CLIP_OK && !u->options->force) goto out;
        if (status != CLIP_OK) CLIP_TRY(start_index(u, texts, u->index.next_segment, error));
    }
    if (!u->is_new) CLIP_TRY(sweep(u, error));
    CLIP_TRY(clip_index_run_note(u, 0, error));
out:
    return status;
}

/* If the index was started over, its old segments belong to no list from here on, and are
 * removed. */
clip_status clip_index_run_commit(struct clip_index_run *u, struct clip_error *error)
{
    clip_status status = clip_index_list_write(&u->index, u->path, error);
    if (status == CLIP_OK && u->is_new) status = sweep(u, error);
    u->is_new = false;
    return status;
}

void clip_index_mark_removed(struct clip_index *index, int64_t row)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, row);
    index->live -= !s->removed[row - s->first];
    s->removed[row - s->first] = true;
}

void clip_index_run_finish(struct clip_index_run *u)
{
    u->changes->count = u->index.live;
    u->changes->segments = u->index.segment_count;
}

int64_t clip_index_run_rows(const struct clip_index_options *options, int64_t usual)
{
    return options->segment_rows > 0 ? options->segment_rows : usual;
}

clip_status clip_index_run_not_empty(const struct clip_index_run *u, struct clip_error *error)
{
    if (u->index.count > 0 || !u->is_new) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "there is nothing that can be read, so no index is written");
}
