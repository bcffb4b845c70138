#include "eval/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "core/progress.h"
#include "core/threads.h"
#include "eval/embeddings.h"
#include "eval/model_file.h"
#include "eval/texts.h"
#include "kernels/kernels.h"

static const char FORMAT[] = "clip.c index 1";

void clip_index_release(struct clip_index *index)
{
    free(index->rows);
    free(index->names);
    free(index->model);
    free(index->model_checksum);
    clip_name_set_release(&index->set);
    clip_arena_release(&index->arena);
    *index = (struct clip_index){0};
}

clip_status clip_index_start(struct clip_index *out, const struct clip_embedder *embedder,
                             bool texts, struct clip_error *error)
{
    const struct clip_model_file *file = clip_embedder_file(embedder);
    *out = (struct clip_index){.texts = texts, .dim = clip_embedder_dim(embedder)};
    const char *source = clip_embedder_source(embedder);
    char *absolute = realpath(source, NULL);
    out->model = clip_string_copy(absolute != NULL ? absolute : source, error);
    free(absolute);
    out->model_checksum = clip_string_copy(file->checksum, error);
    if (out->model != NULL && out->model_checksum != NULL) return CLIP_OK;
    clip_index_release(out);
    return CLIP_ERR_MEMORY;
}

bool clip_index_has(const struct clip_index *index, const char *name)
{
    return clip_name_set_find(&index->set, name) >= 0;
}

clip_status clip_index_add(struct clip_index *index, const char *name, const float *row,
                           struct clip_error *error)
{
    clip_status status;
    int64_t found, floats;
    if (clip_index_has(index, name)) return CLIP_OK;
    if (!clip_mul_i64(index->count + 1, index->dim, &floats))
        return clip_fail(error, CLIP_ERR_MEMORY, "the index is too large");
    CLIP_TRY(clip_array_grow(&index->rows, &index->row_capacity, floats, sizeof *index->rows,
                             error));
    CLIP_TRY(clip_array_grow(&index->names, &index->name_capacity, index->count + 1,
                             sizeof *index->names, error));
    const char *copy = clip_arena_string(&index->arena, name, strlen(name), error);
    if (copy == NULL) return CLIP_ERR_MEMORY;
    CLIP_TRY(clip_name_set_add(&index->set, copy, index->count, &found, error));
    memcpy(index->rows + index->count * index->dim, row, (size_t)index->dim * sizeof *row);
    index->names[index->count++] = copy;
out:
    return status;
}

clip_status clip_index_check(const struct clip_index *index, const struct clip_embedder *embedder,
                             const char *path, struct clip_error *error)
{
    const struct clip_model_file *file = clip_embedder_file(embedder);
    if (clip_embedder_dim(embedder) == index->dim &&
        strcmp(file->checksum, index->model_checksum) == 0)
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s was made with other weights (%s) than those of %s now; use that model, or "
                     "make the index anew under another name",
                     path, index->model, clip_embedder_source(embedder));
}

