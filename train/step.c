#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/ops.h"
#include "core/memory.h"
#include "kernels/kernels.h"
#include "model/loss.h"
#include "train/shared.h"

static int64_t kept_patches(const struct clip_step *s)
{
    const struct clip_model_config *c = &s->model->config;
    int64_t grid = c->image_size / c->patch_size, patches = grid * grid;
    int64_t kept = (int64_t)llround((1 - s->options.train.patch_dropout) * (double)patches);
    return kept > 1 ? kept : 1;
}

/* Pairs that this process has of a batch. */
static int64_t own_pairs(const struct clip_step *s) { return s->slice_size * s->slices->count; }

/* The most pairs whose forward is on one tape. */
static int64_t piece_size(const struct clip_step *s)
{
    int64_t micro = s->options.train.micro_batch;
    return micro > 0 && micro < s->slice_size ? micro : s->slice_size;
}

/* The most captions and hard negatives of a slice. */
static int64_t most_texts(const struct clip_step *s, int64_t pairs)
{
    return s->options.negatives ? 2 * pairs : pairs;
}

/* ---- parameters ---- */

/* Adam's learning rate goes with 1 / width (Yang et al. 2022, "Tensor Programs V", table 8): what
 * is right for one width is, times the ratio, for another. */
static double width_factor(const struct clip_step *s, const struct clip_param *p)
{
    const struct clip_model_config *c = &s->model->config;
    int64_t width = p->tower == CLIP_TOWERS_IMAGE ? c->vision.width : c->text.width;
    return s->options.optim.lr_width > 0 ? (double)s->options.optim.lr_width / (double)width : 1;
}

static clip_status create_adamw(struct clip_step *s, struct clip_error *error)
{
    clip_status status;
    struct clip_model *m = s->model;
    const struct clip_config_optim *o = &s->options.optim;
    const struct clip_adamw_options options = {.beta1 = o->beta1,
                                               .beta2 = o->beta2,
                                               .eps = o->eps,
                                               .weight_decay = o->wd,
                                               .moments = o->moments,
                                               .part = clip_comm_rank(s->options.comm),
                                               .parts = clip_comm_size(s->options.comm)};
    struct clip_optim_param *params = NULL;
    CLIP_NEW(params, m->param_count);
    for (int64_t i = 0; i < m->param_count; i++) {
        const struct clip_param *p = &m->params[i];
        params[i] = (struct clip_optim_param){
            .offset = p->offset,
            .train_offset = p->train_offset,
            .count = clip_tensor_count(&p->tensor),
            .decays = p->decays,
            .trained = p->tensor.needs_grad,
            .lr_factor = pow(s->options.optim.layer_decay, p->depth) * width_factor(s, p),
        };
    }
    CLIP_TRY(clip_adamw_create(&s->adamw, &options, params, m->param_count, m->trained, error));
out:
    free(params);
    return status;
}

static struct clip_schedule schedule_of(const struct clip_step_options *options)
{
    const struct clip_config_optim *o = &options->optim;
    return (struct clip_schedule){
        .kind = o->lr_scheduler,
        .lr = o->lr,
        .warmup = (int64_t)clip_config_share(o->warmup, options->steps),
        .total = options->steps,
        .cooldown = (int64_t)clip_config_share(o->cooldown, options->steps),
    };
}

/* What is on one tape; views of a batch, which must outlive the tape's nodes. */
struct clip_step_part {
    struct clip_tape *tape;
    struct clip_tensor pixels, tokens, ends, keep;
    int32_t *token_ids, *offsets;     /* of its texts, side by side */
    struct clip_tensor *image, *text; /* [n,E], [n + negatives,E] unit rows; NULL: none */
};

static clip_status create_part(struct clip_step *s, struct clip_step_part *part,
                               struct clip_error *error)
{
    clip_status status;
    int64_t texts = s->holds ? most_texts(s, s->slice_size) : piece_size(s);
    CLIP_TRY(clip_tape_create(&part->tape, error));
    part->tape->dtype = clip_precision_dtype(s->options.train.precision);
    CLIP_NEW(part->token_ids, texts * s->model->config.context_length);
    CLIP_NEW(part->offsets, texts + 1);
out:
    return status;
}

