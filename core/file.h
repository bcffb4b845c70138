/* Files: reading, mapping, atomic replacement, folders, locks. Errors name the path and the
 * system's reason. */
#ifndef CLIP_CORE_FILE_H
#define CLIP_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/memory.h"
#include "core/status.h"

/* Reads a whole regular file. A file of more than `limit` bytes is an error. *out is overwritten,
 * and the caller must release it (it is {0} after a failure). */
clip_status clip_file_read(const char *path, size_t limit, struct clip_buffer *out,
                           struct clip_error *error);

/* Reads a file that may be gzipped, which zlib finds out. `limit` bounds the unpacked size; a
 * stream that is cut or damaged is an error. */
clip_status clip_file_read_gzip(const char *path, size_t limit, struct clip_buffer *out,
                                struct clip_error *error);

/* A read-only mapping of a whole file. An empty file gives data NULL and size 0. Where the file is
 * shortened in place while it is mapped, or its disk fails, touching it is SIGBUS. */
struct clip_mapping {
    const unsigned char *data;
    size_t size;
};
clip_status clip_file_map(const char *path, struct clip_mapping *out, struct clip_error *error);
/* The same of an open file of that size; `path` is for the sentence. */
clip_status clip_file_map_open(int fd, size_t size, const char *path, struct clip_mapping *out,
                               struct clip_error *error);
void clip_file_unmap(struct clip_mapping *mapping);

/* Atomic replacement of a file.
 *
 * begin makes an empty temporary file beside `path`. Its name is file.temporary: open it in any
 * way, or use file.stream. commit flushes and fsyncs it, renames it over `path`, and fsyncs the
 * folder. abort removes it. Nothing touches `path` before the rename: after a failure the temporary
 * file is gone and `path` is as it was. abort does nothing after commit, or for a {0}.
 *
 * A symbolic link stays, and the file that it points to is replaced. If `path` exists and is no
 * regular file (a folder, /dev/null), it is refused. The new file gets the permissions of the one
 * that it replaces, or 0666 less the umask. */
struct clip_atomic {
    char *path, *temporary;
    FILE *stream;
};
clip_status clip_atomic_begin(struct clip_atomic *file, const char *path, struct clip_error *error);
clip_status clip_atomic_commit(struct clip_atomic *file, struct clip_error *error);
void clip_atomic_abort(struct clip_atomic *file);
/* The same in one call, for bytes in memory. */
clip_status clip_file_write(const char *path, const void *bytes, size_t n,
                            struct clip_error *error);

/* The same for a folder of files. begin makes an empty folder beside `path`, whose name is
 * folder.temporary: write the files there, each of them atomically. commit renames it to `path`;
 * abort removes it.
 *
 * An existing empty folder is replaced. One that holds something is refused, unless `known`
 * (NULL-terminated) is given and the folder holds only files of these names: then the two folders
 * change places and the old one is removed. */
struct clip_atomic_folder {
    char *path, *temporary;
    int lock; /* holds the temporary folder's */
    bool may_replace;
};
clip_status clip_atomic_folder_begin(struct clip_atomic_folder *folder, const char *path,
                                     const char *const *known, struct clip_error *error);
clip_status clip_atomic_folder_commit(struct clip_atomic_folder *folder, struct clip_error *error);
void clip_atomic_folder_abort(struct clip_atomic_folder *folder);

/* Writes the folder that `path` is in to the disk, which makes a rename there durable. */
clip_status clip_sync_folder_of(const char *path, struct clip_error *error);

/* Removes the temporary files and folders of atomic writes in `folder` whose process is gone, and
 * no other: for folders of the program's own. What cannot be removed stays. (A begin removes those
 * of its own path.) */
void clip_temporaries_remove(const char *folder);

bool clip_path_exists(const char *path);
bool clip_path_is_folder(const char *path);
/* Is it a pipe, a socket or a device? Opening one may wait or do something; readers refuse it. */
bool clip_path_is_special(const char *path);
/* Creates a folder and its parents; a folder that exists is fine. */
clip_status clip_folder_create(const char *path, struct clip_error *error);
/* Returns folder/name, or only name if it is absolute or if folder is NULL or "". NULL with *error
 * filled. The caller must free() it. */
char *clip_path_join(const char *folder, const char *name, struct clip_error *error);
/* Returns the folder that `path` is in ("." for a bare name); NULL with *error filled. The caller
 * must free() it. */
char *clip_path_folder(const char *path, struct clip_error *error);
const char *clip_path_name(const char *path); /* the part after the last '/' */
/* ignores the case of ASCII letters */
bool clip_path_has_suffix(const char *path, const char *suffix);

/* The names in a folder, without . and .., sorted by their bytes. Start from {0}. */
struct clip_names {
    char **names;
    int64_t count, capacity;
};
clip_status clip_folder_list(const char *path, struct clip_names *out, struct clip_error *error);
/* Adds a copy of the name. */
clip_status clip_names_add(struct clip_names *names, const char *name, struct clip_error *error);
void clip_names_release(struct clip_names *names);

/* An advisory lock (flock) on the file folder/NAME. If another process has it, the error is
 * CLIP_ERR_BUSY and names that process's id. The descriptor in *lock holds the lock until
 * clip_lock_release sets it to -1; the lock of a killed process ends with it. The file itself
 * stays. */
clip_status clip_lock_acquire(const char *folder, const char *name, int *lock,
                              struct clip_error *error);
void clip_lock_release(int *lock);

#endif
