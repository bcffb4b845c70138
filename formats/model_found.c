/* What was found out about a model, in a line. */

#include "formats/model_file.h"

const char *clip_model_activation(const struct clip_model_config *c)
{
    return c->quick_gelu       ? "QuickGELU"
           : c->gelu_tanh      ? "GELU by tanh"
           : c->text_gelu_tanh ? "GELU (for texts by tanh)"
                               : "GELU";
}

/* The type that most of the weights have: that of the largest. */
static const char *type_of(const struct clip_bundle *weights)
{
    const struct clip_tensor *largest = NULL;
    for (int64_t i = 0; i < weights->tensor_count; i++) {
        const struct clip_tensor *t = &weights->tensors[i].tensor;
        if (largest == NULL || clip_tensor_count(t) > clip_tensor_count(largest)) largest = t;
    }
    return largest != NULL ? clip_dtype_name(largest->dtype) : "F32";
}

clip_status clip_model_file_found(const struct clip_model_file *file, struct clip_buffer *out,
                                  struct clip_error *error)
{
    const struct clip_model_config *c = &file->model->config;
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_buffer_printf(out, error, "%s: %s as %s writes it, %s, %s", file->source,
                                c->siglip ? "SigLIP" : "CLIP",
                                file->format != NULL ? file->format : "clip.c",
                                clip_model_activation(c), type_of(&file->weights)));
    CLIP_TRY(clip_buffer_printf(
        out, error, "; images of %lld in patches of %lld, %lld blocks of width %lld, %lld heads",
        (long long)c->image_size, (long long)c->patch_size, (long long)c->vision_layers,
        (long long)c->vision_width, (long long)c->vision_heads));
    CLIP_TRY(clip_buffer_printf(
        out, error, "; texts of %lld tokens among %lld, %lld blocks of width %lld, %lld heads",
        (long long)c->context_length, (long long)c->vocab_size, (long long)c->text_layers,
        (long long)c->text_width, (long long)c->text_heads));
    CLIP_TRY(clip_buffer_printf(
        out, error, "; embeddings of %lld%s", (long long)c->embed_dim,
        file->towers == CLIP_TOWERS_IMAGE || file->tokenizer != NULL ? "" : "; no tokenizer"));
out:
    return status;
}
