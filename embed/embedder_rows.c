/* Images and texts as rows of embeddings, a batch at a time: threads decode and tokenize its
 * items, then it goes through the tower as one. A product's rows are the same bits whatever rows
 * stand beside them (kernels/gemm.h), so an embedding does not depend on its neighbours; where
 * OpenBLAS multiplies, which rounds a row by its place, a batch is one item. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/memory.h"
#include "core/threads.h"
#include "data/image/image.h"
#include "embed/embedder.h"
#include "embed/embedder_parts.h"
#include "kernels/gemm.h"

enum { TOWER_ROWS = 2048, MOST_ITEMS = 64 }; /* rows of activations in a batch, about; items */

struct slot { /* one item of the batch */
    clip_status status;
    struct clip_error error;
    struct clip_ids ids;   /* a text's, kept from batch to batch for its memory */
    const int32_t *tokens; /* [length] */
    int64_t length, cut;
};

struct job {
    const struct clip_embedder *embedder;
    enum clip_row_kind kind;
    bool vision;                 /* images or pixels; else texts or ids */
    bool pixels_only;            /* of images: no tower is run */
    float *out;                  /* [n,E]; pixels_only: [n,3,S,S] */
    struct clip_error *failures; /* [n], or NULL: the first failure fails the call */
    /* fills the slot of item i, number k of the batch; NULL: there is nothing to do */
    clip_status (*prepare)(struct job *job, int64_t i, int64_t k, struct clip_error *error);
    /* what it reads */
    const char *images; /* struct clip_image_source, or the caller's, of another size: */
    size_t image_size;
    const float *pixels;
    const char *const *texts;
    const int32_t *ids;
    int64_t length;
    /* the batch: items [first, first + count) */
    int64_t first, count, most;
    struct slot slots[MOST_ITEMS];
    float *room;      /* images: [most,3,S,S]; pixels_only: in `out` */
    uint8_t *squares; /* images: [S,S,3] a thread */
    int32_t *tokens;  /* texts: [most * context] */
    struct clip_tape *tape;
};

static int64_t pixels_of(const struct job *job)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    return 3 * size * size;
}

/* ---- one batch ---- */

static void prepare_slot(void *context, int64_t k)
{
    struct job *job = context;
    struct slot *slot = &job->slots[k];
    slot->error.status = CLIP_OK;
    slot->status = CLIP_OK;
    if (job->prepare != NULL) slot->status = job->prepare(job, job->first + k, k, &slot->error);
}

/* What became of the batch's items goes to the caller: rows where `from` has one for each item that
 * is good, zeros for each that is not. */
static clip_status hand_over(const struct job *job, const float *from, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t dim = job->pixels_only ? pixels_of(job) : clip_embedder_dim(job->embedder);
    for (int64_t k = 0; k < job->count; k++) {
        const struct slot *slot = &job->slots[k];
        float *row = job->out + (job->first + k) * dim;
        if (job->failures != NULL) job->failures[job->first + k] = slot->error;
        if (slot->status != CLIP_OK) {
            memset(row, 0, (size_t)dim * sizeof *row);
            if (job->failures != NULL && !clip_machine_failed(slot->status)) continue;
            if (status == CLIP_OK) *error = slot->error;
            if (status == CLIP_OK) status = slot->status;
            continue;
        }
        if (from == NULL) continue;
        memcpy(row, from, (size_t)dim * sizeof *row);
        from += dim;
        if (job->kind == CLIP_UNIT) clip_rows_normalise(row, 1, dim);
    }
    return status;
}

/* The pixels of the good slots one behind the other. */
static const float *gather_pixels(const struct job *job, int64_t *good)
{
    int64_t size = pixels_of(job);
    *good = job->count;
    if (job->pixels != NULL) return job->pixels + job->first * size;
    *good = 0;
    for (int64_t k = 0; k < job->count; k++) {
        if (job->slots[k].status != CLIP_OK) continue;
        if (*good < k)
            memcpy(job->room + *good * size, job->room + k * size, (size_t)size * sizeof(float));
        (*good)++;
    }
    return job->room;
}

static struct clip_tensor *image_features(const struct job *job)
{
    int64_t good, size = clip_embedder_image_size(job->embedder);
    const float *pixels = gather_pixels(job, &good);
    const int64_t shape[] = {good, 3, size, size};
    struct clip_tensor x = clip_tensor_view(CLIP_F32, (float *)(uintptr_t)pixels, 4, shape);
    return good < 1 ? NULL : clip_vision_features(job->tape, job->embedder->file->model, &x, NULL);
}

static struct clip_tensor *text_features(const struct job *job)
{
    int32_t offsets[MOST_ITEMS + 1] = {0};
    int64_t good = 0;
    for (int64_t k = 0; k < job->count; k++) {
        const struct slot *slot = &job->slots[k];
        if (slot->status != CLIP_OK) continue;
        memcpy(job->tokens + offsets[good], slot->tokens,
               (size_t)slot->length * sizeof *job->tokens);
        offsets[good + 1] = offsets[good] + (int32_t)slot->length;
        good++;
    }
    struct clip_tensor tokens = clip_tensor_i32(job->tokens, offsets[good]);
    struct clip_tensor ends = clip_tensor_i32(offsets, good + 1);
    return good < 1 ? NULL
                    : clip_text_features(job->tape, job->embedder->file->model, &tokens, &ends);
}

