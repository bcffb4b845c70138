/* Layouts: the names, and the shapes, that other projects give to a model's weights.
 *
 * Our own names are those of open_clip's CLIP ("visual.transformer.resblocks.0.ln_1.weight"), for a
 * SigLIP with a few more (model/model.h). A layout says where each of them is found in a file:
 *
 *   OPEN_CLIP    the same names
 *   CUSTOM_TEXT  open_clip's CustomTextCLIP: the text tower's names behind "text."
 *   TIMM_SIGLIP  open_clip's SigLIP: the same, and timm's vision transformer behind "visual.trunk."
 *   HUGGINGFACE  transformers' CLIPModel and SiglipModel: q, k and v are weights of their own,
 *                projections are stored transposed (as Linear has them)
 *   GGUF         clip.cpp's: transformers' weights by shorter names
 */
#ifndef CLIP_FORMATS_LAYOUT_H
#define CLIP_FORMATS_LAYOUT_H

#include "checkpoints/bundle.h"

enum clip_layout {
    CLIP_LAYOUT_OPEN_CLIP,
    CLIP_LAYOUT_CUSTOM_TEXT,
    CLIP_LAYOUT_TIMM_SIGLIP,
    CLIP_LAYOUT_HUGGINGFACE,
    CLIP_LAYOUT_GGUF,
};
const char *clip_layout_name(enum clip_layout layout); /* "open_clip", "Hugging Face", ... */

/* Where one of our weights is in a file of some layout. Shapes may differ in dimensions of size 1
 * ([1, 1, D] for [D]), which mean nothing. */
enum clip_fit {
    CLIP_FIT_SAME,       /* names[0], as it is */
    CLIP_FIT_TRANSPOSED, /* names[0], a matrix, transposed */
    CLIP_FIT_STACKED,    /* names[0..2] one below the other: q, k, v */
    CLIP_FIT_ROWS,       /* rows first_third/3 to end_third/3 of names[0] */
};
#define CLIP_NAME_SIZE 128
struct clip_place {
    enum clip_fit fit;
    int count; /* the number of names: 3 if stacked, else 1 */
    int first_third, end_third;
    char names[3][CLIP_NAME_SIZE];
};

/* Tells where our weight `name` is; false if the layout has no such weight. */
bool clip_layout_place(enum clip_layout layout, const char *name, struct clip_place *out);

/* Finds the layout whose names the bundle's tensors have behind `prefix`; false if it is none of
 * these. */
bool clip_layout_find(const struct clip_bundle *bundle, const char *prefix, enum clip_layout *out);

/* Is this a name (behind the prefix) of something that is no weight and that readers skip? These
 * are buffers that some versions of transformers and PyTorch write too ("...position_ids",
 * "attn_mask"), and the three numbers in OpenAI's archives ("input_resolution", "context_length",
 * "vocab_size"). */
bool clip_layout_is_extra(const char *name);

/* Where to find weights: the tensors of a bundle, in a layout, behind a prefix ("", "model/",
 * "module."). */
struct clip_weight_source {
    const struct clip_bundle *bundle;
    enum clip_layout layout;
    const char *prefix;
};

/* Sets *out to the shape that our weight `name` would have, without data; false if the bundle does
 * not have all of it. */
bool clip_layout_shape(const struct clip_weight_source *source, const char *name,
                       struct clip_tensor *out);

/* Takes our weight `name`, of want's shape, as float32. *out points to the bundle's own data if
 * that is F32 and already laid out in our way, else to a widened, joined or transposed copy in
 * `arena`. The error names what is missing, has another shape, or is of a type that is no float. */
clip_status clip_layout_take(const struct clip_weight_source *source, const char *name,
                             const struct clip_tensor *want, struct clip_arena *arena, float **out,
                             struct clip_error *error);

/* The inverse: adds our float32 weight `name` to `out` under the names that the layout has for it.
 * Data is borrowed if it has the same order there (q, k and v are rows of ours), else it is a copy
 * in out's arena. CLIP_ERR_DATA if the layout has no such weight. */
clip_status clip_layout_put(struct clip_bundle *out, enum clip_layout layout, const char *name,
                            const struct clip_tensor *tensor, struct clip_error *error);

#endif
