/* An index: the embeddings of many pictures, or of many texts, in one file; and exact search in it.
 *
 * The file is a native HDF5 file: "embeddings" [n,E] of unit rows, and the texts "names" (a JSON
 * list: paths, or the texts themselves), "kind" ("images" or "texts"), "model" and
 * "model_checksum" (whose embeddings they are), "format" ("clip.c index 1"). */
#ifndef CLIP_EVAL_SEARCH_H
#define CLIP_EVAL_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "eval/embedder.h"
#include "eval/name_set.h"
#include "eval/pictures.h"

struct clip_index { /* start from {0} */
    bool texts;     /* it holds texts, not pictures */
    int64_t count, dim;
    float *rows;        /* [count, dim] */
    const char **names; /* [count] */
    char *model, *model_checksum;
    int64_t row_capacity, name_capacity;
    struct clip_name_set set; /* of names */
    struct clip_arena arena;
};
void clip_index_release(struct clip_index *index);

/* An empty index for this embedder's rows. */
clip_status clip_index_start(struct clip_index *out, const struct clip_embedder *embedder,
                             bool texts, struct clip_error *error);
/* *out is {0} after a failure. What the file says is checked before it is believed. */
clip_status clip_index_read(struct clip_index *out, const char *path, struct clip_error *error);
/* Atomic: the file that is there stays until the new one is whole. */
clip_status clip_index_write(const struct clip_index *index, const char *path,
                             struct clip_error *error);
/* CLIP_ERR_DATA unless the embedder is the very model that made the index (`path`, for the
 * sentence): scores between two models' rows mean nothing. */
clip_status clip_index_check(const struct clip_index *index, const struct clip_embedder *embedder,
                             const char *path, struct clip_error *error);
bool clip_index_has(const struct clip_index *index, const char *name);
/* Adds a unit row [dim]; copies both. A name that is there already is left as it is. */
clip_status clip_index_add(struct clip_index *index, const char *name, const float *row,
                           struct clip_error *error);

/* Embeds and adds what is not there yet, by name. *added and *bad count pictures added and those
 * that could not be read (named on stderr). */
clip_status clip_index_add_pictures(struct clip_index *index, const struct clip_embedder *embedder,
                                    const struct clip_pictures *pictures, bool quiet,
                                    int64_t *added, int64_t *bad, struct clip_error *error);
/* The same for texts; empty ones are left out. */
clip_status clip_index_add_texts(struct clip_index *index, const struct clip_embedder *embedder,
                                 const char *const *texts, int64_t n, bool quiet, int64_t *added,
                                 struct clip_error *error);

/* "snow::0.5" -> "snow" and 0.5; without "::NUMBER" (at most a million either way) at its end, all
 * of it and 1. *word is the caller's to free(). */
clip_status clip_query_split(const char *given, char **word, double *weight,
                             struct clip_error *error);
/* out [dim] = normalise(sum of weights[i] rows[i]), rows [n,dim] unit. A negative weight looks for
 * what is unlike. CLIP_ERR_DATA when they cancel each other. */
clip_status clip_query_combine(const float *rows, const double *weights, int64_t n, int64_t dim,
                               float *out, struct clip_error *error);

struct clip_hit {
    int64_t number; /* in the index */
    float score;    /* cosine with the query */
};
/* The k best rows for a unit query [dim], best first, lower number first among equals; exact: every
 * row is looked at. hits [k]; *found = min(k, count). */
clip_status clip_index_search(const struct clip_index *index, const float *query, int64_t k,
                              struct clip_hit *hits, int64_t *found, struct clip_error *error);

#endif
