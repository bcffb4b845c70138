/* Ready tensors -> embeddings, and what else the towers can tell of them. */
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "embed/embeddings.h"
#include "kernels/gemm.h"

struct work { /* what is read from the file and made of it */
    const struct clip_embedder *embedder;
    const struct clip_embeddings_extras *extras;
    struct clip_bundle in;
    struct clip_embeddings *out;
    int64_t images, texts, length;     /* n, m, T */
    float *pixels;                     /* [n,3,S,S] */
    int32_t *ids;                      /* [m,T] */
    float *image_embeds, *text_embeds; /* in `out` */
};

/* ---- reading ---- */

static clip_status read_pixels(struct work *w, struct clip_error *error)
{
    clip_status status;
    int64_t size = clip_embedder_image_size(w->embedder);
    const struct clip_tensor *given = clip_bundle_find(&w->in, "pixel_values");
    char have[CLIP_SHAPE_TEXT];
    if (given->ndim != 4 || given->shape[1] != 3 || given->shape[2] != size ||
        given->shape[3] != size)
        return clip_fail(error, CLIP_ERR_DATA,
                         "\"pixel_values\" has shape %s where the model wants [n, 3, %lld, %lld]",
                         clip_shape_text(have, given), (long long)size, (long long)size);
    w->images = given->shape[0];
    CLIP_NEW(w->pixels, clip_tensor_count(given));
    const struct clip_tensor copy = clip_tensor_view(CLIP_F32, w->pixels, 4, given->shape);
    CLIP_TRY(clip_bundle_copy(&w->in, "pixel_values", &copy, error));
out:
    return status;
}

/* Ids of either integer type as int32; what does not fit becomes one that no model has. */
static clip_status read_ids(struct work *w, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const struct clip_tensor *given = clip_bundle_find(&w->in, "input_ids");
    char have[CLIP_SHAPE_TEXT];
    if (given->ndim != 2 || (given->dtype != CLIP_I32 && given->dtype != CLIP_I64))
        return clip_fail(error, CLIP_ERR_DATA,
                         "\"input_ids\" is %s of shape %s; expected I32 or I64 of shape [n, T]",
                         clip_dtype_name(given->dtype), clip_shape_text(have, given));
    int64_t n = clip_tensor_count(given);
    w->texts = given->shape[0];
    w->length = given->shape[1];
    CLIP_NEW(w->ids, n);
    for (int64_t i = 0; i < n; i++) {
        int64_t id = given->dtype == CLIP_I32 ? ((const int32_t *)given->data)[i]
                                              : ((const int64_t *)given->data)[i];
        w->ids[i] = id < 0 ? -1 : id > INT32_MAX ? INT32_MAX : (int32_t)id;
    }
out:
    return status;
}

/* ---- embeddings ---- */

/* embeds = normalised copy of features */
static void normalise_into(float *embeds, const float *features, int64_t n, int64_t dim)
{
    memcpy(embeds, features, (size_t)(n * dim) * sizeof *embeds);
    clip_rows_normalise(embeds, n, dim);
}

static clip_status add_images(struct work *w, struct clip_error *error)
{
    clip_status status;
    int64_t n = w->images, dim = clip_embedder_dim(w->embedder);
    float *features;
    CLIP_TRY(clip_embeddings_add(w->out, "image_features", n, dim, &features, error));
    CLIP_TRY(clip_embeddings_add(w->out, "image_embeds", n, dim, &w->image_embeds, error));
    CLIP_TRY(clip_embedder_pixels(w->embedder, w->pixels, n, CLIP_RAW, features, error));
    normalise_into(w->image_embeds, features, n, dim);
out:
    return status;
}

static clip_status add_texts(struct work *w, struct clip_error *error)
{
    clip_status status;
    int64_t n = w->texts, dim = clip_embedder_dim(w->embedder);
    float *features;
    CLIP_TRY(clip_embeddings_add(w->out, "text_features", n, dim, &features, error));
    CLIP_TRY(clip_embeddings_add(w->out, "text_embeds", n, dim, &w->text_embeds, error));
    CLIP_TRY(clip_embedder_ids(w->embedder, w->ids, n, w->length, CLIP_RAW, features, error));
    normalise_into(w->text_embeds, features, n, dim);
out:
    return status;
}

static clip_status add_logits(struct work *w, struct clip_error *error)
{
    int64_t n = w->images, m = w->texts, dim = clip_embedder_dim(w->embedder);
    float *logits, bias = (float)clip_embedder_logit_bias(w->embedder);
    clip_status status = clip_embeddings_add(w->out, "logits_per_image", n, m, &logits, error);
    if (status != CLIP_OK) return status;
    clip_gemm(&(struct clip_gemm){.m = n,
                                  .n = m,
                                  .k = dim,
                                  .alpha = (float)clip_embedder_logit_scale(w->embedder),
                                  .a = {w->image_embeds, dim},
                                  .b = {w->text_embeds, dim, .transpose = true},
                                  .c = {logits, m}});
    for (int64_t i = 0; i < n * m; i++) logits[i] += bias;
    return CLIP_OK;
}

