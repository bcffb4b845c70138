/* Every key of the configuration: one row each, in the order of --help-config and docs/config.md. A
 * row makes the field of struct clip_config (train/config.h) and the row of clip_config_keys
 * (train/config_table.c), which both include this file, each with macros of its own.
 *
 *   INT(section, key, default, least, most, help)     int64_t
 *   REAL(section, key, default, least, most, help)    double
 *   BOOL(section, key, default, help)                 bool
 *   TEXT(section, key, default, help)                 const char *
 *   SHARE(section, key, default, help)                const char *: steps, or a share of the run as
 *                                                     in "5%" (clip_config_share)
 *   TRIPLE(section, key, default, help)               const char *: three numbers with commas, or
 *                                                     ""
 *   CHOICE(type, section, key, default, names, help)  an enum or int, by its words (core/choice.h)
 *
 * Behind the help, where a key has any: .flags = KEY_... (train/config_table.h). A key without
 * KEY_MAY_CHANGE, which KEY_PLUMBING has too, decides the result of a run, and --resume refuses
 * another value. */

SECTION(model)
CHOICE(int, model, preset, "vit-b-32", clip_model_preset_name,
       "sizes to start from; other keys override them")
INT(model, embed_dim, "512", 1, 65536, "width of an embedding")
INT(model, image_size, "224", 1, 4096, "side of the square image in pixels")
INT(model, patch_size, "32", 1, 4096, "side of a patch in pixels; must divide image_size")
INT(model, vision_width, "768", 1, 65536, "width of the vision tower")
INT(model, vision_layers, "12", 1, 1024, "blocks of the vision tower")
INT(model, vision_heads, "12", 1, 1024, "attention heads; must divide vision_width")
REAL(model, vision_mlp_ratio, "4", 0, 64, "hidden width of an MLP, divided by vision_width",
     .flags = KEY_ABOVE_LEAST)
INT(model, context_length, "77", 3, 65536, "most tokens of a caption, with start and end")
INT(model, vocab_size, "49408", 0, 16777216,
    "tokens of the vocabulary; at least as many as the tokenizer has; 0: just as many")
INT(model, text_width, "512", 1, 65536, "width of the text tower")
INT(model, text_layers, "12", 1, 1024, "blocks of the text tower")
INT(model, text_heads, "8", 1, 1024, "attention heads; must divide text_width")
REAL(model, text_mlp_ratio, "4", 0, 64, "hidden width of an MLP, divided by text_width",
     .flags = KEY_ABOVE_LEAST)
BOOL(model, quick_gelu, "false", "x sigmoid(1.702 x) instead of the exact GELU")
CHOICE(enum clip_architecture, model, architecture, "clip", clip_architecture_name,
       "siglip: attention pooling, no causal mask, padded texts (SigLIP)")
BOOL(model, gelu_tanh, "false", "GELU in its tanh form, as in SigLIP")
BOOL(model, text_gelu_tanh, "false", "the same in the text tower only")
REAL(model, norm_eps, "1e-5", 0, 0.1, "epsilon of every LayerNorm", .flags = KEY_ABOVE_LEAST)
INT(model, end_id, "0", 0, 16777215,
    "token at which rows of ids end; 0: they end at the largest id")
INT(model, pad_id, "0", 0, 16777215, "token that fills rows of ids; siglip attends to it")
TRIPLE(model, image_mean, "",
       "mean of pixels in [0,1] as red,green,blue, which is subtracted; empty: CLIP's")
TRIPLE(model, image_std, "",
       "standard deviation as red,green,blue, by which they are divided; empty: CLIP's")
END(model)

SECTION(data)
TEXT(data, train_data, "",
     "pairs to train on: csv, tsv, jsonl, COCO json, tar shards, class folders, packed h5")
TEXT(data, train_data_weights, "",
     "how often each set of train_data = A::B is drawn from, as in 1::2; empty: by its size")
INT(data, samples_per_epoch, "0", 0, 1e12,
    "samples of an epoch; 0: as many as train_data has; small sets begin anew, large ones go on")
CHOICE(enum clip_stream, data, stream, "auto", clip_stream_name,
       "read tar shards one after another, without an index; auto: above 10,000, and commands")
INT(data, shard_group, "4", 1, 1024, "shards of each set that a stream mixes at a time")
BOOL(data, allow_pipe, "false", "shards may be pipe:COMMAND, whose output is a tar",
     .flags = KEY_MAY_CHANGE)
INT(data, retries, "3", 0, 100, "how often a command that fails is tried again",
    .flags = KEY_MAY_CHANGE)
TEXT(data, cache_folder, "", "where the output of commands lies while it is read",
     .flags = KEY_MAY_CHANGE)
INT(data, cache_bytes, "10000000000", 1, 1e15,
    "most bytes of each process in cache_folder; a larger shard is bad", .flags = KEY_MAY_CHANGE)
