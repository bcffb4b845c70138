/* The two towers, forward. Shapes stand at the right. */
#include <string.h>

#include "autograd/ops.h"
#include "model/model.h"

static const float LAYERNORM_EPS = 1e-5f;

static enum clip_activation activation_of(const struct clip_model_config *c)
{
    return c->quick_gelu ? CLIP_QUICK_GELU : CLIP_GELU;
}

/* What a block is built from, beside its input. */
struct block_args {
    const struct clip_block *block;
    struct clip_tensor *offsets;
    int64_t heads;
    bool causal;
    enum clip_activation activation;
    enum clip_recompute recompute;
};

/* x + attention(ln_1(x)) */
static struct clip_tensor *attention_part(struct clip_tape *t, struct clip_tensor *x,
                                          const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_tensor *h = clip_norm_rows(t, x, b->ln_1_w, b->ln_1_b, LAYERNORM_EPS); /* [T,W] */
    h = clip_linear(t, h, b->in_proj_w, b->in_proj_b, NULL);   /* [T,3W] */
    h = clip_attention(t, h, a->offsets, a->heads, a->causal); /* [T,W] */
    return clip_linear(t, h, b->out_proj_w, b->out_proj_b, x); /* [T,W] */
}

/* x + mlp(ln_2(x)) */
static struct clip_tensor *mlp_part(struct clip_tape *t, struct clip_tensor *x,
                                    const struct block_args *a)
{
    const struct clip_block *b = a->block;
    struct clip_mlp_weights w = {b->c_fc_w, b->c_fc_b, b->c_proj_w, b->c_proj_b};
    struct clip_tensor *h = clip_norm_rows(t, x, b->ln_2_w, b->ln_2_b, LAYERNORM_EPS); /* [T,W] */
    return clip_mlp(t, h, &w, a->activation, a->recompute != CLIP_RECOMPUTE_MLP, x);   /* [T,W] */
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

struct clip_tensor *clip_vision_states(struct clip_tape *t, struct clip_model *m,
                                       struct clip_tensor *pixels, struct clip_tensor *keep,
                                       int64_t blocks)
{
    const struct clip_model_config *c = &m->config;
    int64_t batch = pixels->shape[0], grid = c->image_size / c->patch_size;
    int64_t patches = keep != NULL ? keep->shape[1] : grid * grid, rows = patches + 1;
    struct clip_tensor *positions = indices(t, batch * rows), *offsets = indices(t, batch + 1);
    if (positions->data != NULL && offsets->data != NULL && !t->plan) {
        const int32_t *kept = keep != NULL ? keep->data : NULL;
        for (int64_t b = 0; b <= batch; b++) ((int32_t *)offsets->data)[b] = (int32_t)(b * rows);
        for (int64_t b = 0; b < batch; b++) {
            int32_t *at = (int32_t *)positions->data + b * rows;
            at[0] = 0;
            for (int64_t k = 0; k < patches; k++)
                at[1 + k] = 1 + (kept != NULL ? kept[b * patches + k] : (int32_t)k);
        }
    }
    struct clip_scope scope;
    clip_scope_enter(t, &scope);
    struct clip_tensor *x = clip_patch_embed(t, pixels, m->conv1_w, keep); /* [B*K,W] */
    x = clip_prepend_class(t, x, m->class_embedding, batch);               /* [B*(K+1),W] */
    x = clip_add_rows(t, x, m->vision_pos, positions);
    x = clip_scope_leave(t, &scope, clip_layernorm(t, x, m->ln_pre_w, m->ln_pre_b, LAYERNORM_EPS));
    for (int64_t i = 0; i < blocks; i++) {
        struct clip_tensor *before = x;
        struct block_args args = {&m->vision_blocks[i], offsets, c->vision_heads, false,
                                  activation_of(c), m->recompute};
        x = block_forward(t, x, &args);
        clip_tape_release(t, before);
    }
    return x;
}

struct clip_tensor *clip_vision_norm(struct clip_tape *t, struct clip_model *m,
                                     struct clip_tensor *states)
{
    return clip_layernorm(t, states, m->ln_post_w, m->ln_post_b, LAYERNORM_EPS);
}

struct clip_tensor *clip_vision_features(struct clip_tape *t, struct clip_model *m,
                                         struct clip_tensor *pixels, struct clip_tensor *keep)
{
    int64_t batch = pixels->shape[0];
    struct clip_tensor *class_rows = indices(t, batch);
    struct clip_tensor *x = clip_vision_states(t, m, pixels, keep, m->config.vision_layers);
    int64_t rows = x->shape[0] / batch;
    if (class_rows->data != NULL && !t->plan)
        for (int64_t b = 0; b < batch; b++) ((int32_t *)class_rows->data)[b] = (int32_t)(b * rows);
    x = clip_gather(t, x, class_rows); /* [B,W] */
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
        struct block_args args = {&m->text_blocks[i], offsets, c->text_heads, true,
                                  activation_of(c), m->recompute};
        x = block_forward(t, x, &args);
        clip_tape_release(t, before);
    }
    return x;
}

struct clip_tensor *clip_text_norm(struct clip_tape *t, struct clip_model *m,
                                   struct clip_tensor *states)
{
    return clip_layernorm(t, states, m->ln_final_w, m->ln_final_b, LAYERNORM_EPS);
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
    return clip_project(t, clip_text_norm(t, m, x), m->text_proj); /* [B,E] */
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
