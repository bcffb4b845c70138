/* The parameters: their list, their buffers, their locks. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"

enum { ALIGN = 16 }; /* floats: 64 bytes */

/* Lists parameters in open_clip's order. The first walk counts them (params is NULL), the second
 * fills the list. */
struct listing {
    struct clip_param *params;
    int64_t count, size;
    enum clip_towers tower; /* the tower that the next parameters belong to */
};

static bool is_decayed(const char *name, int ndim)
{
    return ndim >= 2 && strstr(name, "bn") == NULL && strstr(name, "ln") == NULL &&
           strstr(name, "bias") == NULL && strstr(name, "logit_scale") == NULL;
}

/* The floats that a parameter takes in a buffer, so that the next one is aligned too. */
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

/* A tower as its parameters are listed: by open_clip's names, and where it has none, by names that
 * it might give. */
struct tower_list {
    struct listing *l;
    const char *prefix; /* of the tower's names */
    const struct clip_tower *tower;
    struct clip_tower_params *params;
    const struct clip_lora_config *lora;
    int64_t embed_dim;
};

/* A layer that LoRA may adapt: its weight w [N,D], or NULL while parameters are counted, and the
 * bits of targets that adapt it, one for each of its `parts` of N / parts rows. */
struct adaptable {
    const char *name;
    struct clip_tensor *w;
    int64_t n, d;
    int parts;
    unsigned which;
};

/* Lists A and B beside the weight of the layer, if it is adapted. */
static struct clip_lora_pair list_lora(const struct tower_list *t, int depth, const char *prefix,
                                       const struct adaptable *layer)
{
    char full[64];
    struct clip_lora_pair pair = {NULL, NULL};
    int64_t n = __builtin_popcount(t->lora->targets & layer->which), r = t->lora->rank;
    if (r == 0 || n == 0) return pair;
    if (layer->w != NULL) /* the first member but one of its struct clip_param */
        ((struct clip_param *)(void *)((char *)layer->w - offsetof(struct clip_param, tensor)))
            ->adapted = true;
    snprintf(full, sizeof full, "%s.lora_A.weight", layer->name);
    pair.a = list(t->l, depth, SHAPE(n * r, layer->d), prefix, full);
    snprintf(full, sizeof full, "%s.lora_B.weight", layer->name);
    pair.b = list(t->l, depth, SHAPE(n * (layer->n / layer->parts), r), prefix, full);
    return pair;
}

static void list_block(const struct tower_list *t, int64_t i, struct clip_block *block)
{
    char prefix[64];
    struct listing *l = t->l;
    int64_t w = t->tower->width, hidden = clip_tower_hidden(t->tower);
    int depth = (int)(t->tower->layers - i);
    snprintf(prefix, sizeof prefix, "%stransformer.resblocks.%lld.", t->prefix, (long long)i);
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
    const struct adaptable in_proj = {"attn.in_proj",
                                      made.in_proj_w,
                                      3 * w,
                                      w,
                                      3,
                                      CLIP_LORA_Q | CLIP_LORA_K | CLIP_LORA_V},
                           out_proj = {"attn.out_proj",   made.out_proj_w, w, w, 1,
                                       CLIP_LORA_OUT_PROJ},
                           c_fc = {"mlp.c_fc", made.c_fc_w, hidden, w, 1, CLIP_LORA_C_FC},
                           c_proj = {"mlp.c_proj", made.c_proj_w, w, hidden, 1, CLIP_LORA_C_PROJ};
    made.in_proj_lora = list_lora(t, depth, prefix, &in_proj);
    made.out_proj_lora = list_lora(t, depth, prefix, &out_proj);
    made.c_fc_lora = list_lora(t, depth, prefix, &c_fc);
    made.c_proj_lora = list_lora(t, depth, prefix, &c_proj);
    if (block != NULL) *block = made;
}

static void list_blocks(const struct tower_list *t)
{
    for (int64_t i = 0; i < t->tower->layers; i++)
        list_block(t, i, t->params->blocks != NULL ? &t->params->blocks[i] : NULL);
}

static void list_embed_norm(const struct tower_list *t)
{
    int depth = (int)t->tower->layers + 1;
    if (!t->tower->embed_norm) return;
    t->params->embed_norm_w = list(t->l, depth, SHAPE(t->tower->width), t->prefix, "ln_pre.weight");
    t->params->embed_norm_b = list(t->l, depth, SHAPE(t->tower->width), t->prefix, "ln_pre.bias");
}

