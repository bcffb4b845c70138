#include "formats/architectures.h"

#include <assert.h>

static const struct clip_tower siglip_vision = {
    .final_norm = true,
    .pooling = CLIP_POOL_ATTENTION,
    .projection = CLIP_PROJECT_NONE,
    .patch_bias = true,
    .uneven = true,
};
static const struct clip_tower siglip_text = {
    .final_norm = true,
    .pooling = CLIP_POOL_LAST,
    .projection = CLIP_PROJECT_LINEAR,
    .whole_rows = true,
};

static const struct {
    const char *name, *title;
    const struct clip_tower *vision, *text;
} architectures[] = {
    [CLIP_ARCHITECTURE_CLIP] = {"clip", "CLIP", &clip_vision_tower, &clip_text_tower},
    [CLIP_ARCHITECTURE_SIGLIP] = {"siglip", "SigLIP", &siglip_vision, &siglip_text},
    [CLIP_ARCHITECTURE_OTHER] = {NULL, "model of its own towers", NULL, NULL},
};

const char *clip_architecture_name(int architecture)
{
    return architecture >= 0 && architecture < CLIP_ARCHITECTURE_OTHER
               ? architectures[architecture].name
               : NULL;
}

const char *clip_architecture_title(enum clip_architecture architecture)
{
    return architectures[architecture].title;
}

void clip_architecture_apply(struct clip_model_config *c, enum clip_architecture architecture)
{
    clip_tower_become(&c->vision, architectures[architecture].vision);
    clip_tower_become(&c->text, architectures[architecture].text);
}

enum clip_architecture clip_architecture_of(const struct clip_model_config *c)
{
    int i = 0;
    while (i < CLIP_ARCHITECTURE_OTHER &&
           (clip_tower_differs(&c->vision, architectures[i].vision) != NULL ||
            clip_tower_differs(&c->text, architectures[i].text) != NULL))
        i++;
    return (enum clip_architecture)i;
}

static const char *const activations[] = {"gelu", "quick_gelu", "gelu_tanh", NULL};
_Static_assert(CLIP_GELU == 1 && CLIP_QUICK_GELU == 2 && CLIP_GELU_TANH == 3,
               "activations[] begins at CLIP_GELU");

const char *clip_activation_key(enum clip_activation activation)
{
    return activations[activation - CLIP_GELU];
}

struct clip_activation_keys clip_activation_keys(const struct clip_model_config *c)
{
    return (struct clip_activation_keys){
        .quick_gelu = c->vision.activation == CLIP_QUICK_GELU,
        .gelu_tanh = c->vision.activation == CLIP_GELU_TANH,
        .text_gelu_tanh = c->vision.activation == CLIP_GELU && c->text.activation == CLIP_GELU_TANH,
    };
}

clip_status clip_activation_apply(struct clip_model_config *c, struct clip_activation_keys keys,
                                  struct clip_error *error)
{
    if (keys.quick_gelu && (keys.gelu_tanh || keys.text_gelu_tanh))
        return clip_fail(error, CLIP_ERR_DATA, "quick_gelu and %sgelu_tanh exclude each other",
                         keys.gelu_tanh ? "" : "text_");
    c->vision.activation = keys.quick_gelu  ? CLIP_QUICK_GELU
                           : keys.gelu_tanh ? CLIP_GELU_TANH
                                            : CLIP_GELU;
    c->text.activation = keys.text_gelu_tanh ? CLIP_GELU_TANH : c->vision.activation;
    return CLIP_OK;
}

/* ---- a tower's own keys ---- */

void clip_tower_write(json_t **object, const struct clip_tower *tower,
                      const struct clip_tower *usual)
{
    if (tower->activation != usual->activation)
        clip_json_set(object, "activation", json_string(clip_activation_key(tower->activation)));
    if (tower->norm_eps != usual->norm_eps)
        clip_json_set(object, "norm_eps", json_real(tower->norm_eps));
    for (int i = 0; i < CLIP_TOWER_PROPERTIES; i++) {
        const struct clip_tower_property *p = &clip_tower_properties[i];
        int value = clip_tower_get(tower, p);
        if (value == clip_tower_get(usual, p)) continue;
        clip_json_set(object, p->name,
                      p->choices != NULL ? json_string(p->choices(value)) : json_boolean(value));
    }
}

void clip_tower_read(struct clip_json_parser *parser, struct clip_tower *tower)
{
    int activation = (int)tower->activation - CLIP_GELU;
    activation = clip_json_choice(parser, "activation", activations, activation);
    tower->activation = (enum clip_activation)(activation + CLIP_GELU);
    clip_json_real(parser, "norm_eps", &tower->norm_eps);
    for (int i = 0; i < CLIP_TOWER_PROPERTIES; i++) {
        const struct clip_tower_property *p = &clip_tower_properties[i];
        int value = clip_tower_get(tower, p);
        bool yes = value != 0;
        if (p->choices != NULL) {
            value = clip_json_name(parser, p->name, p->choices, value);
        } else {
            clip_json_bool(parser, p->name, &yes);
            value = yes;
        }
        clip_tower_set(tower, p, value);
    }
}

void clip_tower_known(struct clip_json_parser *parser, const char *const *known)
{
    const char *all[64] = {"activation", "norm_eps"};
    size_t n = 2;
    for (int i = 0; i < CLIP_TOWER_PROPERTIES; i++) all[n++] = clip_tower_properties[i].name;
    while (*known != NULL && n + 1 < sizeof all / sizeof all[0]) all[n++] = *known++;
    assert(*known == NULL);
    clip_json_known(parser, all);
}
