/* What the dataset_*.c files, the loader and the checker share: one function per source format that
 * opens it, and parts that several of them need. */
#ifndef CLIP_DATA_SETS_DATASET_INTERNAL_H
#define CLIP_DATA_SETS_DATASET_INTERNAL_H

#include <signal.h>

#include <jansson.h>

#include "core/string_map.h"
#include "data/sets/dataset.h"

/* A larger image file, or a larger caption file, makes a bad sample. */
enum { CLIP_IMAGE_BYTES = 1 << 29, CLIP_CAPTION_BYTES = 1 << 20 };

/* Has `name` the suffix of an image (clip_image_suffixes, in any case), and does it not begin
 * with a dot? */
bool clip_dataset_is_image(const char *name);
bool clip_dataset_is_blank(const char *text, size_t n); /* empty, or only ASCII white space? */

/* Is the caption (already in `caption`) usable: UTF-8 without NUL bytes and not blank? The sentence
 * begins with `name`. */
clip_status clip_dataset_caption_check(const struct clip_buffer *caption, const char *name,
                                       struct clip_error *error);
/* out = the file's bytes; its memory is reused. The sentence names no sample: prefix it. */
clip_status clip_dataset_read_file(const char *path, struct clip_buffer *out,
                                   struct clip_error *error);
/* out = the n bytes. */
clip_status clip_dataset_set(struct clip_buffer *out, const void *bytes, size_t n,
                             struct clip_error *error);

/* Every file below a folder. Names that begin with a dot are left out. A folder is visited once,
 * whatever links lead to it, and under its own name rather than a link's. What is no regular file
 * (a pipe, a device) is never opened. A folder below that cannot be listed or lies too deep, and
 * what is named like an image and is no file, is named on stderr and passed over; files that nobody
 * took are counted on stderr by suffix. */
struct clip_folder_walk {
    /* `name` counts from the folder; folder by folder, in the order of names. *taken (false when it
     * is called): the file is of use. A link that points nowhere is a file here. */
    clip_status (*found)(void *context, const char *name, bool *taken, struct clip_error *error);
    void *context;
    const volatile sig_atomic_t *stop; /* not 0: end with CLIP_ERR_INTERRUPTED; or NULL */
    struct clip_names *unread;         /* gets the paths that were passed over; or NULL */
};
clip_status clip_folder_walk(const char *path, const struct clip_folder_walk *how,
                             struct clip_error *error);

/* An uncompressed tar, scanned once. Entries are read later, from any thread, each through its own
 * file descriptor, so that thousands of shards need not stay open. */
struct clip_tar_entry {
    char *name;       /* without leading "./" */
    char *link;       /* a hard link's target until the scan is over, then NULL */
    int64_t position; /* position of the entry's first header in the file */
    int64_t size;     /* as the header says */
};
struct clip_tar {
    char *path;
    struct clip_tar_entry *entries; /* regular files in the tar's order; hard links are resolved */
    int64_t count, capacity;
    struct clip_arena arena;
};
clip_status clip_tar_open(struct clip_tar *out, const char *path, struct clip_error *error);
/* The same, but of a tar that is cut or damaged it keeps the entries before that place; *damage
 * says what is wrong, its status CLIP_OK if nothing is. Fails if there are none. */
clip_status clip_tar_open_damaged(struct clip_tar *out, const char *path, struct clip_error *damage,
                                  struct clip_error *error);
/* out = the entry's bytes; more than `limit` bytes are an error. Thread-safe. */
clip_status clip_tar_read(const struct clip_tar *tar, const struct clip_tar_entry *entry,
                          size_t limit, struct clip_buffer *out, struct clip_error *error);
void clip_tar_close(struct clip_tar *tar);

/* DATA that names shards: braces, patterns, a folder of shards, and lists of them joined by "::".
 * Each is opened; close them (also where an opener took some over, which leaves them {0}). */
clip_status clip_shards_open(struct clip_tar **out, int64_t *count, const char *data,
                             struct clip_error *error);
void clip_shards_close(struct clip_tar *tars, int64_t count);
/* Is all that the name stands for tars: one, a folder of them, a list, a pattern? */
bool clip_shards_are(const char *data);
/* Does the name, of nothing that exists, stand for several: a list, a pattern, braces? */
bool clip_shards_are_names(const char *data);
/* Ends this part of a list at its "::"; the next part, or NULL. */
char *clip_shards_next(char *part);
/* Adds the names that a part of a list stands for: braces, a pattern, a folder of shards. */
clip_status clip_shards_expand(const char *part, struct clip_names *names,
                               struct clip_error *error);

