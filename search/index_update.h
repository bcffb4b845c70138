/* Keeping an index up to date: what is new or has changed is embedded, what is gone is marked.
 *
 * One process at a time writes an index (a lock in its folder). Everything a run does becomes true
 * segment by segment: killed at any moment and started again, it repeats at most the segment that
 * it was making. */
#ifndef CLIP_SEARCH_INDEX_UPDATE_H
#define CLIP_SEARCH_INDEX_UPDATE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "embed/embedder.h"
#include "search/index.h"

enum { CLIP_INDEX_SEGMENT = 1024 };          /* rows of a segment, where nothing else is asked */
enum { CLIP_INDEX_COMPACT_SEGMENT = 65536 }; /* and after clip_index_compact */

struct clip_index_options { /* {0}: the defaults */
    const char *precision;  /* "f32", "bf16", "int8"; NULL: as the index is, f32 for a new one. An
                             * index of another precision is refused */
    bool drop_exact;        /* of a new bf16 or int8 index: keep no f32 rows for its candidates */
    bool force;             /* start over where the index has another model, precision or kind */
    bool quiet;             /* no progress line */
    int64_t segment_rows;   /* 0: CLIP_INDEX_SEGMENT */
    const volatile sig_atomic_t *stop; /* not 0: seal what is embedded, then end with
                                        * CLIP_ERR_INTERRUPTED; or NULL */
};

struct clip_index_changes {
    int64_t count;     /* rows that count, afterwards */
    int64_t added;     /* names that were not there */
    int64_t changed;   /* names whose content is another now */
    int64_t removed;   /* names that are gone */
    int64_t unchanged; /* of what was given, the rest */
    int64_t embedded;  /* images or texts that went through the model: not those whose content was
                        * known already under another name or with another time */
    int64_t skipped;   /* images, and folders of them, that cannot be read; named on stderr */
    int64_t segments;  /* in the index, afterwards */
};

/* Images: each argument is a folder, a data set or an image file (images.h). An image is
 * taken as it is in the index while its file's size and time are the same; else its content's hash
 * says whether anything has changed. Images of the index that lie in one of the given folders or
 * tars and are not there any more are marked as removed.
 * CLIP_ERR_DATA: nothing could be read and the index would be empty; another model; ... */
clip_status clip_index_update_images(const char *path, const struct clip_embedder *embedder,
                                     const char *const *arguments, int64_t n,
                                     const struct clip_index_options *options,
                                     struct clip_index_changes *changes, struct clip_error *error);
/* Texts: those that are not there yet are added, once each; empty ones are left out. */
clip_status clip_index_update_texts(const char *path, const struct clip_embedder *embedder,
                                    const char *const *texts, int64_t n,
                                    const struct clip_index_options *options,
                                    struct clip_index_changes *changes, struct clip_error *error);

/* Puts the index together anew in few segments, without the rows that are marked as removed, and in
 * another precision where options->precision says so (f32 again needs kept f32 rows). The old
 * segments go when the new list is there. */
clip_status clip_index_compact(const char *path, const struct clip_index_options *options,
                               struct clip_index_changes *changes, struct clip_error *error);

#endif
