#include "embed/embeddings.h"

#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/file.h"
#include "core/json.h"

void clip_embeddings_release(struct clip_embeddings *embeddings)
{
    clip_bundle_release(&embeddings->bundle);
    clip_arena_release(&embeddings->data);
}

clip_status clip_embeddings_add_shape(struct clip_embeddings *embeddings, const char *name,
                                      int ndim, const int64_t *shape, float **data,
                                      struct clip_error *error)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++)
        if (!clip_mul_i64(n, shape[i], &n))
            return clip_fail(error, CLIP_ERR_MEMORY, "%s are too many for \"%s\"",
                             CLIP_COUNT(shape[0], "row"), name);
    *data = clip_arena_alloc(&embeddings->data, n, sizeof **data, error);
    if (*data == NULL) return CLIP_ERR_MEMORY;
    const struct clip_tensor tensor = clip_tensor_view(CLIP_F32, *data, ndim, shape);
    return clip_bundle_add(&embeddings->bundle, name, &tensor, error);
}

clip_status clip_embeddings_add(struct clip_embeddings *embeddings, const char *name, int64_t rows,
                                int64_t width, float **data, struct clip_error *error)
{
    return clip_embeddings_add_shape(embeddings, name, 2, (const int64_t[]){rows, width}, data,
                                     error);
}

/* ---- from images ---- */

clip_status clip_embeddings_from_images(struct clip_embeddings *out,
                                        const struct clip_embedder *embedder,
                                        const struct clip_images *images, enum clip_row_kind kind,
                                        bool quiet, struct clip_error *error)
{
    clip_status status;
    int64_t dim = clip_embedder_dim(embedder), count = images->count, floats, kept = 0;
    float *rows;
    bool *good = NULL;
    if (!clip_mul_i64(count, dim, &floats))
        return clip_fail(error, CLIP_ERR_MEMORY, "%s are too many", CLIP_COUNT(count, "image"));
    rows = clip_arena_alloc(&out->data, floats, sizeof *rows, error);
    out->names = clip_arena_alloc(&out->data, count, sizeof *out->names, error);
    if (rows == NULL || out->names == NULL) return CLIP_ERR_MEMORY;
    CLIP_NEW(good, count);
    CLIP_TRY(clip_images_embed_all(images, embedder, kind, quiet, rows, good, error));
    for (int64_t i = 0; i < count; i++) {
        if (!good[i]) continue;
        const char *name = clip_images_name(images, i);
        memmove(rows + kept * dim, rows + i * dim, (size_t)dim * sizeof *rows);
        out->names[kept] = clip_arena_string(&out->data, name, strlen(name), error);
        if (out->names[kept++] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
    out->count = kept;
    out->skipped = count - kept + images->unread.count;
    if (kept == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "no image of %lld can be read", (long long)count));
    const struct clip_tensor tensor = clip_tensor_f32(rows, kept, dim);
    CLIP_TRY(clip_bundle_add(&out->bundle, "image_embeds", &tensor, error));
out:
    free(good);
    return status;
}

/* ---- files ---- */

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

/* A list of names as the text of a JSON list, appended. CLIP_ERR_DATA: one is not UTF-8. */
static clip_status names_to_json(const char *const *names, int64_t n, struct clip_buffer *out,
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
            CLIP_TRY(
                clip_fail(error, CLIP_ERR_MEMORY, "out of memory for %s", CLIP_COUNT(n, "name")));
    }
    CLIP_TRY(clip_json_append(out, list, error));
out:
    json_decref(list);
    return status;
}

clip_status clip_embeddings_write(struct clip_embeddings *embeddings, const char *path,
                                  const char *const *names, int64_t n, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer list = {0};
    CLIP_TRY(clip_embeddings_check(path, embeddings->bundle.tensor_count != 1, error));
    if (names != NULL) CLIP_TRY(names_to_json(names, n, &list, error));
    if (clip_path_has_suffix(path, ".npy")) {
        CLIP_TRY(write_npy(embeddings, path, &list, error));
        goto out;
    }
    if (names != NULL)
        CLIP_TRY(clip_bundle_add_list(&embeddings->bundle, "names", list.data, list.size, error));
    CLIP_TRY(clip_path_has_suffix(path, ".h5")
                 ? clip_hdf5_write(path, &embeddings->bundle, error)
                 : clip_safetensors_write(path, &embeddings->bundle, error));
out:
    clip_buffer_release(&list);
    return status;
}

/* ---- names ---- */

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
        (*names)[i] =
            clip_arena_string(arena, json_string_value(name), json_string_length(name), error);
        if ((*names)[i] == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
out:
    json_decref(list);
    return status;
}
