#include "eval/embeddings.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json.h"
#include "kernels/kernels.h"

void clip_embeddings_release(struct clip_embeddings *embeddings)
{
    clip_bundle_release(&embeddings->bundle);
    clip_arena_release(&embeddings->data);
}

clip_status clip_embeddings_add(struct clip_embeddings *embeddings, const char *name, int64_t rows,
                                int64_t width, float **data, struct clip_error *error)
{
    int64_t n;
    if (!clip_mul_i64(rows, width, &n))
        return clip_fail(error, CLIP_ERR_MEMORY, "%lld rows of %lld numbers are too many",
                         (long long)rows, (long long)width);
    *data = clip_arena_alloc(&embeddings->data, n, sizeof **data, error);
    if (*data == NULL) return CLIP_ERR_MEMORY;
    const struct clip_tensor tensor = clip_tensor_f32(*data, rows, width);
    return clip_bundle_add(&embeddings->bundle, name, &tensor, error);
}

/* ---- from tensors -------------------------------------------------------------------------- */

/* embeds = normalised copy of features */
static void normalise_into(float *embeds, const float *features, int64_t n, int64_t dim)
{
    memcpy(embeds, features, (size_t)(n * dim) * sizeof *embeds);
    clip_rows_normalise(embeds, n, dim);
}

static clip_status add_images(struct clip_embeddings *out, const struct clip_embedder *e,
                              const struct clip_bundle *in, float **embeds,
                              struct clip_error *error)
{
    clip_status status;
    int64_t size = clip_embedder_image_size(e), dim = clip_embedder_dim(e);
    const struct clip_tensor *given = clip_bundle_find(in, "pixel_values");
    float *features, *pixels = NULL;
    char have[CLIP_SHAPE_TEXT];
    if (given->ndim != 4 || given->shape[1] != 3 || given->shape[2] != size ||
        given->shape[3] != size)
        return clip_fail(error, CLIP_ERR_DATA,
                         "\"pixel_values\" has shape %s where the model wants [n, 3, %lld, %lld]",
                         clip_shape_text(have, given), (long long)size, (long long)size);
    int64_t n = given->shape[0];
    CLIP_NEW(pixels, clip_tensor_count(given));
    const struct clip_tensor copy = clip_tensor_view(CLIP_F32, pixels, 4, given->shape);
    CLIP_TRY(clip_bundle_copy(in, "pixel_values", &copy, error));
    CLIP_TRY(clip_embeddings_add(out, "image_features", n, dim, &features, error));
    CLIP_TRY(clip_embeddings_add(out, "image_embeds", n, dim, embeds, error));
    CLIP_TRY(clip_embedder_pixels(e, pixels, n, CLIP_RAW, features, error));
    normalise_into(*embeds, features, n, dim);
out:
    free(pixels);
    return status;
}

/* ids [n] of either integer type as int32; what does not fit becomes one that no model has. */
static void copy_ids(int32_t *ids, const struct clip_tensor *given)
{
    int64_t n = clip_tensor_count(given);
    for (int64_t i = 0; i < n; i++) {
        int64_t id = given->dtype == CLIP_I32 ? ((const int32_t *)given->data)[i]
                                              : ((const int64_t *)given->data)[i];
        ids[i] = id < 0 ? -1 : id > INT32_MAX ? INT32_MAX : (int32_t)id;
    }
}

static clip_status add_texts(struct clip_embeddings *out, const struct clip_embedder *e,
                             const struct clip_bundle *in, float **embeds,
                              struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(e);
    const struct clip_tensor *given = clip_bundle_find(in, "input_ids");
    float *features;
    int32_t *ids = NULL;
    char have[CLIP_SHAPE_TEXT];
    if (given->ndim != 2 || (given->dtype != CLIP_I32 && given->dtype != CLIP_I64))
        return clip_fail(error, CLIP_ERR_DATA,
                         "\"input_ids\" is %s of shape %s; expected I32 or I64 of shape [n, T]",
                         clip_dtype_name(given->dtype), clip_shape_text(have, given));
    int64_t n = given->shape[0];
    CLIP_NEW(ids, clip_tensor_count(given));
    copy_ids(ids, given);
    CLIP_TRY(clip_embeddings_add(out, "text_features", n, dim, &features, error));
    CLIP_TRY(clip_embeddings_add(out, "text_embeds", n, dim, embeds, error));
    CLIP_TRY(clip_embedder_ids(e, ids, n, given->shape[1], CLIP_RAW, features, error));
    normalise_into(*embeds, features, n, dim);
out:
    free(ids);
    return status;
}

