/* The two towers, forward. Shapes are noted at the right. */
#include <string.h>

#include "autograd/ops.h"
#include "model/model.h"

/* What a block needs beside its input. */
struct block_args {
    const struct clip_tower *tower;
    const struct clip_block *block;
    struct clip_tensor *offsets;
    enum clip_recompute recompute;
    const struct clip_lora_config *lora;
};

/* A block's LayerNorm is either before its branch or after the sum; the other of these two
 * functions returns x as it is. */
static struct clip_tensor *norm_before(struct clip_tape *t, struct clip_tensor *x,
                                       struct clip_tensor *w, struct clip_tensor *b,
                                       const struct clip_tower *tower)
{
    return tower->post_norm ? x : clip_norm_rows(t, x, w, b, (float)tower->norm_eps);
}

static struct clip_tensor *norm_behind(struct clip_tape *t, struct clip_tensor *x,
                                       struct clip_tensor *w, struct clip_tensor *b,
                                       const struct clip_tower *tower)
{
    return tower->post_norm ? clip_layernorm(t, x, w, b, (float)tower->norm_eps) : x;
}

/* residual + the low-rank path of x, or the residual as it is if there is no path. The weight
 * beside the path has `parts` parts, of which the path has those in `which`. */
static struct clip_tensor *low_rank(struct clip_tape *t, struct clip_tensor *x,
                                    const struct clip_lora_pair *pair, struct clip_tensor *residual,
                                    int parts, unsigned which, const struct block_args *args)
{
    if (pair->a == NULL) return residual;
    const struct clip_lora_args lora = {(float)clip_lora_scale(args->lora), parts, which};
    return clip_lora(t, x, pair->a, pair->b, residual, &lora);
}

/* x + attention(ln_1(x)), or, with the norm after the sum, ln_1(x + attention(x)) */
static struct clip_tensor *attention_part(struct clip_tape *t, struct clip_tensor *x,
                                          const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_tensor *h = norm_before(t, x, b->ln_1_w, b->ln_1_b, a->tower); /* [T,W] */
    struct clip_tensor *beside =
        low_rank(t, h, &b->in_proj_lora, NULL, 3, a->lora->targets & 7, a);  /* [T,3W] or none */
    h = clip_linear(t, h, b->in_proj_w, b->in_proj_b, beside);               /* [T,3W] */
    h = clip_attention(t, h, a->offsets, a->tower->heads, a->tower->causal); /* [T,W] */
    x = low_rank(t, h, &b->out_proj_lora, x, 1, 1, a);
    x = clip_linear(t, h, b->out_proj_w, b->out_proj_b, x); /* [T,W] */
    return norm_behind(t, x, b->ln_1_w, b->ln_1_b, a->tower);
}

/* The same as clip_mlp, product by product: c_fc and c_proj may have a low-rank path. */
static struct clip_tensor *mlp_with_lora(struct clip_tape *t, struct clip_tensor *h,
                                         struct clip_tensor *x, const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_tensor *beside = low_rank(t, h, &b->c_fc_lora, NULL, 1, 1, a);
    h = clip_linear(t, h, b->c_fc_w, b->c_fc_b, beside); /* [T,hidden] */
    h = a->tower->activation == CLIP_QUICK_GELU ? clip_quickgelu(t, h) : clip_gelu(t, h);
    x = low_rank(t, h, &b->c_proj_lora, x, 1, 1, a);
    return clip_linear(t, h, b->c_proj_w, b->c_proj_b, x); /* [T,W] */
}

/* x + mlp(ln_2(x)), or ln_2(x + mlp(x)) */
static struct clip_tensor *mlp_part(struct clip_tape *t, struct clip_tensor *x,
                                    const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_mlp_weights w = {b->c_fc_w, b->c_fc_b, b->c_proj_w, b->c_proj_b};
    struct clip_tensor *h = norm_before(t, x, b->ln_2_w, b->ln_2_b, a->tower); /* [T,W] */
    x = b->c_fc_lora.a != NULL || b->c_proj_lora.a != NULL
            ? mlp_with_lora(t, h, x, a)
            : clip_mlp(t, h, &w, a->tower->activation, a->recompute != CLIP_RECOMPUTE_MLP, x);
    return norm_behind(t, x, b->ln_2_w, b->ln_2_b, a->tower); /* [T,W] */
}

