/* The ops. Each has its own file in ops/, where its formula, forward and backward stand together.
 *
 * An op is built on the tape: its forward runs at once, and it returns a tensor that belongs to the
 * tape. Shapes must fit, which is asserted; what comes from a file is checked before it gets here.
 * Letters: R rows, D width, B batch, T tokens of all sequences, H heads. An op fails only for lack
 * of memory, which clip_tape_status tells. */
#ifndef CLIP_AUTOGRAD_OPS_H
#define CLIP_AUTOGRAD_OPS_H

#include "autograd/tape.h"
#include "kernels/kernels.h"

/* y = x w^T + b + residual
 *   x [R,D]   w [N,D]   b [N] or NULL   residual [R,N] or NULL   y [R,N]
 * Without a residual, y is stored in the tape's dtype. */
struct clip_tensor *clip_linear(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w,
                                struct clip_tensor *b, struct clip_tensor *residual);

/* The same without a residual, and y is float32 whatever the tape's dtype is. */
struct clip_tensor *clip_linear_f32(struct clip_tape *t, struct clip_tensor *x,
                                    struct clip_tensor *w, struct clip_tensor *b);

/* y = activation(x w1^T + b1) w2^T + b2 + residual
 *   x [R,D]   w1 [F,D]   b1 [F]   w2 [N,F]   b2 [N]   residual [R,N] or NULL   y [R,N]
 * One matrix [R,F] is kept for backward; with `keep` false none is, and backward computes the first
 * product again. */
struct clip_mlp_weights {
    struct clip_tensor *w1, *b1, *w2, *b2;
};
struct clip_tensor *clip_mlp(struct clip_tape *t, struct clip_tensor *x,
                             const struct clip_mlp_weights *w, enum clip_activation activation,
                             bool keep, struct clip_tensor *residual);

/* y = residual + scale (x a^T) b^T
 *   x [R,D]   a [r,D]   b [N,r]   residual [R,N] or NULL   y [R,N]
 * The low-rank path beside a frozen linear layer (LoRA, Hu et al. 2021), to be that layer's
 * residual. The layer's columns may be `parts` layers side by side. `which` is the set of those
 * that have a path (bit p: part p); the n paths stand one below the other in a [n r,D] and b [n
 * N/parts,r]. */
struct clip_lora_args {
    float scale;
    int parts;
    unsigned which;
};
struct clip_tensor *clip_lora(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *a,
                              struct clip_tensor *b, struct clip_tensor *residual,
                              const struct clip_lora_args *args);

/* y = x w
 *   x [R,D]   w [D,N]   y [R,N]
 * CLIP's projections are stored this way round. */
struct clip_tensor *clip_project(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w);

/* y[r] = w[ids[r]]
 *   w [V,D]   ids i32 [R]   y [R,D] */
struct clip_tensor *clip_embedding(struct clip_tape *t, struct clip_tensor *w,
                                   struct clip_tensor *ids);

/* y[r] = x[r] + w[ids[r]]: positional embeddings
 *   x, y [R,D]   w [P,D]   ids i32 [R] */
struct clip_tensor *clip_add_rows(struct clip_tape *t, struct clip_tensor *x, struct clip_tensor *w,
                                  struct clip_tensor *ids);

/* y = (x - mean) / sqrt(var + eps) * w + b over the last axis
 *   x, y [R,D]   w, b [D] */
struct clip_tensor *clip_layernorm(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *w, struct clip_tensor *b, float eps);

/* The same for a product to read: y is stored in the tape's dtype. */
struct clip_tensor *clip_norm_rows(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *w, struct clip_tensor *b, float eps);

/* y = x Phi(x), Phi the normal distribution function (exact GELU)
 *   x, y of any shape */
struct clip_tensor *clip_gelu(struct clip_tape *t, struct clip_tensor *x);

/* y = x sigmoid(1.702 x) (OpenAI's CLIP)
 *   x, y of any shape */
struct clip_tensor *clip_quickgelu(struct clip_tape *t, struct clip_tensor *x);

/* y = a + b
 *   a, b, y of one shape */
struct clip_tensor *clip_add(struct clip_tape *t, struct clip_tensor *a, struct clip_tensor *b);

/* y = factor x, factor a constant
 *   x, y of any shape */
struct clip_tensor *clip_scale(struct clip_tape *t, struct clip_tensor *x, float factor);

/* A convolution with kernel P and stride P, without bias
 *   image [B,C,H,W]   w [D,C,P,P]   keep i32 [B,K] or NULL   y [B*K,D], patches row by row
 * Pixels at the right and at the bottom that fill no patch are not read. `keep` lists the patches
 * of each image that are embedded (patch dropout); NULL: all of them. */
struct clip_tensor *clip_patch_embed(struct clip_tape *t, struct clip_tensor *image,
                                     struct clip_tensor *w, struct clip_tensor *keep);

/* y[b,0] = c, y[b,1+k] = x[b,k]: puts the class row before each image's patches
 *   x [B*K,D]   c [D]   y [B*(K+1),D] */
