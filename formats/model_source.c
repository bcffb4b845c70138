/* Finding a model's files. */
#include "formats/model_source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"

#define CONFIG_LIMIT ((size_t)16 << 20) /* bytes of a config.json */

void clip_model_source_release(struct clip_model_source *source)
{
    free(source->weights);
    free(source->folder);
    free(source->config);
    *source = (struct clip_model_source){0};
}

/* *out = folder/name where that is there (free() it), NULL where it is not. */
static clip_status look(const char *folder, const char *name, char **out, struct clip_error *error)
{
    *out = clip_path_join(folder, name, error);
    if (*out == NULL) return error->status;
    if (clip_path_exists(*out)) return CLIP_OK;
    free(*out);
    *out = NULL;
    return CLIP_OK;
}

static clip_status look_for_any(const char *folder, const char *const *names, char **out,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = NULL;
    for (; *names != NULL && *out == NULL && status == CLIP_OK; names++)
        status = look(folder, *names, out, error);
    return status;
}

/* A config.json of transformers is known by its "model_type"; open_clip's folders have had a
 * config.json of their own. */
static clip_status is_huggingface(const char *path, bool *out, struct clip_error *error)
{
    json_t *root = clip_json_read(path, CONFIG_LIMIT, error);
    *out = json_is_string(json_object_get(root, "model_type"));
    json_decref(root);
    return root != NULL ? CLIP_OK : error->status;
}

static clip_status find_huggingface(struct clip_model_source *out, const char *folder,
                                    struct clip_error *error)
{
    static const char *const names[] = {
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        NULL,
    };
    clip_status status = CLIP_OK;
    bool is = false;
    char *config = NULL;
    CLIP_TRY(look(folder, "config.json", &config, error));
    if (config != NULL) CLIP_TRY(is_huggingface(config, &is, error));
    if (!is) goto out;
    CLIP_TRY(look_for_any(folder, names, &out->weights, error));
    if (out->weights == NULL) goto out;
    out->kind = CLIP_CONFIG_HUGGINGFACE;
    out->config = config;
    config = NULL;
out:
    free(config);
    return status;
}

static clip_status find_open_clip(struct clip_model_source *out, const char *folder,
                                  struct clip_error *error)
{
    static const char *const names[] = {
        "open_clip_model.safetensors",
        "open_clip_model.safetensors.index.json",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
        NULL,
    };
    clip_status status = CLIP_OK;
    char *config = NULL;
    CLIP_TRY(look(folder, "open_clip_config.json", &config, error));
    if (config == NULL) goto out;
    CLIP_TRY(look_for_any(folder, names, &out->weights, error));
    if (out->weights == NULL) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s: there is an open_clip_config.json, but neither "
                           "open_clip_model.safetensors nor open_clip_pytorch_model.bin beside it",
                           folder));
    }
    out->kind = CLIP_CONFIG_OPEN_CLIP;
    out->config = config;
    config = NULL;
out:
    free(config);
    return status;
}

/* A module's folder inside a model of sentence-transformers: a plain name; "": the model's own. */
static bool is_plain_name(const char *path)
{
    return path != NULL && *path != '.' && strchr(path, '/') == NULL;
}

/* The parts of sentence-transformers' modules.json: a CLIP, and behind it nothing that changes unit
 * rows. *inside = its folder (free() it), NULL where that is `folder` itself. */
static clip_status read_modules(const json_t *modules, const char *folder, char **inside,
                                struct clip_error *error)
{
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        const char *type = json_string_value(json_object_get(module, "type"));
        const char *path = json_string_value(json_object_get(module, "path"));
        const char *last = type != NULL ? strrchr(type, '.') : NULL;
        const char *name = last != NULL ? last + 1 : type;
        bool fits = name != NULL && strcmp(name, i == 0 ? "CLIPModel" : "Normalize") == 0;
        if (!fits || !is_plain_name(path)) {
            return clip_fail(
                error, CLIP_ERR_DATA,
                "%s/modules.json: part %d of this sentence-transformers model is a "
                "%.60s in \"%.60s\"; a CLIPModel alone, or with a Normalize behind it, "
                "can be read",
                folder, (int)i + 1, name != NULL ? name : "part without a type",
                path != NULL ? path : "");
        }
        if (i > 0 || *path == '\0') continue;
        *inside = clip_path_join(folder, path, error);
        if (*inside == NULL) return error->status;
    }
    return CLIP_OK;
}

/* sentence-transformers' folder: modules.json names the one that holds the model, "0_CLIPModel". */
static clip_status find_sentence_transformers(struct clip_model_source *out, const char *folder,
                                              char **inside, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *path = NULL;
    json_t *modules = NULL;
    CLIP_TRY(look(folder, "modules.json", &path, error));
    if (path == NULL) goto out;
    modules = clip_json_read(path, CONFIG_LIMIT, error);
    if (modules == NULL) CLIP_TRY(error->status);
    CLIP_TRY(read_modules(modules, folder, inside, error));
    if (*inside != NULL) CLIP_TRY(find_huggingface(out, *inside, error));
out:
    json_decref(modules);
    free(path);
    return status;
}