static clip_status embed_batch(struct job *job, struct clip_error *error)
{
    clip_status status;
    if (job->pixels_only) return hand_over(job, NULL, error);
    CLIP_TRY(clip_embedder_start_tape(job->embedder, &job->tape, error));
    const struct clip_tensor *features = job->vision ? image_features(job) : text_features(job);
    CLIP_TRY(clip_tape_status(job->tape, error));
    CLIP_TRY(hand_over(job, features != NULL ? features->data : NULL, error));
out:
    return status;
}

static clip_status make_room(struct job *job, int64_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_model_config *c = &job->embedder->file->model->config;
    job->most = job->vision ? TOWER_ROWS / clip_model_image_rows(c) : MOST_ITEMS;
    if (job->most > MOST_ITEMS) job->most = MOST_ITEMS;
    if (job->most < 1 || !clip_gemm_rows_independent()) job->most = 1;
    if (job->pixels_only) job->most = MOST_ITEMS;
    if (job->most > n) job->most = n > 0 ? n : 1;
    if (job->vision && job->pixels == NULL) {
        if (!job->pixels_only) CLIP_NEW(job->room, job->most * pixels_of(job));
        CLIP_NEW(job->squares, clip_threads_count() * pixels_of(job));
    } else if (!job->vision) {
        CLIP_NEW(job->tokens, job->most * c->context_length);
    }
out:
    return status;
}

/* Runs the job over n items; the first that failed, by number, gives the error. */
static clip_status run(struct job *job, int64_t n, int64_t *cut, struct clip_error *error)
{
    clip_status status;
    if (!job->pixels_only) CLIP_TRY(clip_embedder_check_tower(job->embedder, job->vision, error));
    CLIP_TRY(clip_embedder_check_enum((int)job->kind, CLIP_RAW + 1, "clip_row_kind", error));
    CLIP_TRY(make_room(job, n, error));
    for (job->first = 0; job->first < n; job->first += job->most) {
        CLIP_TRY(clip_embedder_check_cancelled(job->embedder, error));
        job->count = n - job->first < job->most ? n - job->first : job->most;
        if (job->pixels_only) job->room = job->out + job->first * pixels_of(job);
        clip_parallel_for(job->count, prepare_slot, job);
        for (int64_t k = 0; cut != NULL && k < job->count; k++) *cut += job->slots[k].cut;
        CLIP_TRY(embed_batch(job, error));
    }
out:
    clip_tape_free(job->tape);
    for (int k = 0; k < MOST_ITEMS; k++) clip_ids_release(&job->slots[k].ids);
    if (!job->pixels_only) free(job->room);
    free(job->squares);
    free(job->tokens);
    return status;
}

/* ---- images ---- */

/* Image i of the caller's, as a structure of ours. */
static struct clip_image_source source_of(const struct job *job, int64_t i)
{
    struct clip_image_source source = {0};
    size_t known = sizeof source;
    memcpy(&source, job->images + (size_t)i * job->image_size,
           job->image_size < known ? job->image_size : known);
    return source;
}

static clip_status decode(const struct job *job, const struct clip_image_source *source,
                          struct clip_image *out, struct clip_error *error)
{
    const struct clip_image_limits limits = {.max_pixels = job->embedder->max_pixels,
                                             .upright = job->embedder->upright};
    if (source->path != NULL) return clip_image_decode_file(source->path, &limits, out, error);
    if (source->bytes != NULL)
        return clip_image_decode(source->bytes, source->size, &limits, out, error);
    return clip_fail(error, CLIP_ERR_USAGE,
                     "the image has neither a path nor bytes nor rgb; set one of them");
}

static clip_status prepare_image(struct job *job, int64_t i, int64_t k, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_preprocess *preprocess = &job->embedder->file->preprocess;
    const struct clip_image_source source = source_of(job, i);
    struct clip_image image = {0};
    struct clip_image given = {source.width, source.height, (uint8_t *)(uintptr_t)source.rgb};
    uint8_t *square = job->squares + clip_thread_number() * pixels_of(job);
    if (source.rgb == NULL) CLIP_TRY(decode(job, &source, &image, error));
    if (source.rgb != NULL && (source.width < 1 || source.height < 1))
        CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                           "the image has rgb of %lld x %lld pixels; set its width and height",
                           (long long)source.width, (long long)source.height));
    CLIP_TRY(
        clip_preprocess_image(preprocess, source.rgb != NULL ? &given : &image, square, error));
    clip_preprocess_normalise(preprocess, square, job->room + k * pixels_of(job));
out:
    clip_image_release(&image);
    return status;
}

