/* The parameters: their list, buffers, initial values, locks. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "core/rng.h"
#include "model/lora.h"

enum { ALIGN = 16 }; /* floats: 64 bytes */

/* Lists parameters in open_clip's order. The first walk counts (params NULL), the second fills in.
 */
struct listing {
    struct clip_param *params;
    int64_t count, size;
    enum clip_towers tower; /* that parameters belong to from here on */
};

static bool is_decayed(const char *name, int ndim)
{
    return ndim >= 2 && strstr(name, "bn") == NULL && strstr(name, "ln") == NULL &&
           strstr(name, "bias") == NULL && strstr(name, "logit_scale") == NULL;
}

/* What a parameter takes in a buffer: the next one is aligned too. */
static int64_t padded(const struct clip_tensor *tensor)
{
    return (clip_tensor_count(tensor) + ALIGN - 1) / ALIGN * ALIGN;
}

static struct clip_tensor *list(struct listing *l, int depth, int ndim, const int64_t *shape,
                                const char *prefix, const char *name)
{
    struct clip_tensor tensor = clip_tensor_view(CLIP_F32, NULL, ndim, shape);
    struct clip_param *param = l->params != NULL ? &l->params[l->count] : NULL;
    if (param != NULL) {
        snprintf(param->name, sizeof param->name, "%s%s", prefix, name);
        param->tower = l->tower;
        param->tensor = tensor;
        param->offset = l->size;
        param->decays = is_decayed(param->name, ndim);
        param->depth = depth;
    }
    l->count++;
    l->size += padded(&tensor);
    return param != NULL ? &param->tensor : NULL;
}

#define SHAPE(...)                                                                                 \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

/* A and B beside the weight w [N,D] of the layer `name`, where bits of `which` are wanted: of one
 * part each, all parts of N / parts rows. */
static struct clip_lora_pair list_lora(struct listing *l, int depth, const char *prefix,
                                       const char *name, struct clip_tensor *w,
                                       const int64_t shape[2], const struct clip_lora_config *lora,
                                       int parts, unsigned which)
{
    char full[64];
    struct clip_lora_pair pair = {NULL, NULL};
    int64_t n = __builtin_popcount(lora->targets & which), r = lora->rank;
    if (r == 0 || n == 0) return pair;
    if (w != NULL) /* the first member but one of its struct clip_param */
        ((struct clip_param *)(void *)((char *)w - offsetof(struct clip_param, tensor)))->adapted =
            true;
    snprintf(full, sizeof full, "%s.lora_A.weight", name);
    pair.a = list(l, depth, SHAPE(n * r, shape[1]), prefix, full);
    snprintf(full, sizeof full, "%s.lora_B.weight", name);
    pair.b = list(l, depth, SHAPE(n * (shape[0] / parts), r), prefix, full);
    return pair;
}

