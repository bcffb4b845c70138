/* A model and its companions: opening, adding to a bundle, loading from one. */
#include "formats/model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/checksum.h"
#include "core/choice.h"
#include "core/count.h"
#include "formats/architectures.h"
#include "formats/model_adapter.h"
#include "formats/model_source.h"
#include "kernels/kernels.h"

#define FORMAT "clip.c 1"

const char *clip_weights_name(int weights)
{
    static const char *const names[] = {[CLIP_WEIGHTS_EMA] = "ema", [CLIP_WEIGHTS_RAW] = "raw"};
    return CLIP_NAME_OF(names, weights);
}

struct clip_model_description clip_model_file_description(const struct clip_model_file *file)
{
    struct clip_model_description d = {file->model->config, file->preprocess, file->cleaning,
                                       file->ids};
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
    const struct clip_buffer *own = file->tokenizer != NULL ? &file->tokenizer->text : NULL;
    if (own != NULL)
        CLIP_TRY(clip_bundle_add_text(bundle, "tokenizer", own->data, own->size, error));
out:
    clip_buffer_release(&text);
    return status;
}

/* ---- Loading ---- */

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

/* Marks the tensors that our weight `name` is made of. */
static void mark_used(const struct clip_weight_source *from, const char *name, bool *used)
{
    struct clip_place place;
    char full[2 * CLIP_NAME_SIZE];
    if (!clip_layout_place(from->layout, name, &place)) return;
    for (int i = 0; i < place.count; i++) {
        snprintf(full, sizeof full, "%s%s", from->prefix, place.names[i]);
        int64_t number = clip_bundle_number(from->bundle, full);
        if (number >= 0) used[number] = true;
    }
}

/* What begins with the prefix and was used for nothing. */
static void complain_of_others(struct complaints *complaints, const struct clip_weight_source *from,
                               const bool *used)
{
    char line[300];
    for (int64_t i = 0; i < from->bundle->tensor_count; i++) {
        const char *there = from->bundle->tensors[i].name;
        size_t n = strlen(from->prefix);
        if (used[i] || strncmp(there, from->prefix, n) != 0) continue;
        if (clip_layout_is_extra(there + n)) continue;
        snprintf(line, sizeof line, "\"%.200s\" has no place in the model", there);
        complain(complaints, line);
    }
}

static bool belongs(const struct clip_param *param, enum clip_towers towers)
{
    return param->tower == CLIP_TOWERS_BOTH || towers == CLIP_TOWERS_BOTH || param->tower == towers;
}

clip_status clip_model_file_load(struct clip_model *model, const struct clip_weight_source *from,
                                 enum clip_towers towers, const char *name,
                                 struct clip_arena *arena, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct complaints complaints = {0};
    struct clip_error one;
    bool *used;
    CLIP_NEW(used, from->bundle->tensor_count + 1);
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *param = &model->params[i];
        float *data = NULL;
        mark_used(from, param->name, used);
        if (!belongs(param, towers)) continue;
        one.status = clip_layout_take(from, param->name, &param->tensor, arena, &data, &one);
        if (clip_machine_failed(one.status)) {
            *error = one;
            CLIP_TRY(one.status);
        }
        if (one.status != CLIP_OK) complain(&complaints, one.message);
        param->tensor.data = data;
    }
    complain_of_others(&complaints, from, used);
    if (complaints.count == 0) goto out;
    if (complaints.count == complaints.shown) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s does not fit the model: %s", name,
                           complaints.text));
    }
    CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "%s does not fit the model: %s, and %lld more", name,
                       complaints.text, (long long)(complaints.count - complaints.shown)));
out:
    free(used);
    return status;
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
    snprintf(file->checksum, sizeof file->checksum, "%08x", (unsigned)crc);
    clip_buffer_release(&text);
    return CLIP_OK;
}

/* ---- Opening ---- */

static clip_status say_what_was_found(const struct clip_model_file *file,
                                      const struct clip_log *log, struct clip_error *error)
{
    struct clip_buffer text = {0};
    clip_status status = clip_model_file_found(file, &text, error);
    if (status == CLIP_OK) clip_log_write(log, CLIP_LOG_NOTE, "%s", text.data);
    clip_buffer_release(&text);
    return status;
}

/* The tokenizer named, else the file's own, else what lies beside it, else CLIP's where the
 * vocabulary is and it is found. */