/* ---- hidden states and gradients ---- */

clip_status clip_embeddings_add_states(struct clip_embeddings *out, const struct clip_embedder *e,
                                       const int32_t *ids, int64_t n, int64_t length,
                                       enum clip_layer layer, struct clip_error *error)
{
    clip_status status;
    const int64_t shape[] = {n, length, clip_embedder_text_width(e)};
    float *states, *normed;
    CLIP_TRY(clip_embeddings_add_shape(out, "hidden_states", 3, shape, &states, error));
    CLIP_TRY(clip_embeddings_add_shape(out, "hidden_states_ln", 3, shape, &normed, error));
    CLIP_TRY(clip_embedder_text_states(e, ids, n, length, layer, states, normed, error));
out:
    return status;
}

static clip_status add_image_states(struct work *w, struct clip_error *error)
{
    clip_status status;
    const struct clip_embedder *e = w->embedder;
    const int64_t shape[] = {w->images, clip_embedder_image_tokens(e),
                             clip_embedder_vision_width(e)};
    float *states, *normed;
    CLIP_TRY(clip_embeddings_add_shape(w->out, "vision_hidden_states", 3, shape, &states, error));
    CLIP_TRY(
        clip_embeddings_add_shape(w->out, "vision_hidden_states_ln", 3, shape, &normed, error));
    CLIP_TRY(clip_embedder_image_states(e, w->pixels, w->images, w->extras->layer, states, normed,
                                        error));
out:
    return status;
}

static clip_status add_grad(struct work *w, struct clip_error *error)
{
    clip_status status;
    int64_t size = clip_embedder_image_size(w->embedder);
    const int64_t shape[] = {w->images, 3, size, size};
    float *grad;
    if (w->pixels == NULL || w->ids == NULL)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "--grad pairs image i with text i: it needs both \"pixel_values\" and "
                         "\"input_ids\"");
    if (w->images != w->texts)
        return clip_fail(error, CLIP_ERR_USAGE,
                         "--grad pairs image i with text i, and there are %s and %s; give as many "
                         "of one as of the other",
                         CLIP_COUNT(w->images, "image"), CLIP_COUNT(w->texts, "text"));
    CLIP_TRY(clip_embeddings_add_shape(w->out, "pixel_grad", 4, shape, &grad, error));
    CLIP_TRY(clip_embedder_pixel_grad(w->embedder, w->pixels, w->images, w->text_embeds, NULL, grad,
                                      error));
out:
    return status;
}

static clip_status add_extras(struct work *w, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    if (w->extras->states && w->ids != NULL)
        CLIP_TRY(clip_embeddings_add_states(w->out, w->embedder, w->ids, w->texts, w->length,
                                            w->extras->layer, error));
    if (w->extras->states && w->pixels != NULL) CLIP_TRY(add_image_states(w, error));
    if (w->extras->grad) CLIP_TRY(add_grad(w, error));
out:
    return status;
}

clip_status clip_embeddings_from_tensors(struct clip_embeddings *out,
                                         const struct clip_embedder *embedder, const char *path,
                                         const struct clip_embeddings_extras *extras,
                                         struct clip_error *error)
{
    static const struct clip_embeddings_extras none;
    struct work w = {.embedder = embedder, .out = out, .extras = extras != NULL ? extras : &none};
    clip_status status = clip_safetensors_read(path, &w.in, error);
    if (status != CLIP_OK) return status;
    if (clip_bundle_find(&w.in, "pixel_values") != NULL) CLIP_TRY(read_pixels(&w, error));
    if (clip_bundle_find(&w.in, "input_ids") != NULL) CLIP_TRY(read_ids(&w, error));
    if (w.pixels == NULL && w.ids == NULL)
        CLIP_TRY(
            clip_fail(error, CLIP_ERR_DATA, "there is neither \"pixel_values\" nor \"input_ids\""));
    if (w.pixels != NULL) CLIP_TRY(add_images(&w, error));
    if (w.ids != NULL) CLIP_TRY(add_texts(&w, error));
    if (w.pixels != NULL && w.ids != NULL) CLIP_TRY(add_logits(&w, error));
    CLIP_TRY(add_extras(&w, error));
out:
    free(w.pixels);
    free(w.ids);
    clip_bundle_release(&w.in);
    if (status != CLIP_OK) clip_error_prefix(error, "%s", path);
    return status;
}
