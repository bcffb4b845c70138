/* Reading a model's files: weights, then what describes them. */
#include <stdlib.h>
#include <string.h>

#include "checkpoints/gguf.h"
#include "core/count.h"
#include "formats/architectures.h"
#include "formats/families.h"
#include "formats/model_file.h"
#include "formats/model_source.h"
#include "formats/timm.h"

#define FORMAT "clip.c 1"
#define CONFIG_LIMIT ((size_t)16 << 20) /* bytes of a config.json */

void clip_model_reading_release(struct clip_model_reading *reading)
{
    clip_bundle_release(&reading->bundle);
    *reading = (struct clip_model_reading){0};
}

/* ---- Native files ---- */

static clip_status read_native(const char *path, bool raw, struct clip_model_reading *out,
                               struct clip_error *error)
{
    static const char *const prefixes[] = {"ema/", "model/"};
    clip_status status = CLIP_OK;
    int first = raw ? 1 : 0, chosen;
    CLIP_TRY(clip_hdf5_read_first(path, prefixes + first, 2 - first, &chosen, &out->bundle, error));
    const struct clip_bundle_text *format = clip_bundle_text(&out->bundle, "format");
    const struct clip_bundle_text *config = clip_bundle_text(&out->bundle, "config");
    if (format != NULL && strcmp(format->value, FORMAT) != 0) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "%s: the checkpoint is of format \"%s\" and this program reads "
                           "\"" FORMAT "\"; use the clip.c that wrote it, or a newer one",
                           path, format->value));
    }
    if (chosen < 0 || config == NULL) {
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s: the file holds no model (no \"model\" group or no \"config\"); "
                           "give a checkpoint that clip_train or clip_export wrote",
                           path));
    }
    out->from.prefix = prefixes[first + chosen];
    out->from.layout = CLIP_LAYOUT_OPEN_CLIP;
    CLIP_TRY(
        clip_model_description_parse(config->value, config->size, path, &out->description, error));
out:
    return status;
}

/* ---- Other projects' ---- */

static bool is_gguf(const char *path)
{
    if (clip_path_has_suffix(path, ".safetensors") || clip_torch_is(path)) return false;
    return clip_path_has_suffix(path, ".gguf") || clip_gguf_is(path);
}

static clip_status read_file(const char *path, struct clip_bundle *out, struct clip_error *error)
{
    if (clip_path_has_suffix(path, ".safetensors")) return clip_safetensors_read(path, out, error);
    if (clip_torch_is(path)) return clip_torch_read(path, out, error);
    if (clip_safetensors_is(path)) return clip_safetensors_read(path, out, error);
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "%s: this is no file of weights that can be read; give a .h5 of clip_train, a "
                     ".safetensors, or a .pt or .bin of PyTorch",
                     path);
}

/* What training adds before each name: DistributedDataParallel, torch.compile. */
static clip_status find_names(const char *path, struct clip_model_reading *out,
                              struct clip_error *error)
{
    static const char *const prefixes[] = {
        "", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.",
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        out->from.prefix = prefixes[i];
        if (clip_layout_find(&out->bundle, prefixes[i], &out->from.layout)) return CLIP_OK;
    }
    return clip_fail(
        error, CLIP_ERR_DATA,
        "%s: it has %s, and none of the names that a CLIP's weights have with open_clip "
        "(visual.conv1.weight) or Hugging Face (vision_model.embeddings.patch_embedding.weight)",
        path, CLIP_COUNT(out->bundle.tensor_count, "tensor"));
}

static clip_status parse_config(const char *path, enum clip_model_config_kind kind,
                                struct clip_model_description *out, struct clip_error *error)
{
    struct clip_buffer text = {0};
    clip_status status = clip_file_read(path, CONFIG_LIMIT, &text, error);
    if (status == CLIP_OK) {
        status =
            kind == CLIP_CONFIG_HUGGINGFACE
                ? clip_model_description_parse_huggingface(text.data, text.size, path, out, error)
                : clip_model_description_parse(text.data, text.size, path, out, error);
    }
    clip_buffer_release(&text);
    return status;
}

typedef clip_status preprocessing_parse_fn(const char *json, size_t n, const char *name,
                                           struct clip_model_description *description, bool *found,
                                           struct clip_error *error);

/* folder/name, where it is there; *found: it says how images are prepared. */
static clip_status read_preprocessing_file(const char *folder, const char *name,
                                           preprocessing_parse_fn *parse,
                                           struct clip_model_description *d, bool *found,
                                           struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    char *path = clip_path_join(folder, name, error);
    if (path == NULL) return error->status;
    if (!clip_path_exists(path)) goto out;
    CLIP_TRY(clip_file_read(path, CONFIG_LIMIT, &text, error));
    CLIP_TRY(parse(text.data, text.size, path, d, found, error));
out:
    clip_buffer_release(&text);
    free(path);
    return status;
}

