#include "model/tower.h"

#include <math.h>
#include <string.h>

const struct clip_tower clip_vision_tower = {
    .activation = CLIP_GELU,
    .norm_eps = 1e-5,
    .embed_norm = true,
    .final_norm = true,
    .pooling = CLIP_POOL_FIRST,
    .projection = CLIP_PROJECT_MATRIX,
    .class_row = true,
};

const struct clip_tower clip_text_tower = {
    .activation = CLIP_GELU,
    .norm_eps = 1e-5,
    .causal = true,
    .final_norm = true,
    .pooling = CLIP_POOL_END,
    .projection = CLIP_PROJECT_MATRIX,
};

static const char *pooling_name(int pooling)
{
    static const char *const names[] = {
        [CLIP_POOL_FIRST] = "first",         [CLIP_POOL_END] = "end",
        [CLIP_POOL_LAST] = "last",           [CLIP_POOL_MEAN] = "mean",
        [CLIP_POOL_ATTENTION] = "attention",
    };
    return CLIP_NAME_OF(names, pooling);
}

static const char *projection_name(int projection)
{
    static const char *const names[] = {
        [CLIP_PROJECT_NONE] = "none",
        [CLIP_PROJECT_MATRIX] = "matrix",
        [CLIP_PROJECT_LINEAR] = "linear",
    };
    return CLIP_NAME_OF(names, projection);
}

#define PROPERTY(name, choices)                                                                    \
    {                                                                                              \
#name, offsetof(struct clip_tower, name), choices                                          \
    }
const struct clip_tower_property clip_tower_properties[CLIP_TOWER_PROPERTIES] = {
    PROPERTY(post_norm, NULL),       PROPERTY(causal, NULL),
    PROPERTY(embed_norm, NULL),      PROPERTY(final_norm, NULL),
    PROPERTY(pooling, pooling_name), PROPERTY(projection, projection_name),
    PROPERTY(class_row, NULL),       PROPERTY(patch_bias, NULL),
    PROPERTY(uneven, NULL),          PROPERTY(whole_rows, NULL),
};
_Static_assert(sizeof(enum clip_pooling) == sizeof(int) &&
                   sizeof(enum clip_projection) == sizeof(int),
               "a choice is read and written as an int");

int clip_tower_get(const struct clip_tower *tower, const struct clip_tower_property *property)
{
    const char *at = (const char *)tower + property->offset;
    int value;
    if (property->choices == NULL) return *(const bool *)at;
    memcpy(&value, at, sizeof value);
    return value;
}

void clip_tower_set(struct clip_tower *tower, const struct clip_tower_property *property, int value)
{
    char *at = (char *)tower + property->offset;
    if (property->choices == NULL)
        *(bool *)at = value != 0;
    else
        memcpy(at, &value, sizeof value);
}

void clip_tower_become(struct clip_tower *tower, const struct clip_tower *kind)
{
    for (int i = 0; i < CLIP_TOWER_PROPERTIES; i++) {
        const struct clip_tower_property *p = &clip_tower_properties[i];
        clip_tower_set(tower, p, clip_tower_get(kind, p));
    }
}

const struct clip_tower_property *clip_tower_differs(const struct clip_tower *a,
                                                     const struct clip_tower *b)
{
    for (int i = 0; i < CLIP_TOWER_PROPERTIES; i++) {
        const struct clip_tower_property *p = &clip_tower_properties[i];
        if (clip_tower_get(a, p) != clip_tower_get(b, p)) return p;
    }
    return NULL;
}

double clip_tower_mlp_ratio(int64_t width, int64_t hidden)
{
    double ratio = (double)hidden / (double)width;
    while ((int64_t)((double)width * ratio) < hidden)
        ratio = nextafter(ratio, INFINITY); /* the product was rounded down */
    return ratio;
}
