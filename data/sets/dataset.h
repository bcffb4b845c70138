/* A data set: samples by number, each an image's bytes and a caption. One source format a file
 * (dataset_*.c), one small vtable.
 *
 *   csv/tsv          a row is a sample: image path, caption
 *   jsonl            a line is a sample: a JSON object that names image and caption
 *   coco             COCO's captions JSON; a .json that is an array of pairs too
 *   packed           one HDF5 file that clip_data pack wrote (packed.h)
 *   class folders    a folder or an uncompressed tar of CLASS/image; the caption is a template
 *                    filled with the class's name
 *   webdataset       uncompressed tar shards: KEY.jpg|png|... beside KEY.txt|json
 *   images         (images_only) a folder or a tar, searched through with its subfolders
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

struct clip_sample {          /* what reading gives; start from {0}, reuse for the next read */
    struct clip_buffer image; /* the image file's bytes */
    struct clip_buffer caption;
    char name[512]; /* for messages: "pairs.csv:14 (a/b.jpg)"; set on failure too */
};
void clip_sample_release(struct clip_sample *sample);

struct clip_dataset {
    const struct clip_dataset_ops *ops;
    int64_t count;
    /* group[i]: samples with one number are of one image, or of one class in class folders
     * (multi_positive). Numbers lie in [0, count). */
    int64_t *group;
    const struct clip_class_list *classes;  /* class folders': group[i] is a number in it */
    const struct clip_templates *templates; /* their captions'; count 0: captions are empty */
    bool paths;               /* image_name is a path by which any program can open the image */
    struct clip_names unread; /* folders and files below a folder that had to be passed over; they
                               * were named on stderr */
};

struct clip_dataset_ops {
    const char *name;
    /* Reads sample `index`; rng chooses a caption where there are several (templates; NULL: the
     * first). Thread-safe. A missing or unreadable image or an empty caption is
     * CLIP_ERR_DATA/IO/NOT_FOUND with a sentence that names the sample. */
    clip_status (*read)(const struct clip_dataset *dataset, int64_t index, struct clip_rng *rng,
                        struct clip_sample *out, struct clip_error *error);
    /* The caption alone (token statistics, multi_positive), by the same rules. `out` is replaced,
     * not appended to. CLIP_ERR_DATA says that the caption is there but empty or only spaces;
     * another status that there is none or that it is damaged. */
    clip_status (*caption)(const struct clip_dataset *dataset, int64_t index, struct clip_rng *rng,
                           struct clip_buffer *out, struct clip_error *error);
    /* A hard negative: a caption that almost fits the image, of which the loss says that it does
     * not (NegCLIP). `out` is replaced; empty where the sample has none. NULL: no sample has. */
    clip_status (*negative)(const struct clip_dataset *dataset, int64_t index,
                            struct clip_buffer *out, struct clip_error *error);
    /* The path by which the image can be opened, or its name inside a tar; static for the data
     * set's life. Samples of one image have one: the same pointer. */
    const char *(*image_name)(const struct clip_dataset *dataset, int64_t index);
    void (*free)(struct clip_dataset *dataset);
};

struct clip_dataset_options { /* the [data] keys that matter here; strings may be NULL or "" */
    const char *images_root;
    const char *csv_separator; /* "auto", "comma", "tab", or one character */
    const char *csv_img_key, *csv_caption_key;
    const char *csv_negative_key; /* the column of hard negative captions; NULL or "": none */
    const char *class_templates;  /* a template file; needed for class folders' captions */
    const char *classes; /* a class file (name TAB folder) or NULL: folder names, '_' as space */
    bool names_are_captions; /* without class_templates, a class's name is its images' caption */
    const volatile sig_atomic_t *stop; /* not 0: opening ends with CLIP_ERR_INTERRUPTED; or NULL */
    bool images_only; /* captions are not wanted: class folders need no templates, csv no caption
                            column, and a folder is searched for images at any depth */
};

/* DATA: found out from the name and what is there; shards by {000..012}. Opening checks that the
 * set is readable and not empty. */
clip_status clip_dataset_open(struct clip_dataset **out, const char *data,
                              const struct clip_dataset_options *options, struct clip_error *error);
void clip_dataset_free(struct clip_dataset *dataset); /* NULL is fine */
/* Is it a data set by its name (a suffix, not what is there), and no image or text file? */
bool clip_dataset_is_named(const char *data);

/* The samples whose images are held out (`held`), a `share` of all images chosen by a hash of
 * their names, or the others; under new numbers, in order. An image's samples stay together. The
 * set borrows `whole`. *samples (or NULL): their numbers in `whole`, the set's memory. */
clip_status clip_dataset_split(struct clip_dataset **out, const struct clip_dataset *whole,
                               double share, bool held, const int64_t **samples,
                               struct clip_error *error);
/* The chance that two different samples are of one image (or class) or have the same caption:
 * what multi_positive is for. Estimated from up to 20,000 evenly spaced samples. */
clip_status clip_dataset_repeats(const struct clip_dataset *dataset, double *chance,
                                 struct clip_error *error);
/* How many samples of `b` show an image of `a`, by name and bytes; `example` [size]: the first. */
clip_status clip_dataset_shared(const struct clip_dataset *a, const struct clip_dataset *b,
                                int64_t *shared, char *example, size_t size,
                                struct clip_error *error);

/* ---- Class names and templates ---- */
struct clip_class_list { /* a line a class: name, then after a tab the folder's where it differs */
    char **names, **folders;
    int64_t count;
    struct clip_arena arena;
};
/* UTF-8 lines; a BOM, a CR at the end and blank lines are passed over; names and folders are
 * unique. */
clip_status clip_class_list_read(const char *path, struct clip_class_list *out,
                                 struct clip_error *error);
void clip_class_list_release(struct clip_class_list *list);

struct clip_templates { /* one line a template, holding {} or {c} */
    char **lines;
    int64_t count;
    struct clip_arena arena;
};
clip_status clip_templates_read(const char *path, struct clip_templates *out,
                                struct clip_error *error);
void clip_templates_release(struct clip_templates *templates);
/* The first {} or {c} in the line, its length in *n; NULL without one. */
const char *clip_template_hole(const char *line, size_t *n);
/* The template with every {} and {c} replaced by `name`, appended to out. */
clip_status clip_template_fill(const char *line, const char *name, struct clip_buffer *out,
                               struct clip_error *error);

/* Class folders (a folder, a tar of them, or either packed), for zero-shot evaluation: sample i's
 * class is label[i], a number into the class list. A folder is found in the list by its folder's
 * name, else with '_' read as space. A folder that is no class is an error; a class without
 * images is not. `templates` may be NULL: captions are then empty, as a packed set's always are
 * here. Keeps nothing of `classes` and `templates`. */
clip_status clip_dataset_open_classes(struct clip_dataset **out, const char *images,
                                      const struct clip_class_list *classes,
                                      const struct clip_templates *templates,
                                      struct clip_error *error);
int64_t clip_dataset_label(const struct clip_dataset *dataset, int64_t index); /* of such a set */

#endif
