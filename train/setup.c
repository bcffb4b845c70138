#include "train/setup.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/escape.h"
#include "core/progress.h"
#include "formats/architectures.h"
#include "formats/model_file.h"
#include "model/lora.h"
#include "train/run.h"
#include "train/train_data.h"

static bool is(const char *value, const char *word) { return strcmp(value, word) == 0; }
static const char *or_null(const char *text) { return text[0] != '\0' ? text : NULL; }

/* ---- data ---- */

static struct clip_dataset_options data_options(const struct clip_setup *s, bool training)
{
    const struct clip_config *c = s->config;
    return (struct clip_dataset_options){
        .images_root = or_null(c->data.images_root),
        .csv_separator = c->data.csv_separator,
        .csv_img_key = c->data.csv_img_key,
        .csv_caption_key = c->data.csv_caption_key,
        .csv_negative_key = training ? or_null(c->data.csv_negative_key) : NULL,
        .class_templates = or_null(c->data.class_templates),
        .stop = s->stop,
    };
}

/* Says what was opened, and keeps that a part of it was passed over. */
static clip_status tell_opened(struct clip_setup *s, const struct clip_dataset *set,
                               const char *path, struct clip_error *error)
{
    struct clip_error passed_over; /* each was warned of */
    if (!s->quiet) clip_dataset_say(set, path, "pair");
    if (clip_dataset_passed_over(set, path, &passed_over) == CLIP_OK) return CLIP_OK;
    return clip_names_add(&s->warnings, passed_over.message, error);
}

static clip_status open_data(struct clip_setup *s, const char *path, struct clip_dataset **out,
                             struct clip_error *error)
{
    const struct clip_dataset_options options = data_options(s, false);
    clip_status status = clip_dataset_open(out, path, &options, error);
    return status == CLIP_OK ? tell_opened(s, *out, path, error) : status;
}

static clip_status open_train_data(struct clip_setup *s, struct clip_error *error)
{
    const struct clip_dataset_options options = data_options(s, true);
    clip_status status = clip_train_data_open(s, &options, error);
    if (status != CLIP_OK) return status;
    return tell_opened(s, s->train_data, s->config->data.train_data, error);
}

static void read_preprocessing(struct clip_setup *s)
{
    const struct clip_config *c = s->config;
    s->preprocess = (struct clip_preprocess){
        .image_size = s->model_config.image_size,
        .interpolation = c->data.interpolation,
        .resize_mode = c->data.resize_mode,
        .shortest = c->data.resize_to,
        .crop = c->data.center_crop,
    };
    memcpy(s->preprocess.mean, s->model_config.image_mean, sizeof s->preprocess.mean);
    memcpy(s->preprocess.std, s->model_config.image_std, sizeof s->preprocess.std);
    s->limits =
        (struct clip_image_limits){.max_pixels = c->data.max_pixels, .upright = c->data.upright};
    s->cleaning = c->data.text_cleaning;
    s->text_ids = (struct clip_text_ids){c->model.end_id, c->model.pad_id};
}

