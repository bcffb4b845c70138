/* CLIP: two transformers and a temperature (Radford et al. 2021, section 2.4 and figure 3; shapes
 * and names as open_clip's CLIP).
 *
 * All parameters lie in one float32 buffer, each with open_clip's name ("visual.conv1.weight"),
 * each start aligned to 64 bytes; gradients lie in a second buffer of the same layout, made when
 * training starts. */
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
    int64_t rank; /* 0: none */
    double alpha; /* the path counts alpha / rank times */
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
    bool logit_bias;                   /* one more scalar parameter, for the sigmoid loss */
    const struct clip_loss *loss;      /* it is trained with (model/loss.h); NULL: by logit_bias */
    float image_mean[3], image_std[3]; /* what pixels [0,1] are normalised with */
    struct clip_lora_config lora;      /* while training alone: files hold merged weights */
};

const char *clip_model_preset_name(int preset); /* "vit-b-32", ...; core/choice.h */
/* Fills in the preset of that name; CLIP_ERR_USAGE names the presets there are. */
clip_status clip_model_preset(struct clip_model_config *config, const char *name,
                              struct clip_error *error);
/* Heads divide widths, the patch divides the image, all sizes at least 1 and small enough to
 * multiply, towers of a kind that makes sense. */
clip_status clip_model_config_check(const struct clip_model_config *config,
                                    struct clip_error *error);

/* Rows of an image in the vision tower: its patches, and the class row where there is one. */
int64_t clip_model_image_rows(const struct clip_model_config *config);

enum clip_towers { CLIP_TOWERS_BOTH, CLIP_TOWERS_IMAGE, CLIP_TOWERS_TEXT };

struct clip_param {
    char name[96];
    enum clip_towers tower;    /* that it belongs to: logit_scale and logit_bias to both */
    struct clip_tensor tensor; /* data and grad point into the model's buffers */
    int64_t offset;            /* of its first element in the model's data */
    int64_t train_offset;      /* where it is trained: in buffers of trained parameters alone */
    bool adapted;              /* a low-rank path stands beside it */
    bool decays; /* weight decay applies: at least 2 dimensions and not named bn, ln, bias or
                    logit_scale */
    int depth; /* for layer-wise lr decay: blocks between it and its tower's output, 0 at the output
                */
};

struct clip_lora_pair {
    struct clip_tensor *a, *b; /* NULL: there is no path */
};

struct clip_block { /* a residual attention block; every pointer into model->params */
    struct clip_tensor *ln_1_w, *ln_1_b, *in_proj_w, *in_proj_b, *out_proj_w, *out_proj_b;
    struct clip_tensor *ln_2_w, *ln_2_b, *c_fc_w, *c_fc_b, *c_proj_w, *c_proj_b;
    struct clip_lora_pair in_proj_lora, out_proj_lora, c_fc_lora, c_proj_lora;
};

/* What backward builds again instead of keeping it: nothing, each block's MLP, each block whole. */
enum clip_recompute { CLIP_RECOMPUTE_NONE, CLIP_RECOMPUTE_MLP, CLIP_RECOMPUTE_BLOCK };
const char *clip_recompute_name(int recompute); /* "none", "mlp", "block"; core/choice.h */

struct clip_pool { /* pools by attention; every pointer into model->params */
    struct clip_tensor *probe, *q_w, *q_b, *kv_w, *kv_b, *proj_w, *proj_b, *norm_w, *norm_b;
    struct clip_tensor *fc1_w, *fc1_b, *fc2_w, *fc2_b;
};

/* A tower's parameters, each NULL where its description has none; pointers into model->params. */
struct clip_tower_params {
    struct clip_tensor *patch_w, *patch_b, *class_row; /* of images */
    struct clip_tensor *tokens;                        /* of texts */
    struct clip_tensor *positions, *embed_norm_w, *embed_norm_b;
    struct clip_block *blocks;
    struct clip_tensor *final_norm_w, *final_norm_b;
    struct clip_pool pool;
    struct clip_tensor *proj, *proj_b;
};

struct clip_model {
    struct clip_model_config config;
    enum clip_recompute recompute; /* the same bits whichever it is; less memory, more time */
    struct clip_param *params;
    int64_t param_count;
    int64_t size, trained; /* elements of data and of grad, padding included */
    float *data, *grad;
    struct clip_panels *panels; /* clip_model_pack's, and their memory; NULL */
    void *packed;
    struct clip_tower_params vision, text;
    struct clip_tensor *logit_scale, *logit_bias; /* logit_bias NULL unless config.logit_bias */
};

