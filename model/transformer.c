/* The two towers, forward. Shapes stand at the right. */
#include <string.h>

#include "autograd/ops.h"
#include "model/model.h"

/* What a block is built from, beside its input. */
struct block_args {
    const struct clip_block *block;
    struct clip_tensor *offsets;
    int64_t heads;
    bool causal;
    enum clip_activation activation;
    enum clip_recompute recompute;
    float eps;
    const struct clip_lora_config *lora;
};

static float eps_of(const struct clip_model *m) { return (float)clip_model_norm_eps(&m->config); }

/* residual + the low-rank path of x, or the residual as it is where there is no path. The weight
 * that the path stands beside has `parts` parts, the path's those in `which`. */
static struct clip_tensor *low_rank(struct clip_tape *t, struct clip_tensor *x,
                                    const struct clip_lora_pair *pair, struct clip_tensor *residual,
                                    int parts, unsigned which, const struct block_args *args)
{
    if (pair->a == NULL) return residual;
    const struct clip_lora_args lora = {(float)clip_lora_scale(args->lora), parts, which};
    return clip_lora(t, x, pair->a, pair->b, residual, &lora);
}

/* x + attention(ln_1(x)) */
static struct clip_tensor *attention_part(struct clip_tape *t, struct clip_tensor *x,
                                          const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_tensor *h = clip_norm_rows(t, x, b->ln_1_w, b->ln_1_b, a->eps); /* [T,W] */
    struct clip_tensor *beside =
        low_rank(t, h, &b->in_proj_lora, NULL, 3, a->lora->targets & 7, a); /* [T,3W] or none */
    h = clip_linear(t, h, b->in_proj_w, b->in_proj_b, beside);              /* [T,3W] */
    h = clip_attention(t, h, a->offsets, a->heads, a->causal);              /* [T,W] */
    x = low_rank(t, h, &b->out_proj_lora, x, 1, 1, a);
    return clip_linear(t, h, b->out_proj_w, b->out_proj_b, x); /* [T,W] */
}

/* The same as clip_mlp, product by product: c_fc and c_proj may have a low-rank path. */
static struct clip_tensor *mlp_with_lora(struct clip_tape *t, struct clip_tensor *h,
                                         struct clip_tensor *x, const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_tensor *beside = low_rank(t, h, &b->c_fc_lora, NULL, 1, 1, a);
    h = clip_linear(t, h, b->c_fc_w, b->c_fc_b, beside); /* [T,hidden] */
    h = a->activation == CLIP_QUICK_GELU ? clip_quickgelu(t, h) : clip_gelu(t, h);
    x = low_rank(t, h, &b->c_proj_lora, x, 1, 1, a);
    return clip_linear(t, h, b->c_proj_w, b->c_proj_b, x); /* [T,W] */
}

/* x + mlp(ln_2(x)) */
static struct clip_tensor *mlp_part(struct clip_tape *t, struct clip_tensor *x,
                                    const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_mlp_weights w = {b->c_fc_w, b->c_fc_b, b->c_proj_w, b->c_proj_b};
    struct clip_tensor *h = clip_norm_rows(t, x, b->ln_2_w, b->ln_2_b, a->eps); /* [T,W] */
    if (b->c_fc_lora.a != NULL || b->c_proj_lora.a != NULL) return mlp_with_lora(t, h, x, a);
    return clip_mlp(t, h, &w, a->activation, a->recompute != CLIP_RECOMPUTE_MLP, x); /* [T,W] */
}

/* A pre-norm residual block (Radford et al. 2019). */
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

/* An i32 tensor in the tape's memory to fill; its data is NULL while planning or when memory is
 * out. */
static struct clip_tensor *indices(struct clip_tape *t, int64_t n)
{
    return clip_tape_input(t, CLIP_I32, 1, (const int64_t[]){n});
}

/* Where each sequence of `rows` rows begins. */
static struct clip_tensor *even_offsets(struct clip_tape *t, int64_t batch, int64_t rows)
{
    struct clip_tensor *offsets = indices(t, batch + 1);
    if (offsets->data != NULL && !t->plan)
        for (int64_t b = 0; b <= batch; b++) ((int32_t *)offsets->data)[b] = (int32_t)(b * rows);
    return offsets;
}

/* Patches (behind a class row in CLIP) with their positions: [B*rows,W]. */
static struct clip_tensor *embed_patches(struct clip_tape *t, struct clip_model *m,
                                         struct clip_tensor *pixels, struct clip_tensor *keep,
                                         int64_t patches)
{
    int64_t batch = pixels->shape[0], first = m->class_embedding != NULL ? 1 : 0;
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
    if (m->conv1_b != NULL) zeros = indices(t, batch * patches);
    if (zeros != NULL && zeros->data != NULL && !t->plan)
        memset(zeros->data, 0, (size_t)(batch * patches) * sizeof(int32_t));
    struct clip_scope scope;
    clip_scope_enter(t, &scope);
    struct clip_tensor *x = clip_patch_embed(t, pixels, m->conv1_w, keep); /* [B*K,W] */
    if (zeros != NULL) x = clip_add_rows(t, x, m->conv1_b, zeros);
    if (first > 0) x = clip_prepend_class(t, x, m->class_embedding, batch); /* [B*(K+1),W] */
    x = clip_add_rows(t, x, m->vision_pos, positions);
    if (m->ln_pre_w != NULL) x = clip_layernorm(t, x, m->ln_pre_w, m->ln_pre_b, eps_of(m));
    return clip_scope_leave(t, &scope, x);
}

