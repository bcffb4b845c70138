#include "train/locked.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "checkpoints/checksum.h"
#include "core/choice.h"
#include "core/file.h"
#include "core/string_map.h"
#include "embed/images.h"
#include "formats/model_file.h"
#include "train/setup.h"

struct clip_locked {
    struct clip_model_file file;
    struct clip_embedder *embedder;
    int64_t dim, context;
    /* images */
    float *images; /* [count,E], NULL: not kept */
    bool *usable;  /* [count] */
    /* captions */
    bool texts;
    struct clip_string_map captions; /* those embedded, by their tokens as int32 */
    struct clip_buffer rows;         /* float [captions,E] */
    int64_t *numbers;                /* of the batch's texts */
    int64_t numbers_capacity;
    int32_t *fresh; /* [new captions, context], padded */
    int64_t fresh_capacity;
};

const char *clip_cache_locked_name(int cache)
{
    static const char *const names[] = {
        [CLIP_CACHE_LOCKED_AUTO] = "auto",
        [CLIP_CACHE_LOCKED_OFF] = "off",
    };
    return CLIP_NAME_OF(names, cache);
}

static bool wholly_locked(const struct clip_model *m, enum clip_towers tower)
{
    for (int64_t i = 0; i < m->param_count; i++)
        if (m->params[i].tower == tower && m->params[i].tensor.needs_grad) return false;
    return true;
}

/* ---- images ---- */

static bool is_augmented(const struct clip_config *c)
{
    return c->data.aug_scale_min < 1 || c->data.aug_flip || c->data.aug_pad > 0 ||
           c->train.patch_dropout > 0;
}

/* All that a row depends on: the tower's weights, preprocessing, and the samples by name. */
static clip_status describe(const struct clip_setup *s, struct clip_buffer *out,
                            struct clip_error *error)
{
    const struct clip_preprocess *p = &s->preprocess;
    uint32_t weights = 0, names = 0;
    for (int64_t i = 0; i < s->model->param_count; i++) {
        const struct clip_param *param = &s->model->params[i];
        if (param->tower != CLIP_TOWERS_IMAGE) continue;
        weights = clip_crc32(weights, param->tensor.data,
                             (size_t)clip_tensor_count(&param->tensor) * sizeof(float));
    }
    for (int64_t i = 0; i < s->train_data->count; i++) {
        const char *name = s->train_data->ops->image_name(s->train_data, i);
        names = clip_crc32(names, name, strlen(name) + 1);
    }
    return clip_buffer_printf(
        out, error,
        "weights %08x, %lld samples %08x, size %lld %lld, ways %d %d %d, "
        "mean %.9g %.9g %.9g, std %.9g %.9g %.9g%s",
        weights, (long long)s->train_data->count, names, (long long)p->image_size,
        (long long)p->shortest, (int)p->interpolation, (int)p->resize_mode, (int)p->crop,
        (double)p->mean[0], (double)p->mean[1], (double)p->mean[2], (double)p->std[0],
        (double)p->std[1], (double)p->std[2], s->limits.upright ? ", upright" : "");
}

/* Rows that an earlier start of the run kept, if they are these. */
static bool read_kept(struct clip_locked *l, const char *path, const struct clip_buffer *key,
                      int64_t count)
{
    struct clip_bundle bundle = {0};
    struct clip_error ignored;
    bool same = false;
    if (clip_path_exists(path) && clip_hdf5_read(path, NULL, &bundle, &ignored) == CLIP_OK) {
        const struct clip_bundle_text *text = clip_bundle_text(&bundle, "depends_on");
        const struct clip_tensor *rows = clip_bundle_find(&bundle, "image_embeds"),
                                 *usable = clip_bundle_find(&bundle, "usable");
        same = text != NULL && text->size == key->size &&
               memcmp(text->value, key->data, key->size) == 0 && rows != NULL && usable != NULL &&
               rows->dtype == CLIP_F32 && usable->dtype == CLIP_U8 &&
               clip_tensor_count(rows) == count * l->dim && clip_tensor_count(usable) == count;
        if (same) memcpy(l->images, rows->data, (size_t)(count * l->dim) * sizeof(float));
        for (int64_t i = 0; same && i < count; i++)
            l->usable[i] = ((const uint8_t *)usable->data)[i] != 0;
    }
    clip_bundle_release(&bundle);
    return same;
}

static clip_status write_kept(const struct clip_locked *l, const char *path,
                              const struct clip_buffer *key, int64_t count,
                              struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    const struct clip_tensor rows = clip_tensor_f32(l->images, count, l->dim),
                             usable = clip_tensor_view(CLIP_U8, l->usable, 1, &count);
    CLIP_TRY(clip_bundle_add(&bundle, "image_embeds", &rows, error));
    CLIP_TRY(clip_bundle_add(&bundle, "usable", &usable, error));
    CLIP_TRY(clip_bundle_add_text(&bundle, "depends_on", key->data, key->size, error));
    CLIP_TRY(clip_hdf5_write(path, &bundle, error));
out:
    clip_bundle_release(&bundle);
    return status;
}

