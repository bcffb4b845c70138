#include "search/index.h"

#include <stdlib.h>
#include <string.h>

#include "formats/model_file.h"

static clip_status open_once(struct clip_index *out, const char *path, bool trusted,
                             struct clip_error *error)
{
    clip_status status;
    char *folder = NULL;
    CLIP_TRY(clip_index_list_read(out, path, error));
    folder = clip_index_folder(path, error);
    if (folder == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (int64_t i = 0; i < out->segment_count; i++)
        CLIP_TRY(clip_index_segment_open(out, &out->segments[i], folder, trusted, error));
out:
    free(folder);
    if (status != CLIP_OK) clip_index_release(out);
    return status;
}

/* While this process opens the segments of a list, another may write the index anew and remove
 * them. The new list is there by then, so opening is tried once more. */
static clip_status open_index(struct clip_index *out, const char *path, bool trusted,
                              struct clip_error *error)
{
    clip_status status = CLIP_ERR_NOT_FOUND;
    for (int tries = 0; tries < 3 && status == CLIP_ERR_NOT_FOUND; tries++) {
        status = open_once(out, path, trusted, error);
        if (status == CLIP_ERR_NOT_FOUND && !clip_path_exists(path)) break;
    }
    return status;
}

clip_status clip_index_open(struct clip_index *out, const char *path, struct clip_error *error)
{
    return open_index(out, path, true, error);
}

clip_status clip_index_verify(const char *path, struct clip_error *error)
{
    struct clip_index index;
    clip_status status = open_index(&index, path, false, error);
    if (status == CLIP_OK) clip_index_release(&index);
    return status;
}

clip_status clip_index_check(const struct clip_index *index, const struct clip_embedder *embedder,
                             const char *path, struct clip_error *error)
{
    const struct clip_model_file *file = clip_embedder_file(embedder);
    if (clip_embedder_dim(embedder) == index->dim &&
        strcmp(file->checksum, index->model_checksum) == 0)
        return CLIP_OK;
    bool raw = clip_embedder_raw_weights(embedder);
    if (raw != index->raw)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s was made with the %s weights of %s, not the %s ones; leave --weights "
                         "%s out, make the index anew under another name, or start it over with "
                         "index --force",
                         path, index->raw ? "raw" : "ema", index->model, raw ? "raw" : "ema",
                         raw ? "raw" : "ema");
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s was made with other weights (%s) than those of %s now; use that model, "
                     "make the index anew under another name, or start it over with index --force",
                     path, index->model, clip_embedder_source(embedder));
}
