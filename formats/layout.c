/* The tables of names, and taking a weight out of a bundle by them. */
#include "formats/layout.h"

#include <stdio.h>
#include <string.h>

#include "checkpoints/convert.h"
#include "core/threads.h"
#include "kernels/bf16.h"

const char *clip_layout_name(enum clip_layout layout)
{
    static const char *const names[] = {
        [CLIP_LAYOUT_OPEN_CLIP] = "open_clip",
        [CLIP_LAYOUT_CUSTOM_TEXT] = "open_clip (custom text)",
        [CLIP_LAYOUT_TIMM_SIGLIP] = "open_clip (timm)",
        [CLIP_LAYOUT_HUGGINGFACE] = "Hugging Face",
        [CLIP_LAYOUT_GGUF] = "clip.cpp",
    };
    return names[layout];
}

/* ---- Names ---- */

/* A name, or, if it ends in '.', the beginning of names. '?' stands for q, k and v. */
struct rename {
    const char *own, *theirs;
    enum clip_fit fit;
    int first_third, end_third;
};

static const struct rename huggingface[] = {
    {"logit_scale", "logit_scale"},
    {"logit_bias", "logit_bias"},
    {"visual.class_embedding", "vision_model.embeddings.class_embedding"},
    {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"},
    {"visual.proj", "visual_projection.weight", CLIP_FIT_TRANSPOSED},
    {"visual.conv1.", "vision_model.embeddings.patch_embedding."},
    {"visual.ln_pre.", "vision_model.pre_layrnorm."}, /* (as it is spelled there) */
    {"visual.ln_post.", "vision_model.post_layernorm."},
    {"visual.attn_pool.probe", "vision_model.head.probe"},
    {"visual.attn_pool.q.weight", "vision_model.head.attention.in_proj_weight", CLIP_FIT_ROWS, 0,
     1},
    {"visual.attn_pool.q.bias", "vision_model.head.attention.in_proj_bias", CLIP_FIT_ROWS, 0, 1},
    {"visual.attn_pool.kv.weight", "vision_model.head.attention.in_proj_weight", CLIP_FIT_ROWS, 1,
     3},
    {"visual.attn_pool.kv.bias", "vision_model.head.attention.in_proj_bias", CLIP_FIT_ROWS, 1, 3},
    {"visual.attn_pool.proj.", "vision_model.head.attention.out_proj."},
    {"visual.attn_pool.norm.", "vision_model.head.layernorm."},
    {"visual.attn_pool.mlp.", "vision_model.head.mlp."},
    {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
    {"token_embedding.weight", "text_model.embeddings.token_embedding.weight"},
    {"ln_final.", "text_model.final_layer_norm."},
    {"text_projection", "text_projection.weight", CLIP_FIT_TRANSPOSED},
    {"text_projection.", "text_model.head."},
    {NULL, NULL},
};
static const struct rename huggingface_block[] = {
    {"ln_1.", "layer_norm1."},
    {"ln_2.", "layer_norm2."},
    {"attn.in_proj_weight", "self_attn.?_proj.weight", CLIP_FIT_STACKED},
    {"attn.in_proj_bias", "self_attn.?_proj.bias", CLIP_FIT_STACKED},
    {"attn.out_proj.", "self_attn.out_proj."},
    {"mlp.c_fc.", "mlp.fc1."},
    {"mlp.c_proj.", "mlp.fc2."},
    {NULL, NULL},
};
static const struct rename timm[] = {
    {"visual.positional_embedding", "visual.trunk.pos_embed"},
    {"visual.conv1.", "visual.trunk.patch_embed.proj."},
    {"visual.ln_post.", "visual.trunk.norm."},
    {"visual.attn_pool.probe", "visual.trunk.attn_pool.latent"},
    {"visual.attn_pool.", "visual.trunk.attn_pool."},
    {NULL, NULL},
};
static const struct rename timm_block[] = {
    {"ln_1.", "norm1."},
    {"ln_2.", "norm2."},
    {"attn.in_proj_weight", "attn.qkv.weight"},
    {"attn.in_proj_bias", "attn.qkv.bias"},
    {"attn.out_proj.", "attn.proj."},
    {"mlp.c_fc.", "mlp.fc1."},
    {"mlp.c_proj.", "mlp.fc2."},
    {NULL, NULL},
};

static const struct rename gguf[] = {
    {"logit_scale", "logit_scale"}, /* (clip.cpp keeps none; ours is a value, not a tensor) */
    {"logit_bias", "logit_bias"},
    {"visual.class_embedding", "v.class_embd"},
    {"visual.positional_embedding", "v.position_embd.weight"},
    {"visual.proj", "visual_projection.weight", CLIP_FIT_TRANSPOSED},
    {"visual.conv1.weight", "v.patch_embd.weight"},
    {"visual.ln_pre.", "v.pre_ln."},
    {"visual.ln_post.", "v.post_ln."},
    {"positional_embedding", "t.position_embd.weight"},
    {"token_embedding.weight", "t.token_embd.weight"},
    {"ln_final.", "t.post_ln."},
    {"text_projection", "text_projection.weight", CLIP_FIT_TRANSPOSED},
    {NULL, NULL},
};
static const struct rename gguf_block[] = {
    {"ln_1.", "ln1."},
    {"ln_2.", "ln2."},
    {"attn.in_proj_weight", "attn_?.weight", CLIP_FIT_STACKED},
    {"attn.in_proj_bias", "attn_?.bias", CLIP_FIT_STACKED},
    {"attn.out_proj.", "attn_out."},
    {"mlp.c_fc.", "ffn_down."}, /* (as it is named there) */
    {"mlp.c_proj.", "ffn_up."},
    {NULL, NULL},
};

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Writes "BEFORE THEIRS rest" for each name of the row. */
static bool rename_by(const struct rename *table, const char *before, const char *name,
                      struct clip_place *out)
{
    for (const struct rename *row = table; row->own != NULL; row++) {
        size_t n = strlen(row->own);
        bool begins = row->own[n - 1] == '.' && strncmp(name, row->own, n) == 0;
        if (!begins && strcmp(name, row->own) != 0) continue;
        out->fit = row->fit;
        out->first_third = row->first_third;
        out->end_third = row->end_third;
        out->count = row->fit == CLIP_FIT_STACKED ? 3 : 1;
        for (int i = 0; i < out->count; i++) {
            snprintf(out->names[i], sizeof out->names[i], "%s%s%s", before, row->theirs, name + n);
            char *which = strchr(out->names[i], '?');
            if (which != NULL) *which = "qkv"[i];
        }
        return true;
    }
    return false;
}

/* Turns "OWN N.rest" into "THEIRS N." and what the block's table makes of the rest. */
static bool rename_block(const char *own, const char *theirs, const struct rename *table,
                         const char *name, struct clip_place *out)
{
    char before[CLIP_NAME_SIZE];
    if (!starts(name, own)) return false;
    size_t digits = strspn(name + strlen(own), "0123456789");
    const char *rest = name + strlen(own) + digits;
    if (digits == 0 || *rest != '.') return false;
    snprintf(before, sizeof before, "%s%.*s.", theirs, (int)digits, name + strlen(own));
    return rename_by(table, before, rest + 1, out);
}

static bool same_name(const char *before, const char *name, struct clip_place *out)
{
    out->fit = CLIP_FIT_SAME;
    out->count = 1;
    snprintf(out->names[0], sizeof out->names[0], "%s%s", before, name);
    return true;
}

bool clip_layout_place(enum clip_layout layout, const char *name, struct clip_place *out)
{
    bool shared = starts(name, "logit_"), vision = starts(name, "visual.");
    switch (layout) {
    case CLIP_LAYOUT_OPEN_CLIP: return same_name("", name, out);
    case CLIP_LAYOUT_CUSTOM_TEXT: return same_name(shared || vision ? "" : "text.", name, out);
    case CLIP_LAYOUT_TIMM_SIGLIP:
        if (!vision) return same_name(shared ? "" : "text.", name, out);
        return rename_block("visual.transformer.resblocks.", "visual.trunk.blocks.", timm_block,
                            name, out) ||
               rename_by(timm, "", name, out);
    case CLIP_LAYOUT_GGUF:
        return rename_block("visual.transformer.resblocks.", "v.blk.", gguf_block, name, out) ||
               rename_block("transformer.resblocks.", "t.blk.", gguf_block, name, out) ||
               rename_by(gguf, "", name, out);
    case CLIP_LAYOUT_HUGGINGFACE: break;
    }
    return rename_block("visual.transformer.resblocks.", "vision_model.encoder.layers.",
                        huggingface_block, name, out) ||
           rename_block("transformer.resblocks.", "text_model.encoder.layers.", huggingface_block,
                        name, out) ||
           rename_by(huggingface, "", name, out);
}

static bool has(const struct clip_bundle *bundle, const char *prefix, const char *name)
{
    char full[2 * CLIP_NAME_SIZE];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return clip_bundle_find(bundle, full) != NULL;
}

/* A file may be damaged, so that any one of several names is enough. */
bool clip_layout_find(const struct clip_bundle *bundle, const char *prefix, enum clip_layout *out)
{
    static const struct {
        enum clip_layout layout;
        const char *names[4];
    } signs[] = {
        {CLIP_LAYOUT_TIMM_SIGLIP,
         {"visual.trunk.patch_embed.proj.weight", "visual.trunk.pos_embed",
          "visual.trunk.norm.weight"}},
        {CLIP_LAYOUT_CUSTOM_TEXT,
         {"text.token_embedding.weight", "text.positional_embedding", "text.ln_final.weight"}},
        {CLIP_LAYOUT_HUGGINGFACE,
         {"vision_model.embeddings.patch_embedding.weight",
          "text_model.embeddings.token_embedding.weight", "vision_model.post_layernorm.weight",
          "text_model.final_layer_norm.weight"}},
        {CLIP_LAYOUT_GGUF,
         {"v.patch_embd.weight", "t.token_embd.weight", "v.post_ln.weight", "t.post_ln.weight"}},
        {CLIP_LAYOUT_OPEN_CLIP,
         {"visual.conv1.weight", "token_embedding.weight", "visual.ln_post.weight",
          "ln_final.weight"}},
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        for (int k = 0; k < 4 && signs[i].names[k] != NULL; k++) {
            if (!has(bundle, prefix, signs[i].names[k])) continue;
            *out = signs[i].layout;
            return true;
        }
    }
    return false;
}

bool clip_layout_is_extra(const char *name)
{
    static const char *const extras[] = {
        "text_model.embeddings.position_ids",
        "vision_model.embeddings.position_ids",
        "attn_mask",
        "text.attn_mask",
        "input_resolution",
        "context_length",
        "vocab_size",
    };
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
        if (strcmp(name, extras[i]) == 0) return true;
    return false;
}

/* ---- Taking a weight ---- */

/* One of our weights, and the tensors that it is made of. */
struct parts {
    struct clip_place place;
    const struct clip_tensor *tensors[3];
    const char *missing; /* the name of place.names that is missing */
};

static bool find_parts(const struct clip_weight_source *source, const char *name, struct parts *out)
{
    char full[2 * CLIP_NAME_SIZE];
    out->missing = name;
    if (!clip_layout_place(source->layout, name, &out->place)) return false;
    for (int i = 0; i < out->place.count; i++) {
        snprintf(full, sizeof full, "%s%s", source->prefix, out->place.names[i]);
        out->tensors[i] = clip_bundle_find(source->bundle, full);
        out->missing = out->place.names[i];
        if (out->tensors[i] == NULL) return false;
    }
    out->missing = NULL;
    return true;
}

/* The shape of our weight, which is made of parts of one shape; *fits tells whether they fit
 * together. */
static struct clip_tensor shape_of(const struct parts *parts, bool *fits)
{
    const struct clip_place *place = &parts->place;
    struct clip_tensor out = *parts->tensors[0];
    out.data = NULL;
    *fits = place->fit == CLIP_FIT_SAME || out.ndim >= 1;
    if (place->fit == CLIP_FIT_TRANSPOSED) {
        *fits = out.ndim == 2;
        if (*fits) out.shape[0] = parts->tensors[0]->shape[1];
        if (*fits) out.shape[1] = parts->tensors[0]->shape[0];
    } else if (place->fit == CLIP_FIT_ROWS && *fits) {
        *fits = out.shape[0] % 3 == 0;
        out.shape[0] = out.shape[0] / 3 * (place->end_third - place->first_third);
    }
    for (int i = 1; i < place->count && *fits; i++) {
        const struct clip_tensor *other = parts->tensors[i];
        *fits = other->ndim == out.ndim && other->dtype == out.dtype;
        for (int d = 0; d < out.ndim && *fits; d++)
            *fits = other->shape[d] == parts->tensors[0]->shape[d];
    }
    if (place->fit == CLIP_FIT_STACKED && *fits)
        *fits = clip_mul_i64(out.shape[0], place->count, &out.shape[0]);
    return out;
}

bool clip_layout_shape(const struct clip_weight_source *source, const char *name,
                       struct clip_tensor *out)
{
    struct parts parts;
    bool fits = false;
    if (find_parts(source, name, &parts)) *out = shape_of(&parts, &fits);
    return fits;
}

/* Are the shapes equal except for dimensions of size 1? */
static bool same_shape(const struct clip_tensor *a, const struct clip_tensor *b)
{
    int i = 0, k = 0;
    for (;;) {
        while (i < a->ndim && a->shape[i] == 1) i++;
        while (k < b->ndim && b->shape[k] == 1) k++;
        if (i == a->ndim || k == b->ndim) return i == a->ndim && k == b->ndim;
        if (a->shape[i++] != b->shape[k++]) return false;
    }
}

static clip_status misshapen(const struct parts *parts, const struct clip_tensor *want,
                             struct clip_error *error)
{
    char have[CLIP_SHAPE_TEXT], wanted[CLIP_SHAPE_TEXT];
    struct clip_tensor theirs = *want;
    if (parts->place.fit == CLIP_FIT_STACKED) theirs.shape[0] = want->shape[0] / 3;
    if (parts->place.fit == CLIP_FIT_ROWS) {
        theirs.shape[0] = want->shape[0] / (parts->place.end_third - parts->place.first_third) * 3;
    } else if (parts->place.fit == CLIP_FIT_TRANSPOSED) {
        theirs.shape[0] = want->shape[1];
        theirs.shape[1] = want->shape[0];
    }
    for (int i = 0; i < parts->place.count; i++) { /* finds the first that is wrong */
        if (same_shape(parts->tensors[i], &theirs)) continue;
        return clip_fail(error, CLIP_ERR_DATA, "\"%s\" has shape %s where %s is expected",
                         parts->place.names[i], clip_shape_text(have, parts->tensors[i]),
                         clip_shape_text(wanted, &theirs));
    }
    return clip_fail(error, CLIP_ERR_DATA, "\"%s\" and its neighbours are of different types",
                     parts->place.names[0]);
}

/* Widening any float type to float32, in pieces by several threads. */
struct widening {
    float *to;
    const struct clip_tensor *from;
    int64_t begin, count; /* elements of `from` */
};
enum { PIECE = 1 << 16 };

static void widen_piece(void *context, int64_t piece)
{
    const struct widening *w = context;
    int64_t i = piece * PIECE, end = i + PIECE < w->count ? i + PIECE : w->count;
    const uint16_t *half = (const uint16_t *)w->from->data + w->begin;
    switch (w->from->dtype) {
    case CLIP_F32:
        memcpy(w->to + i, (const float *)w->from->data + w->begin + i,
               (size_t)(end - i) * sizeof(float));
        break;
    case CLIP_F16:
        for (; i < end; i++) w->to[i] = clip_f16_to_f32(half[i]);
        break;
    default:
        for (; i < end; i++) w->to[i] = clip_bf16_widen(half[i]);
    }
}

static void widen(float *to, const struct clip_tensor *from, int64_t begin, int64_t count)
{
    struct widening w = {to, from, begin, count};
    clip_parallel_for((count + PIECE - 1) / PIECE, widen_piece, &w);
}

/* to [cols,rows] = transposed from [rows,cols], tile by tile. */
static void transpose(float *to, const float *from, int64_t rows, int64_t cols)
{
    enum { TILE = 32 };
    for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
        for (int64_t c0 = 0; c0 < cols; c0 += TILE) {
            for (int64_t c = c0; c < cols && c < c0 + TILE; c++)
                for (int64_t r = r0; r < rows && r < r0 + TILE; r++)
                    to[c * rows + r] = from[r * cols + c];
        }
    }
}

/* Copies the weight to `to`; a transposed one goes through `room`. */
static void fill(const struct parts *parts, int64_t begin, int64_t count, float *to, float *room)
{
    const struct clip_tensor *first = parts->tensors[0];
    if (parts->place.fit == CLIP_FIT_TRANSPOSED) {
        widen(room, first, 0, count);
        transpose(to, room, first->shape[0], first->shape[1]);
        return;
    }
    int64_t each = count / parts->place.count;
    for (int i = 0; i < parts->place.count; i++)
        widen(to + i * each, parts->tensors[i], begin, each);
}

clip_status clip_layout_take(const struct clip_weight_source *source, const char *name,
                             const struct clip_tensor *want, struct clip_arena *arena, float **out,
                             struct clip_error *error)
{
    struct parts parts;
    bool fits;
    if (!find_parts(source, name, &parts))
        return clip_fail(error, CLIP_ERR_DATA, "the weight \"%s\" is missing", parts.missing);
    const struct clip_tensor shape = shape_of(&parts, &fits), *first = parts.tensors[0];
    if (!fits || !same_shape(&shape, want)) return misshapen(&parts, want, error);
    if (first->dtype != CLIP_F32 && first->dtype != CLIP_F16 && first->dtype != CLIP_BF16) {
        return clip_fail(error, CLIP_ERR_DATA, "\"%s\" is of type %s; expected F32, F16 or BF16",
                         parts.place.names[0], clip_dtype_name(first->dtype));
    }
    int64_t count = clip_tensor_count(want), begin = 0;
    if (parts.place.fit == CLIP_FIT_ROWS)
        begin = clip_tensor_count(first) / 3 * parts.place.first_third;
    bool as_it_is = parts.place.fit == CLIP_FIT_SAME || parts.place.fit == CLIP_FIT_ROWS;
    if (first->dtype == CLIP_F32 && as_it_is) {
        *out = (float *)first->data + begin;
        return CLIP_OK;
    }
    bool turned = parts.place.fit == CLIP_FIT_TRANSPOSED;
    *out = clip_arena_alloc(arena, count, sizeof **out, error);
    float *room = turned && *out != NULL ? clip_arena_alloc(arena, count, sizeof *room, error)
                                         : NULL;
    if (*out == NULL || (turned && room == NULL)) return CLIP_ERR_MEMORY;
    fill(&parts, begin, count, *out, room);
    return CLIP_OK;
}