/* processor_config.json counts more than preprocessor_config.json, as in transformers, which wrote
 * the latter alone before its version 5. */
static clip_status read_preprocessing(const char *folder, struct clip_model_reading *out,
                                      struct clip_error *error)
{
    clip_status status = CLIP_OK;
    bool found = false;
    struct clip_model_description *d = &out->description;
    CLIP_TRY(read_preprocessing_file(folder, "processor_config.json", clip_processor_parse, d,
                                     &found, error));
    if (found) goto out;
    CLIP_TRY(read_preprocessing_file(folder, "preprocessor_config.json", clip_preprocessor_parse, d,
                                     &found, error));
    if (found) goto out;
    bool siglip = d->preprocess.resize_mode == CLIP_RESIZE_SQUASH;
    clip_log_write(
        out->log, CLIP_LOG_WARNING,
        "%s has neither a preprocessor_config.json nor a processor_config.json that says "
        "how images are prepared; assuming %s mean and std, bicubic, %s; images are "
        "embedded wrongly if the model was trained otherwise",
        folder, siglip ? "SigLIP's" : "CLIP's",
        siglip ? "both sides resized" : "the shortest side resized, centre cropped");
out:
    return status;
}

/* For a file that was named by itself: what lies beside it and fits its names. */
static clip_status find_beside(const struct clip_model_source *source, enum clip_layout layout,
                               char **config, enum clip_model_config_kind *kind,
                               struct clip_error *error)
{
    bool theirs = layout == CLIP_LAYOUT_HUGGINGFACE;
    const char *name = theirs ? "config.json" : "open_clip_config.json";
    *kind = theirs ? CLIP_CONFIG_HUGGINGFACE : CLIP_CONFIG_OPEN_CLIP;
    *config = clip_path_join(source->folder, name, error);
    if (*config == NULL) return error->status;
    if (clip_path_exists(*config)) return CLIP_OK;
    free(*config);
    *config = NULL;
    *kind = CLIP_CONFIG_NONE;
    return CLIP_OK;
}

/* OpenAI published its models as TorchScript archives, and nobody else did. */
static bool is_openai(const struct clip_model_reading *reading)
{
    const struct clip_bundle_text *archive = clip_bundle_text(&reading->bundle, "archive");
    return archive != NULL && strcmp(archive->value, "torchscript") == 0;
}

/* A SigLIP's: activation and epsilon are those of the published models of its sizes. */
static void assume_siglip(struct clip_model_description *d, enum clip_layout layout)
{
    struct clip_model_config *c = &d->config;
    const struct clip_timm_tower *known = clip_timm_like(c);
    bool timm = layout == CLIP_LAYOUT_TIMM_SIGLIP;
    bool tanh = !timm || (known != NULL && known->gelu_tanh),
         second = c->vocab_size == 256000; /* SigLIP 2 */
    c->vision.activation = tanh ? CLIP_GELU_TANH : CLIP_GELU;
    c->text.activation = tanh || second ? CLIP_GELU_TANH : CLIP_GELU;
    c->vision.norm_eps = c->text.norm_eps = 1e-6;
    clip_model_description_siglip(d);
    clip_model_description_unify(d);
    d->ids.pad = 1;
    if (timm) d->cleaning = CLIP_TEXT_CANONICALIZE;
}

/* Heads come from nowhere else when there is only a file of weights, nor does the activation. */
static clip_status assume(const char *path, struct clip_model_reading *out,
                          struct clip_error *error)
{
    struct clip_model_description *d = &out->description;
    bool theirs = out->from.layout == CLIP_LAYOUT_HUGGINGFACE;
    const char *beside = theirs ? "config.json" : "open_clip_config.json";
    char activation[CLIP_ACTIVATION_TEXT];
    clip_status status = clip_model_description_infer(&out->from, path, d, error);
    if (status != CLIP_OK) return status;
    if (d->config.vision.width % 64 != 0 || d->config.text.width % 64 != 0) {
        return clip_fail(error, CLIP_ERR_DATA,
                         "%s: the file does not say how many attention heads the model has; put "
                         "its %s beside it",
                         path, beside);
    }
    enum clip_architecture architecture = clip_architecture_of(&d->config);
    bool clip = architecture == CLIP_ARCHITECTURE_CLIP;
    bool quick_gelu = clip && (theirs || is_openai(out)); /* each project's default */
    if (quick_gelu) d->config.vision.activation = d->config.text.activation = CLIP_QUICK_GELU;
    if (architecture == CLIP_ARCHITECTURE_SIGLIP) assume_siglip(d, out->from.layout);
    if (is_openai(out)) return CLIP_OK; /* all of which are known: heads, QuickGELU, mean, std */
    if (theirs) {
        d->cleaning = CLIP_TEXT_HUGGINGFACE;
        d->preprocess.crop = clip ? CLIP_CROP_HUGGINGFACE : CLIP_CROP_OPEN_CLIP;
        if (clip) d->ids.pad = d->config.vocab_size - 1;
    }
    clip_log_write(out->log, CLIP_LOG_WARNING,
                   "%s has no description; assuming %lld and %s, %s%s, %s's mean and std; its %s "
                   "beside it would say",
                   path, (long long)d->config.vision.heads,
                   CLIP_COUNT(d->config.text.heads, "head"),
                   clip_model_activation(&d->config, activation),
                   !clip        ? ""
                   : quick_gelu ? " (not GELU)"
                                : " (not QuickGELU)",
                   clip_architecture_title(architecture), beside);
    return CLIP_OK;
}