struct clip_tensor *clip_vision_states(struct clip_tape *t, struct clip_model *m,
                                       struct clip_tensor *pixels, struct clip_tensor *keep,
                                       int64_t blocks)
{
    const struct clip_model_config *c = &m->config;
    int64_t batch = pixels->shape[0], grid = c->image_size / c->patch_size;
    int64_t patches = keep != NULL ? keep->shape[1] : grid * grid;
    struct clip_tensor *offsets = even_offsets(t, batch, patches + (c->siglip ? 0 : 1));
    struct clip_tensor *x = embed_patches(t, m, pixels, keep, patches);
    for (int64_t i = 0; i < blocks; i++) {
        struct clip_tensor *before = x;
        struct block_args args = {
            &m->vision_blocks[i],      offsets,      c->vision_heads, false,
            clip_vision_activation(c), m->recompute, eps_of(m),       &c->lora};
        x = block_forward(t, x, &args);
        clip_tape_release(t, before);
    }
    return x;
}

/* SigLIP's head: one row of an image's rows x [B*K,W], normalised already -> [B,W] */
static struct clip_tensor *pool_rows(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *x, int64_t batch)
{
    const struct clip_pool *p = &m->pool;
    struct clip_tensor *offsets = even_offsets(t, batch, x->shape[0] / batch);
    struct clip_tensor *q = clip_linear_f32(t, p->probe, p->q_w, p->q_b); /* [1,W] */
    struct clip_tensor *kv = clip_linear_f32(t, x, p->kv_w, p->kv_b);     /* [B*K,2W] */
    x = clip_attention_pool(t, q, kv, offsets, m->config.vision_heads);   /* [B,W] */
    x = clip_linear_f32(t, x, p->proj_w, p->proj_b);
    struct clip_mlp_weights w = {p->fc1_w, p->fc1_b, p->fc2_w, p->fc2_b};
    struct clip_tensor *h = clip_norm_rows(t, x, p->norm_w, p->norm_b, eps_of(m));
    return clip_mlp(t, h, &w, clip_vision_activation(&m->config), true, x); /* [B,W] */
}

struct clip_tensor *clip_vision_norm(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *states)
{
    return clip_layernorm(t, states, m->ln_post_w, m->ln_post_b, eps_of(m));
}

struct clip_tensor *clip_vision_features(struct clip_tape *t, struct clip_model *m,
                                         struct clip_tensor *pixels, struct clip_tensor *keep)
{
    int64_t batch = pixels->shape[0];
    struct clip_tensor *class_rows = indices(t, batch);
    struct clip_tensor *x = clip_vision_states(t, m, pixels, keep, m->config.vision_layers);
    if (m->config.siglip) return pool_rows(t, m, clip_vision_norm(t, m, x), batch);
    int64_t rows = x->shape[0] / batch;
    if (class_rows->data != NULL && !t->plan)
        for (int64_t b = 0; b < batch; b++) ((int32_t *)class_rows->data)[b] = (int32_t)(b * rows);
    x = clip_gather(t, x, class_rows);                                 /* [B,W] */
    return clip_project(t, clip_vision_norm(t, m, x), m->vision_proj); /* [B,E] */
}

struct clip_tensor *clip_text_states(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *tokens, struct clip_tensor *offsets,
                                     int64_t blocks)
{
    const struct clip_model_config *c = &m->config;
    int64_t total = clip_tensor_count(tokens), batch = clip_tensor_count(offsets) - 1;
    struct clip_tensor *positions = indices(t, total);
    if (positions->data != NULL && !t->plan) {
        const int32_t *at = offsets->data;
        for (int64_t b = 0; b < batch; b++)
            for (int32_t i = at[b]; i < at[b + 1]; i++) ((int32_t *)positions->data)[i] = i - at[b];
    }
    struct clip_scope scope;
    clip_scope_enter(t, &scope);
    struct clip_tensor *x = clip_embedding(t, m->token_embedding, tokens); /* [T,W] */
    x = clip_scope_leave(t, &scope, clip_add_rows(t, x, m->text_pos, positions));
    for (int64_t i = 0; i < blocks; i++) {
        struct clip_tensor *before = x;
        struct block_args args = {&m->text_blocks[i],      offsets,      c->text_heads, !c->siglip,
                                  clip_text_activation(c), m->recompute, eps_of(m),     &c->lora};
        x = block_forward(t, x, &args);
        clip_tape_release(t, before);
    }
    return x;
}

struct clip_tensor *clip_text_norm(struct clip_tape *t, struct clip_model *m,
                                   struct clip_tensor *states)
{
    return clip_layernorm(t, states, m->ln_final_w, m->ln_final_b, eps_of(m));
}

struct clip_tensor *clip_text_features(struct clip_tape *t, struct clip_model *m,
                                       struct clip_tensor *tokens, struct clip_tensor *offsets)
{
    int64_t batch = clip_tensor_count(offsets) - 1;
    struct clip_tensor *ends = indices(t, batch);
    if (ends->data != NULL && !t->plan)
        for (int64_t b = 0; b < batch; b++)
            ((int32_t *)ends->data)[b] = ((const int32_t *)offsets->data)[b + 1] - 1;
    struct clip_tensor *x = clip_text_states(t, m, tokens, offsets, m->config.text_layers);
    x = clip_gather(t, x, ends); /* [B,W] */
    x = clip_text_norm(t, m, x);
    if (m->text_proj_b != NULL) return clip_linear_f32(t, x, m->text_proj, m->text_proj_b);
    return clip_project(t, x, m->text_proj); /* [B,E] */
}

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
