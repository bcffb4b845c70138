/* A segment of an index is a native HDF5 file that can be mapped (checkpoints/bundle.h). It holds
 *
 *   rows    [n,E]  F32, BF16, or U8 (int8 in two's complement)
 *   scales  [n]    F32, if rows are int8: row i is rows[i] * scales[i]
 *   exact   [n,E]  F32, if rows are not F32 and the index keeps these too
 *   names   [bytes] U8: UTF-8, with a NUL behind each name
 *   sizes, times, hashes [n] I64, only of images: the file's bytes, its time in nanoseconds, XXH64
 *
 * and the texts "format" ("clip.c segment 1") and "model_checksum". */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/threads.h"
#include "kernels/bf16.h"
#include "search/index.h"

static const char FORMAT[] = "clip.c segment 1";

static void release_segment(struct clip_index_segment *s)
{
    free(s->file);
    free(s->names);
    free(s->removed);
    clip_bundle_release(&s->bundle);
    *s = (struct clip_index_segment){0};
}

/* ---- rows ---- */

enum { BLOCK = 64 }; /* rows that one thread converts at once */

struct narrowing {
    const float *rows;
    int64_t count, dim;
    enum clip_index_precision precision;
    void *out;
    float *scales;
};

static float narrow_int8(int8_t *out, const float *row, int64_t dim)
{
    float most = 0;
    for (int64_t d = 0; d < dim; d++) most = fmaxf(most, fabsf(row[d]));
    float scale = most / 127;
    for (int64_t d = 0; d < dim; d++) out[d] = (int8_t)(scale > 0 ? lrintf(row[d] / scale) : 0);
    return scale;
}

static void narrow_block(void *context, int64_t block)
{
    const struct narrowing *n = context;
    int64_t end = (block + 1) * BLOCK < n->count ? (block + 1) * BLOCK : n->count;
    for (int64_t i = block * BLOCK; i < end; i++) {
        const float *row = n->rows + i * n->dim;
        if (n->precision == CLIP_INDEX_INT8)
            n->scales[i] = narrow_int8((int8_t *)n->out + i * n->dim, row, n->dim);
        else
            for (int64_t d = 0; d < n->dim; d++)
                ((uint16_t *)n->out)[i * n->dim + d] = clip_bf16_round(row[d]);
    }
}

void clip_index_row(const struct clip_index *index, int64_t number, float *out)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, number);
    int64_t at = (number - s->first) * index->dim;
    const float *exact = index->precision == CLIP_INDEX_F32 ? s->rows : s->exact;
    if (exact != NULL) {
        memcpy(out, exact + at, (size_t)index->dim * sizeof *out);
        return;
    }
    for (int64_t d = 0; d < index->dim; d++)
        out[d] = index->precision == CLIP_INDEX_BF16
                     ? clip_bf16_widen(((const uint16_t *)s->rows)[at + d])
                     : s->scales[number - s->first] * (float)((const int8_t *)s->rows)[at + d];
}

/* ---- making ---- */

static clip_status add_tensor(struct clip_bundle *bundle, const char *name, enum clip_dtype dtype,
                              const void *data, int64_t rows, int64_t width,
                              struct clip_error *error)
{
    const int64_t shape[] = {rows, width};
    const struct clip_tensor tensor =
        clip_tensor_view(dtype, (void *)(uintptr_t)data, width > 0 ? 2 : 1, shape);
    return clip_bundle_add(bundle, name, &tensor, error);
}

/* Adds the segment's tensors to the bundle. `room` holds what is made here, and must live as long
 * as the bundle. */
static clip_status make_tensors(struct clip_bundle *bundle, struct clip_arena *room,
                                const struct clip_index *index, const struct clip_index_rows *r,
                                struct clip_error *error)
{
    clip_status status;
    static const enum clip_dtype dtypes[] = {CLIP_F32, CLIP_BF16, CLIP_U8};
    enum clip_dtype dtype = dtypes[index->precision];
    int64_t n = r->count, dim = index->dim, elements, bytes = 0;
    struct narrowing narrowing = {r->rows, n, dim, index->precision, NULL, NULL};
    if (!clip_mul_i64(n, dim, &elements)) elements = -1;
    if (index->precision != CLIP_INDEX_F32) {
        narrowing.out = clip_arena_alloc(room, elements, clip_dtype_size(dtype), error);
        narrowing.scales = clip_arena_alloc(room, n, sizeof *narrowing.scales, error);
        if (narrowing.out == NULL || narrowing.scales == NULL) return CLIP_ERR_MEMORY;
        clip_parallel_for((n + BLOCK - 1) / BLOCK, narrow_block, &narrowing);
        if (index->keeps_exact)
            CLIP_TRY(add_tensor(bundle, "exact", CLIP_F32, r->rows, n, dim, error));
    }
    const void *rows = narrowing.out != NULL ? narrowing.out : r->rows;
    CLIP_TRY(add_tensor(bundle, "rows", dtype, rows, n, dim, error));
    if (index->precision == CLIP_INDEX_INT8)
        CLIP_TRY(add_tensor(bundle, "scales", CLIP_F32, narrowing.scales, n, 0, error));
    for (int64_t i = 0; i < n; i++) bytes += (int64_t)strlen(r->names[i]) + 1;
    char *names = clip_arena_alloc(room, bytes, 1, error), *end = names;
    if (names == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < n; i++) end = stpcpy(end, r->names[i]) + 1;
    CLIP_TRY(add_tensor(bundle, "names", CLIP_U8, names, bytes, 0, error));
    if (r->sizes != NULL) {
        CLIP_TRY(add_tensor(bundle, "sizes", CLIP_I64, r->sizes, n, 0, error));
        CLIP_TRY(add_tensor(bundle, "times", CLIP_I64, r->times, n, 0, error));
        CLIP_TRY(add_tensor(bundle, "hashes", CLIP_I64, r->hashes, n, 0, error));
    }
out:
    return status;
}