/* A residual block: pre-norm (Radford et al. 2019) or post-norm (Vaswani et al. 2017; BERT). */
static struct clip_tensor *both_parts(struct clip_tape *t, struct clip_tensor *x, const void *args)
{
    return mlp_part(t, attention_part(t, x, args), args);
}

/* The same; backward may build all of it again. */
static struct clip_tensor *block_forward(struct clip_tape *t, struct clip_tensor *x,
                                         const struct block_args *args)
{
    struct clip_scope scope;
    clip_scope_enter(t, &scope);
    x = args->recompute == CLIP_RECOMPUTE_BLOCK
            ? clip_tape_segment(t, both_parts, x, args, sizeof *args)
            : both_parts(t, x, args);
    return clip_scope_leave(t, &scope, x);
}

/* The first `count` blocks of a tower over its embedded rows. */
static struct clip_tensor *run_blocks(struct clip_tape *t, struct clip_model *m,
                                      const struct clip_tower *tower,
                                      const struct clip_tower_params *p, struct clip_tensor *x,
                                      struct clip_tensor *offsets, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        struct clip_tensor *before = x;
        const struct block_args args = {tower, &p->blocks[i], offsets, m->recompute,
                                        &m->config.lora};
        x = block_forward(t, x, &args);
        clip_tape_release(t, before);
    }
    return x;
}

static struct clip_tensor *norm(struct clip_tape *t, const struct clip_tower *tower,
                                struct clip_tensor *x, struct clip_tensor *w, struct clip_tensor *b)
{
    return w != NULL ? clip_layernorm(t, x, w, b, (float)tower->norm_eps) : x;
}

/* ---- from rows to a feature ---- */

/* An i32 tensor in the tape's memory, to be filled; its data is NULL while planning or when memory
 * is out. */
static struct clip_tensor *indices(struct clip_tape *t, int64_t n)
{
    return clip_tape_input(t, CLIP_I32, 1, (const int64_t[]){n});
}

/* The one row that is taken of each sequence; NULL if all rows count. */
static struct clip_tensor *pooled_rows(struct clip_tape *t, const struct clip_tower *tower,
                                       struct clip_tensor *offsets)
{
    bool first = tower->pooling == CLIP_POOL_FIRST;
    int64_t batch = clip_tensor_count(offsets) - 1;
    if (tower->pooling == CLIP_POOL_MEAN || tower->pooling == CLIP_POOL_ATTENTION) return NULL;
    struct clip_tensor *rows = indices(t, batch);
    const int32_t *at = offsets->data;
    if (rows->data != NULL && !t->plan)
        for (int64_t b = 0; b < batch; b++)
            ((int32_t *)rows->data)[b] = first ? at[b] : at[b + 1] - 1;
    return rows;
}

/* Attention of one learned query to each sequence's rows x [T,W], then an MLP (SigLIP) -> [B,W] */
static struct clip_tensor *pool_by_attention(struct clip_tape *t, const struct clip_tower *tower,
                                             const struct clip_pool *p, struct clip_tensor *x,
                                             struct clip_tensor *offsets)
{
    struct clip_tensor *q = clip_linear_f32(t, p->probe, p->q_w, p->q_b); /* [1,W] */
    struct clip_tensor *kv = clip_linear_f32(t, x, p->kv_w, p->kv_b);     /* [T,2W] */
    x = clip_attention_pool(t, q, kv, offsets, tower->heads);             /* [B,W] */
    x = clip_linear_f32(t, x, p->proj_w, p->proj_b);
    struct clip_mlp_weights w = {p->fc1_w, p->fc1_b, p->fc2_w, p->fc2_b};
    struct clip_tensor *h = clip_norm_rows(t, x, p->norm_w, p->norm_b, (float)tower->norm_eps);
    return clip_mlp(t, h, &w, tower->activation, true, x); /* [B,W] */
}