TEXT(data, val_data, "", "pairs to validate on; empty: none", .flags = KEY_MAY_CHANGE)
REAL(data, val_share, "0", 0, 0.5,
     "share of train_data's images used for validation if val_data is empty")
TEXT(data, images_root, "",
     "folder where relative image paths start; empty: the data file's folder")
TEXT(data, csv_separator, "auto",
     "what separates the columns of a csv: auto, comma, tab, or one character")
TEXT(data, csv_img_key, "filepath", "column (in jsonl: key) of image paths")
TEXT(data, csv_caption_key, "title", "column (in jsonl: key) of captions")
TEXT(data, csv_negative_key, "",
     "column (in jsonl: key) of hard negative captions (NegCLIP); empty: none")
TEXT(data, tokenizer, "clip",
     "clip, a file in CLIP's text format, or model (the tokenizer of --init's model)")
INT(data, workers, "1", 0, 256, "threads that prepare batches; 0: the training thread does it",
    .flags = KEY_PLUMBING)
REAL(data, aug_scale_min, "0.9", 0, 1, "random resized crop: smallest share of the image's area",
     .flags = KEY_ABOVE_LEAST)
BOOL(data, aug_flip, "false",
     "mirror half of the images; do not use it if captions say left or right")
INT(data, aug_pad, "0", 0, 1024,
    "instead of the resized crop: pad by so many pixels and crop at random")
TEXT(data, class_templates, "", "file of templates with {} for the class name; for class folders")
REAL(data, max_bad_fraction, "0.01", 0, 1, "share of bad samples that ends the run",
     .flags = KEY_MAY_CHANGE)
INT(data, max_pixels, "100000000", 1, 1e12,
    "an image with more pixels is a bad sample; it is not decoded")
BOOL(data, upright, "false",
     "turn images as their EXIF orientation says; false: as they are stored, like open_clip")
BOOL(data, fast_decode, "false",
     "decode large JPEGs for training at 1/2, 1/4 or 1/8: faster, pixels differ a little")
CHOICE(enum clip_interpolation, data, interpolation, "bicubic", clip_interpolation_name,
       "filter for resizing images")
CHOICE(enum clip_resize_mode, data, resize_mode, "shortest", clip_resize_mode_name,
       "which side of an image becomes image_size")
CHOICE(enum clip_crop, data, center_crop, "open_clip", clip_crop_name,
       "how the position of the centre crop is rounded: halves to even, or down")
INT(data, resize_to, "0", 0, 16384,
    "short side before the crop, with resize_mode = shortest; 0: image_size")
CHOICE(enum clip_text_cleaning, data, text_cleaning, "open_clip", clip_text_cleaning_name,
       "how captions are cleaned; canonicalize: as open_clip does for SigLIP")
END(data)

SECTION(train)
INT(train, epochs, "10", 1, 1e9, "passes over the data")
INT(train, steps, "0", 0, 1e12, "optimizer steps of the run, instead of epochs; 0: by epochs")
INT(train, batch_size, "128", 1, 1e7, "pairs per step")
INT(train, micro_batch, "0", 0, 1e7,
    "pairs in memory at once; the gradient is the same; 0: batch_size", .flags = KEY_PLUMBING)
INT(train, world_size, "0", 0, 1048576,
    "slices of a batch: any number of processes that divides it gives the same bits; 0: one for "
    "each process at the start")
CHOICE(enum clip_wire, train, wire, "f32", clip_wire_name,
       "how gradients of slices are sent and kept: bf16 halves the bytes and rounds them")
CHOICE(enum clip_precision, train, precision, "fp32", clip_precision_name,
       "precision of the products; sums and weights are always fp32")
BOOL(train, needs_init, "false",
     "refuse to begin without --init: for configurations that fine-tune", .flags = KEY_PLUMBING)
INT(train, seed, "0", 0, 9e15, "seed of initial weights, order and augmentation")
TEXT(train, output, "", "folder of the run; empty: runs/NAME, by the configuration's file name",
     .flags = KEY_PLUMBING)
SHARE(train, val_every, "500",
      "steps between validations, or a share of the run as in 5%; 0: only at the end",
      .flags = KEY_MAY_CHANGE)
SHARE(train, save_every, "500",
      "steps between checkpoints, or a share of the run as in 5%; 0: only at the end",
      .flags = KEY_PLUMBING)
INT(train, keep, "3", 1, 1e6, "how many of checkpoints/step_N.h5 to keep", .flags = KEY_PLUMBING)
INT(train, log_every, "10", 1, 1e12, "steps between lines of log.jsonl", .flags = KEY_PLUMBING)
BOOL(train, report, "true", "write report.html into the run's folder and keep it up to date",
     .flags = KEY_PLUMBING)
BOOL(train, tensorboard, "false", "write an event file for TensorBoard into the run's folder",
     .flags = KEY_PLUMBING)
CHOICE(int, train, loss, "infonce", clip_loss_name,
       "infonce: softmax over the batch; siglip: sigmoid for each pair")