/* ---- opening ---- */

static clip_status damaged(struct clip_error *error, const char *path, const char *what)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: its \"%s\" is not what this index's segments hold; the index was damaged "
                     "or its files were mixed up: make it anew",
                     path, what);
}

/* *out = the data of a tensor of that type and of shape [n,dim], or [n] where dim is 0. */
static clip_status take_tensor(const struct clip_index_segment *s, const char *path,
                               const char *name, enum clip_dtype dtype, int64_t dim,
                               const void **out, struct clip_error *error)
{
    const struct clip_tensor *t = clip_bundle_find(&s->bundle, name);
    if (t == NULL || t->dtype != dtype || t->ndim != (dim > 0 ? 2 : 1) || t->shape[0] != s->count ||
        (dim > 0 && t->shape[1] != dim))
        return damaged(error, path, name);
    *out = t->data;
    return CLIP_OK;
}

static clip_status take_names(struct clip_index_segment *s, const char *path,
                              struct clip_error *error)
{
    const struct clip_tensor *t = clip_bundle_find(&s->bundle, "names");
    if (t == NULL || t->dtype != CLIP_U8 || t->ndim != 1) return damaged(error, path, "names");
    const char *at = t->data, *end = at + t->shape[0];
    s->names = clip_array_new(s->count, sizeof *s->names, error);
    if (s->names == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < s->count; i++) {
        const char *stop = at < end ? memchr(at, '\0', (size_t)(end - at)) : NULL;
        if (stop == NULL) return damaged(error, path, "names");
        s->names[i] = at;
        at = stop + 1;
    }
    return at == end ? CLIP_OK : damaged(error, path, "names");
}

/* Checks the bundle's tensors and points the segment to them. */
static clip_status take_bundle(const struct clip_index *index, struct clip_index_segment *s,
                               const char *path, struct clip_error *error)
{
    clip_status status;
    static const enum clip_dtype dtypes[] = {CLIP_F32, CLIP_BF16, CLIP_U8};
    static const char *const of_files[] = {"sizes", "times",
                                           "hashes"}; /* segments of texts have none of them */
    const void *scales = NULL, *exact = NULL, *files[3] = {NULL};
    bool images = !index->texts && clip_bundle_find(&s->bundle, "hashes") != NULL;
    CLIP_TRY(take_tensor(s, path, "rows", dtypes[index->precision], index->dim, &s->rows, error));
    if (index->precision == CLIP_INDEX_INT8)
        CLIP_TRY(take_tensor(s, path, "scales", CLIP_F32, 0, &scales, error));
    if (index->keeps_exact)
        CLIP_TRY(take_tensor(s, path, "exact", CLIP_F32, index->dim, &exact, error));
    for (int k = 0; k < 3; k++)
        if (images || clip_bundle_find(&s->bundle, of_files[k]) != NULL)
            CLIP_TRY(take_tensor(s, path, of_files[k], CLIP_I64, 0, &files[k], error));
    s->scales = scales;
    s->exact = exact;
    s->sizes = files[0];
    s->times = files[1];
    s->hashes = files[2];
    CLIP_TRY(take_names(s, path, error));
out:
    return status;
}

