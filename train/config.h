/* A run's configuration: one table of keys (section, type, default, range, help), read from INI and
 * --set.
 *
 * The table writes the help, the docs and the run's config.ini; adding a key is adding a row in
 * config_table.c and a field here. Values are checked when they are set, and the sentence names
 * file, line, section, key and what is expected; a choice is an enum from then on. */
#ifndef CLIP_TRAIN_CONFIG_H
#define CLIP_TRAIN_CONFIG_H

#include <stdio.h>

#include "core/memory.h"
#include "data/image/image.h"
#include "data/text/tokenizer.h"
#include "formats/architectures.h"
#include "model/loss.h"
#include "optim/optim.h"
#include "train/locked.h"

/* What best.h5 is chosen by: of the figures that a validation finds (train/validate.h). */
enum clip_metric {
    CLIP_METRIC_VAL_LOSS,
    CLIP_METRIC_IMAGE_RECALL,
    CLIP_METRIC_TEXT_RECALL,
    CLIP_METRIC_ACC1,
};
const char *clip_metric_name(int metric); /* "val_loss", "image_retrieval_recall@1", ... */

struct clip_config {
    struct {
        int preset; /* of clip_model_preset_name */
        int64_t embed_dim, image_size, patch_size, vision_width, vision_layers, vision_heads;
        double vision_mlp_ratio;
        int64_t context_length, vocab_size, text_width, text_layers, text_heads;
        double text_mlp_ratio;
        bool quick_gelu, gelu_tanh, text_gelu_tanh;
        enum clip_architecture architecture;
        double norm_eps;
        int64_t end_id, pad_id;
        const char *image_mean, *image_std; /* three numbers with commas; "": CLIP's */
    } model;
    struct {
        const char *train_data, *val_data;
        double val_share;
        const char *images_root, *csv_separator, *csv_img_key, *csv_caption_key, *csv_negative_key,
            *tokenizer;
        int64_t workers;
        double aug_scale_min;
        bool aug_flip;
        int64_t aug_pad;
        const char *class_templates;
        double max_bad_fraction;
        int64_t max_pixels;
        bool fast_decode;
        enum clip_interpolation interpolation;
        enum clip_resize_mode resize_mode;
        enum clip_crop center_crop;
        enum clip_text_cleaning text_cleaning;
        int64_t resize_to;
    } data;
    struct {
        int64_t epochs, steps, batch_size, micro_batch;
        enum clip_precision precision;
        int64_t seed;
        const char *output;
        const char *val_every, *save_every; /* steps, or a share of the run as in 5% */
        int64_t keep, log_every;
        bool report, tensorboard;
        int loss; /* a row of clip_losses */
        bool multi_positive;
        const char *teacher_embeddings;
        double distill_weight;
        int64_t early_stop;
        enum clip_metric best_metric;
        enum clip_recompute recompute;
        double patch_dropout;
        bool lock_image, lock_text;
        int64_t unlocked_image_blocks, unlocked_text_blocks;
        enum clip_cache_locked cache_locked;
    } train;
    struct {
        double lr, beta1, beta2, eps, wd;
        const char *warmup; /* steps, or a share of the run as in 5% */
        enum clip_schedule_kind lr_scheduler;
        const char *cooldown; /* as warmup */
        double grad_clip_norm, layer_decay;
        int64_t lr_width;
        double ema_decay;
        enum clip_moments moments;
    } optim;
    struct {
        const char *images, *classes, *templates;
    } zeroshot;
    struct {
        const char *images, *classes, *templates, *data;
    } probe;
    struct {
        int64_t rank;
        double alpha;
        const char *targets;
    } lora;

    const char **values; /* one a row of the table, as written; NULL: the default */
    struct clip_arena arena;
};

/* Every value is its default. Release in any case. */
clip_status clip_config_init(struct clip_config *config, struct clip_error *error);
void clip_config_release(struct clip_config *config);

clip_status clip_config_read(struct clip_config *config, const char *path,
                             struct clip_error *error);
clip_status clip_config_parse(struct clip_config *config, const char *bytes, size_t n,
                              const char *name, struct clip_error *error);
/* "section.key=value", as --set takes it. */
clip_status clip_config_set(struct clip_config *config, const char *assignment,
                            struct clip_error *error);
/* Each key as an option of the command line, by its name with '-' for '_': --batch-size 256. Those
 * of [zeroshot], [probe] and [lora] have the section before: --lora-rank 8. Option i of
 * clip_config_option_count. */
struct clip_config_option {
    char name[40];
    bool flag; /* true or false: the option alone means true */
};
int clip_config_option_count(void);
struct clip_config_option clip_config_option(int i);
clip_status clip_config_set_option(struct clip_config *config, const char *name, const char *value,
                                   struct clip_error *error);
/* Sets a key that is known to be there, by our own code. */
clip_status clip_config_put(struct clip_config *config, const char *section, const char *key,
                            const char *value, struct clip_error *error);
bool clip_config_is_set(const struct clip_config *config, const char *section, const char *key);

/* The model's description: the preset, then every key that was set. */
clip_status clip_config_model(const struct clip_config *config, struct clip_model_config *out,
                              struct clip_error *error);
/* Steps that "500" or "5%" of `total` stand for, not rounded. */
double clip_config_share(const char *text, int64_t total);

/* Every value as used, as an INI file. */
clip_status clip_config_write(const struct clip_config *config, struct clip_buffer *out,
                              struct clip_error *error);
/* Names the first keys that decide the result and differ (" [optim] lr = 5e-4 became 1e-3; ...");
 * out stays empty when none. */
clip_status clip_config_differences(const struct clip_config *before, const struct clip_config *now,
                                    struct clip_buffer *out, struct clip_error *error);
/* All keys with default, range and meaning: plain text, or the table of docs/config.md. */
void clip_config_help(FILE *stream, bool markdown);

#endif