/* Room for the rows of `fresh` pictures or texts: *rows [fresh, dim]. */
static clip_status new_rows(const struct clip_index *index, int64_t fresh, float **rows,
                            struct clip_error *error)
{
    int64_t floats;
    if (!clip_mul_i64(fresh, index->dim, &floats)) floats = -1;
    *rows = clip_array_new(floats, sizeof **rows, error);
    return *rows != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

clip_status clip_index_add_pictures(struct clip_index *index, const struct clip_embedder *embedder,
                                    const struct clip_pictures *pictures, bool quiet,
                                    int64_t *added, int64_t *bad, struct clip_error *error)
{
    clip_status status;
    int64_t *first = NULL, *which = NULL, fresh = 0, before = index->count;
    float *rows = NULL;
    bool *good = NULL;
    CLIP_NEW(first, pictures->count);
    CLIP_NEW(which, pictures->count);
    CLIP_NEW(good, pictures->count);
    CLIP_TRY(clip_pictures_unique(pictures, first, error));
    for (int64_t i = 0; i < pictures->count; i++)
        if (first[i] == i && !clip_index_has(index, clip_pictures_name(pictures, i)))
            which[fresh++] = i;
    CLIP_TRY(new_rows(index, fresh, &rows, error));
    CLIP_TRY(clip_pictures_embed(pictures, embedder, which, fresh, CLIP_UNIT, quiet, rows, good,
                                 bad, error));
    for (int64_t k = 0; k < fresh; k++)
        if (good[k])
            CLIP_TRY(clip_index_add(index, clip_pictures_name(pictures, which[k]),
                                    rows + k * index->dim, error));
    *added = index->count - before;
out:
    free(first);
    free(which);
    free(good);
    free(rows);
    return status;
}

clip_status clip_index_add_texts(struct clip_index *index, const struct clip_embedder *embedder,
                                 const char *const *texts, int64_t n, bool quiet, int64_t *added,
                                 struct clip_error *error)
{
    clip_status status;
    struct clip_name_set set = {0};
    const char **fresh = NULL;
    float *rows = NULL;
    int64_t count = 0, found, cut = 0, before = index->count;
    CLIP_NEW(fresh, n);
    for (int64_t i = 0; i < n; i++) {
        if (texts[i][0] == '\0' || clip_index_has(index, texts[i])) continue;
        CLIP_TRY(clip_name_set_add(&set, texts[i], i, &found, error));
        if (found == i) fresh[count++] = texts[i];
    }
    CLIP_TRY(new_rows(index, count, &rows, error));
    CLIP_TRY(clip_texts_embed(embedder, fresh, count, CLIP_UNIT, quiet, rows, &cut, error));
    if (cut > 0) clip_warn("%lld texts were longer than the context and were cut", (long long)cut);
    for (int64_t k = 0; k < count; k++)
        CLIP_TRY(clip_index_add(index, fresh[k], rows + k * index->dim, error));
    *added = index->count - before;
out:
    clip_name_set_release(&set);
    free(fresh);
    free(rows);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------ */

static clip_status add_text(struct clip_bundle *bundle, const char *key, const char *value,
                            struct clip_error *error)
{
    return clip_bundle_add_text(bundle, key, value, strlen(value), error);
}

clip_status clip_index_write(const struct clip_index *index, const char *path,
                             struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    struct clip_buffer names = {0};
    const struct clip_tensor rows = clip_tensor_f32(index->rows, index->count, index->dim);
    CLIP_TRY(clip_names_to_json(index->names, index->count, &names, error));
    CLIP_TRY(clip_bundle_add(&bundle, "embeddings", &rows, error));
    CLIP_TRY(add_text(&bundle, "format", FORMAT, error));
    CLIP_TRY(add_text(&bundle, "kind", index->texts ? "texts" : "images", error));
    CLIP_TRY(add_text(&bundle, "model", index->model, error));
    CLIP_TRY(add_text(&bundle, "model_checksum", index->model_checksum, error));
    CLIP_TRY(clip_bundle_add_text(&bundle, "names", names.data, names.size, error));
    CLIP_TRY(clip_hdf5_write(path, &bundle, error));
out:
    clip_bundle_release(&bundle);
    clip_buffer_release(&names);
    return status;
}

static clip_status need_text(const struct clip_bundle *bundle, const char *path, const char *key,
                             const struct clip_bundle_text **out, struct clip_error *error)
{
    *out = clip_bundle_text(bundle, key);
    if (*out != NULL) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s is no index: it has no \"%s\"; make one with clip_search index", path,
                     key);
}

static clip_status take_bundle(struct clip_index *out, const struct clip_bundle *bundle,
                               const char *path, struct clip_error *error)
{
    clip_status status;
    const struct clip_bundle_text *format, *kind, *model, *checksum, *names;
    const struct clip_tensor *rows = clip_bundle_find(bundle, "embeddings");
    struct clip_arena arena = {0};
    const char **list = NULL;
    int64_t count = 0;
    CLIP_TRY(need_text(bundle, path, "format", &format, error));
    CLIP_TRY(need_text(bundle, path, "kind", &kind, error));
    CLIP_TRY(need_text(bundle, path, "model", &model, error));
    CLIP_TRY(need_text(bundle, path, "model_checksum", &checksum, error));
    CLIP_TRY(need_text(bundle, path, "names", &names, error));
    if (strcmp(format->value, FORMAT) != 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: its format is \"%.100s\"; this program reads \"%s\"", path,
                           format->value, FORMAT));
    if (rows == NULL || rows->dtype != CLIP_F32 || rows->ndim != 2 || rows->shape[1] < 1)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: it has no F32 matrix \"embeddings\"",
                           path));
    CLIP_TRY(clip_names_from_json(names->value, names->size, path, &arena, &list, &count, error));
    if (count != rows->shape[0])
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: %lld names for %lld embeddings", path,
                           (long long)count, (long long)rows->shape[0]));
    out->texts = strcmp(kind->value, "texts") == 0;
    out->dim = rows->shape[1];
    out->model = clip_string_copy(model->value, error);
    out->model_checksum = clip_string_copy(checksum->value, error);
    if (out->model == NULL || out->model_checksum == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (int64_t i = 0; i < count; i++)
        CLIP_TRY(clip_index_add(out, list[i], (const float *)rows->data + i * out->dim, error));
out:
    clip_arena_release(&arena);
    return status;
}