/* Zeroed parameters (fill them from a file or with clip_model_init). clip_model_free accepts
 * NULL. */
clip_status clip_model_create(struct clip_model **out, const struct clip_model_config *config,
                              struct clip_error *error);
/* The same without a buffer, for weights that lie in a mapped file: model->data is NULL, and
 * whoever opens the file points each parameter's tensor.data to where it lies. Such a model
 * computes and cannot be trained. */
clip_status clip_model_create_bare(struct clip_model **out, const struct clip_model_config *config,
                                   struct clip_error *error);
void clip_model_free(struct clip_model *model);
/* Packs the towers' weights for products of float32 or of bfloat16, for many calls on a model whose
 * weights change no more: of few rows, such as one image's or text's, most of the time beside
 * multiplying goes into that. Takes about the time of a call and memory for one more copy of the
 * weights (half of one in bfloat16, where the processor multiplies it); the same bits. What an
 * earlier call packed is replaced. Not while another thread computes. */
clip_status clip_model_pack(struct clip_model *model, bool bf16, struct clip_error *error);
/* As open_clip initialises: normal and uniform draws of its standard deviations, from our own
 * numbers keyed by (seed, parameter). */
void clip_model_init(struct clip_model *model, uint64_t seed);
/* Marks every parameter as trained: it needs a gradient. Locks and clip_lora_freeze take that
 * back. */
void clip_model_train(struct clip_model *model);
/* Gives the trained parameters their train_offset and gradients (zeroed): what is not trained takes
 * no memory in buffers of `trained` floats. */
clip_status clip_model_gradients(struct clip_model *model, struct clip_error *error);
/* The parameter of the model whose tensor this is. */
const struct clip_param *clip_model_param_of(const struct clip_model *model,
                                             const struct clip_tensor *tensor);
/* Where a parameter's values lie in `buffer`, which is laid out like the gradients; in the model's
 * data where it is not trained or `buffer` is NULL. */
float *clip_param_in(const struct clip_param *param, float *buffer);
struct clip_param *clip_model_param(struct clip_model *model,
                                    const char *name);         /* NULL: no such parameter */
int64_t clip_model_parameters(const struct clip_model *model); /* elements without padding */

/* Position embeddings of a square grid for one of another size: from [first + from_grid^2, width]
 * to [first + to_grid^2, width]; the `first` rows before the grid (the class row's) are copied.
 * Bicubic with antialiasing and half-pixel centres, as open_clip's resize_pos_embed (PyTorch's
 * F.interpolate(mode="bicubic", antialias=True)). */
clip_status clip_resize_positions(float *to, int64_t to_grid, const float *from, int64_t from_grid,
                                  int64_t first, int64_t width, struct clip_error *error);

/* LiT (Zhai et al. 2022): parameters of a tower need no gradient, but for its last `unlocked`
 * blocks and what follows them. */
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
/* What stands behind the first `blocks` blocks, for all rows and before the tower's
 * last LayerNorm: [B*(K+1),W], each image's class row first, and [T,W]. */
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
/* Features, rows of unit length. */
struct clip_tensor *clip_vision_encode(struct clip_tape *t, struct clip_model *model,
                                       struct clip_tensor *pixels, struct clip_tensor *keep);
struct clip_tensor *clip_text_encode(struct clip_tape *t, struct clip_model *model,
                                     struct clip_tensor *tokens, struct clip_tensor *offsets);

/* A product of the step, y [rows,width] = x [rows,depth] w [width,depth]^T, and how many there
 * are. */
struct clip_model_product {
    const char *name; /* "vision in_proj" */
    int64_t rows, width, depth;
    int64_t calls;
};
enum { CLIP_MODEL_PRODUCTS = 12 }; /* room for all of them */
/* Those of the forward pass of `batch` pairs with `tokens` text tokens in all; how many. */
int64_t clip_model_products(const struct clip_model_config *config, int64_t batch, int64_t tokens,
                            struct clip_model_product *products);

/* Multiply-adds count as two. A training step (forward and backward) of `batch` pairs with `tokens`
 * text tokens in all. */
double clip_model_flops(const struct clip_model_config *config, int64_t batch, int64_t tokens,
                        bool backward);

#endif
