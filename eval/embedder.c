#include "eval/embedder.h"

#include <assert.h>
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
    int64_t width; /* floats an item gives: E for an embedding */
    float *out;    /* [n,width] */
    float *beside; /* [n,width], or NULL: a second result of each item */
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
    enum clip_layer layer;
    const float *directions;
    float *cosines;
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
    struct clip_error *error = job->failures != NULL ? &job->failures[i] : &w->latest;
    error->status = CLIP_OK;
    float *row = job->out + i * job->width;
    clip_status status = job->embed(job, w, i, row, error);
    if (status == CLIP_OK) return;
    memset(row, 0, (size_t)job->width * sizeof *row);
    if (job->failures != NULL && status != CLIP_ERR_MEMORY) return;
    if (w->failed > 0 && w->failed <= i + 1) return;
    w->failed = i + 1;
    w->error = *error;
}

/* The tower that the job needs was read. */
static clip_status check_tower(const struct job *job, struct clip_error *error)
{
    bool image = job->pixels != NULL || job->pictures != NULL;
    enum clip_towers has = job->embedder->file->towers;
    if (has == CLIP_TOWERS_BOTH || has == (image ? CLIP_TOWERS_IMAGE : CLIP_TOWERS_TEXT))
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE, "%s was opened for %s alone; open it for both",
                     clip_embedder_source(job->embedder), image ? "texts" : "pictures");
}

/* Runs the job over n items; the first that failed, by number, gives the error. */
static clip_status run(struct job *job, int64_t n, int64_t *cut, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int threads = clip_threads_count();
    int64_t failed = 0;
    CLIP_TRY(check_tower(job, error));
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

static int64_t pixels_of(const struct job *job)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    return 3 * size * size;
}

/* A view of one picture's pixels [3,S,S]. */
static struct clip_tensor one_picture(const struct job *job, const float *pixels)
{
    int64_t size = clip_embedder_image_size(job->embedder);
    const int64_t shape[] = {1, 3, size, size};
    return clip_tensor_view(CLIP_F32, (float *)(uintptr_t)pixels, 4, shape);
}

