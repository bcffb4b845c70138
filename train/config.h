/* A run's configuration: one table of keys (section, type, default, range, help), read from INI and
 * --set.
 *
 * The table writes the help, the docs and the run's config.ini; adding a key is adding a row to
 * config_keys.h. Values are checked when they are set, and the sentence names
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
#include "train/slices.h"

/* What best.h5 is chosen by: of the figures that a validation finds (train/validate.h). */
enum clip_metric {
    CLIP_METRIC_VAL_LOSS,
    CLIP_METRIC_IMAGE_RECALL,
    CLIP_METRIC_TEXT_RECALL,
    CLIP_METRIC_ACC1,
};
const char *clip_metric_name(int metric); /* "val_loss", "image_retrieval_recall@1", ... */

enum clip_stream { CLIP_STREAM_AUTO, CLIP_STREAM_ON, CLIP_STREAM_OFF };
const char *clip_stream_name(int stream); /* "auto", "on", "off" */

#define SECTION(s) struct clip_config_##s {
#define END(s)                                                                                     \
    }                                                                                              \
    s;
#define INT(s, k, ...) int64_t k;
#define REAL(s, k, ...) double k;
#define BOOL(s, k, ...) bool k;
#define TEXT(s, k, ...) const char *k;
#define SHARE(s, k, ...) const char *k;
#define TRIPLE(s, k, ...) const char *k;
#define CHOICE(type, s, k, ...)                                                                    \
    type k;                                                                                        \
    _Static_assert(sizeof(type) == sizeof(int), #k " is set as an int");

/* config.train.batch_size and so on: a struct clip_config_train for each section, a field for each
 * key. */
struct clip_config {
#include "train/config_keys.h"

    const char **values; /* one per row of the table, as written; NULL: the default */
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
    bool flag;           /* true or false: the option alone means true */
    clip_name_fn *names; /* of a choice, NULL otherwise */
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
