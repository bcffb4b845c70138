/* A model and what it needs to be used (tokenizer, preprocessing) from and to files.
 *
 * MODEL is a run folder (best.h5, else last.h5), a native .h5, or a .safetensors with open_clip's
 * names. A .safetensors is described by the "config" in its __metadata__, else by an
 * open_clip_config.json beside it, else by its shapes with a warning about what was assumed. */
#ifndef CLIP_EVAL_MODEL_FILE_H
#define CLIP_EVAL_MODEL_FILE_H

#include "checkpoints/bundle.h"
#include "data/image.h"
#include "data/tokenizer.h"
#include "eval/model_description.h"
#include "model/model.h"

struct clip_model_file {
    struct clip_model *model;
    struct clip_tokenizer *tokenizer; /* NULL: none came with it and none was named */
    struct clip_preprocess preprocess;
    enum clip_text_cleaning cleaning;
    char *source;      /* the file read; NULL for a model from memory */
    char checksum[12]; /* of description and weights, 8 hexadecimal digits, whatever the format */
};

enum clip_weights { CLIP_WEIGHTS_EMA, CLIP_WEIGHTS_RAW }; /* where a checkpoint has both */

struct clip_model_file_options { /* {0} or NULL: the defaults */
    enum clip_weights weights;
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
/* Fills the model from the bundle's PREFIX + name. Every weight that is missing, left over or of
 * another shape is named in the sentence (which begins with `name`), as many as fit. */
clip_status clip_model_file_load(struct clip_model *model, const struct clip_bundle *bundle,
                                 const char *prefix, const char *name, struct clip_error *error);
/* What the file says of its model besides the weights. */
struct clip_model_description clip_model_file_description(const struct clip_model_file *file);
/* Computes file->checksum anew, for a model whose weights were changed in memory. */
clip_status clip_model_file_sum(struct clip_model_file *file, struct clip_error *error);

#endif
