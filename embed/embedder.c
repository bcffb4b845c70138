#include "embed/embedder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "embed/embedder_parts.h"

enum { DEFAULT_MAX_PIXELS = 100000000 };

clip_status clip_embedder_create(struct clip_embedder **out, const struct clip_model_file *file,
                                 const struct clip_embedder_options *options,
                                 struct clip_error *error)
{
    static const struct clip_embedder_options defaults;
    if (options == NULL) options = &defaults;
    struct clip_embedder *e = clip_array_new(1, sizeof *e, error);
    if (e == NULL) return CLIP_ERR_MEMORY;
    e->file = file;
    e->dtype = options->bf16 ? CLIP_BF16 : CLIP_F32;
    e->max_pixels = options->max_pixels > 0 ? options->max_pixels : DEFAULT_MAX_PIXELS;
    clip_status status = CLIP_OK;
    if (options->pack) status = clip_model_pack(file->model, options->bf16, error);
    if (status == CLIP_OK)
        *out = e;
    else
        clip_embedder_free(e);
    return status;
}

void clip_embedder_free(struct clip_embedder *e)
{
    if (e == NULL) return;
    clip_model_file_free(e->owned);
    free(e);
}

int64_t clip_embedder_dim(const struct clip_embedder *e)
{
    return e->file->model->config.embed_dim;
}
int64_t clip_embedder_image_size(const struct clip_embedder *e)
{
    return e->file->model->config.image_size;
}
int64_t clip_embedder_max_pixels(const struct clip_embedder *e) { return e->max_pixels; }
const char *clip_embedder_source(const struct clip_embedder *e)
{
    return e->file->source != NULL ? e->file->source : "the model";
}
const struct clip_model_file *clip_embedder_file(const struct clip_embedder *e) { return e->file; }

double clip_embedder_logit_scale(const struct clip_embedder *e)
{
    return exp((double)*(const float *)e->file->model->logit_scale->data);
}

double clip_embedder_logit_bias(const struct clip_embedder *e)
{
    const struct clip_tensor *bias = e->file->model->logit_bias;
    return bias != NULL ? (double)*(const float *)bias->data : 0.0;
}

clip_status clip_embedder_check_tower(const struct clip_embedder *e, bool image,
                                      struct clip_error *error)
{
    enum clip_towers has = e->file->towers;
    if (has == CLIP_TOWERS_BOTH || has == (image ? CLIP_TOWERS_IMAGE : CLIP_TOWERS_TEXT))
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE, "%s was opened for %s alone; open it for both",
                     clip_embedder_source(e), image ? "texts" : "images");
}

clip_status clip_embedder_start_tape(const struct clip_embedder *e, struct clip_tape **tape,
                                     struct clip_error *error)
{
    clip_status status = *tape == NULL ? clip_tape_create(tape, error) : CLIP_OK;
    if (status != CLIP_OK) return status;
    clip_tape_clear(*tape);
    (*tape)->record = false; /* nothing is kept for backward */
    (*tape)->dtype = e->dtype;
    return CLIP_OK;
}

/* ---- texts as ids ---- */

int32_t clip_embedder_end(const struct clip_embedder *e)
{
    return e->file->tokenizer != NULL ? e->file->tokenizer->end
                                      : (int32_t)e->file->model->config.vocab_size - 1;
}
int32_t clip_embedder_padding(const struct clip_embedder *e) { return (int32_t)e->file->ids.pad; }

clip_status clip_embedder_encode_text(const struct clip_embedder *e, const char *const *texts,
                                      int64_t i, struct clip_ids *ids, int64_t *cut,
                                      struct clip_error *error)
{
    const struct clip_model_file *file = e->file;
    bool was_cut = false;
    ids->count = 0;
    clip_status status = clip_tokenizer_encode(file->tokenizer, texts[i], strlen(texts[i]),
                                               file->cleaning, file->model->config.context_length,
                                               ids, &was_cut, error);
    if (status != CLIP_OK) return clip_error_prefix(error, "text %lld", (long long)i + 1);
    *cut += was_cut;
    return CLIP_OK;
}

clip_status clip_embedder_need_tokenizer(const struct clip_embedder *e, struct clip_error *error)
{
    if (e->file->tokenizer != NULL) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s comes without a tokenizer, so it reads no text; name one with "
                     "--tokenizer FILE",
                     clip_embedder_source(e));
}

clip_status clip_embedder_encode(const struct clip_embedder *e, const char *const *texts, int64_t n,
                                 int32_t padding, int32_t *out, int64_t *cut,
                                 struct clip_error *error)
{
    int64_t context = e->file->model->config.context_length;
    struct clip_ids ids = {0};
    *cut = 0;
    clip_status status = clip_embedder_need_tokenizer(e, error);
    for (int64_t i = 0; i < n && status == CLIP_OK; i++) {
        int32_t *row = out + i * context;
        status = clip_embedder_encode_text(e, texts, i, &ids, cut, error);
        for (int64_t t = 0; t < context && status == CLIP_OK; t++)
            row[t] = t < ids.count ? ids.ids[t] : padding;
    }
    clip_ids_release(&ids);
    return status;
}

clip_status clip_embedder_check_ids(const struct clip_embedder *e, const int32_t *ids, int64_t i,
                                    int64_t n, struct clip_error *error)
{
    int64_t vocabulary = e->file->model->config.vocab_size;
    for (int64_t t = 0; t < n; t++)
        if (ids[t] < 0 || ids[t] >= vocabulary)
            return clip_fail(error, CLIP_ERR_DATA,
                             "row %lld of input_ids holds id %d at place %lld; expected 0 to %lld",
                             (long long)i, (int)ids[t], (long long)t, (long long)vocabulary - 1);
    return CLIP_OK;
}

/* ---- opening ---- */

clip_status clip_embedder_open(struct clip_embedder **out, const char *model,
                               const struct clip_embedder_options *options,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_model_file *file = NULL;
    struct clip_model_file_options open = {0};
    if (options != NULL) {
        open.tokenizer = options->tokenizer;
        open.say = options->say;
        open.weights = options->raw_weights ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA;
        open.towers = options->checksum                 ? CLIP_TOWERS_BOTH
                      : options->use == CLIP_USE_IMAGES ? CLIP_TOWERS_IMAGE
                      : options->use == CLIP_USE_TEXTS  ? CLIP_TOWERS_TEXT
                                                        : CLIP_TOWERS_BOTH;
    }
    CLIP_TRY(clip_model_file_open(&file, model, &open, error));
    if (options != NULL && options->checksum) CLIP_TRY(clip_model_file_sum(file, error));
    CLIP_TRY(clip_embedder_create(out, file, options, error));
    (*out)->owned = file;
    file = NULL;
out:
    clip_model_file_free(file);
    return status;
}
