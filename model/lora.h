/* LoRA (Hu et al. 2021): beside the frozen weight W [N,D] of a linear layer two small trained ones,
 * A [r,D] and B [N,r]: y = x W^T + (alpha / r) x A^T B^T. B begins at zero, so that training begins
 * at the model that was given. Merged, W + (alpha / r) B A, it costs nothing.
 *
 * Which layers: query, key and value of attention (parts of one in_proj), its out_proj, and the
 * MLP's c_fc and c_proj, in the blocks of both towers. The parameters stand in the model's list
 * behind their block's, as "....attn.in_proj.lora_A.weight" [n r,D] and "....lora_B.weight"
 * [n N,r], the n chosen parts of in_proj one below the other. */
#ifndef CLIP_MODEL_LORA_H
#define CLIP_MODEL_LORA_H

#include "model/model.h"

/* "q,v", "q,k,v,out_proj,c_fc,c_proj" or "all"; CLIP_ERR_USAGE names the word that is none. */
clip_status clip_lora_targets(const char *text, unsigned *targets, struct clip_error *error);

/* A as torch's Linear (uniform by fan-in), B zero; drawn from (seed, parameter). */
void clip_lora_init(struct clip_model *model, uint64_t seed);
/* Only the paths are trained; call it after clip_model_train, before the towers' locks. */
void clip_lora_freeze(struct clip_model *model);

bool clip_lora_is(const struct clip_param *param); /* an A or a B */

/* out, a model of the same sizes without LoRA, becomes the sum of both. `buffer`, which
 * is only read, is an average of what is trained, laid out like its gradients, or NULL: the
 * model's data. */
void clip_lora_merge(struct clip_model *out, const struct clip_model *model, float *buffer);

#endif
