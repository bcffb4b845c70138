#include "train/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json.h"
#include "core/progress.h"
#include "train/config.h"

static const char *const logs[] = {"log.jsonl", "metrics.jsonl"};
static const char *const files[] = {"config.ini", CLIP_RUN_STARTS, "log.jsonl",   "metrics.jsonl",
                                    "last.h5",    "best.h5",       "report.html", CLIP_RUN_EVENTS};
enum { LOGS = 2, FILES = 8, BEFORE_A_STEP = 2 };

/* PATH = folder/name, freed by the caller; a failure jumps to `out`. */
#define RUN_PATH(path, run, name)                                                                  \
    CLIP_TRY(((path) = clip_path_join((run)->folder, (name), error)) != NULL ? CLIP_OK             \
                                                                             : error->status)

clip_status clip_run_open(struct clip_run *run, const char *folder, int64_t keep,
                          struct clip_error *error)
{
    clip_status status;
    char *checkpoints = NULL;
    *run = (struct clip_run){.lock = -1, .keep = keep};
    CLIP_TRY((run->folder = clip_string_copy(folder, error)) != NULL ? CLIP_OK : CLIP_ERR_MEMORY);
    RUN_PATH(checkpoints, run, "checkpoints");
    CLIP_TRY(clip_folder_create(checkpoints, error));
    CLIP_TRY(clip_lock_acquire(folder, ".lock", &run->lock, error));
    clip_temporaries_remove(folder); /* of a run that was killed */
    clip_temporaries_remove(checkpoints);
out:
    free(checkpoints);
    if (status != CLIP_OK) clip_run_close(run);
    return status;
}

void clip_run_close(struct clip_run *run)
{
    if (run->lock >= 0) clip_lock_release(&run->lock);
    free(run->folder);
    *run = (struct clip_run){.lock = -1};
}

/* ---- checkpoints by number ---- */

/* N of "step_N.h5", or -1. */
static int64_t step_of(const char *name)
{
    char *end;
    if (strncmp(name, "step_", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
    errno = 0;
    long long step = strtoll(name + 5, &end, 10);
    return errno == 0 && strcmp(end, ".h5") == 0 ? (int64_t)step : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The steps that have a checkpoint, newest first; *steps is the caller's to free. */
static clip_status list_steps(const struct clip_run *run, int64_t **steps, int64_t *count,
                              struct clip_error *error)
{
    clip_status status;
    struct clip_names names = {0};
    char *folder = NULL;
    *steps = NULL;
    *count = 0;
    RUN_PATH(folder, run, "checkpoints");
    CLIP_TRY(clip_folder_list(folder, &names, error));
    CLIP_NEW(*steps, names.count);
    for (int64_t i = 0; i < names.count; i++)
        if (step_of(names.names[i]) >= 0) (*steps)[(*count)++] = step_of(names.names[i]);
    qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
out:
    free(folder);
    clip_names_release(&names);
    return status;
}

static char *step_path(const struct clip_run *run, int64_t step, struct clip_error *error)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoints/step_%lld.h5", (long long)step);
    return clip_path_join(run->folder, name, error);
}

static bool has_file(const struct clip_run *run, const char *name)
{
    struct clip_error ignored;
    char *path = clip_path_join(run->folder, name, &ignored);
    bool there = path != NULL && clip_path_exists(path);
    free(path);
    return there;
}

bool clip_run_has_checkpoint(const struct clip_run *run)
{
    struct clip_error ignored;
    int64_t *steps = NULL, count = 0;
    bool found = list_steps(run, &steps, &count, &ignored) == CLIP_OK && count > 0;
    free(steps);
    return found || has_file(run, "last.h5");
}

bool clip_run_holds_a_run(const struct clip_run *run)
{
    /* The first two alone are a run that ended before its first step. */
    bool found = clip_run_has_checkpoint(run);
    for (int i = BEFORE_A_STEP; i < FILES; i++) found = found || has_file(run, files[i]);
    return found;
}

static clip_status remove_file(const char *path, struct clip_error *error)
{
    if (unlink(path) == 0 || errno == ENOENT) return CLIP_OK;
    return clip_fail(error, clip_status_of(errno), "%s cannot be removed: %s", path,
                     strerror(errno));
}

clip_status clip_run_wipe(const struct clip_run *run, struct clip_error *error)
{
    clip_status status;
    int64_t *steps = NULL, count = 0;
    char *path = NULL;
    CLIP_TRY(list_steps(run, &steps, &count, error));
    for (int64_t i = 0; i < count + FILES; i++) {
        free(path);
        path = i < count ? step_path(run, steps[i], error)
                         : clip_path_join(run->folder, files[i - count], error);
        CLIP_TRY(path != NULL ? CLIP_OK : error->status);
        CLIP_TRY(remove_file(path, error));
    }
out:
    free(path);
    free(steps);
    return status;
}

clip_status clip_run_write(const struct clip_run *run, const char *name, const char *text, size_t n,
                           struct clip_error *error)
{
    clip_status status;
    char *path = NULL;
    RUN_PATH(path, run, name);
    CLIP_TRY(clip_file_write(path, text, n, error));
out:
    free(path);
    return status;
}

/* ---- logs ---- */

clip_status clip_run_log(const struct clip_run *run, const char *name, const json_t *line,
                         struct clip_error *error)
{
    clip_status status;
    struct clip_buffer text = {0};
    char *path = NULL;
    FILE *file = NULL;
    RUN_PATH(path, run, name);
    CLIP_TRY(clip_json_append(&text, line, error));
    CLIP_TRY(clip_buffer_append(&text, "\n", 1, error));
    file = fopen(path, "a");
    bool written = file != NULL && fwrite(text.data, 1, text.size, file) == text.size &&
                   fflush(file) == 0;
    if (!written)
        status = clip_fail(error, clip_status_of(errno), "%s cannot be written: %s", path,
                           strerror(errno));
out:
    if (file != NULL) fclose(file);
    clip_buffer_release(&text);
    free(path);
    return status;
}

/* Appends the lines of `text` that are whole and not past `step`. */
static clip_status keep_lines(const struct clip_buffer *text, int64_t step,
                              struct clip_buffer *kept, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_error ignored;
    for (const char *at = text->data, *end = at + text->size, *newline; at != NULL && at < end;
         at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) break;
        json_t *line = clip_json_parse(at, (size_t)(newline - at), "log", &ignored);
        bool keep = line != NULL && json_integer_value(json_object_get(line, "step")) <= step;
        json_decref(line);
        if (keep) CLIP_TRY(clip_buffer_append(kept, at, (size_t)(newline + 1 - at), error));
    }
out:
    return status;
}

clip_status clip_run_rewind_logs(const struct clip_run *run, int64_t step, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int i = 0; i < LOGS && status == CLIP_OK; i++) {
        struct clip_buffer text = {0}, kept = {0};
        char *path = NULL;
        RUN_PATH(path, run, logs[i]);
        if (clip_path_exists(path)) {
            CLIP_TRY(clip_file_read(path, (size_t)4 << 30, &text, error));
            CLIP_TRY(keep_lines(&text, step, &kept, error));
            CLIP_TRY(clip_file_write(path, kept.data != NULL ? kept.data : "", kept.size, error));
        }
    out:
        free(path);
        clip_buffer_release(&text);
        clip_buffer_release(&kept);
    }
    return status;
}

