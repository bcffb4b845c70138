/* Weights in several files and the index that lists them (transformers' *.index.json):
 *   {"metadata": {...}, "weight_map": {"NAME": "model-00001-of-00003.safetensors", ...}} */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "core/json.h"

#define INDEX_LIMIT ((size_t)64 << 20) /* bytes; a model of 2000 weights needs 200 kB */
#define SHARDS_LIMIT 10000

struct reader {
    const char *index; /* its path */
    char *folder;
    const json_t *map;
    struct clip_names shards;
    clip_bundle_reader *read;
    struct clip_bundle *out;
    struct clip_error *error;
};

/* Is this the name of a file beside the index, and of nothing else? */
static bool is_plain(const char *name)
{
    return *name != '\0' && *name != '.' && strlen(name) < 256 && strchr(name, '/') == NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lists the names of the files, each once, in order. */
static clip_status list_shards(struct reader *r)
{
    clip_status status = CLIP_OK;
    const char *tensor;
    json_t *value;
    const char *last = "";
    json_object_foreach((json_t *)(uintptr_t)r->map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (name == NULL || !is_plain(name)) {
            return clip_fail(r->error, CLIP_ERR_FORMAT,
                             "%s: the file of \"%.200s\" is no name of a file beside the index; "
                             "the index is damaged",
                             r->index, tensor);
        }
        if (strcmp(name, last) == 0) continue; /* neighbours are mostly in one file */
        CLIP_TRY(clip_names_add(&r->shards, name, r->error));
        last = name;
    }
    if (r->shards.count > 0)
        qsort(r->shards.names, (size_t)r->shards.count, sizeof *r->shards.names, by_text);
    int64_t kept = 0;
    for (int64_t i = 0; i < r->shards.count; i++) {
        char *name = r->shards.names[i];
        if (kept > 0 && strcmp(name, r->shards.names[kept - 1]) == 0)
            free(name);
        else
            r->shards.names[kept++] = name;
    }
    r->shards.count = kept;
    if (kept > SHARDS_LIMIT) {
        status = clip_fail(r->error, CLIP_ERR_FORMAT,
                           "%s: more than %d files are named; the index "
                           "is damaged",
                           r->index, SHARDS_LIMIT);
    }
out:
    return status;
}

static clip_status read_shard(struct reader *r, const char *name)
{
    clip_status status = CLIP_OK;
    struct clip_bundle part = {0};
    char *path = clip_path_join(r->folder, name, r->error);
    if (path == NULL) return r->error->status;
    CLIP_TRY(r->read(path, &part, r->error));
    for (int64_t i = 0; i < part.tensor_count; i++) {
        const char *listed = json_string_value(json_object_get(r->map, part.tensors[i].name));
        if (listed != NULL && strcmp(listed, name) == 0) continue;
        CLIP_TRY(clip_fail(r->error, CLIP_ERR_DATA,
                           "%s: the weight \"%.200s\" is in the file, but %s %s%s; the files "
                           "belong to different models, fetch all of them again",
                           path, part.tensors[i].name, clip_path_name(r->index),
                           listed != NULL ? "says that it is in " : "does not list it",
                           listed != NULL ? listed : ""));
    }
    CLIP_TRY(clip_bundle_absorb(r->out, &part, r->error));
out:
    clip_bundle_release(&part);
    free(path);
    return status;
}

static clip_status check_all_there(const struct reader *r)
{
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)r->map, tensor, value)
    {
        if (clip_bundle_find(r->out, tensor) != NULL) continue;
        return clip_fail(r->error, CLIP_ERR_DATA,
                         "%s: the weight \"%.200s\" is listed for %.200s and not in it; the files "
                         "belong to different models, fetch all of them again",
                         r->index, tensor, json_string_value(value));
    }
    return CLIP_OK;
}

clip_status clip_shards_read(const char *index, clip_bundle_reader *read, struct clip_bundle *out,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct reader r = {.index = index, .read = read, .out = out, .error = error};
    json_t *root = clip_json_read(index, INDEX_LIMIT, error);
    if (root == NULL) return error->status;
    r.map = json_object_get(root, "weight_map");
    r.folder = clip_path_folder(index, error);
    if (r.folder == NULL) CLIP_TRY(error->status);
    if (!json_is_object(r.map) || json_object_size(r.map) == 0) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: there is no \"weight_map\" from weights to files; give the index "
                           "that came with the model",
                           index));
    }
    CLIP_TRY(list_shards(&r));
    for (int64_t i = 0; i < r.shards.count; i++) CLIP_TRY(read_shard(&r, r.shards.names[i]));
    CLIP_TRY(check_all_there(&r));
out:
    clip_names_release(&r.shards);
    free(r.folder);
    json_decref(root);
    if (status != CLIP_OK) clip_bundle_release(out);
    return status;
}
