#include "embed/embedder.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/memory.h"
#include "embed/embedder_parts.h"

enum { DEFAULT_MAX_PIXELS = 100000000, LARGEST_STRUCT = 4096 };

/* As it was first; members are added behind it, none in the room that its alignment may leave. */
enum { FIRST_OPTIONS = offsetof(struct clip_embedder_options, context) + sizeof(void *) };
_Static_assert(sizeof(void *) != 8 ||
                   (offsetof(struct clip_embedder_options, max_pixels) == 16 &&
                    offsetof(struct clip_embedder_options, use) == 24 &&
                    offsetof(struct clip_embedder_options, log) == 32 && FIRST_OPTIONS == 56),
               "programs are compiled with this layout");
_Static_assert(offsetof(struct clip_error, message) == 4 && sizeof(struct clip_error) == 1028,
               "programs are compiled with this layout");

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
    e->upright = options->upright;
    e->raw_weights = options->raw_weights;
    e->cancelled = options->cancelled;
    e->context = options->context;
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
int64_t clip_embedder_context(const struct clip_embedder *e)
{
    return e->file->model->config.context_length;
}
bool clip_embedder_raw_weights(const struct clip_embedder *e) { return e->raw_weights; }
bool clip_embedder_upright(const struct clip_embedder *e) { return e->upright; }

int64_t clip_embedder_max_pixels(const struct clip_embedder *e) { return e->max_pixels; }
const char *clip_embedder_source(const struct clip_embedder *e)
{
    return e->file->source != NULL ? e->file->source : "the model";
}
const char *clip_embedder_checksum(const struct clip_embedder *e) { return e->file->checksum; }
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

clip_status clip_embedder_check_cancelled(const struct clip_embedder *e, struct clip_error *error)
{
    if (e->cancelled == NULL || !e->cancelled(e->context)) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_INTERRUPTED, "the caller has cancelled the call");
}

clip_status clip_embedder_check_enum(int value, int count, const char *name,
                                     struct clip_error *error)
{
    if (value >= 0 && value < count) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%d is no value of enum %s that libclip %s knows; it knows 0 to %d", value,
                     name, clip_version(), count - 1);
}

clip_status clip_embedder_take_struct(void *out, size_t known, const void *from, size_t size,
                                      size_t first, const char *name, struct clip_error *error)
{
    const unsigned char *bytes = from;
    if (size < first || size > LARGEST_STRUCT)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "a struct %s of %s there has never been; pass sizeof(struct %s), here %zu",
                         name, CLIP_COUNT(size, "byte"), name, known);
    for (size_t i = known; i < size; i++)
        if (bytes[i] != 0)
            return clip_fail(error, CLIP_ERR_USAGE,
                             "a member of struct %s is set that libclip %s does not know (byte "
                             "%zu); use the library that the program's clip/clip.h came with, or "
                             "leave it 0",
                             name, clip_version(), i);
    memcpy(out, from, size < known ? size : known);
    return CLIP_OK;
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

clip_status clip_embedder_encode_text(const struct clip_embedder *e, const char *const *texts,
                                      int64_t i, struct clip_ids *ids, int64_t *cut,
                                      struct clip_error *error)
{
    const struct clip_model_file *file = e->file;
    bool was_cut = false;
    ids->count = 0;
    const struct clip_encode_options how = {file->cleaning, file->model->config.context_length};
    clip_status status = clip_tokenizer_encode(file->tokenizer, texts[i], strlen(texts[i]), &how,
                                               ids, &was_cut, error);
    if (status != CLIP_OK) return clip_error_prefix(error, "text %lld", (long long)i + 1);
    *cut += was_cut;
    return CLIP_OK;
}

clip_status clip_embedder_need_tokenizer(const struct clip_embedder *e, struct clip_error *error)
{
    clip_status status = clip_embedder_check_tower(e, false, error);
    if (status != CLIP_OK || e->file->tokenizer != NULL) return status;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s comes without a tokenizer, so it reads no text; name one with "
                     "--tokenizer FILE",
                     clip_embedder_source(e));
}

/* The id that `padding` means. */
static clip_status find_padding(const struct clip_embedder *e, int32_t padding, int32_t *id,
                                struct clip_error *error)
{
    int64_t vocabulary = e->file->model->config.vocab_size;
    *id = padding == CLIP_PAD_MODEL ? (int32_t)e->file->filler
          : padding == CLIP_PAD_END ? e->file->tokenizer->end
                                    : padding;
    if (*id >= 0 && *id < vocabulary) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "rows cannot be filled up with id %d; expected 0 to %lld, or one of enum "
                     "clip_padding",
                     (int)padding, (long long)vocabulary - 1);
}

clip_status clip_embedder_tokenize(const struct clip_embedder *e, const char *const *texts,
                                   int64_t n, int32_t padding, int32_t *ids, int64_t *cut,
                                   struct clip_error *error)
{
    enum { PIECE = 64 };
    clip_status status;
    int64_t context = e->file->model->config.context_length, longer = 0;
    struct clip_ids text = {0};
    int32_t fill;
    CLIP_TRY(clip_embedder_need_tokenizer(e, error));
    CLIP_TRY(find_padding(e, padding, &fill, error));
    for (int64_t i = 0; i < n; i++) {
        int32_t *row = ids + i * context;
        if (i % PIECE == 0) CLIP_TRY(clip_embedder_check_cancelled(e, error));
        CLIP_TRY(clip_embedder_encode_text(e, texts, i, &text, &longer, error));
        for (int64_t t = 0; t < context; t++) row[t] = t < text.count ? text.ids[t] : fill;
    }
out:
    clip_ids_release(&text);
    if (cut != NULL) *cut = longer;
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

/* Whatever the caller's options hold, as those that are known here. */
static clip_status take_options(struct clip_embedder_options *out,
                                const struct clip_embedder_options *options, size_t size,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    *out = (struct clip_embedder_options){0};
    if (options == NULL) return CLIP_OK;
    CLIP_TRY(clip_embedder_take_struct(out, sizeof *out, options, size, FIRST_OPTIONS,
                                       "clip_embedder_options", error));
    CLIP_TRY(
        clip_embedder_check_enum((int)out->use, CLIP_USE_TEXTS + 1, "clip_embedder_use", error));
out:
    return status;
}

clip_status clip_embedder_open_sized(struct clip_embedder **out, const char *model,
                                     const struct clip_embedder_options *options,
                                     size_t options_size, struct clip_error *error)
{
    static const enum clip_towers towers[] = {
        [CLIP_USE_BOTH] = CLIP_TOWERS_BOTH,
        [CLIP_USE_IMAGES] = CLIP_TOWERS_IMAGE,
        [CLIP_USE_TEXTS] = CLIP_TOWERS_TEXT,
    };
    clip_status status;
    struct clip_model_file *file = NULL;
    struct clip_embedder_options all;
    *out = NULL;
    CLIP_TRY(take_options(&all, options, options_size, error));
    const struct clip_model_file_options open = {
        .tokenizer = all.tokenizer,
        .say = all.say,
        .log = {all.log, all.context},
        .weights = all.raw_weights ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA,
        .towers = all.checksum ? CLIP_TOWERS_BOTH : towers[all.use],
    };
    CLIP_TRY(clip_model_file_open(&file, model, &open, error));
    if (all.checksum) CLIP_TRY(clip_model_file_sum(file, error));
    CLIP_TRY(clip_embedder_create(out, file, &all, error));
    (*out)->owned = file;
    file = NULL;
out:
    clip_model_file_free(file);
    return status;
}