static clip_status add_logits(struct clip_embeddings *out, const struct clip_embedder *e,
                              const float *images, int64_t n, const float *texts, int64_t m,
                              struct clip_error *error)
{
    int64_t dim = clip_embedder_dim(e);
    float *logits, bias = (float)clip_embedder_logit_bias(e);
    clip_status status = clip_embeddings_add(out, "logits_per_image", n, m, &logits, error);
    if (status != CLIP_OK) return status;
    clip_gemm(false, true, n, m, dim, (float)clip_embedder_logit_scale(e), images, dim, texts, dim,
              0.0f, logits, m);
    for (int64_t i = 0; i < n * m; i++) logits[i] += bias;
    return CLIP_OK;
}

clip_status clip_embeddings_from_tensors(struct clip_embeddings *out,
                                         const struct clip_embedder *embedder, const char *path,
                                         struct clip_error *error)
{
    struct clip_bundle in = {0};
    float *images = NULL, *texts = NULL;
    clip_status status = clip_safetensors_read(path, &in, error);
    if (status != CLIP_OK) return status;
    const struct clip_tensor *pixels = clip_bundle_find(&in, "pixel_values");
    const struct clip_tensor *ids = clip_bundle_find(&in, "input_ids");
    if (pixels == NULL && ids == NULL)
        status = clip_fail(error, CLIP_ERR_DATA,
                           "there is neither \"pixel_values\" nor \"input_ids\"");
    if (status == CLIP_OK && pixels != NULL)
        status = add_images(out, embedder, &in, &images, error);
    if (status == CLIP_OK && ids != NULL)
        status = add_texts(out, embedder, &in, &texts, error);
    if (status == CLIP_OK && pixels != NULL && ids != NULL)
        status = add_logits(out, embedder, images, pixels->shape[0], texts, ids->shape[0], error);
    clip_bundle_release(&in);
    if (status != CLIP_OK) clip_error_prefix(error, "%s", path);
    return status;
}

/* ---- from pictures ------------------------------------------------------------------------- */

/* first[i]: the picture that stands for picture i. Gives rows [count,E] and good [count] of all,
 * each name embedded once. */
static clip_status embed_distinct(const struct clip_pictures *pictures,
                                  const struct clip_embedder *e, enum clip_row_kind kind,
                                  bool quiet, float *rows, bool *good, struct clip_error *error)
{
    clip_status status;
    int64_t count = pictures->count, dim = clip_embedder_dim(e), distinct = 0, bad = 0;
    int64_t *first = NULL, *which = NULL, *place = NULL;
    float *computed = NULL;
    bool *readable = NULL;
    CLIP_NEW(first, count);
    CLIP_NEW(which, count);
    CLIP_NEW(place, count);
    CLIP_TRY(clip_pictures_unique(pictures, first, error));
    for (int64_t i = 0; i < count; i++) {
        if (first[i] != i) continue;
        place[i] = distinct;
        which[distinct++] = i;
    }
    CLIP_NEW(computed, distinct * dim);
    CLIP_NEW(readable, distinct);
    CLIP_TRY(clip_pictures_embed(pictures, e, which, distinct, kind, quiet, computed, readable,
                                 &bad, error));
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

clip_status clip_embeddings_from_pictures(struct clip_embeddings *out,
                                          const struct clip_embedder *embedder,
                                          const struct clip_pictures *pictures,
                                          enum clip_row_kind kind, bool quiet, const char ***names,
                                          int64_t *n, int64_t *bad, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(embedder), count = pictures->count, floats;
    float *rows;
    bool *good = NULL;
    if (!clip_mul_i64(count, dim, &floats))
        return clip_fail(error, CLIP_ERR_MEMORY, "%lld pictures are too many", (long long)count);
    rows = clip_arena_alloc(&out->data, floats, sizeof *rows, error);
    *names = clip_arena_alloc(&out->data, count, sizeof **names, error);
    if (rows == NULL || *names == NULL) return CLIP_ERR_MEMORY;
    CLIP_NEW(good, count);
    CLIP_TRY(embed_distinct(pictures, embedder, kind, quiet, rows, good, error));
    *n = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!good[i]) continue;
        const char *name = clip_pictures_name(pictures, i);
        memmove(rows + *n * dim, rows + i * dim, (size_t)dim * sizeof *rows);
        (*names)[*n] = clip_arena_string(&out->data, name, strlen(name), error);
        if ((*names)[(*n)++] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
    *bad = count - *n;
    if (*n == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "none of the %lld pictures can be read",
                           (long long)count));
    const struct clip_tensor tensor = clip_tensor_f32(rows, *n, dim);
    CLIP_TRY(clip_bundle_add(&out->bundle, "image_embeds", &tensor, error));
out:
    free(good);
    return status;
}