struct clip_tensor *clip_prepend_class(struct clip_tape *t, struct clip_tensor *x,
                                       struct clip_tensor *c, int64_t batch);

/* y = softmax(q k^T / sqrt(D/heads)) v within each sequence, for each head
 *   qkv [T,3D]: q, k and v side by side, in each of them the heads   y [T,D]
 *   offsets i32 [B+1]: sequence s has rows offsets[s] to offsets[s+1]
 * Causal: row i sees rows up to i. */
struct clip_tensor *clip_attention(struct clip_tape *t, struct clip_tensor *qkv,
                                   struct clip_tensor *offsets, int64_t heads, bool causal);

/* y = softmax(q k^T / sqrt(D/heads)) v: one query attends to each sequence, for each head
 *   q [1,D]   kv [T,2D]: k and v side by side, in each of them the heads   y [B,D]
 *   offsets i32 [B+1]: sequence s has rows offsets[s] to offsets[s+1] */
struct clip_tensor *clip_attention_pool(struct clip_tape *t, struct clip_tensor *q,
                                        struct clip_tensor *kv, struct clip_tensor *offsets,
                                        int64_t heads);

/* y[r] = x[rows[r]]: the rows of end-of-text tokens and classes
 *   x [T,D]   rows i32 [R]   y [R,D] */
struct clip_tensor *clip_gather(struct clip_tape *t, struct clip_tensor *x,
                                struct clip_tensor *rows);

/* y[s] = the mean of the rows of sequence s
 *   x [T,D]   y [B,D]
 *   offsets i32 [B+1]: sequence s has rows offsets[s] to offsets[s+1], at least one */
struct clip_tensor *clip_mean_rows(struct clip_tape *t, struct clip_tensor *x,
                                   struct clip_tensor *offsets);

/* y = x / max(|x|, 1e-12), row by row
 *   x, y [R,D] */
struct clip_tensor *clip_l2norm(struct clip_tape *t, struct clip_tensor *x);

/* A loss that several processes compute together, each the rows of its slices: all pairs are cut
 * into slices of `pairs`, and this process has `count` of them from slice `first` on. Each has the
 * embeddings of all, computes the logits of its slices' images with all texts and of its slices'
 * texts with all images, and gets the value and its slices' rows of the gradients; the other rows
 * are left as they are. The bits depend on the slices alone, not on who has them. */
struct clip_loss_share {
    int64_t pairs, first, count;
    /* [count + 1] where the hard negatives of its slices begin among the texts behind the pairs,
     * and where the last one's end; NULL: there are none */
    const int64_t *negatives;
    /* rows [all pairs] of `bytes` each, of which each process has those of its slices: afterwards
     * everybody has all */
    void (*gather)(void *context, void *rows, size_t bytes);
    void *context;
};

/* Symmetric InfoNCE (Radford et al. 2021, figure 3): with S = exp(logit_scale) image text^T, the
 * mean of the cross-entropies of S and S^T against the diagonal
 *   image [N,E], text [M,E] unit rows, M >= N   logit_scale scalar   ids i32 [N] or NULL   y scalar
 * Pairs with the same id are positives of each other, and the target is spread evenly over a row's
 * positives. Texts from N on are hard negatives (NegCLIP): candidates for every image, which have
 * no image to find. The N x M matrix never exists. */
struct clip_tensor *clip_infonce(struct clip_tape *t, struct clip_tensor *image,
                                 struct clip_tensor *text, struct clip_tensor *logit_scale,
                                 struct clip_tensor *ids);

/* SigLIP's sigmoid loss (Zhai et al. 2023): the sum of -log sigmoid(z (s cos + bias)) / N over all
 * images and texts, z +1 for positives and -1 for others, s = exp(logit_scale)
 *   logit_bias scalar   the rest as for clip_infonce, hard negatives too */
struct clip_tensor *clip_sigmoid_loss(struct clip_tape *t, struct clip_tensor *image,
                                      struct clip_tensor *text, struct clip_tensor *logit_scale,
                                      struct clip_tensor *logit_bias, struct clip_tensor *ids);

/* How far the softmaxes of S = exp(logit_scale) image text^T, along rows and columns, are from
 * those of a teacher's T = teacher_scale teacher_image teacher_text^T: the mean of the
 * Kullback-Leibler divergences (TinyCLIP, Wu et al. 2023; CLIP-KD, Yang et al. 2024)
 *   image [N,E]   text [M,E], of which the first N rows count   logit_scale scalar
 *   teacher_image, teacher_text [N,D]   all rows are unit rows   y scalar
 * The N x N matrix never exists. */
struct clip_tensor *clip_distill(struct clip_tape *t, struct clip_tensor *image,
                                 struct clip_tensor *text, struct clip_tensor *logit_scale,
                                 struct clip_tensor *teacher_image,
                                 struct clip_tensor *teacher_text, float teacher_scale);

#endif
