/* Status and error sentences.
 *
 * What can fail returns a clip_status. If that is not CLIP_OK, it has filled the caller's
 * clip_error with one whole sentence, which names the file, key or sample, and says what is wrong
 * and what to do. Every function that takes a `struct clip_error *error` needs one that is not
 * NULL, and writes to it only on failure. */
#ifndef CLIP_CORE_STATUS_H
#define CLIP_CORE_STATUS_H

#include "clip/clip.h" /* clip_status and struct clip_error, which are public */

/* Fills *error and returns `status`, as in `return clip_fail(error, CLIP_ERR_IO, "...")`.
 * error->message may be one of the arguments. Control characters of the arguments, a file's name
 * for example, are spelled (core/escape.h); a long message is cut between characters. */
clip_status clip_fail(struct clip_error *error, clip_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a system call's errno is: CLIP_ERR_NOT_FOUND (ENOENT, ENOTDIR), CLIP_ERR_MEMORY (ENOMEM),
 * CLIP_ERR_MACHINE (an I/O error, a full disk, too many open files, a network disk that went away),
 * or CLIP_ERR_IO: this one path was refused. */
clip_status clip_status_of(int reason);

/* Did the machine fail (memory, disk, I/O), not what was read? Then another try may succeed, and a
 * sample is not bad, a checkpoint not damaged: whoever passes over bad ones forwards this. */
bool clip_machine_failed(clip_status status);

/* Puts "PREFIX: " (a file name, for example) before the message that *error has. Returns
 * error->status. */
clip_status clip_error_prefix(struct clip_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forwards a failure to the label `out`. The function needs a `clip_status status` and that
 * label. */
#define CLIP_TRY(call)                                                                             \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != CLIP_OK) goto out;                                                           \
    } while (0)

/* p = a zeroed array of n elements; else goes to `out` with CLIP_ERR_MEMORY. It needs `error`,
 * `status`, `out`, and core/memory.h. */
#define CLIP_NEW(p, n)                                                                             \
    CLIP_TRY(((p) = clip_array_new((n), sizeof *(p), error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY)

#endif
