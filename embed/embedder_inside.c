/* Inside the towers: hidden states and gradients, an item at a time, several of them at once. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/choice.h"
#include "core/count.h"
#include "core/memory.h"
#include "core/threads.h"
#include "embed/embedder.h"
#include "embed/embedder_parts.h"

enum { FOR_EACH_THREAD = 4 }; /* items of a piece */

const char *clip_layer_name(int layer)
{
    static const char *const names[] = {
        [CLIP_LAST] = "last",
        [CLIP_PENULTIMATE] = "penultimate",
    };
    return CLIP_NAME_OF(names, layer);
}

struct worker { /* what one thread needs; made when it first has something to do */
    struct clip_tape *tape;
    int64_t failed; /* 1 + the first item of this thread's that failed */
    struct clip_error error, latest;
};

struct job {
    const struct clip_embedder *embedder;
    int64_t width; /* floats that an item gives */
    float *out;    /* [n,width], or NULL */
    float *beside; /* [n,width], or NULL: a second result of each item */
    clip_status (*work)(const struct job *job, struct worker *worker, int64_t i, float *row,
                        struct clip_error *error);
    struct worker *workers;
    int64_t first; /* of the piece at work */
    /* what `work` reads */
    const float *pixels;
    const int32_t *ids;
    int64_t length;
    enum clip_layer layer;
    const float *directions;
    float *cosines;
};

static void run_one(void *context, int64_t number)
{
    const struct job *job = context;
    int64_t i = job->first + number;
    struct worker *w = &job->workers[clip_thread_number()];
    float *row = job->out != NULL ? job->out + i * job->width : NULL;
    w->latest.status = CLIP_OK;
    if (job->work(job, w, i, row, &w->latest) == CLIP_OK) return;
    if (row != NULL) memset(row, 0, (size_t)job->width * sizeof *row);
    if (w->failed > 0 && w->failed <= i + 1) return;
    w->failed = i + 1;
    w->error = w->latest;
}

/* Of the pieces' items so far, the first that failed, by number. */
static clip_status first_failure(const struct job *job, int threads, struct clip_error *error)
{
    const struct worker *first = NULL;
    for (int t = 0; t < threads; t++) {
        const struct worker *w = &job->workers[t];
        if (w->failed > 0 && (first == NULL || w->failed < first->failed)) first = w;
    }
    if (first == NULL) return CLIP_OK;
    *error = first->error;
    return error->status;
}

/* Runs the job over n items, a piece at a time; the first that failed gives the error. */
static clip_status run(struct job *job, int64_t n, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int threads = clip_threads_count();
    int64_t most = FOR_EACH_THREAD * threads;
    CLIP_TRY(clip_embedder_check_tower(job->embedder, job->pixels != NULL, error));
    CLIP_NEW(job->workers, threads);
    for (job->first = 0; job->first < n; job->first += most) {
        int64_t count = n - job->first < most ? n - job->first : most;
        CLIP_TRY(clip_embedder_check_cancelled(job->embedder, error));
        if (2 * count > threads)
            clip_parallel_for(count, run_one, job);
        else /* few items: threads inside each of them serve better, and give the same bits */
            for (int64_t k = 0; k < count; k++) run_one(job, k);
        CLIP_TRY(first_failure(job, threads, error));
    }
out:
    for (int t = 0; job->workers != NULL && t < threads; t++) clip_tape_free(job->workers[t].tape);
    free(job->workers);
    return status;
}

static int64_t pixels_of(const struct job *job)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    return 3 * size * size;
}

/* A view of one image's pixels [3,S,S]. */
static struct clip_tensor one_image(const struct job *job, const float *pixels)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    const int64_t shape[] = {1, 3, size, size};
    return clip_tensor_view(CLIP_F32, (float *)(uintptr_t)pixels, 4, shape);
}

/* ---- hidden states ---- */

/* Copies states and what the tower's last LayerNorm makes of them out of the tape's memory. */
static clip_status take_states(const struct job *job, const struct clip_tape *tape, int64_t i,
                               const struct clip_tensor *states, const struct clip_tensor *normed,
                               float *row, struct clip_error *error)
{
    size_t bytes = (size_t)job->width * sizeof *row;
    clip_status status = clip_tape_status(tape, error);
    if (status != CLIP_OK) return status;
    if (row != NULL) memcpy(row, states->data, bytes);
    if (job->beside != NULL) memcpy(job->beside + i * job->width, normed->data, bytes);
    return CLIP_OK;
}

static int64_t blocks_before(const struct job *job, int64_t layers)
{
    return job->layer == CLIP_LAST ? layers : layers - 1;
}

