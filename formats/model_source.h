/* What a person means by MODEL: which file holds the weights and which describes them, found out
 * from what is there. */
#ifndef CLIP_FORMATS_MODEL_SOURCE_H
#define CLIP_FORMATS_MODEL_SOURCE_H

#include "core/log.h"
#include "formats/layout.h"
#include "formats/model_description.h"

enum clip_model_config_kind {
    CLIP_CONFIG_NONE,        /* the file of weights says it itself, or its shapes do */
    CLIP_CONFIG_OPEN_CLIP,   /* open_clip_config.json */
    CLIP_CONFIG_HUGGINGFACE, /* config.json of transformers */
};

struct clip_model_source { /* start from {0} */
    char *weights;         /* the file, or an index of several (*.index.json) */
    char *folder;          /* that it lies in: where tokenizer and preprocessing are looked for */
    char *config;          /* NULL: none */
    enum clip_model_config_kind kind;
};
void clip_model_source_release(struct clip_model_source *source);

/* MODEL, in this order:
 *   a folder   best.h5, last.h5;
 *              config.json of a model_type that we know and model.safetensors, its
 *              .index.json, pytorch_model.bin or its .index.json;
 *              open_clip_config.json and open_clip_model.safetensors, its .index.json,
 *              open_clip_pytorch_model.safetensors or .bin;
 *              modules.json of sentence-transformers: the folder of its CLIPModel, 0_CLIPModel
 *   a file     of weights; what describes it is looked for beside it once its names are known
 *   else       a Hugging Face id ("openai/clip-vit-base-patch32") that the local cache holds:
 *              $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else
 *              ~/.cache/huggingface/hub; the snapshot that refs/main names
 * open_clip's "hf-hub:" and "local-dir:" may stand before it and are passed over. */
clip_status clip_model_source_find(struct clip_model_source *out, const char *model,
                                   struct clip_error *error);

/* What was read of a source. `weights` stays where it is: `from` points to it. */
struct clip_model_reading { /* start from {0} */
    struct clip_bundle bundle;
    struct clip_weight_source from;
    struct clip_model_description description;
    const char *format; /* whose these files are; NULL: ours */
    const struct clip_log *log;
};
void clip_model_reading_release(struct clip_model_reading *reading);

/* Maps the weights and reads what describes them; sizes and shapes agree afterwards. `raw`: the
 * weights as trained, where a native file has their moving average too. What had to be assumed is
 * a warning of `log`. */
clip_status clip_model_source_read(const struct clip_model_source *source, bool raw,
                                   const struct clip_log *log, struct clip_model_reading *out,
                                   struct clip_error *error);

/* A GGUF file with clip.cpp's names as a bundle; its values become the texts "config" and
 * "tokenizer" and the weight "logit_scale". */
clip_status clip_model_read_gguf(const char *path, const struct clip_log *log,
                                 struct clip_bundle *out, struct clip_error *error);

#endif
