#include "eval/embedder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/threads.h"
#include "data/image.h"
#include "data/tokenizer.h"
#include "eval/model_file.h"
#include "model/model.h"

enum { DEFAULT_MAX_PIXELS = 100000000 };

struct clip_embedder {
    const struct clip_model_file *file;
    struct clip_model_file *owned; /* NULL: the caller's */
    int64_t max_pixels;
};

clip_status clip_embedder_create(struct clip_embedder **out, const struct clip_model_file *file,
                                 const struct clip_embedder_options *options,
                                 struct clip_error *error)
{
    static const struct clip_embedder_options defaults;
    if (options == NULL) options = &defaults;
    struct clip_embedder *e = clip_array_new(1, sizeof *e, error);
    if (e == NULL) return CLIP_ERR_MEMORY;
    e->file = file;
    e->max_pixels = options->max_pixels > 0 ? options->max_pixels : DEFAULT_MAX_PIXELS;
    *out = e;
    return CLIP_OK;
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

void clip_rows_normalise(float *rows, int64_t n, int64_t dim)
{
    for (int64_t i = 0; i < n; i++) {
        float *row = rows + i * dim;
        double sum = 0;
        for (int64_t d = 0; d < dim; d++) sum += (double)row[d] * (double)row[d];
        double length = fmax(sqrt(sum), 1e-12);
        for (int64_t d = 0; d < dim; d++) row[d] = (float)((double)row[d] / length);
    }
}

/* ---- many rows ----------------------------------------------------------------------------- */

/* OpenBLAS's kernels round a row by where it lies in the matrix (in groups of 12 rows on an AMD
 * Zen, other sums at the end), so each picture or text goes through its tower alone, with the same
 * shapes whatever its neighbours, and several of them at once, one a thread. In processor time
 * that cost 15 to 35 % more for pictures than batches of 32, and 2 to 2.5 times as much for short
 * texts; with a product whose rows do not depend on their place, batches could come back. */

struct worker { /* what one thread needs; made when it first has something to do */
    struct clip_tape *tape;
    struct clip_ids ids;
    uint8_t *square; /* [S,S,3] */
    float *pixels;   /* [3,S,S] */
    int64_t failed;  /* 1 + the first item of this thread's that failed */
    struct clip_error error, latest;
    int64_t cut;
};

struct job {
    const struct clip_embedder *embedder;
    enum clip_row_kind kind;
    float *out; /* [n,E] */
    clip_status (*embed)(const struct job *job, struct worker *worker, int64_t i, float *row,
                         struct clip_error *error);
    struct worker *workers;
    struct clip_error *failures; /* [n], or NULL: the first failure fails the call */
    /* what `embed` reads */
    const struct clip_picture *pictures;
    const float *pixels;
    const char *const *texts;
    const int32_t *ids;
    int64_t length;
};

static clip_status start_tape(struct worker *w, struct clip_error *error)
{
    if (w->tape == NULL) {
        clip_status status = clip_tape_create(&w->tape, error);
        if (status != CLIP_OK) return status;
        w->tape->record = false; /* nothing is kept for backward */
    }
    clip_tape_clear(w->tape);
    return CLIP_OK;
}

/* Copies one row of features out of the tape's memory. */
static clip_status take_row(const struct job *job, const struct clip_tape *tape,
                            const struct clip_tensor *features, float *row,
                            struct clip_error *error)
{
    int64_t dim = clip_embedder_dim(job->embedder);
    clip_status status = clip_tape_status(tape, error);
    if (status != CLIP_OK) return status;
    memcpy(row, features->data, (size_t)dim * sizeof *row);
    if (job->kind == CLIP_UNIT) clip_rows_normalise(row, 1, dim);
    return CLIP_OK;
}

static void embed_one(void *context, int64_t i)
{
    const struct job *job = context;
    struct worker *w = &job->workers[clip_thread_number()];
    int64_t dim = clip_embedder_dim(job->embedder);
    struct clip_error *error = job->failures != NULL ? &job->failures[i] : &w->latest;
    error->status = CLIP_OK;
    float *row = job->out + i * dim;
    clip_status status = job->embed(job, w, i, row, error);
    if (status == CLIP_OK) return;
    memset(row, 0, (size_t)dim * sizeof *row);
    if (job->failures != NULL && status != CLIP_ERR_MEMORY) return;
    if (w->failed > 0 && w->failed <= i + 1) return;
    w->failed = i + 1;
    w->error = *error;
}

/* Runs the job over n items; the first that failed, by number, gives the error. */
static clip_status run(struct job *job, int64_t n, int64_t *cut, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int threads = clip_threads_count();
    int64_t failed = 0;
    CLIP_NEW(job->workers, threads);
    if (2 * n > threads) clip_parallel_for(n, embed_one, job);
    else /* few items: threads inside each of them serve better, and give the same bits */
        for (int64_t i = 0; i < n; i++) embed_one(job, i);
    for (int t = 0; t < threads; t++) {
        const struct worker *w = &job->workers[t];
        if (cut != NULL) *cut += w->cut;
        if (w->failed == 0 || (failed > 0 && failed < w->failed)) continue;
        failed = w->failed;
        *error = w->error;
        status = error->status;
    }
out:
    for (int t = 0; job->workers != NULL && t < threads; t++) {
        clip_tape_free(job->workers[t].tape);
        clip_ids_release(&job->workers[t].ids);
        free(job->workers[t].square);
        free(job->workers[t].pixels);
    }
    free(job->workers);
    return status;
}

/* ---- pictures ----------------------------------------------------------------------------- */

/* pixels [3,S,S] -> row [E] */
static clip_status embed_square(const struct job *job, struct worker *w, const float *pixels,
                                float *row, struct clip_error *error)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    const int64_t shape[] = {1, 3, size, size};
    struct clip_tensor x = clip_tensor_view(CLIP_F32, (float *)(uintptr_t)pixels, 4, shape);
    clip_status status = start_tape(w, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *features =
        clip_vision_features(w->tape, job->embedder->file->model, &x, NULL);
    return take_row(job, w->tape, features, row, error);
}

static clip_status embed_pixels(const struct job *job, struct worker *w, int64_t i, float *row,
                                struct clip_error *error)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    return embed_square(job, w, job->pixels + i * 3 * size * size, row, error);
}

