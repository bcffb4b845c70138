/* Both towers as one ONNX graph, or each as one of its own, with the names of transformers' own
 * exports:
 *
 *   input_ids     I64 [text_batch_size, sequence_length], padded
 *   pixel_values  F32 [image_batch_size, 3, S, S]
 *   logits_per_image, logits_per_text, text_embeds, image_embeds (rows of unit length)
 *
 * An attention_mask is not needed: padding stands behind the end token, where causal attention
 * never looks. A caption is pooled where the model's rules say: at its first end token, or at its
 * first largest id, as open_clip does. A SigLIP reads its padding like any other word: there the
 * rows of input_ids have its context's length, and are pooled at their last. Weights keep our names
 * and shapes, which are open_clip's. Rows are kept as matrices [B*T, D] for Gemm, which takes
 * PyTorch's [out, in] weights as they are. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "checkpoints/onnx.h"
#include "formats/export_parts.h"
#include "formats/model_description.h"

#define NODE CLIP_ONNX_NODE

struct graph {
    struct clip_onnx *o;
    const struct clip_export *export;
    struct clip_bundle narrow; /* holds weights in a narrower type */
    clip_status status;
    struct clip_error *error;
};

struct tower {
    const struct clip_tower *is;
    const char *prefix;         /* of its blocks' names */
    const char *batch, *length; /* I64 [1] each */
    const char *mask;           /* added to the scores, F32 [T,T]; NULL: none */
};

static const char *weight(struct graph *g, const char *name)
{
    const struct clip_param *param = clip_model_param(g->export->file->model, name);
    if (g->status != CLIP_OK) return "";
    g->status = clip_export_add(&g->narrow, name, &param->tensor, g->export->dtype, g->error);
    if (g->status != CLIP_OK) return "";
    return clip_onnx_weight(g->o, name, clip_bundle_find(&g->narrow, name));
}

static const char *part(struct graph *g, const struct tower *t, int64_t layer, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%lld.%s", t->prefix, (long long)layer, name);
    return weight(g, full);
}

static const char *ints(struct graph *g, int64_t a, int64_t b)
{
    return clip_onnx_ints(g->o, (const int64_t[]){a, b}, 2);
}

static const char *one_int(struct graph *g, int64_t value)
{
    return clip_onnx_ints(g->o, &value, 1);
}

/* x W^T + b over rows: x [R, in], W [out, in] */
static const char *linear(struct graph *g, const char *x, const char *w, const char *b)
{
    return NODE(g->o, "Gemm", "transB=1", x, w, b);
}

static const char *norm(struct graph *g, const struct tower *t, const char *x, const char *w,
                        const char *b)
{
    char attributes[64];
    snprintf(attributes, sizeof attributes, "axis=-1 epsilon=%.9e", t->is->norm_eps);
    return NODE(g->o, "LayerNormalization", attributes, x, w, b);
}

/* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, of which this is 1 + tanh(...) */
static const char *one_and_tanh(struct graph *g, const char *x)
{
    const char *square = NODE(g->o, "Mul", "", x, x);
    const char *cube = NODE(g->o, "Mul", "", square, x);
    cube = NODE(g->o, "Mul", "", cube, clip_onnx_float(g->o, 0.044715f));
    const char *inner =
        NODE(g->o, "Mul", "", NODE(g->o, "Add", "", x, cube), clip_onnx_float(g->o, 0.79788456f));
    return NODE(g->o, "Add", "", NODE(g->o, "Tanh", "", inner), clip_onnx_float(g->o, 1.0f));
}

/* x sigmoid(1.702 x), or x (1 + erf(x / sqrt 2)) / 2, or its tanh form */
static const char *activation(struct graph *g, const struct tower *t, const char *x)
{
    if (t->is->activation == CLIP_QUICK_GELU) {
        const char *inner = NODE(g->o, "Mul", "", x, clip_onnx_float(g->o, 1.702f));
        return NODE(g->o, "Mul", "", x, NODE(g->o, "Sigmoid", "", inner));
    }
    const char *inner = NODE(g->o, "Div", "", x, clip_onnx_float(g->o, (float)sqrt(2.0)));
    const char *sum =
        t->is->activation == CLIP_GELU_TANH
            ? one_and_tanh(g, x)
            : NODE(g->o, "Add", "", NODE(g->o, "Erf", "", inner), clip_onnx_float(g->o, 1.0f));
    return NODE(g->o, "Mul", "", NODE(g->o, "Mul", "", x, sum), clip_onnx_float(g->o, 0.5f));
}