clip_status clip_setup_loader(struct clip_setup *s, bool quiet, struct clip_loader **out,
                              struct clip_error *error)
{
    const struct clip_config *c = s->config;
    int64_t own = c->train.batch_size / clip_comm_size(s->comm);
    struct clip_loader_options options = {
        .batch_size = c->train.batch_size,
        .own_begin = own * clip_comm_rank(s->comm),
        .own_count = own,
        .context_length = s->model_config.context_length,
        .vocab_size = s->model_config.vocab_size,
        .workers = (int)c->data.workers,
        .seed = (uint64_t)c->train.seed,
        .parts = s->parts,
        .part_count = s->part_count,
        .samples_per_epoch = c->data.samples_per_epoch,
        .shard_group = s->shard_group,
        .shuffle = true,
        .augment = true,
        .preprocess = s->preprocess,
        .augmentation = {.scale_min = c->data.aug_scale_min,
                         .flip = c->data.aug_flip,
                         .pad = c->data.aug_pad},
        .limits = s->limits,
        .cleaning = s->cleaning,
        .max_bad_fraction = c->data.max_bad_fraction,
        .quiet = quiet,
        .negatives = c->data.csv_negative_key[0] != '\0',
    };
    if (c->data.fast_decode)
        options.limits.enough = clip_augment_enough(&s->preprocess, &options.augmentation);
    if (options.limits.enough > 0 && strcmp(clip_jpeg_decoder, "libjpeg-turbo") != 0)
        clip_setup_warn(s,
                        "fast_decode does nothing here: this build decodes JPEG by %s; install "
                        "libjpeg62-turbo-dev and build again",
                        clip_jpeg_decoder);
    return clip_loader_create(out, s->train_data, s->tokenizer, &options, error);
}

/* ---- model ---- */

/* A run that goes on has its model's description from the configuration alone. */
static clip_status check_nameable(const struct clip_model_config *from, const char *init,
                                  struct clip_error *error)
{
    struct clip_model_config said = *from;
    clip_status status = clip_activation_apply(&said, clip_activation_keys(from), error);
    const char *what = clip_architecture_of(from) == CLIP_ARCHITECTURE_OTHER ? "architecture"
                       : said.text.activation != from->text.activation       ? "activations"
                       : from->text.norm_eps != from->vision.norm_eps        ? "two norm_eps"
                                                                             : NULL;
    if (status != CLIP_OK || what == NULL) return status;
    return clip_fail(error, CLIP_ERR_DATA,
                     "%s cannot be trained on: no keys of the configuration's [model] say its %s; "
                     "use it as it is",
                     init, what);
}

/* The description of --init's model becomes the configuration's; a key that was set and says
 * otherwise is an error, but for image_size, to which the positions are interpolated. */