/* ---- saving and reading ---- */

/* The checkpoint's bytes under another name, where the file system has no hard links. `bundle` is
 * NULL: what `path` holds. */
static clip_status copy_as(const char *path, const char *target, const struct clip_bundle *bundle,
                           struct clip_error *error)
{
    struct clip_bundle own = {0};
    clip_status status = CLIP_OK;
    if (bundle == NULL) CLIP_TRY(clip_hdf5_read(path, NULL, &own, error));
    CLIP_TRY(clip_hdf5_write(target, bundle != NULL ? bundle : &own, error));
out:
    clip_bundle_release(&own);
    return status;
}

/* FOLDER/name becomes another name of the file `path`, in one rename. */
static clip_status link_as(const struct clip_run *run, const char *path, const char *name,
                           const struct clip_bundle *bundle, struct clip_error *error)
{
    clip_status status;
    char temporary[64], *target = NULL, *link_path = NULL;
    snprintf(temporary, sizeof temporary, ".%s.tmp-%ld-0", name, (long)getpid());
    RUN_PATH(target, run, name);
    RUN_PATH(link_path, run, temporary);
    unlink(link_path);
    if (link(path, link_path) != 0) { /* no hard links here */
        CLIP_TRY(copy_as(path, target, bundle, error));
        goto out;
    }
    if (rename(link_path, target) != 0) {
        status = clip_fail(error, clip_status_of(errno), "%s cannot be replaced: %s", target,
                           strerror(errno));
        unlink(link_path);
        goto out;
    }
    unlink(link_path); /* rename of two names of one file does nothing and leaves both */
    status = clip_sync_folder_of(target, error);
out:
    free(target);
    free(link_path);
    return status;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* FOLDER/name is the checkpoint of `step`, where that is still there. */
static clip_status mend_link(const struct clip_run *run, int64_t step, const char *name,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char *target = NULL, *path = step_path(run, step, error);
    CLIP_TRY(path != NULL ? CLIP_OK : error->status);
    RUN_PATH(target, run, name);
    if (clip_path_exists(path) && !is_same_file(path, target))
        CLIP_TRY(link_as(run, path, name, NULL, error));
out:
    free(path);
    free(target);
    return status;
}

clip_status clip_run_mend(const struct clip_run *run, int64_t step, int64_t best_step,
                          struct clip_error *error)
{
    clip_status status = mend_link(run, step, "last.h5", error);
    if (status == CLIP_OK && best_step > 0) status = mend_link(run, best_step, "best.h5", error);
    return status;
}

static clip_status drop_oldest(const struct clip_run *run, struct clip_error *error)
{
    clip_status status;
    int64_t *steps = NULL, count = 0;
    CLIP_TRY(list_steps(run, &steps, &count, error));
    for (int64_t i = run->keep; i < count; i++) {
        char *path = step_path(run, steps[i], error);
        if (path == NULL) status = error->status;
        if (path != NULL) status = remove_file(path, error);
        free(path);
        if (status != CLIP_OK) goto out;
    }
out:
    free(steps);
    return status;
}

clip_status clip_run_save(const struct clip_run *run, const struct clip_bundle *bundle,
                          int64_t step, bool best, struct clip_error *error)
{
    clip_status status;
    char *path = step_path(run, step, error);
    CLIP_TRY(path != NULL ? CLIP_OK : error->status);
    CLIP_TRY(clip_hdf5_write(path, bundle, error));
    CLIP_TRY(link_as(run, path, "last.h5", bundle, error));
    if (best) CLIP_TRY(link_as(run, path, "best.h5", bundle, error));
    CLIP_TRY(drop_oldest(run, error));
out:
    free(path);
    return status;
}

/* `prefix`: as for clip_hdf5_read. */
static clip_status read_newest(const struct clip_run *run, const char *prefix,
                               struct clip_bundle *out, char *name, size_t name_size,
                               struct clip_error *error)
{
    clip_status status;
    int64_t *steps = NULL, count = 0;
    CLIP_TRY(list_steps(run, &steps, &count, error));
    /* last.h5 comes behind: it is the newest one's other name, or all there is. */
    for (int64_t i = 0; i <= count; i++) {
        char *path = i < count ? step_path(run, steps[i], error)
                               : clip_path_join(run->folder, "last.h5", error);
        CLIP_TRY(path != NULL ? CLIP_OK : error->status);
        if (!clip_path_exists(path)) {
            free(path);
            continue;
        }
        *out = (struct clip_bundle){0};
        status = clip_hdf5_read(path, prefix, out, error);
        snprintf(name, name_size, "%s", path);
        free(path);
        if (status == CLIP_OK || clip_machine_failed(status)) goto out;
        clip_bundle_release(out);
        clip_warn("%s; trying an older checkpoint", error->message);
    }
    status = clip_fail(error, CLIP_ERR_NOT_FOUND,
                       "%s holds no whole checkpoint to go on from; start anew with --force",
                       run->folder);
out:
    free(steps);
    return status;
}

clip_status clip_run_newest(const struct clip_run *run, struct clip_bundle *out, char *name,
                            size_t name_size, struct clip_error *error)
{
    return read_newest(run, NULL, out, name, name_size, error);
}

clip_status clip_run_follow(struct clip_run *run, const char *folder, struct clip_error *error)
{
    *run = (struct clip_run){.lock = -1, .folder = clip_string_copy(folder, error)};
    return run->folder != NULL ? CLIP_OK : CLIP_ERR_MEMORY;
}

clip_status clip_run_world_size(const char *folder, int64_t *world, struct clip_error *error)
{
    clip_status status;
    struct clip_run run;
    struct clip_bundle bundle = {0};
    struct clip_config config = {0};
    char name[4096];
    *world = 0;
    CLIP_TRY(clip_run_follow(&run, folder, error));
    if (!clip_run_has_checkpoint(&run)) goto out;
    CLIP_TRY(clip_config_init(&config, error));
    CLIP_TRY(read_newest(&run, "no tensor", &bundle, name, sizeof name, error));
    const struct clip_bundle_text *text = clip_bundle_text(&bundle, "run");
    if (text != NULL) CLIP_TRY(clip_config_parse(&config, text->value, text->size, name, error));
    *world = config.train.world_size > 0 ? config.train.world_size : 1;
out:
    clip_config_release(&config);
    clip_bundle_release(&bundle);
    clip_run_close(&run);
    return status;
}

clip_status clip_run_tokenizer(const char *folder, struct clip_tokenizer **out,
                               struct clip_error *error)
{
    clip_status status;
    struct clip_run run;
    struct clip_bundle bundle = {0};
    char name[4096];
    CLIP_TRY(clip_run_follow(&run, folder, error));
    CLIP_TRY(read_newest(&run, "no tensor", &bundle, name, sizeof name, error));
    const struct clip_bundle_text *text = clip_bundle_text(&bundle, "tokenizer");
    if (text == NULL)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA,
                           "%s holds no tokenizer; name one in [data] "
                           "tokenizer",
                           name));
    CLIP_TRY(clip_tokenizer_parse(out, text->value, text->size, name, error));
out:
    clip_bundle_release(&bundle);
    clip_run_close(&run);
    return status;
}