BOOL(train, multi_positive, "false",
     "pairs with the same image, class or caption are positives of each other")
TEXT(train, teacher_embeddings, "",
     "teacher's embeddings of train_data to distill, from clip_embed --pairs; empty: none")
REAL(train, distill_weight, "1", 0, 1e6, "loss = contrastive + weight x distillation")
CHOICE(enum clip_metric, train, best_metric, "val_loss", clip_metric_name,
       "what chooses best.h5; among equal values, val_loss does", .flags = KEY_MAY_CHANGE)
INT(train, early_stop, "0", 0, 1e6,
    "validations without a better best_metric after which the run ends; 0: never",
    .flags = KEY_MAY_CHANGE)
CHOICE(enum clip_recompute, train, recompute, "none", clip_recompute_name,
       "what backward computes a second time to save memory; the result is the same",
       .flags = KEY_PLUMBING)
REAL(train, patch_dropout, "0", 0, 0.95, "share of the patches to leave out in training (FLIP)")
BOOL(train, lock_image, "false", "do not train the image tower (LiT)")
INT(train, unlocked_image_blocks, "0", 0, 1024,
    "how many of its last blocks are trained all the same")
BOOL(train, lock_text, "false", "do not train the text tower")
INT(train, unlocked_text_blocks, "0", 0, 1024,
    "how many of its last blocks are trained all the same")
CHOICE(enum clip_cache_locked, train, cache_locked, "auto", clip_cache_locked_name,
       "compute the embeddings of a completely locked tower once (images: if not augmented)")
END(train)

SECTION(optim)
REAL(optim, lr, "5e-4", 0, 1e3, "peak learning rate", .flags = KEY_ABOVE_LEAST)
REAL(optim, beta1, "0.9", 0, 0.999999, "AdamW's decay of the mean gradient")
REAL(optim, beta2, "0.98", 0, 0.999999, "AdamW's decay of the mean squared gradient")
REAL(optim, eps, "1e-6", 0, 1, "AdamW's epsilon", .flags = KEY_ABOVE_LEAST)
REAL(optim, wd, "0.2", 0, 1e3, "decoupled weight decay, applied to matrices")
SHARE(optim, warmup, "500", "steps of linear warmup, or a share of the run as in 5%")
CHOICE(enum clip_schedule_kind, optim, lr_scheduler, "cosine", clip_schedule_name,
       "the learning rate after warmup")
SHARE(optim, cooldown, "10%",
      "with const-cooldown: steps at the end in which lr falls to 0, or a share of the run")
REAL(optim, grad_clip_norm, "1.0", 0, 1e9, "largest norm of the gradient; 0: no limit")
REAL(optim, layer_decay, "1.0", 0, 1,
     "learning rate of a block, divided by that of the block above it", .flags = KEY_ABOVE_LEAST)
INT(optim, lr_width, "0", 0, 65536,
    "tower width that lr is meant for: a tower half as wide learns twice as fast; 0: any "
    "width")
REAL(optim, ema_decay, "0", 0, 0.9999999,
     "decay of the moving average of the weights, saved beside them; update t takes "
     "min(ema_decay, (1+t)/(10+t)); 0: off")
CHOICE(enum clip_moments, optim, moments, "f32", clip_moments_name,
       "how AdamW's moments are stored; bf16: half the memory, rounded at random")
END(optim)

SECTION(zeroshot)
TEXT(zeroshot, images, "", "class folders (or a tar of them) to classify at each validation",
     .flags = KEY_MAY_CHANGE)
TEXT(zeroshot, classes, "",
     "class file: one name per line, then after a tab the folder if it differs",
     .flags = KEY_MAY_CHANGE)
TEXT(zeroshot, templates, "", "template file: one text per line, with {} for the class name",
     .flags = KEY_MAY_CHANGE)
END(zeroshot)

SECTION(probe)
TEXT(probe, images, "", "class folders of an older task, to measure what is forgotten",
     .flags = KEY_MAY_CHANGE)
TEXT(probe, classes, "", "class file of the older task", .flags = KEY_MAY_CHANGE)
TEXT(probe, templates, "", "template file of the older task", .flags = KEY_MAY_CHANGE)
TEXT(probe, data, "", "pairs of an older task, for retrieval", .flags = KEY_MAY_CHANGE)
END(probe)

SECTION(lora)
INT(lora, rank, "0", 0, 4096,
    "with --init: rank of paths that are trained beside frozen weights; 0: train the weights")
REAL(lora, alpha, "16", 0, 1e6, "a path is multiplied by alpha / rank", .flags = KEY_ABOVE_LEAST)
TEXT(lora, targets, "q,v", "layers that get a path: q, k, v, out_proj, c_fc, c_proj, or all")
END(lora)

#undef SECTION
#undef END
#undef INT
#undef REAL
#undef BOOL
#undef TEXT
#undef SHARE
#undef TRIPLE
#undef CHOICE