static clip_status adopt_description(struct clip_setup *s, const struct clip_model_config *from,
                                     const char *init, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_model_config *mine = &s->model_config;
    enum clip_architecture architecture = clip_architecture_of(from);
    const struct clip_activation_keys theirs = clip_activation_keys(from),
                                      ours = clip_activation_keys(mine);
    const struct {
        const char *key;
        double theirs, ours;
        enum { WHOLE_OR_RATIO, SMALL, FLAG } kind; /* how it is written */
    } keys[] = {
        {"embed_dim", (double)from->embed_dim, (double)mine->embed_dim},
        {"image_size", (double)from->image_size, (double)mine->image_size},
        {"patch_size", (double)from->patch_size, (double)mine->patch_size},
        {"vision_width", (double)from->vision.width, (double)mine->vision.width},
        {"vision_layers", (double)from->vision.layers, (double)mine->vision.layers},
        {"vision_heads", (double)from->vision.heads, (double)mine->vision.heads},
        {"vision_mlp_ratio", from->vision.mlp_ratio, mine->vision.mlp_ratio},
        {"context_length", (double)from->context_length, (double)mine->context_length},
        {"vocab_size", (double)from->vocab_size, (double)mine->vocab_size},
        {"text_width", (double)from->text.width, (double)mine->text.width},
        {"text_layers", (double)from->text.layers, (double)mine->text.layers},
        {"text_heads", (double)from->text.heads, (double)mine->text.heads},
        {"text_mlp_ratio", from->text.mlp_ratio, mine->text.mlp_ratio},
        {"norm_eps", from->vision.norm_eps, mine->vision.norm_eps, SMALL},
        {"quick_gelu", theirs.quick_gelu, ours.quick_gelu, FLAG},
        {"gelu_tanh", theirs.gelu_tanh, ours.gelu_tanh, FLAG},
        {"text_gelu_tanh", theirs.text_gelu_tanh, ours.text_gelu_tanh, FLAG},
    };
    size_t count = sizeof keys / sizeof keys[0];
    char value[128];
    CLIP_TRY(check_nameable(from, init, error));
    if (clip_config_is_set(s->config, "model", "architecture") &&
        architecture != clip_architecture_of(mine))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "%s is a %s, but the configuration says architecture = %s; leave the key "
                         "out to take the model's",
                         init, clip_architecture_title(architecture),
                         clip_architecture_name(s->config->model.architecture));
    for (size_t i = 0; i < count; i++) {
        bool set = clip_config_is_set(s->config, "model", keys[i].key);
        if (set && is(keys[i].key, "image_size")) continue;
        if (set && keys[i].theirs != keys[i].ours)
            return clip_fail(error, CLIP_ERR_USAGE,
                             "%s has %s %g, but the configuration says %g; leave the key out to "
                             "take the model's",
                             init, keys[i].key, keys[i].theirs, keys[i].ours);
        if (keys[i].kind == FLAG)
            strcpy(value, keys[i].theirs != 0 ? "true" : "false");
        else
            snprintf(value, sizeof value, keys[i].kind == SMALL ? "%.9g" : "%.17g", keys[i].theirs);
        CLIP_TRY(clip_config_put(s->config, "model", keys[i].key, value, error));
    }
    CLIP_TRY(clip_config_put(s->config, "model", "architecture",
                             clip_architecture_name(architecture), error));
    for (int i = 0; i < 2; i++) {
        const float *three = i == 0 ? from->image_mean : from->image_std;
        const char *key = i == 0 ? "image_mean" : "image_std";
        snprintf(value, sizeof value, "%.9g,%.9g,%.9g", (double)three[0], (double)three[1],
                 (double)three[2]);
        if (!clip_config_is_set(s->config, "model", key))
            CLIP_TRY(clip_config_put(s->config, "model", key, value, error));
    }
    CLIP_TRY(clip_config_model(s->config, &s->model_config, error));
    s->model_config.vision.norm_eps = from->vision.norm_eps; /* to its last bit */
    s->model_config.text.norm_eps = from->text.norm_eps;
out:
    return status;
}

/* How the model's images and captions were prepared, where the configuration does not say. */
static clip_status adopt_preprocessing(struct clip_setup *s, const struct clip_model_file *file,
                                       struct clip_error *error)
{
    char end[32], pad[32], resize[32];
    snprintf(end, sizeof end, "%lld", (long long)file->ids.end);
    snprintf(pad, sizeof pad, "%lld", (long long)file->ids.pad);
    snprintf(resize, sizeof resize, "%lld", (long long)file->preprocess.shortest);
    const struct {
        const char *section, *key, *value;
    } keys[] = {
        {"model", "end_id", end},
        {"model", "pad_id", pad},
        {"data", "resize_to", resize},
        {"data", "center_crop", clip_crop_name(file->preprocess.crop)},
        {"data", "interpolation", clip_interpolation_name(file->preprocess.interpolation)},
        {"data", "resize_mode", clip_resize_mode_name(file->preprocess.resize_mode)},
        {"data", "text_cleaning", clip_text_cleaning_name(file->cleaning)},
    };
    clip_status status = CLIP_OK;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!clip_config_is_set(s->config, keys[i].section, keys[i].key))
            CLIP_TRY(
                clip_config_put(s->config, keys[i].section, keys[i].key, keys[i].value, error));
out:
    return status;
}

static void warn_of_tokenizer(struct clip_setup *s, const struct clip_model_file *file)
{
    if (file->tokenizer == NULL) return; /* taken over, or it came without */
    if (!clip_tokenizer_equal(s->tokenizer, file->tokenizer))
        clip_setup_warn(s,
                        "[data] tokenizer = %s is not the one that %s was trained with: its token "
                        "embeddings stand for other words; leave the key out to take the model's",
                        s->config->data.tokenizer, file->source);
}