static clip_status create_parts(struct clip_step *s, struct clip_error *error)
{
    clip_status status;
    int64_t micro = s->options.train.micro_batch;
    s->holds = micro == 0 || micro >= own_pairs(s);
    s->part_count = s->holds ? s->slices->count : 1;
    CLIP_NEW(s->parts, s->part_count);
    for (int64_t i = 0; i < s->part_count; i++) CLIP_TRY(create_part(s, &s->parts[i], error));
    s->tape = s->parts[0].tape;
    CLIP_TRY(clip_tape_create(&s->loss_tape, error));
    s->loss_tape->dtype = s->tape->dtype;
out:
    return status;
}

/* The average begins with the weights. */
static void start_average(struct clip_step *s)
{
    for (int64_t i = 0; i < s->model->param_count; i++) {
        const struct clip_param *p = &s->model->params[i];
        int64_t begin, end;
        if (!clip_adamw_range(s->adamw, i, &begin, &end)) continue;
        memcpy(s->ema + p->train_offset + begin - s->adamw->begin,
               (const float *)p->tensor.data + begin, (size_t)(end - begin) * sizeof *s->ema);
    }
}

clip_status clip_step_create(struct clip_step **out, struct clip_model *model,
                             const struct clip_step_options *options, struct clip_error *error)
{
    clip_status status;
    struct clip_step *s = NULL;
    const struct clip_config_train *train = &options->train;
    int64_t world = train->world_size > 0 ? train->world_size : clip_comm_size(options->comm);
    CLIP_NEW(s, 1);
    s->options = *options;
    s->schedule = schedule_of(options);
    s->model = model;
    s->slice_size = train->batch_size / world;
    model->recompute = train->recompute;
    CLIP_TRY(clip_model_gradients(model, error));
    CLIP_TRY(clip_slices_create(&s->slices, options->comm, world, train->wire, model->grad,
                                model->trained, error));
    CLIP_TRY(create_parts(s, error));
    CLIP_TRY(create_adamw(s, error));
    CLIP_TRY(clip_shared_create(&s->shared, options->comm, train->batch_size,
                                model->config.embed_dim, options->negatives, error));
    if (options->optim.ema_decay > 0) {
        CLIP_NEW(s->ema, s->adamw->end - s->adamw->begin);
        start_average(s);
        if (clip_comm_size(options->comm) == 1) s->average = s->ema;
    }
    CLIP_NEW(s->negatives, s->slices->count + 1);
    if (train->patch_dropout > 0) CLIP_NEW(s->keep, own_pairs(s) * kept_patches(s));
    *out = s;
    return CLIP_OK;
out:
    clip_step_free(s);
    return status;
}

void clip_step_free(struct clip_step *s)
{
    if (s == NULL) return;
    for (int64_t i = 0; s->parts != NULL && i < s->part_count; i++) {
        clip_tape_free(s->parts[i].tape);
        free(s->parts[i].token_ids);
        free(s->parts[i].offsets);
    }
    free(s->parts);
    clip_tape_free(s->loss_tape);
    clip_adamw_free(s->adamw);
    clip_slices_free(s->slices);
    clip_shared_free(s->shared);
    free(s->ema);
    free(s->keep);
    free(s->negatives);
    free(s);
}

/* ---- forward and backward ---- */

/* Which patches each image keeps: a sorted random subset keyed by (seed, epoch, draw) (FLIP, Li et
 * al. 2023). */
static void draw_patches(struct clip_step *s, const struct clip_batch *batch)
{
    const struct clip_model_config *c = &s->model->config;
    int64_t grid = c->image_size / c->patch_size, patches = grid * grid, kept = kept_patches(s);
    for (int64_t b = 0; b < batch->count; b++) {
        struct clip_rng rng = clip_rng_at((uint64_t)s->options.train.seed, CLIP_RNG_PATCHES,
                                          (uint32_t)batch->epoch, batch->keys[b]);
        int32_t *out = s->keep + b * kept;
        int64_t missing = kept;
        for (int64_t p = 0; p < patches && missing > 0;
             p++) /* selection sampling: Knuth, vol. 2, algorithm S */
            if ((int64_t)clip_rng_below(&rng, (uint32_t)(patches - p)) < missing)
                out[kept - missing--] = (int32_t)p;
    }
}

/* Of a slice, or of a piece of one: images [first, first + images) of the batch, and `texts` texts
 * from number `text` of the slice on: its captions, and behind them its hard negatives. */
struct range {
    int64_t slice; /* of the process' slices */
    int64_t first, images, text, texts;
};