/* What follows the blocks, x [T,W] -> [B,E]. If one row per sequence is taken, only that row is
 * normalised, which gives the same. */
static struct clip_tensor *feature(struct clip_tape *t, const struct clip_tower *tower,
                                   const struct clip_tower_params *p, struct clip_tensor *x,
                                   struct clip_tensor *offsets, struct clip_tensor *rows)
{
    if (rows != NULL) x = clip_gather(t, x, rows); /* [B,W] */
    x = norm(t, tower, x, p->final_norm_w, p->final_norm_b);
    if (tower->pooling == CLIP_POOL_MEAN) x = clip_mean_rows(t, x, offsets); /* [B,W] */
    if (tower->pooling == CLIP_POOL_ATTENTION)
        x = pool_by_attention(t, tower, &p->pool, x, offsets);
    if (tower->projection == CLIP_PROJECT_NONE) return x;
    if (tower->projection == CLIP_PROJECT_MATRIX) return clip_project(t, x, p->proj); /* [B,E] */
    return clip_linear_f32(t, x, p->proj, p->proj_b);                                 /* [B,E] */
}

/* ---- images ---- */

/* Where each sequence of `rows` rows begins. */
static struct clip_tensor *even_offsets(struct clip_tape *t, int64_t batch, int64_t rows)
{
    struct clip_tensor *offsets = indices(t, batch + 1);
    if (offsets->data != NULL && !t->plan)
        for (int64_t b = 0; b <= batch; b++) ((int32_t *)offsets->data)[b] = (int32_t)(b * rows);
    return offsets;
}

/* How many rows are in front of an image's patches. */
static int64_t rows_before(const struct clip_model *m)
{
    return m->config.vision.class_row ? 1 : 0;
}

static int64_t patches_of(const struct clip_model *m, const struct clip_tensor *keep)
{
    int64_t grid = m->config.image_size / m->config.patch_size;
    return keep != NULL ? keep->shape[1] : grid * grid;
}

static struct clip_tensor *image_offsets(struct clip_tape *t, const struct clip_model *m,
                                         const struct clip_tensor *pixels,
                                         const struct clip_tensor *keep)
{
    return even_offsets(t, pixels->shape[0], patches_of(m, keep) + rows_before(m));
}

/* Patches (behind a class row) with their positions: [B*rows,W]. */
static struct clip_tensor *embed_patches(struct clip_tape *t, struct clip_model *m,
                                         struct clip_tensor *pixels, struct clip_tensor *keep)
{
    const struct clip_tower_params *p = &m->vision;
    int64_t batch = pixels->shape[0], patches = patches_of(m, keep), first = rows_before(m);
    int64_t rows = patches + first;
    struct clip_tensor *positions = indices(t, batch * rows), *zeros = NULL;
    if (positions->data != NULL && !t->plan) {
        const int32_t *kept = keep != NULL ? keep->data : NULL;
        for (int64_t b = 0; b < batch; b++) {
            int32_t *at = (int32_t *)positions->data + b * rows;
            if (first > 0) at[0] = 0;
            for (int64_t k = 0; k < patches; k++)
                at[first + k] = (int32_t)first +
                                (kept != NULL ? kept[b * patches + k] : (int32_t)k);
        }
    }
    if (p->patch_b != NULL) zeros = indices(t, batch * patches);
    if (zeros != NULL && zeros->data != NULL && !t->plan)
        memset(zeros->data, 0, (size_t)(batch * patches) * sizeof(int32_t));
    struct clip_scope scope;
    clip_scope_enter(t, &scope);
    struct clip_tensor *x = clip_patch_embed(t, pixels, p->patch_w, keep); /* [B*K,W] */
    if (zeros != NULL) x = clip_add_rows(t, x, p->patch_b, zeros);
    if (first > 0) x = clip_prepend_class(t, x, p->class_row, batch); /* [B*(K+1),W] */
    x = clip_add_rows(t, x, p->positions, positions);
    x = norm(t, &m->config.vision, x, p->embed_norm_w, p->embed_norm_b);
    return clip_scope_leave(t, &scope, x);
}