/* The model's weights; positions of another grid are interpolated to ours. */
static clip_status copy_weights(struct clip_model *to, struct clip_model *from,
                                struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t first = to->config.vision.class_row ? 1 : 0, patch = to->config.patch_size;
    int64_t grid = to->config.image_size / patch, theirs = from->config.image_size / patch;
    for (int64_t i = 0; i < to->param_count; i++) {
        struct clip_tensor *mine = &to->params[i].tensor;
        const struct clip_param *source = clip_model_param(from, to->params[i].name);
        if (source == NULL) continue; /* logit_bias, which training with InfoNCE does not make */
        if (mine == to->vision.positions && grid != theirs)
            CLIP_TRY(clip_resize_positions(mine->data, grid, source->tensor.data, theirs, first,
                                           to->config.vision.width, error));
        else
            memcpy(mine->data, source->tensor.data,
                   (size_t)clip_tensor_count(mine) * sizeof(float));
    }
out:
    return status;
}

static clip_status read_lora(struct clip_setup *s, bool tuning, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_config *c = s->config;
    struct clip_lora_config *lora = &s->model_config.lora;
    if (c->lora.rank == 0) return CLIP_OK;
    if (!tuning)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[lora] rank = %lld adapts a model that is there; name it by --init, or "
                         "leave [lora] out",
                         (long long)c->lora.rank);
    *lora = (struct clip_lora_config){.rank = c->lora.rank, .alpha = c->lora.alpha};
    CLIP_TRY(clip_lora_targets(c->lora.targets, &lora->targets, error));
    if ((s->model_config.vision.activation == CLIP_GELU_TANH ||
         s->model_config.text.activation == CLIP_GELU_TANH) &&
        (lora->targets & (CLIP_LORA_C_FC | CLIP_LORA_C_PROJ)) != 0)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[lora] targets = %s: the MLP of a model whose GELU is tanh's has no "
                         "path; choose among q, k, v and out_proj",
                         c->lora.targets);
out:
    return status;
}

/* The tokenizer that the configuration names; where it names none, that of --init's model (`file`).
 * A run that goes on has the latter in its checkpoint too. */
static clip_status open_tokenizer(struct clip_setup *s, const struct clip_train_options *options,
                                  struct clip_model_file *file, struct clip_error *error)
{
    const char *name = s->config->data.tokenizer;
    bool set = clip_config_is_set(s->config, "data", "tokenizer"), models = is(name, "model");
    if (file != NULL && file->tokenizer != NULL && (models || !set)) {
        s->tokenizer = file->tokenizer;
        file->tokenizer = NULL;
        return clip_config_put(s->config, "data", "tokenizer", "model", error);
    }
    if (!models) return clip_tokenizer_open(&s->tokenizer, name, NULL, error);
    if (file != NULL)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[data] tokenizer = model, but %s comes without one; name clip or a file",
                         file->source);
    if (options->resume) return clip_run_tokenizer(s->config->train.output, &s->tokenizer, error);
    return clip_fail(error, CLIP_ERR_USAGE,
                     "[data] tokenizer = model is the tokenizer of --init's model; give --init, or "
                     "name clip or a file");
}

/* [train] needs_init: a configuration that is meant for a model that is there trains none from
 * nothing. A run that goes on has its weights. */
static clip_status check_init(const struct clip_setup *s, const struct clip_train_options *options,
                              struct clip_error *error)
{
    if (options->init != NULL || options->resume || !s->config->train.needs_init) return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "this configuration fine-tunes a model ([train] needs_init); name one by "
                     "--init, as in --init openai/clip-vit-base-patch32, or train from scratch "
                     "with configs/own.ini");
}

/* [model] vocab_size = 0: that of --init's model, or as many as the tokenizer has. */
static clip_status choose_vocabulary(struct clip_setup *s, const struct clip_model_file *file,
                                     struct clip_error *error)
{
    char value[32];
    if (s->config->model.vocab_size != 0) return CLIP_OK;
    snprintf(value, sizeof value, "%lld",
             (long long)(file != NULL ? file->model->config.vocab_size : s->tokenizer->vocab_size));
    return clip_config_put(s->config, "model", "vocab_size", value, error);
}

