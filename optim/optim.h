/* AdamW, learning-rate schedules, gradient clipping, moving average of the weights.
 *
 * The optimizer knows nothing of models. It gets a list of parameters, each of which is a run of
 * floats in one buffer and has its own weight decay and learning-rate factor. */
#ifndef CLIP_OPTIM_OPTIM_H
#define CLIP_OPTIM_OPTIM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct clip_optim_param {
    int64_t offset;       /* of its first float in the parameters' buffer */
    int64_t train_offset; /* the same in the buffers of gradients and moments, which have no room
                             for what is not trained */
    int64_t count;        /* of floats */
    bool decays, trained;
    double lr_factor; /* the schedule's lr is multiplied by it: layer-wise decay */
};

/* How the moments are stored. BF16: as bfloat16, rounded at random by (step, element) in a way that
 * keeps the mean right; the update uses them before they are rounded. */
enum clip_moments { CLIP_MOMENTS_F32, CLIP_MOMENTS_BF16 };
const char *clip_moments_name(int moments); /* "f32", "bf16"; core/choice.h */

struct clip_adamw_options {
    double beta1, beta2, eps, weight_decay;
    enum clip_moments moments;
    int part, parts; /* which of several processes' parts it updates; parts 0: all there is */
};

/* How the buffers are divided among processes (ZeRO stage 1, Rajbhandari et al. 2020): part r has
 * floats [floats[r], floats[r+1]) of the gradients' layout, and pieces [pieces[r], pieces[r+1]) of
 * those that a step is made of. A piece is never divided. */
struct clip_optim_parts {
    int count;
    int64_t *floats, *pieces; /* [count + 1] */
};

/* AdamW with decoupled weight decay (Loshchilov & Hutter 2019). Each step equals
 * torch.optim.AdamW's. With several parts, each has the moments of its own floats only, and the
 * parts together make the same bits as one. */
struct clip_adamw {
    struct clip_adamw_options options;
    struct clip_optim_param *params; /* copied */
    int64_t param_count;
    struct clip_optim_parts parts;
    int64_t begin, end; /* the floats of its part */
    /* exp_avg and exp_avg_sq of [begin, end), which are zero at first and laid out like the
     * gradients; float32, or bfloat16 by options.moments */
    void *moment1, *moment2;
    double *sums; /* of each piece, written by clip_grad_squares */
    int64_t step; /* updates made so far */
};
clip_status clip_adamw_create(struct clip_adamw **out, const struct clip_adamw_options *options,
                              const struct clip_optim_param *params, int64_t param_count,
                              int64_t size, struct clip_error *error);
void clip_adamw_free(struct clip_adamw *adamw);
/* Which floats [*begin, *end) of parameter number `param` this part updates; false: none. */
bool clip_adamw_range(const struct clip_adamw *adamw, int64_t param, int64_t *begin, int64_t *end);
/* Updates the trained parameters once. Gradients are first multiplied by grad_scale (clipping). */
void clip_adamw_step(struct clip_adamw *adamw, float *data, const float *grad, double lr,
                     double grad_scale);

/* The sums of squares of the pieces of its part, in adamw->sums. */
void clip_grad_squares(const struct clip_adamw *adamw, const float *grad);
/* The 2-norm of the gradients of all trained parameters, from the sums of all pieces, which are
 * added in their order: the bits are the same for any number of threads and parts. */
double clip_grad_norm(const struct clip_adamw *adamw);
/* The factor for gradients that makes their norm at most `limit`: min(1, limit / (norm + 1e-6)), as
 * in torch.nn.utils.clip_grad_norm_; 1 if limit is 0. */
double clip_grad_scale(double norm, double limit);

/* The moving average warms up: update t, counted from 1, decays by
 *
 *     decay_t = min(decay, (1 + t) / (10 + t))
 *
 * so that a short run's average is of its own weights and not of those that it began with: after
 * ten updates 6e-5 of these are left. The rule is that of tf.train.ExponentialMovingAverage's
 * num_updates, timm's ModelEmaV3 and torch_ema. Nothing is kept for it: t is the optimizer's step,
 * which a checkpoint holds. */
double clip_ema_decay(double decay, int64_t t);
/* average = decay average + (1 - decay) data, for all floats. */
void clip_ema_update(float *average, const float *data, double decay, int64_t size);

/* open_clip's learning-rate schedules: a linear warmup from lr/warmup to lr in `warmup` steps, then
 *     cosine           lr (1 + cos(pi e / es)) / 2, e = step - warmup, es = total - warmup
 *     const            lr
 *     const-cooldown   lr, and in the last `cooldown` steps (1 - e / cooldown) lr, down to 0 */
enum clip_schedule_kind { CLIP_SCHEDULE_COSINE, CLIP_SCHEDULE_CONST, CLIP_SCHEDULE_COOLDOWN };
const char *clip_schedule_name(int kind); /* those words; core/choice.h */
struct clip_schedule {
    enum clip_schedule_kind kind;
    double lr;
    int64_t warmup, total, cooldown; /* steps */
};
double clip_schedule_lr(const struct clip_schedule *schedule,
                        int64_t step); /* step counts from 0 */

#endif