static clip_status text_states(const struct job *job, struct worker *w, int64_t i, float *row,
                               struct clip_error *error)
{
    struct clip_model *model = job->embedder->file->model;
    int32_t ends[2] = {0, (int32_t)job->length};
    struct clip_tensor tokens =
        clip_tensor_i32((int32_t *)(uintptr_t)job->ids + i * job->length, job->length);
    struct clip_tensor offsets = clip_tensor_i32(ends, 2);
    clip_status status =
        clip_embedder_check_ids(job->embedder, job->ids + i * job->length, i, job->length, error);
    if (status == CLIP_OK) status = clip_embedder_start_tape(job->embedder, &w->tape, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *states = clip_text_states(w->tape, model, &tokens, &offsets,
                                                  blocks_before(job, model->config.text.layers));
    const struct clip_tensor *normed = clip_text_norm(w->tape, model, states);
    return take_states(job, w->tape, i, states, normed, row, error);
}

clip_status clip_embedder_text_states(const struct clip_embedder *e, const int32_t *ids, int64_t n,
                                      int64_t length, enum clip_layer layer, float *states,
                                      float *normed, struct clip_error *error)
{
    const struct clip_model_config *c = &e->file->model->config;
    if (!c->text.causal && !c->text.whole_rows)
        return clip_fail(error, CLIP_ERR_DATA,
                         "hidden states run whole rows, padding included, and this model's text "
                         "tower looks both ways and never at padding: its states would be wrong; "
                         "take its embeddings");
    if (length < 1 || length > c->context_length)
        return clip_fail(error, CLIP_ERR_DATA,
                         "input_ids has rows of %s; for hidden states, which run whole rows, "
                         "expected 1 to the model's context_length, %lld",
                         CLIP_COUNT(length, "id"), (long long)c->context_length);
    clip_status status =
        clip_embedder_check_enum((int)layer, CLIP_PENULTIMATE + 1, "clip_layer", error);
    if (status != CLIP_OK) return status;
    struct job job = {.embedder = e,
                      .width = length * c->text.width,
                      .out = states,
                      .beside = normed,
                      .work = text_states,
                      .ids = ids,
                      .length = length,
                      .layer = layer};
    return run(&job, n, error);
}

static clip_status image_states(const struct job *job, struct worker *w, int64_t i, float *row,
                                struct clip_error *error)
{
    struct clip_model *model = job->embedder->file->model;
    struct clip_tensor x = one_image(job, job->pixels + i * pixels_of(job));
    clip_status status = clip_embedder_start_tape(job->embedder, &w->tape, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *states = clip_vision_states(
        w->tape, model, &x, NULL, blocks_before(job, model->config.vision.layers));
    const struct clip_tensor *normed = clip_vision_norm(w->tape, model, states);
    return take_states(job, w->tape, i, states, normed, row, error);
}

int64_t clip_embedder_image_tokens(const struct clip_embedder *e)
{
    const struct clip_model_config *c = &e->file->model->config;
    return clip_model_image_rows(c);
}

int64_t clip_embedder_vision_width(const struct clip_embedder *e)
{
    return e->file->model->config.vision.width;
}
int64_t clip_embedder_text_width(const struct clip_embedder *e)
{
    return e->file->model->config.text.width;
}

clip_status clip_embedder_image_states(const struct clip_embedder *e, const float *pixels,
                                       int64_t n, enum clip_layer layer, float *states,
                                       float *normed, struct clip_error *error)
{
    int64_t width = clip_embedder_image_tokens(e) * e->file->model->config.vision.width;
    clip_status status =
        clip_embedder_check_enum((int)layer, CLIP_PENULTIMATE + 1, "clip_layer", error);
    if (status != CLIP_OK) return status;
    struct job job = {.embedder = e,
                      .width = width,
                      .out = states,
                      .beside = normed,
                      .work = image_states,
                      .pixels = pixels,
                      .layer = layer};
    return run(&job, n, error);
}

/* ---- gradients ---- */

/* grad [3,S,S] = d (unit row of image i . direction i) / d pixels */
static clip_status pixel_grad(const struct job *job, struct worker *w, int64_t i, float *grad,
                              struct clip_error *error)
{
    int64_t dim = clip_embedder_dim(job->embedder);
    const float *direction = job->directions + i * dim;
    struct clip_tensor x = one_image(job, job->pixels + i * pixels_of(job));
    clip_status status = clip_embedder_start_tape(job->embedder, &w->tape, error);
    if (status != CLIP_OK) return status;
    memset(grad, 0, (size_t)job->width * sizeof *grad);
    x.needs_grad = true;
    x.grad = grad;
    w->tape->record = true;
    struct clip_tensor *unit = clip_vision_encode(w->tape, job->embedder->file->model, &x, NULL);
    status = clip_tape_status(w->tape, error);
    if (status == CLIP_OK && job->cosines != NULL) {
        double sum = 0;
        for (int64_t d = 0; d < dim; d++)
            sum += (double)((const float *)unit->data)[d] * (double)direction[d];
        job->cosines[i] = (float)sum;
    }
    if (status == CLIP_OK) clip_tape_backward_from(w->tape, unit, direction);
    if (status == CLIP_OK) status = clip_tape_status(w->tape, error);
    return status;
}

clip_status clip_embedder_pixel_grad(const struct clip_embedder *e, const float *pixels, int64_t n,
                                     const float *directions, float *cosines, float *grad,
                                     struct clip_error *error)
{
    assert(e->file->model->grad == NULL); /* a model in training would collect gradients too */
    struct job job = {.embedder = e,
                      .out = grad,
                      .work = pixel_grad,
                      .pixels = pixels,
                      .directions = directions,
                      .cosines = cosines};
    job.width = pixels_of(&job);
    return run(&job, n, error);
}
