/* A data set: samples by number, each with an image's bytes and a caption. Each source format has
 * one file (dataset_*.c) with a small table of functions.
 *
 *   csv/tsv          one row per sample: image path, caption
 *   jsonl            one line per sample: a JSON object that names image and caption
 *   coco             COCO's captions JSON; also a .json that is an array of pairs
 *   packed           one HDF5 file that clip_data pack wrote (packed.h)
 *   class folders    a folder or an uncompressed tar of CLASS/image; the caption is a template
 *                    filled with the class's name
 *   webdataset       uncompressed tar shards: KEY.jpg|png|... beside KEY.txt|caption|json, or
 *                    beside KEY.cls, whose captions are made as class folders' are
 *   captions beside images    a folder of x.png with x.txt, x.caption or x.json
 *   Chinese-CLIP     x_imgs.tsv (ids and images in base64) and x_texts.jsonl beside it
 *   imagefolder      a folder with metadata.csv or metadata.jsonl
 *   images           (images_only) a folder or a tar, searched with all its subfolders
 *
 * docs/data.md describes each for those who prepare data. */
#ifndef CLIP_DATA_SETS_DATASET_H
#define CLIP_DATA_SETS_DATASET_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/rng.h"
#include "core/status.h"
#include "data/sets/order.h"

struct clip_sample {          /* what reading fills; start from {0}, reuse it for the next read */
    struct clip_buffer image; /* the image file's bytes */
    struct clip_buffer caption;
    char name[512]; /* for messages: "pairs.csv:14 (a/b.jpg)"; also set after a failure */
};
void clip_sample_release(struct clip_sample *sample);

struct clip_dataset {
    const struct clip_dataset_ops *ops;
    int64_t count;
    /* group[i]: samples with the same number have the same image, or in class folders the same
     * class (multi_positive). Numbers are in [0, count). */
    int64_t *group;
    const struct clip_class_list *classes;  /* of class folders: group[i] is an index into it */
    const struct clip_templates *templates; /* of their captions; count 0: captions are empty */
    char captions[24]; /* where they stand: ".txt", ".txt, .json"; "": ops->name says it */
    /* of a stream, whose samples are numbered as order.h says: how many shards it has, and its
     * first shard, for what looks at a few samples. `group` is NULL, and `count` is what a round
     * draws */
    int64_t shard_count;
    const struct clip_dataset *example;
    bool paths;               /* image_name is a path by which any program can open the image */
    struct clip_names unread; /* folders and files below a folder that had to be passed over; they
                               * were named on stderr */
};

struct clip_dataset_ops {
    const char *name;
    /* Reads sample `index`. rng chooses a caption if there are several templates; NULL: the first
     * one. Thread-safe. A missing or unreadable image or an empty caption is
     * CLIP_ERR_DATA/IO/NOT_FOUND with a sentence that names the sample. */
    clip_status (*read)(const struct clip_dataset *dataset, int64_t index, struct clip_rng *rng,
                        struct clip_sample *out, struct clip_error *error);
    /* Reads only the caption (for token statistics and multi_positive), by the same rules. `out` is
     * replaced, not appended to. CLIP_ERR_DATA says that the caption is there but empty or only
     * spaces; another status says that there is none or that it is damaged. */
    clip_status (*caption)(const struct clip_dataset *dataset, int64_t index, struct clip_rng *rng,
                           struct clip_buffer *out, struct clip_error *error);
    /* Reads a hard negative: a caption that almost fits the image, which the loss takes for a wrong
     * one (NegCLIP). `out` is replaced; it is empty if the sample has none. NULL: no sample has
     * one. */
    clip_status (*negative)(const struct clip_dataset *dataset, int64_t index,
                            struct clip_buffer *out, struct clip_error *error);
    /* The path by which the image can be opened, or its name inside a tar; valid as long as the
     * data set. Samples of one image return the same pointer. */
    const char *(*image_name)(const struct clip_dataset *dataset, int64_t index);
    /* Of a stream, where several numbers are of one sample: *same is equal for all of them, and
     * *samples is how many it stands for, more than 1 if its shard could not be opened. NULL in
     * other sets. Thread-safe; to be called when the sample was read. */
    void (*identify)(const struct clip_dataset *dataset, int64_t index, int64_t *same,
                     int64_t *samples);
    void (*free)(struct clip_dataset *dataset);
};
/* What to look at for a set's names, lengths of captions and the like. */
static inline const struct clip_dataset *clip_dataset_example(const struct clip_dataset *dataset)
{
    return dataset->example != NULL ? dataset->example : dataset;
}

struct clip_dataset_options { /* the keys of [data] that matter here; strings may be NULL or "" */
    const char *images_root;
    const char *csv_separator;                 /* "auto", "comma", "tab", or one character */
    const char *csv_img_key, *csv_caption_key; /* "a,b": captions of both columns or keys */
    const char *csv_negative_key; /* the column of hard negative captions; NULL or "": none */
    const char *class_templates;  /* a template file; needed for class folders' captions */
    const char *classes; /* a class file (name TAB folder) or NULL: folder names, '_' as space */
    /* without class_templates, the name of a class is the caption of its images */
    bool names_are_captions;
    const volatile sig_atomic_t *stop; /* not 0: opening ends with CLIP_ERR_INTERRUPTED; or NULL */
    /* captions are not wanted: class folders need no templates and csv no caption column, and a
     * folder is searched for images at any depth */
    bool images_only;
};

/* Opens the set `data`: its format is found from its name and content. {000..012}, {a,b}, a
 * pattern with * ? [ and lists joined by "::" stand for several sets, of any formats, which become
 * one in order; where all are tars, and for a folder of tars, for the shards of one set. A format
 * that is not read is recognised by its bytes and refused by name. Opening checks that the set is
 * readable and not empty. */
