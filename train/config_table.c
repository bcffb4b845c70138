#include "train/config_table.h"

#include "train/config.h"

#define FIELD(section, key) #section, #key
#define AT(section, key) offsetof(struct clip_config, section.key)
#define INT(s, k, standard, least, most, decides, help)                                            \
    {                                                                                              \
        FIELD(s, k), KEY_INT, AT(s, k), standard, least, most, false, NULL, decides, help          \
    }
#define REAL(s, k, standard, least, most, open, help)                                              \
    {                                                                                              \
        FIELD(s, k), KEY_REAL, AT(s, k), standard, least, most, open, NULL, true, help             \
    }
#define BOOL_OF(s, k, standard, decides, help)                                                     \
    {                                                                                              \
        FIELD(s, k), KEY_BOOL, AT(s, k), standard, 0, 0, false, NULL, decides, help                \
    }
#define BOOL(s, k, standard, help) BOOL_OF(s, k, standard, true, help)
#define TEXT(s, k, standard, decides, help)                                                        \
    {                                                                                              \
        FIELD(s, k), KEY_TEXT, AT(s, k), standard, 0, 0, false, NULL, decides, help                \
    }
#define CHOICE(s, k, standard, choices, help) CHOICE_OF(s, k, standard, choices, true, help)
#define CHOICE_OF(s, k, standard, choices, decides, help)                                          \
    {                                                                                              \
        FIELD(s, k), KEY_CHOICE, AT(s, k), standard, 0, 0, false, choices, decides, help           \
    }
#define SHARE_OF(s, k, standard, decides, help)                                                    \
    {                                                                                              \
        FIELD(s, k), KEY_SHARE, AT(s, k), standard, 0, 0, false, NULL, decides, help               \
    }
#define SHARE(s, k, standard, help) SHARE_OF(s, k, standard, true, help)
#define TRIPLE(s, k, standard, help)                                                               \
    {                                                                                              \
        FIELD(s, k), KEY_TRIPLE, AT(s, k), standard, 0, 0, false, NULL, true, help                 \
    }