static struct clip_tensor *vision_blocks(struct clip_tape *t, struct clip_model *m,
                                         struct clip_tensor *pixels, struct clip_tensor *keep,
                                         struct clip_tensor *offsets, int64_t blocks)
{
    struct clip_tensor *x = embed_patches(t, m, pixels, keep);
    return run_blocks(t, m, &m->config.vision, &m->vision, x, offsets, blocks);
}

struct clip_tensor *clip_vision_states(struct clip_tape *t, struct clip_model *m,
                                       struct clip_tensor *pixels, struct clip_tensor *keep,
                                       int64_t blocks)
{
    return vision_blocks(t, m, pixels, keep, image_offsets(t, m, pixels, keep), blocks);
}

struct clip_tensor *clip_vision_norm(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *states)
{
    return norm(t, &m->config.vision, states, m->vision.final_norm_w, m->vision.final_norm_b);
}

struct clip_tensor *clip_vision_features(struct clip_tape *t, struct clip_model *m,
                                         struct clip_tensor *pixels, struct clip_tensor *keep)
{
    const struct clip_tower *tower = &m->config.vision;
    struct clip_tensor *offsets = image_offsets(t, m, pixels, keep);
    struct clip_tensor *rows = pooled_rows(t, tower, offsets);
    struct clip_tensor *x = vision_blocks(t, m, pixels, keep, offsets, tower->layers);
    return feature(t, tower, &m->vision, x, offsets, rows);
}

/* ---- texts ---- */

/* Tokens with their positions: [T,W]. */
static struct clip_tensor *embed_tokens(struct clip_tape *t, struct clip_model *m,
                                        struct clip_tensor *tokens,
                                        const struct clip_tensor *offsets)
{
    const struct clip_tower_params *p = &m->text;
    int64_t batch = clip_tensor_count(offsets) - 1;
    struct clip_tensor *positions = indices(t, clip_tensor_count(tokens));
    if (positions->data != NULL && !t->plan) {
        const int32_t *at = offsets->data;
        for (int64_t b = 0; b < batch; b++)
            for (int32_t i = at[b]; i < at[b + 1]; i++) ((int32_t *)positions->data)[i] = i - at[b];
    }
    struct clip_scope scope;
    clip_scope_enter(t, &scope);
    struct clip_tensor *x = clip_embedding(t, p->tokens, tokens); /* [T,W] */
    x = clip_add_rows(t, x, p->positions, positions);
    x = norm(t, &m->config.text, x, p->embed_norm_w, p->embed_norm_b);
    return clip_scope_leave(t, &scope, x);
}

struct clip_tensor *clip_text_states(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *tokens, struct clip_tensor *offsets,
                                     int64_t blocks)
{
    struct clip_tensor *x = embed_tokens(t, m, tokens, offsets);
    return run_blocks(t, m, &m->config.text, &m->text, x, offsets, blocks);
}

struct clip_tensor *clip_text_norm(struct clip_tape *t, struct clip_model *m,
                                   struct clip_tensor *states)
{
    return norm(t, &m->config.text, states, m->text.final_norm_w, m->text.final_norm_b);
}

struct clip_tensor *clip_text_features(struct clip_tape *t, struct clip_model *m,
                                       struct clip_tensor *tokens, struct clip_tensor *offsets)
{
    const struct clip_tower *tower = &m->config.text;
    struct clip_tensor *rows = pooled_rows(t, tower, offsets);
    struct clip_tensor *x = clip_text_states(t, m, tokens, offsets, tower->layers);
    return feature(t, tower, &m->text, x, offsets, rows);
}

/* ---- both: rows of unit length ---- */

struct clip_tensor *clip_vision_encode(struct clip_tape *t, struct clip_model *m,
                                       struct clip_tensor *pixels, struct clip_tensor *keep)
{
    return clip_l2norm(t, clip_vision_features(t, m, pixels, keep));
}

struct clip_tensor *clip_text_encode(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *tokens, struct clip_tensor *offsets)
{
    return clip_l2norm(t, clip_text_features(t, m, tokens, offsets));
}
