/* Presets and checks of a model's description. */
#include <math.h>
#include <string.h>

#include "core/choice.h"
#include "core/count.h"
#include "model/loss.h"

/* Radford et al. 2021, table 20; open_clip's model_configs of the same names. */
static const struct preset {
    const char *name;
    int64_t embed_dim, patch_size, vision_width, vision_layers, text_width, text_heads;
} presets[] = {
    {"vit-b-32", 512, 32, 768, 12, 512, 8},
    {"vit-b-16", 512, 16, 768, 12, 512, 8},
    {"vit-l-14", 768, 14, 1024, 24, 768, 12},
};

const char *clip_recompute_name(int recompute)
{
    static const char *const names[] = {
        [CLIP_RECOMPUTE_NONE] = "none",
        [CLIP_RECOMPUTE_MLP] = "mlp",
        [CLIP_RECOMPUTE_BLOCK] = "block",
    };
    return CLIP_NAME_OF(names, recompute);
}

static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_std[3] = {0.26862954f, 0.26130258f, 0.27577711f};

const char *clip_model_preset_name(int preset)
{
    return preset >= 0 && preset < (int)(sizeof presets / sizeof *presets) ? presets[preset].name
                                                                           : NULL;
}

static void set_size(struct clip_tower *tower, int64_t width, int64_t layers, int64_t heads)
{
    tower->width = width;
    tower->layers = layers;
    tower->heads = heads;
    tower->mlp_ratio = 4;
}

clip_status clip_model_preset(struct clip_model_config *config, const char *name,
                              struct clip_error *error)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        const struct preset *p = &presets[i];
        if (strcmp(p->name, name) != 0) continue;
        *config = (struct clip_model_config){
            .embed_dim = p->embed_dim,
            .image_size = 224,
            .patch_size = p->patch_size,
            .vision = clip_vision_tower,
            .context_length = 77,
            .vocab_size = 49408,
            .text = clip_text_tower,
        };
        set_size(&config->vision, p->vision_width, p->vision_layers, p->vision_width / 64);
        set_size(&config->text, p->text_width, 12, p->text_heads);
        memcpy(config->image_mean, clip_mean, sizeof clip_mean);
        memcpy(config->image_std, clip_std, sizeof clip_std);
        return CLIP_OK;
    }
    char all[64];
    return clip_fail(error, CLIP_ERR_USAGE, "there is no preset \"%s\"; expected one of %s", name,
                     clip_choice_list(clip_model_preset_name, "|", all, sizeof all));
}

int64_t clip_model_image_rows(const struct clip_model_config *c)
{
    int64_t grid = c->image_size / c->patch_size;
    return grid * grid + (c->vision.class_row ? 1 : 0);
}

static clip_status check_range(const char *what, int64_t value, int64_t most,
                               struct clip_error *error)
{
    if (value >= 1 && value <= most) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA, "a model's %s is %lld; expected 1 to %lld", what,
                     (long long)value, (long long)most);
}

static clip_status check_tower(const char *name, const struct clip_tower *t, int64_t embed_dim,
                               struct clip_error *error)
{
    if (t->heads < 1 || t->width % t->heads != 0)
        return clip_fail(error, CLIP_ERR_DATA, "the %s width %lld is not a multiple of its %s",
                         name, (long long)t->width, CLIP_COUNT(t->heads, "head"));
    if (!(t->mlp_ratio > 0 && t->mlp_ratio <= 64) || clip_tower_hidden(t) < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "the %s mlp_ratio %g is not usable; expected a number such as 4", name,
                         t->mlp_ratio);
    if (!(t->norm_eps > 0 && t->norm_eps <= 0.1))
        return clip_fail(error, CLIP_ERR_DATA,
                         "the %s norm_eps is %g; expected a small number, as 1e-5", name,
                         t->norm_eps);
    if (t->activation == CLIP_NO_ACTIVATION)
        return clip_fail(error, CLIP_ERR_DATA, "the %s tower's activation is not said", name);
    if (t->projection == CLIP_PROJECT_NONE && t->width != embed_dim)
        return clip_fail(error, CLIP_ERR_DATA,
                         "a %s tower without a projection has the width of embed_dim, but they are "
                         "%lld and %lld",
                         name, (long long)t->width, (long long)embed_dim);
    return CLIP_OK;
}

