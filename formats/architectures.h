/* The architectures that configurations and other projects have a name for, as descriptions of both
 * towers: a name is read into a description here, and a description is given its name. Everything
 * else asks the description (model/tower.h). */
#ifndef CLIP_FORMATS_ARCHITECTURES_H
#define CLIP_FORMATS_ARCHITECTURES_H

#include "formats/description_parser.h"
#include "model/model.h"

/*   CLIP    Radford et al. 2021; transformers' CLIPModel, open_clip's CLIP
 *   SIGLIP  Zhai et al. 2023; transformers' SiglipModel: patches have a bias and no class row
 *           before them, attention pools them and no projection follows; texts are whole rows
 *           without a causal mask, pooled at the last, and their projection has a bias
 *   OTHER   towers that no project's name stands for */
enum clip_architecture {
    CLIP_ARCHITECTURE_CLIP,
    CLIP_ARCHITECTURE_SIGLIP,
    CLIP_ARCHITECTURE_OTHER,
};
/* As configurations and descriptions write it: "clip", "siglip"; NULL for OTHER (core/choice.h). */
const char *clip_architecture_name(int architecture);
/* "CLIP", "SigLIP", or "model of its own towers", for a person to read. */
const char *clip_architecture_title(enum clip_architecture architecture);
/* Gives both towers the architecture's kind; sizes, activations and norm_eps stay. Not OTHER. */
void clip_architecture_apply(struct clip_model_config *config, enum clip_architecture architecture);
enum clip_architecture clip_architecture_of(const struct clip_model_config *config);

/* "gelu", "quick_gelu", "gelu_tanh" */
const char *clip_activation_key(enum clip_activation activation);

/* How configurations and descriptions say the activations of both towers: all false is GELU. */
struct clip_activation_keys {
    bool quick_gelu;     /* x sigmoid(1.702 x) in both */
    bool gelu_tanh;      /* GELU's tanh form in both; not with quick_gelu */
    bool text_gelu_tanh; /* the same in the text tower alone */
};
/* The keys that say it, or what comes nearest where the towers have others: the vision tower's. */
struct clip_activation_keys clip_activation_keys(const struct clip_model_config *config);
clip_status clip_activation_apply(struct clip_model_config *config,
                                  struct clip_activation_keys keys, struct clip_error *error);

/* A tower's keys of ours in vision_cfg and text_cfg: "activation", "norm_eps" and the names of
 * clip_tower_properties. Written is what `usual`, which the keys around it say, has otherwise; read
 * is what is there; *object is NULL then if memory was short (clip_json_set). */
void clip_tower_write(json_t **object, const struct clip_tower *tower,
                      const struct clip_tower *usual);
void clip_tower_read(struct clip_json_parser *p, struct clip_tower *tower);
/* clip_json_known, a tower's keys being known too. */
void clip_tower_known(struct clip_json_parser *p, const char *const *known);

#endif
