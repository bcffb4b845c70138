/* One run that writes an index: its lock, the index that it found, and what it adds. Only
 * index_update.c and index_compact.c use it. */
#ifndef CLIP_SEARCH_INDEX_RUN_H
#define CLIP_SEARCH_INDEX_RUN_H

#include "core/int_map.h"
#include "core/string_map.h"
#include "search/index.h"
#include "search/index_update.h"

struct clip_index_run {
    const char *path;
    char *folder; /* PATH.d */
    int lock;
    struct clip_index index;
    bool is_new; /* no index was there, or it is started over: the list must be written */
    const struct clip_embedder *embedder;
    const struct clip_index_options *options;
    struct clip_index_changes *changes;
    struct clip_string_map places; /* -> the row, of rows that are not removed: of images by where
                                    * they lie (index_place.h), of texts by themselves */
    bool folded; /* rows of one image, spelled otherwise, were marked: write the list */
    struct clip_int_map contents; /* a content's hash -> a row that has it, removed or not */
};

/* Takes the lock, for which it makes the folder PATH.d. The folder that contains PATH must
 * exist. */
clip_status clip_index_run_lock(struct clip_index_run *run, struct clip_error *error);
/* Takes the lock, opens the index or starts a new one, removes what a killed run has left, and
 * notes every row by its name and its content. */
clip_status clip_index_run_open(struct clip_index_run *run, bool texts, struct clip_error *error);
void clip_index_run_close(struct clip_index_run *run);

/* A row with this content, which may be a removed one; -1 if there is none. */
int64_t clip_index_run_content(const struct clip_index_run *run, int64_t hash);
/* Notes the rows from `first` on by name and content. */
clip_status clip_index_run_note(struct clip_index_run *run, int64_t first,
                                struct clip_error *error);
void clip_index_mark_removed(struct clip_index *index, int64_t row);
/* Writes the list: from then on what it names is the index. */
clip_status clip_index_run_commit(struct clip_index_run *run, struct clip_error *error);

/* How many rows a segment gets: what the options say, else `usual`. */
int64_t clip_index_run_rows(const struct clip_index_options *options, int64_t usual);
void clip_index_run_finish(struct clip_index_run *run); /* fills in the counts of run->changes */
/* CLIP_ERR_DATA if a new index would have no row. */
clip_status clip_index_run_not_empty(const struct clip_index_run *run, struct clip_error *error);

#endif
