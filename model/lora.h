/* LoRA (Hu et al. 2021): y = x W^T + (alpha / r) x A^T B^T. The weight W [N,D] of a linear layer is
 * frozen, and two small matrices beside it are trained, A [r,D] and B [N,r]. B starts at zero, so
 * training starts from the original model. Merged into the weight as W + (alpha / r) B A, they cost
 * nothing.
 *
 * The layers that may have such a path are query, key and value of attention (parts of one
 * in_proj), its out_proj, and the MLP's c_fc and c_proj, in the blocks of both towers. The
 * parameters follow their block's in the model's list, as "....attn.in_proj.lora_A.weight" [n r,D]
 * and "....lora_B.weight" [n N,r], with the n chosen parts of in_proj one below the other. */
#ifndef CLIP_MODEL_LORA_H
#define CLIP_MODEL_LORA_H

#include "model/model.h"

/* Reads "q,v", "q,k,v,out_proj,c_fc,c_proj" or "all"; CLIP_ERR_USAGE names a word that is none of
 * these. */
clip_status clip_lora_targets(const char *text, unsigned *targets, struct clip_error *error);

/* Initialises A as torch's Linear (uniform by fan-in) and B with zeros; drawn from (seed,
 * parameter). */
void clip_lora_init(struct clip_model *model, uint64_t seed);
/* Makes only the paths trained; call it after clip_model_train and before the towers' locks. */
void clip_lora_freeze(struct clip_model *model);

bool clip_lora_is(const struct clip_param *param); /* is it an A or a B? */

/* Makes `out`, a model of the same sizes without LoRA, the sum of weights and paths. `buffer`,
 * which is only read, is an average of what is trained, laid out like its gradients, or NULL: the
 * model's data. */
void clip_lora_merge(struct clip_model *out, const struct clip_model *model, float *buffer);

#endif