static void list_block(struct listing *l, const char *tower, int64_t i, int64_t layers, int64_t w,
                       double ratio, const struct clip_lora_config *lora, struct clip_block *block)
{
    char prefix[64];
    int64_t hidden = (int64_t)((double)w * ratio);
    int depth = (int)(layers - i);
    snprintf(prefix, sizeof prefix, "%stransformer.resblocks.%lld.", tower, (long long)i);
    struct clip_block made;
    made.ln_1_w = list(l, depth, SHAPE(w), prefix, "ln_1.weight");
    made.ln_1_b = list(l, depth, SHAPE(w), prefix, "ln_1.bias");
    made.in_proj_w = list(l, depth, SHAPE(3 * w, w), prefix, "attn.in_proj_weight");
    made.in_proj_b = list(l, depth, SHAPE(3 * w), prefix, "attn.in_proj_bias");
    made.out_proj_w = list(l, depth, SHAPE(w, w), prefix, "attn.out_proj.weight");
    made.out_proj_b = list(l, depth, SHAPE(w), prefix, "attn.out_proj.bias");
    made.ln_2_w = list(l, depth, SHAPE(w), prefix, "ln_2.weight");
    made.ln_2_b = list(l, depth, SHAPE(w), prefix, "ln_2.bias");
    made.c_fc_w = list(l, depth, SHAPE(hidden, w), prefix, "mlp.c_fc.weight");
    made.c_fc_b = list(l, depth, SHAPE(hidden), prefix, "mlp.c_fc.bias");
    made.c_proj_w = list(l, depth, SHAPE(w, hidden), prefix, "mlp.c_proj.weight");
    made.c_proj_b = list(l, depth, SHAPE(w), prefix, "mlp.c_proj.bias");
    made.in_proj_lora = list_lora(l, depth, prefix, "attn.in_proj", made.in_proj_w,
                                  (int64_t[]){3 * w, w}, lora, 3,
                                  CLIP_LORA_Q | CLIP_LORA_K | CLIP_LORA_V);
    made.out_proj_lora = list_lora(l, depth, prefix, "attn.out_proj", made.out_proj_w,
                                   (int64_t[]){w, w}, lora, 1, CLIP_LORA_OUT_PROJ);
    made.c_fc_lora = list_lora(l, depth, prefix, "mlp.c_fc", made.c_fc_w, (int64_t[]){hidden, w},
                               lora, 1, CLIP_LORA_C_FC);
    made.c_proj_lora = list_lora(l, depth, prefix, "mlp.c_proj", made.c_proj_w,
                                 (int64_t[]){w, hidden}, lora, 1, CLIP_LORA_C_PROJ);
    if (block != NULL) *block = made;
}

static void list_pool(struct listing *l, const struct clip_model_config *c, struct clip_pool *pool)
{
    static const char at[] = "visual.attn_pool.";
    int64_t w = c->vision_width, hidden = (int64_t)((double)w * c->vision_mlp_ratio);
    pool->probe = list(l, 0, SHAPE(1, w), at, "probe");
    pool->q_w = list(l, 0, SHAPE(w, w), at, "q.weight");
    pool->q_b = list(l, 0, SHAPE(w), at, "q.bias");
    pool->kv_w = list(l, 0, SHAPE(2 * w, w), at, "kv.weight");
    pool->kv_b = list(l, 0, SHAPE(2 * w), at, "kv.bias");
    pool->proj_w = list(l, 0, SHAPE(w, w), at, "proj.weight");
    pool->proj_b = list(l, 0, SHAPE(w), at, "proj.bias");
    pool->norm_w = list(l, 0, SHAPE(w), at, "norm.weight");
    pool->norm_b = list(l, 0, SHAPE(w), at, "norm.bias");
    pool->fc1_w = list(l, 0, SHAPE(hidden, w), at, "mlp.fc1.weight");
    pool->fc1_b = list(l, 0, SHAPE(hidden), at, "mlp.fc1.bias");
    pool->fc2_w = list(l, 0, SHAPE(w, hidden), at, "mlp.fc2.weight");
    pool->fc2_b = list(l, 0, SHAPE(w), at, "mlp.fc2.bias");
}

static void list_vision(struct listing *l, struct clip_model *m)
{
    const struct clip_model_config *c = &m->config;
    int64_t w = c->vision_width, p = c->patch_size, e = c->embed_dim;
    int depth = (int)c->vision_layers + 1;
    l->tower = CLIP_TOWERS_IMAGE;
    bool siglip = c->siglip;
    if (!siglip) m->class_embedding = list(l, depth, SHAPE(w), "visual.", "class_embedding");
    m->vision_pos =
        list(l, depth, SHAPE(clip_model_image_rows(c), w), "visual.", "positional_embedding");
    if (!siglip) m->vision_proj = list(l, 0, SHAPE(w, e), "visual.", "proj");
    m->conv1_w = list(l, depth, SHAPE(w, 3, p, p), "visual.", "conv1.weight");
    if (siglip) m->conv1_b = list(l, depth, SHAPE(1, w), "visual.", "conv1.bias");
    if (!siglip) m->ln_pre_w = list(l, depth, SHAPE(w), "visual.", "ln_pre.weight");
    if (!siglip) m->ln_pre_b = list(l, depth, SHAPE(w), "visual.", "ln_pre.bias");
    for (int64_t i = 0; i < c->vision_layers; i++)
        list_block(l, "visual.", i, c->vision_layers, w, c->vision_mlp_ratio, &c->lora,
                   m->params != NULL ? &m->vision_blocks[i] : NULL);
    m->ln_post_w = list(l, 0, SHAPE(w), "visual.", "ln_post.weight");
    m->ln_post_b = list(l, 0, SHAPE(w), "visual.", "ln_post.bias");
    if (siglip) list_pool(l, c, &m->pool);
}

