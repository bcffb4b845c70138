#include "model/loss.h"

#include <math.h>

#include "autograd/ops.h"

/* ---- the losses ---- */

static struct clip_tensor *infonce(struct clip_tape *t, struct clip_model *m,
                                   struct clip_tensor *image, struct clip_tensor *text,
                                   struct clip_tensor *ids)
{
    return clip_infonce(t, image, text, m->logit_scale, ids);
}

static struct clip_tensor *siglip(struct clip_tape *t, struct clip_model *m,
                                  struct clip_tensor *image, struct clip_tensor *text,
                                  struct clip_tensor *ids)
{
    return clip_sigmoid_loss(t, image, text, m->logit_scale, m->logit_bias, ids);
}

/* A softmax over n equal logits: ln n. */
static double softmax_chance(int64_t n) { return log((double)n); }

/* Of n sigmoids one should be 1; all answer 1/n: ln n - (n - 1) ln(1 - 1/n). */
static double sigmoid_chance(int64_t n)
{
    return log((double)n) - (n > 1 ? (double)(n - 1) * log1p(-1 / (double)n) : 0);
}

const struct clip_loss clip_losses[] = {
    {"infonce", infonce, .needs_bias = false, softmax_chance},
    {"siglip", siglip, .needs_bias = true, sigmoid_chance},
};
enum { LOSSES = sizeof clip_losses / sizeof *clip_losses };

/* ---- which one ---- */

const char *clip_loss_name(int loss)
{
    return loss >= 0 && loss < LOSSES ? clip_losses[loss].name : NULL;
}

static const struct clip_loss *by_bias(bool bias)
{
    const struct clip_loss *loss = clip_losses;
    while (loss->needs_bias != bias) loss++;
    return loss;
}

const struct clip_loss *clip_loss_of(const struct clip_model_config *config)
{
    return config->loss != NULL ? config->loss : by_bias(config->logit_bias);
}

void clip_loss_choose(struct clip_model_config *config, int loss)
{
    const struct clip_loss *chosen = &clip_losses[loss];
    config->loss = chosen != by_bias(config->logit_bias) ? chosen : NULL;
}

clip_status clip_loss_check(const struct clip_loss *loss, const struct clip_model_config *config,
                            struct clip_error *error)
{
    if (!loss->needs_bias || config->logit_bias) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA,
                     "the %s loss needs a logit_bias, which the model does not have; choose %s",
                     loss->name, by_bias(false)->name);
}

/* ---- of a batch ---- */

struct clip_tensor *clip_model_loss(struct clip_tape *t, struct clip_model *m,
                                    struct clip_tensor *image, struct clip_tensor *text,
                                    const struct clip_loss_inputs *inputs)
{
    static const struct clip_loss_inputs nothing = {0};
    const struct clip_loss_inputs *with = inputs != NULL ? inputs : &nothing;
    const struct clip_loss *loss = with->loss != NULL ? with->loss : clip_loss_of(&m->config);
    struct clip_tensor *contrastive = loss->build(t, m, image, text, with->ids);
    if (with->teacher_image == NULL) return contrastive;
    struct clip_tensor *distillation = clip_distill(t, image, text, m->logit_scale,
                                                    with->teacher_image, with->teacher_text,
                                                    with->teacher_scale);
    return clip_add(t, contrastive, clip_scale(t, distillation, with->distill_weight));
}
