/* The parts of the native file's reader and writer: hdf5_block.c, hdf5_library.c, for
 * hdf5_write.c and hdf5_read.c. */
#ifndef CLIP_CHECKPOINTS_HDF5_PARTS_H
#define CLIP_CHECKPOINTS_HDF5_PARTS_H

#include <hdf5.h>

#include "checkpoints/bundle.h"

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

/* Between enter and leave libhdf5 is ours alone: it reports no errors by itself and loads no
 * filters from plug-ins; leave puts both back as they were. */
struct clip_hdf5_guard {
    H5E_auto2_t report;
    void *context;
    unsigned plugins;
};
void clip_hdf5_enter(struct clip_hdf5_guard *guard);
void clip_hdf5_leave(struct clip_hdf5_guard *guard);

/* "PATH: WHAT cannot be VERB (the library's reason); what to do". Call it before any other function
 * of the library: each clears the reason of the one before. */
clip_status clip_hdf5_fail(struct clip_error *error, clip_status status, const char *path,
                           const char *verb, const char *what);

/* Our types as the file's, little-endian. H5Tclose the result; negative on failure. */
hid_t clip_hdf5_type(enum clip_dtype dtype);

#endif
