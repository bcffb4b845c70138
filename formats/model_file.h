/* A model and what it needs to be used (tokenizer, preprocessing) from and to files: the one door.
 *
 * MODEL is a run folder (best.h5, else last.h5), a native .h5, a folder of transformers or of
 * open_clip, the id of a model in the local Hugging Face cache, a file of weights by itself
 * (formats/model_source.h says what is looked for, docs/models.md what is read), or a LoRA adapter,
 * which names one of these (formats/model_adapter.h).
 *
 * An opened model is for using: its parameters point into the mapped file wherever that holds them
 * as they are needed, so that opening costs little and memory is shared; there is no buffer of its
 * own (file->model->data is NULL) and nothing may be written there. Training copies them. */
#ifndef CLIP_FORMATS_MODEL_FILE_H
#define CLIP_FORMATS_MODEL_FILE_H

#include "core/log.h"
#include "formats/model_description.h"

struct clip_model_file {
    struct clip_model *model;
    struct clip_tokenizer *tokenizer; /* NULL: none came with it and none was named */
    struct clip_preprocess preprocess;
    enum clip_text_cleaning cleaning;
    struct clip_text_ids ids;
    int64_t
        filler; /* of whole rows: ids.pad, or the pad_token of a Hugging Face folder's tokenizer */
    char *source;               /* the file read; NULL for a model from memory */
    const char *format;         /* whose it is ("Hugging Face", "OpenAI"); NULL: ours */
    enum clip_towers towers;    /* the other one's parameters have no data */
    struct clip_bundle weights; /* what the model's parameters point into */
    char checksum[12];          /* "" until clip_model_file_sum was asked */
};

enum clip_weights { CLIP_WEIGHTS_EMA, CLIP_WEIGHTS_RAW }; /* where a checkpoint has both */
const char *clip_weights_name(int weights);               /* "ema", "raw"; core/choice.h */

struct clip_model_file_options { /* {0} or NULL: the defaults */
    enum clip_weights weights;
    enum clip_towers towers; /* only this one is read and can be used */
    bool say;                /* another project's model: what was found is a note of the log */
    struct clip_log log;     /* where warnings and notes go; {0}: stderr */
    const char *tokenizer; /* TOKENIZER in place of the model's own; NULL: its own, or "clip" where
                            * the vocabulary is CLIP's and that file is found beside the model, by
                            * $CLIP_BPE or where it is installed */
};

clip_status clip_model_file_open(struct clip_model_file **out, const char *model,
                                 const struct clip_model_file_options *options,
                                 struct clip_error *error);
void clip_model_file_free(struct clip_model_file *file); /* NULL is fine */

/* Adds every parameter as PREFIX + name (data borrowed from the model), and the texts "config",
 * "tokenizer" (where there is one) and "format". */
clip_status clip_model_file_add(struct clip_bundle *bundle, const struct clip_model_file *file,
                                const char *prefix, struct clip_error *error);
/* Points the model's parameters to the weights, or to copies in `arena` where they are stored in
 * another way; those of the other tower are left alone. Every weight that is missing, left over or
 * of another shape is named in the sentence (which begins with `name`), as many as fit. */
clip_status clip_model_file_load(struct clip_model *model, const struct clip_weight_source *from,
                                 enum clip_towers towers, const char *name,
                                 struct clip_arena *arena, struct clip_error *error);
/* A model's activation, for a person to read: "GELU by tanh"; in `text`, which is given back. */
enum { CLIP_ACTIVATION_TEXT = 48 };
const char *clip_model_activation(const struct clip_model_config *config,
                                  char text[CLIP_ACTIVATION_TEXT]);
/* Appends what was found out about a model that was opened, for a person to read: whose format and
 * type of numbers, activation, sizes of both towers. */
clip_status clip_model_file_found(const struct clip_model_file *file, struct clip_buffer *out,
                                  struct clip_error *error);
/* What the file says of its model besides the weights. */
struct clip_model_description clip_model_file_description(const struct clip_model_file *file);
/* Computes file->checksum: of description and weights, 8 hexadecimal digits, the same whatever the
 * format. It reads every weight, so both towers have to be there. */
clip_status clip_model_file_sum(struct clip_model_file *file, struct clip_error *error);

#endif