/* x [B*T, D] -> softmax(q k^T / sqrt(head) + mask) v, projected, [B*T, D] */
static const char *attention(struct graph *g, const struct tower *t, int64_t layer, const char *x)
{
    int64_t head = t->is->width / t->is->heads;
    const char *qkv = linear(g, x, part(g, t, layer, "attn.in_proj_weight"),
                             part(g, t, layer, "attn.in_proj_bias")); /* [B*T, 3D] */
    const char *shape = NODE(g->o, "Concat", "axis=0", t->batch, t->length,
                             clip_onnx_ints(g->o, (const int64_t[]){3, t->is->heads, head}, 3));
    qkv = NODE(g->o, "Reshape", "", qkv, shape);            /* [B, T, 3, H, head] */
    qkv = NODE(g->o, "Transpose", "perm=[2,0,3,1,4]", qkv); /* [3, B, H, T, head] */
    const char *zero = one_int(g, 0);
    char names[2][96];
    const char *q = NODE(g->o, "Split", "axis=0 outputs=3", qkv);
    snprintf(names[0], sizeof names[0], "%s.1", q);
    snprintf(names[1], sizeof names[1], "%s.2", q);
    q = NODE(g->o, "Squeeze", "", q, zero);
    const char *k = NODE(g->o, "Squeeze", "", names[0], zero);
    const char *v = NODE(g->o, "Squeeze", "", names[1], zero);
    q = NODE(g->o, "Mul", "", q, clip_onnx_float(g->o, (float)(1 / sqrt((double)head))));
    const char *scores = NODE(g->o, "MatMul", "", q, NODE(g->o, "Transpose", "perm=[0,1,3,2]", k));
    if (t->mask != NULL) scores = NODE(g->o, "Add", "", scores, t->mask);
    const char *y = NODE(g->o, "MatMul", "", NODE(g->o, "Softmax", "axis=-1", scores), v);
    y = NODE(g->o, "Transpose", "perm=[0,2,1,3]", y); /* [B, T, H, head] */
    y = NODE(g->o, "Reshape", "", y, ints(g, -1, t->is->width));
    return linear(g, y, part(g, t, layer, "attn.out_proj.weight"),
                  part(g, t, layer, "attn.out_proj.bias"));
}

static const char *block(struct graph *g, const struct tower *t, int64_t layer, const char *x)
{
    const char *y = norm(g, t, x, part(g, t, layer, "ln_1.weight"), part(g, t, layer, "ln_1.bias"));
    x = NODE(g->o, "Add", "", x, attention(g, t, layer, y));
    y = norm(g, t, x, part(g, t, layer, "ln_2.weight"), part(g, t, layer, "ln_2.bias"));
    y = linear(g, y, part(g, t, layer, "mlp.c_fc.weight"), part(g, t, layer, "mlp.c_fc.bias"));
    y = linear(g, activation(g, t, y), part(g, t, layer, "mlp.c_proj.weight"),
               part(g, t, layer, "mlp.c_proj.bias"));
    return NODE(g->o, "Add", "", x, y);
}

/* x [B, T, D] -> [B*T, D] */
static const char *blocks(struct graph *g, const struct tower *t, const char *x)
{
    x = NODE(g->o, "Reshape", "", x, ints(g, -1, t->is->width));
    for (int64_t i = 0; i < t->is->layers && g->status == CLIP_OK; i++) x = block(g, t, i, x);
    return x;
}

/* Rows divided by their length. */
static const char *unit(struct graph *g, const char *x)
{
    return NODE(g->o, "Div", "", x, NODE(g->o, "ReduceL2", "axes=[-1] keepdims=1", x));
}

/* Row `at` of each [T, D] of x [B, T, D]; -1: the last. */
static const char *row(struct graph *g, const char *x, int64_t at)
{
    x = NODE(g->o, "Gather", "axis=1", x, one_int(g, at));
    return NODE(g->o, "Squeeze", "", x, one_int(g, 1));
}

static const char *head_part(struct graph *g, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "visual.attn_pool.%s", name);
    return weight(g, full);
}

/* SigLIP's head: one learned query looks at an image's rows, and an MLP follows.
 * x [B*T, D], normalised -> [B, D] */
