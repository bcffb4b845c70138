/* What the files behind core/file.h share: path.c, temporary.c, file.c, folder.c. */
#ifndef CLIP_CORE_FILE_INTERNAL_H
#define CLIP_CORE_FILE_INTERNAL_H

#include <stdbool.h>

#include "core/status.h"

/* Fails with "PATH could not be WHAT: reason" and the status that errno calls for. */
clip_status clip_system_failed(struct clip_error *error, const char *path, const char *what);
/* Makes the empty temporary file or folder of `path` and locks it; *out is its name, the caller's
 * to free, *fd holds the lock. What a killed process left behind of `path` is removed first. */
clip_status clip_temporary_create(const char *path, bool folder, char **out, int *fd,
                                  struct clip_error *error);
/* Removes a folder of files; what cannot be removed stays, and errno is as it was. */
void clip_folder_remove(const char *path);

#endif
