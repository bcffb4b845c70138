/* For files that are written with libhdf5. Debian's serial build has no locks: all calls
 * must be made between enter and leave. */
#ifndef CLIP_CORE_HDF5_H
#define CLIP_CORE_HDF5_H

#include <hdf5.h>

#include "core/status.h"

/* Between enter and leave only the caller uses libhdf5: it prints no errors by itself and loads no
 * filters from plug-ins. leave restores both as they were. */
struct clip_hdf5_guard {
    H5E_auto2_t report;
    void *context;
    unsigned plugins;
};
void clip_hdf5_enter(struct clip_hdf5_guard *guard);
void clip_hdf5_leave(struct clip_hdf5_guard *guard);
/* Fails where memory is short already. To be asked before a file is begun: where an allocation of
 * its own fails the library may call itself without end, or exit. */
clip_status clip_hdf5_check_memory(struct clip_error *error);
/* For programs, before their first use of the library: nothing of it runs when the process exits.
 * Its clean-up there frees wild pointers after a failed close; our files are all closed by then. A
 * library must not ask for this: other users of libhdf5 in the process may count on it. The library
 * is told at the first enter: it is started by the first call, and crashes where the first
 * allocation of its start fails, so a program that writes no HDF5 never calls it. */
void clip_hdf5_leave_at_exit(void);

/* Fails with "PATH: WHAT cannot be written (the library's reason); ...": CLIP_ERR_MACHINE where a
 * system call failed, else CLIP_ERR_IO. Call it before any other function of the library, because
 * each call clears the reason of the one before. */
clip_status clip_hdf5_fail(struct clip_error *error, const char *path, const char *what);

/* The file descriptor through which libhdf5 writes an open file; -1 if there is none. */
int clip_hdf5_descriptor(hid_t file);
/* Closes a file that was written; file < 0: there is nothing to close. Returns `status`, or the
 * failure of closing if `status` was CLIP_OK. After a failure, what the library still wants to
 * write goes to memory instead of the full disk, because it crashes at exit if it cannot close a
 * file. */
clip_status clip_hdf5_close(hid_t file, const char *path, clip_status status,
                            struct clip_error *error);

#endif
