/* An index holds the embeddings of many images, or of many texts, and can be searched (search.h).
 *
 * On the disk it is a small list, photos.index (JSON, index_list.c), and a folder beside it,
 * photos.index.d, which holds segments: seg_000001.h5, seg_000002.h5, ... (index_segment.c). A
 * segment is written to a temporary file and renamed; after that the list that names it is written
 * in the same way. The list alone decides what belongs to the index. A run that was killed may
 * leave files that no list names, and the next run removes them. Segments never change. If a row is
 * no longer true (its image was removed, or has changed and has a newer row), the list marks it.
 *
 * Opening an index maps the segments, so it reads the names but not the rows. If a segment's size
 * or time differs from what the list says, opening reads it through and compares its checksum.
 *
 * docs/search.md describes the index and its files for their users. */
#ifndef CLIP_SEARCH_INDEX_H
#define CLIP_SEARCH_INDEX_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "checkpoints/bundle.h"
#include "core/memory.h"
#include "core/status.h"
#include "embed/embedder.h"

/* The precision of the rows that a search reads. */
enum clip_index_precision {
    CLIP_INDEX_F32,
    CLIP_INDEX_BF16, /* half the size: bfloat16, rounded to nearest */
    CLIP_INDEX_INT8, /* a quarter of it: round(x / scale), where a row has scale = max|x| / 127 */
};
const char *clip_index_precision_name(int precision); /* "f32", ...; core/choice.h */
/* Any other word is CLIP_ERR_USAGE. */
clip_status clip_index_precision_from(const char *name, enum clip_index_precision *out,
                                      struct clip_error *error);

struct clip_index_segment {
    char *file;           /* its name in the folder of the index */
    int64_t bytes, time;  /* the file's when it was written: length, nanoseconds since 1970 */
    int64_t first, count; /* its rows are first .. first + count - 1 of the index */
    const void *rows;     /* [count,dim] floats, bfloat16 or int8 */
    const float *scales;  /* [count] of int8 rows; else NULL */
    const float *exact;   /* [count,dim] as they were embedded; NULL if they are not kept */
    const char **names;   /* [count] paths, or the texts themselves */
    const int64_t *sizes, *times; /* [count] of the files when they were embedded; NULL for texts */
    const int64_t *hashes;        /* [count] clip_hash64 of the files' bytes; NULL for texts */
    bool *removed;                /* [count] */
    struct clip_bundle bundle;    /* the mapped file */
};

struct clip_index {   /* start from {0} */
    bool texts;       /* it holds texts, not images */
    bool upright;     /* its images were turned as their EXIF orientation says */
    bool raw;         /* made with the weights as trained, where the model has their average too */
    bool keeps_exact; /* of bf16 and int8: f32 rows are there too, for candidates */
    enum clip_index_precision precision;
    int64_t dim;
    int64_t count;                /* rows, including removed ones */
    int64_t live;                 /* rows that are not removed */
    int64_t next_segment;         /* the number that the next segment gets */
    char *model, *model_checksum; /* the model that made the embeddings */
    char *base; /* relative names start from this folder, in which the index was begun */
    struct clip_index_segment *segments;
    int64_t segment_count, segment_capacity;
    struct clip_arena arena;
};
void clip_index_release(struct clip_index *index);

/* Opens the index at `path`, and checks everything that its files say. *out is {0} after a
 * failure. */
clip_status clip_index_open(struct clip_index *out, const char *path, struct clip_error *error);
/* Reads every segment through and compares its checksum, whatever the list says. */
clip_status clip_index_verify(const char *path, struct clip_error *error);

/* CLIP_ERR_DATA unless the embedder is the model that made the index: scores between the rows of
 * two models mean nothing. The sentence names `path`. */
clip_status clip_index_check(const struct clip_index *index, const struct clip_embedder *embedder,
                             const char *path, struct clip_error *error);

/* The segment that holds row `number` of the index. */
const struct clip_index_segment *clip_index_segment_of(const struct clip_index *index,
                                                       int64_t number);
const char *clip_index_name(const struct clip_index *index, int64_t number);
int64_t clip_index_time(const struct clip_index *index,
                        int64_t number); /* the time of an image's file */
bool clip_index_is_removed(const struct clip_index *index, int64_t number);
/* out [dim] = the row as it was embedded if the index keeps that, else the widened row. */
void clip_index_row(const struct clip_index *index, int64_t number, float *out);

/* ---- writing (index_write.c, index_segment.c, index_list.c) ---- */

struct clip_index_rows { /* rows that become a segment */
    int64_t count;
    const float *rows;                     /* [count,dim] unit rows */
    const char *const *names;              /* [count] */
    const int64_t *sizes, *times, *hashes; /* [count]; NULL for texts */
};
/* Adds a segment in memory only, for measurements and tests. It copies everything. dim, precision
 * and keeps_exact of `index` must be set. */
clip_status clip_index_add(struct clip_index *index, const struct clip_index_rows *rows,
                           struct clip_error *error);
/* Writes the next segment into `folder` and adds it to the index in memory. Nobody else knows the
 * segment before the list is written. */
clip_status clip_index_seal(struct clip_index *index, const char *folder,
                            const struct clip_index_rows *rows, struct clip_error *error);
/* Maps a segment of the index, of which the list has told file, bytes, time and removed rows.
 * `trusted`: do not compare its checksum. */
clip_status clip_index_segment_open(const struct clip_index *index,
                                    struct clip_index_segment *segment, const char *folder,
                                    bool trusted, struct clip_error *error);

/* Read and write the list; writing is atomic. Reading opens no segment: it sets `count` and
 * `removed` of each segment from the list. */
clip_status clip_index_list_read(struct clip_index *out, const char *path,
                                 struct clip_error *error);
clip_status clip_index_list_parse(struct clip_index *out, const char *bytes, size_t n,
                                  const char *path, struct clip_error *error);
clip_status clip_index_list_write(const struct clip_index *index, const char *path,
                                  struct clip_error *error);
char *clip_index_folder(const char *path, struct clip_error *error); /* "PATH.d"; free() it */

#endif