static void list_parameters(struct listing *l, struct clip_model *m)
{
    const struct clip_model_config *c = &m->config;
    int64_t w = c->text_width, e = c->embed_dim;
    int depth = (int)c->text_layers + 1;
    l->tower = CLIP_TOWERS_TEXT;
    m->text_pos = list(l, depth, SHAPE(c->context_length, w), "", "positional_embedding");
    m->text_proj = c->siglip ? list(l, 0, SHAPE(e, w), "", "text_projection.weight")
                             : list(l, 0, SHAPE(w, e), "", "text_projection");
    m->text_proj_b = c->siglip ? list(l, 0, SHAPE(e), "", "text_projection.bias") : NULL;
    l->tower = CLIP_TOWERS_BOTH;
    m->logit_scale = list(l, 0, 0, NULL, "", "logit_scale");
    m->logit_bias = c->logit_bias ? list(l, 0, 0, NULL, "", "logit_bias") : NULL;
    list_vision(l, m);
    l->tower = CLIP_TOWERS_TEXT;
    for (int64_t i = 0; i < c->text_layers; i++)
        list_block(l, "", i, c->text_layers, w, c->text_mlp_ratio, &c->lora,
                   m->params != NULL ? &m->text_blocks[i] : NULL);
    m->token_embedding = list(l, depth, SHAPE(c->vocab_size, w), "", "token_embedding.weight");
    m->ln_final_w = list(l, 0, SHAPE(w), "", "ln_final.weight");
    m->ln_final_b = list(l, 0, SHAPE(w), "", "ln_final.bias");
}

clip_status clip_model_create_bare(struct clip_model **out, const struct clip_model_config *config,
                                   struct clip_error *error)
{
    clip_status status;
    struct clip_model *model = NULL;
    struct listing count = {0}, fill = {0};
    CLIP_TRY(clip_model_config_check(config, error));
    CLIP_NEW(model, 1);
    model->config = *config;
    list_parameters(&count, model);
    CLIP_NEW(model->params, count.count);
    CLIP_NEW(model->vision_blocks, config->vision_layers);
    CLIP_NEW(model->text_blocks, config->text_layers);
    fill.params = model->params;
    list_parameters(&fill, model);
    model->param_count = fill.count;
    model->size = fill.size;
    *out = model;
    return CLIP_OK;
out:
    clip_model_free(model);
    return status;
}

clip_status clip_model_create(struct clip_model **out, const struct clip_model_config *config,
                              struct clip_error *error)
{
    struct clip_model *model;
    clip_status status = clip_model_create_bare(&model, config, error);
    if (status != CLIP_OK) return status;
    CLIP_NEW(model->data, model->size);
    for (int64_t i = 0; i < model->param_count; i++)
        model->params[i].tensor.data = model->data + model->params[i].offset;
    *out = model;
    return CLIP_OK;
out:
    clip_model_free(model);
    return status;
}

void clip_model_free(struct clip_model *model)
{
    if (model == NULL) return;
    free(model->params);
    free(model->vision_blocks);
    free(model->text_blocks);
    free(model->data);
    free(model->grad);
    free(model->panels);
    free(model->packed);
    free(model);
}

void clip_model_train(struct clip_model *model)
{
    for (int64_t i = 0; i < model->param_count; i++) model->params[i].tensor.needs_grad = true;
}

clip_status clip_model_gradients(struct clip_model *model, struct clip_error *error)
{
    clip_status status;
    free(model->grad);
    model->grad = NULL;
    model->trained = 0;
    for (int64_t i = 0; i < model->param_count; i++) {
        struct clip_param *p = &model->params[i];
        p->tensor.grad = NULL;
        if (!p->tensor.needs_grad) continue;
        p->train_offset = model->trained;
        model->trained += padded(&p->tensor);
    }
    CLIP_NEW(model->grad, model->trained);
    for (int64_t i = 0; i < model->param_count; i++)
        if (model->params[i].tensor.needs_grad)
            model->params[i].tensor.grad = model->grad + model->params[i].train_offset;
out:
    return status;
}

