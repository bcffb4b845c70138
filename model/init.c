/* The parameters' initial values. */
#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "model/lora.h"
#include "model/model.h"

static struct clip_rng rng_of(const struct clip_model *m, const struct clip_tensor *tensor,
                              uint64_t seed)
{
    return clip_rng_at(seed, CLIP_RNG_INIT, 0,
                       (uint64_t)(clip_model_param_of(m, tensor) - m->params));
}

static void fill_normal(struct clip_model *m, const struct clip_tensor *tensor, uint64_t seed,
                        double std)
{
    struct clip_rng rng = rng_of(m, tensor, seed);
    float *x = tensor->data;
    for (int64_t i = 0; i < clip_tensor_count(tensor); i++)
        x[i] = (float)std * clip_rng_normal(&rng);
}

static void fill_uniform(struct clip_model *m, const struct clip_tensor *tensor, uint64_t seed,
                         double bound)
{
    struct clip_rng rng = rng_of(m, tensor, seed);
    float *x = tensor->data;
    for (int64_t i = 0; i < clip_tensor_count(tensor); i++)
        x[i] = (float)clip_rng_range(&rng, -bound, bound);
}

static void fill_ones(const struct clip_tensor *tensor)
{
    for (int64_t i = 0; i < clip_tensor_count(tensor); i++) ((float *)tensor->data)[i] = 1;
}

/* Blocks are initialised as open_clip does it: the text tower's with its own standard deviations,
 * the vision tower's as torch's layers are. */
static void init_text_block(struct clip_model *m, const struct clip_block *b, uint64_t seed)
{
    double width = (double)m->config.text.width, layers = (double)m->config.text.layers;
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
    double width = (double)m->config.vision.width, hidden = (double)b->c_fc_w->shape[0];
    fill_uniform(m, b->in_proj_w, seed, sqrt(6.0 / (4 * width))); /* xavier_uniform of [3W,W] */
    fill_uniform(m, b->out_proj_w, seed, pow(width, -0.5));       /* kaiming_uniform, a = sqrt 5 */
    fill_uniform(m, b->c_fc_w, seed, pow(width, -0.5));
    fill_uniform(m, b->c_fc_b, seed, pow(width, -0.5));
    fill_uniform(m, b->c_proj_w, seed, pow(hidden, -0.5));
    fill_uniform(m, b->c_proj_b, seed, pow(hidden, -0.5));
}

/* As torch's Linear and MultiheadAttention are initialised, which is close to what big_vision
 * draws. */
static void init_pool(struct clip_model *m, const struct clip_pool *p, double width, uint64_t seed)
{
    double bound = pow(width, -0.5), hidden = (double)p->fc1_w->shape[0];
    fill_normal(m, p->probe, seed, bound);
    fill_uniform(m, p->q_w, seed, sqrt(6.0 / (4 * width)));
    fill_uniform(m, p->kv_w, seed, sqrt(6.0 / (4 * width)));
    fill_uniform(m, p->proj_w, seed, bound);
    fill_ones(p->norm_w);
    fill_uniform(m, p->fc1_w, seed, bound);
    fill_uniform(m, p->fc1_b, seed, bound);
    fill_uniform(m, p->fc2_w, seed, pow(hidden, -0.5));
    fill_uniform(m, p->fc2_b, seed, pow(hidden, -0.5));
}

/* What both towers initialise alike: norms, pooling and projection. */
static void init_tower(struct clip_model *m, const struct clip_tower *tower,
                       const struct clip_tower_params *p, uint64_t seed)
{
    double width = (double)tower->width, bound = pow(width, -0.5);
    if (p->embed_norm_w != NULL) fill_ones(p->embed_norm_w);
    for (int64_t i = 0; i < tower->layers; i++) {
        fill_ones(p->blocks[i].ln_1_w);
        fill_ones(p->blocks[i].ln_2_w);
    }
    if (p->final_norm_w != NULL) fill_ones(p->final_norm_w);
    if (p->pool.probe != NULL) init_pool(m, &p->pool, width, seed);
    if (tower->projection == CLIP_PROJECT_MATRIX) fill_normal(m, p->proj, seed, bound);
    if (tower->projection != CLIP_PROJECT_LINEAR) return;
    fill_uniform(m, p->proj, seed, bound);
    fill_uniform(m, p->proj_b, seed, bound);
}

void clip_model_init(struct clip_model *m, uint64_t seed)
{
    const struct clip_model_config *c = &m->config;
    const struct clip_tower_params *vision = &m->vision, *text = &m->text;
    double vision_std = pow((double)c->vision.width, -0.5);
    double patch_bound = pow(3.0 * (double)(c->patch_size * c->patch_size), -0.5);
    memset(m->data, 0, (size_t)m->size * sizeof *m->data);
    fill_normal(m, text->tokens, seed, 0.02);
    fill_normal(m, text->positions, seed, 0.01);
    fill_normal(m, vision->positions, seed, vision_std);
    if (vision->class_row != NULL) fill_normal(m, vision->class_row, seed, vision_std);
    fill_uniform(m, vision->patch_w, seed, patch_bound);
    if (vision->patch_b != NULL) fill_uniform(m, vision->patch_b, seed, patch_bound);
    for (int64_t i = 0; i < c->vision.layers; i++) init_vision_block(m, &vision->blocks[i], seed);
    for (int64_t i = 0; i < c->text.layers; i++) init_text_block(m, &text->blocks[i], seed);
    init_tower(m, &c->vision, vision, seed);
    init_tower(m, &c->text, text, seed);
    /* Temperature 0.07 (Radford et al., section 2.5); SigLIP starts at t = 10, b = -10 (Zhai et
     * al., section 4.1). */
    *(float *)m->logit_scale->data = (float)(m->logit_bias != NULL ? log(10.0) : log(1 / 0.07));
    if (m->logit_bias != NULL) *(float *)m->logit_bias->data = -10.0f;
    clip_lora_init(m, seed);
}