/* pixels [3,S,S] -> row [E] */
static clip_status embed_square(const struct job *job, struct worker *w, const float *pixels,
                                float *row, struct clip_error *error)
{
    struct clip_tensor x = one_picture(job, pixels);
    clip_status status = start_tape(w, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *features =
        clip_vision_features(w->tape, job->embedder->file->model, &x, NULL);
    return take_row(job, w->tape, features, row, error);
}

static clip_status embed_pixels(const struct job *job, struct worker *w, int64_t i, float *row,
                                struct clip_error *error)
{
    return embed_square(job, w, job->pixels + i * pixels_of(job), row, error);
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
    struct job job = {.embedder = e, .kind = kind, .width = clip_embedder_dim(e),
                      .out = out, .embed = embed_picture, .pictures = pictures,
                      .failures = failures};
    return run(&job, n, NULL, error);
}

clip_status clip_embedder_pixels(const struct clip_embedder *e, const float *pixels, int64_t n,
                                 enum clip_row_kind kind, float *out, struct clip_error *error)
{
    struct job job = {.embedder = e, .kind = kind, .width = clip_embedder_dim(e),
                      .out = out, .embed = embed_pixels, .pixels = pixels};
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

int32_t clip_embedder_end(const struct clip_embedder *e)
{
    return e->file->tokenizer != NULL ? clip_tokenizer_end(e->file->tokenizer)
                                      : (int32_t)e->file->model->config.vocab_size - 1;
}
int32_t clip_embedder_padding(const struct clip_embedder *e)
{
    return (int32_t)e->file->ids.pad;
}

/* text i as ids, replaced in *ids; *cut is raised where it was too long */
static clip_status encode(const struct clip_embedder *e, const char *const *texts, int64_t i,
                          struct clip_ids *ids, int64_t *cut, struct clip_error *error)
{
    const struct clip_model_file *file = e->file;
    bool was_cut = false;
    ids->count = 0;
    clip_status status =
        clip_tokenizer_encode(file->tokenizer, texts[i], strlen(texts[i]), file->cleaning,
                              file->model->config.context_length, ids, &was_cut, error);
    if (status != CLIP_OK) return clip_error_prefix(error, "text %lld", (long long)i + 1);
    *cut += was_cut;
    return CLIP_OK;
}

static clip_status need_tokenizer(const struct clip_embedder *e, struct clip_error *error)
{
    if (e->file->tokenizer != NULL) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s comes without a tokenizer, so it reads no text; name one with "
                     "--tokenizer FILE",
                     clip_embedder_source(e));
}

static clip_status embed_text(const struct job *job, struct worker *w, int64_t i, float *row,
                              struct clip_error *error)
{
    clip_status status = encode(job->embedder, job->texts, i, &w->ids, &w->cut, error);
    if (status != CLIP_OK) return status;
    return embed_caption(job, w, w->ids.ids, w->ids.count, row, error);
}

clip_status clip_embedder_texts(const struct clip_embedder *e, const char *const *texts, int64_t n,
                                enum clip_row_kind kind, float *out, int64_t *cut,
                                struct clip_error *error)
{
    if (cut != NULL) *cut = 0;
    clip_status status = need_tokenizer(e, error);
    if (status != CLIP_OK) return status;
    struct job job = {.embedder = e, .kind = kind, .width = clip_embedder_dim(e),
                      .out = out, .embed = embed_text, .texts = texts};
    return run(&job, n, cut, error);
}

clip_status clip_embedder_encode(const struct clip_embedder *e, const char *const *texts, int64_t n,
                                 int32_t padding, int32_t *out, int64_t *cut,
                                 struct clip_error *error)
{
    int64_t context = e->file->model->config.context_length;
    struct clip_ids ids = {0};
    *cut = 0;
    clip_status status = need_tokenizer(e, error);
    for (int64_t i = 0; i < n && status == CLIP_OK; i++) {
        int32_t *row = out + i * context;
        status = encode(e, texts, i, &ids, cut, error);
        for (int64_t t = 0; t < context && status == CLIP_OK; t++)
            row[t] = t < ids.count ? ids.ids[t] : padding;
    }
    clip_ids_release(&ids);
    return status;
}

/* The first n ids of row i are words of the vocabulary. */
static clip_status check_ids(const struct job *job, int64_t i, int64_t n, struct clip_error *error)
{
    const int32_t *ids = job->ids + i * job->length;
    int64_t vocabulary = job->embedder->file->model->config.vocab_size;
    for (int64_t t = 0; t < n; t++)
        if (ids[t] < 0 || ids[t] >= vocabulary)
            return clip_fail(error, CLIP_ERR_DATA,
                             "row %lld of input_ids holds id %d at place %lld; expected 0 to %lld",
                             (long long)i, (int)ids[t], (long long)t, (long long)vocabulary - 1);
    return CLIP_OK;
}

/* Where a padded row ends: SigLIP reads its padding too. */
static int64_t end_of_row(const struct clip_model_file *file, const int32_t *ids, int64_t length)
{
    const struct clip_text_ids *rule = &file->ids;
    int64_t end = 0;
    if (file->model->config.siglip) return length - 1;
    for (int64_t t = 0; t < length; t++) {
        if (rule->end > 0 && ids[t] == rule->end) return t;
        if (rule->end == 0 && ids[t] > ids[end]) end = t;
    }
    return end;
}

/* A padded row's tokens are those up to and with its end. */
static clip_status embed_ids(const struct job *job, struct worker *w, int64_t i, float *row,
                             struct clip_error *error)
{
    int64_t context = job->embedder->file->model->config.context_length;
    const int32_t *ids = job->ids + i * job->length;
    int64_t end = end_of_row(job->embedder->file, ids, job->length);
    if (end + 1 > context)
        return clip_fail(error, CLIP_ERR_DATA,
                         "row %lld of input_ids has %lld tokens up to its end; the model's "
                         "context_length is %lld",
                         (long long)i, (long long)(end + 1), (long long)context);
    clip_status status = check_ids(job, i, end + 1, error);
    if (status != CLIP_OK) return status;
    return embed_caption(job, w, ids, end + 1, row, error);
}

clip_status clip_embedder_ids(const struct clip_embedder *e, const int32_t *ids, int64_t n,
                              int64_t length, enum clip_row_kind kind, float *out,
                              struct clip_error *error)
{
    if (length < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "input_ids has rows of %lld ids; expected at least 1", (long long)length);
    struct job job = {.embedder = e, .kind = kind, .width = clip_embedder_dim(e),
                      .out = out, .embed = embed_ids, .ids = ids,
                      .length = length};
    return run(&job, n, NULL, error);
}

/* ---- hidden states ------------------------------------------------------------------------ */

/* Copies states and what the tower's last LayerNorm makes of them out of the tape's memory. */
static clip_status take_states(const struct job *job, const struct clip_tape *tape, int64_t i,
                               const struct clip_tensor *states, const struct clip_tensor *normed,
                               float *row, struct clip_error *error)
{
    size_t bytes = (size_t)job->width * sizeof *row;
    clip_status status = clip_tape_status(tape, error);
    if (status != CLIP_OK) return status;
    memcpy(row, states->data, bytes);
    memcpy(job->beside + i * job->width, normed->data, bytes);
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
    clip_status status = check_ids(job, i, job->length, error);
    if (status == CLIP_OK) status = start_tape(w, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *states = clip_text_states(w->tape, model, &tokens, &offsets,
                                                  blocks_before(job, model->config.text_layers));
    const struct clip_tensor *normed = clip_text_norm(w->tape, model, states);
    return take_states(job, w->tape, i, states, normed, row, error);
}

clip_status clip_embedder_text_states(const struct clip_embedder *e, const int32_t *ids, int64_t n,
                                      int64_t length, enum clip_layer layer, float *states,
                                      float *normed, struct clip_error *error)
{
    const struct clip_model_config *c = &e->file->model->config;
    if (length < 1 || length > c->context_length)
        return clip_fail(error, CLIP_ERR_DATA,
                         "input_ids has rows of %lld ids; for hidden states, which run whole rows, "
                         "expected 1 to the model's context_length, %lld",
                         (long long)length, (long long)c->context_length);
    struct job job = {.embedder = e, .width = length * c->text_width, .out = states,
                      .beside = normed, .embed = text_states, .ids = ids, .length = length,
                      .layer = layer};
    return run(&job, n, NULL, error);
}

static clip_status image_states(const struct job *job, struct worker *w, int64_t i, float *row,
                                struct clip_error *error)
{
    struct clip_model *model = job->embedder->file->model;
    struct clip_tensor x = one_picture(job, job->pixels + i * pixels_of(job));
    clip_status status = start_tape(w, error);
    if (status != CLIP_OK) return status;
    struct clip_tensor *states = clip_vision_states(
        w->tape, model, &x, NULL, blocks_before(job, model->config.vision_layers));
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
    return e->file->model->config.vision_width;
}
int64_t clip_embedder_text_width(const struct clip_embedder *e)
{
    return e->file->model->config.text_width;
}
int64_t clip_embedder_context(const struct clip_embedder *e)
{
    return e->file->model->config.context_length;
}

clip_status clip_embedder_image_states(const struct clip_embedder *e, const float *pixels,
                                       int64_t n, enum clip_layer layer, float *states,
                                       float *normed, struct clip_error *error)
{
    int64_t width = clip_embedder_image_tokens(e) * e->file->model->config.vision_width;
    struct job job = {.embedder = e, .width = width, .out = states, .beside = normed,
                      .embed = image_states, .pixels = pixels, .layer = layer};
    return run(&job, n, NULL, error);
}

/* ---- gradients ---------------------------------------------------------------------------- */

/* grad [3,S,S] = d (unit row of picture i . direction i) / d pixels */
static clip_status pixel_grad(const struct job *job, struct worker *w, int64_t i, float *grad,
                              struct clip_error *error)
{
    int64_t dim = clip_embedder_dim(job->embedder);
    const float *direction = job->directions + i * dim;
    struct clip_tensor x = one_picture(job, job->pixels + i * pixels_of(job));
    clip_status status = start_tape(w, error);
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
    struct job job = {.embedder = e, .out = grad, .embed = pixel_grad,
                      .pixels = pixels, .directions = directions, .cosines = cosines};
    job.width = pixels_of(&job);
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
        open.towers = options->checksum                    ? CLIP_TOWERS_BOTH
                      : options->use == CLIP_USE_PICTURES ? CLIP_TOWERS_IMAGE
                      : options->use == CLIP_USE_TEXTS    ? CLIP_TOWERS_TEXT
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