const struct clip_param *clip_model_param_of(const struct clip_model *model,
                                             const struct clip_tensor *tensor)
{
    ptrdiff_t bytes = (const char *)tensor - (const char *)&model->params[0].tensor;
    return &model->params[bytes / (ptrdiff_t)sizeof *model->params];
}

float *clip_param_in(const struct clip_param *p, float *buffer)
{
    return p->tensor.needs_grad && buffer != NULL ? buffer + p->train_offset : p->tensor.data;
}

struct clip_param *clip_model_param(struct clip_model *model, const char *name)
{
    for (int64_t i = 0; i < model->param_count; i++)
        if (strcmp(model->params[i].name, name) == 0) return &model->params[i];
    return NULL;
}

int64_t clip_model_parameters(const struct clip_model *model)
{
    int64_t total = 0;
    for (int64_t i = 0; i < model->param_count; i++)
        total += clip_tensor_count(&model->params[i].tensor);
    return total;
}

/* ---- initial values ---- */

static void fill_normal(struct clip_model *m, const struct clip_tensor *tensor, uint64_t seed,
                        double std)
{
    int64_t number = ((const char *)tensor - (const char *)&m->params[0].tensor) /
                     (int64_t)sizeof m->params[0];
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_INIT, 0, (uint64_t)number);
    float *x = tensor->data;
    for (int64_t i = 0; i < clip_tensor_count(tensor); i++)
        x[i] = (float)std * clip_rng_normal(&rng);
}

static void fill_uniform(struct clip_model *m, const struct clip_tensor *tensor, uint64_t seed,
                         double bound)
{
    int64_t number = ((const char *)tensor - (const char *)&m->params[0].tensor) /
                     (int64_t)sizeof m->params[0];
    struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_INIT, 0, (uint64_t)number);
    float *x = tensor->data;
    for (int64_t i = 0; i < clip_tensor_count(tensor); i++)
        x[i] = (float)clip_rng_range(&rng, -bound, bound);
}

static void fill_ones(const struct clip_tensor *tensor)
{
    for (int64_t i = 0; i < clip_tensor_count(tensor); i++) ((float *)tensor->data)[i] = 1;
}

/* The text tower draws its own standard deviations; the vision tower keeps what torch's layers
 * start from. */
static void init_text_block(struct clip_model *m, const struct clip_block *b, uint64_t seed)
{
    double width = (double)m->config.text_width, layers = (double)m->config.text_layers;
    double attention = pow(width, -0.5), residual = attention * pow(2 * layers, -0.5);
    fill_normal(m, b->in_proj_w, seed, attention);
    fill_normal(m, b->out_proj_w, seed, residual);
    fill_normal(m, b->c_fc_w, seed, pow(2 * width, -0.5));
    fill_normal(m, b->c_proj_w, seed, residual);
    /* biases of c_fc and c_proj: torch's Linear, uniform by fan-in */
    fill_uniform(m, b->c_fc_b, seed, pow(width, -0.5));
    fill_uniform(m, b->c_proj_b, seed, pow((double)b->c_proj_w->shape[1], -0.5));
}

static void init_vision_block(struct clip_model *m, const struct clip_block *b, uint64_t seed)
{
    double width = (double)m->config.vision_width, hidden = (double)b->c_fc_w->shape[0];
    fill_uniform(m, b->in_proj_w, seed, sqrt(6.0 / (4 * width))); /* xavier_uniform of [3W,W] */
    fill_uniform(m, b->out_proj_w, seed, pow(width, -0.5));       /* kaiming_uniform, a = sqrt 5 */
    fill_uniform(m, b->c_fc_w, seed, pow(width, -0.5));
    fill_uniform(m, b->c_fc_b, seed, pow(width, -0.5));
    fill_uniform(m, b->c_proj_w, seed, pow(hidden, -0.5));
    fill_uniform(m, b->c_proj_b, seed, pow(hidden, -0.5));
}