/* Tokenizer and model: --init's, or the configuration's with fresh weights. */
static clip_status open_model(struct clip_setup *s, const struct clip_train_options *options,
                              struct clip_error *error)
{
    clip_status status;
    const char *init = options->init;
    const struct clip_model_file_options open = {.say = !options->quiet};
    struct clip_model_file *file = NULL;
    CLIP_TRY(check_init(s, options, error));
    if (init != NULL) CLIP_TRY(clip_model_file_open(&file, init, &open, error));
    CLIP_TRY(open_tokenizer(s, options, file, error));
    CLIP_TRY(choose_vocabulary(s, file, error));
    CLIP_TRY(clip_config_model(s->config, &s->model_config, error));
    if (file != NULL) {
        CLIP_TRY(adopt_description(s, &file->model->config, init, error));
        CLIP_TRY(adopt_preprocessing(s, file, error));
        s->init_loss = clip_loss_of(&file->model->config);
        warn_of_tokenizer(s, file);
    }
    CLIP_TRY(read_lora(s, init != NULL, error));
    CLIP_TRY(clip_model_create(&s->model, &s->model_config, error));
    clip_model_init(s->model, (uint64_t)s->config->train.seed);
    if (file != NULL) CLIP_TRY(copy_weights(s->model, file->model, error));
    if (s->config->model.pad_id >= s->model_config.vocab_size)
        CLIP_TRY(clip_fail(error, CLIP_ERR_USAGE,
                           "[model] pad_id = %lld is no word of the "
                           "vocabulary of %lld",
                           (long long)s->config->model.pad_id,
                           (long long)s->model_config.vocab_size));
    if (s->model_config.text.whole_rows)
        clip_tokenizer_pad(s->tokenizer, (int32_t)s->config->model.pad_id);
out:
    clip_model_file_free(file);
    clip_memory_trim(); /* of --init's weights */
    return status;
}

/* What validation will read is read once before training: a wrong name should not end a run at its
 * first validation. */
static clip_status check_classes(const char *section, const char *images, const char *classes,
                                 const char *templates, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_class_list list = {0};
    struct clip_templates lines = {0};
    struct clip_dataset *set = NULL;
    if (images[0] == '\0') return CLIP_OK;
    if (classes[0] == '\0' || templates[0] == '\0')
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[%s] images is set; set classes and templates beside it", section);
    CLIP_TRY(clip_class_list_read(classes, &list, error));
    CLIP_TRY(clip_templates_read(templates, &lines, error));
    CLIP_TRY(clip_dataset_open_classes(&set, images, &list, NULL, error));
out:
    clip_dataset_free(set);
    clip_templates_release(&lines);
    clip_class_list_release(&list);
    return status;
}

/* A row for each sample of train_data, which may be a part of what the teacher saw. */
static clip_status read_teacher(struct clip_setup *s, struct clip_error *error)
{
    const char *path = s->config->train.teacher_embeddings;
    if (s->whole_data == NULL) return clip_teacher_read(&s->teacher, path, s->train_data, error);
    clip_status status = clip_teacher_read(&s->teacher, path, s->whole_data, error);
    if (status == CLIP_OK) clip_teacher_take(&s->teacher, s->train_samples, s->train_data->count);
    return status;
}