/* How many of the batch's hard negatives belong to samples before row `i`. */
static int64_t negatives_before(const struct clip_batch *batch, int64_t i)
{
    int64_t k = 0;
    while (k < batch->negatives && batch->owners[k] < i) k++;
    return k;
}

/* Captions and hard negatives of a slice. */
static int64_t texts_of(const struct clip_step *s, const struct clip_batch *batch, int64_t slice)
{
    int64_t n = s->slice_size;
    return n + negatives_before(batch, (slice + 1) * n) - negatives_before(batch, slice * n);
}

/* Where text i of the slice is among the batch's texts. */
static int64_t text_at(const struct clip_step *s, const struct clip_batch *batch, int64_t slice,
                       int64_t i)
{
    int64_t n = s->slice_size;
    if (i < n) return slice * n + i;
    return batch->count + negatives_before(batch, slice * n) + i - n;
}

/* Rows of a locked tower, kept from before. */
static struct clip_tensor *kept_rows(struct clip_step *s, struct clip_tape *tape,
                                     const struct clip_batch *batch, const struct range *range,
                                     bool texts)
{
    int64_t e = s->model->config.embed_dim, n = texts ? range->texts : range->images;
    struct clip_tensor *rows = clip_tape_input(tape, CLIP_F32, 2, (const int64_t[]){n, e});
    for (int64_t i = 0; i < n && rows->data != NULL; i++) {
        const float *row =
            texts ? clip_locked_text(s->locked, text_at(s, batch, range->slice, range->text + i))
                  : clip_locked_image(s->locked, batch, range->first + i);
        memcpy((float *)rows->data + i * e, row, (size_t)e * sizeof(float));
    }
    return rows;
}

static struct clip_tensor *encode_images(struct clip_step *s, struct clip_step_part *p,
                                         const struct clip_batch *batch, const struct range *range)
{
    int64_t size = s->model->config.image_size, kept = s->keep != NULL ? kept_patches(s) : 0;
    int64_t n = range->images;
    if (n == 0) return NULL;
    if (clip_locked_images(s->locked)) return kept_rows(s, p->tape, batch, range, false);
    p->pixels = clip_tensor_view(CLIP_F32, batch->pixels + range->first * 3 * size * size, 4,
                                 (int64_t[]){n, 3, size, size});
    if (s->keep == NULL) return clip_vision_encode(p->tape, s->model, &p->pixels, NULL);
    p->keep = clip_tensor_view(CLIP_I32, s->keep + range->first * kept, 2, (int64_t[]){n, kept});
    return clip_vision_encode(p->tape, s->model, &p->pixels, &p->keep);
}

static struct clip_tensor *encode_texts(struct clip_step *s, struct clip_step_part *p,
                                        const struct clip_batch *batch, const struct range *range)
{
    int32_t end = 0;
    if (clip_locked_texts(s->locked)) return kept_rows(s, p->tape, batch, range, true);
    p->offsets[0] = 0;
    for (int64_t i = 0; i < range->texts; i++) {
        int64_t at = text_at(s, batch, range->slice, range->text + i);
        int32_t n = batch->offsets[at + 1] - batch->offsets[at];
        memcpy(p->token_ids + end, batch->tokens + batch->offsets[at], (size_t)n * sizeof(int32_t));
        end += n;
        p->offsets[i + 1] = end;
    }
    p->tokens = clip_tensor_i32(p->token_ids, end);
    p->ends = clip_tensor_i32(p->offsets, range->texts + 1);
    return clip_text_encode(p->tape, s->model, &p->tokens, &p->ends);
}

static void encode(struct clip_step *s, struct clip_step_part *p, const struct clip_batch *batch,
                   const struct range *range)
{
    clip_tape_clear(p->tape);
    p->image = encode_images(s, p, batch, range);
    p->text = encode_texts(s, p, batch, range);
}

/* The teacher's rows of the batch's samples, on the tape. */
static struct clip_tensor *teacher_rows(struct clip_tape *t, const struct clip_teacher *teacher,
                                        const float *from, const int64_t *samples, int64_t n)
{
    struct clip_tensor *rows = clip_tape_input(t, CLIP_F32, 2, (const int64_t[]){n, teacher->dim});
    for (int64_t i = 0; i < n && samples != NULL && rows->data != NULL; i++)
        memcpy((float *)rows->data + i * teacher->dim, from + samples[i] * teacher->dim,
               (size_t)teacher->dim * sizeof(float));
    return rows;
}