/* Adds the names that DATA stands for, "pipe:COMMAND" among them; none where it is no shards. With
 * parts, *ends gets the number of names behind each part of a list. */
clip_status clip_shards_list(const char *data, struct clip_names *names, int64_t **ends,
                             int64_t *parts, struct clip_error *error);
bool clip_shards_is_pipe(const char *name);

/* Runs a command and keeps what it writes in a new file of the folder: *path, which the caller
 * removes, and whose lock *lock (close it) says that it is in use. A command that fails or writes
 * more than `most` bytes is tried again `retries` times. */
struct clip_spool {
    const char *folder;
    int64_t most, retries;
    const volatile sig_atomic_t *stop; /* not 0: nothing is tried again; or NULL */
};
clip_status clip_spool_command(const struct clip_spool *spool, const char *command, char **path,
                               int *lock, struct clip_error *error);
/* Removes files of processes that died. */
clip_status clip_spool_clean(const char *folder, struct clip_error *error);

/* CLIP_ERR_DATA with a sentence that names the format where the file's bytes, or what lies in the
 * folder, are a data set of a format that is not read here (Parquet, LMDB, ...). */
clip_status clip_dataset_refuse_foreign(const char *path, struct clip_error *error);
/* The same for a folder that turned out to hold no data set: by any file in it. */
clip_status clip_dataset_refuse_foreign_inside(const char *folder, struct clip_error *error);
/* One set of several, in order. Takes over the parts, also after a failure, and leaves NULL. */
clip_status clip_dataset_join(struct clip_dataset **out, struct clip_dataset **parts, int64_t count,
                              struct clip_error *error);

/* The usual names of columns and keys, the first one csv's default, ended by NULL. */
extern const char *const clip_image_keys[], *const clip_caption_keys[];
/* Does `asked` name something else than the default? */
bool clip_key_is_asked(const char *asked, const char *const *usual);
/* The next of the names in "a,b", without the spaces around it: its length in `key`; *at moves. */
size_t clip_key_next(const char **at, char *key, size_t size);
/* The image's path by `asked` (csv_img_key), else by the first usual key; NULL: there is none. */
const json_t *clip_json_image(const json_t *object, const char *asked);
/* The captions by `asked` (csv_caption_key; "a,b": of both keys), else by the first usual key that
 * the object has. A list of texts holds several. The one at `which` may be no text; NULL: there is
 * none. */
int64_t clip_json_captions(const json_t *object, const char *asked);
const json_t *clip_json_caption(const json_t *object, const char *asked, int64_t which);

clip_status clip_class_list_copy(struct clip_class_list *to, const struct clip_class_list *from,
                                 struct clip_error *error);
clip_status clip_templates_copy(struct clip_templates *to, const struct clip_templates *from,
                                struct clip_error *error);

/* A list of images and captions in one text file, built row by row (dataset_rows.c). */
struct clip_rows;
struct clip_row {
    const char *image, *caption; /* as in the file; caption NULL: none is wanted */
    const char *negative;        /* a hard negative caption; NULL: none */
    size_t image_size, caption_size, negative_size;
    int64_t line;        /* the line where the row begins, from 1; 0: it is not reported */
    const char *problem; /* NULL, or what makes it a bad sample, to follow "FILE:LINE: " */
};
clip_status clip_rows_create(struct clip_rows **out, const char *format, const char *path,
                             const struct clip_dataset_options *options, struct clip_error *error);
clip_status clip_rows_add(struct clip_rows *rows, const struct clip_row *row,
                          struct clip_error *error);
/* Adds a row that is a bad sample. */
clip_status clip_rows_add_problem(struct clip_rows *rows, const char *problem, int64_t line,
                                  struct clip_error *error);
/* Adds a row of jsonl; each of its captions is a sample. */
clip_status clip_rows_add_json(struct clip_rows *rows, const json_t *object, int64_t line,
                               const struct clip_dataset_options *options,
                               struct clip_error *error);
/* The same for each line of JSON, by `add`; a line that is none is a bad sample. A BOM and blank
 * lines are passed over. */
typedef clip_status clip_rows_adder(struct clip_rows *rows, const json_t *object, int64_t line,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error);
clip_status clip_rows_add_lines(struct clip_rows *rows, const char *bytes, size_t n,
                                clip_rows_adder *add, const struct clip_dataset_options *options,
                                struct clip_error *error);