/* Whatever preset describes it: OpenAI's weights were trained with QuickGELU. */
static void correct_activation(const char *weights, const char *config,
                               struct clip_model_reading *out)
{
    struct clip_model_description *d = &out->description;
    enum clip_activation *vision = &d->config.vision.activation, *text = &d->config.text.activation;
    if (*vision == CLIP_QUICK_GELU && *text == CLIP_QUICK_GELU) return;
    *vision = *text = CLIP_QUICK_GELU;
    clip_log_write(
        out->log, CLIP_LOG_WARNING,
        "%s says GELU, but %s is an archive of OpenAI's, whose weights were trained with "
        "QuickGELU; taking QuickGELU (\"quick_gelu\": true in the description says so too)",
        config, weights);
}

static clip_status describe(const struct clip_model_source *source, struct clip_model_reading *out,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_bundle_text *own = clip_bundle_text(&out->bundle, "config");
    enum clip_model_config_kind kind = source->kind;
    char *beside = NULL;
    if (kind == CLIP_CONFIG_NONE && own != NULL) {
        if (out->from.layout != CLIP_LAYOUT_GGUF) out->format = NULL; /* clip_export's */
        return clip_model_description_parse(own->value, own->size, source->weights,
                                            &out->description, error);
    }
    if (kind == CLIP_CONFIG_NONE && !is_openai(out))
        CLIP_TRY(find_beside(source, out->from.layout, &beside, &kind, error));
    if (kind == CLIP_CONFIG_NONE) {
        CLIP_TRY(assume(source->weights, out, error));
    } else {
        const char *config = beside != NULL ? beside : source->config;
        CLIP_TRY(parse_config(config, kind, &out->description, error));
        if (is_openai(out)) correct_activation(source->weights, config, out);
    }
    if (kind == CLIP_CONFIG_HUGGINGFACE) CLIP_TRY(read_preprocessing(source->folder, out, error));
out:
    free(beside);
    return status;
}

/* A family that is not read is named by its config, before its weights are looked at. */
static clip_status refuse_family(const struct clip_model_source *source, struct clip_error *error)
{
    if (source->kind == CLIP_CONFIG_NONE) return CLIP_OK;
    json_t *root = clip_json_read(source->config, CONFIG_LIMIT, error);
    if (root == NULL) return error->status;
    const char *family = source->kind == CLIP_CONFIG_HUGGINGFACE ? clip_family_of_huggingface(root)
                                                                 : clip_family_of_open_clip(root);
    clip_status status = clip_family_refuse(family, source->config, error);
    json_decref(root);
    return status;
}

clip_status clip_model_source_read(const struct clip_model_source *source, bool raw,
                                   const struct clip_log *log, struct clip_model_reading *out,
                                   struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *path = source->weights;
    *out = (struct clip_model_reading){.from = {.bundle = &out->bundle, .prefix = ""}, .log = log};
    CLIP_TRY(refuse_family(source, error));
    if (clip_path_has_suffix(path, ".index.json"))
        CLIP_TRY(clip_shards_read(path, read_file, &out->bundle, error));
    else if (!clip_path_has_suffix(path, ".safetensors") &&
             (clip_hdf5_is(path) || clip_path_has_suffix(path, ".h5")))
        CLIP_TRY(read_native(path, raw, out, error));
    else if (is_gguf(path))
        CLIP_TRY(clip_model_read_gguf(path, log, &out->bundle, error));
    else
        CLIP_TRY(read_file(path, &out->bundle, error));
    if (*out->from.prefix == '\0') { /* not a native file */
        CLIP_TRY(clip_family_refuse(clip_family_of_weights(&out->bundle), path, error));
        CLIP_TRY(find_names(path, out, error));
        out->format = is_openai(out) ? "OpenAI" : clip_layout_name(out->from.layout);
        CLIP_TRY(describe(source, out, error));
    }
    CLIP_TRY(clip_model_description_check(&out->description, &out->from, path, error));
out:
    if (status != CLIP_OK) clip_model_reading_release(out);
    return status;
}
