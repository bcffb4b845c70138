/* Status and error sentences.
 *
 * What can fail returns a clip_status and, when it is not CLIP_OK, has filled the caller's
 * clip_error with one whole sentence: it names the file, key or sample, says what is wrong and what
 * to do. Every function that takes `struct clip_error *error` needs a non-NULL one; it writes to it
 * on failure alone. */
#ifndef CLIP_CORE_STATUS_H
#define CLIP_CORE_STATUS_H

#include "clip/clip.h" /* clip_status and struct clip_error, which are public */

/* Fills *error and returns `status`, so that `return clip_fail(error, CLIP_ERR_IO, "...")` reads
 * well. error->message may be among the arguments. */
clip_status clip_fail(struct clip_error *error, clip_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "PREFIX: " before the message already there (a file name, say); returns error->status. */
clip_status clip_error_prefix(struct clip_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forwards a failure: needs `clip_status status` and the label `out` in the function. */
#define CLIP_TRY(call)                                                                             \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != CLIP_OK) goto out;                                                           \
    } while (0)

/* p = a zeroed array of n elements, or a jump to `out` with CLIP_ERR_MEMORY. Needs `error`,
 * `status`, `out`, and core/memory.h. */
#define CLIP_NEW(p, n)                                                                             \
    CLIP_TRY(((p) = clip_array_new((n), sizeof *(p), error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY)

#endif