/* Images that are no files of their own: `read` gets what the row calls its image. `free` gets the
 * context when the rows are freed. */
struct clip_rows_images {
    clip_status (*read)(const void *context, const char *image, struct clip_buffer *out,
                        struct clip_error *error);
    void (*free)(void *context);
    void *context;
};
void clip_rows_read_by(struct clip_rows *rows, const struct clip_rows_images *images);
int64_t clip_rows_count(const struct clip_rows *rows);
/* Of at least one row: CLIP_ERR_FORMAT with the first one's problem if every row has one. */
clip_status clip_rows_check(const struct clip_rows *rows, struct clip_error *error);
struct clip_dataset *clip_rows_finish(struct clip_rows **rows); /* takes over *rows */
void clip_rows_free(struct clip_rows *rows);                    /* accepts NULL */

/* These open one source each. Those of tars take over the tars, also after a failure, and leave
 * them {0}. */
clip_status clip_dataset_csv_open(struct clip_dataset **out, const char *path,
                                  const struct clip_dataset_options *options,
                                  struct clip_error *error);
clip_status clip_dataset_jsonl_open(struct clip_dataset **out, const char *path,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error);
clip_status clip_dataset_coco_open(struct clip_dataset **out, const char *path,
                                   const struct clip_dataset_options *options,
                                   struct clip_error *error);
clip_status clip_dataset_packed_open(struct clip_dataset **out, const char *path,
                                     const struct clip_dataset_options *options,
                                     struct clip_error *error);
/* Chinese-CLIP's pair of files, by either of them or by a folder that holds it. */
clip_status clip_dataset_muge_open(struct clip_dataset **out, const char *path,
                                   const struct clip_dataset_options *options,
                                   struct clip_error *error);
bool clip_dataset_muge_is(const char *path);
clip_status clip_dataset_muge_pair(struct clip_dataset **out, const char *images, const char *texts,
                                   const struct clip_dataset_options *options,
                                   struct clip_error *error);
/* The same from memory: `path` is for messages, and relative image paths are relative to it. */
typedef clip_status clip_dataset_parser(struct clip_dataset **out, const char *bytes, size_t n,
                                        const char *path,
                                        const struct clip_dataset_options *options,
                                        struct clip_error *error);
/* Is the .txt a list with a header that names an image's and a caption's column? */
bool clip_dataset_csv_is(const char *path);
clip_dataset_parser clip_dataset_csv_parse, clip_dataset_jsonl_parse, clip_dataset_coco_parse;
clip_status clip_dataset_parse_file(struct clip_dataset **out, const char *path,
                                    clip_dataset_parser *parse,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error);
clip_status clip_dataset_folder_open(struct clip_dataset **out, const char *path,
                                     const struct clip_dataset_options *options,
                                     struct clip_error *error);
bool clip_dataset_is_caption(const char *name); /* .txt, .caption or .json */
/* Captions in files beside the images, whose names are below the folder; or by a metadata.csv or
 * metadata.jsonl in the folder. *out is NULL where there are none. */
clip_status clip_dataset_beside_open(struct clip_dataset **out, const char *folder,
                                     const struct clip_names *images,
                                     const struct clip_dataset_options *options,
                                     struct clip_error *error);
clip_status clip_dataset_imagefolder_open(struct clip_dataset **out, const char *folder,
                                          const struct clip_dataset_options *options,
                                          struct clip_error *error);
clip_status clip_dataset_folder_tar(struct clip_dataset **out, struct clip_tar *tar,
                                    const struct clip_dataset_options *options,
                                    struct clip_error *error);
/* *out is NULL and the tar is as it was where a single one holds neither captions nor labels beside
 * its images: clip_dataset_folder_tar reads that. */
clip_status clip_dataset_webdataset_open(struct clip_dataset **out, struct clip_tar *tars,
                                         int64_t count, const struct clip_dataset_options *options,
                                         struct clip_error *error);
/* The same for clip_dataset_open_classes: labels are KEY.cls. *out is NULL and the tars are as they
 * were where they hold none. */
clip_status clip_dataset_labels_open(struct clip_dataset **out, struct clip_tar *tars,
                                     int64_t count, const struct clip_class_list *classes,
                                     const struct clip_templates *templates,
                                     struct clip_error *error);

#endif
