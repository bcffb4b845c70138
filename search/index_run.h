/* One run that writes an index: the lock, what was found, what becomes true. For index_update.c and
 * index_compact.c alone. */
#ifndef CLIP_SEARCH_INDEX_RUN_H
#define CLIP_SEARCH_INDEX_RUN_H

#include "core/int_map.h"
#include "core/string_map.h"
#include "search/index.h"
#include "search/index_update.h"

struct clip_index_run { /* one run */
    const char *path;
    char *folder; /* PATH.d */
    int lock;
    struct clip_index index;
    bool is_new; /* there was none, or it was started over: the list is to be written */
    const struct clip_embedder *embedder;
    const struct clip_index_options *options;
    struct clip_index_changes *changes;
    struct clip_string_map names; /* -> the row, of rows that are not removed */
    struct clip_int_map contents; /* a content's hash -> a row that has it, removed or not */
};

/* Takes the lock. The index's folder PATH.d is made beside where the index is to be; the folder
 * that both lie in has to be there. */
clip_status clip_index_run_lock(struct clip_index_run *run, struct clip_error *error);
/* Locks, opens the index or starts one, removes what a killed run left, and knows every row by name
 * and by content. */
clip_status clip_index_run_open(struct clip_index_run *run, bool texts, struct clip_error *error);
void clip_index_run_close(struct clip_index_run *run);

/* A row (removed or not) with this content, -1 for none. */
int64_t clip_index_run_content(const struct clip_index_run *run, int64_t hash);
/* The rows from `first` on become known by name and content. */
clip_status clip_index_run_note(struct clip_index_run *run, int64_t first,
                                struct clip_error *error);
void clip_index_mark_removed(struct clip_index *index, int64_t row);
/* The list as it is now becomes the index. */
clip_status clip_index_run_commit(struct clip_index_run *run, struct clip_error *error);

/* Rows of a segment as the options say, else `usual`. */
int64_t clip_index_run_rows(const struct clip_index_options *options, int64_t usual);
void clip_index_run_finish(struct clip_index_run *run); /* counts for run->changes */
/* CLIP_ERR_DATA where there would be an index without a row. */
clip_status clip_index_run_not_empty(const struct clip_index_run *run, struct clip_error *error);

#endif
