#include "formats/timm.h"

#include <string.h>

#include "formats/architectures.h"

static const struct clip_timm_tower towers[] = {
    {"vit_base_patch32_siglip_256", 256, 32, 768, 12, 12, 4, true},
    {"vit_base_patch16_siglip_224", 224, 16, 768, 12, 12, 4, false},
    {"vit_base_patch16_siglip_256", 256, 16, 768, 12, 12, 4, false},
    {"vit_base_patch16_siglip_384", 384, 16, 768, 12, 12, 4, false},
    {"vit_base_patch16_siglip_512", 512, 16, 768, 12, 12, 4, false},
    {"vit_large_patch16_siglip_256", 256, 16, 1024, 24, 16, 4, false},
    {"vit_large_patch16_siglip_384", 384, 16, 1024, 24, 16, 4, false},
    {"vit_large_patch16_siglip_512", 512, 16, 1024, 24, 16, 4, true},
    {"vit_so400m_patch14_siglip_224", 224, 14, 1152, 27, 16, 3.7362, false},
    {"vit_so400m_patch14_siglip_378", 378, 14, 1152, 27, 16, 3.7362, false},
    {"vit_so400m_patch14_siglip_384", 384, 14, 1152, 27, 16, 3.7362, false},
    {"vit_so400m_patch16_siglip_256", 256, 16, 1152, 27, 16, 3.7362, true},
    {"vit_so400m_patch16_siglip_384", 384, 16, 1152, 27, 16, 3.7362, true},
    {"vit_so400m_patch16_siglip_512", 512, 16, 1152, 27, 16, 3.7362, true},
    {"vit_giantopt_patch16_siglip_256", 256, 16, 1536, 40, 16, 4, true},
    {"vit_giantopt_patch16_siglip_384", 384, 16, 1536, 40, 16, 4, true},
};
enum { TOWERS = sizeof towers / sizeof *towers };

const struct clip_timm_tower *clip_timm_find(const char *name)
{
    size_t n = strcspn(name, ".");
    for (int i = 0; i < TOWERS; i++)
        if (strlen(towers[i].name) == n && strncmp(towers[i].name, name, n) == 0) return &towers[i];
    return NULL;
}

static bool is_like(const struct clip_timm_tower *t, const struct clip_model_config *c)
{
    int64_t hidden = clip_tower_hidden(&c->vision);
    return clip_architecture_of(c) == CLIP_ARCHITECTURE_SIGLIP && t->image_size == c->image_size &&
           t->patch_size == c->patch_size && t->width == c->vision.width &&
           t->layers == c->vision.layers && (int64_t)((double)t->width * t->mlp_ratio) == hidden;
}

const struct clip_timm_tower *clip_timm_like(const struct clip_model_config *config)
{
    for (int i = 0; i < TOWERS; i++)
        if (is_like(&towers[i], config)) return &towers[i];
    return NULL;
}

const struct clip_timm_tower *clip_timm_same(const struct clip_model_config *config)
{
    const struct clip_timm_tower *t = clip_timm_like(config);
    enum clip_activation activation = t != NULL && t->gelu_tanh ? CLIP_GELU_TANH : CLIP_GELU;
    bool same = t != NULL && t->heads == config->vision.heads && config->vision.norm_eps == 1e-6 &&
                config->vision.activation == activation;
    return same ? t : NULL;
}
