/* Presets and checks of a model's description. */
#include <math.h>
#include <string.h>

#include "core/choice.h"
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
            .vision_width = p->vision_width,
            .vision_layers = p->vision_layers,
            .vision_heads = p->vision_width / 64,
            .vision_mlp_ratio = 4,
            .context_length = 77,
            .vocab_size = 49408,
            .text_width = p->text_width,
            .text_layers = 12,
            .text_heads = p->text_heads,
            .text_mlp_ratio = 4,
        };
        memcpy(config->image_mean, clip_mean, sizeof clip_mean);
        memcpy(config->image_std, clip_std, sizeof clip_std);
        return CLIP_OK;
    }
    char all[64];
    return clip_fail(error, CLIP_ERR_USAGE, "there is no preset \"%s\"; expected one of %s", name,
                     clip_choice_list(clip_model_preset_name, "|", all, sizeof all));
}

enum clip_activation clip_vision_activation(const struct clip_model_config *c)
{
    return c->quick_gelu ? CLIP_QUICK_GELU : c->gelu_tanh ? CLIP_GELU_TANH : CLIP_GELU;
}

enum clip_activation clip_text_activation(const struct clip_model_config *c)
{
    return c->text_gelu_tanh && !c->quick_gelu ? CLIP_GELU_TANH : clip_vision_activation(c);
}

double clip_model_norm_eps(const struct clip_model_config *c)
{
    return c->norm_eps > 0 ? c->norm_eps : 1e-5;
}

int64_t clip_model_image_rows(const struct clip_model_config *c)
{
    int64_t grid = c->image_size / c->patch_size;
    return grid * grid + (c->siglip ? 0 : 1);
}

double clip_model_mlp_ratio(int64_t width, int64_t hidden)
{
    double ratio = (double)hidden / (double)width;
    while ((int64_t)((double)width * ratio) < hidden)
        ratio = nextafter(ratio, INFINITY); /* the product was rounded down */
    return ratio;
}

static clip_status check_range(const char *what, int64_t value, int64_t most,
                               struct clip_error *error)
{
    if (value >= 1 && value <= most) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_DATA, "a model's %s is %lld; expected 1 to %lld", what,
                     (long long)value, (long long)most);
}

static clip_status check_tower(const char *tower, int64_t width, int64_t heads, double ratio,
                               struct clip_error *error)
{
    if (heads < 1 || width % heads != 0)
        return clip_fail(error, CLIP_ERR_DATA,
                         "the %s width %lld is not a multiple of its %lld heads", tower,
                         (long long)width, (long long)heads);
    if (!(ratio > 0 && ratio <= 64) || (int64_t)((double)width * ratio) < 1)
        return clip_fail(error, CLIP_ERR_DATA,
                         "the %s mlp_ratio %g is not usable; expected a number such as 4", tower,
                         ratio);
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
        {"patch_size", c->patch_size, 4096},       {"vision_width", c->vision_width, 65536},
        {"vision_layers", c->vision_layers, 1024}, {"context_length", c->context_length, 65536},
        {"vocab_size", c->vocab_size, 16777216},   {"text_width", c->text_width, 65536},
        {"text_layers", c->text_layers, 1024},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        CLIP_TRY(check_range(ranges[i].what, ranges[i].value, ranges[i].most, error));
    if (c->siglip && c->embed_dim != c->vision_width)
        return clip_fail(error, CLIP_ERR_DATA,
                         "a SigLIP's embed_dim is its vision width, but they are %lld and %lld",
                         (long long)c->embed_dim, (long long)c->vision_width);
    if (c->quick_gelu && (c->gelu_tanh || c->text_gelu_tanh))
        return clip_fail(error, CLIP_ERR_DATA, "quick_gelu and %sgelu_tanh exclude each other",
                         c->gelu_tanh ? "" : "text_");
    if (!(c->norm_eps >= 0 && c->norm_eps <= 0.1))
        return clip_fail(error, CLIP_ERR_DATA, "norm_eps is %g; expected a small number, as 1e-5",
                         c->norm_eps);
    if (c->image_size < c->patch_size || (!c->siglip && c->image_size % c->patch_size != 0))
        return clip_fail(error, CLIP_ERR_DATA,
                         "image_size %lld is not a multiple of patch_size %lld",
                         (long long)c->image_size, (long long)c->patch_size);
    if (c->context_length < 3)
        return clip_fail(
            error, CLIP_ERR_DATA,
            "context_length %lld leaves no room for a word between start and end of text",
            (long long)c->context_length);
    CLIP_TRY(clip_loss_check(clip_loss_of(c), c, error));
    CLIP_TRY(check_tower("vision", c->vision_width, c->vision_heads, c->vision_mlp_ratio, error));
    CLIP_TRY(check_tower("text", c->text_width, c->text_heads, c->text_mlp_ratio, error));
out:
    return status;
}

/* Multiply-adds of the blocks of one tower over `rows` rows in all, `pairs` query-key pairs a head.
 */
static double tower_macs(int64_t width, int64_t layers, double ratio, double rows, double pairs)
{
    double w = (double)width;
    return (double)layers * (rows * w * w * (4 + 2 * ratio) + 2 * pairs * w);
}

double clip_model_flops(const struct clip_model_config *c, int64_t batch, int64_t tokens,
                        bool backward)
{
    double grid = (double)(c->image_size / c->patch_size), patches = grid * grid, b = (double)batch;
    double rows = (double)clip_model_image_rows(c), w = (double)c->vision_width;
    double t = (double)tokens, mean = batch > 0 ? t / b : 0;
    double macs = tower_macs(c->vision_width, c->vision_layers, c->vision_mlp_ratio, b * rows,
                             b * rows * rows);
    if (c->siglip)
        macs += b * rows * (2 * w * w + 2 * w) + b * w * w * (1 + 2 * c->vision_mlp_ratio);
    macs += b * patches * 3 * (double)(c->patch_size * c->patch_size) * (double)c->vision_width;
    macs += tower_macs(c->text_width, c->text_layers, c->text_mlp_ratio, t,
                       b * mean * (c->siglip ? mean : (mean + 1) / 2));
    macs += b * (double)c->embed_dim * (double)((c->siglip ? 0 : c->vision_width) + c->text_width);
    macs += b * b * (double)c->embed_dim;
    return 2 * macs * (backward ? 3 : 1);
}
