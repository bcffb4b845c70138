/* The parts of the native file's reader and writer: hdf5_block.c, hdf5_types.c, for
 * hdf5_write.c and hdf5_read.c. */
#ifndef CLIP_CHECKPOINTS_HDF5_PARTS_H
#define CLIP_CHECKPOINTS_HDF5_PARTS_H

#include <hdf5.h>

#include "checkpoints/bundle.h"
#include "core/hdf5.h"

#define CLIP_HDF5_LINKS 100000 /* groups, tensors and texts in a file, at most */

/* The first block of a file of `size` bytes whose rest is written. */
#define CLIP_HDF5_BLOCK 512
clip_status clip_hdf5_seal(char block[CLIP_HDF5_BLOCK], int fd, int64_t size, const char *name,
                           struct clip_error *error);
/* The open file is a whole native file: magic, version, length and checksum are as clip_hdf5_seal
 * made them; else CLIP_ERR_FORMAT with a sentence. `name` stands for the path. */
clip_status clip_hdf5_check(int fd, int64_t size, const char *name, struct clip_error *error);
/* The same without reading all of it: magic, version and length alone. */
clip_status clip_hdf5_check_length(int fd, int64_t size, const char *name,
                                   struct clip_error *error);

/* Our types as the file's, little-endian. H5Tclose the result; negative on failure. */
hid_t clip_hdf5_type(enum clip_dtype dtype);

#endif
