/* Writes an index again: in few segments, without removed rows, perhaps in another precision. */
#include <stdlib.h>

#include "core/file.h"
#include "search/index_run.h"
#include "search/index_update.h"

struct gathering { /* the rows of an index that are not removed, copied piece by piece */
    float *rows;
    const char **names;
    int64_t *sizes, *times, *hashes;
    int64_t count;
};

static void gather_row(struct gathering *g, const struct clip_index *index, int64_t row)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, row);
    int64_t i = row - s->first;
    clip_index_row(index, row, g->rows + g->count * index->dim);
    g->names[g->count] = s->names[i];
    if (s->hashes != NULL) {
        g->sizes[g->count] = s->sizes[i];
        g->times[g->count] = s->times[i];
        g->hashes[g->count] = s->hashes[i];
    }
    g->count++;
}

static clip_status seal_gathered(struct clip_index_run *u, struct gathering *g,
                                 struct clip_error *error)
{
    bool texts = u->index.texts;
    const struct clip_index_rows rows = {g->count,
                                         g->rows,
                                         g->names,
                                         texts ? NULL : g->sizes,
                                         texts ? NULL : g->times,
                                         texts ? NULL : g->hashes};
    g->count = 0;
    return rows.count > 0 ? clip_index_seal(&u->index, u->folder, &rows, error) : CLIP_OK;
}

/* Fills u->index, which is empty, with the rows of `from` that are not removed. */
static clip_status copy_live(struct clip_index_run *u, const struct clip_index *from,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct gathering g = {0};
    int64_t step = clip_index_run_rows(u->options, CLIP_INDEX_COMPACT_SEGMENT), floats;
    if (step > from->live) step = from->live > 0 ? from->live : 1;
    if (!clip_mul_i64(step, from->dim, &floats)) floats = -1;
    CLIP_NEW(g.rows, floats);
    CLIP_NEW(g.names, step);
    CLIP_NEW(g.sizes, step);
    CLIP_NEW(g.times, step);
    CLIP_NEW(g.hashes, step);
    for (int64_t row = 0; row < from->count; row++) {
        if (clip_index_is_removed(from, row)) continue;
        gather_row(&g, from, row);
        if (g.count == step) CLIP_TRY(seal_gathered(u, &g, error));
    }
    CLIP_TRY(seal_gathered(u, &g, error));
out:
    free(g.rows);
    free(g.names);
    free(g.sizes);
    free(g.times);
    free(g.hashes);
    return status;
}

/* Makes u->index an empty index with the description of `from` and the wanted precision. */
static clip_status start_copy(struct clip_index_run *u, const struct clip_index *from,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_index *index = &u->index;
    bool had_exact = from->precision == CLIP_INDEX_F32 || from->keeps_exact;
    *index = (struct clip_index){.texts = from->texts,
                                 .upright = from->upright,
                                 .raw = from->raw,
                                 .precision = from->precision,
                                 .dim = from->dim,
                                 .next_segment = from->next_segment};
    if (u->options->precision != NULL)
        CLIP_TRY(clip_index_precision_from(u->options->precision, &index->precision, error));
    if (!had_exact && index->precision != from->precision)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s keeps no f32 rows, so its precision cannot be changed; make the "
                           "index anew",
                           u->path));
    index->keeps_exact = index->precision != CLIP_INDEX_F32 && had_exact && !u->options->drop_exact;
    index->model = clip_string_copy(from->model, error);
    index->model_checksum = clip_string_copy(from->model_checksum, error);
    index->base = clip_string_copy(from->base, error);
    if (index->model == NULL || index->model_checksum == NULL || index->base == NULL)
        status = CLIP_ERR_MEMORY;
out:
    return status;
}

clip_status clip_index_compact(const char *path, const struct clip_index_options *options,
                               struct clip_index_changes *changes, struct clip_error *error)
{
    clip_status status;
    struct clip_index from = {0};
    struct clip_index_run u = {
        .path = path, .lock = -1, .options = options, .changes = changes, .is_new = true};
    *changes = (struct clip_index_changes){0};
    CLIP_TRY(clip_path_exists(path)
                 ? CLIP_OK
                 : clip_fail(error, CLIP_ERR_NOT_FOUND,
                             "%s: there is no such index; check the path", path));
    CLIP_TRY(clip_index_run_lock(&u, error));
    CLIP_TRY(clip_index_open(&from, path, error));
    CLIP_TRY(start_copy(&u, &from, error));
    CLIP_TRY(copy_live(&u, &from, error));
    CLIP_TRY(clip_index_run_commit(&u, error));
    changes->removed = from.count - from.live;
    clip_index_run_finish(&u);
out:
    clip_index_release(&from);
    clip_index_run_close(&u);
    return status;
}