static clip_status find_in_folder(struct clip_model_source *out, const char *folder,
                                  struct clip_error *error)
{
    static const char *const native[] = {"best.h5", "last.h5", NULL};
    clip_status status = CLIP_OK;
    char *inside = NULL;
    CLIP_TRY(look_for_any(folder, native, &out->weights, error));
    if (out->weights == NULL) CLIP_TRY(find_huggingface(out, folder, error));
    if (out->weights == NULL) CLIP_TRY(find_open_clip(out, folder, error));
    if (out->weights == NULL) CLIP_TRY(find_sentence_transformers(out, folder, &inside, error));
    if (out->weights == NULL) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s: the folder holds no model: neither best.h5 nor last.h5 of a run, "
                           "no config.json with model.safetensors or pytorch_model.bin, no "
                           "open_clip_config.json with open_clip_model.safetensors; name the file "
                           "of weights itself if it is called otherwise",
                           folder));
    }
    out->folder = clip_string_copy(inside != NULL ? inside : folder, error);
    if (out->folder == NULL) status = CLIP_ERR_MEMORY;
out:
    free(inside);
    return status;
}

/* ---- The Hugging Face cache ---- */

/* "name" or "organisation/name", of letters, digits, '-', '_' and '.', none of them beginning with
 * a '.'. */
static bool is_id(const char *text)
{
    int slashes = 0;
    char before = '/';
    for (const char *at = text; *at != '\0'; before = *at++) {
        if (*at == '/')
            slashes++;
        else if (!isalnum((unsigned char)*at) && strchr("-_.", *at) == NULL)
            return false;
        if (before == '/' && (*at == '.' || *at == '/')) return false;
    }
    return before != '/' && slashes <= 1 && strlen(text) < 200;
}

/* The cache's folder, as huggingface_hub finds it; free() it. */
static char *cache_folder(struct clip_error *error)
{
    static const struct {
        const char *variable, *below;
    } places[] = {
        {"HF_HUB_CACHE", ""},
        {"HUGGINGFACE_HUB_CACHE", ""},
        {"HF_HOME", "hub"},
        {"XDG_CACHE_HOME", "huggingface/hub"},
        {"HOME", ".cache/huggingface/hub"},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = getenv(places[i].variable);
        if (value == NULL || *value == '\0') continue;
        return *places[i].below ? clip_path_join(value, places[i].below, error)
                                : clip_string_copy(value, error);
    }
    return clip_string_copy(".cache/huggingface/hub", error);
}

/* The commit that refs/main names: hexadecimal digits. */
static clip_status read_commit(const char *path, char commit[128], struct clip_error *error)
{
    struct clip_buffer text = {0};
    clip_status status = clip_file_read(path, 127, &text, error);
    if (status != CLIP_OK) return status;
    size_t n = strspn(text.data, "0123456789abcdefABCDEF");
    memcpy(commit, text.data, n);
    commit[n] = '\0';
    clip_buffer_release(&text);
    if (n >= 6) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_FORMAT, "%s names no commit; fetch the model again", path);
}

/* *out = the snapshot's folder, NULL where the cache has no such model. */
static clip_status find_snapshot(const char *id, const char *cache, char **out,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer path = {0};
    char commit[128];
    *out = NULL;
    CLIP_TRY(clip_buffer_printf(&path, error, "%s/models--", cache));
    for (const char *at = id; *at != '\0'; at++)
        CLIP_TRY(clip_buffer_append(&path, *at == '/' ? "--" : at, *at == '/' ? 2 : 1, error));
    size_t base = path.size;
    CLIP_TRY(clip_buffer_printf(&path, error, "/refs/main"));
    if (!clip_path_exists(path.data)) goto out;
    CLIP_TRY(read_commit(path.data, commit, error));
    path.size = base;
    CLIP_TRY(clip_buffer_printf(&path, error, "/snapshots/%s", commit));
    if (!clip_path_is_folder(path.data)) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s: the cache names this snapshot of %s, but it is not there; fetch "
                           "the model again (hf download %s)",
                           path.data, id, id));
    }
    *out = clip_string_copy(path.data, error);
    if (*out == NULL) status = CLIP_ERR_MEMORY;
out:
    clip_buffer_release(&path);
    return status;
}

static clip_status find_by_id(struct clip_model_source *out, const char *model,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *cache = NULL, *snapshot = NULL;
    if (!is_id(model)) {
        return clip_fail(error, CLIP_ERR_NOT_FOUND,
                         "%s: there is no such file or folder; give a run folder, a checkpoint, a "
                         "folder or file of Hugging Face's, open_clip's or OpenAI's weights",
                         model);
    }
    cache = cache_folder(error);
    if (cache == NULL) return error->status;
    CLIP_TRY(find_snapshot(model, cache, &snapshot, error));
    if (snapshot == NULL) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s: there is no such file or folder, and the Hugging Face cache (%s) "
                           "holds no model of this name; fetch it first (hf download %s)",
                           model, cache, model));
    }
    CLIP_TRY(find_in_folder(out, snapshot, error));
out:
    free(snapshot);
    free(cache);
    return status;
}

clip_status clip_model_source_find(struct clip_model_source *out, const char *model,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = (struct clip_model_source){0};
    for (size_t i = 0; i < 2 && !clip_path_exists(model); i++) {
        static const char *const schemes[] = {"hf-hub:", "local-dir:"}; /* as open_clip has them */
        size_t n = strlen(schemes[i]);
        if (strncmp(model, schemes[i], n) == 0) model += n;
    }
    if (!clip_path_exists(model)) {
        CLIP_TRY(find_by_id(out, model, error));
    } else if (clip_path_is_folder(model)) {
        CLIP_TRY(find_in_folder(out, model, error));
    } else {
        out->weights = clip_string_copy(model, error);
        out->folder = clip_path_folder(model, error);
        if (out->weights == NULL || out->folder == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    }
out:
    if (status != CLIP_OK) clip_model_source_release(out);
    return status;
}
