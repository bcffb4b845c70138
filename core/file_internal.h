/* What core/file.c and core/folder.c share. */
#ifndef CLIP_CORE_FILE_INTERNAL_H
#define CLIP_CORE_FILE_INTERNAL_H

#include "core/status.h"

/* Fails with "PATH could not be WHAT: reason" and the status that errno calls for. */
clip_status clip_system_failed(struct clip_error *error, const char *path, const char *what);
/* Writes the folder that `path` is in to the disk, which makes a rename there durable. */
clip_status clip_sync_folder_of(const char *path, struct clip_error *error);

#endif