/* The model's loss of given embeddings: image [n,E], text [n + negatives, E]; ids may be NULL.
 * samples [n]: which rows of the teacher; NULL while planning. */
static struct clip_tensor *batch_loss(const struct clip_step *s, struct clip_tape *t,
                                      struct clip_tensor *image, struct clip_tensor *text,
                                      struct clip_tensor *ids, const int64_t *samples)
{
    const struct clip_teacher *teacher = s->options.teacher;
    struct clip_loss_inputs inputs = {.ids = ids};
    int64_t n = image->shape[0];
    if (teacher != NULL) {
        inputs.teacher_image = teacher_rows(t, teacher, teacher->image, samples, n);
        inputs.teacher_text = teacher_rows(t, teacher, teacher->text, samples, n);
        inputs.teacher_scale = teacher->scale;
        inputs.distill_weight = (float)s->options.train.distill_weight;
    }
    return clip_model_loss(t, s->model, image, text, &inputs);
}

/* ---- slices and pieces ---- */

/* Where the rows of the range stand among those of all processes. */
static float *image_row(const struct clip_step *s, float *rows, const struct range *range)
{
    return rows + clip_shared_image_row(s->shared, range->first) * s->shared->dim;
}

static float *text_row(const struct clip_step *s, float *rows, const struct clip_batch *batch,
                       const struct range *range, int64_t i)
{
    int64_t at = text_at(s, batch, range->slice, range->text + i);
    return rows + clip_shared_text_row(s->shared, at) * s->shared->dim;
}

/* Puts the part's embeddings into the rows of all. */
static void put_rows(struct clip_step *s, const struct clip_step_part *p,
                     const struct clip_batch *batch, const struct range *range)
{
    size_t row = (size_t)s->shared->dim * sizeof(float);
    if (p->tape->status != CLIP_OK) return;
    if (p->image != NULL)
        memcpy(image_row(s, s->shared->image, range), p->image->data, (size_t)range->images * row);
    for (int64_t i = 0; i < range->texts; i++)
        memcpy(text_row(s, s->shared->text, batch, range, i),
               (const char *)p->text->data + (size_t)i * row, row);
}

/* The loss' gradient by the part's embeddings, and from there back through the towers. */
static void walk_back(struct clip_step *s, struct clip_step_part *p, const struct clip_batch *batch,
                      const struct range *range)
{
    int64_t e = s->shared->dim;
    struct clip_tensor *rows;
    if (p->image != NULL)
        clip_tape_seed(p->tape, p->image, image_row(s, s->shared->image_grad, range));
    rows = clip_tape_input(p->tape, CLIP_F32, 2, (const int64_t[]){range->texts, e});
    for (int64_t i = 0; i < range->texts && rows->data != NULL; i++)
        memcpy((float *)rows->data + i * e, text_row(s, s->shared->text_grad, batch, range, i),
               (size_t)e * sizeof(float));
    clip_tape_seed(p->tape, p->text, rows->data);
    clip_tape_backward_seeded(p->tape);
}

/* Piece number i of a slice; false behind the last. Texts reach further where there are hard
 * negatives. */
static bool piece_of(const struct clip_step *s, const struct clip_batch *batch, int64_t slice,
                     int64_t i, struct range *range)
{
    int64_t size = piece_size(s), n = s->slice_size, texts = texts_of(s, batch, slice);
    if (s->holds) size = texts;
    int64_t images = clip_min_i64(n - i * size, size);
    *range = (struct range){.slice = slice,
                            .first = slice * n + i * size,
                            .images = images > 0 ? images : 0,
                            .text = i * size,
                            .texts = clip_min_i64(texts - i * size, size)};
    return range->texts > 0;
}

static clip_status forward(struct clip_step *s, const struct clip_batch *batch,
                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct range range;
    for (int64_t slice = 0; slice < s->slices->count; slice++) {
        struct clip_step_part *part = &s->parts[s->holds ? slice : 0];
        part->tape->record = s->holds;
        for (int64_t i = 0; piece_of(s, batch, slice, i, &range); i++) {
            encode(s, part, batch, &range);
            put_rows(s, part, batch, &range);
            CLIP_TRY(clip_tape_status(part->tape, error));
        }
        part->tape->record = true;
    }
out:
    return status;
}

