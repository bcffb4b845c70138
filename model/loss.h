/* The losses that a CLIP is trained with, and how one is built for a batch: for training and its
 * micro-batches, validation, advice and `clip_eval loss` alike.
 *
 * A loss is an op (autograd/ops/) and one row of the table in loss.c. The configuration, --help and
 * the checkpoints name it by that row. */
#ifndef CLIP_MODEL_LOSS_H
#define CLIP_MODEL_LOSS_H

#include "model/model.h"

struct clip_loss {
    const char *name;
    /* image [B,E], text [B+H,E] unit rows, the last H of them hard negatives, ids i32 [B] or NULL
     * -> scalar */
    struct clip_tensor *(*build)(struct clip_tape *t, struct clip_model *model,
                                 struct clip_tensor *image, struct clip_tensor *text,
                                 struct clip_tensor *ids);
    bool needs_bias; /* the model has a logit_bias, which `build` reads */
    /* What the best constant answer costs in a batch of n pairs. */
    double (*chance)(int64_t n);
};

extern const struct clip_loss clip_losses[];
const char *clip_loss_name(int loss); /* "infonce", "siglip", by their rows; core/choice.h */

/* The loss that a model is trained and measured with: config->loss; if that is NULL, the first row
 * whose needs_bias equals whether the model has a logit_bias. */
const struct clip_loss *clip_loss_of(const struct clip_model_config *config);
/* Makes row `loss` the model's; config->logit_bias must be set already. */
void clip_loss_choose(struct clip_model_config *config, int loss);
/* CLIP_ERR_DATA if the model lacks what the loss needs. */
clip_status clip_loss_check(const struct clip_loss *loss, const struct clip_model_config *config,
                            struct clip_error *error);

/* What a batch's loss is computed from beside the embeddings. NULL or {0}: each text is the
 * positive of only its own image, and there is no teacher. */
struct clip_loss_inputs {
    const struct clip_loss *loss; /* NULL: the model's */
    /* i32 [B]: pairs with the same id are positives of each other; or NULL */
    struct clip_tensor *ids;
    /* [B,D] unit rows of a teacher to distill; or NULL */
    struct clip_tensor *teacher_image, *teacher_text;
    float teacher_scale;  /* exp of the teacher's logit_scale */
    float distill_weight; /* the value is contrastive + distill_weight * distillation */
};
/* image [B,E], text [B+H,E] unit rows, the last H of them hard negatives -> scalar */
struct clip_tensor *clip_model_loss(struct clip_tape *t, struct clip_model *model,
                                    struct clip_tensor *image, struct clip_tensor *text,
                                    const struct clip_loss_inputs *inputs);

#endif