static const char *attention_pool(struct graph *g, const struct tower *t, const char *x)
{
    int64_t head = t->is->width / t->is->heads;
    const char *q = linear(g, head_part(g, "probe"), head_part(g, "q.weight"),
                           head_part(g, "q.bias")); /* [1, D] */
    q = NODE(g->o, "Mul", "", q, clip_onnx_float(g->o, (float)(1 / sqrt((double)head))));
    q = NODE(g->o, "Reshape", "", q, clip_onnx_ints(g->o, (int64_t[]){t->is->heads, 1, head}, 3));
    const char *kv = linear(g, x, head_part(g, "kv.weight"), head_part(g, "kv.bias"));
    const char *shape = NODE(g->o, "Concat", "axis=0", t->batch, t->length,
                             clip_onnx_ints(g->o, (const int64_t[]){2, t->is->heads, head}, 3));
    kv = NODE(g->o, "Reshape", "", kv, shape);            /* [B, T, 2, H, head] */
    kv = NODE(g->o, "Transpose", "perm=[2,0,3,1,4]", kv); /* [2, B, H, T, head] */
    kv = NODE(g->o, "Split", "axis=0 outputs=2", kv);
    char second[96];
    snprintf(second, sizeof second, "%s.1", kv);
    const char *zero = one_int(g, 0), *k = NODE(g->o, "Squeeze", "", kv, zero);
    const char *v = NODE(g->o, "Squeeze", "", second, zero);
    const char *scores = NODE(g->o, "MatMul", "", q,
                              NODE(g->o, "Transpose", "perm=[0,1,3,2]", k)); /* [B, H, 1, T] */
    x = NODE(g->o, "MatMul", "", NODE(g->o, "Softmax", "axis=-1", scores), v);
    x = NODE(g->o, "Reshape", "", x, ints(g, -1, t->is->width));
    x = linear(g, x, head_part(g, "proj.weight"), head_part(g, "proj.bias"));
    const char *y = norm(g, t, x, head_part(g, "norm.weight"), head_part(g, "norm.bias"));
    y = linear(g, y, head_part(g, "mlp.fc1.weight"), head_part(g, "mlp.fc1.bias"));
    y = linear(g, activation(g, t, y), head_part(g, "mlp.fc2.weight"),
               head_part(g, "mlp.fc2.bias"));
    return NODE(g->o, "Add", "", x, y);
}

/* A class row in front of an image's patches x [B, N, D]: [B, N + 1, D] */
static const char *with_class(struct graph *g, const struct tower *t, const char *x)
{
    const char *shape = NODE(g->o, "Concat", "axis=0", t->batch, ints(g, 1, t->is->width));
    const char *first = NODE(g->o, "Expand", "", weight(g, "visual.class_embedding"), shape);
    return NODE(g->o, "Concat", "axis=1", first, x);
}

/* Rows x [B, D] -> [B, E] by the tower's projection, whose weights begin with `name`. */
static const char *project(struct graph *g, const struct tower *t, const char *x, const char *name)
{
    char w[64], b[64];
    if (t->is->projection == CLIP_PROJECT_NONE) return x;
    if (t->is->projection == CLIP_PROJECT_MATRIX)
        return NODE(g->o, "MatMul", "", x, weight(g, name));
    snprintf(w, sizeof w, "%s.weight", name);
    snprintf(b, sizeof b, "%s.bias", name);
    return linear(g, x, weight(g, w), weight(g, b));
}