const struct clip_key clip_config_keys[] = {
    CHOICE(model, preset, "vit-b-32", "vit-b-32|vit-b-16|vit-l-14",
           "sizes to start from; other keys override it"),
    INT(model, embed_dim, "512", 1, 65536, true, "width E of the shared embedding"),
    INT(model, image_size, "224", 1, 4096, true, "side of the square image, pixels"),
    INT(model, patch_size, "32", 1, 4096, true, "side of a patch, pixels; divides image_size"),
    INT(model, vision_width, "768", 1, 65536, true, "width of the vision transformer"),
    INT(model, vision_layers, "12", 1, 1024, true, "blocks of the vision transformer"),
    INT(model, vision_heads, "12", 1, 1024, true, "attention heads; divide vision_width"),
    REAL(model, vision_mlp_ratio, "4", 0, 64, true, "hidden width of an MLP / vision_width"),
    INT(model, context_length, "77", 3, 65536, true,
        "most tokens of a caption, both ends included"),
    INT(model, vocab_size, "49408", 3, 16777216, true,
        "rows of the token embedding; at least the tokenizer's"),
    INT(model, text_width, "512", 1, 65536, true, "width of the text transformer"),
    INT(model, text_layers, "12", 1, 1024, true, "blocks of the text transformer"),
    INT(model, text_heads, "8", 1, 1024, true, "attention heads; divide text_width"),
    REAL(model, text_mlp_ratio, "4", 0, 64, true, "hidden width of an MLP / text_width"),
    BOOL(model, quick_gelu, "false", "x sigmoid(1.702 x) in place of the exact GELU"),
    CHOICE(model, architecture, "clip", "clip|siglip",
           "siglip: attention pooling, no causal mask, texts padded (SigLIP)"),
    BOOL(model, gelu_tanh, "false", "GELU by its tanh form, as SigLIP has it"),
    BOOL(model, text_gelu_tanh, "false", "the same in the text tower alone"),
    REAL(model, norm_eps, "1e-5", 0, 0.1, true, "epsilon of every LayerNorm"),
    INT(model, end_id, "0", 0, 16777215, true,
        "given rows of ids end at this one; 0: at the largest"),
    INT(model, pad_id, "0", 0, 16777215, true, "what fills rows of ids; read by siglip"),
    TRIPLE(model, image_mean, "",
           "red,green,blue that pixels in [0,1] are centred by; empty: CLIP's"),
    TRIPLE(model, image_std, "", "red,green,blue that they are divided by; empty: CLIP's"),

    TEXT(data, train_data, "", true,
         "pairs to train on: csv, tsv, jsonl, COCO json, tar shards, class folders"),
    TEXT(data, val_data, "", false, "pairs to validate on; empty: none"),
    REAL(data, val_share, "0", 0, 0.5, false,
         "share of train_data's images that validates where val_data is empty"),
    TEXT(data, images_root, "", true, "folder that image paths count from; empty: the data file's"),
    TEXT(data, csv_separator, "auto", true, "auto, comma, tab, or one character"),
    TEXT(data, csv_img_key, "filepath", true, "the column (jsonl: the key) of image paths"),
    TEXT(data, csv_caption_key, "title", true, "the column (jsonl: the key) of captions"),
    TEXT(data, csv_negative_key, "", true,
         "the column (jsonl: the key) of hard negative captions (NegCLIP); empty: none"),
    TEXT(data, tokenizer, "clip", true,
         "clip, a file in CLIP's text format, or model: the one of --init's model"),
    INT(data, workers, "1", 0, 256, false,
        "threads that prepare batches; 0: the training thread itself"),
    REAL(data, aug_scale_min, "0.9", 0, 1, true,
         "random resized crop: least share of the image's area"),
    BOOL(data, aug_flip, "false",
         "mirror half of the images; not where captions say left and right"),
    INT(data, aug_pad, "0", 0, 1024, true,
        "instead of the resized crop: pad by so many pixels, crop back"),
    TEXT(data, class_templates, "", true,
         "file of captions with {} for the class; for class folders"),
    REAL(data, max_bad_fraction, "0.01", 0, 1, false,
         "share of unreadable samples that ends the run"),
    INT(data, max_pixels, "100000000", 1, 1e12, true,
        "a larger image is refused before it is decoded"),
    BOOL(data, fast_decode, "false",
         "training decodes large JPEGs at 1/2, 1/4 or 1/8: faster, pixels differ a little"),
    CHOICE(data, interpolation, "bicubic", "bicubic|bilinear", "how images are resized"),
    CHOICE(data, resize_mode, "shortest", "shortest|longest|squash",
           "which side becomes image_size"),
    CHOICE(data, center_crop, "open_clip", "open_clip|huggingface",
           "where half a pixel more is left at one side: to even, or down"),
    INT(data, resize_to, "0", 0, 16384, true,
        "short side before the crop, with shortest; 0: image_size"),
    CHOICE(data, text_cleaning, "open_clip", "open_clip|huggingface|canonicalize",
           "whose rules clean captions; canonicalize: open_clip's for SigLIP"),

    INT(train, epochs, "10", 1, 1e9, true, "passes over the data"),
    INT(train, steps, "0", 0, 1e12, true, "optimizer steps, in place of epochs; 0: by epochs"),
    INT(train, batch_size, "128", 1, 1e7, true, "pairs in a step"),
    INT(train, micro_batch, "0", 0, 1e7, false,
        "pairs in memory at once, same gradient; 0: batch_size"),
    CHOICE(train, precision, "fp32", "fp32|bf16",
           "numbers that are multiplied; sums and weights are always fp32"),
    INT(train, seed, "0", 0, 9e15, true, "of initial weights, order and augmentation"),
    TEXT(train, output, "", false, "folder of the run; empty: runs/ and the config file's name"),
    SHARE_OF(train, val_every, "500", false,
             "steps between validations, or a share of the run as in 5%; 0: the last alone"),
    SHARE_OF(train, save_every, "500", false,
             "steps between checkpoints, or a share of the run as in 5%; 0: the last alone"),
    INT(train, keep, "3", 1, 1e6, false, "how many of checkpoints/step_N.h5 are kept"),
    INT(train, log_every, "10", 1, 1e12, false, "steps between lines of log.jsonl"),
    BOOL_OF(train, report, "true", false, "report.html in the run's folder, kept up to date"),
    BOOL_OF(train, tensorboard, "false", false, "TensorBoard's event file beside it"),
    CHOICE(train, loss, "infonce", "infonce|siglip",
           "softmax over the batch, or pair by pair (SigLIP)"),
    BOOL(train, multi_positive, "false",
         "pairs of one image, class or caption are positives of each other"),
    TEXT(train, teacher_embeddings, "", true,
         "a teacher's embeddings of train_data to distill, by clip_embed --pairs; empty: none"),
    REAL(train, distill_weight, "1", 0, 1e6, false, "loss = contrastive + weight x distillation"),
    CHOICE(train, best_metric, "val_loss",
           "val_loss|image_retrieval_recall@1|text_retrieval_recall@1|acc1",
           "what best.h5 is chosen by; of equals, by val_loss"),
    INT(train, early_stop, "0", 0, 1e6, false,
        "validations without a better best_metric that end the run; 0: it goes to its end"),
    CHOICE_OF(train, recompute, "none", "none|mlp|block", false,
              "what backward computes again to save memory; the same result"),
    REAL(train, patch_dropout, "0", 0, 0.95, false, "share of patches left out in training (FLIP)"),
    BOOL(train, lock_image, "false", "the image tower is not trained (LiT)"),
    INT(train, unlocked_image_blocks, "0", 0, 1024, true,
        "its last blocks that are trained all the same"),
    BOOL(train, lock_text, "false", "the text tower is not trained"),
    INT(train, unlocked_text_blocks, "0", 0, 1024, true,
        "its last blocks that are trained all the same"),
    CHOICE(train, cache_locked, "auto", "auto|off",
           "a wholly locked tower's embeddings are computed once (images: where not augmented)"),

    REAL(optim, lr, "5e-4", 0, 1e3, true, "peak learning rate"),
    REAL(optim, beta1, "0.9", 0, 0.999999, false, "AdamW's decay of the mean gradient"),
    REAL(optim, beta2, "0.98", 0, 0.999999, false, "AdamW's decay of the mean squared gradient"),
    REAL(optim, eps, "1e-6", 0, 1, true, "AdamW's epsilon"),
    REAL(optim, wd, "0.2", 0, 1e3, false, "decoupled weight decay, of matrices"),
    SHARE(optim, warmup, "500", "steps of linear warm-up, or a share of the run as in 5%"),
    CHOICE(optim, lr_scheduler, "cosine", "cosine|const|const-cooldown",
           "the learning rate after warm-up"),
    SHARE(optim, cooldown, "10%", "const-cooldown: last steps, down to 0, or a share of the run"),
    REAL(optim, grad_clip_norm, "1.0", 0, 1e9, false, "largest norm of the gradient; 0: any"),
    REAL(optim, layer_decay, "1.0", 0, 1, true, "lr factor from each block to the one below it"),
    INT(optim, lr_width, "0", 0, 65536, true,
        "tower width that lr is for: a tower half as wide learns twice as fast; 0: any"),
    REAL(optim, ema_decay, "0", 0, 0.9999999, false,
         "moving average of the weights, saved beside them; 0: off"),
    CHOICE(optim, moments, "f32", "f32|bf16",
           "how AdamW's moments are stored; bf16: half the memory, rounded at random"),

    TEXT(zeroshot, images, "", false,
         "class folders (or a tar of them) to classify while training"),
    TEXT(zeroshot, classes, "", false, "class file: name, then after a tab the folder's name"),
    TEXT(zeroshot, templates, "", false, "template file: captions with {} for the class"),

    TEXT(probe, images, "", false,
         "class folders of an older task, to see at each validation what is forgotten"),
    TEXT(probe, classes, "", false, "its class file"),
    TEXT(probe, templates, "", false, "its template file"),
    TEXT(probe, data, "", false, "pairs of an older task: retrieval on them at each validation"),

    INT(lora, rank, "0", 0, 4096, true,
        "with --init: train low-rank paths beside frozen weights; 0: the weights"),
    REAL(lora, alpha, "16", 0, 1e6, true, "a path counts alpha / rank times"),
    TEXT(lora, targets, "q,v", true, "where: q, k, v, out_proj, c_fc, c_proj, or all"),
};
const int clip_config_key_count = (int)(sizeof clip_config_keys / sizeof clip_config_keys[0]);
