/* The ops. Each stands in a file of its own under ops/ with its formula, forward and backward side
 * by side. Shapes must fit (assert): what comes from a file is checked before it gets here. R rows,
 * D width, B batch, T total tokens. */
#ifndef CLIP_AUTOGRAD_OPS_H
#define CLIP_AUTOGRAD_OPS_H

#include "autograd/tape.h"
#include "kernels/kernels.h"

/* y = x w^T + b + residual.  x [R,D], w [N,D], b [N] or NULL, residual [R,N] or NULL -> [R,N],
 * without a residual stored in the tape's dtype */
struct clip_tensor *clip_linear(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w,
                                struct clip_tensor *b, struct clip_tensor *residual);
/* The same without a residual, y in float32 whatever the tape's dtype is. */
struct clip_tensor *clip_linear_f32(struct clip_tape *t, struct clip_tensor *x,
                                    struct clip_tensor *w, struct clip_tensor *b);
/* y = activation(x w1^T + b1) w2^T + b2 + residual.  x [R,D], w1 [F,D], b1 [F], w2 [N,F], b2 [N],
 * residual [R,N] or NULL -> [R,N]. For backward one matrix [R,F] is kept; with `keep` false none,
 * and the first product is computed again. */
struct clip_mlp_weights {
    struct clip_tensor *w1, *b1, *w2, *b2;
};
struct clip_tensor *clip_mlp(struct clip_tape *t, struct clip_tensor *x,
                             const struct clip_mlp_weights *w, enum clip_activation activation,
                             bool keep, struct clip_tensor *residual);
/* The low-rank path beside a frozen linear layer (LoRA, Hu et al. 2021), to be its residual:
 * y = residual + scale (x a^T) b^T.  x [R,D], a [r,D], b [N,r], residual [R,N] or NULL -> [R,N].
 * Where the layer's columns are `parts` layers side by side, `which` is the set of those (bit p:
 * part p) that have a path; of n paths a [n r,D] and b [n N/parts,r] hold one below the other. */
struct clip_lora_args {
    float scale;
    int parts;
    unsigned which;
};
struct clip_tensor *clip_lora(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *a,
                              struct clip_tensor *b, struct clip_tensor *residual,
                              const struct clip_lora_args *args);
/* y = x w.  x [R,D], w [D,N] -> [R,N]  (CLIP's projections are stored this way) */
struct clip_tensor *clip_project(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w);
/* y[r] = w[ids[r]].  w [V,D], ids i32 [R] -> [R,D] */
struct clip_tensor *clip_embedding(struct clip_tape *t, struct clip_tensor *w,
                                   struct clip_tensor *ids);
/* y[r] = x[r] + w[ids[r]].  x [R,D], w [P,D], ids i32 [R] -> [R,D]  (positional embeddings) */
struct clip_tensor *clip_add_rows(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w,
                                  struct clip_tensor *ids);
/* y = (x - mean) / sqrt(var + eps) * w + b over the last axis.  x [R,D], w, b [D] -> [R,D] */
struct clip_tensor *clip_layernorm(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *w, struct clip_tensor *b, float eps);
/* The same for a product to read: y is stored in the tape's dtype. */
struct clip_tensor *clip_norm_rows(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *w, struct clip_tensor *b, float eps);
/* y = x Phi(x), Phi the normal distribution function (exact GELU).  any shape */
struct clip_tensor *clip_gelu(struct clip_tape *t, struct clip_tensor *x);
/* y = x sigmoid(1.702 x)  (OpenAI's CLIP).  any shape */
struct clip_tensor *clip_quickgelu(struct clip_tape *t, struct clip_tensor *x);
/* y = a + b.  same shape */
struct clip_tensor *clip_add(struct clip_tape *t, struct clip_tensor *a, struct clip_tensor *b);
/* y = factor x.  any shape; factor is a constant */
struct clip_tensor *clip_scale(struct clip_tape *t, struct clip_tensor *x, float factor);
/* Convolution of size and stride P without bias.  image [B,C,H,W], w [D,C,P,P] -> [B*K,D], patches
 * row by row (what is left at the right and below is not looked at); keep i32 [B,K]: only these
 * patches of each image (patch dropout), or NULL for all of them. */
