/* The index as the page shows it, kept up to date: each request takes what is true when it begins,
 * so an index that clip_search brings up to date meanwhile is noticed without a restart. */
#ifndef CLIP_SERVE_CATALOGUE_H
#define CLIP_SERVE_CATALOGUE_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "embed/embedder.h"
#include "search/index.h"
#include "search/search.h"
#include "serve/copies.h"

enum { CLIP_SHOWN_FOLDERS = 500 }; /* that are listed */

struct clip_shown_folder {
    const char *path; /* "" for images in no folder */
    int64_t count;
};

/* An index at one time; nothing of it changes while somebody has it. */
struct clip_shown {
    struct clip_index index;
    struct clip_search_filter all;    /* its rows that are not removed */
    struct clip_search_filter folded; /* of those that are the same file the first alone */
    struct clip_copies copies;
    int64_t *newest;                   /* [count] rows from the newest file to the oldest */
    struct clip_shown_folder *folders; /* sorted by path, at most CLIP_SHOWN_FOLDERS */
    int64_t folder_count;
    /* The page knows row i as image first + i. Rows keep their numbers when images are added;
     * when the index is put together anew they get numbers that none had before. */
    int64_t first;
    int64_t version; /* 1, and one more each time that it was opened anew */
    int64_t users;   /* the catalogue's */
    struct clip_arena arena;
};

struct clip_catalogue;
/* Opens the index at `path`, which has to hold images, and those of the embedder's model. Borrows
 * the embedder. */
clip_status clip_catalogue_create(struct clip_catalogue **out, const char *path,
                                  const struct clip_embedder *embedder, struct clip_error *error);
void clip_catalogue_free(struct clip_catalogue *catalogue); /* all given back; NULL is fine */

/* The index as it is now; to be given back. Thread-safe. Where the list on the disk has changed it
 * is opened anew; one that cannot be shown (gone, damaged, of another model) is named on stderr
 * once, and the last good one stays. */
const struct clip_shown *clip_catalogue_take(struct clip_catalogue *catalogue);
void clip_catalogue_give(struct clip_catalogue *catalogue, const struct clip_shown *shown);

#endif
