#include "model/lora.h"

#include <math.h>
#include <string.h>

#include "core/rng.h"
#include "kernels/gemm.h"

static const struct {
    const char *name;
    unsigned bit;
} targets[] = {
    {"q", CLIP_LORA_Q},       {"k", CLIP_LORA_K},           {"v", CLIP_LORA_V},
    {"c_fc", CLIP_LORA_C_FC}, {"c_proj", CLIP_LORA_C_PROJ}, {"out_proj", CLIP_LORA_OUT_PROJ},
    {"all", CLIP_LORA_ALL},
};

clip_status clip_lora_targets(const char *text, unsigned *out, struct clip_error *error)
{
    *out = 0;
    for (const char *p = text; *p != '\0';) {
        size_t n = strcspn(p, ", ");
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
            if (strlen(targets[i].name) == n && strncmp(targets[i].name, p, n) == 0)
                bit = targets[i].bit;
        if (bit == 0 && n > 0)
            return clip_fail(error, CLIP_ERR_USAGE,
                             "[lora] targets = %s: \"%.*s\" is none of q, k, v, out_proj, c_fc, "
                             "c_proj and all",
                             text, (int)n, p);
        *out |= bit;
        p += n + (p[n] != '\0');
    }
    if (*out == 0)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[lora] targets is empty; expected some of q, k, v, out_proj, c_fc, "
                         "c_proj, or all");
    return CLIP_OK;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

bool clip_lora_is(const struct clip_param *param) { return strstr(param->name, ".lora_") != NULL; }

void clip_lora_init(struct clip_model *m, uint64_t seed)
{
    for (int64_t i = 0; i < m->param_count; i++) {
        struct clip_param *p = &m->params[i];
        float *x = p->tensor.data;
        int64_t n = clip_tensor_count(&p->tensor);
        if (!clip_lora_is(p)) continue;
        struct clip_rng rng = clip_rng_at(seed, CLIP_RNG_INIT, 1, (uint64_t)i);
        double bound = ends_with(p->name, "lora_A.weight") /* kaiming_uniform, a = sqrt 5 */
                           ? pow((double)p->tensor.shape[1], -0.5)
                           : 0;
        for (int64_t k = 0; k < n; k++) x[k] = (float)clip_rng_range(&rng, -bound, bound);
    }
}

void clip_lora_freeze(struct clip_model *m)
{
    for (int64_t i = 0; i < m->param_count; i++)
        m->params[i].tensor.needs_grad = clip_lora_is(&m->params[i]);
}

/* ---- merging ---- */

/* A linear layer with its path: the weight has `parts` parts of rows, of which those in `which` are
 * adapted. */
struct path {
    const struct clip_tensor *w, *a, *b;
    int parts;
    unsigned which;
};

static void merge_path(struct clip_model *out, const struct clip_model *m, const struct path *p,
                       float *buffer)
{
    if (p->a == NULL) return;
    float *w = clip_model_param(out, clip_model_param_of(m, p->w)->name)->tensor.data;
    const float *a = clip_param_in(clip_model_param_of(m, p->a), buffer);
    const float *b = clip_param_in(clip_model_param_of(m, p->b), buffer);
    int64_t r = p->b->shape[1], rows = p->w->shape[0] / p->parts, d = p->w->shape[1], k = 0;
    for (int part = 0; part < p->parts; part++) {
        if ((p->which >> part & 1) == 0) continue;
        clip_gemm(&(struct clip_gemm){.m = rows,
                                      .n = d,
                                      .k = r,
                                      .alpha = (float)clip_lora_scale(&m->config.lora),
                                      .a = {b + k * rows * r, r},
                                      .b = {a + k * r * d, d},
                                      .c = {w + part * rows * d, d},
                                      .accumulate = true});
        k++;
    }
}

void clip_lora_merge(struct clip_model *out, const struct clip_model *m, float *buffer)
{
    const struct clip_model_config *c = &m->config;
    for (int64_t i = 0; i < m->param_count; i++) {
        const struct clip_param *p = &m->params[i];
        if (clip_lora_is(p)) continue;
        memcpy(clip_model_param(out, p->name)->tensor.data, clip_param_in(p, buffer),
               (size_t)clip_tensor_count(&p->tensor) * sizeof(float));
    }
    for (int64_t i = 0; i < c->vision.layers + c->text.layers; i++) {
        const struct clip_block *b = i < c->vision.layers ? &m->vision.blocks[i]
                                                          : &m->text.blocks[i - c->vision.layers];
        const struct path paths[] = {
            {b->in_proj_w, b->in_proj_lora.a, b->in_proj_lora.b, 3, c->lora.targets & 7},
            {b->out_proj_w, b->out_proj_lora.a, b->out_proj_lora.b, 1, 1},
            {b->c_fc_w, b->c_fc_lora.a, b->c_fc_lora.b, 1, 1},
            {b->c_proj_w, b->c_proj_lora.a, b->c_proj_lora.b, 1, 1},
        };
        for (size_t k = 0; k < sizeof paths / sizeof paths[0]; k++)
            merge_path(out, m, &paths[k], buffer);
    }
}
