/* What was found out about a model, in a line. */
#include <stdio.h>

#include "core/count.h"
#include "formats/architectures.h"
#include "formats/model_file.h"

const char *clip_model_activation(const struct clip_model_config *c,
                                  char text[CLIP_ACTIVATION_TEXT])
{
    static const char *const names[] = {
        [CLIP_GELU] = "GELU", [CLIP_QUICK_GELU] = "QuickGELU", [CLIP_GELU_TANH] = "GELU by tanh"};
    const char *vision = names[c->vision.activation], *of_text = names[c->text.activation];
    bool same = c->vision.activation == c->text.activation;
    snprintf(text, CLIP_ACTIVATION_TEXT, same ? "%s" : "%s (for texts %s)", vision, of_text);
    return text;
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
    char activation[CLIP_ACTIVATION_TEXT];
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_buffer_printf(out, error, "%s: %s as %s writes it, %s, %s", file->source,
                                clip_architecture_title(clip_architecture_of(c)),
                                file->format != NULL ? file->format : "clip.c",
                                clip_model_activation(c, activation), type_of(&file->weights)));
    CLIP_TRY(clip_buffer_printf(
        out, error, "; images of %lld in patches of %lld, %s of width %lld, %s",
        (long long)c->image_size, (long long)c->patch_size, CLIP_COUNT(c->vision.layers, "block"),
        (long long)c->vision.width, CLIP_COUNT(c->vision.heads, "head")));
    CLIP_TRY(clip_buffer_printf(out, error, "; texts of %s among %lld, %s of width %lld, %s",
                                CLIP_COUNT(c->context_length, "token"), (long long)c->vocab_size,
                                CLIP_COUNT(c->text.layers, "block"), (long long)c->text.width,
                                CLIP_COUNT(c->text.heads, "head")));
    CLIP_TRY(clip_buffer_printf(
        out, error, "; embeddings of %lld%s", (long long)c->embed_dim,
        file->towers == CLIP_TOWERS_IMAGE || file->tokenizer != NULL ? "" : "; no tokenizer"));
out:
    return status;
}
