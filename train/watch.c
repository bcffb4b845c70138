#include "train/watch.h"

#include <math.h>
#include <stdlib.h>

#include "core/file.h"
#include "core/progress.h"
#include "train/events.h"
#include "train/history.h"

static const double OLD = 30; /* seconds */

static clip_status read_seconds(struct clip_watch *watch, struct clip_error *error)
{
    struct clip_history log = {0};
    char *path = clip_path_join(watch->run->folder, "log.jsonl", error);
    if (path == NULL) return error->status;
    clip_status status = clip_history_read(&log, path, error);
    watch->seconds = status == CLIP_OK ? clip_history_last(&log, "seconds") : NAN;
    clip_history_release(&log);
    free(path);
    return clip_machine_failed(status) ? status : CLIP_OK;
}

clip_status clip_watch_open(struct clip_watch *watch, const struct clip_run *run,
                            const struct clip_setup *setup, const struct clip_loader *loader,
                            int64_t step, struct clip_error *error)
{
    *watch =
        (struct clip_watch){.run = run, .setup = setup, .loader = loader, .shown = clip_seconds()};
    clip_status status = read_seconds(watch, error);
    if (status != CLIP_OK || !setup->config->train.tensorboard) return status;
    watch->events = clip_path_join(run->folder, CLIP_RUN_EVENTS, error);
    if (watch->events == NULL) return error->status;
    return clip_events_open(watch->events, step, error);
}

void clip_watch_close(struct clip_watch *watch)
{
    free(watch->events);
    clip_samples_release(&watch->samples);
    *watch = (struct clip_watch){0};
}

clip_status clip_watch_line(const struct clip_watch *watch, enum clip_watch_log log,
                            const json_t *line, struct clip_error *error)
{
    bool training = log == CLIP_WATCH_TRAINING;
    clip_status status =
        clip_run_log(watch->run, training ? "log.jsonl" : "metrics.jsonl", line, error);
    if (status == CLIP_OK && watch->events != NULL)
        status = clip_events_add(watch->events, training ? "train" : "val", line, error);
    return status;
}

static clip_status write_page(struct clip_watch *watch, const struct clip_report *facts, bool fresh,
                              struct clip_error *error)
{
    clip_status status;
    struct clip_report report = *facts;
    if (fresh || watch->samples.count == 0) {
        clip_samples_release(&watch->samples);
        CLIP_TRY(clip_samples_take(&watch->samples, watch->setup, error));
    }
    report.setup = watch->setup;
    report.folder = watch->run->folder;
    report.counts = clip_loader_counts(watch->loader);
    report.bad = clip_loader_bad(watch->loader);
    report.samples = &watch->samples;
    CLIP_TRY(clip_report_write(&report, error));
out:
    return status;
}

void clip_watch_page(struct clip_watch *watch, const struct clip_report *facts, bool fresh)
{
    struct clip_error error;
    double started = clip_seconds();
    if (!watch->setup->config->train.report) return;
    if (write_page(watch, facts, fresh, &error) == CLIP_OK) {
        watch->failed = false;
    } else if (!watch->failed) {
        clip_warn("report.html is not written: %s", error.message);
        watch->failed = true;
    }
    watch->shown = clip_seconds();
    watch->cost = watch->shown - started;
}

bool clip_watch_is_stale(const struct clip_watch *watch)
{
    double age = clip_seconds() - watch->shown;
    return age > OLD && age > 50 * watch->cost;
}
