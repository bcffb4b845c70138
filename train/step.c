#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "kernels/kernels.h"
#include "model/loss.h"

static int64_t kept_patches(const struct clip_step *s)
{
    const struct clip_model_config *c = &s->model->config;
    int64_t grid = c->image_size / c->patch_size, patches = grid * grid;
    int64_t kept = (int64_t)llround((1 - s->options.train.patch_dropout) * (double)patches);
    return kept > 1 ? kept : 1;
}

static int64_t piece_size(const struct clip_step *s)
{
    int64_t micro = s->options.train.micro_batch;
    return micro > 0 && micro < s->options.train.batch_size ? micro : s->options.train.batch_size;
}

/* The most captions and hard negatives of a step. */
static int64_t most_texts(const struct clip_step *s)
{
    return s->options.negatives ? 2 * s->options.train.batch_size : s->options.train.batch_size;
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
                                               .moments = o->moments};
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

clip_status clip_step_create(struct clip_step **out, struct clip_model *model,
                             const struct clip_step_options *options, struct clip_error *error)
{
    clip_status status;
    struct clip_step *s = NULL;
    CLIP_NEW(s, 1);
    s->options = *options;
    s->schedule = schedule_of(options);
    s->model = model;
    model->recompute = options->train.recompute;
    CLIP_TRY(clip_tape_create(&s->tape, error));
    s->tape->dtype = clip_precision_dtype(options->train.precision);
    CLIP_TRY(clip_model_gradients(model, error));
    CLIP_TRY(create_adamw(s, error));
    if (options->optim.ema_decay > 0) {
        CLIP_NEW(s->ema, model->trained);
        for (int64_t i = 0; i < model->param_count; i++) {
            const struct clip_param *p = &model->params[i];
            if (p->tensor.needs_grad)
                memcpy(s->ema + p->train_offset, p->tensor.data,
                       (size_t)clip_tensor_count(&p->tensor) * sizeof *s->ema);
        }
    }
    if (options->train.patch_dropout > 0)
        CLIP_NEW(s->keep, options->train.batch_size * kept_patches(s));
    if (piece_size(s) < options->train.batch_size) {
        int64_t rows = options->train.batch_size + most_texts(s);
        CLIP_NEW(s->embeds, rows * model->config.embed_dim);
        CLIP_NEW(s->grads, rows * model->config.embed_dim);
        CLIP_NEW(s->offsets, piece_size(s) + 1);
    }
    *out = s;
    return CLIP_OK;
out:
    clip_step_free(s);
    return status;
}

void clip_step_free(struct clip_step *s)
{
    if (s == NULL) return;
    clip_tape_free(s->tape);
    clip_adamw_free(s->adamw);
    free(s->ema);
    free(s->keep);
    free(s->embeds);
    free(s->grads);
    free(s->offsets);
    free(s);
}

/* ---- forward and backward ---- */

/* Which patches each image keeps: a sorted random subset keyed by (seed, epoch, sample) (FLIP, Li
 * et al. 2023). */
static void draw_patches(struct clip_step *s, const struct clip_batch *batch)
{
    const struct clip_model_config *c = &s->model->config;
    int64_t grid = c->image_size / c->patch_size, patches = grid * grid, kept = kept_patches(s);
    for (int64_t b = 0; b < batch->count; b++) {
        struct clip_rng rng = clip_rng_at((uint64_t)s->options.train.seed, CLIP_RNG_PATCHES,
                                          (uint32_t)batch->epoch, (uint64_t)batch->samples[b]);
        int32_t *out = s->keep + b * kept;
        int64_t missing = kept;
        for (int64_t p = 0; p < patches && missing > 0;
             p++) /* selection sampling: Knuth, vol. 2, algorithm S */
            if ((int64_t)clip_rng_below(&rng, (uint32_t)(patches - p)) < missing)
                out[kept - missing--] = (int32_t)p;
    }
}

/* Captions and, behind them, hard negatives. */
static int64_t texts_of(const struct clip_batch *batch) { return batch->count + batch->negatives; }

/* Views of a part of a batch; they must outlive the tape's nodes. */
struct piece {
    struct clip_tensor pixels, tokens, offsets, keep;
};

/* Rows of a locked tower, kept from before: images, or texts, [begin, begin + n). */
static struct clip_tensor *kept_rows(struct clip_step *s, const struct clip_batch *batch,
                                     bool texts, int64_t begin, int64_t n)
{
    int64_t e = s->model->config.embed_dim;
    struct clip_tensor *rows = clip_tape_input(s->tape, CLIP_F32, 2, (const int64_t[]){n, e});
    for (int64_t i = 0; i < n && rows->data != NULL; i++)
        memcpy((float *)rows->data + i * e,
               texts ? clip_locked_text(s->locked, begin + i)
                     : clip_locked_image(s->locked, batch, begin + i),
               (size_t)e * sizeof(float));
    return rows;
}

