#include "train/config_table.h"

#include "train/config.h"

/* A row: section and key, which name the field of struct clip_config too, the default, the range or
 * the words, the help, and where the key has any, .flags = KEY_... | KEY_...
 * Its type is the field's: each macro takes fields of one type. */
#define FIELD(s, k) (((struct clip_config *)NULL)->s.k)
#define AT(type, s, k)                                                                             \
    (offsetof(struct clip_config, s.k) + 0 * sizeof((type *)NULL == &FIELD(s, k)))
#define ROW(kind, where, s, k, usual)                                                              \
    .section = #s, .key = #k, .type = kind, .offset = (where), .standard = (usual)
#define INT(s, k, usual, from, to, ...)                                                            \
    {                                                                                              \
        ROW(KEY_INT, AT(int64_t, s, k), s, k, usual), .least = (from), .most = (to),               \
                                                      .help = __VA_ARGS__                          \
    }
#define REAL(s, k, usual, from, to, ...)                                                           \
    {                                                                                              \
        ROW(KEY_REAL, AT(double, s, k), s, k, usual), .least = (from), .most = (to),               \
                                                      .help = __VA_ARGS__                          \
    }
#define BOOL(s, k, usual, ...)                                                                     \
    {                                                                                              \
        ROW(KEY_BOOL, AT(bool, s, k), s, k, usual), .help = __VA_ARGS__                            \
    }
#define TEXT(s, k, usual, ...)                                                                     \
    {                                                                                              \
        ROW(KEY_TEXT, AT(const char *, s, k), s, k, usual), .help = __VA_ARGS__                    \
    }
#define SHARE(s, k, usual, ...)                                                                    \
    {                                                                                              \
        ROW(KEY_SHARE, AT(const char *, s, k), s, k, usual), .help = __VA_ARGS__                   \
    }
#define TRIPLE(s, k, usual, ...)                                                                   \
    {                                                                                              \
        ROW(KEY_TRIPLE, AT(const char *, s, k), s, k, usual), .help = __VA_ARGS__                  \
    }
/* The field is an enum, or an int. */
#define CHOICE(s, k, usual, words, ...)                                                            \
    {                                                                                              \
        ROW(KEY_CHOICE,                                                                            \
            offsetof(struct clip_config, s.k) +                                                    \
                0 * sizeof(char[sizeof FIELD(s, k) == sizeof(int) ? 1 : -1]),                      \
            s, k, usual),                                                                          \
            .names = (words), .help = __VA_ARGS__                                                  \
    }

