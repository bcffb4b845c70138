/* libhdf5 as we need it and as its other users in the process left it: one thread at a time, errors
 * told by us, no plug-ins; and what we need of its error stack and types.
 *
 * Debian's serial libhdf5 has no locks: one mutex of ours stands before all of it. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "checkpoints/hdf5_parts.h"

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

void clip_hdf5_enter(struct clip_hdf5_guard *guard)
{
    pthread_mutex_lock(&library);
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

/* The innermost entry of the library's error stack; of a failed system call its reason alone. */
static herr_t take_reason(unsigned number, const H5E_error2_t *entry, void *context)
{
    char *reason = context;
    if (number > 0 || !entry->desc) return 0;
    const char *from = strstr(entry->desc, "error message = '");
    from = from ? from + strlen("error message = '") : entry->desc;
    size_t n = strcspn(from, from == entry->desc ? "" : "'");
    snprintf(reason, 200, "%.*s", (int)(n < 199 ? n : 199), from);
    return 0;
}

clip_status clip_hdf5_fail(struct clip_error *error, clip_status status, const char *path,
                           const char *verb, const char *what)
{
    char reason[200] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_reason, reason);
    return clip_fail(error, status, "%s: %s cannot be %s (%s); %s", path, what, verb, reason,
                     status == CLIP_ERR_IO ? "make room or choose another place"
                                           : "use another copy or an older checkpoint");
}

hid_t clip_hdf5_type(enum clip_dtype dtype)
{
    switch (dtype) {
    case CLIP_F32: return H5Tcopy(H5T_IEEE_F32LE);
    case CLIP_I32: return H5Tcopy(H5T_STD_I32LE);
    case CLIP_I64: return H5Tcopy(H5T_STD_I64LE);
    case CLIP_U8: return H5Tcopy(H5T_STD_U8LE);
    case CLIP_F16:
    case CLIP_BF16: break;
    }
    int mantissa = dtype == CLIP_F16 ? 10 : 7, exponent = 15 - mantissa;
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (H5Tset_fields(type, 15, (size_t)mantissa, (size_t)exponent, 0, (size_t)mantissa) < 0
        || H5Tset_size(type, 2) < 0 || H5Tset_ebias(type, (1u << (exponent - 1)) - 1) < 0) {
        H5Tclose(type);
        return -1;
    }
    return type;
}
