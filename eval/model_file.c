/* A model and its companions: opening, adding to a bundle, loading from one. */
#include "eval/model_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checksum.h"
#include "core/progress.h"

#define FORMAT "clip.c 1"
#define CONFIG_LIMIT ((size_t)1 << 20) /* bytes of an open_clip_config.json */

struct clip_model_description clip_model_file_description(const struct clip_model_file *file)
{
    struct clip_model_description d = {file->model->config, file->preprocess, file->cleaning};
    return d;
}

clip_status clip_model_file_add(struct clip_bundle *bundle, const struct clip_model_file *file,
                                const char *prefix, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_description description = clip_model_file_description(file);
    struct clip_buffer text = {0};
    char name[192];
    for (int64_t i = 0; i < file->model->param_count; i++) {
        const struct clip_param *param = &file->model->params[i];
        snprintf(name, sizeof name, "%s%s", prefix, param->name);
        CLIP_TRY(clip_bundle_add(bundle, name, &param->tensor, error));
    }
    CLIP_TRY(clip_model_description_format(&description, &text, error));
    CLIP_TRY(clip_bundle_add_text(bundle, "config", text.data, text.size, error));
    CLIP_TRY(clip_bundle_add_text(bundle, "format", FORMAT, strlen(FORMAT), error));
    if (file->tokenizer) {
        size_t n;
        const char *merges = clip_tokenizer_text(file->tokenizer, &n);
        CLIP_TRY(clip_bundle_add_text(bundle, "tokenizer", merges, n, error));
    }
out:
    clip_buffer_release(&text);
    return status;
}

/* Loading ------------------------------------------------------------------------------------ */

/* A sentence that grows by a complaint a weight and stops before it is cut. */
struct complaints {
    char text[800];
    int64_t shown, count;
};

static void complain(struct complaints *c, const char *complaint)
{
    size_t at = strlen(c->text);
    c->count++;
    if (c->shown + 1 < c->count || at + strlen(complaint) + 3 > sizeof c->text) return;
    snprintf(c->text + at, sizeof c->text - at, "%s%s", at ? ", " : "", complaint);
    c->shown++;
}

clip_status clip_model_file_load(struct clip_model *model, const struct clip_bundle *bundle,
                                 const char *prefix, const char *name, struct clip_error *error)
{
    struct complaints complaints = {0};
    struct clip_error one;
    char full[192], line[sizeof one.message];
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *param = &model->params[i];
        snprintf(full, sizeof full, "%s%s", prefix, param->name);
        if (clip_bundle_copy(bundle, full, &param->tensor, &one) != CLIP_OK) {
            complain(&complaints, one.message);
        }
    }
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        const char *there = bundle->tensors[i].name;
        if (strncmp(there, prefix, strlen(prefix)) != 0) continue;
        if (clip_model_param(model, there + strlen(prefix))) continue;
        snprintf(line, sizeof line, "\"%.200s\" has no place in the model", there);
        complain(&complaints, line);
    }
    if (complaints.count == 0) return CLIP_OK;
    if (complaints.count == complaints.shown) {
        return clip_fail(error, CLIP_ERR_DATA, "%s does not fit the model: %s", name,
                         complaints.text);
    }
    return clip_fail(error, CLIP_ERR_DATA, "%s does not fit the model: %s, and %" PRId64 " more",
                     name, complaints.text, complaints.count - complaints.shown);
}

clip_status clip_model_file_sum(struct clip_model_file *file, struct clip_error *error)
{
    struct clip_model_description description = clip_model_file_description(file);
    struct clip_buffer text = {0};
    clip_status status = clip_model_description_format(&description, &text, error);
    if (status != CLIP_OK) return status;
    uint32_t crc = clip_crc32(0, text.data, text.size);
    for (int64_t i = 0; i < file->model->param_count; i++) {
        const struct clip_param *param = &file->model->params[i];
        crc = clip_crc32(crc, param->name, strlen(param->name));
        crc = clip_crc32(crc, param->tensor.data,
                         (size_t)clip_tensor_count(&param->tensor) * sizeof(float));
    }
    snprintf(file->checksum, sizeof file->checksum, "%08" PRIx32, crc);
    clip_buffer_release(&text);
    return CLIP_OK;
}