static clip_status embed_picture(const struct job *job, struct worker *w, int64_t i, float *row,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_picture *p = &job->pictures[i];
    const struct clip_embedder *e = job->embedder;
    int64_t size = clip_embedder_image_size(e);
    struct clip_image_limits limits = {.max_pixels = e->max_pixels};
    struct clip_image image = {0}, given = {p->width, p->height, (uint8_t *)(uintptr_t)p->rgb};
    if (w->square == NULL) CLIP_NEW(w->square, size * size * 3);
    if (w->pixels == NULL) CLIP_NEW(w->pixels, size * size * 3);
    if (p->rgb == NULL && p->path != NULL)
        CLIP_TRY(clip_image_decode_file(p->path, &limits, &image, error));
    else if (p->rgb == NULL)
        CLIP_TRY(clip_image_decode(p->bytes, p->size, &limits, &image, error));
    CLIP_TRY(clip_preprocess_image(&e->file->preprocess, p->rgb != NULL ? &given : &image,
                                   w->square, error));
    clip_preprocess_normalise(&e->file->preprocess, w->square, w->pixels);
    CLIP_TRY(embed_square(job, w, w->pixels, row, error));
out:
    clip_image_release(&image);
    return status;
}

clip_status clip_embedder_pictures(const struct clip_embedder *e,
                                   const struct clip_picture *pictures, int64_t n,
                                   enum clip_row_kind kind, float *out,
                                   struct clip_error *failures, struct clip_error *error)
{
    struct job job = {.embedder = e, .kind = kind, .out = out, .embed = embed_picture,
                      .pictures = pictures, .failures = failures};
    return run(&job, n, NULL, error);
}

clip_status clip_embedder_pixels(const struct clip_embedder *e, const float *pixels, int64_t n,
                                 enum clip_row_kind kind, float *out, struct clip_error *error)
{
    struct job job = {.embedder = e, .kind = kind, .out = out, .embed = embed_pixels,
                      .pixels = pixels};
    return run(&job, n, NULL, error);
}

/* ---- texts -------------------------------------------------------------------------------- */