struct clip_tensor *clip_patch_embed(struct clip_tape *t, struct clip_tensor *image,
                                     struct clip_tensor *w, struct clip_tensor *keep);
/* Puts the class row before each image's patches.  x [B*K,D], c [D] -> [B*(K+1),D] */
struct clip_tensor *clip_prepend_class(struct clip_tape *t, struct clip_tensor *x,
                                       struct clip_tensor *c, int64_t batch);
/* Scaled dot-product attention within each sequence.  qkv [T,3D] (q, k, v side by side, heads side
 * by side in each), offsets i32 [B+1]: sequence s holds rows offsets[s] to offsets[s+1] -> [T,D].
 * Scale 1/sqrt(D/heads). */
struct clip_tensor *clip_attention(struct clip_tape *t, struct clip_tensor *qkv,
                                   struct clip_tensor *offsets, int64_t heads, bool causal);
/* One query's attention to each sequence.  q [1,D], kv [T,2D] (k, v side by side, heads side by
 * side in each), offsets i32 [B+1] as above -> [B,D].  Scale 1/sqrt(D/heads). */
struct clip_tensor *clip_attention_pool(struct clip_tape *t, struct clip_tensor *q,
                                        struct clip_tensor *kv, struct clip_tensor *offsets,
                                        int64_t heads);
/* y[r] = x[rows[r]].  x [T,D], rows i32 [R] -> [R,D]  (EOT and class rows) */
struct clip_tensor *clip_gather(struct clip_tape *t, struct clip_tensor *x,
                                struct clip_tensor *rows);
/* y = x / max(|x|, 1e-12) row by row.  x [R,D] */
struct clip_tensor *clip_l2norm(struct clip_tape *t, struct clip_tensor *x);
/* Symmetric InfoNCE (Radford et al. 2021, figure 3): with S = exp(logit_scale) image text^T, the
 * mean of the cross-entropies of S and S^T against the diagonal. image, text [N,E] unit rows,
 * logit_scale scalar -> scalar. ids i32 [N] or NULL: pairs with one id are positives of each other,
 * the target spread evenly over a row's positives. text may have more rows, [M,E]: those past N are
 * hard negatives (NegCLIP), candidates of every image that look for none. Never holds N x M. */
struct clip_tensor *clip_infonce(struct clip_tape *t, struct clip_tensor *image,
                                 struct clip_tensor *text, struct clip_tensor *logit_scale,
                                 struct clip_tensor *ids);
/* SigLIP's sigmoid loss (Zhai et al. 2023): sum over all pairs of -log sigmoid(z (s cos + bias)) /
 * N, z +1 for positives and -1 else, s = exp(logit_scale). Shapes and hard negatives as for
 * clip_infonce; logit_bias scalar; ids i32 [N] or NULL. */
struct clip_tensor *clip_sigmoid_loss(struct clip_tape *t, struct clip_tensor *image,
                                      struct clip_tensor *text, struct clip_tensor *logit_scale,
                                      struct clip_tensor *logit_bias, struct clip_tensor *ids);
/* How far the softmaxes of S = exp(logit_scale) image text^T, along rows and columns, are from
 * those of a teacher's T = teacher_scale teacher_image teacher_text^T: the mean of the
 * Kullback-Leibler divergences (TinyCLIP, Wu et al. 2023; CLIP-KD, Yang et al. 2024). image [N,E],
 * text [M,E] (its first N rows count), teacher_image, teacher_text [N,D], unit rows -> scalar.
 * Never holds N x N. */
struct clip_tensor *clip_distill(struct clip_tape *t, struct clip_tensor *image,
                                 struct clip_tensor *text, struct clip_tensor *logit_scale,
                                 struct clip_tensor *teacher_image,
                                 struct clip_tensor *teacher_text, float teacher_scale);
/* Mean of -log softmax(logits)[label].  logits [R,N], labels i32 [R] -> scalar */
struct clip_tensor *clip_cross_entropy(struct clip_tape *t, struct clip_tensor *logits,
                                       struct clip_tensor *labels);

#endif