clip_status clip_index_segment_open(const struct clip_index *index, struct clip_index_segment *s,
                                    const char *folder, bool trusted, struct clip_error *error)
{
    clip_status status;
    struct stat info;
    char *path = clip_path_join(folder, s->file, error);
    if (path == NULL) return CLIP_ERR_MEMORY;
    if (trusted && (stat(path, &info) != 0 || info.st_size != s->bytes ||
                    (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec != s->time))
        trusted = false;
    CLIP_TRY(clip_hdf5_map(path, trusted, &s->bundle, error));
    const struct clip_bundle_text *format = clip_bundle_text(&s->bundle, "format");
    const struct clip_bundle_text *model = clip_bundle_text(&s->bundle, "model_checksum");
    if (format == NULL || strcmp(format->value, FORMAT) != 0)
        CLIP_TRY(damaged(error, path, "format"));
    if (model == NULL || strcmp(model->value, index->model_checksum) != 0)
        CLIP_TRY(damaged(error, path, "model_checksum"));
    CLIP_TRY(take_bundle(index, s, path, error));
    if (!index->texts && s->hashes == NULL) CLIP_TRY(damaged(error, path, "hashes"));
out:
    free(path);
    return status;
}

/* ---- adding ---- */

/* Begins a segment at the end of the index. It has no data yet, and the index counts it when it
 * has. */
static clip_status begin_segment(struct clip_index *index, int64_t count,
                                 struct clip_index_segment **out, struct clip_error *error)
{
    clip_status status = clip_array_grow(&index->segments, &index->segment_capacity,
                                         index->segment_count + 1, sizeof *index->segments, error);
    if (status != CLIP_OK) return status;
    *out = &index->segments[index->segment_count];
    **out = (struct clip_index_segment){.first = index->count, .count = count};
    (*out)->removed = clip_array_new(count, sizeof *(*out)->removed, error);
    return (*out)->removed != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

static void end_segment(struct clip_index *index, struct clip_index_segment *s, clip_status status)
{
    if (status != CLIP_OK) {
        release_segment(s);
        return;
    }
    index->segment_count++;
    index->count += s->count;
    index->live += s->count;
}

/* Replaces the data of the bundle's tensors by copies that the bundle owns. */
static clip_status keep_data(struct clip_bundle *bundle, struct clip_error *error)
{
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        struct clip_tensor *t = &bundle->tensors[i].tensor;
        int64_t bytes = clip_tensor_count(t) * (int64_t)clip_dtype_size(t->dtype);
        void *copy = clip_arena_alloc(&bundle->arena, bytes, 1, error);
        if (copy == NULL) return CLIP_ERR_MEMORY;
        memcpy(copy, t->data, (size_t)bytes);
        t->data = copy;
    }
    return CLIP_OK;
}

clip_status clip_index_add(struct clip_index *index, const struct clip_index_rows *rows,
                           struct clip_error *error)
{
    clip_status status;
    struct clip_index_segment *s = NULL;
    struct clip_arena room = {0};
    CLIP_TRY(begin_segment(index, rows->count, &s, error));
    CLIP_TRY(make_tensors(&s->bundle, &room, index, rows, error));
    CLIP_TRY(keep_data(&s->bundle, error));
    CLIP_TRY(take_bundle(index, s, "the new rows", error));
out:
    clip_arena_release(&room);
    if (s != NULL) end_segment(index, s, status);
    return status;
}

static clip_status write_segment(const struct clip_index *index, const char *path,
                                 const struct clip_index_rows *rows, struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    struct clip_arena room = {0};
    CLIP_TRY(make_tensors(&bundle, &room, index, rows, error));
    CLIP_TRY(clip_bundle_add_text(&bundle, "format", FORMAT, strlen(FORMAT), error));
    CLIP_TRY(clip_bundle_add_text(&bundle, "model_checksum", index->model_checksum,
                                  strlen(index->model_checksum), error));
    CLIP_TRY(clip_hdf5_write_mapped(path, &bundle, error));
out:
    clip_bundle_release(&bundle);
    clip_arena_release(&room);
    return status;
}

clip_status clip_index_seal(struct clip_index *index, const char *folder,
                            const struct clip_index_rows *rows, struct clip_error *error)
{
    clip_status status;
    struct clip_index_segment *s = NULL;
    struct clip_buffer name = {0};
    struct stat info;
    char *path = NULL;
    CLIP_TRY(begin_segment(index, rows->count, &s, error));
    CLIP_TRY(clip_buffer_printf(&name, error, "seg_%06lld.h5", (long long)index->next_segment));
    s->file = clip_string_copy(name.data, error);
    path = clip_path_join(folder, name.data, error);
    if (s->file == NULL || path == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(write_segment(index, path, rows, error));
    if (stat(path, &info) != 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_IO, "%s was written and is gone; try again", path));
    s->bytes = info.st_size;
    s->time = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    CLIP_TRY(clip_index_segment_open(index, s, folder, true, error));
    index->next_segment++;
out:
    if (s != NULL) end_segment(index, s, status);
    clip_buffer_release(&name);
    free(path);
    return status;
}

/* ---- the segments of an index ---- */

void clip_index_release(struct clip_index *index)
{
    for (int64_t i = 0; i < index->segment_count; i++) release_segment(&index->segments[i]);
    free(index->segments);
    free(index->model);
    free(index->model_checksum);
    free(index->base);
    clip_arena_release(&index->arena);
    *index = (struct clip_index){0};
}

const struct clip_index_segment *clip_index_segment_of(const struct clip_index *index,
                                                       int64_t number)
{
    int64_t low = 0, high = index->segment_count - 1;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (index->segments[middle].first <= number)
            low = middle;
        else
            high = middle - 1;
    }
    return &index->segments[low];
}

const char *clip_index_name(const struct clip_index *index, int64_t number)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, number);
    return s->names[number - s->first];
}

int64_t clip_index_time(const struct clip_index *index, int64_t number)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, number);
    return s->times[number - s->first];
}

bool clip_index_is_removed(const struct clip_index *index, int64_t number)
{
    const struct clip_index_segment *s = clip_index_segment_of(index, number);
    return s->removed[number - s->first];
}