/* Images [begin, begin + n) -> [n,E], unit rows. */
static struct clip_tensor *encode_images(struct clip_step *s, const struct clip_batch *batch,
                                         int64_t begin, int64_t n, struct piece *p)
{
    int64_t size = s->model->config.image_size, kept = s->keep != NULL ? kept_patches(s) : 0;
    if (clip_locked_images(s->locked)) return kept_rows(s, batch, false, begin, n);
    p->pixels = clip_tensor_view(CLIP_F32, batch->pixels + begin * 3 * size * size, 4,
                                 (int64_t[]){n, 3, size, size});
    if (s->keep == NULL) return clip_vision_encode(s->tape, s->model, &p->pixels, NULL);
    p->keep = clip_tensor_view(CLIP_I32, s->keep + begin * kept, 2, (int64_t[]){n, kept});
    return clip_vision_encode(s->tape, s->model, &p->pixels, &p->keep);
}

/* Captions and, behind them, hard negatives [begin, begin + n) -> [n,E], unit rows. */
static struct clip_tensor *encode_texts(struct clip_step *s, const struct clip_batch *batch,
                                        int64_t begin, int64_t n, struct piece *p)
{
    int32_t first = batch->offsets[begin], end = batch->offsets[begin + n];
    int32_t *offsets = batch->offsets;
    if (clip_locked_texts(s->locked)) return kept_rows(s, batch, true, begin, n);
    if (n < texts_of(batch)) {
        offsets = s->offsets;
        for (int64_t b = 0; b <= n; b++) offsets[b] = batch->offsets[begin + b] - first;
    }
    p->tokens = clip_tensor_i32(batch->tokens + first, end - first);
    p->offsets = clip_tensor_i32(offsets, n + 1);
    return clip_text_encode(s->tape, s->model, &p->tokens, &p->offsets);
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

static double scalar(const struct clip_tensor *tensor)
{
    return tensor->data != NULL ? (double)*(const float *)tensor->data : 0;
}

/* Figure 3 of the paper. */
static double whole_batch(struct clip_step *s, const struct clip_batch *batch,
                          struct clip_tensor *ids)
{
    struct clip_tape *tape = s->tape;
    struct piece piece;
    clip_tape_clear(tape);
    struct clip_tensor *image = encode_images(s, batch, 0, batch->count, &piece);  /* [B,E] */
    struct clip_tensor *text = encode_texts(s, batch, 0, texts_of(batch), &piece); /* [B+H,E] */
    struct clip_tensor *loss = batch_loss(s, tape, image, text, ids, batch->samples);
    double value = tape->plan ? 0 : scalar(loss);
    clip_tape_backward(tape, loss);
    return value;
}

static void keep_embeds(float *to, const struct clip_tensor *from)
{
    if (from->data != NULL) memcpy(to, from->data, (size_t)clip_tensor_count(from) * sizeof *to);
}

/* The same loss and gradient, a piece at a time. */
static double by_pieces(struct clip_step *s, const struct clip_batch *batch,
                        struct clip_tensor *ids, struct clip_error *error)
{
    struct clip_tape *t = s->tape;
    int64_t n = batch->count, texts = texts_of(batch), size = piece_size(s);
    int64_t e = s->model->config.embed_dim;
    float *image_embeds = s->embeds, *text_embeds = s->embeds + n * e;
    float *image_grads = s->grads, *text_grads = s->grads + n * e;
    struct piece piece;

    t->record = false;
    for (int64_t i = 0; i < texts && t->status == CLIP_OK; i += size) {
        int64_t images = clip_min_i64(n - i, size), captions = clip_min_i64(texts - i, size);
        clip_tape_clear(t);
        if (images > 0)
            keep_embeds(image_embeds + i * e, encode_images(s, batch, i, images, &piece));
        keep_embeds(text_embeds + i * e, encode_texts(s, batch, i, captions, &piece));
    }
    t->record = true;
    if (t->status != CLIP_OK) return 0;

    memset(s->grads, 0, (size_t)((n + texts) * e) * sizeof *s->grads);
    struct clip_tensor image = clip_tensor_f32(image_embeds, n, e),
                       text = clip_tensor_f32(text_embeds, texts, e);
    image.grad = image_grads;
    text.grad = text_grads;
    image.needs_grad = text.needs_grad = true;
    clip_tape_clear(t);
    struct clip_tensor *loss = batch_loss(s, t, &image, &text, ids, batch->samples);
    double value = scalar(loss);
    clip_tape_backward(t, loss);

    for (int64_t i = 0; i < texts && clip_tape_status(t, error) == CLIP_OK; i += size) {
        int64_t images = clip_min_i64(n - i, size), captions = clip_min_i64(texts - i, size);
        clip_tape_clear(t);
        if (images > 0 && !clip_locked_images(s->locked))
            clip_tape_backward_from(t, encode_images(s, batch, i, images, &piece),
                                    image_grads + i * e);
        if (!clip_locked_texts(s->locked))
            clip_tape_backward_from(t, encode_texts(s, batch, i, captions, &piece),
                                    text_grads + i * e);
    }
    return value;
}

/* ---- the step ---- */

/* Whoever writes to a gradient first overwrites it; those that nobody came to are zero. */
static void empty_gradients(struct clip_model *m)
{
    for (int64_t i = 0; i < m->param_count; i++) m->params[i].tensor.grad_empty = true;
}

static void zero_unreached(struct clip_model *m)
{
    for (int64_t i = 0; i < m->param_count; i++) {
        struct clip_tensor *p = &m->params[i].tensor;
        if (p->needs_grad && !clip_grad_adds(p))
            memset(p->grad, 0, (size_t)clip_tensor_count(p) * sizeof *p->grad);
    }
}

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

clip_status clip_step_run(struct clip_step *s, const struct clip_batch *batch,
                          struct clip_step_result *result, struct clip_error *error)
{
    clip_status status;
    struct clip_model *m = s->model;
    struct clip_tensor ids = clip_tensor_i32(batch->ids, batch->count);
    struct clip_tensor *positives = s->options.train.multi_positive ? &ids : NULL;
    CLIP_TRY(check_teacher(s, batch, error));
    CLIP_TRY(clip_locked_prepare(s->locked, batch, error));
    if (s->keep != NULL) draw_patches(s, batch);
    empty_gradients(m);
    if (piece_size(s) < batch->count)
        result->loss = by_pieces(s, batch, positives, error);
    else
        result->loss = whole_batch(s, batch, positives);
    CLIP_TRY(clip_tape_status(s->tape, error));
    zero_unreached(m);

    result->lr = clip_schedule_lr(&s->schedule, s->adamw->step);
    result->grad_norm = clip_grad_norm(s->adamw, m->grad);
    CLIP_TRY(check_finite(s, result, error));
    clip_adamw_step(s->adamw, m->data, m->grad, result->lr,
                    clip_grad_scale(result->grad_norm, s->options.optim.grad_clip_norm));

    float *logit_scale = m->logit_scale->data;
    const float most = 4.6051702f; /* ln 100 (Radford et al., section 2.5) */
    if (*logit_scale < 0) *logit_scale = 0;
    if (*logit_scale > most) *logit_scale = most;
    result->logit_scale = (double)*logit_scale;
    double decay = clip_ema_decay(s->options.optim.ema_decay, s->adamw->step);
    for (int64_t i = 0; s->ema != NULL && i < m->param_count; i++) {
        const struct clip_param *p = &m->params[i];
        if (p->tensor.needs_grad)
            clip_ema_update(s->ema + p->train_offset, p->tensor.data, decay,
                            clip_tensor_count(&p->tensor));
    }
out:
    return status;
}

clip_status clip_step_plan(struct clip_step *s, int64_t tokens, size_t *bytes,
                           struct clip_error *error)
{
    clip_status status;
    int64_t n = piece_size(s), all = s->options.train.batch_size;
    int64_t texts = n < all ? n : most_texts(s);
    int64_t token_count = (int64_t)ceil((double)tokens * (double)texts / (double)(all ? all : 1));
    struct clip_tape *tape = NULL;
    CLIP_TRY(clip_tape_create(&tape, error));
    tape->plan = true;
    tape->dtype = clip_precision_dtype(s->options.train.precision);
    clip_tape_clear(tape);
    int64_t size = s->model->config.image_size, kept = kept_patches(s);
    struct clip_tensor pixels = clip_tensor_view(CLIP_F32, NULL, 4, (int64_t[]){n, 3, size, size});
    struct clip_tensor keep = clip_tensor_view(CLIP_I32, NULL, 2, (int64_t[]){n, kept});
    struct clip_tensor token_ids = clip_tensor_i32(NULL, token_count > texts ? token_count : texts),
                       offsets = clip_tensor_i32(NULL, texts + 1);
    struct clip_tensor *image = clip_vision_encode(
        tape, s->model, &pixels, s->options.train.patch_dropout > 0 ? &keep : NULL);
    struct clip_tensor *text = clip_text_encode(tape, s->model, &token_ids, &offsets);
    clip_tape_backward(tape, batch_loss(s, tape, image, text, NULL, NULL));
    *bytes = clip_tape_peak(tape);
    if (n < all) { /* the loss over the whole batch stands alone on the tape */
        int64_t e = s->model->config.embed_dim;
        struct clip_tensor a = clip_tensor_f32(NULL, all, e),
                           b = clip_tensor_f32(NULL, most_texts(s), e);
        a.needs_grad = b.needs_grad = true;
        clip_tape_clear(tape);
        clip_tape_backward(tape, batch_loss(s, tape, &a, &b, NULL, NULL));
        *bytes = clip_tape_peak(tape);
    }
    CLIP_TRY(clip_tape_status(tape, error));
out:
    clip_tape_free(tape);
    return status;
}