/* As it was first; see clip_embedder_take_struct. */
enum { FIRST_IMAGE = offsetof(struct clip_image_source, height) + sizeof(int64_t) };
_Static_assert(sizeof(void *) != 8 ||
                   (offsetof(struct clip_image_source, width) == 32 && FIRST_IMAGE == 48),
               "programs are compiled with this layout");

/* Runs a job over images of the caller's, whose structures have a size of their own. */
static clip_status run_images(struct job *job, const struct clip_image_source *images,
                              size_t image_size, int64_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_image_source known;
    job->images = (const char *)images;
    job->image_size = image_size;
    job->prepare = prepare_image;
    for (int64_t i = 0; i < n; i++)
        CLIP_TRY(clip_embedder_take_struct(&known, sizeof known,
                                           job->images + (size_t)i * image_size, image_size,
                                           FIRST_IMAGE, "clip_image_source", error));
    CLIP_TRY(run(job, n, NULL, error));
out:
    return status;
}

clip_status clip_embedder_images_sized(const struct clip_embedder *e,
                                       const struct clip_image_source *images, size_t image_size,
                                       int64_t n, enum clip_row_kind kind, float *out,
                                       struct clip_error *failures, struct clip_error *error)
{
    struct job job = {
        .embedder = e, .vision = true, .kind = kind, .out = out, .failures = failures};
    return run_images(&job, images, image_size, n, error);
}

clip_status clip_embedder_preprocess_sized(const struct clip_embedder *e,
                                           const struct clip_image_source *images,
                                           size_t image_size, int64_t n, float *pixels,
                                           struct clip_error *failures, struct clip_error *error)
{
    struct job job = {.embedder = e,
                      .vision = true,
                      .pixels_only = true,
                      .kind = CLIP_RAW,
                      .out = pixels,
                      .failures = failures};
    return run_images(&job, images, image_size, n, error);
}

clip_status clip_embedder_pixels(const struct clip_embedder *e, const float *pixels, int64_t n,
                                 enum clip_row_kind kind, float *out, struct clip_error *error)
{
    struct job job = {.embedder = e, .vision = true, .kind = kind, .out = out, .pixels = pixels};
    return run(&job, n, NULL, error);
}

/* ---- texts ---- */

static clip_status prepare_text(struct job *job, int64_t i, int64_t k, struct clip_error *error)
{
    struct slot *slot = &job->slots[k];
    slot->cut = 0;
    clip_status status =
        clip_embedder_encode_text(job->embedder, job->texts, i, &slot->ids, &slot->cut, error);
    slot->tokens = slot->ids.ids;
    slot->length = slot->ids.count;
    return status;
}

clip_status clip_embedder_texts(const struct clip_embedder *e, const char *const *texts, int64_t n,
                                enum clip_row_kind kind, float *out, int64_t *cut,
                                struct clip_error *error)
{
    if (cut != NULL) *cut = 0;
    clip_status status = clip_embedder_need_tokenizer(e, error);
    if (status != CLIP_OK) return status;
    struct job job = {
        .embedder = e, .kind = kind, .out = out, .prepare = prepare_text, .texts = texts};
    return run(&job, n, cut, error);
}

/* Where a padded row ends; where padding is read like any token, at its last. */
static int64_t end_of_row(const struct clip_model_file *file, const int32_t *ids, int64_t length)
{
    const struct clip_text_ids *rule = &file->ids;
    int64_t end = 0;
    if (file->model->config.text.whole_rows) return length - 1;
    for (int64_t t = 0; t < length; t++) {
        if (rule->end > 0 && ids[t] == rule->end) return t;
        if (rule->end == 0 && ids[t] > ids[end]) end = t;
    }
    return end;
}

/* A padded row's tokens are those up to and with its end. */
static clip_status prepare_ids(struct job *job, int64_t i, int64_t k, struct clip_error *error)
{
    int64_t context = job->embedder->file->model->config.context_length;
    struct slot *slot = &job->slots[k];
    slot->tokens = job->ids + i * job->length;
    slot->length = end_of_row(job->embedder->file, slot->tokens, job->length) + 1;
    if (slot->length > context)
        return clip_fail(
            error, CLIP_ERR_DATA,
            "row %lld of input_ids has %s up to its end; the model's context_length is %lld",
            (long long)i, CLIP_COUNT(slot->length, "token"), (long long)context);
    return clip_embedder_check_ids(job->embedder, slot->tokens, i, slot->length, error);
}

clip_status clip_embedder_ids(const struct clip_embedder *e, const int32_t *ids, int64_t n,
                              int64_t length, enum clip_row_kind kind, float *out,
                              struct clip_error *error)
{
    if (length < 1)
        return clip_fail(error, CLIP_ERR_DATA, "input_ids has rows of %s; expected at least 1",
                         CLIP_COUNT(length, "id"));
    struct job job = {.embedder = e,
                      .kind = kind,
                      .out = out,
                      .prepare = prepare_ids,
                      .ids = ids,
                      .length = length};
    return run(&job, n, NULL, error);
}