const struct clip_key clip_config_keys[] = {
    CHOICE(model, preset, "vit-b-32", clip_model_preset_name,
           "sizes to start from; other keys override it"),
    INT(model, embed_dim, "512", 1, 65536, "width E of the shared embedding"),
    INT(model, image_size, "224", 1, 4096, "side of the square image, pixels"),
    INT(model, patch_size, "32", 1, 4096, "side of a patch, pixels; divides image_size"),
    INT(model, vision_width, "768", 1, 65536, "width of the vision transformer"),
    INT(model, vision_layers, "12", 1, 1024, "blocks of the vision transformer"),
    INT(model, vision_heads, "12", 1, 1024, "attention heads; divide vision_width"),
    REAL(model, vision_mlp_ratio, "4", 0, 64, "hidden width of an MLP / vision_width",
         .flags = KEY_ABOVE_LEAST),
    INT(model, context_length, "77", 3, 65536, "most tokens of a caption, both ends included"),
    INT(model, vocab_size, "49408", 3, 16777216,
        "rows of the token embedding; at least the tokenizer's"),
    INT(model, text_width, "512", 1, 65536, "width of the text transformer"),
    INT(model, text_layers, "12", 1, 1024, "blocks of the text transformer"),
    INT(model, text_heads, "8", 1, 1024, "attention heads; divide text_width"),
    REAL(model, text_mlp_ratio, "4", 0, 64, "hidden width of an MLP / text_width",
         .flags = KEY_ABOVE_LEAST),
    BOOL(model, quick_gelu, "false", "x sigmoid(1.702 x) in place of the exact GELU"),
    CHOICE(model, architecture, "clip", clip_architecture_name,
           "siglip: attention pooling, no causal mask, texts padded (SigLIP)"),
    BOOL(model, gelu_tanh, "false", "GELU by its tanh form, as SigLIP has it"),
    BOOL(model, text_gelu_tanh, "false", "the same in the text tower alone"),
    REAL(model, norm_eps, "1e-5", 0, 0.1, "epsilon of every LayerNorm", .flags = KEY_ABOVE_LEAST),
    INT(model, end_id, "0", 0, 16777215, "given rows of ids end at this one; 0: at the largest"),
    INT(model, pad_id, "0", 0, 16777215, "what fills rows of ids; read by siglip"),
    TRIPLE(model, image_mean, "",
           "red,green,blue that pixels in [0,1] are centred by; empty: CLIP's"),
    TRIPLE(model, image_std, "", "red,green,blue that they are divided by; empty: CLIP's"),

    TEXT(data, train_data, "",
         "pairs to train on: csv, tsv, jsonl, COCO json, tar shards, class folders"),
    TEXT(data, val_data, "", "pairs to validate on; empty: none", .flags = KEY_MAY_CHANGE),
    REAL(data, val_share, "0", 0, 0.5,
         "share of train_data's images that validates where val_data is empty"),
    TEXT(data, images_root, "", "folder that image paths count from; empty: the data file's"),
    TEXT(data, csv_separator, "auto", "auto, comma, tab, or one character"),
    TEXT(data, csv_img_key, "filepath", "the column (jsonl: the key) of image paths"),
    TEXT(data, csv_caption_key, "title", "the column (jsonl: the key) of captions"),
    TEXT(data, csv_negative_key, "",
         "the column (jsonl: the key) of hard negative captions (NegCLIP); empty: none"),
    TEXT(data, tokenizer, "clip",
         "clip, a file in CLIP's text format, or model: the one of --init's model"),
    INT(data, workers, "1", 0, 256, "threads that prepare batches; 0: the training thread itself",
        .flags = KEY_MAY_CHANGE),
    REAL(data, aug_scale_min, "0.9", 0, 1, "random resized crop: least share of the image's area",
         .flags = KEY_ABOVE_LEAST),
    BOOL(data, aug_flip, "false",
         "mirror half of the images; not where captions say left and right"),
    INT(data, aug_pad, "0", 0, 1024,
        "instead of the resized crop: pad by so many pixels, crop back"),
    TEXT(data, class_templates, "", "file of captions with {} for the class; for class folders"),
    REAL(data, max_bad_fraction, "0.01", 0, 1, "share of unreadable samples that ends the run",
         .flags = KEY_MAY_CHANGE),
    INT(data, max_pixels, "100000000", 1, 1e12, "a larger image is refused before it is decoded"),
    BOOL(data, fast_decode, "false",
         "training decodes large JPEGs at 1/2, 1/4 or 1/8: faster, pixels differ a little"),
    CHOICE(data, interpolation, "bicubic", clip_interpolation_name, "how images are resized"),
    CHOICE(data, resize_mode, "shortest", clip_resize_mode_name, "which side becomes image_size"),
    CHOICE(data, center_crop, "open_clip", clip_crop_name,
           "where half a pixel more is left at one side: to even, or down"),
    INT(data, resize_to, "0", 0, 16384, "short side before the crop, with shortest; 0: image_size"),
    CHOICE(data, text_cleaning, "open_clip", clip_text_cleaning_name,
           "whose rules clean captions; canonicalize: open_clip's for SigLIP"),

    INT(train, epochs, "10", 1, 1e9, "passes over the data"),
    INT(train, steps, "0", 0, 1e12, "optimizer steps, in place of epochs; 0: by epochs"),
    INT(train, batch_size, "128", 1, 1e7, "pairs in a step"),
    INT(train, micro_batch, "0", 0, 1e7, "pairs in memory at once, same gradient; 0: batch_size",
        .flags = KEY_MAY_CHANGE),
    CHOICE(train, precision, "fp32", clip_precision_name,
           "numbers that are multiplied; sums and weights are always fp32"),
    INT(train, seed, "0", 0, 9e15, "of initial weights, order and augmentation"),
    TEXT(train, output, "", "folder of the run; empty: runs/ and the config file's name",
         .flags = KEY_MAY_CHANGE),
    SHARE(train, val_every, "500",
          "steps between validations, or a share of the run as in 5%; 0: the last alone",
          .flags = KEY_MAY_CHANGE),
    SHARE(train, save_every, "500",
          "steps between checkpoints, or a share of the run as in 5%; 0: the last alone",
          .flags = KEY_MAY_CHANGE),
    INT(train, keep, "3", 1, 1e6, "how many of checkpoints/step_N.h5 are kept",
        .flags = KEY_MAY_CHANGE),
    INT(train, log_every, "10", 1, 1e12, "steps between lines of log.jsonl",
        .flags = KEY_MAY_CHANGE),
    BOOL(train, report, "true", "report.html in the run's folder, kept up to date",
         .flags = KEY_MAY_CHANGE),
    BOOL(train, tensorboard, "false", "TensorBoard's event file beside it",
         .flags = KEY_MAY_CHANGE),
    CHOICE(train, loss, "infonce", clip_loss_name,
           "softmax over the batch, or pair by pair (SigLIP)"),
    BOOL(train, multi_positive, "false",
         "pairs of one image, class or caption are positives of each other"),
    TEXT(train, teacher_embeddings, "",
         "a teacher's embeddings of train_data to distill, by clip_embed --pairs; empty: none"),
    REAL(train, distill_weight, "1", 0, 1e6, "loss = contrastive + weight x distillation"),
    CHOICE(train, best_metric, "val_loss", clip_metric_name,
           "what best.h5 is chosen by; of equals, by val_loss", .flags = KEY_MAY_CHANGE),
    INT(train, early_stop, "0", 0, 1e6,
        "validations without a better best_metric that end the run; 0: it goes to its end",
        .flags = KEY_MAY_CHANGE),
    CHOICE(train, recompute, "none", clip_recompute_name,
           "what backward computes again to save memory; the same result", .flags = KEY_MAY_CHANGE),
    REAL(train, patch_dropout, "0", 0, 0.95, "share of patches left out in training (FLIP)"),
    BOOL(train, lock_image, "false", "the image tower is not trained (LiT)"),
    INT(train, unlocked_image_blocks, "0", 0, 1024,
        "its last blocks that are trained all the same"),
    BOOL(train, lock_text, "false", "the text tower is not trained"),
    INT(train, unlocked_text_blocks, "0", 0, 1024, "its last blocks that are trained all the same"),
    CHOICE(train, cache_locked, "auto", clip_cache_locked_name,
           "a wholly locked tower's embeddings are computed once (images: where not augmented)"),

    REAL(optim, lr, "5e-4", 0, 1e3, "peak learning rate", .flags = KEY_ABOVE_LEAST),
    REAL(optim, beta1, "0.9", 0, 0.999999, "AdamW's decay of the mean gradient"),
    REAL(optim, beta2, "0.98", 0, 0.999999, "AdamW's decay of the mean squared gradient"),
    REAL(optim, eps, "1e-6", 0, 1, "AdamW's epsilon", .flags = KEY_ABOVE_LEAST),
    REAL(optim, wd, "0.2", 0, 1e3, "decoupled weight decay, of matrices"),
    SHARE(optim, warmup, "500", "steps of linear warm-up, or a share of the run as in 5%"),
    CHOICE(optim, lr_scheduler, "cosine", clip_schedule_name, "the learning rate after warm-up"),
    SHARE(optim, cooldown, "10%", "const-cooldown: last steps, down to 0, or a share of the run"),
    REAL(optim, grad_clip_norm, "1.0", 0, 1e9, "largest norm of the gradient; 0: any"),
    REAL(optim, layer_decay, "1.0", 0, 1, "lr factor from each block to the one below it",
         .flags = KEY_ABOVE_LEAST),
    INT(optim, lr_width, "0", 0, 65536,
        "tower width that lr is for: a tower half as wide learns twice as fast; 0: any"),
    REAL(optim, ema_decay, "0", 0, 0.9999999,
         "moving average of the weights, saved beside them; 0: off"),
    CHOICE(optim, moments, "f32", clip_moments_name,
           "how AdamW's moments are stored; bf16: half the memory, rounded at random"),

    TEXT(zeroshot, images, "", "class folders (or a tar of them) to classify while training",
         .flags = KEY_MAY_CHANGE),
    TEXT(zeroshot, classes, "", "class file: name, then after a tab the folder's name",
         .flags = KEY_MAY_CHANGE),
    TEXT(zeroshot, templates, "", "template file: captions with {} for the class",
         .flags = KEY_MAY_CHANGE),

    TEXT(probe, images, "",
         "class folders of an older task, to see at each validation what is forgotten",
         .flags = KEY_MAY_CHANGE),
    TEXT(probe, classes, "", "its class file", .flags = KEY_MAY_CHANGE),
    TEXT(probe, templates, "", "its template file", .flags = KEY_MAY_CHANGE),
    TEXT(probe, data, "", "pairs of an older task: retrieval on them at each validation",
         .flags = KEY_MAY_CHANGE),

    INT(lora, rank, "0", 0, 4096,
        "with --init: train low-rank paths beside frozen weights; 0: the weights"),
    REAL(lora, alpha, "16", 0, 1e6, "a path counts alpha / rank times", .flags = KEY_ABOVE_LEAST),
    TEXT(lora, targets, "q,v", "where: q, k, v, out_proj, c_fc, c_proj, or all"),
};
const int clip_config_key_count = (int)(sizeof clip_config_keys / sizeof clip_config_keys[0]);