static clip_status open_tokenizer(struct clip_model_file *file, const char *named,
                                  const char *folder, const struct clip_model_reading *reading,
                                  struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t vocab = file->model->config.vocab_size;
    const struct clip_bundle_text *own = clip_bundle_text(&reading->bundle, "tokenizer");
    if (named != NULL) {
        CLIP_TRY(clip_tokenizer_open(&file->tokenizer, named, folder, error));
    } else if (own != NULL) {
        CLIP_TRY(
            clip_tokenizer_parse(&file->tokenizer, own->value, own->size, file->source, error));
    } else {
        status = clip_tokenizer_open_folder(&file->tokenizer, folder, error);
        if (status == CLIP_ERR_DATA && clip_architecture_of(&file->model->config) !=
                                           CLIP_ARCHITECTURE_CLIP) { /* of a kind of its own */
            clip_log_write(reading->log, CLIP_LOG_WARNING,
                           "%s; texts can be given as --tensors only", error->message);
            status = CLIP_OK;
        }
        if (status != CLIP_OK) goto out;
        bool theirs = reading->from.layout == CLIP_LAYOUT_HUGGINGFACE ||
                      reading->from.layout == CLIP_LAYOUT_TIMM_SIGLIP; /* a CLIP's pads with 0 */
        if (file->tokenizer != NULL && theirs)
            CLIP_TRY(clip_tokenizer_read_pad(file->tokenizer, folder, &file->filler, error));
        if (!reading->description.pad_said) file->ids.pad = file->filler;
    }
    if (file->tokenizer == NULL && vocab == 49408) {
        status = clip_tokenizer_open(&file->tokenizer, "clip", folder, error);
        if (status == CLIP_ERR_NOT_FOUND) status = CLIP_OK;
        if (status != CLIP_OK) goto out;
    }
    if (file->tokenizer != NULL && file->tokenizer->vocab_size > vocab) {
        status = clip_fail(error, CLIP_ERR_DATA,
                           "%s: the tokenizer %s has %s and the model's vocabulary %lld; name the "
                           "tokenizer that it was trained with",
                           file->source,
                           named != NULL ? named
                           : own != NULL ? "in the file"
                                         : "beside it",
                           CLIP_COUNT(file->tokenizer->vocab_size, "entry"), (long long)vocab);
    }
out:
    return status;
}

static clip_status open_whole(struct clip_model_file **out, const char *model,
                              const struct clip_model_file_options *options,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_model_source source = {0};
    struct clip_model_reading reading = {0};
    struct clip_model_file *file = NULL;
    CLIP_TRY(clip_model_source_find(&source, model, error));
    CLIP_NEW(file, 1);
    file->source = source.weights;
    source.weights = NULL;
    CLIP_TRY(clip_model_source_read(
        &(struct clip_model_source){file->source, source.folder, source.config, source.kind},
        options->weights == CLIP_WEIGHTS_RAW, &options->log, &reading, error));
    file->preprocess = reading.description.preprocess;
    file->cleaning = reading.description.cleaning;
    file->ids = reading.description.ids;
    file->filler = file->ids.pad;
    file->format = reading.format;
    file->towers = options->towers;
    CLIP_TRY(clip_model_create_bare(&file->model, &reading.description.config, error));
    CLIP_TRY(clip_model_file_load(file->model, &reading.from, options->towers, file->source,
                                  &reading.bundle.arena, error));
    if (options->towers != CLIP_TOWERS_IMAGE)
        CLIP_TRY(open_tokenizer(file, options->tokenizer, source.folder, &reading, error));
    int64_t most = file->ids.pad > file->filler ? file->ids.pad : file->filler;
    if (most >= file->model->config.vocab_size) {
        CLIP_TRY(clip_fail(
            error, CLIP_ERR_DATA,
            "%s: texts are to be filled up with id %lld, and the model's vocabulary has %lld",
            file->source, (long long)most, (long long)file->model->config.vocab_size));
    }
    if (file->tokenizer != NULL && file->model->config.text.whole_rows)
        clip_tokenizer_pad(file->tokenizer, (int32_t)file->ids.pad);
    file->weights = reading.bundle; /* which the model's parameters point into */
    reading.bundle = (struct clip_bundle){0};
    if (options->say && file->format != NULL)
        CLIP_TRY(say_what_was_found(file, &options->log, error));
    *out = file;
    file = NULL;
out:
    clip_model_reading_release(&reading);
    clip_model_source_release(&source);
    clip_model_file_free(file);
    return status;
}

clip_status clip_model_file_open(struct clip_model_file **out, const char *model,
                                 const struct clip_model_file_options *options,
                                 struct clip_error *error)
{
    static const struct clip_model_file_options defaults = {0};
    clip_status status;
    struct clip_adapter adapter;
    struct clip_model_file *file = NULL;
    if (options == NULL) options = &defaults;
    const char *instead = clip_kernels_instead();
    if (instead != NULL) clip_log_write(&options->log, CLIP_LOG_WARNING, "%s", instead);
    CLIP_TRY(clip_adapter_find(&adapter, model, error));
    status = open_whole(&file, adapter.weights != NULL ? adapter.base : model, options, error);
    if (status != CLIP_OK && adapter.weights != NULL)
        clip_error_prefix(error, "%s: its base model", adapter.weights);
    CLIP_TRY(status);
    if (adapter.weights != NULL) CLIP_TRY(clip_adapter_merge(&adapter, file, error));
    *out = file;
    file = NULL;
out:
    clip_model_file_free(file);
    clip_adapter_release(&adapter);
    return status;
}

void clip_model_file_free(struct clip_model_file *file)
{
    if (file == NULL) return;
    clip_model_free(file->model);
    clip_tokenizer_free(file->tokenizer);
    clip_bundle_release(&file->weights);
    free(file->source);
    free(file);
}