static clip_status keep_images(struct clip_locked *l, const struct clip_setup *s,
                               const char *folder, bool quiet, struct clip_error *error)
{
    clip_status status;
    int64_t count = s->train_data->count, floats;
    struct clip_images images = {0};
    struct clip_buffer key = {0};
    char *path = clip_path_join(folder, "locked_images.h5", error);
    CLIP_TRY(path != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    if (!clip_mul_i64(count, l->dim, &floats)) floats = -1;
    CLIP_NEW(l->images, floats);
    CLIP_NEW(l->usable, count);
    CLIP_TRY(describe(s, &key, error));
    bool first = clip_comm_rank(s->comm) == 0; /* it embeds for all */
    if (!first) CLIP_TRY(clip_comm_agree(s->comm, CLIP_OK, error));
    if (read_kept(l, path, &key, count)) goto out;
    if (!first)
        CLIP_TRY(clip_fail(error, CLIP_ERR_IO,
                           "%s, which the first process wrote, cannot be read here; the run's "
                           "folder must be on a file system that all hosts share",
                           path));
    CLIP_TRY(clip_images_over(&images, s->train_data, error));
    CLIP_TRY(
        clip_images_embed_all(&images, l->embedder, CLIP_UNIT, quiet, l->images, l->usable, error));
    CLIP_TRY(write_kept(l, path, &key, count, error));
out:
    if (clip_comm_rank(s->comm) == 0) status = clip_comm_agree(s->comm, status, error);
    clip_images_release(&images);
    clip_buffer_release(&key);
    free(path);
    return status;
}

/* ---- captions ---- */

/* Rows of the captions from `first` on. */
static clip_status embed_fresh(struct clip_locked *l, int64_t first, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t n = l->captions.count - first;
    if (n == 0) return CLIP_OK;
    CLIP_TRY(
        clip_array_grow(&l->fresh, &l->fresh_capacity, n * l->context, sizeof *l->fresh, error));
    for (int64_t i = 0; i < n; i++) {
        const struct clip_string_entry *tokens = &l->captions.entries[first + i];
        int32_t *row = l->fresh + i * l->context;
        size_t bytes = (size_t)l->context * sizeof *row;
        assert(tokens->n <= bytes);
        memset(row, 0, bytes);
        memcpy(row, tokens->key, tokens->n);
    }
    size_t bytes = (size_t)(n * l->dim) * sizeof(float), before = l->rows.size;
    CLIP_TRY(clip_buffer_reserve(&l->rows, before + bytes, error));
    CLIP_TRY(clip_embedder_ids(l->embedder, l->fresh, n, l->context, CLIP_UNIT,
                               (float *)(void *)(l->rows.data + before), error));
    l->rows.size = before + bytes;
out:
    return status;
}

clip_status clip_locked_prepare(struct clip_locked *l, const struct clip_batch *batch,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (l == NULL || !l->texts) return CLIP_OK;
    int64_t texts = batch->count + batch->negatives, first = l->captions.count;
    CLIP_TRY(clip_array_grow(&l->numbers, &l->numbers_capacity, texts, sizeof *l->numbers, error));
    for (int64_t i = 0; i < texts; i++) {
        const int32_t *tokens = batch->tokens + batch->offsets[i];
        size_t n = (size_t)(batch->offsets[i + 1] - batch->offsets[i]) * sizeof *tokens;
        CLIP_TRY(
            clip_string_map_number(&l->captions, (const char *)tokens, n, &l->numbers[i], error));
    }
    CLIP_TRY(embed_fresh(l, first, error));
out:
    return status;
}

/* ---- the whole ---- */

bool clip_locked_images(const struct clip_locked *l) { return l != NULL && l->images != NULL; }
bool clip_locked_texts(const struct clip_locked *l) { return l != NULL && l->texts; }
const bool *clip_locked_usable(const struct clip_locked *l) { return l != NULL ? l->usable : NULL; }

const float *clip_locked_image(const struct clip_locked *l, const struct clip_batch *batch,
                               int64_t i)
{
    return l->images + batch->samples[i] * l->dim;
}

const float *clip_locked_text(const struct clip_locked *l, int64_t i)
{
    return (const float *)(const void *)l->rows.data + l->numbers[i] * l->dim;
}

clip_status clip_locked_open(struct clip_locked **out, const struct clip_setup *s,
                             const char *folder, bool quiet, struct clip_error *error)
{
    clip_status status;
    struct clip_locked *l = NULL;
    const struct clip_config *c = s->config;
    bool images = wholly_locked(s->model, CLIP_TOWERS_IMAGE) && !is_augmented(c);
    bool texts = wholly_locked(s->model, CLIP_TOWERS_TEXT);
    const struct clip_embedder_options options = {.max_pixels = s->limits.max_pixels,
                                                  .upright = s->limits.upright};
    *out = NULL;
    if (c->train.cache_locked == CLIP_CACHE_LOCKED_OFF || (!images && !texts)) return CLIP_OK;
    if (s->shard_group > 0) return CLIP_OK; /* there is no end of what it would keep */
    CLIP_NEW(l, 1);
    l->file = (struct clip_model_file){.model = s->model,
                                       .tokenizer = s->tokenizer,
                                       .preprocess = s->preprocess,
                                       .cleaning = s->cleaning};
    l->dim = s->model_config.embed_dim;
    l->context = s->model_config.context_length;
    l->texts = texts;
    CLIP_TRY(clip_embedder_create(&l->embedder, &l->file, &options, error));
    if (images) CLIP_TRY(keep_images(l, s, folder, quiet, error));
    *out = l;
    l = NULL;
out:
    clip_locked_free(l);
    return status;
}

void clip_locked_free(struct clip_locked *l)
{
    if (l == NULL) return;
    clip_embedder_free(l->embedder);
    clip_string_map_release(&l->captions);
    clip_buffer_release(&l->rows);
    void *arrays[] = {l->images, l->usable, l->numbers, l->fresh, l};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}