/* Opening ------------------------------------------------------------------------------------ */

/* The file that MODEL means; free() it. NULL with the error filled. */
static char *resolve(const char *model, struct clip_error *error)
{
    static const char *const names[] = {"best.h5", "last.h5"};
    if (!clip_path_exists(model)) {
        clip_fail(error, CLIP_ERR_NOT_FOUND,
                  "%s: there is no such file or folder; give a run folder, a .h5 or a .safetensors",
                  model);
        return NULL;
    }
    if (!clip_path_is_folder(model)) return clip_string_copy(model, error);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = clip_path_join(model, names[i], error);
        if (!path || clip_path_exists(path)) return path;
        free(path);
    }
    clip_fail(error, CLIP_ERR_NOT_FOUND,
              "%s: the folder holds neither best.h5 nor last.h5; give the output folder of a "
              "clip_train run, a .h5 or a .safetensors", model);
    return NULL;
}

/* Reads a native file's weights (with *prefix before their names) and description. */
static clip_status read_native(const char *path, enum clip_weights weights,
                               struct clip_bundle *bundle, const char **prefix,
                               struct clip_model_description *description,
                               struct clip_error *error)
{
    static const char *const prefixes[] = {"ema/", "model/"};
    clip_status status = CLIP_OK;
    int first = weights == CLIP_WEIGHTS_RAW ? 1 : 0, chosen;
    CLIP_TRY(clip_hdf5_read_first(path, prefixes + first, 2 - first, &chosen, bundle, error));
    const struct clip_bundle_text *format = clip_bundle_text(bundle, "format");
    const struct clip_bundle_text *config = clip_bundle_text(bundle, "config");
    if (format && strcmp(format->value, FORMAT) != 0) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: the checkpoint is of format \"%s\" and this program reads "
                           "\"" FORMAT "\"; use the clip.c that wrote it, or a newer one", path,
                           format->value));
    }
    if (chosen < 0 || !config) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the file holds no model (no \"model\" group or no \"config\"); "
                           "give a checkpoint that clip_train or clip_export wrote", path));
    }
    *prefix = prefixes[first + chosen];
    CLIP_TRY(clip_model_description_parse(config->value, config->size, path, description, error));
out:
    return status;
}

/* Heads come from nowhere else when there is only a file of weights. */
static clip_status assume(const struct clip_bundle *bundle, const char *path,
                          struct clip_model_description *description, struct clip_error *error)
{
    const struct clip_model_config *c = &description->config;
    clip_status status = clip_model_description_infer(bundle, "", path, description, error);
    if (status != CLIP_OK) return status;
    if (c->vision_width % 64 != 0 || c->text_width % 64 != 0) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the file does not say how many attention heads the model has; put "
                         "its open_clip_config.json beside it", path);
    }
    clip_warn("%s has no description; assuming heads of width 64, GELU (not QuickGELU), CLIP's "
              "mean and std; an open_clip_config.json beside it would say", path);
    return CLIP_OK;
}

static clip_status read_safetensors(const char *path, struct clip_bundle *bundle,
                                    struct clip_model_description *description,
                                    struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer beside = {0};
    char *config_path = NULL, *folder = NULL;
    CLIP_TRY(clip_safetensors_read(path, bundle, error));
    const struct clip_bundle_text *config = clip_bundle_text(bundle, "config");
    if (config) {
        CLIP_TRY(clip_model_description_parse(config->value, config->size, path, description,
                                              error));
        goto out;
    }
    folder = clip_path_folder(path, error);
    config_path = folder ? clip_path_join(folder, "open_clip_config.json", error) : NULL;
    if (!config_path) CLIP_TRY(CLIP_ERR_MEMORY);
    if (clip_path_exists(config_path)) {
        CLIP_TRY(clip_file_read(config_path, CONFIG_LIMIT, &beside, error));
        CLIP_TRY(clip_model_description_parse(beside.data, beside.size, config_path, description,
                                              error));
    } else {
        CLIP_TRY(assume(bundle, path, description, error));
    }
out:
    clip_buffer_release(&beside);
    free(config_path);
    free(folder);
    return status;
}