static clip_status create_step(struct clip_setup *s, struct clip_error *error)
{
    clip_status status;
    const struct clip_config *c = s->config;
    struct clip_step_options options = {
        .train = c->train,
        .optim = c->optim,
        .steps = s->steps,
        .negatives = c->data.csv_negative_key[0] != '\0',
        .teacher = c->train.teacher_embeddings[0] != '\0' ? &s->teacher : NULL,
        .comm = s->comm,
    };
    if (options.teacher != NULL) CLIP_TRY(read_teacher(s, error));
    clip_model_train(s->model);
    if (s->model->config.lora.rank > 0) clip_lora_freeze(s->model);
    if (c->train.lock_image) clip_model_lock_image(s->model, c->train.unlocked_image_blocks);
    if (c->train.lock_text) clip_model_lock_text(s->model, c->train.unlocked_text_blocks);
    CLIP_TRY(clip_step_create(&s->step, s->model, &options, error));
out:
    return status;
}

/* Steps from one validation or checkpoint to the next; 0: the last step's alone. A share is rounded
 * up, so that no more of them are made than it says, and none shortly before the last step's. */
static int64_t interval(const char *text, int64_t steps)
{
    double n = clip_config_share(text, steps);
    if (n <= 0) return steps;
    return n > 1 ? (int64_t)ceil(n - 1e-6) : 1;
}

/* Where the parts end among the samples that are left for training. */
static void move_parts(struct clip_setup *s)
{
    int64_t i = 0;
    for (int64_t k = 0; k < s->part_count; k++) {
        while (i < s->train_data->count && s->train_samples[i] < s->parts[k].end) i++;
        s->parts[k].end = i;
    }
}

/* [data] val_share: some of train_data's images, with all their captions, are for validation. */
static clip_status split_data(struct clip_setup *s, struct clip_error *error)
{
    clip_status status;
    double share = s->config->data.val_share;
    s->whole_data = s->train_data;
    s->train_data = NULL;
    CLIP_TRY(clip_dataset_split(&s->val_data, s->whole_data, share, true, NULL, error));
    CLIP_TRY(
        clip_dataset_split(&s->train_data, s->whole_data, share, false, &s->train_samples, error));
    if (s->val_data->count < 2 || s->train_data->count < 1)
        status = clip_fail(error, CLIP_ERR_USAGE,
                           "[data] val_share = %g leaves %s for validation and %lld for training; "
                           "name val_data, or set another share",
                           share, CLIP_COUNT(s->val_data->count, "sample"),
                           (long long)s->train_data->count);
    if (status == CLIP_OK) move_parts(s);
out:
    return status;
}

/* A softmax over one pair is always right: its loss is 0 and nothing would be learned.
 * Micro-batches of one are sound, since the loss is the whole batch's. */
static clip_status check_batch(const struct clip_config *config, struct clip_error *error)
{
    bool negatives = config->data.csv_negative_key[0] != '\0';
    if (config->train.batch_size > 1 || negatives || clip_losses[config->train.loss].needs_bias)
        return CLIP_OK;
    return clip_fail(error, CLIP_ERR_USAGE,
                     "[train] batch_size = 1: InfoNCE compares the pairs of a batch, so that of "
                     "one pair teaches nothing; set batch_size to 2 or more (micro_batch = 1 saves "
                     "memory)");
}

/* Slices of equal size, which processes of equal number share. */
static clip_status check_slices(const struct clip_config *config, int processes,
                                struct clip_error *error)
{
    int64_t world = config->train.world_size, batch = config->train.batch_size;
    if (world % processes != 0)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[train] world_size = %s cannot be shared by %d processes; start a "
                         "number of processes that divides it",
                         CLIP_COUNT(world, "slice"), processes);
    if (batch % world != 0)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[train] batch_size = %lld cannot be cut into world_size = %lld slices of "
                         "equal size; choose one that the other divides",
                         (long long)batch, (long long)world);
    return CLIP_OK;
}

