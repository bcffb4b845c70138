/* What the shapes of the weights tell about a model, and whether a description fits them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/count.h"
#include "formats/architectures.h"
#include "formats/model_description.h"

/* Heads, which no shape tells, of the released models: of width 64, but 16 in the vision towers
 * wider than L's (H, g, bigG and e; SigLIP's so400m and giantopt) and in so400m's text tower. */
enum { HEAD_WIDTH = 64, WIDE = 1024, WIDE_HEADS = 16, SO400M = 1152 };

struct shapes {
    const struct clip_weight_source *weights;
    const char *name;
    struct clip_error *error;
};

/* The weight of that name of ours, with so many dimensions; false with the error filled. */
static bool weight(const struct shapes *s, const char *name, int ndim, struct clip_tensor *out)
{
    char shape[CLIP_SHAPE_TEXT];
    struct clip_place place = {.names = {"?"}};
    clip_layout_place(s->weights->layout, name, &place);
    if (!clip_layout_shape(s->weights, name, out)) {
        clip_fail(s->error, CLIP_ERR_DATA,
                  "%s: there is no weight \"%s%s\" of the kind that a "
                  "CLIP with %s's names has",
                  s->name, s->weights->prefix, place.names[0],
                  clip_layout_name(s->weights->layout));
        return false;
    }
    while (out->ndim > ndim && out->shape[0] == 1) { /* timm's [1, N, W] */
        out->ndim--;
        for (int d = 0; d < out->ndim; d++) out->shape[d] = out->shape[d + 1];
    }
    bool fine = out->ndim == ndim;
    for (int i = 0; i < out->ndim; i++) fine = fine && out->shape[i] > 0;
    if (!fine) {
        clip_fail(s->error, CLIP_ERR_DATA, "%s: \"%s%s\" has shape %s; expected %s, none of them 0",
                  s->name, s->weights->prefix, place.names[0], clip_shape_text(shape, out),
                  CLIP_COUNT(ndim, "dimension"));
    }
    return fine;
}

/* An attention pool tells a SigLIP; any of its weights, as one may be missing. */
static enum clip_architecture find_architecture(const struct shapes *s)
{
    static const char *const names[] = {"visual.attn_pool.probe", "visual.attn_pool.norm.weight",
                                        "visual.attn_pool.mlp.fc1.weight"};
    struct clip_tensor found;
    bool is = s->weights->layout == CLIP_LAYOUT_TIMM_SIGLIP;
    for (int i = 0; i < 3 && !is; i++) is = clip_layout_shape(s->weights, names[i], &found);
    return is ? CLIP_ARCHITECTURE_SIGLIP : CLIP_ARCHITECTURE_CLIP;
}

/* Layers and mlp_ratio of the tower whose blocks begin with `blocks`. */
static clip_status infer_tower(const struct shapes *s, const char *blocks, struct clip_tower *tower)
{
    char name[128];
    snprintf(name, sizeof name, "%s0.mlp.c_fc.weight", blocks);
    struct clip_tensor fc, norm;
    if (!weight(s, name, 2, &fc)) return s->error->status;
    tower->mlp_ratio = clip_tower_mlp_ratio(tower->width, fc.shape[0]);
    for (tower->layers = 1; tower->layers < 100000; tower->layers++) {
        snprintf(name, sizeof name, "%s%lld.ln_1.weight", blocks, (long long)tower->layers);
        if (!clip_layout_shape(s->weights, name, &norm)) break;
    }
    return CLIP_OK;
}

/* embed_dim by the shape of the projection `name`; the width where the tower has none. */
static bool find_embed_dim(const struct shapes *s, const struct clip_tower *tower, const char *name,
                           int64_t *out)
{
    struct clip_tensor proj;
    char full[64];
    bool linear = tower->projection == CLIP_PROJECT_LINEAR;
    *out = tower->width;
    if (tower->projection == CLIP_PROJECT_NONE) return true;
    snprintf(full, sizeof full, "%s%s", name, linear ? ".weight" : "");
    if (!weight(s, full, 2, &proj)) return false;
    *out = proj.shape[linear ? 0 : 1];
    return true;
}

