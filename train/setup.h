/* What a run is made of, opened from its configuration. Shared by the trainer and the forecast. */
#ifndef CLIP_TRAIN_SETUP_H
#define CLIP_TRAIN_SETUP_H

#include <signal.h>

#include "data/sets/loader.h"
#include "formats/model_description.h"
#include "model/loss.h"
#include "train/config.h"
#include "train/step.h"
#include "train/trainer.h"

struct clip_setup {             /* start from {0} */
    struct clip_config *config; /* borrowed */
    struct clip_model_config model_config;
    struct clip_tokenizer *tokenizer;
    struct clip_dataset *train_data, *val_data, *probe_data; /* the last two NULL: none */
    struct clip_dataset *whole_data; /* what [data] val_share splits into both; NULL: nothing is */
    const int64_t *train_samples;    /* numbers of train_data's samples in it */
    struct clip_order_part *parts;   /* what the order needs of train_data; NULL: nothing */
    int64_t part_count;
    int64_t shard_group; /* train_data is a stream; else 0 */
    struct clip_preprocess preprocess;
    struct clip_image_limits limits;
    enum clip_text_cleaning cleaning;
    struct clip_text_ids text_ids;     /* --init's rules for rows of ids */
    const struct clip_loss *init_loss; /* --init's model was trained with it; NULL */
    struct clip_teacher teacher;       /* empty without [train] teacher_embeddings */
    struct clip_model *model;
    struct clip_step *step;
    const volatile sig_atomic_t *stop; /* the options': opening data ends when it is not 0 */
    bool quiet;                        /* the options': what was opened is not told */
    struct clip_comm *comm;            /* the options': who trains together */
    struct clip_names warnings;        /* of clip_setup_warn */
    int64_t steps_per_epoch, steps, val_every, save_every;
};

/* Opens everything: model with its first weights, locks, optimizer. */
clip_status clip_setup_open(struct clip_setup *setup, struct clip_config *config,
                            const struct clip_train_options *options, struct clip_error *error);
void clip_setup_release(struct clip_setup *setup);
/* Warns, and keeps the sentence for the run's page. */
void clip_setup_warn(struct clip_setup *setup, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
clip_status clip_setup_loader(struct clip_setup *setup, bool quiet, struct clip_loader **out,
                              struct clip_error *error);

#endif