/* The tokenizer named, else the file's own, else CLIP's where the vocabulary is and it is found. */
static clip_status open_tokenizer(struct clip_model_file *file, const char *named,
                                  const struct clip_bundle *bundle, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t vocab = file->model->config.vocab_size;
    const struct clip_bundle_text *own = clip_bundle_text(bundle, "tokenizer");
    char *folder = clip_path_folder(file->source, error);
    if (!folder) return error->status;
    if (named) {
        CLIP_TRY(clip_tokenizer_open(&file->tokenizer, named, folder, error));
    } else if (own) {
        CLIP_TRY(clip_tokenizer_parse(&file->tokenizer, own->value, own->size, file->source,
                                      error));
    } else if (vocab == 49408) {
        status = clip_tokenizer_open(&file->tokenizer, "clip", folder, error);
        if (status == CLIP_ERR_NOT_FOUND) status = CLIP_OK;
        if (status != CLIP_OK) goto out;
    }
    if (file->tokenizer && clip_tokenizer_vocab_size(file->tokenizer) > vocab) {
        status = clip_fail(error, CLIP_ERR_DATA,
                           "%s: the tokenizer %s has %" PRId64 " entries and the model's "
                           "vocabulary %" PRId64 "; name the tokenizer that it was trained with",
                           file->source,
                           named ? named : "in the file",
                           clip_tokenizer_vocab_size(file->tokenizer), vocab);
    }
out:
    free(folder);
    return status;
}

static clip_status open_file(struct clip_model_file *file,
                             const struct clip_model_file_options *options,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_bundle bundle = {0};
    struct clip_model_description description;
    const char *prefix = "", *path = file->source;
    if (clip_path_has_suffix(path, ".safetensors")) {
        CLIP_TRY(read_safetensors(path, &bundle, &description, error));
    } else if (clip_hdf5_is(path) || clip_path_has_suffix(path, ".h5")) {
        CLIP_TRY(read_native(path, options->weights, &bundle, &prefix, &description, error));
    } else {
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: this is no model that can be read; give a run folder, a .h5 or a "
                           ".safetensors with open_clip's names", path));
    }
    CLIP_TRY(clip_model_description_check(&description, &bundle, prefix, path, error));
    CLIP_TRY(clip_model_create(&file->model, &description.config, error));
    CLIP_TRY(clip_model_file_load(file->model, &bundle, prefix, path, error));
    file->preprocess = description.preprocess;
    file->cleaning = description.cleaning;
    CLIP_TRY(open_tokenizer(file, options->tokenizer, &bundle, error));
    CLIP_TRY(clip_model_file_sum(file, error));
out:
    clip_bundle_release(&bundle);
    return status;
}

clip_status clip_model_file_open(struct clip_model_file **out, const char *model,
                                 const struct clip_model_file_options *options,
                                 struct clip_error *error)
{
    static const struct clip_model_file_options defaults = {0};
    clip_status status = CLIP_OK;
    struct clip_model_file *file = NULL;
    CLIP_NEW(file, 1);
    file->source = resolve(model, error);
    if (!file->source) CLIP_TRY(error->status);
    CLIP_TRY(open_file(file, options ? options : &defaults, error));
    *out = file;
    return CLIP_OK;
out:
    clip_model_file_free(file);
    return status;
}

void clip_model_file_free(struct clip_model_file *file)
{
    if (!file) return;
    clip_model_free(file->model);
    clip_tokenizer_free(file->tokenizer);
    free(file->source);
    free(file);
}
