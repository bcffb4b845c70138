/* An index: the embeddings of many images, or of many texts, ready to be searched (search.h).
 *
 * On the disk it is a small list, photos.index (JSON, index_list.c), and beside it a folder,
 * photos.index.d, of sealed segments seg_000001.h5, seg_000002.h5, ... (index_segment.c). A segment
 * is written whole, beside, and renamed; then the list that names it is. What stands in the list is
 * the index: a segment that is not there yet is none, and a run that was killed left only what the
 * next one removes. Segments never change. A row that is no longer true (its image was removed,
 * or has changed and has a newer row) is marked in the list.
 *
 * Opening maps the segments: it takes time for names, not for rows. The first reader of a segment
 * whose size and time are not those that the list noted reads it through for its checksum.
 *
 * docs/search.md describes index and files for their users. */
#ifndef CLIP_SEARCH_INDEX_H
#define CLIP_SEARCH_INDEX_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "checkpoints/bundle.h"
#include "core/memory.h"
#include "core/status.h"
#include "embed/embedder.h"

/* Of the rows that a search reads. */
enum clip_index_precision {
    CLIP_INDEX_F32,
    CLIP_INDEX_BF16, /* half as large; bfloat16, rounded to nearest */
    CLIP_INDEX_INT8, /* a quarter: round(x / scale) with the row's scale = max|x| / 127 */
};
const char *clip_index_precision_name(int precision); /* "f32", ...; core/choice.h */
/* CLIP_ERR_USAGE for another word. */
clip_status clip_index_precision_from(const char *name, enum clip_index_precision *out,
                                      struct clip_error *error);

struct clip_index_segment {
    char *file;           /* its name in the index's folder */
    int64_t bytes, time;  /* of the file when it was sealed: length, nanoseconds since 1970 */
    int64_t first, count; /* its rows are first .. first + count - 1 of the index */
    const void *rows;     /* [count,dim] floats, bfloat16 or int8 */
    const float *scales;  /* [count] of int8; NULL */
    const float *exact;   /* [count,dim] as they were embedded; NULL: not kept */
    const char **names;   /* [count] paths, or the texts themselves */
    const int64_t *sizes, *times; /* [count] the files' when they were embedded; NULL for texts */
    const int64_t *hashes;        /* [count] clip_hash64 of their bytes; NULL for texts */
    bool *removed;                /* [count] */
    struct clip_bundle bundle;    /* the mapped file */
};

struct clip_index {   /* start from {0} */
    bool texts;       /* it holds texts, not images */
    bool keeps_exact; /* of bf16 and int8: f32 rows are there too, for candidates */
    enum clip_index_precision precision;
    int64_t dim;
    int64_t count;                /* rows, removed ones too */
    int64_t live;                 /* rows that are not removed */
    int64_t next_segment;         /* its number */
    char *model, *model_checksum; /* whose embeddings they are */
    char *base; /* the folder that relative names count from: where the index was begun */
    struct clip_index_segment *segments;
    int64_t segment_count, segment_capacity;
    struct clip_arena arena;
};
void clip_index_release(struct clip_index *index);

/* *out is {0} after a failure. What the files say is checked before it is believed. */
clip_status clip_index_open(struct clip_index *out, const char *path, struct clip_error *error);
/* Reads every segment through for its checksum, whatever the list notes. */
clip_status clip_index_verify(const char *path, struct clip_error *error);

/* CLIP_ERR_DATA unless the embedder is the very model that made the index (`path`, for the
 * sentence): scores between two models' rows mean nothing. */
clip_status clip_index_check(const struct clip_index *index, const struct clip_embedder *embedder,
                             const char *path, struct clip_error *error);

/* Row `number` of the index. */
const struct clip_index_segment *clip_index_segment_of(const struct clip_index *index,
                                                       int64_t number);
const char *clip_index_name(const struct clip_index *index, int64_t number);
int64_t clip_index_time(const struct clip_index *index, int64_t number); /* of an image's file */
bool clip_index_is_removed(const struct clip_index *index, int64_t number);
/* out [dim]: as it was embedded where that is kept, else widened. */
void clip_index_row(const struct clip_index *index, int64_t number, float *out);

/* ---- writing (index_write.c, index_segment.c, index_list.c) ---- */

struct clip_index_rows { /* rows on their way into a segment */
    int64_t count;
    const float *rows;                     /* [count,dim] unit rows */
    const char *const *names;              /* [count] */
    const int64_t *sizes, *times, *hashes; /* [count]; NULL for texts */
};
/* Adds a segment in memory alone, for measuring and for tests; everything is copied. `index` has
 * dim, precision and keeps_exact set. */
clip_status clip_index_add(struct clip_index *index, const struct clip_index_rows *rows,
                           struct clip_error *error);
/* Writes the next segment into `folder` and adds it to the index in memory; until the list is
 * written nobody else knows of it. */
clip_status clip_index_seal(struct clip_index *index, const char *folder,
                            const struct clip_index_rows *rows, struct clip_error *error);
/* Maps segment `segment` (whose file, bytes, time and removed rows the list has told) of the
 * index; `trusted`: its checksum need not be compared. */
clip_status clip_index_segment_open(const struct clip_index *index,
                                    struct clip_index_segment *segment, const char *folder,
                                    bool trusted, struct clip_error *error);
void clip_index_segment_release(struct clip_index_segment *segment);

/* The list, read and written (atomic). Reading opens no segment; `count` and `removed` of each are
 * as the list tells. */
clip_status clip_index_list_read(struct clip_index *out, const char *path,
                                 struct clip_error *error);
clip_status clip_index_list_parse(struct clip_index *out, const char *bytes, size_t n,
                                  const char *path, struct clip_error *error);
clip_status clip_index_list_write(const struct clip_index *index, const char *path,
                                  struct clip_error *error);
char *clip_index_folder(const char *path, struct clip_error *error); /* "PATH.d"; free() it */

#endif