clip_status clip_index_read(struct clip_index *out, const char *path, struct clip_error *error)
{
    struct clip_bundle bundle = {0};
    *out = (struct clip_index){0};
    clip_status status = clip_hdf5_read(path, NULL, &bundle, error);
    if (status != CLIP_OK) return status;
    status = take_bundle(out, &bundle, path, error);
    clip_bundle_release(&bundle);
    if (status != CLIP_OK) clip_index_release(out);
    return status;
}

/* ---- search -------------------------------------------------------------------------------- */

clip_status clip_query_split(const char *given, char **word, double *weight,
                             struct clip_error *error)
{
    const char *mark = NULL;
    for (const char *at = strstr(given, "::"); at != NULL; at = strstr(at + 1, "::")) mark = at;
    char *end = NULL;
    double value = mark != NULL ? strtod(mark + 2, &end) : 1;
    bool weighted = mark != NULL && end != mark + 2 && *end == '\0' && fabs(value) <= 1e6;
    *weight = weighted ? value : 1;
    *word = clip_string_copy_n(given, weighted ? (size_t)(mark - given) : strlen(given), error);
    return *word != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

clip_status clip_query_combine(const float *rows, const double *weights, int64_t n, int64_t dim,
                               float *out, struct clip_error *error)
{
    double squares = 0;
    for (int64_t d = 0; d < dim; d++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += weights[i] * (double)rows[i * dim + d];
        out[d] = (float)sum;
        squares += sum * sum;
    }
    if (!(sqrt(squares) > 1e-6))
        return clip_fail(error, CLIP_ERR_DATA,
                         "the queries cancel each other out; ask for something else or change a "
                         "weight");
    clip_rows_normalise(out, 1, dim);
    return CLIP_OK;
}

enum { BLOCK = 1024 }; /* rows that one thread takes at once */

struct scoring {
    const struct clip_index *index;
    const float *query;
    float *scores; /* [count] */
};

static void score_block(void *context, int64_t block)
{
    const struct scoring *s = context;
    int64_t dim = s->index->dim, end = (block + 1) * BLOCK;
    if (end > s->index->count) end = s->index->count;
    for (int64_t i = block * BLOCK; i < end; i++)
        s->scores[i] = clip_kernels()->dot(s->index->rows + i * dim, s->query, dim);
}

static bool is_better(const struct clip_hit *a, const struct clip_hit *b)
{
    return a->score > b->score || (a->score == b->score && a->number < b->number);
}

/* Lets heap[i] sink to its place: a parent is never better than its children, so the worst of the
 * best is on top. */
static void sink(struct clip_hit *heap, int64_t n, int64_t i)
{
    struct clip_hit moved = heap[i];
    for (int64_t child = 2 * i + 1; child < n; i = child, child = 2 * i + 1) {
        if (child + 1 < n && is_better(&heap[child], &heap[child + 1])) child++;
        if (!is_better(&moved, &heap[child])) break;
        heap[i] = heap[child];
        heap[child] = moved;
    }
}

/* Keeps the k best of n scores in `heap`, then sorts them, best first. */
static void take_best(const float *scores, int64_t n, struct clip_hit *heap, int64_t k)
{
    for (int64_t i = 0; i < k; i++) heap[i] = (struct clip_hit){i, scores[i]};
    for (int64_t i = k / 2 - 1; i >= 0; i--) sink(heap, k, i);
    for (int64_t i = k; i < n; i++) {
        struct clip_hit hit = {i, scores[i]};
        if (!is_better(&hit, &heap[0])) continue;
        heap[0] = hit;
        sink(heap, k, 0);
    }
    for (int64_t last = k - 1; last > 0; last--) {
        struct clip_hit worst = heap[0];
        heap[0] = heap[last];
        heap[last] = worst;
        sink(heap, last, 0);
    }
}

clip_status clip_index_search(const struct clip_index *index, const float *query, int64_t k,
                              struct clip_hit *hits, int64_t *found, struct clip_error *error)
{
    *found = k < index->count ? k : index->count;
    if (*found < 1) return CLIP_OK;
    float *scores = clip_array_new(index->count, sizeof *scores, error);
    if (scores == NULL) return CLIP_ERR_MEMORY;
    struct scoring scoring = {index, query, scores};
    clip_parallel_for((index->count + BLOCK - 1) / BLOCK, score_block, &scoring);
    take_best(scores, index->count, hits, *found);
    free(scores);
    return CLIP_OK;
}