/* Refuses kinds of towers that make no sense. */
static clip_status check_kinds(const struct clip_tower *vision, const struct clip_tower *text,
                               struct clip_error *error)
{
    const struct {
        bool is;
        const char *what;
    } cases[] = {
        {vision->pooling == CLIP_POOL_END,
         "a vision tower cannot be pooled at the end token, which images have not"},
        {vision->pooling == CLIP_POOL_FIRST && !vision->class_row,
         "a vision tower is pooled at its first row and has no class row there"},
        {vision->whole_rows, "whole_rows is of text towers, and a vision tower has it"},
        {text->pooling == CLIP_POOL_END && text->whole_rows,
         "a text tower of whole rows, whose padding is read, is not pooled at the end token"},
        {text->class_row || text->patch_bias || text->uneven,
         "class_row, patch_bias and uneven are of vision towers, and a text tower has one of them"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (cases[i].is) return clip_fail(error, CLIP_ERR_DATA, "%s", cases[i].what);
    return CLIP_OK;
}

clip_status clip_model_config_check(const struct clip_model_config *c, struct clip_error *error)
{
    clip_status status;
    const struct {
        const char *what;
        int64_t value, most;
    } ranges[] = {
        {"embed_dim", c->embed_dim, 65536},        {"image_size", c->image_size, 4096},
        {"patch_size", c->patch_size, 4096},       {"vision_width", c->vision.width, 65536},
        {"vision_layers", c->vision.layers, 1024}, {"context_length", c->context_length, 65536},
        {"vocab_size", c->vocab_size, 16777216},   {"text_width", c->text.width, 65536},
        {"text_layers", c->text.layers, 1024},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        CLIP_TRY(check_range(ranges[i].what, ranges[i].value, ranges[i].most, error));
    if (c->image_size < c->patch_size || (!c->vision.uneven && c->image_size % c->patch_size != 0))
        return clip_fail(error, CLIP_ERR_DATA,
                         "image_size %lld is not a multiple of patch_size %lld",
                         (long long)c->image_size, (long long)c->patch_size);
    if (c->context_length < 3)
        return clip_fail(
            error, CLIP_ERR_DATA,
            "context_length %lld leaves no room for a word between start and end of text",
            (long long)c->context_length);
    CLIP_TRY(clip_loss_check(clip_loss_of(c), c, error));
    CLIP_TRY(check_tower("vision", &c->vision, c->embed_dim, error));
    CLIP_TRY(check_tower("text", &c->text, c->embed_dim, error));
    CLIP_TRY(check_kinds(&c->vision, &c->text, error));
out:
    return status;
}

/* The multiply-adds of a tower over `sequences` sequences with `rows` rows in all, of mean length
 * `length`: its blocks, its pooling and its projection. */
static double tower_macs(const struct clip_tower *t, double sequences, double rows, double length,
                         int64_t embed_dim)
{
    double w = (double)t->width,
           pairs = sequences * length * (t->causal ? (length + 1) / 2 : length);
    double macs = (double)t->layers * (rows * w * w * (4 + 2 * t->mlp_ratio) + 2 * pairs * w);
    if (t->pooling == CLIP_POOL_ATTENTION)
        macs += rows * (2 * w * w + 2 * w) + sequences * w * w * (1 + 2 * t->mlp_ratio);
    if (t->projection != CLIP_PROJECT_NONE) macs += sequences * w * (double)embed_dim;
    return macs;
}

double clip_model_flops(const struct clip_model_config *c, int64_t batch, int64_t tokens,
                        bool backward)
{
    double grid = (double)(c->image_size / c->patch_size), patches = grid * grid, b = (double)batch;
    double rows = (double)clip_model_image_rows(c), t = (double)tokens;
    double macs = b * patches * 3 * (double)(c->patch_size * c->patch_size) *
                  (double)c->vision.width;
    macs += tower_macs(&c->vision, b, b * rows, rows, c->embed_dim);
    macs += tower_macs(&c->text, b, t, batch > 0 ? t / b : 0, c->embed_dim);
    macs += b * b * (double)c->embed_dim; /* the logits */
    return 2 * macs * (backward ? 3 : 1);
}