/* [train] world_size = 0: as in the run that goes on, or a slice for each process. */
static clip_status choose_slices(struct clip_setup *s, const struct clip_train_options *options,
                                 struct clip_error *error)
{
    clip_status status;
    char value[32];
    struct clip_config *c = s->config;
    int processes = clip_comm_size(s->comm);
    int64_t world = c->train.world_size;
    if (world == 0 && options->resume)
        CLIP_TRY(clip_run_world_size(c->train.output, &world, error));
    if (world == 0 || (options->resume && options->force && world % processes != 0))
        world = processes;
    snprintf(value, sizeof value, "%lld", (long long)world);
    CLIP_TRY(clip_config_put(c, "train", "world_size", value, error));
    CLIP_TRY(check_slices(c, processes, error));
out:
    return status;
}

clip_status clip_setup_open(struct clip_setup *s, struct clip_config *config,
                            const struct clip_train_options *options, struct clip_error *error)
{
    clip_status status;
    int64_t epoch;
    *s = (struct clip_setup){
        .config = config, .stop = options->stop, .quiet = options->quiet, .comm = options->comm};
    if (config->data.train_data[0] == '\0')
        return clip_fail(
            error, CLIP_ERR_USAGE,
            "[data] train_data is not set; name a csv, tar or folder of pairs to train on");
    CLIP_TRY(choose_slices(s, options, error));
    CLIP_TRY(open_model(s, options, error));
    read_preprocessing(s);
    CLIP_TRY(open_train_data(s, error));
    if (config->data.val_data[0] != '\0')
        CLIP_TRY(open_data(s, config->data.val_data, &s->val_data, error));
    else if (config->data.val_share > 0)
        CLIP_TRY(split_data(s, error));
    CLIP_TRY(clip_train_data_check(s, error));
    CLIP_TRY(check_classes("zeroshot", config->zeroshot.images, config->zeroshot.classes,
                           config->zeroshot.templates, error));
    CLIP_TRY(check_classes("probe", config->probe.images, config->probe.classes,
                           config->probe.templates, error));
    if (config->probe.data[0] != '\0')
        CLIP_TRY(open_data(s, config->probe.data, &s->probe_data, error));
    epoch = config->data.samples_per_epoch > 0 ? config->data.samples_per_epoch
                                               : s->train_data->count;
    s->steps_per_epoch = epoch / config->train.batch_size;
    s->steps = config->train.steps > 0 ? config->train.steps
                                       : config->train.epochs * s->steps_per_epoch;
    s->val_every = interval(config->train.val_every, s->steps);
    s->save_every = interval(config->train.save_every, s->steps);
    if (s->steps_per_epoch < 1 && config->data.samples_per_epoch > 0)
        return clip_fail(
            error, CLIP_ERR_USAGE,
            "[train] batch_size %lld is larger than [data] samples_per_epoch = %lld; set one of "
            "them otherwise",
            (long long)config->train.batch_size, (long long)epoch);
    if (s->steps_per_epoch < 1)
        return clip_fail(
            error, CLIP_ERR_USAGE,
            "[train] batch_size %lld is larger than %s, which has %s; use a smaller batch_size",
            (long long)config->train.batch_size, config->data.train_data,
            CLIP_COUNT(s->train_data->count, "sample"));
    CLIP_TRY(check_batch(config, error));
    CLIP_TRY(create_step(s, error));
out:
    return status;
}

void clip_setup_warn(struct clip_setup *s, const char *format, ...)
{
    char raw[2048], text[4096];
    struct clip_error ignored; /* the page then lacks the sentence */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    clip_escape(text, sizeof text, raw);
    clip_warn("%s", text);
    (void)clip_names_add(&s->warnings, text, &ignored);
}

void clip_setup_release(struct clip_setup *s)
{
    clip_step_free(s->step);
    clip_teacher_release(&s->teacher);
    clip_model_free(s->model);
    clip_dataset_free(s->train_data);
    clip_dataset_free(s->val_data);
    clip_dataset_free(s->probe_data);
    clip_dataset_free(s->whole_data);
    free(s->parts);
    clip_tokenizer_free(s->tokenizer);
    clip_names_release(&s->warnings);
    *s = (struct clip_setup){0};
}
