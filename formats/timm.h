/* timm's vision transformers that open_clip builds SigLIP's vision towers of. Its description names
 * one of them ("timm_model_name") and says nothing of its sizes, so they stand here, as they do in
 * timm 1.0 (timm/models/vision_transformer.py): all have an attention pool, no class row, and
 * LayerNorm's epsilon 1e-6. */
#ifndef CLIP_FORMATS_TIMM_H
#define CLIP_FORMATS_TIMM_H

#include "model/model.h"

struct clip_timm_tower {
    const char *name;
    int64_t image_size, patch_size, width, layers, heads;
    double mlp_ratio;
    bool gelu_tanh; /* else the exact GELU */
};

/* By its name, a tag behind it or not ("vit_base_patch16_siglip_224.webli"); NULL: none. */
const struct clip_timm_tower *clip_timm_find(const char *name);
/* The one of a vision tower's sizes and shapes (heads and activation may be other ones); NULL. */
const struct clip_timm_tower *clip_timm_like(const struct clip_model_config *config);
/* The same, with the heads and the activation that the tower has: what timm would build of its
 * name gives the tower's numbers; NULL. */
const struct clip_timm_tower *clip_timm_same(const struct clip_model_config *config);

#endif