/* Slices share the loss; one slice is all of it. */
static void share_loss(struct clip_step *s, const struct clip_batch *batch,
                       struct clip_loss_share *share)
{
    const struct clip_slices *slices = s->slices;
    for (int64_t k = 0; k <= slices->count; k++)
        s->negatives[k] = s->shared->first_negative + negatives_before(batch, k * s->slice_size);
    *share = (struct clip_loss_share){.pairs = s->slice_size,
                                      .first = slices->first,
                                      .count = slices->count,
                                      .negatives = s->negatives,
                                      .gather = clip_shared_rows,
                                      .context = s->shared};
    s->loss_tape->share = slices->world > 1 ? share : NULL;
}

/* The loss of all pairs, and its gradient by the embeddings of the process' slices and by the
 * temperature. Processes exchange within it: its memory is there already (clip_step_reserve). */
static clip_status whole_loss(struct clip_step *s, const struct clip_batch *batch, double *value,
                              struct clip_error *error)
{
    struct clip_shared *all = s->shared;
    struct clip_tape *t = s->loss_tape;
    struct clip_loss_share share;
    int64_t n = all->batch_size, texts = n + all->negatives, e = all->dim;
    struct clip_tensor image = clip_tensor_f32(all->image, n, e),
                       text = clip_tensor_f32(all->text, texts, e),
                       ids = clip_tensor_i32(all->ids, n);
    image.grad = memset(all->image_grad, 0, (size_t)(n * e) * sizeof(float));
    text.grad = memset(all->text_grad, 0, (size_t)(texts * e) * sizeof(float));
    image.needs_grad = text.needs_grad = true;
    clip_tape_clear(t);
    share_loss(s, batch, &share);
    struct clip_tensor *loss = batch_loss(
        s, t, &image, &text, s->options.train.multi_positive ? &ids : NULL, all->samples);
    *value = loss->data != NULL ? (double)*(const float *)loss->data : 0;
    clip_tape_backward(t, loss);
    t->share = NULL;
    return clip_tape_status(t, error);
}

/* ---- gradients ---- */

/* Gradients are written to `buffer` from now on. Whoever writes to one first overwrites it. */
static void use_gradients(struct clip_model *m, float *buffer)
{
    for (int64_t i = 0; i < m->param_count; i++) {
        struct clip_param *p = &m->params[i];
        if (p->tensor.needs_grad) p->tensor.grad = buffer + p->train_offset;
        p->tensor.grad_empty = true;
    }
}

/* Those that nobody came to are zero. */
static void zero_unreached(struct clip_model *m)
{
    for (int64_t i = 0; i < m->param_count; i++) {
        struct clip_tensor *p = &m->params[i].tensor;
        if (p->needs_grad && !clip_grad_adds(p))
            memset(p->grad, 0, (size_t)clip_tensor_count(p) * sizeof *p->grad);
    }
}

/* The gradient of each of the process' slices into their sum. That by the temperature, which the
 * loss has already written, is the first slice's. */
static clip_status backward(struct clip_step *s, const struct clip_batch *batch, float *first,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct range range;
    for (int64_t slice = 0; slice < s->slices->count; slice++) {
        struct clip_step_part *part = &s->parts[s->holds ? slice : 0];
        float *buffer = slice == 0 ? first : clip_slices_buffer(s->slices);
        if (slice > 0 || s->slices->first > 0) use_gradients(s->model, buffer);
        for (int64_t i = 0; piece_of(s, batch, slice, i, &range); i++) {
            if (!s->holds) encode(s, part, batch, &range);
            walk_back(s, part, batch, &range);
            CLIP_TRY(clip_tape_status(part->tape, error));
        }
        zero_unreached(s->model);
        clip_slices_add(s->slices, buffer);
    }
out:
    return status;
}

/* ---- the step ---- */

static clip_status check_teacher(const struct clip_step *s, const struct clip_batch *batch,
                                 struct clip_error *error)
{
    for (int64_t i = 0; s->options.teacher != NULL && i < batch->count; i++)
        if (!s->options.teacher->there[batch->samples[i]])
            return clip_fail(error, CLIP_ERR_DATA,
                             "the teacher has no embedding of sample %lld, which is readable now; "
                             "embed train_data again with clip_embed --pairs",
                             (long long)batch->samples[i]);
    return CLIP_OK;
}

