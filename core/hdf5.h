/* libhdf5 for those who write or read files with it. Debian's serial build has no locks: whoever
 * calls it does so between enter and leave. */
#ifndef CLIP_CORE_HDF5_H
#define CLIP_CORE_HDF5_H

#include <hdf5.h>

#include "core/status.h"

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

/* The file descriptor that libhdf5 writes an open file by, -1 for none. */
int clip_hdf5_descriptor(hid_t file);
/* Closes a file that was written (file < 0: nothing to close) and gives `status`, or the failure of
 * closing where that was CLIP_OK. After a failure what the library still wants to write goes to
 * memory instead of a full disk: it crashes at exit when it cannot close a file. */
clip_status clip_hdf5_close(hid_t file, const char *path, clip_status status,
                            struct clip_error *error);

#endif