clip_status clip_dataset_open(struct clip_dataset **out, const char *data,
                              const struct clip_dataset_options *options, struct clip_error *error);
/* The same, but what is joined by "::" stays apart, so that it can be mixed by weights (order.h):
 * (*ends)[i] is the number behind the last sample of part i of *parts. Free *ends. */
clip_status clip_dataset_open_parts(struct clip_dataset **out, const char *data,
                                    const struct clip_dataset_options *options, int64_t **ends,
                                    int64_t *parts, struct clip_error *error);

struct clip_stream_options {
    bool apart;               /* each of the names joined by "::" is a part; else there is one */
    int64_t shard_group;      /* shards of each set that are gone through at a time */
    bool allow_pipe;          /* may shards be "pipe:COMMAND", whose output is the tar? */
    int64_t retries;          /* of a command that fails, after its first try */
    const char *cache_folder; /* where commands' output lies while it is read; "": there are none */
    int64_t cache_bytes;      /* of all that lies there at a time */
};
/* How many tar shards `data` stands for, and whether one is a command; 0: it is something else. */
clip_status clip_dataset_shard_count(const char *data, int64_t *shards, bool *pipes,
                                     struct clip_error *error);
/* Opens tar shards as a stream: no shard is read before its turn, but for the first of each set,
 * which says how many samples of each are drawn in a round. *parts are for the order; free them. */
clip_status clip_dataset_stream_open(struct clip_dataset **out, const char *data,
                                     const struct clip_dataset_options *options,
                                     const struct clip_stream_options *stream,
                                     struct clip_order_part **parts, int64_t *part_count,
                                     struct clip_error *error);
void clip_dataset_free(struct clip_dataset *dataset); /* accepts NULL */
/* CLIP_ERR_IO if something below a folder had to be passed over: programs end with it when their
 * work on the rest is done. */
clip_status clip_dataset_passed_over(const struct clip_dataset *dataset, const char *data,
                                     struct clip_error *error);
/* Says on stderr what was opened, and by which reading: "photos: 1,560 pairs, captions beside
 * images (.txt)". `unit` is "pair" or "image". */
void clip_dataset_say(const struct clip_dataset *dataset, const char *data, const char *unit);
/* Does the name (its suffix, not the content) say that this is a data set, and not an image or text
 * file? */
bool clip_dataset_is_named(const char *data);

/* *out = the path of a file called `name` beside the shards or one folder above, as CLIP_benchmark
 * writes classnames.txt; NULL: there is none. free() it. */
clip_status clip_dataset_companion(const char *data, const char *name, char **out,
                                   struct clip_error *error);

/* Makes a set of those samples whose images are held out (`held`), or of the others, under new
 * numbers, in order. A `share` of all images is held out, chosen by a hash of their names. An
 * image's samples stay together. The set borrows `whole`. *samples (or NULL) becomes their numbers
 * in `whole`, in the set's memory. */
clip_status clip_dataset_split(struct clip_dataset **out, const struct clip_dataset *whole,
                               double share, bool held, const int64_t **samples,
                               struct clip_error *error);
/* The chance that two different samples have the same image (or class) or the same caption: what
 * multi_positive is for. Estimated from up to 20,000 evenly spaced samples. */
clip_status clip_dataset_repeats(const struct clip_dataset *dataset, double *chance,
                                 struct clip_error *error);
/* Counts the samples of `b` that show an image of `a`, by name and bytes; `example` [size] becomes
 * the first one's name. */
clip_status clip_dataset_shared(const struct clip_dataset *a, const struct clip_dataset *b,
                                int64_t *shared, char *example, size_t size,
                                struct clip_error *error);

/* ---- Class names and templates ---- */
/* one line per class: its name, then after a tab its folder's name if that differs */
struct clip_class_list {
    char **names, **folders;
    int64_t count;
    struct clip_arena arena;
};
/* Reads lines of UTF-8; a BOM, a CR at the end and blank lines are skipped. Names and folders must
 * be unique. */
clip_status clip_class_list_read(const char *path, struct clip_class_list *out,
                                 struct clip_error *error);
void clip_class_list_release(struct clip_class_list *list);

struct clip_templates { /* one line per template, with {} or {c} in it */
    char **lines;
    int64_t count;
    struct clip_arena arena;
};
clip_status clip_templates_read(const char *path, struct clip_templates *out,
                                struct clip_error *error);
void clip_templates_release(struct clip_templates *templates);
/* The first {} or {c} in the line, with its length in *n; NULL if there is none. */
const char *clip_template_hole(const char *line, size_t *n);
/* Appends the template to `out`, with every {} and {c} replaced by `name`. */
clip_status clip_template_fill(const char *line, const char *name, struct clip_buffer *out,
                               struct clip_error *error);

/* Opens class folders (a folder, a tar of them, or either of these packed), or webdataset with
 * KEY.cls, for zero-shot evaluation: sample i's class is label[i], an index into the class list. A
 * folder is looked up in the list by its name, else with '_' read as space. A folder that is no
 * class is an error; a class without images is none. `templates` may be NULL: then captions are
 * empty, as those of a packed set always are here. Keeps nothing of `classes` and `templates`. */
clip_status clip_dataset_open_classes(struct clip_dataset **out, const char *images,
                                      const struct clip_class_list *classes,
                                      const struct clip_templates *templates,
                                      struct clip_error *error);
/* of a set that clip_dataset_open_classes opened */
int64_t clip_dataset_label(const struct clip_dataset *dataset, int64_t index);

#endif
