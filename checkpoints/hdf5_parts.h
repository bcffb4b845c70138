/* What the parts of the native file's reader and writer share: hdf5_block.c and hdf5_types.c, for
 * hdf5_write.c and hdf5_read.c. */
#ifndef CLIP_CHECKPOINTS_HDF5_PARTS_H
#define CLIP_CHECKPOINTS_HDF5_PARTS_H

#include <hdf5.h>

#include "checkpoints/bundle.h"
#include "core/hdf5.h"

#define CLIP_HDF5_LINKS 100000 /* at most so many groups, tensors and texts in a file */

/* Makes the first block of a file of `size` bytes of which the rest is written. */
#define CLIP_HDF5_BLOCK 512
clip_status clip_hdf5_seal(char block[CLIP_HDF5_BLOCK], int fd, int64_t size, const char *name,
                           struct clip_error *error);
/* Checks that the open file is an intact native file: magic, version, length and checksum are as
 * clip_hdf5_seal made them. Else it fails with CLIP_ERR_FORMAT and a sentence. `name` takes the
 * place of the path. */
clip_status clip_hdf5_check(int fd, int64_t size, const char *name, struct clip_error *error);
/* The same without reading all of it: checks only magic, version and length. */
clip_status clip_hdf5_check_length(int fd, int64_t size, const char *name,
                                   struct clip_error *error);

/* The file's type for one of ours, little-endian. H5Tclose the result; negative on failure. */
hid_t clip_hdf5_type(enum clip_dtype dtype);

#endif
