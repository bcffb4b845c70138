/* Embeddings of a data set's pairs: images and captions side by side. */
#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "embed/embeddings.h"
#include "embed/texts.h"
#include "formats/model_file.h"

/* captions [n] of the samples whose image is good, packed with their numbers. */
struct captions {
    const char **lines;
    int64_t *samples, count;
    struct clip_arena arena;
};

static clip_status read_captions(struct captions *c, const struct clip_dataset *dataset,
                                 const bool *good, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer caption = {0};
    CLIP_NEW(c->lines, dataset->count);
    CLIP_NEW(c->samples, dataset->count);
    for (int64_t i = 0; i < dataset->count; i++) {
        if (!good[i]) continue;
        status = dataset->ops->caption(dataset, i, NULL, &caption, error);
        if (clip_machine_failed(status)) goto out;
        if (status != CLIP_OK) {
            clip_warn("skipped: %s", error->message);
            status = CLIP_OK;
            continue;
        }
        char *line = clip_arena_string(&c->arena, caption.data, caption.size, error);
        if (line == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
        c->lines[c->count] = line;
        c->samples[c->count++] = i;
    }
out:
    clip_buffer_release(&caption);
    return status;
}

static clip_status add_scale(struct clip_embeddings *out, const struct clip_embedder *e,
                             struct clip_error *error)
{
    float *scale = clip_arena_alloc(&out->data, 1, sizeof *scale, error);
    if (scale == NULL) return CLIP_ERR_MEMORY;
    *scale = *(const float *)clip_embedder_file(e)->model->logit_scale->data;
    const struct clip_tensor tensor = clip_tensor_view(CLIP_F32, scale, 0, NULL);
    return clip_bundle_add(&out->bundle, "logit_scale", &tensor, error);
}

clip_status clip_embeddings_from_pairs(struct clip_embeddings *out, const struct clip_embedder *e,
                                       const struct clip_dataset *dataset, enum clip_row_kind kind,
                                       bool quiet, struct clip_error *error)
{
    clip_status status;
    struct clip_images images = {0};
    struct captions captions = {0};
    int64_t dim = clip_embedder_dim(e), n, cut = 0, floats;
    float *all = NULL, *image_rows, *text_rows;
    bool *good = NULL;
    if (!clip_mul_i64(dataset->count, dim, &floats)) floats = -1;
    CLIP_NEW(all, floats);
    CLIP_NEW(good, dataset->count);
    CLIP_TRY(clip_images_over(&images, dataset, error));
    CLIP_TRY(clip_images_embed_all(&images, e, kind, quiet, all, good, error));
    CLIP_TRY(read_captions(&captions, dataset, good, error));
    out->count = n = captions.count;
    out->skipped = dataset->count - n;
    if (n == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "no pair of %lld can be used",
                           (long long)dataset->count));
    CLIP_TRY(clip_embeddings_add(out, "image_embeds", n, dim, &image_rows, error));
    CLIP_TRY(clip_embeddings_add(out, "text_embeds", n, dim, &text_rows, error));
    CLIP_TRY(add_scale(out, e, error));
    out->names = clip_arena_alloc(&out->data, n, sizeof *out->names, error);
    if (out->names == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = captions.samples[k];
        memcpy(image_rows + k * dim, all + i * dim, (size_t)dim * sizeof *all);
        out->names[k] = dataset->ops->image_name(dataset, i);
    }
    const struct clip_texts_options options = {kind, quiet};
    CLIP_TRY(clip_texts_embed(e, captions.lines, n, &options, text_rows, &cut, error));
    clip_texts_warn_cut(cut, "caption");
out:
    free(all);
    free(good);
    free(captions.lines);
    free(captions.samples);
    clip_arena_release(&captions.arena);
    clip_images_release(&images);
    return status;
}
