#include "train/samples.h"

#include <stdlib.h>
#include <string.h>

#include "train/validate.h"

struct taking {
    struct clip_samples *out;
    const struct clip_setup *setup;
    const struct clip_dataset *data;
    int64_t numbers[CLIP_SAMPLES_MOST]; /* in the data set */
    uint8_t *squares;                   /* [most,S,S,3], what the model is shown */
    struct clip_sample sample;
};

static bool has_image(const struct taking *t, int64_t sample)
{
    for (int64_t i = 0; i < t->out->count; i++)
        if (t->data->ops->image_name(t->data, t->numbers[i]) ==
            t->data->ops->image_name(t->data, sample))
            return true;
    return false;
}

/* Reads a sample into the next place. */
static clip_status take(struct taking *t, int64_t number, struct clip_error *error)
{
    clip_status status;
    struct clip_samples *o = t->out;
    struct clip_image image = {0};
    int64_t s = t->setup->preprocess.image_size, k = o->count;
    struct clip_image square = {s, s, t->squares + k * s * s * 3};
    struct clip_image small = {o->side, o->side, o->images + k * o->side * o->side * 3};
    CLIP_TRY(t->data->ops->read(t->data, number, NULL, &t->sample, error));
    CLIP_TRY(clip_image_decode((const uint8_t *)t->sample.image.data, t->sample.image.size,
                               &t->setup->limits, &image, error));
    CLIP_TRY(clip_preprocess_image(&t->setup->preprocess, &image, square.rgb, error));
    CLIP_TRY(clip_image_resize(&small, &square, CLIP_BICUBIC, error));
    o->captions[k] =
        clip_arena_string(&o->arena, t->sample.caption.data, t->sample.caption.size, error);
    CLIP_TRY(o->captions[k] != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    t->numbers[o->count++] = number;
out:
    clip_image_release(&image);
    return status;
}

/* Evenly spaced samples; a bad one, or one whose image is there, gives way to the next. */
static clip_status take_all(struct taking *t, struct clip_error *error)
{
    int64_t n = t->data->count, most = n < CLIP_SAMPLES_MOST ? n : CLIP_SAMPLES_MOST;
    struct clip_error ignored;
    for (int64_t i = 0; i < most; i++) {
        int64_t end = (i + 1) * n / most, from = i * n / most;
        if (end > from + 8) end = from + 8;
        clip_status status = CLIP_ERR_DATA;
        for (int64_t k = from; k < end && status != CLIP_OK; k++) {
            if (has_image(t, k)) continue;
            status = take(t, k, &ignored);
            if (clip_machine_failed(status)) return clip_fail(error, status, "%s", ignored.message);
        }
    }
    return CLIP_OK;
}

static clip_status compare(struct taking *t, struct clip_error *error)
{
    clip_status status;
    struct clip_samples *o = t->out;
    struct clip_trained trained;
    int64_t s = t->setup->preprocess.image_size, n = o->count, dim;
    float *image_rows = NULL, *text_rows = NULL;
    struct clip_image_source images[CLIP_SAMPLES_MOST] = {0};
    for (int64_t i = 0; i < n; i++)
        images[i] =
            (struct clip_image_source){.rgb = t->squares + i * s * s * 3, .width = s, .height = s};
    CLIP_TRY(clip_trained_open(&trained, t->setup, error));
    dim = clip_embedder_dim(trained.embedder);
    CLIP_NEW(image_rows, n * dim);
    CLIP_NEW(text_rows, n * dim);
    CLIP_TRY(clip_embedder_images(trained.embedder, images, n, CLIP_UNIT, image_rows, NULL, error));
    CLIP_TRY(
        clip_embedder_texts(trained.embedder, o->captions, n, CLIP_UNIT, text_rows, NULL, error));
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t d = 0; d < dim; d++)
                sum += image_rows[i * dim + d] * text_rows[j * dim + d];
            o->cosines[i * n + j] = sum;
            o->fits[i * n + j] = i == j ||
                                 t->data->group[t->numbers[i]] == t->data->group[t->numbers[j]] ||
                                 strcmp(o->captions[i], o->captions[j]) == 0;
        }
out:
    clip_trained_close(&trained);
    free(image_rows);
    free(text_rows);
    return status;
}

static clip_status allocate(struct clip_samples *o, struct clip_error *error)
{
    const int64_t most = CLIP_SAMPLES_MOST;
    o->captions = clip_arena_alloc(&o->arena, most, sizeof *o->captions, error);
    o->images = clip_arena_alloc(&o->arena, most * o->side * o->side * 3, 1, error);
    o->cosines = clip_arena_alloc(&o->arena, most * most, sizeof *o->cosines, error);
    o->fits = clip_arena_alloc(&o->arena, most * most, sizeof *o->fits, error);
    bool all = o->captions != NULL && o->images != NULL && o->cosines != NULL && o->fits != NULL;
    return all ? CLIP_OK : CLIP_ERR_MEMORY;
}

clip_status clip_samples_take(struct clip_samples *out, const struct clip_setup *setup,
                              struct clip_error *error)
{
    clip_status status;
    int64_t s = setup->preprocess.image_size;
    struct taking t = {.out = out, .setup = setup};
    t.data = setup->val_data != NULL ? setup->val_data : clip_dataset_example(setup->train_data);
    *out = (struct clip_samples){.of_validation = setup->val_data != NULL,
                                 .side = s < CLIP_SAMPLES_SIDE ? s : CLIP_SAMPLES_SIDE};
    CLIP_TRY(allocate(out, error));
    CLIP_NEW(t.squares, CLIP_SAMPLES_MOST * s * s * 3);
    CLIP_TRY(take_all(&t, error));
    if (out->count > 0) CLIP_TRY(compare(&t, error));
out:
    free(t.squares);
    clip_sample_release(&t.sample);
    if (status != CLIP_OK) clip_samples_release(out);
    return status;
}

void clip_samples_release(struct clip_samples *samples)
{
    clip_arena_release(&samples->arena);
    *samples = (struct clip_samples){0};
}

void clip_samples_rank(const struct clip_samples *samples, int64_t i, int64_t *order)
{
    const float *row = samples->cosines + i * samples->count;
    for (int64_t j = 0; j < samples->count; j++) {
        int64_t k = j;
        for (; k > 0 && row[order[k - 1]] < row[j]; k--) order[k] = order[k - 1];
        order[k] = j;
    }
}
