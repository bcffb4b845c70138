/* The last look at an export: what another program will get is what the model gives. */
#ifndef CLIP_EMBED_SELF_CHECK_H
#define CLIP_EMBED_SELF_CHECK_H

#include "formats/model_export.h"

/* For clip_export_options.check: opens the export at `path` as any model is opened, and uses it
 * beside `file`. Their descriptions are the same; each token of the vocabulary is spelled alike,
 * and its spelling and some sentences become the same tokens; an image becomes the same pixels; and
 * image and texts have the same embeddings, as far as `dtype` allows. CLIP_ERR_DATA: they are not;
 * the sentence says what differs. */
clip_status clip_self_check(const struct clip_model_file *file, const char *path,
                            enum clip_dtype dtype, struct clip_error *error);

#endif
