/* Keeps an index up to date: it embeds what is new or has changed, and marks what is gone.
 *
 * Only one process at a time writes an index, which a lock in its folder ensures. A run adds one
 * segment after the other. If it is killed at any moment and started again, it repeats at most the
 * segment that it was making. */
#ifndef CLIP_SEARCH_INDEX_UPDATE_H
#define CLIP_SEARCH_INDEX_UPDATE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "embed/embedder.h"
#include "search/index.h"

enum { CLIP_INDEX_SEGMENT = 1024 }; /* rows of a segment, unless the options say otherwise */
enum { CLIP_INDEX_COMPACT_SEGMENT = 65536 }; /* the same after clip_index_compact */

struct clip_index_options { /* {0}: the defaults */
    const char *precision;  /* "f32", "bf16" or "int8"; an index of another precision is refused.
                             * NULL: the precision of the index, and f32 for a new one */
    bool drop_exact;        /* a new bf16 or int8 index keeps no f32 rows for its candidates */
    bool force;             /* start over if the index has another model, precision or kind */
    bool quiet;             /* no progress line */
    int64_t segment_rows;   /* 0 means CLIP_INDEX_SEGMENT */
    const volatile sig_atomic_t *stop; /* when it is not 0, the run writes what it has
                                        * embedded and fails with CLIP_ERR_INTERRUPTED; or NULL */
};

struct clip_index_changes {
    int64_t count;     /* rows that are not removed, after the run */
    int64_t added;     /* names that the index did not have */
    int64_t changed;   /* names whose content has changed */
    int64_t removed;   /* names that are gone */
    int64_t unchanged; /* the other names that were listed */
    int64_t embedded;  /* images or texts that went through the model; an image whose content the
                        * index had under another name or time did not */
    int64_t skipped;   /* images and folders that could not be read; they are named on stderr */
    int64_t segments;  /* of the index, after the run */
};

/* Each argument is a folder, a data set or an image file (images.h). While the size and time of an
 * image's file stay the same, its row stays. If they differ, the hash of its content decides
 * whether it has changed. An image of the index that lies in one of the listed folders or tars, but
 * is not there any more, is marked as removed.
 * CLIP_ERR_DATA: nothing could be read and the index would be empty, another model made it, ... */
clip_status clip_index_update_images(const char *path, const struct clip_embedder *embedder,
                                     const char *const *arguments, int64_t n,
                                     const struct clip_index_options *options,
                                     struct clip_index_changes *changes, struct clip_error *error);
/* Adds the texts that the index does not have, each once, and leaves out empty ones. */
clip_status clip_index_update_texts(const char *path, const struct clip_embedder *embedder,
                                    const char *const *texts, int64_t n,
                                    const struct clip_index_options *options,
                                    struct clip_index_changes *changes, struct clip_error *error);

/* Writes the index again in few segments, without the rows that are marked as removed. If
 * options->precision names another precision, the rows get it; f32 needs kept f32 rows. The old
 * segments are removed after the new list is written. */
clip_status clip_index_compact(const char *path, const struct clip_index_options *options,
                               struct clip_index_changes *changes, struct clip_error *error);

#endif