static void init_norms(const struct clip_block *b)
{
    fill_ones(b->ln_1_w);
    fill_ones(b->ln_2_w);
}

/* CLIP's rows before and behind the blocks, or SigLIP's head: torch's Linear and MultiheadAttention
 * as they start, which is near enough to what big_vision draws. */
static void init_ends(struct clip_model *m, uint64_t seed)
{
    const struct clip_model_config *c = &m->config;
    const struct clip_pool *p = &m->pool;
    double width = (double)c->vision_width, vision = pow(width, -0.5);
    double text = pow((double)c->text_width, -0.5);
    if (!c->siglip) {
        fill_normal(m, m->text_proj, seed, text);
        fill_normal(m, m->class_embedding, seed, vision);
        fill_normal(m, m->vision_proj, seed, vision);
        fill_ones(m->ln_pre_w);
        return;
    }
    fill_uniform(m, m->text_proj, seed, text);
    fill_uniform(m, m->text_proj_b, seed, text);
    fill_uniform(m, m->conv1_b, seed, pow(3.0 * (double)(c->patch_size * c->patch_size), -0.5));
    fill_normal(m, p->probe, seed, vision);
    fill_uniform(m, p->q_w, seed, sqrt(6.0 / (4 * width)));
    fill_uniform(m, p->kv_w, seed, sqrt(6.0 / (4 * width)));
    fill_uniform(m, p->proj_w, seed, vision);
    fill_ones(p->norm_w);
    fill_uniform(m, p->fc1_w, seed, vision);
    fill_uniform(m, p->fc1_b, seed, vision);
    fill_uniform(m, p->fc2_w, seed, pow((double)p->fc1_w->shape[0], -0.5));
    fill_uniform(m, p->fc2_b, seed, pow((double)p->fc1_w->shape[0], -0.5));
}

void clip_model_init(struct clip_model *m, uint64_t seed)
{
    const struct clip_model_config *c = &m->config;
    memset(m->data, 0, (size_t)m->size * sizeof *m->data);
    fill_normal(m, m->token_embedding, seed, 0.02);
    fill_normal(m, m->text_pos, seed, 0.01);
    fill_normal(m, m->vision_pos, seed, pow((double)c->vision_width, -0.5));
    fill_uniform(m, m->conv1_w, seed, pow(3.0 * (double)(c->patch_size * c->patch_size), -0.5));
    init_ends(m, seed);
    for (int64_t i = 0; i < c->vision_layers; i++) {
        init_vision_block(m, &m->vision_blocks[i], seed);
        init_norms(&m->vision_blocks[i]);
    }
    for (int64_t i = 0; i < c->text_layers; i++) {
        init_text_block(m, &m->text_blocks[i], seed);
        init_norms(&m->text_blocks[i]);
    }
    fill_ones(m->ln_post_w);
    fill_ones(m->ln_final_w);
    /* Temperature 0.07 (Radford et al., section 2.5); SigLIP starts at t = 10, b = -10 (Zhai et
     * al., section 4.1). */
    *(float *)m->logit_scale->data = (float)(m->logit_bias != NULL ? log(10.0) : log(1 / 0.07));
    if (m->logit_bias != NULL) *(float *)m->logit_bias->data = -10.0f;
    clip_lora_init(m, seed);
}

/* ---- locks ---- */

static void lock_tower(struct clip_model *m, enum clip_towers tower, int64_t unlocked)
{
    for (int64_t i = 0; i < m->param_count; i++) {
        struct clip_param *p = &m->params[i];
        if (p->tower != tower) continue; /* logit_scale is of both */
        if (unlocked <= 0 || p->depth > unlocked) p->tensor.needs_grad = false;
    }
}

void clip_model_lock_image(struct clip_model *m, int64_t unlocked)
{
    lock_tower(m, CLIP_TOWERS_IMAGE, unlocked);
}
void clip_model_lock_text(struct clip_model *m, int64_t unlocked)
{
    lock_tower(m, CLIP_TOWERS_TEXT, unlocked);
}
