/* The matrix products of a training step, from which its time and memory are estimated. */
#include <string.h>

#include "model/model.h"

int64_t clip_model_products(const struct clip_model_config *c, int64_t batch_size, int64_t tokens,
                            struct clip_model_product *products)
{
    int64_t grid = c->image_size / c->patch_size, patches = batch_size * grid * grid;
    int64_t rows = batch_size * clip_model_image_rows(c), v = c->vision.width, t = c->text.width;
    int64_t v_hidden = clip_tower_hidden(&c->vision), t_hidden = clip_tower_hidden(&c->text);
    int64_t pixels = 3 * c->patch_size * c->patch_size;
    const struct clip_model_product list[] = {
        {"patch_embed", patches, v, pixels, 1},
        {"vision in_proj", rows, 3 * v, v, c->vision.layers},
        {"vision out_proj", rows, v, v, c->vision.layers},
        {"vision c_fc", rows, v_hidden, v, c->vision.layers},
        {"vision c_proj", rows, v, v_hidden, c->vision.layers},
        {"text in_proj", tokens, 3 * t, t, c->text.layers},
        {"text out_proj", tokens, t, t, c->text.layers},
        {"text c_fc", tokens, t_hidden, t, c->text.layers},
        {"text c_proj", tokens, t, t_hidden, c->text.layers},
        {"logits", batch_size, batch_size, c->embed_dim, 1},
    };
    _Static_assert(sizeof list / sizeof *list <= CLIP_MODEL_PRODUCTS, "room for all of them");
    memcpy(products, list, sizeof list);
    return sizeof list / sizeof *list;
}
