#include "train/teacher.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "core/count.h"
#include "core/file.h"
#include "embed/embedder.h"
#include "embed/embeddings.h"

static clip_status read_bundle(struct clip_bundle *out, const char *path, struct clip_error *error)
{
    if (clip_path_has_suffix(path, ".safetensors")) return clip_safetensors_read(path, out, error);
    if (clip_path_has_suffix(path, ".h5")) return clip_hdf5_read(path, NULL, out, error);
    return clip_fail(error, CLIP_ERR_USAGE,
                     "%s: teacher embeddings are read from .h5 or .safetensors; write them with "
                     "clip_embed --model TEACHER --pairs TRAIN_DATA --output teacher.h5",
                     path);
}

/* Both matrices [n,D], or the sentence that says what is missing. */
static clip_status find_rows(const struct clip_bundle *bundle, const char *path,
                             const struct clip_tensor **image, const struct clip_tensor **text,
                             struct clip_error *error)
{
    *image = clip_bundle_find(bundle, "image_embeds");
    *text = clip_bundle_find(bundle, "text_embeds");
    if (*image == NULL || *text == NULL)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s has no %s; a teacher's embeddings are of images and captions: write "
                         "them with clip_embed --pairs TRAIN_DATA",
                         path, *image == NULL ? "image_embeds" : "text_embeds");
    if ((*image)->dtype != CLIP_F32 || (*text)->dtype != CLIP_F32 || (*image)->ndim != 2 ||
        (*text)->ndim != 2 || (*image)->shape[0] != (*text)->shape[0] ||
        (*image)->shape[1] != (*text)->shape[1] || (*image)->shape[1] < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: image_embeds and text_embeds are not two float32 matrices of one "
                         "shape; write them with clip_embed --pairs TRAIN_DATA",
                         path);
    return CLIP_OK;
}

/* Puts row r of the file at the next sample that has its name: the teacher left out what it could
 * not read, and changed nothing of the order. */
static clip_status place_rows(struct clip_teacher *t, const struct clip_tensor *image,
                              const struct clip_tensor *text, const char *const *names,
                              const char *path, const struct clip_dataset *dataset,
                              struct clip_error *error)
{
    int64_t sample = 0, rows = image->shape[0];
    size_t bytes = (size_t)t->dim * sizeof(float);
    for (int64_t r = 0; r < rows; r++, sample++) {
        const char *name = clip_path_name(names[r]); /* folders may have moved */
        while (sample < t->count &&
               strcmp(name, clip_path_name(dataset->ops->image_name(dataset, sample))) != 0)
            sample++;
        if (sample == t->count)
            return clip_fail(error, CLIP_ERR_DATA,
                             "%s: row %lld is of \"%.200s\", which is not next among the %s of "
                             "train_data; embed this data with clip_embed --pairs",
                             path, (long long)r, names[r], CLIP_COUNT(t->count, "sample"));
        memcpy(t->image + sample * t->dim, (const float *)image->data + r * t->dim, bytes);
        memcpy(t->text + sample * t->dim, (const float *)text->data + r * t->dim, bytes);
        t->there[sample] = true;
    }
    return CLIP_OK;
}

static clip_status read_scale(const struct clip_bundle *bundle, const char *path, float *scale,
                              struct clip_error *error)
{
    const struct clip_tensor *logit_scale = clip_bundle_find(bundle, "logit_scale");
    *scale = 100; /* where training of CLIP ends (Radford et al. 2021, section 2.5) */
    if (logit_scale == NULL) return CLIP_OK;
    if (logit_scale->dtype == CLIP_F32 && clip_tensor_count(logit_scale) == 1)
        *scale = expf(*(const float *)logit_scale->data);
    if (logit_scale->dtype != CLIP_F32 || clip_tensor_count(logit_scale) != 1 || !isfinite(*scale))
        return clip_fail(error, CLIP_ERR_DATA, "%s: logit_scale is no finite float32 number", path);
    return CLIP_OK;
}

clip_status clip_teacher_read(struct clip_teacher *t, const char *path,
                              const struct clip_dataset *dataset, struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    struct clip_arena arena = {0};
    const struct clip_tensor *image, *text;
    const char **names = NULL;
    int64_t named = 0;
    CLIP_TRY(read_bundle(&bundle, path, error));
    CLIP_TRY(find_rows(&bundle, path, &image, &text, error));
    CLIP_TRY(read_scale(&bundle, path, &t->scale, error));
    const struct clip_bundle_text *list = clip_bundle_text(&bundle, "names");
    if (list != NULL)
        CLIP_TRY(
            clip_names_from_json(list->value, list->size, path, &arena, &names, &named, error));
    if (named != image->shape[0])
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s has %s and %s; write it with clip_embed --pairs", path,
                           CLIP_COUNT(image->shape[0], "row"), CLIP_COUNT(named, "name")));
    t->count = dataset->count;
    t->dim = image->shape[1];
    CLIP_NEW(t->image, t->count * t->dim);
    CLIP_NEW(t->text, t->count * t->dim);
    CLIP_NEW(t->there, t->count);
    CLIP_TRY(place_rows(t, image, text, names, path, dataset, error));
    clip_rows_normalise(t->image, t->count, t->dim);
    clip_rows_normalise(t->text, t->count, t->dim);
    for (int64_t i = 0; i < t->count * t->dim; i++)
        if (!isfinite(t->image[i]) || !isfinite(t->text[i]))
            CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                               "%s: the rows of sample %lld hold what is no number; embed the data "
                               "again",
                               path, (long long)(i / t->dim)));
out:
    clip_arena_release(&arena);
    clip_bundle_release(&bundle);
    if (status != CLIP_OK) clip_teacher_release(t);
    return status;
}

void clip_teacher_take(struct clip_teacher *t, const int64_t *samples, int64_t n)
{
    size_t bytes = (size_t)t->dim * sizeof(float);
    for (int64_t i = 0; i < n; i++) { /* samples[i] >= i: rows only move down */
        memmove(t->image + i * t->dim, t->image + samples[i] * t->dim, bytes);
        memmove(t->text + i * t->dim, t->text + samples[i] * t->dim, bytes);
        t->there[i] = t->there[samples[i]];
    }
    t->count = n;
}

void clip_teacher_release(struct clip_teacher *t)
{
    free(t->image);
    free(t->text);
    free(t->there);
    *t = (struct clip_teacher){0};
}