/* pixel_values -> [B, E] */
static const char *vision(struct graph *g)
{
    const struct clip_model_config *c = &g->export->file->model->config;
    int64_t grid = c->image_size / c->patch_size, rows = clip_model_image_rows(c);
    char attributes[128];
    struct tower t = {&c->vision, "visual.transformer.resblocks.",
                      NODE(g->o, "Shape", "start=0 end=1", "pixel_values"), one_int(g, rows), NULL};
    snprintf(attributes, sizeof attributes, "kernel_shape=[%d,%d] strides=[%d,%d]",
             (int)c->patch_size, (int)c->patch_size, (int)c->patch_size, (int)c->patch_size);
    const char *x =
        NODE(g->o, "Conv", attributes, "pixel_values", weight(g, "visual.conv1.weight"));
    const int64_t flat[] = {0, c->vision.width, grid * grid}; /* 0: as it is */
    x = NODE(g->o, "Reshape", "", x, clip_onnx_ints(g->o, flat, 3));
    x = NODE(g->o, "Transpose", "perm=[0,2,1]", x); /* [B, N, D] */
    if (c->vision.patch_bias) x = NODE(g->o, "Add", "", x, weight(g, "visual.conv1.bias"));
    if (c->vision.class_row) x = with_class(g, &t, x);
    x = NODE(g->o, "Add", "", x, weight(g, "visual.positional_embedding"));
    if (c->vision.embed_norm)
        x = norm(g, &t, x, weight(g, "visual.ln_pre.weight"), weight(g, "visual.ln_pre.bias"));
    x = blocks(g, &t, x);
    const char *post_w = weight(g, "visual.ln_post.weight");
    const char *post_b = weight(g, "visual.ln_post.bias");
    if (c->vision.pooling == CLIP_POOL_FIRST) {
        const int64_t shape[] = {-1, rows, c->vision.width};
        x = row(g, NODE(g->o, "Reshape", "", x, clip_onnx_ints(g->o, shape, 3)), 0);
    }
    x = norm(g, &t, x, post_w, post_b);
    if (c->vision.pooling == CLIP_POOL_ATTENTION) x = attention_pool(g, &t, x);
    return unit(g, project(g, &t, x, "visual.proj"));
}

/* [T, T]: 0 on and below the diagonal, -infinity above. */
static const char *causal_mask(struct graph *g, const char *length)
{
    const char *square = NODE(g->o, "Concat", "axis=0", length, length);
    const char *least = NODE(g->o, "Expand", "", clip_onnx_float(g->o, -INFINITY), square);
    return NODE(g->o, "Trilu", "upper=1", least, NODE(g->o, "Squeeze", "", one_int(g, 1)));
}

/* Each caption's row at its first end token, or else its first largest id: x [B*T, D] -> [B, D] */
static const char *pool(struct graph *g, const struct tower *t, const char *x)
{
    const char *ids = "input_ids";
    if (g->export->file->ids.end != 0)
        ids = NODE(g->o, "Equal", "", ids, one_int(g, g->export->file->ids.end));
    ids = NODE(g->o, "Cast", "to=6", ids); /* to I32: onnxruntime's ArgMax has no I64 */
    const char *end = NODE(g->o, "ArgMax", "axis=1 keepdims=0", ids);
    const char *zero = NODE(g->o, "Squeeze", "", one_int(g, 0));
    const char *one = NODE(g->o, "Squeeze", "", one_int(g, 1));
    const char *captions = NODE(g->o, "Range", "", zero, NODE(g->o, "Squeeze", "", t->batch), one);
    const char *start = NODE(g->o, "Mul", "", captions, t->length);
    return NODE(g->o, "Gather", "axis=0", x, NODE(g->o, "Add", "", start, end));
}

/* input_ids -> [B, E] */
static const char *text(struct graph *g)
{
    const struct clip_model_config *c = &g->export->file->model->config;
    struct tower t = {&c->text, "transformer.resblocks.",
                      NODE(g->o, "Shape", "start=0 end=1", "input_ids"),
                      NODE(g->o, "Shape", "start=1 end=2", "input_ids"), NULL};
    if (c->text.causal) t.mask = causal_mask(g, t.length);
    const char *x =
        NODE(g->o, "Gather", "axis=0", weight(g, "token_embedding.weight"), "input_ids");
    const char *positions =
        NODE(g->o, "Slice", "", weight(g, "positional_embedding"), one_int(g, 0), t.length);
    x = blocks(g, &t, NODE(g->o, "Add", "", x, positions));
    if (c->text.pooling == CLIP_POOL_LAST) {
        const int64_t shape[] = {-1, c->context_length, c->text.width};
        x = row(g, NODE(g->o, "Reshape", "", x, clip_onnx_ints(g->o, shape, 3)), -1);
    } else {
        x = pool(g, &t, x);
    }
    x = norm(g, &t, x, weight(g, "ln_final.weight"), weight(g, "ln_final.bias"));
    return unit(g, project(g, &t, x, "text_projection"));
}

static void add_text_input(struct graph *g)
{
    const struct clip_model_config *c = &g->export->file->model->config;
    char ids[64] = "text_batch_size,sequence_length";
    if (c->text.whole_rows) snprintf(ids, sizeof ids, "text_batch_size,%d", (int)c->context_length);
    clip_onnx_input(g->o, "input_ids", CLIP_I64, ids);
}

