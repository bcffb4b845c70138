/* The images of an index, by their rows: their bytes, and their thumbnails kept in memory, which
 * are known by the hash of the image's content, so that they outlive an index that was brought up
 * to date. Names come from the index alone; nothing that a visitor sends becomes a path. */
#ifndef CLIP_SERVE_STORE_H
#define CLIP_SERVE_STORE_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"
#include "search/index.h"

enum { CLIP_THUMBNAIL_SIDE = 320 }; /* pixels of the longer side, at most */

struct clip_store;
/* At most `cache_bytes` of thumbnails are kept, the longest unused go first. */
clip_status clip_store_create(struct clip_store **out, int64_t max_pixels, size_t cache_bytes,
                              struct clip_error *error);
void clip_store_free(struct clip_store *store); /* NULL is fine */

/* Thread-safe. *out is overwritten, and the caller's to release. A file that is gone or damaged by
 * now is an error that names it. */
clip_status clip_store_image(struct clip_store *store, const struct clip_index *index, int64_t row,
                             struct clip_buffer *out, struct clip_error *error);
/* Of type clip_image_small_type, upright. */
clip_status clip_store_thumbnail(struct clip_store *store, const struct clip_index *index,
                                 int64_t row, struct clip_buffer *out, struct clip_error *error);
/* The bytes of an image file of a kind that browsers do not show (HEIC) become those of an image of
 * type clip_image_small_type, upright and as large. *file stays as it is where that fails. */
clip_status clip_store_convert(const struct clip_store *store, struct clip_buffer *file,
                               struct clip_error *error);
/* What is there now: the image's bytes, and when its file, or the tar that it lies in, was changed,
 * in nanoseconds since 1970. */
clip_status clip_store_stat(struct clip_store *store, const struct clip_index *index, int64_t row,
                            int64_t *size, int64_t *time, struct clip_error *error);
size_t clip_store_held(struct clip_store *store); /* bytes of thumbnails in memory */

#endif