/* ids [n], the last of them the end token -> row [E] */
static clip_status embed_caption(const struct job *job, struct worker *w, const int32_t *ids,
                                 int64_t n, float *row, struct clip_error *error)
{
    int32_t ends[2] = {0, (int32_t)n};
    struct clip_tensor tokens = clip_tensor_i32((int32_t *)(uintptr_t)ids, n);
    struct clip_tensor offsets = clip_tensor_i32(ends, 2);
    clip_status status = start_tape(w, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *features =
        clip_text_features(w->tape, job->embedder->file->model, &tokens, &offsets);
    return take_row(job, w->tape, features, row, error);
}

static clip_status embed_text(const struct job *job, struct worker *w, int64_t i, float *row,
                              struct clip_error *error)
{
    const struct clip_model_file *file = job->embedder->file;
    const char *text = job->texts[i];
    bool cut = false;
    w->ids.count = 0;
    clip_status status =
        clip_tokenizer_encode(file->tokenizer, text, strlen(text), file->cleaning,
                              file->model->config.context_length, &w->ids, &cut, error);
    if (status != CLIP_OK) return clip_error_prefix(error, "text %lld", (long long)i + 1);
    w->cut += cut;
    return embed_caption(job, w, w->ids.ids, w->ids.count, row, error);
}

clip_status clip_embedder_texts(const struct clip_embedder *e, const char *const *texts, int64_t n,
                                enum clip_row_kind kind, float *out, int64_t *cut,
                                struct clip_error *error)
{
    if (cut != NULL) *cut = 0;
    if (e->file->tokenizer == NULL)
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s comes without a tokenizer, so it reads no text; name one with "
                         "--tokenizer FILE",
                         clip_embedder_source(e));
    struct job job = {.embedder = e, .kind = kind, .out = out, .embed = embed_text,
                      .texts = texts};
    return run(&job, n, cut, error);
}

/* A padded row's tokens are those up to and with its first largest id; each of them must be a word
 * of the vocabulary. */
static clip_status embed_ids(const struct job *job, struct worker *w, int64_t i, float *row,
                             struct clip_error *error)
{
    const struct clip_model_config *c = &job->embedder->file->model->config;
    const int32_t *ids = job->ids + i * job->length;
    int64_t end = 0;
    for (int64_t t = 1; t < job->length; t++)
        if (ids[t] > ids[end]) end = t;
    if (end + 1 > c->context_length)
        return clip_fail(error, CLIP_ERR_DATA,
                         "row %lld of input_ids has %lld tokens up to its largest id; the model's "
                         "context_length is %lld",
                         (long long)i, (long long)(end + 1), (long long)c->context_length);
    for (int64_t t = 0; t <= end; t++)
        if (ids[t] < 0 || ids[t] >= c->vocab_size)
            return clip_fail(error, CLIP_ERR_DATA,
                             "row %lld of input_ids holds id %d at place %lld; expected 0 to %lld",
                             (long long)i, (int)ids[t], (long long)t,
                             (long long)c->vocab_size - 1);
    return embed_caption(job, w, ids, end + 1, row, error);
}

clip_status clip_embedder_ids(const struct clip_embedder *e, const int32_t *ids, int64_t n,
                              int64_t length, enum clip_row_kind kind, float *out,
                              struct clip_error *error)
{
    if (length < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "input_ids has rows of %lld ids; expected at least 1", (long long)length);
    struct job job = {.embedder = e, .kind = kind, .out = out, .embed = embed_ids, .ids = ids,
                      .length = length};
    return run(&job, n, NULL, error);
}

/* ---- opening ------------------------------------------------------------------------------ */

clip_status clip_embedder_open(struct clip_embedder **out, const char *model,
                               const struct clip_embedder_options *options,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_model_file *file = NULL;
    struct clip_model_file_options open = {0};
    if (options != NULL) {
        open.tokenizer = options->tokenizer;
        open.weights = options->raw_weights ? CLIP_WEIGHTS_RAW : CLIP_WEIGHTS_EMA;
    }
    status = clip_model_file_open(&file, model, &open, error);
    if (status != CLIP_OK) return status;
    status = clip_embedder_create(out, file, options, error);
    if (status != CLIP_OK) {
        clip_model_file_free(file);
        return status;
    }
    (*out)->owned = file;
    return CLIP_OK;
}
