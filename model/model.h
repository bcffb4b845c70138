/* CLIP: two transformers and a temperature (Radford et al. 2021, section 2.4 and figure 3; shapes
 * and names as in open_clip's CLIP).
 *
 * All parameters are in one float32 buffer, each with open_clip's name ("visual.conv1.weight") and
 * aligned to 64 bytes. Gradients are in a second buffer of the same layout, made when training
 * starts. */
#ifndef CLIP_MODEL_MODEL_H
#define CLIP_MODEL_MODEL_H

#include "autograd/tape.h"
#include "model/tower.h"

/* Which linear layers have a low-rank path beside them (model/lora.h). */
enum {
    CLIP_LORA_Q = 1,
    CLIP_LORA_K = 2,
    CLIP_LORA_V = 4,
    CLIP_LORA_OUT_PROJ = 8,
    CLIP_LORA_C_FC = 16,
    CLIP_LORA_C_PROJ = 32,
    CLIP_LORA_ALL = 63
};
struct clip_lora_config {
    int64_t rank; /* 0: no path */
    double alpha; /* the path is multiplied by alpha / rank */
    unsigned targets;
};
static inline double clip_lora_scale(const struct clip_lora_config *lora)
{
    return lora->alpha / (double)lora->rank;
}

struct clip_model_config {
    int64_t embed_dim;
    int64_t image_size, patch_size;
    struct clip_tower vision;
    int64_t context_length, vocab_size;
    struct clip_tower text;
    bool logit_bias; /* there is one more scalar parameter, for the sigmoid loss */
    /* the loss that it is trained with (model/loss.h); NULL: by logit_bias */
    const struct clip_loss *loss;
    float image_mean[3], image_std[3]; /* by which pixels [0,1] are normalised */
    struct clip_lora_config lora;      /* only while training: files hold merged weights */
};

const char *clip_model_preset_name(int preset); /* "vit-b-32", ...; core/choice.h */
/* Fills in the preset of that name; CLIP_ERR_USAGE lists the presets. */
clip_status clip_model_preset(struct clip_model_config *config, const char *name,
                              struct clip_error *error);
/* Checks that heads divide widths, that the patch size divides the image size, that all sizes are
 * at least 1 and small enough to multiply, and that the towers' kinds make sense. */
clip_status clip_model_config_check(const struct clip_model_config *config,
                                    struct clip_error *error);

/* The rows of an image in the vision tower: its patches, and the class row if there is one. */
int64_t clip_model_image_rows(const struct clip_model_config *config);

enum clip_towers { CLIP_TOWERS_BOTH, CLIP_TOWERS_IMAGE, CLIP_TOWERS_TEXT };

struct clip_param {
    char name[96];
    /* the tower that it belongs to; logit_scale and logit_bias belong to both */
    enum clip_towers tower;
    struct clip_tensor tensor; /* data and grad point into the model's buffers */
    int64_t offset;            /* the offset of its first element in the model's data */
    /* the same in buffers that hold only trained parameters, if it is trained */
    int64_t train_offset;
    bool adapted; /* it has a low-rank path beside it */
    /* weight decay applies to it: it has at least 2 dimensions, and its name is not that of a bn,
     * ln, bias or logit_scale */
    bool decays;
    /* for layer-wise lr decay: how many blocks are between it and its tower's output; 0 at the
     * output */
    int depth;
};

struct clip_lora_pair {
    struct clip_tensor *a, *b; /* NULL: no path */
};

struct clip_block { /* a residual attention block; all pointers point into model->params */
    struct clip_tensor *ln_1_w, *ln_1_b, *in_proj_w, *in_proj_b, *out_proj_w, *out_proj_b;
    struct clip_tensor *ln_2_w, *ln_2_b, *c_fc_w, *c_fc_b, *c_proj_w, *c_proj_b;
    struct clip_lora_pair in_proj_lora, out_proj_lora, c_fc_lora, c_proj_lora;
};

/* What backward computes again instead of keeping it: nothing, each block's MLP, or each whole
 * block. */
enum clip_recompute { CLIP_RECOMPUTE_NONE, CLIP_RECOMPUTE_MLP, CLIP_RECOMPUTE_BLOCK };
const char *clip_recompute_name(int recompute); /* "none", "mlp", "block"; core/choice.h */

struct clip_pool { /* pooling by attention; all pointers point into model->params */
    struct clip_tensor *probe, *q_w, *q_b, *kv_w, *kv_b, *proj_w, *proj_b, *norm_w, *norm_b;
    struct clip_tensor *fc1_w, *fc1_b, *fc2_w, *fc2_b;
};

/* A tower's parameters; NULL if its description has no such parameter. All pointers point into
 * model->params. */
struct clip_tower_params {
    struct clip_tensor *patch_w, *patch_b, *class_row; /* for images */
    struct clip_tensor *tokens;                        /* for texts */
    struct clip_tensor *positions, *embed_norm_w, *embed_norm_b;
    struct clip_block *blocks;
    struct clip_tensor *final_norm_w, *final_norm_b;
    struct clip_pool pool;
    struct clip_tensor *proj, *proj_b;
};

struct clip_model {
    struct clip_model_config config;
    enum clip_recompute recompute; /* changes no bits; less memory takes more time */
    struct clip_param *params;
    int64_t param_count;
    int64_t size, trained; /* elements of data and of grad, with padding */
    float *data, *grad;
    struct clip_panels *panels; /* made by clip_model_pack, with their memory; or NULL */
    void *packed;
    struct clip_tower_params vision, text;
    struct clip_tensor *logit_scale, *logit_bias; /* logit_bias NULL unless config.logit_bias */
};

/* Makes a model with zeroed parameters (fill them from a file or with clip_model_init).
 * clip_model_free accepts NULL. */