static clip_status check_finite(const struct clip_step *s, const struct clip_step_result *r,
                                struct clip_error *error)
{
    if (isfinite(r->loss) && isfinite(r->grad_norm)) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DIVERGED,
                     "the %s is not a finite number at step %lld (lr %g); try a lower [optim] lr, "
                     "a longer warmup or a "
                     "lower beta2, and go on from the last checkpoint with --resume",
                     isfinite(r->loss) ? "gradient" : "loss", (long long)s->adamw->step + 1, r->lr);
}

static clip_status prepare(struct clip_step *s, const struct clip_batch *batch,
                           struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(check_teacher(s, batch, error));
    CLIP_TRY(clip_locked_prepare(s->locked, batch, error));
    if (s->keep != NULL) draw_patches(s, batch);
out:
    return status;
}

/* Parameters that this process updated, for all others. They travel in the memory of the gradients,
 * in whose layout each process has one run of them. */
static void share_parameters(struct clip_step *s)
{
    struct clip_model *m = s->model;
    if (clip_comm_size(s->options.comm) == 1) return;
    for (int64_t i = 0; i < m->param_count; i++) {
        const struct clip_param *p = &m->params[i];
        int64_t begin, end;
        if (clip_adamw_range(s->adamw, i, &begin, &end))
            memcpy(m->grad + p->train_offset + begin, (const float *)p->tensor.data + begin,
                   (size_t)(end - begin) * sizeof *m->grad);
    }
    clip_slices_gather(s->slices, &s->adamw->parts, m->grad);
    for (int64_t i = 0; i < m->param_count; i++) {
        const struct clip_param *p = &m->params[i];
        if (p->tensor.needs_grad)
            memcpy(p->tensor.data, m->grad + p->train_offset,
                   (size_t)clip_tensor_count(&p->tensor) * sizeof *m->grad);
    }
}

static void update_average(struct clip_step *s)
{
    double decay = clip_ema_decay(s->options.optim.ema_decay, s->adamw->step);
    for (int64_t i = 0; s->ema != NULL && i < s->model->param_count; i++) {
        const struct clip_param *p = &s->model->params[i];
        int64_t begin, end;
        if (clip_adamw_range(s->adamw, i, &begin, &end))
            clip_ema_update(s->ema + p->train_offset + begin - s->adamw->begin,
                            (const float *)p->tensor.data + begin, decay, end - begin);
    }
}

void clip_step_average(struct clip_step *s)
{
    float *all = s->model->grad;
    if (s->average != NULL || s->ema == NULL) return;
    if (clip_comm_size(s->options.comm) > 1) {
        memcpy(all + s->adamw->begin, s->ema,
               (size_t)(s->adamw->end - s->adamw->begin) * sizeof *all);
        clip_slices_gather(s->slices, &s->adamw->parts, all);
    }
    s->average = clip_comm_size(s->options.comm) > 1 ? all : s->ema;
}

/* The gradient's norm, and the update of all parameters. */
static clip_status update(struct clip_step *s, struct clip_step_result *result,
                          struct clip_error *error)
{
    struct clip_model *m = s->model;
    result->lr = clip_schedule_lr(&s->schedule, s->adamw->step);
    clip_grad_squares(s->adamw, m->grad);
    clip_slices_gather_sums(s->slices, &s->adamw->parts, s->adamw->sums);
    result->grad_norm = clip_grad_norm(s->adamw);
    clip_status status = check_finite(s, result, error);
    if (status != CLIP_OK) return status;
    clip_adamw_step(s->adamw, m->data, m->grad, result->lr,
                    clip_grad_scale(result->grad_norm, s->options.optim.grad_clip_norm));
    share_parameters(s);

    float *logit_scale = m->logit_scale->data;
    const float most = 4.6051702f; /* ln 100 (Radford et al., section 2.5) */
    if (*logit_scale < 0) *logit_scale = 0;
    if (*logit_scale > most) *logit_scale = most;
    result->logit_scale = (double)*logit_scale;
    update_average(s);
    return CLIP_OK;
}

