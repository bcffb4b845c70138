/* Where an index's images lie: one path, one image, however it is spelled.
 *
 * Two spellings are of one image if they are equal once they are absolute and normalised lexically:
 * relative names count from the index's base, "." and ".." and repeated '/' are resolved, links are
 * not followed. */
#ifndef CLIP_SEARCH_INDEX_PLACE_H
#define CLIP_SEARCH_INDEX_PLACE_H

#include "core/string_map.h"
#include "embed/images.h"
#include "search/index.h"

/* *out = the name as such an absolute path; replaced, its memory reused. `base` NULL: "/". */
clip_status clip_index_place(struct clip_buffer *out, const char *base, const char *name,
                             struct clip_error *error);
/* Does the place lie below the folder (also a place), or is it the folder? */
bool clip_index_lies_in(const char *place, const char *folder);
/* *out = a path by which row `number` can be opened from the folder `here`, where there is such a
 * file; else, and of texts, the name as the index has it. */
clip_status clip_index_path(struct clip_buffer *out, const struct clip_index *index, int64_t number,
                            const char *here, struct clip_error *error);

struct clip_index_listing { /* images that were listed for an index; start from {0} */
    int64_t count;
    const char **places;              /* [count] */
    const char **names;               /* [count] as the index is to have them */
    struct clip_string_map places_of; /* place -> the lowest number that has it */
    struct clip_arena arena;
};
/* A name that was given absolute stays so, any other counts from the index's base.
 * CLIP_ERR_DATA: relative names, and the base is not there any more. */
clip_status clip_index_listing_make(struct clip_index_listing *out, const struct clip_index *index,
                                    const struct clip_images *images, const char *path,
                                    struct clip_error *error);
void clip_index_listing_release(struct clip_index_listing *listing);

#endif