static void add_image_input(struct graph *g)
{
    int side = (int)g->export->file->model->config.image_size;
    char pixels[96];
    snprintf(pixels, sizeof pixels, "image_batch_size,3,%d,%d", side, side);
    clip_onnx_input(g->o, "pixel_values", CLIP_F32, pixels);
}

/* Makes `value` [batch, E] the output `name`. */
static void add_rows(struct graph *g, const char *name, const char *value, const char *batch)
{
    char rows[64];
    snprintf(rows, sizeof rows, "%s,%d", batch, (int)g->export->file->model->config.embed_dim);
    clip_onnx_output(g->o, name, value, CLIP_F32, rows);
}

static void build_both(struct graph *g)
{
    const struct clip_model *model = g->export->file->model;
    add_text_input(g);
    add_image_input(g);
    const char *texts = text(g), *images = vision(g);
    const char *scale = NODE(g->o, "Exp", "", weight(g, "logit_scale"));
    const char *logits =
        NODE(g->o, "MatMul", "", texts, NODE(g->o, "Transpose", "perm=[1,0]", images));
    logits = NODE(g->o, "Mul", "", logits, scale);
    if (model->logit_bias != NULL) logits = NODE(g->o, "Add", "", logits, weight(g, "logit_bias"));
    clip_onnx_output(g->o, "logits_per_image", NODE(g->o, "Transpose", "perm=[1,0]", logits),
                     CLIP_F32, "image_batch_size,text_batch_size");
    clip_onnx_output(g->o, "logits_per_text", logits, CLIP_F32, "text_batch_size,image_batch_size");
    add_rows(g, "text_embeds", texts, "text_batch_size");
    add_rows(g, "image_embeds", images, "image_batch_size");
}

static void build_vision(struct graph *g)
{
    add_image_input(g);
    add_rows(g, "image_embeds", vision(g), "image_batch_size");
}

static void build_text(struct graph *g)
{
    add_text_input(g);
    add_rows(g, "text_embeds", text(g), "text_batch_size");
}

/* What turns cosines into logits, for those who multiply the rows of two graphs themselves. */
static void add_scale(struct graph *g)
{
    const struct clip_model *model = g->export->file->model;
    char text[40];
    snprintf(text, sizeof text, "%.9g", (double)*(const float *)model->logit_scale->data);
    clip_onnx_text(g->o, "logit_scale", text);
    if (model->logit_bias == NULL) return;
    snprintf(text, sizeof text, "%.9g", (double)*(const float *)model->logit_bias->data);
    clip_onnx_text(g->o, "logit_bias", text);
}

/* One graph as the file `path`. */
static clip_status write_graph(const struct clip_export *export, const char *path,
                               void (*build)(struct graph *g), struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer description = {0};
    struct graph g = {.export = export, .error = error};
    struct clip_model_description d = clip_model_file_description(export->file);
    CLIP_TRY(clip_export_check_architecture(export->file, error));
    CLIP_TRY(clip_onnx_create(&g.o, error));
    build(&g);
    CLIP_TRY(g.status);
    CLIP_TRY(clip_model_description_format(&d, &description, error));
    clip_onnx_text(g.o, "config", description.data);
    if (export->file->tokenizer != NULL && build != build_vision)
        clip_onnx_text(g.o, "tokenizer", export->file->tokenizer->text.data);
    if (build != build_both) add_scale(&g);
    CLIP_TRY(clip_onnx_write(g.o, path, CLIP_ONNX_LIMIT, error));
out:
    clip_onnx_free(g.o);
    clip_bundle_release(&g.narrow);
    clip_buffer_release(&description);
    return status;
}

clip_status clip_export_onnx(const struct clip_export *export, struct clip_error *error)
{
    return write_graph(export, export->path, build_both, error);
}

clip_status clip_export_onnx_split(const struct clip_export *export, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *images = clip_path_join(export->path, "vision_model.onnx", error);
    char *texts = clip_path_join(export->path, "text_model.onnx", error);
    if (images == NULL || texts == NULL) CLIP_TRY(CLIP_ERR_MEMORY);
    CLIP_TRY(write_graph(export, images, build_vision, error));
    CLIP_TRY(write_graph(export, texts, build_text, error));
out:
    free(images);
    free(texts);
    return status;
}