clip_status clip_step_run(struct clip_step *s, const struct clip_batch *batch,
                          struct clip_step_result *result, struct clip_error *error)
{
    clip_status status = prepare(s, batch, error);
    struct clip_comm *comm = s->options.comm;
    clip_shared_begin(s->shared, batch);
    if (status == CLIP_OK) status = forward(s, batch, error);
    CLIP_TRY(clip_comm_agree(comm, status, error));
    clip_shared_embeddings(s->shared);
    if (s->options.teacher != NULL) clip_shared_samples(s->shared, batch);
    if (s->options.train.multi_positive) CLIP_TRY(clip_shared_ids(s->shared, batch, error));

    if (clip_comm_size(comm) > 1) s->average = NULL; /* it was where gradients are */
    clip_slices_begin(s->slices);
    float *buffer = clip_slices_buffer(s->slices);
    use_gradients(s->model, buffer);
    status = whole_loss(s, batch, &result->loss, error);
    if (status == CLIP_OK) status = backward(s, batch, buffer, error);
    CLIP_TRY(clip_comm_agree(comm, status, error));
    clip_slices_reduce(s->slices, &s->adamw->parts);
    use_gradients(s->model, s->model->grad);
    CLIP_TRY(update(s, result, error));
out:
    return status;
}

/* ---- memory ---- */

/* Bytes of a part's tape, and of the loss' tape. */
static clip_status plan(struct clip_step *s, int64_t tokens, size_t *part, size_t *loss,
                        struct clip_error *error)
{
    clip_status status;
    const struct clip_config_train *train = &s->options.train;
    int64_t n = piece_size(s), all = train->batch_size, e = s->model->config.embed_dim;
    int64_t texts = s->holds ? most_texts(s, n) : n;
    int64_t token_count = (int64_t)ceil((double)tokens * (double)texts / (double)(all ? all : 1));
    struct clip_tape *tape = NULL;
    CLIP_TRY(clip_tape_create(&tape, error));
    tape->plan = true;
    tape->dtype = clip_precision_dtype(train->precision);
    clip_tape_clear(tape);
    int64_t size = s->model->config.image_size, kept = kept_patches(s);
    struct clip_tensor pixels = clip_tensor_view(CLIP_F32, NULL, 4, (int64_t[]){n, 3, size, size});
    struct clip_tensor keep = clip_tensor_view(CLIP_I32, NULL, 2, (int64_t[]){n, kept});
    struct clip_tensor token_ids = clip_tensor_i32(NULL, token_count > texts ? token_count : texts),
                       offsets = clip_tensor_i32(NULL, texts + 1);
    struct clip_tensor *image =
        clip_vision_encode(tape, s->model, &pixels, train->patch_dropout > 0 ? &keep : NULL);
    struct clip_tensor *text = clip_text_encode(tape, s->model, &token_ids, &offsets);
    clip_tape_seed(tape, image, NULL);
    clip_tape_seed(tape, text, NULL);
    clip_tape_backward_seeded(tape);
    *part = clip_tape_peak(tape);
    CLIP_TRY(clip_tape_status(tape, error));
    clip_tape_free(tape);
    tape = NULL;
    CLIP_TRY(clip_tape_create(&tape, error));
    tape->plan = true;
    struct clip_tensor a = clip_tensor_f32(NULL, all, e),
                       b = clip_tensor_f32(NULL, most_texts(s, all), e);
    a.needs_grad = b.needs_grad = true;
    clip_tape_clear(tape);
    clip_tape_backward(tape, batch_loss(s, tape, &a, &b, NULL, NULL));
    *loss = clip_tape_peak(tape);
    CLIP_TRY(clip_tape_status(tape, error));
out:
    clip_tape_free(tape);
    return status;
}

clip_status clip_step_plan(struct clip_step *s, int64_t tokens, size_t *bytes,
                           struct clip_error *error)
{
    size_t part, loss;
    clip_status status = plan(s, tokens, &part, &loss, error);
    if (status == CLIP_OK) *bytes = (size_t)s->part_count * part + loss;
    return status;
}

clip_status clip_step_reserve(struct clip_step *s, struct clip_error *error)
{
    clip_status status;
    size_t part, loss;
    int64_t tokens = s->options.train.batch_size * s->model->config.context_length;
    CLIP_TRY(plan(s, tokens, &part, &loss, error));
    for (int64_t i = 0; i < s->part_count; i++)
        CLIP_TRY(clip_tape_reserve(s->parts[i].tape, part + part / 8, error));
    CLIP_TRY(clip_tape_reserve(s->loss_tape, loss + loss / 8, error));
out:
    return status;
}