/* ---- files --------------------------------------------------------------------------------- */

clip_status clip_embeddings_check(const char *path, bool several, struct clip_error *error)
{
    if (clip_path_has_suffix(path, ".npy") && several)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s: a .npy file holds one matrix, and there are several; write a .h5 or "
                         "a .safetensors",
                         path);
    if (clip_path_has_suffix(path, ".h5") || clip_path_has_suffix(path, ".safetensors") ||
        clip_path_has_suffix(path, ".npy"))
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%s: the name tells the format; end it in .h5, .safetensors or .npy", path);
}

static clip_status write_npy(const struct clip_embeddings *embeddings, const char *path,
                             const struct clip_buffer *names, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer beside = {0};
    CLIP_TRY(clip_npy_write(path, &embeddings->bundle.tensors[0].tensor, error));
    if (names->size == 0) return CLIP_OK;
    CLIP_TRY(clip_buffer_printf(&beside, error, "%s.names.json", path));
    CLIP_TRY(clip_file_write(beside.data, names->data, names->size, error));
out:
    clip_buffer_release(&beside);
    return status;
}

clip_status clip_embeddings_write(struct clip_embeddings *embeddings, const char *path,
                                  const char *const *names, int64_t n, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer list = {0};
    CLIP_TRY(clip_embeddings_check(path, embeddings->bundle.tensor_count != 1, error));
    if (names != NULL) CLIP_TRY(clip_names_to_json(names, n, &list, error));
    if (clip_path_has_suffix(path, ".npy")) {
        CLIP_TRY(write_npy(embeddings, path, &list, error));
        goto out;
    }
    if (names != NULL)
        CLIP_TRY(clip_bundle_add_text(&embeddings->bundle, "names", list.data, list.size, error));
    CLIP_TRY(clip_path_has_suffix(path, ".h5")
                 ? clip_hdf5_write(path, &embeddings->bundle, error)
                 : clip_safetensors_write(path, &embeddings->bundle, error));
out:
    clip_buffer_release(&list);
    return status;
}

/* ---- names --------------------------------------------------------------------------------- */

clip_status clip_names_to_json(const char *const *names, int64_t n, struct clip_buffer *out,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) {
        json_t *name = json_string(names[i]);
        if (name == NULL)
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "the name \"%s\" is not UTF-8; rename it",
                               names[i]));
        if (json_array_append_new(list, name) != 0)
            CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "out of memory for %lld names",
                               (long long)n));
    }
    CLIP_TRY(clip_json_append(out, list, error));
out:
    json_decref(list);
    return status;
}

clip_status clip_names_from_json(const char *text, size_t size, const char *path,
                                 struct clip_arena *arena, const char ***names, int64_t *count,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *list = clip_json_parse(text, size, path, error);
    if (list == NULL) return error->status;
    if (!json_is_array(list))
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: \"names\" is no JSON list", path));
    *count = (int64_t)json_array_size(list);
    *names = clip_arena_alloc(arena, *count, sizeof **names, error);
    if (*names == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (int64_t i = 0; i < *count; i++) {
        const json_t *name = json_array_get(list, (size_t)i);
        if (!json_is_string(name))
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT, "%s: \"names\"[%lld] is no string", path,
                               (long long)i));
        (*names)[i] = clip_arena_string(arena, json_string_value(name), json_string_length(name),
                                        error);
        if ((*names)[i] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
out:
    json_decref(list);
    return status;
}
