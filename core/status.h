/* Status and error sentences.
 *
 * What can fail returns a clip_status and, when it is not CLIP_OK, has filled the caller's
 * clip_error with one whole sentence: it names the file, key or sample, says what is wrong and what
 * to do. Every function that takes `struct clip_error *error` needs a non-NULL one; it writes to it
 * on failure alone. */
#ifndef CLIP_CORE_STATUS_H
#define CLIP_CORE_STATUS_H

typedef enum clip_status {
    CLIP_OK = 0,
    CLIP_ERR_USAGE,       /* asked for what does not exist: option, key, value */
    CLIP_ERR_NOT_FOUND,   /* a file or folder is not there */
    CLIP_ERR_IO,          /* the system refused: permission, full disk, ... */
    CLIP_ERR_FORMAT,      /* a file's bytes are not what its format demands */
    CLIP_ERR_DATA,        /* well-formed, but of no use here: wrong shape, empty set, bad samples */
    CLIP_ERR_MEMORY,      /* allocation failed or a size would overflow */
    CLIP_ERR_DIVERGED,    /* the loss is not a finite number */
    CLIP_ERR_INTERRUPTED, /* a signal asked to stop; what was to be saved is saved */
    CLIP_ERR_BUSY,        /* another process holds the folder */
} clip_status;

struct clip_error {
    clip_status status;
    char message[1024]; /* UTF-8, NUL-terminated, cut at the end of a character when longer */
};

/* Fills *error and returns `status`, so that `return clip_fail(error, CLIP_ERR_IO, "...")` reads
 * well. error->message may be among the arguments. */
clip_status clip_fail(struct clip_error *error, clip_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "PREFIX: " before the message already there (a file name, say); returns error->status. */
clip_status clip_error_prefix(struct clip_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forwards a failure: needs `clip_status status` and the label `out` in the function. */
#define CLIP_TRY(call) \
    do { \
        status = (call); \
        if (status != CLIP_OK) goto out; \
    } while (0)

/* p = a zeroed array of n elements, or a jump to `out` with CLIP_ERR_MEMORY. Needs `error`,
 * `status`, `out`, and core/memory.h. */
#define CLIP_NEW(p, n) \
    CLIP_TRY(((p) = clip_array_new((n), sizeof *(p), error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY)

#endif