clip_status clip_model_create(struct clip_model **out, const struct clip_model_config *config,
                              struct clip_error *error);
/* The same without a buffer, for weights in a mapped file: model->data is NULL, and whoever opens
 * the file makes each parameter's tensor.data point into it. Such a model computes and cannot be
 * trained. */
clip_status clip_model_create_bare(struct clip_model **out, const struct clip_model_config *config,
                                   struct clip_error *error);
void clip_model_free(struct clip_model *model);
/* Prepacks the towers' weights for products of float32 or of bfloat16, for many calls of a model
 * whose weights no longer change. With few rows, such as those of one image or text, packing is
 * most of the work beside multiplying. It takes about the time of one call and memory for one more
 * copy of the weights (half of that in bfloat16, if the processor multiplies it); the bits are the
 * same. What an earlier call packed is replaced. Not to be called while another thread computes. */
clip_status clip_model_pack(struct clip_model *model, bool bf16, struct clip_error *error);
/* Initialises as open_clip does: normal and uniform draws with its standard deviations, from our
 * own numbers keyed by (seed, parameter). */
void clip_model_init(struct clip_model *model, uint64_t seed);
/* Marks every parameter as trained, that is, as needing a gradient. Locks and clip_lora_freeze
 * unmark some again. */
void clip_model_train(struct clip_model *model);
/* Gives the trained parameters their train_offset and zeroed gradients; other parameters take no
 * memory in buffers of `trained` floats. */
clip_status clip_model_gradients(struct clip_model *model, struct clip_error *error);
/* The model's parameter with this tensor. */
const struct clip_param *clip_model_param_of(const struct clip_model *model,
                                             const struct clip_tensor *tensor);
/* Where a parameter's values are in `buffer`, which is laid out like the gradients; in the model's
 * data if it is not trained or `buffer` is NULL. */
float *clip_param_in(const struct clip_param *param, float *buffer);
struct clip_param *clip_model_param(struct clip_model *model,
                                    const char *name);         /* NULL if there is none */
int64_t clip_model_parameters(const struct clip_model *model); /* elements without padding */

/* Resizes position embeddings of a square grid to another size: from [first + from_grid^2, width]
 * to [first + to_grid^2, width]; the `first` rows before the grid (the class row's) are copied.
 * Bicubic with antialiasing and half-pixel centres, as in open_clip's resize_pos_embed (PyTorch's
 * F.interpolate(mode="bicubic", antialias=True)). */
clip_status clip_resize_positions(float *to, int64_t to_grid, const float *from, int64_t from_grid,
                                  int64_t first, int64_t width, struct clip_error *error);

/* LiT (Zhai et al. 2022): the parameters of a tower need no gradient, except for those of its last
 * `unlocked` blocks and of what follows them. */
void clip_model_lock_image(struct clip_model *model, int64_t unlocked);
void clip_model_lock_text(struct clip_model *model, int64_t unlocked);

/* pixels f32 [B,3,S,S], normalised -> [B,E], not normalised. keep i32 [B,K] or NULL: patch
 * dropout. */
struct clip_tensor *clip_vision_features(struct clip_tape *t, struct clip_model *model,
                                         struct clip_tensor *pixels, struct clip_tensor *keep);
/* tokens i32 [T], offsets i32 [B+1]: caption b is tokens[offsets[b]..offsets[b+1]), its last token
 * the end token.
 * -> [B,E], not normalised. No caption is empty or longer than context_length, no id at or above
 * vocab_size. */
struct clip_tensor *clip_text_features(struct clip_tape *t, struct clip_model *model,
                                       struct clip_tensor *tokens, struct clip_tensor *offsets);
/* The rows after the first `blocks` blocks, before the tower's last LayerNorm: [B*(K+1),W], with
 * each image's class row first, and [T,W]. */
struct clip_tensor *clip_vision_states(struct clip_tape *t, struct clip_model *model,
                                       struct clip_tensor *pixels, struct clip_tensor *keep,
                                       int64_t blocks);
struct clip_tensor *clip_text_states(struct clip_tape *t, struct clip_model *model,
                                     struct clip_tensor *tokens, struct clip_tensor *offsets,
                                     int64_t blocks);
/* The tower's last LayerNorm over such rows: ln_post, or ln_final. */
struct clip_tensor *clip_vision_norm(struct clip_tape *t, struct clip_model *model,
                                     struct clip_tensor *states);
struct clip_tensor *clip_text_norm(struct clip_tape *t, struct clip_model *model,
                                   struct clip_tensor *states);
/* Features as unit rows. */
struct clip_tensor *clip_vision_encode(struct clip_tape *t, struct clip_model *model,
                                       struct clip_tensor *pixels, struct clip_tensor *keep);
struct clip_tensor *clip_text_encode(struct clip_tape *t, struct clip_model *model,
                                     struct clip_tensor *tokens, struct clip_tensor *offsets);

/* A product of a step, y [rows,width] = x [rows,depth] w [width,depth]^T, and how many of them
 * there are. */
struct clip_model_product {
    const char *name; /* "vision in_proj" */
    int64_t rows, width, depth;
    int64_t calls;
};
enum { CLIP_MODEL_PRODUCTS = 12 }; /* enough for all of them */
/* The products of the forward pass of `batch` pairs with `tokens` text tokens in all; returns how
 * many there are. */
int64_t clip_model_products(const struct clip_model_config *config, int64_t batch, int64_t tokens,
                            struct clip_model_product *products);

/* The operations of a training step (forward and backward) of `batch` pairs with `tokens` text
 * tokens in all; a multiply-add counts as two. */
double clip_model_flops(const struct clip_model_config *config, int64_t batch, int64_t tokens,
                        bool backward);

#endif
