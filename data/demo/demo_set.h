/* What the demo sets share: drawing many images in parallel into PNG files, and writing the small
 * files beside them. */
#ifndef CLIP_DATA_DEMO_DEMO_SET_H
#define CLIP_DATA_DEMO_DEMO_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/progress.h"
#include "core/status.h"

enum { CLIP_DEMO_NAME = 160 }; /* bytes for an image's path inside the set */

struct clip_demo_images {
    const char *output;
    int64_t size, count; /* side in pixels; the images are numbered 0 to count - 1 */
    /* Writes the image's path inside the set. Images of one folder should follow each other. */
    void (*name)(const void *context, int64_t number, char out[CLIP_DEMO_NAME]);
    /* Draws the image: rgb [size,size,3]. Called from several threads. */
    clip_status (*draw)(const void *context, int64_t number, uint8_t *rgb,
                        struct clip_error *error);
    const void *context;
};
/* Draws and writes all images, and makes their folders. *done is raised as they are written, and
 * shown. Images are not synced one by one: for tens of thousands that would take minutes. Write the
 * set's csv files after them, atomically: if these exist, the images are complete. The error is
 * that of the first image that failed. */
clip_status clip_demo_write_images(const struct clip_demo_images *images,
                                   struct clip_progress *progress, int64_t *done,
                                   struct clip_error *error);

/* Writes output/name, atomically. */
clip_status clip_demo_write_text(const char *output, const char *name,
                                 const struct clip_buffer *text, struct clip_error *error);
/* Writes output/tokenizer.txt, trained on the captions: a vocabulary of vocab_size, or fewer if
 * there are not so many merges. */
clip_status clip_demo_write_tokenizer(const char *output, const struct clip_names *captions,
                                      int64_t vocab_size, struct clip_error *error);
/* Fails with a sentence unless low <= value <= high. */
clip_status clip_demo_check_range(const char *option, int64_t value, int64_t low, int64_t high,
                                  struct clip_error *error);

#endif
