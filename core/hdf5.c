/* Calls of libhdf5: one thread at a time, errors reported by us, no plug-ins; afterwards the
 * library is as its other users in the process left it. Also reads the library's error stack.
 *
 * Debian's serial libhdf5 has no locks, so a mutex of ours protects every call. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/hdf5.h"
#include "core/memory.h"

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

static bool leave_at_exit; /* and the library has not been told yet */

void clip_hdf5_leave_at_exit(void) { leave_at_exit = true; }

clip_status clip_hdf5_check_memory(struct clip_error *error)
{
    enum { ROOM = 1 << 20 }; /* for a file's tables; its data go by mapping or by write */
    void *room = clip_array_new(ROOM, 1, error);
    free(room);
    return room != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

void clip_hdf5_enter(struct clip_hdf5_guard *guard)
{
    pthread_mutex_lock(&library);
    if (leave_at_exit) H5dont_atexit();
    leave_at_exit = false;
    H5Eget_auto2(H5E_DEFAULT, &guard->report, &guard->context);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLget_loading_state(&guard->plugins);
    H5PLset_loading_state(0);
}

void clip_hdf5_leave(struct clip_hdf5_guard *guard)
{
    H5Eclear2(H5E_DEFAULT);
    H5PLset_loading_state(guard->plugins);
    H5Eset_auto2(H5E_DEFAULT, guard->report, guard->context);
    pthread_mutex_unlock(&library);
}

struct reason {
    char text[200];
    bool of_system; /* a system call failed */
};

/* Takes the innermost entry of the library's error stack; of a failed system call only its
 * reason. */
static herr_t take_reason(unsigned number, const H5E_error2_t *entry, void *context)
{
    struct reason *reason = context;
    if (number > 0 || entry->desc == NULL) return 0;
    const char *from = strstr(entry->desc, "error message = '");
    reason->of_system = from != NULL;
    from = from != NULL ? from + strlen("error message = '") : entry->desc;
    size_t n = strcspn(from, reason->of_system ? "'" : "");
    snprintf(reason->text, sizeof reason->text, "%.*s", (int)(n < 199 ? n : 199), from);
    return 0;
}

clip_status clip_hdf5_fail(struct clip_error *error, const char *path, const char *what)
{
    struct reason reason = {.text = "no reason given"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, &reason);
    return clip_fail(error, reason.of_system ? CLIP_ERR_MACHINE : CLIP_ERR_IO,
                     "%s: %s cannot be written (%s); make room or choose another place", path, what,
                     reason.text);
}

int clip_hdf5_descriptor(hid_t file)
{
    int *fd = NULL;
    return H5Fget_vfd_handle(file, H5P_DEFAULT, (void **)&fd) >= 0 && fd != NULL ? *fd : -1;
}

clip_status clip_hdf5_close(hid_t file, const char *path, clip_status status,
                            struct clip_error *error)
{
    if (file < 0) return status;
    if (status == CLIP_OK && H5Fflush(file, H5F_SCOPE_GLOBAL) < 0)
        status = clip_hdf5_fail(error, path, "the file");
    int fd = clip_hdf5_descriptor(file);
    if (status != CLIP_OK && fd >= 0) {
        int sink = memfd_create("hdf5", MFD_CLOEXEC);
        if (sink >= 0) {
            dup2(sink, fd);
            close(sink);
        }
    }
    if (H5Fclose(file) < 0 && status == CLIP_OK) status = clip_hdf5_fail(error, path, "the file");
    return status;
}