static void list_final_norm(const struct tower_list *t, const char *weight, const char *bias)
{
    if (!t->tower->final_norm) return;
    t->params->final_norm_w = list(t->l, 0, SHAPE(t->tower->width), t->prefix, weight);
    t->params->final_norm_b = list(t->l, 0, SHAPE(t->tower->width), t->prefix, bias);
}

/* A matrix is named "NAME", a linear layer's two "NAME.weight" and "NAME.bias". */
static void list_projection(const struct tower_list *t, const char *name)
{
    char full[64];
    int64_t w = t->tower->width, e = t->embed_dim;
    if (t->tower->projection == CLIP_PROJECT_MATRIX)
        t->params->proj = list(t->l, 0, SHAPE(w, e), t->prefix, name);
    if (t->tower->projection != CLIP_PROJECT_LINEAR) return;
    snprintf(full, sizeof full, "%s.weight", name);
    t->params->proj = list(t->l, 0, SHAPE(e, w), t->prefix, full);
    snprintf(full, sizeof full, "%s.bias", name);
    t->params->proj_b = list(t->l, 0, SHAPE(e), t->prefix, full);
}

static void list_pool(const struct tower_list *t)
{
    char at[64];
    struct listing *l = t->l;
    struct clip_pool *pool = &t->params->pool;
    int64_t w = t->tower->width, hidden = clip_tower_hidden(t->tower);
    if (t->tower->pooling != CLIP_POOL_ATTENTION) return;
    snprintf(at, sizeof at, "%sattn_pool.", t->prefix);
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
    const struct tower_list t = {l, "visual.", &c->vision, &m->vision, &c->lora, c->embed_dim};
    int64_t w = c->vision.width, p = c->patch_size;
    int depth = (int)c->vision.layers + 1;
    struct clip_tower_params *v = &m->vision;
    l->tower = CLIP_TOWERS_IMAGE;
    if (c->vision.class_row) v->class_row = list(l, depth, SHAPE(w), t.prefix, "class_embedding");
    v->positions =
        list(l, depth, SHAPE(clip_model_image_rows(c), w), t.prefix, "positional_embedding");
    list_projection(&t, "proj");
    v->patch_w = list(l, depth, SHAPE(w, 3, p, p), t.prefix, "conv1.weight");
    if (c->vision.patch_bias) v->patch_b = list(l, depth, SHAPE(1, w), t.prefix, "conv1.bias");
    list_embed_norm(&t);
    list_blocks(&t);
    list_final_norm(&t, "ln_post.weight", "ln_post.bias");
    list_pool(&t);
}

static void list_parameters(struct listing *l, struct clip_model *m)
{
    const struct clip_model_config *c = &m->config;
    const struct tower_list t = {l, "", &c->text, &m->text, &c->lora, c->embed_dim};
    int64_t w = c->text.width;
    int depth = (int)c->text.layers + 1;
    l->tower = CLIP_TOWERS_TEXT;
    m->text.positions = list(l, depth, SHAPE(c->context_length, w), "", "positional_embedding");
    list_projection(&t, "text_projection");
    l->tower = CLIP_TOWERS_BOTH;
    m->logit_scale = list(l, 0, 0, NULL, "", "logit_scale");
    m->logit_bias = c->logit_bias ? list(l, 0, 0, NULL, "", "logit_bias") : NULL;
    list_vision(l, m);
    l->tower = CLIP_TOWERS_TEXT;
    list_blocks(&t);
    m->text.tokens = list(l, depth, SHAPE(c->vocab_size, w), "", "token_embedding.weight");
    list_embed_norm(&t);
    list_final_norm(&t, "ln_final.weight", "ln_final.bias");
    list_pool(&t);
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
    CLIP_NEW(model->vision.blocks, config->vision.layers);
    CLIP_NEW(model->text.blocks, config->text.layers);
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
    free(model->vision.blocks);
    free(model->text.blocks);
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

/* ---- locks ---- */

static void lock_tower(struct clip_model *m, enum clip_towers tower, int64_t unlocked)
{
    for (int64_t i = 0; i < m->param_count; i++) {
        struct clip_param *p = &m->params[i];
        if (p->tower != tower) continue; /* logit_scale belongs to both */
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
