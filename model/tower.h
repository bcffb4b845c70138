/* A transformer, described: numbers and choices say what it computes, never the name of the project
 * that it comes from. Both towers of a model have such a description, and code that needs to know
 * something asks it (tower->causal). A new family of models is a new description; an op is added
 * only if its arithmetic is new.
 *
 * A tower's rows go through it like this; parts that the description lacks are left out:
 *
 *   images   patches (+ patch_bias), a class row in front, + positions     [B*(K+1),W]
 *   texts    token embeddings + positions, packed without padding          [T,W]
 *   then     embed_norm -> blocks -> pooling with final_norm [B,W] -> projection [B,E]
 *
 * If a later family adds something to its rows (a row for each kind of segment, positions that
 * begin at another number) or to a branch (a learned scale), that is one more field here, one more
 * parameter in the list of model.c, and one line in transformer.c. */
#ifndef CLIP_MODEL_TOWER_H
#define CLIP_MODEL_TOWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/choice.h"
#include "kernels/kernels.h"

/* Which of a sequence's rows becomes its feature. */
enum clip_pooling {
    CLIP_POOL_FIRST, /* an image's class row; a text's first token ([CLS]) */
    CLIP_POOL_END,   /* a text's end token: the last row, since texts are packed */
    CLIP_POOL_LAST,  /* the last row, whatever it is */
    CLIP_POOL_MEAN,  /* the mean of all rows */
    /* attention of one learned query to all rows, then x + mlp(LN(x)) (SigLIP) */
    CLIP_POOL_ATTENTION,
};

enum clip_projection {
    CLIP_PROJECT_NONE,   /* the pooled row is the feature, so that width is embed_dim */
    CLIP_PROJECT_MATRIX, /* x w, w [W,E] */
    CLIP_PROJECT_LINEAR, /* x w^T + b, w [E,W] */
};

struct clip_tower {
    int64_t width, layers, heads;
    double mlp_ratio; /* the MLP's hidden width = (int64_t)(width * mlp_ratio) */
    enum clip_activation activation;
    double norm_eps; /* of every LayerNorm */
    /* Its kind, which clip_tower_properties lists. */
    bool post_norm;  /* a branch of a block is y = LN(x + branch(x)); else y = x + branch(LN(x)) */
    bool causal;     /* no row sees a later one */
    bool embed_norm; /* a LayerNorm over the embeddings (ln_pre) */
    bool final_norm; /* a LayerNorm after the blocks (ln_post, ln_final) */
    enum clip_pooling pooling;
    enum clip_projection projection;
    /* only for images */
    bool class_row;  /* a learned row in front of the patches */
    bool patch_bias; /* patches are embedded with a bias */
    /* image_size need not be a multiple of patch_size: pixels left over at the right and at the
     * bottom are not read */
    bool uneven;
    /* only for texts */
    bool whole_rows; /* texts are padded to context_length, and padding is read like any token */
};

/* The towers of CLIP (Radford et al. 2021), without sizes. */
extern const struct clip_tower clip_vision_tower, clip_text_tower;

/* The properties that make up a tower's kind, by name ("causal"): each is a bool, or the number of
 * one of `choices`. */
struct clip_tower_property {
    const char *name;
    size_t offset;
    clip_name_fn *choices; /* NULL: a bool */
};
enum { CLIP_TOWER_PROPERTIES = 10 };
extern const struct clip_tower_property clip_tower_properties[CLIP_TOWER_PROPERTIES];
int clip_tower_get(const struct clip_tower *tower, const struct clip_tower_property *property);
void clip_tower_set(struct clip_tower *tower, const struct clip_tower_property *property,
                    int value);

/* Makes `tower` the same kind as another; its size, activation and norm_eps stay. */
void clip_tower_become(struct clip_tower *tower, const struct clip_tower *kind);
/* The first property in which their kinds differ; NULL if they are of the same kind. */
const struct clip_tower_property *clip_tower_differs(const struct clip_tower *a,
                                                     const struct clip_tower *b);

/* The hidden width of a block's MLP. */
static inline int64_t clip_tower_hidden(const struct clip_tower *tower)
{
    return (int64_t)((double)tower->width * tower->mlp_ratio);
}
/* The ratio that gives an MLP exactly this hidden width. */
double clip_tower_mlp_ratio(int64_t width, int64_t hidden);

#endif