/* The sizes of a model whose towers are of c's kinds. */
static clip_status infer_sizes(const struct shapes *s, struct clip_model_config *c)
{
    clip_status status = CLIP_OK;
    struct clip_tensor conv, vision_pos, text_pos, tokens, bias;
    if (!weight(s, "visual.conv1.weight", 4, &conv) ||
        !weight(s, "visual.positional_embedding", 2, &vision_pos) ||
        !weight(s, "positional_embedding", 2, &text_pos) ||
        !weight(s, "token_embedding.weight", 2, &tokens))
        return s->error->status;
    int64_t grid = (int64_t)sqrt((double)(vision_pos.shape[0] - (c->vision.class_row ? 1 : 0)));
    c->patch_size = conv.shape[3];
    if (!clip_mul_i64(grid, c->patch_size, &c->image_size)) c->image_size = -1;
    c->vision.width = conv.shape[0];
    c->context_length = text_pos.shape[0];
    c->vocab_size = tokens.shape[0];
    c->text.width = tokens.shape[1];
    if (!(c->vision.projection != CLIP_PROJECT_NONE
              ? find_embed_dim(s, &c->vision, "visual.proj", &c->embed_dim)
              : find_embed_dim(s, &c->text, "text_projection", &c->embed_dim)))
        return s->error->status;
    c->vision.heads = c->vision.width > WIDE ? WIDE_HEADS : c->vision.width / HEAD_WIDTH;
    c->text.heads = c->text.width == SO400M ? WIDE_HEADS : c->text.width / HEAD_WIDTH;
    c->logit_bias = clip_layout_shape(s->weights, "logit_bias", &bias);
    CLIP_TRY(infer_tower(s, "visual.transformer.resblocks.", &c->vision));
    CLIP_TRY(infer_tower(s, "transformer.resblocks.", &c->text));
out:
    return status;
}

clip_status clip_model_description_infer(const struct clip_weight_source *weights, const char *name,
                                         struct clip_model_description *out,
                                         struct clip_error *error)
{
    struct shapes shapes = {weights, name, error};
    *out = clip_model_description_default();
    clip_architecture_apply(&out->config, find_architecture(&shapes));
    clip_status status = infer_sizes(&shapes, &out->config);
    clip_model_description_unify(out);
    return status;
}

/* About as many numbers as a tower's blocks have; as double, so that no size can overflow it. */
static double block_numbers(const struct clip_tower *tower)
{
    double w = (double)tower->width;
    return (double)tower->layers * w * w * (4 + 2 * tower->mlp_ratio);
}

/* The sizes do not ask for far more than the file holds, so that no wrong size takes the machine's
 * memory before the weights are compared one by one. */
static clip_status check_memory(const struct shapes *s, const struct clip_model_config *c)
{
    double have = 0, need = block_numbers(&c->vision) + block_numbers(&c->text);
    double grid = (double)c->image_size / (double)c->patch_size;
    need += (grid * grid + 1 + 3.0 * (double)c->patch_size * (double)c->patch_size) *
            (double)c->vision.width;
    need += ((double)c->vocab_size + (double)c->context_length) * (double)c->text.width;
    const struct clip_bundle *bundle = s->weights->bundle;
    for (int64_t i = 0; i < bundle->tensor_count; i++) {
        const struct clip_bundle_tensor *entry = &bundle->tensors[i];
        if (strncmp(entry->name, s->weights->prefix, strlen(s->weights->prefix)) == 0)
            have += (double)clip_tensor_count(&entry->tensor);
    }
    if (need <= 2 * have + 1e6) return CLIP_OK;
    return clip_fail(s->error, CLIP_ERR_DATA,
                     "%s: a model of the described size has about %.0f numbers and the file holds "
                     "%.0f; weights are missing or the description is another model's",
                     s->name, need, have);
}

clip_status clip_model_description_check(const struct clip_model_description *description,
                                         const struct clip_weight_source *weights, const char *name,
                                         struct clip_error *error)
{
    struct shapes shapes = {weights, name, error};
    const struct clip_model_config *want = &description->config;
    struct clip_model_config have = *want;
    enum clip_architecture said = clip_architecture_of(want), found = find_architecture(&shapes);
    if (said != CLIP_ARCHITECTURE_OTHER) clip_architecture_apply(&have, found);
    clip_status status = infer_sizes(&shapes, &have);
    if (status != CLIP_OK) return status;
    int64_t grid = want->image_size / want->patch_size; /* what is left at the edge has no weight */
    if (said != CLIP_ARCHITECTURE_OTHER && said != found) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the description is a %s's and the weights are "
                         "a %s's; they belong to different models",
                         name, clip_architecture_title(said), clip_architecture_title(found));
    }
    const struct {
        const char *key;
        int64_t described, found;
    } sizes[] = {
        {"embed_dim", want->embed_dim, have.embed_dim},
        {"patch_size", want->patch_size, have.patch_size},
        {"image_size",
         have.image_size == grid * want->patch_size ? have.image_size : want->image_size,
         have.image_size},
        {"width (vision)", want->vision.width, have.vision.width},
        {"layers (vision)", want->vision.layers, have.vision.layers},
        {"mlp width (vision)", clip_tower_hidden(&want->vision), clip_tower_hidden(&have.vision)},
        {"context_length", want->context_length, have.context_length},
        {"vocab_size", want->vocab_size, have.vocab_size},
        {"width (text)", want->text.width, have.text.width},
        {"layers (text)", want->text.layers, have.text.layers},
        {"mlp width (text)", clip_tower_hidden(&want->text), clip_tower_hidden(&have.text)},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].described == sizes[i].found) continue;
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the description says %s %lld and the weights' shapes %lld; they "
                         "belong to different models",
                         name, sizes[i].key, (long long)sizes[i].described,
                         (long long)sizes[i].found);
    }
    return check_memory(&shapes, want);
}
