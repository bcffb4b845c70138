/* What the writers share; only for this room. */
#ifndef CLIP_CHECKPOINTS_INTERNAL_H
#define CLIP_CHECKPOINTS_INTERNAL_H

#include "checkpoints/bundle.h"

/* Appends bytes to the temporary file; a failure names the file and the system's reason. */
clip_status clip_atomic_put(struct clip_atomic *file, const void *bytes, size_t n,
                            struct clip_error *error);
/* The bytes of a tensor's data. */
size_t clip_tensor_bytes(const struct clip_tensor *tensor);

#endif
