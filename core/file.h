/* Files: reading whole, mapping, atomic replacement, folders, locks. Errors name the path and the
 * system's reason. */
#ifndef CLIP_CORE_FILE_H
#define CLIP_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/memory.h"
#include "core/status.h"

/* Reads a whole regular file; more than `limit` bytes is an error. *out is overwritten; the buffer
 * is the caller's to release ({0} after a failure). */
clip_status clip_file_read(const char *path, size_t limit, struct clip_buffer *out,
                           struct clip_error *error);

/* Reads a file that may be gzipped (zlib finds out); `limit` bounds the unpacked size, and a cut
 * or damaged stream is an error. */
clip_status clip_file_read_gzip(const char *path, size_t limit, struct clip_buffer *out,
                                struct clip_error *error);

/* A read-only mapping of a whole file. An empty file maps to data NULL, size 0. */
struct clip_mapping {
    const unsigned char *data;
    size_t size;
};
clip_status clip_file_map(const char *path, struct clip_mapping *out, struct clip_error *error);
void clip_file_unmap(struct clip_mapping *mapping);

/* Atomic replacement. begin makes an empty temporary file beside `path` (its name in
 * file.temporary: open it however you like, or use file.stream); commit flushes, fsyncs, renames it
 * over `path` and fsyncs the folder; abort removes it. Until the rename nothing touches `path`:
 * after a failure the temporary file is gone and `path` is as it was. abort after commit, or of a
 * {0}, does nothing. A symbolic link keeps: the file it points to is replaced. Something that is
 * there and no regular file (a folder, /dev/null) is refused. Permissions are those of the file
 * that is replaced, else 0666 less the umask. */
struct clip_atomic {
    char *path, *temporary;
    FILE *stream;
};
clip_status clip_atomic_begin(struct clip_atomic *file, const char *path, struct clip_error *error);
clip_status clip_atomic_commit(struct clip_atomic *file, struct clip_error *error);
void clip_atomic_abort(struct clip_atomic *file);
/* All of it for bytes in memory. */
clip_status clip_file_write(const char *path, const void *bytes, size_t n,
                            struct clip_error *error);

/* The same for a folder of files. begin makes an empty folder beside `path`, its name in
 * folder.temporary: write the files there, each by an atomic write of its own; commit renames it to
 * `path`; abort removes it. An empty folder that is there is replaced. One that holds something is
 * refused, unless `known` (NULL-terminated) is given and it holds nothing but files of these names:
 * then the two change places and the old one is removed. */
struct clip_atomic_folder {
    char *path, *temporary;
    bool may_replace;
};
clip_status clip_atomic_folder_begin(struct clip_atomic_folder *folder, const char *path,
                                     const char *const *known, struct clip_error *error);
clip_status clip_atomic_folder_commit(struct clip_atomic_folder *folder, struct clip_error *error);
void clip_atomic_folder_abort(struct clip_atomic_folder *folder);

bool clip_path_exists(const char *path);
bool clip_path_is_folder(const char *path);
/* With its parents; there already is fine. */
clip_status clip_folder_create(const char *path, struct clip_error *error);
/* folder/name, or name alone when it is absolute or folder is NULL or ""; NULL with *error filled.
 * free() it. */
char *clip_path_join(const char *folder, const char *name, struct clip_error *error);
/* The folder that `path` lies in ("." for a bare name); NULL with *error filled. free() it. */
char *clip_path_folder(const char *path, struct clip_error *error);
const char *clip_path_name(const char *path);                    /* after the last '/' */
bool clip_path_has_suffix(const char *path, const char *suffix); /* ASCII case ignored */

/* Names in a folder, without . and .., sorted by bytes. Start from {0}. */
struct clip_names {
    char **names;
    int64_t count, capacity;
};
clip_status clip_folder_list(const char *path, struct clip_names *out, struct clip_error *error);
/* Adds a copy. */
clip_status clip_names_add(struct clip_names *names, const char *name, struct clip_error *error);
void clip_names_release(struct clip_names *names);

/* An advisory lock (flock) on folder/NAME: CLIP_ERR_BUSY with the holder's process id when another
 * process has it. The file descriptor in *lock holds it until clip_lock_release (-1 then); a killed
 * process lets go by itself. The file itself stays. */
clip_status clip_lock_acquire(const char *folder, const char *name, int *lock,
                              struct clip_error *error);
void clip_lock_release(int *lock);

#endif
