/* A LoRA adapter as a MODEL: the small file that a LoRA run leaves (train/adapter.c), or PEFT's
 * save_pretrained of transformers' CLIPModel. It names its base model; opened, it is that model
 * with the paths merged into its weights, W + (alpha / r) B A (Hu et al. 2021).
 *
 *   adapter_config.json        peft_type LORA, r, lora_alpha, base_model_name_or_path
 *   adapter_model.safetensors  base_model.model.MODULE.lora_A.weight [r,D], ....lora_B.weight [N,r]
 *                              (or adapter_model.bin)
 *
 * https://huggingface.co/docs/peft/developer_guides/checkpoint */
#ifndef CLIP_FORMATS_MODEL_ADAPTER_H
#define CLIP_FORMATS_MODEL_ADAPTER_H

#include "formats/model_file.h"

struct clip_adapter { /* start from {0} */
    char *weights;    /* the file of the paths; NULL: MODEL is no adapter */
    char *base;       /* MODEL to open: a path, or a model's id */
    int64_t rank;
    double scale; /* alpha / r; with use_rslora alpha / sqrt(r) */
};
void clip_adapter_release(struct clip_adapter *adapter);

/* Is `model` an adapter's folder, or the file in it? Then fills *out from its config. A base that
 * is not there under its path is looked for from the adapter's folder. Refused by name
 * (CLIP_ERR_DATA): what a path of another kind than LoRA's, or weights beside the paths, would ask
 * for. */
clip_status clip_adapter_find(struct clip_adapter *out, const char *model,
                              struct clip_error *error);
/* The config alone, n bytes of JSON; `path` is for messages. */
clip_status clip_adapter_parse(struct clip_adapter *out, const char *json, size_t n,
                               const char *path, struct clip_error *error);

/* Adds the paths to the weights of `file`, which was opened from the base: those that change move
 * to memory of their own. Afterwards the adapter's file is the model's source. A path that has no
 * place in the model, that is there in half, or that does not fit is named. */
clip_status clip_adapter_merge(const struct clip_adapter *adapter, struct clip_model_file *file,
                               struct clip_error *error);

#endif
