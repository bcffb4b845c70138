#include "train/starts.h"

#include <stdlib.h>
#include <string.h>

#include "clip/clip.h"
#include "core/comm.h"
#include "core/escape.h"
#include "core/file.h"
#include "core/machine.h"
#include "core/progress.h"
#include "core/threads.h"
#include "kernels/kernels.h"

enum { LARGEST = 1 << 24 }; /* bytes of the file */

clip_status clip_starts_add(const struct clip_run *run, const struct clip_setup *setup,
                            const char *command, int64_t step, struct clip_error *error)
{
    char now[CLIP_TIME_TEXT], name[128], cpu[256], typed[8192] = "";
    json_t *warnings = json_array();
    for (int64_t i = 0; i < setup->warnings.count; i++)
        clip_json_push(&warnings, json_string(setup->warnings.names[i]));
    if (command != NULL) clip_escape(typed, sizeof typed, command);
    clip_escape(cpu, sizeof cpu, clip_machine_cpu(name, sizeof name));
    clip_now_text(now);
    json_t *line = json_pack("{s:s, s:I, s:s, s:s, s:i, s:i, s:s, s:s, s:o}", "time", now, "step",
                             (json_int_t)step, "command", typed, "cpu", cpu, "threads",
                             clip_threads_count(), "processes", clip_comm_size(setup->comm),
                             "kernels", clip_kernels()->name, "version", clip_version(), "warnings",
                             warnings);
    clip_status status =
        line != NULL ? clip_run_log(run, CLIP_RUN_STARTS, line, error)
                     : clip_fail(error, CLIP_ERR_MEMORY, "out of memory for " CLIP_RUN_STARTS);
    json_decref(line);
    return status;
}

json_t *clip_starts_read(const char *folder, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer text = {0};
    struct clip_error ignored;
    json_t *all = json_array();
    char *path = clip_path_join(folder, CLIP_RUN_STARTS, error);
    CLIP_TRY(path != NULL ? CLIP_OK : error->status);
    if (all == NULL) CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "out of memory for %s", path));
    if (!clip_path_exists(path)) goto out;
    CLIP_TRY(clip_file_read(path, LARGEST, &text, error));
    for (const char *at = text.data, *end = at + text.size, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) break;
        json_t *line = clip_json_parse(at, (size_t)(stop - at), path, &ignored);
        if (json_is_object(line)) json_array_append(all, line);
        json_decref(line);
    }
out:
    free(path);
    clip_buffer_release(&text);
    if (status != CLIP_OK) json_decref(all);
    return status == CLIP_OK ? all : NULL;
}
