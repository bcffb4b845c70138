#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/json.h"
#include "core/progress.h"
#include "train/advice.h"
#include "train/checkpoint.h"
#include "train/data_mark.h"
#include "train/run.h"
#include "train/setup.h"
#include "train/starts.h"
#include "train/together.h"
#include "train/validate.h"
#include "train/watch.h"

struct found { /* by a validation; NaN where it is not measured */
    double metric, loss;
};

struct trainer {
    const struct clip_train_options *options;
    struct clip_setup setup;
    struct clip_run run;
    struct clip_loader *loader;
    struct clip_locked *locked; /* NULL: no tower's embeddings are kept */
    struct clip_watch watch;
    json_t *data;                  /* clip_data_mark */
    struct clip_position position; /* where the next batch begins */
    int64_t samples;
    enum clip_metric metric;
    struct found best, first; /* first: by the model that --init gave */
    int64_t best_step, saved_step;
    int64_t validated; /* the step of the last validation */
    int64_t stale;     /* validations since the best one */
    struct clip_progress progress;
    double since, waited; /* of the interval since the last line of log.jsonl */
    double network;       /* clip_comm_seconds at that line */
    int64_t since_samples, since_steps;
    double began, before; /* clip_seconds() when this process began; seconds the run had taken */
    int64_t first_step;   /* of this process */
};

/* Process 0 writes the run's folder and speaks; the others compute alike. */
static bool is_first(const struct trainer *t) { return clip_comm_rank(t->setup.comm) == 0; }

static clip_status agree(const struct trainer *t, clip_status status, struct clip_error *error)
{
    return clip_comm_agree(t->setup.comm, status, error);
}

static int64_t steps_done(const struct trainer *t) { return t->setup.step->adamw->step; }

/* What the run has taken, without the pauses before a --resume. */
static double seconds_taken(const struct trainer *t)
{
    return t->before + clip_seconds() - t->began;
}

/* ---- checkpoints ---- */

static json_t *real_or_none(double x) { return isfinite(x) ? json_real(x) : NULL; }

static json_t *state_of(const struct trainer *t)
{
    const struct found *best = &t->best, *first = &t->first;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:I, s:I, s:I, s:o*, s:o*, s:o*, s:O}", "step",
        (json_int_t)steps_done(t), "epoch", (json_int_t)t->position.epoch, "index",
        (json_int_t)t->position.index, "samples", (json_int_t)t->samples, "seed",
        (json_int_t)t->setup.config->train.seed, "best_metric", clip_metric_name(t->metric), "best",
        isfinite(best->metric) ? best->metric : 0.0, "best_step", (json_int_t)t->best_step,
        "validated", (json_int_t)t->validated, "stale", (json_int_t)t->stale, "first",
        real_or_none(first->metric), "best_loss", real_or_none(best->loss), "first_loss",
        real_or_none(first->loss), "data", t->data);
}

static clip_status add_texts(struct trainer *t, struct clip_bundle *bundle,
                             struct clip_error *error)
{
    clip_status status;
    struct clip_buffer run = {0}, state = {0};
    json_t *json = state_of(t);
    CLIP_TRY(json != NULL ? CLIP_OK
                          : clip_fail(error, CLIP_ERR_MEMORY, "out of memory while saving"));
    CLIP_TRY(clip_config_write(t->setup.config, &run, error));
    CLIP_TRY(clip_json_append(&state, json, error));
    CLIP_TRY(clip_bundle_add_text(bundle, "run", run.data, run.size, error));
    CLIP_TRY(clip_bundle_add_text(bundle, "state", state.data, state.size, error));
out:
    json_decref(json);
    clip_buffer_release(&run);
    clip_buffer_release(&state);
    return status;
}

static clip_status write_checkpoint(struct trainer *t, struct clip_moments_gather *gather,
                                    bool best, struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    struct clip_model *sums[2] = {NULL, NULL};
    /* First, so that a run that is killed here writes it again when it comes back to this step. */
    if (t->setup.model->config.lora.rank > 0 && (best || !isfinite(t->best.metric)))
        CLIP_TRY(clip_adapter_write(&t->setup, t->run.folder,
                                    t->options->init != NULL ? t->options->init : "", error));
    CLIP_TRY(clip_checkpoint_add(&bundle, &t->setup, sums, gather, error));
    CLIP_TRY(add_texts(t, &bundle, error));
    CLIP_TRY(clip_run_save(&t->run, &bundle, steps_done(t), best, error));
out:
    clip_bundle_release(&bundle);
    clip_model_free(sums[0]);
    clip_model_free(sums[1]);
    return status;
}

static clip_status save(struct trainer *t, bool best, struct clip_error *error)
{
    clip_status status;
    struct clip_moments_gather gather;
    clip_step_average(t->setup.step);
    CLIP_TRY(agree(t, clip_moments_begin(&gather, &t->setup, error), error));
    if (is_first(t))
        status = write_checkpoint(t, &gather, best, error);
    else
        clip_moments_give(&gather);
    clip_moments_end(&gather);
    CLIP_TRY(agree(t, status, error));
    t->saved_step = steps_done(t);
out:
    return status;
}

static clip_status compare_configs(const struct trainer *t, const struct clip_bundle *bundle,
                                   const char *name, struct clip_error *error)
{
    clip_status status;
    struct clip_config before = {0};
    struct clip_buffer differences = {0};
    json_t *json = NULL;
    const struct clip_bundle_text *run = clip_bundle_text(bundle, "run");
    CLIP_TRY(clip_config_init(&before, error));
    if (run == NULL) {
        status = clip_fail(error, CLIP_ERR_DATA,
                           "%s is not a training checkpoint; use --init to start from its weights",
                           name);
        goto out;
    }
    CLIP_TRY(clip_config_parse(&before, run->value, run->size, name, error));
    if (before.train.world_size == 0)
        CLIP_TRY(clip_config_put(&before, "train", "world_size", "1", error));
    CLIP_TRY(clip_config_differences(&before, t->setup.config, &differences, error));
    const struct clip_bundle_text *state = clip_bundle_text(bundle, "state");
    if (state != NULL) {
        json = clip_json_parse(state->value, state->size, name, error);
        if (json == NULL) CLIP_TRY(error->status);
        CLIP_TRY(clip_data_mark_differences(json_object_get(json, "data"), t->data, &differences,
                                            error));
    }
    if (differences.size > 0)
        status = clip_fail(error, CLIP_ERR_USAGE,
                           "%s: %s, which changes the result; undo the change, or give --force to "
                           "go on all the same",
                           name, differences.data);
out:
    json_decref(json);
    clip_config_release(&before);
    clip_buffer_release(&differences);
    return status;
}

static clip_status restore_state(struct trainer *t, const struct clip_bundle *bundle,
                                 const char *name, struct clip_error *error)
{
    const struct clip_bundle_text *text = clip_bundle_text(bundle, "state");
    json_int_t step, epoch, index, samples, seed, best_step, validated = -1, stale = 0;
    const char *metric;
    json_t *json = text != NULL ? clip_json_parse(text->value, text->size, name, error) : NULL;
    bool whole =
        json != NULL &&
        json_unpack(json, "{s:I, s:I, s:I, s:I, s:I, s:s, s:F, s:I, s?I, s?I, s?F, s?F, s?F}",
                    "step", &step, "epoch", &epoch, "index", &index, "samples", &samples, "seed",
                    &seed, "best_metric", &metric, "best", &t->best.metric, "best_step", &best_step,
                    "validated", &validated, "stale", &stale, "first", &t->first.metric,
                    "best_loss", &t->best.loss, "first_loss", &t->first.loss) == 0;
    if (!whole || step < 0 || epoch < 0 || index < 0 || epoch > UINT32_MAX) {
        json_decref(json);
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "%s holds no usable training state; use --init to start from its weights",
                         name);
    }
    t->setup.step->adamw->step = step;
    t->position = (struct clip_position){epoch, index};
    t->samples = samples;
    t->validated = validated >= 0 ? validated : step;
    t->stale = stale;
    t->best_step = best_step;
    /* Of another measure nothing is known yet. */
    if (strcmp(metric, clip_metric_name(t->metric)) != 0) {
        t->best_step = t->stale = 0;
        t->first = (struct found){NAN, NAN};
    }
    if (t->best_step == 0) t->best = (struct found){NAN, NAN};
    json_decref(json);
    return CLIP_OK;
}

static clip_status resume(struct trainer *t, struct clip_error *error)
{
    clip_status status;
    struct clip_bundle bundle = {0};
    char name[4096];
    CLIP_TRY(clip_run_newest(&t->run, &bundle, name, sizeof name, error));
    if (!t->options->force) CLIP_TRY(compare_configs(t, &bundle, name, error));
    CLIP_TRY(clip_checkpoint_restore(&t->setup, &bundle, error));
    CLIP_TRY(restore_state(t, &bundle, name, error));
    CLIP_TRY(agree(t, CLIP_OK, error)); /* all have read what is mended now */
    if (is_first(t)) CLIP_TRY(clip_run_mend(&t->run, steps_done(t), t->best_step, error));
    if (is_first(t)) CLIP_TRY(clip_run_rewind_logs(&t->run, steps_done(t), error));
    t->saved_step = steps_done(t);
out:
    if (status != CLIP_OK && status != CLIP_ERR_USAGE &&
        strncmp(error->message, name, strlen(name)) != 0 && name[0] != '\0')
        clip_error_prefix(error, "%s", name);
    clip_bundle_release(&bundle);
    return status;
}

/* ---- after a step ---- */

static clip_status log_step(struct trainer *t, const struct clip_step_result *r,
                            struct clip_error *error)
{
    int64_t step = steps_done(t), every = t->setup.config->train.log_every;
    if (step % every != 0 && step != 1 && step != t->setup.steps) return CLIP_OK;
    if (!is_first(t)) return CLIP_OK;
    double network = clip_comm_seconds(t->setup.comm), steps = (double)t->since_steps;
    double seconds = clip_seconds() - t->since;
    json_t *waited = clip_comm_size(t->setup.comm) > 1 ? json_real((network - t->network) / steps)
                                                       : NULL;
    json_t *line = json_pack(
        "{s:I, s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:o*, s:f}", "step", (json_int_t)step,
        "epoch", (double)step / (double)t->setup.steps_per_epoch, "samples", (json_int_t)t->samples,
        "loss", r->loss, "lr", r->lr, "logit_scale", r->logit_scale, "grad_norm", r->grad_norm,
        "pairs_per_second", (double)t->since_samples / (seconds > 0 ? seconds : 1e-9),
        "data_seconds", t->waited / steps, "network_seconds", waited, "seconds", seconds_taken(t));
    t->network = network;
    clip_status status =
        line != NULL ? clip_watch_line(&t->watch, CLIP_WATCH_TRAINING, line, error)
                     : clip_fail(error, CLIP_ERR_MEMORY, "out of memory while writing log.jsonl");
    json_decref(line);
    t->since = clip_seconds();
    t->waited = 0;
    t->since_samples = t->since_steps = 0;
    return status;
}

/* Is `a` better than `b`? Losses fall, everything else rises; of equals, which few images make
 * often, the one with the lower loss is. */
static bool is_better(const struct trainer *t, const struct found *a, const struct found *b)
{
    if (!isfinite(a->metric) || !isfinite(b->metric)) return isfinite(a->metric);
    if (t->metric == CLIP_METRIC_VAL_LOSS) return a->metric < b->metric;
    return a->metric > b->metric || (a->metric >= b->metric && a->loss < b->loss);
}

static void show_metrics(const struct trainer *t, json_t *metrics)
{
    char text[512];
    size_t used = 0;
    const char *key;
    json_t *value;
    if (t->options->quiet) return;
    used += (size_t)snprintf(text, sizeof text, "step %lld:", (long long)steps_done(t));
    json_object_foreach(metrics, key, value)
    {
        if (!json_is_real(value) || strcmp(key, "epoch") == 0 || used >= sizeof text) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "  %s %.4f", key,
                                 json_real_value(value));
    }
    clip_say("%s", text);
}

static double number_or_nan(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL ? json_number_value(value) : NAN;
}

/* Measures and writes metrics.jsonl. */
static clip_status measure_and_write(struct trainer *t, struct found *found,
                                     struct clip_error *error)
{
    clip_status status = CLIP_OK;
    json_t *metrics = clip_validate(&t->setup, t->validated == 0 && is_first(t), error),
           *line = NULL;
    *found = (struct found){NAN, NAN};
    CLIP_TRY(metrics != NULL ? CLIP_OK : error->status);
    line = json_pack("{s:I, s:f}", "step", (json_int_t)steps_done(t), "epoch",
                     (double)steps_done(t) / (double)t->setup.steps_per_epoch);
    if (line == NULL || json_object_update(line, metrics) != 0) {
        status = clip_fail(error, CLIP_ERR_MEMORY, "out of memory while writing metrics.jsonl");
        goto out;
    }
    if (is_first(t)) CLIP_TRY(clip_watch_line(&t->watch, CLIP_WATCH_VALIDATION, line, error));
    if (is_first(t)) show_metrics(t, metrics);
    *found = (struct found){number_or_nan(metrics, clip_metric_name(t->metric)),
                            number_or_nan(metrics, clip_metric_name(CLIP_METRIC_VAL_LOSS))};
out:
    json_decref(metrics);
    json_decref(line);
    return status;
}

/* The figures are everybody's. */
static clip_status measure(struct trainer *t, struct found *found, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    double started = clip_seconds();
    *found = (struct found){NAN, NAN};
    clip_step_average(t->setup.step);
    CLIP_TRY(agree(t, measure_and_write(t, found, error), error));
    t->validated = steps_done(t);
out:
    t->since += clip_seconds() - started; /* validation is not training time */
    return status;
}

/* Validates and remembers the best; *best tells whether this is it. */
static clip_status validate(struct trainer *t, bool *best, struct clip_error *error)
{
    struct found found;
    clip_status status = measure(t, &found, error);
    if (status != CLIP_OK) return status;
    *best = is_better(t, &found, &t->best);
    t->stale = *best ? 0 : t->stale + 1;
    if (*best) {
        t->best = found;
        t->best_step = steps_done(t);
    }
    return CLIP_OK;
}

/* What best.h5 is chosen by can be measured; [probe] alone is only watched. */
static bool can_choose(const struct trainer *t)
{
    return t->setup.val_data != NULL || t->setup.config->zeroshot.images[0] != '\0';
}

static bool can_validate(const struct trainer *t)
{
    return can_choose(t) || t->setup.probe_data != NULL || t->setup.config->probe.images[0] != '\0';
}

/* Enough validations in a row were no better than the best: the run is over. */
static bool stops_early(const struct trainer *t)
{
    int64_t patience = t->setup.config->train.early_stop;
    return patience > 0 && can_choose(t) && t->stale >= patience;
}

static void show_progress(struct trainer *t, const struct clip_step_result *r)
{
    char note[128];
    if (!is_first(t)) return;
    snprintf(note, sizeof note, "step %lld/%lld  loss %.4f  lr %.2e", (long long)steps_done(t),
             (long long)t->setup.steps, r->loss, r->lr);
    clip_progress_update(&t->progress, t->samples, note);
}

static void show_page(struct trainer *t, enum clip_report_state state, const char *failure,
                      bool fresh)
{
    double started = clip_seconds();
    if (state != CLIP_REPORT_FAILED) clip_step_average(t->setup.step); /* all processes together */
    if (!is_first(t)) return;
    int64_t done = steps_done(t) - t->first_step, left = t->setup.steps - steps_done(t);
    const struct clip_report facts = {
        .state = state,
        .failure = failure,
        .seconds = seconds_taken(t),
        .left = done > 0 ? (started - t->began) / (double)done * (double)left : NAN,
        .step = steps_done(t),
        .samples_seen = t->samples,
        .metric = clip_metric_name(t->metric),
        .best = t->best.metric,
        .best_step = t->best_step};
    clip_watch_page(&t->watch, &facts, fresh);
    t->since += clip_seconds() - started;
}

/* What only one process knows and all act upon. */
enum { SAW_SIGNAL = 1, SAW_OLD_PAGE = 2 };

static int64_t seen_by_any(const struct trainer *t)
{
    const struct clip_comm *comm = t->setup.comm;
    bool stop = t->options->stop != NULL && *t->options->stop != 0;
    bool old = is_first(t) && clip_watch_is_stale(&t->watch);
    return (clip_comm_most(comm, stop) != 0 ? SAW_SIGNAL : 0) |
           (clip_comm_most(comm, old) != 0 ? SAW_OLD_PAGE : 0);
}

/* Everything beside the step itself: log, progress, validation, checkpoints, signals. */
static clip_status after_step(struct trainer *t, const struct clip_batch *batch,
                              const struct clip_step_result *r, double waited,
                              struct clip_error *error)
{
    clip_status status;
    int64_t step = steps_done(t), seen = seen_by_any(t), pairs = t->setup.config->train.batch_size;
    bool last = step == t->setup.steps, best = false;
    bool stop = (seen & SAW_SIGNAL) != 0;
    t->position = batch->next;
    t->samples += pairs;
    t->since_samples += pairs;
    t->since_steps++;
    t->waited += waited;
    CLIP_TRY(agree(t, log_step(t, r, error), error));
    show_progress(t, r);
    bool due = can_validate(t) && (step % t->setup.val_every == 0 || last) && !(stop && !last);
    if (due) CLIP_TRY(validate(t, &best, error));
    bool over = last || stops_early(t);
    bool saves = best || over || stop || step % t->setup.save_every == 0;
    if (saves) {
        double started = clip_seconds();
        CLIP_TRY(save(t, best, error));
        t->since += clip_seconds() - started;
    }
    if (due || saves || (seen & SAW_OLD_PAGE) != 0)
        show_page(t,
                  last   ? CLIP_REPORT_FINISHED
                  : over ? CLIP_REPORT_STOPPED_EARLY
                  : stop ? CLIP_REPORT_INTERRUPTED
                         : CLIP_REPORT_TRAINING,
                  NULL, (due || saves) && !stop);
    if (stop && !over)
        status = clip_fail(error, CLIP_ERR_INTERRUPTED,
                           "stopped by a signal after saving step %lld; go on with --resume",
                           (long long)step);
out:
    return status;
}

static bool is_over(const struct trainer *t)
{
    return steps_done(t) >= t->setup.steps || stops_early(t);
}

/* The model that --init gave, before its first step: what a run's figures are compared with. And
 * what a signal left undone: it saves first, and validation is made up for here. */
static clip_status validate_first(struct trainer *t, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t step = steps_done(t);
    bool best = false, fresh = step == 0 && t->options->init != NULL;
    if (!can_validate(t)) return CLIP_OK;
    if (fresh) return measure(t, &t->first, error);
    if (step == 0 || step % t->setup.val_every != 0 || t->validated == step) return CLIP_OK;
    CLIP_TRY(validate(t, &best, error));
    CLIP_TRY(save(t, best, error));
out:
    return status;
}

static clip_status train(struct trainer *t, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_batch batch;
    struct clip_step_result result;
    double waited;
    while (!is_over(t)) {
        CLIP_TRY(agree(t, clip_loader_next(t->loader, &batch, &waited, error), error));
        CLIP_TRY(clip_step_run(t->setup.step, &batch, &result, error));
        CLIP_TRY(after_step(t, &batch, &result, waited, error));
    }
out:
    if (status != CLIP_OK && status != CLIP_ERR_INTERRUPTED && steps_done(t) > 0)
        show_page(t, CLIP_REPORT_FAILED, error->message, false);
    return status;
}

/* ---- start ---- */

static clip_status choose_metric(struct trainer *t, struct clip_error *error)
{
    const struct clip_config *c = t->setup.config;
    enum clip_metric metric = c->train.best_metric;
    bool loss_only = t->setup.val_data == NULL && c->zeroshot.images[0] != '\0';
    if (loss_only && !clip_config_is_set(c, "train", "best_metric")) metric = CLIP_METRIC_ACC1;
    bool of_classes = metric == CLIP_METRIC_ACC1;
    if (can_choose(t) && (of_classes ? c->zeroshot.images[0] == '\0' : t->setup.val_data == NULL))
        return clip_fail(
            error, CLIP_ERR_USAGE, "[train] best_metric = %s is never measured; set %s",
            clip_metric_name(metric), of_classes ? "[zeroshot] images" : "[data] val_data");
    if (c->train.early_stop > 0 && !can_choose(t))
        return clip_fail(error, CLIP_ERR_USAGE,
                         "[train] early_stop = %lld waits for a better %s, which is never "
                         "measured; set [data] val_data",
                         (long long)c->train.early_stop, clip_metric_name(metric));
    t->metric = metric;
    return CLIP_OK;
}

/* A new run in an empty folder, or the one that is there. */
static clip_status start(struct trainer *t, struct clip_error *error)
{
    clip_status status;
    const struct clip_train_options *o = t->options;
    const char *folder = t->run.folder;
    bool there = clip_run_holds_a_run(&t->run);
    struct clip_buffer text = {0};
    clip_comm_broadcast(t->setup.comm, &there, sizeof there);
    if (there && !o->resume && !o->force)
        return clip_fail(
            error, CLIP_ERR_USAGE,
            "%s holds a run already; give --resume to go on with it, or --force to start anew",
            folder);
    bool goes_on = o->resume && clip_run_has_checkpoint(&t->run);
    clip_comm_broadcast(t->setup.comm, &goes_on, sizeof goes_on);
    if (goes_on)
        CLIP_TRY(resume(t, error));
    else if (is_first(t))
        CLIP_TRY(clip_run_wipe(&t->run, error));
    if (!is_first(t)) goto out;
    CLIP_TRY(clip_config_write(t->setup.config, &text, error));
    CLIP_TRY(clip_run_write(&t->run, "config.ini", text.data, text.size, error));
out:
    clip_buffer_release(&text);
    return status;
}

static clip_status keep_locked(struct trainer *t, struct clip_error *error)
{
    clip_status status =
        clip_locked_open(&t->locked, &t->setup, t->run.folder, t->options->quiet, error);
    if (status != CLIP_OK) return status;
    t->setup.step->locked = t->locked;
    if (clip_locked_images(t->locked))
        clip_loader_skip_images(t->loader, clip_locked_usable(t->locked));
    return CLIP_OK;
}

static int64_t passed_over(const struct clip_setup *s)
{
    const struct clip_dataset *sets[] = {s->whole_data != NULL ? s->whole_data : s->train_data,
                                         s->whole_data != NULL ? NULL : s->val_data};
    return sets[0]->unread.count + (sets[1] != NULL ? sets[1]->unread.count : 0);
}

/* What no process waits for another for. */
static clip_status open_own(struct trainer *t, struct clip_config *config, struct clip_error *error)
{
    clip_status status;
    const struct clip_train_options *o = t->options;
    CLIP_TRY(clip_setup_open(&t->setup, config, o, error));
    CLIP_TRY(choose_metric(t, error));
    t->data = clip_data_mark(&t->setup, error);
    if (t->data == NULL) CLIP_TRY(error->status);
    CLIP_TRY(clip_setup_loader(&t->setup, o->quiet, &t->loader, error));
    CLIP_TRY(clip_step_reserve(t->setup.step, error));
    if (clip_comm_rank(o->comm) == 0)
        CLIP_TRY(clip_run_open(&t->run, config->train.output, config->train.keep, error));
    else
        CLIP_TRY(clip_run_follow(&t->run, config->train.output, error));
out:
    return status;
}

static clip_status open_all(struct trainer *t, struct clip_config *config, struct clip_error *error)
{
    clip_status status;
    struct clip_comm *comm = t->options->comm;
    CLIP_TRY(clip_comm_agree(comm, clip_together_kernels(comm, error), error));
    int muted = clip_together_mute(comm);
    status = open_own(t, config, error);
    clip_together_unmute(muted);
    CLIP_TRY(clip_comm_agree(comm, status, error));
    CLIP_TRY(clip_together_check(&t->setup, t->data, error));
    if (clip_comm_size(comm) > 1 && is_first(t) && !t->options->quiet)
        clip_say("%d processes (%s), %lld slices of %s", clip_comm_size(comm), clip_comm_library(),
                 (long long)config->train.world_size,
                 CLIP_COUNT(config->train.batch_size / config->train.world_size, "pair"));
out:
    return status;
}

/* Between the state of the start and the first step. */
static clip_status begin(struct trainer *t, struct clip_train_summary *summary,
                         struct clip_error *error)
{
    clip_status status = CLIP_OK;
    summary->was_finished = is_over(t);
    clip_step_average(t->setup.step);
    if (is_first(t))
        CLIP_TRY(clip_watch_open(&t->watch, &t->run, &t->setup, t->loader, steps_done(t), error));
    if (!summary->was_finished) CLIP_TRY(keep_locked(t, error));
    if (steps_done(t) == 0 && is_first(t))
        CLIP_TRY(clip_advise(&t->setup, t->options->init != NULL, error));
    if (!summary->was_finished && is_first(t))
        CLIP_TRY(clip_starts_add(&t->run, &t->setup, t->options->command, steps_done(t), error));
    t->before = is_first(t) && isfinite(t->watch.seconds) ? t->watch.seconds : 0;
    t->first_step = steps_done(t);
    t->began = clip_seconds();
out:
    return status;
}

clip_status clip_train_run(struct clip_config *config, const struct clip_train_options *options,
                           struct clip_train_summary *summary, struct clip_error *error)
{
    clip_status status;
    struct trainer t = {
        .options = options, .best = {NAN, NAN}, .first = {NAN, NAN}, .run = {.lock = -1}};
    CLIP_TRY(open_all(&t, config, error));
    CLIP_TRY(agree(&t, start(&t, error), error));
    CLIP_TRY(agree(&t, begin(&t, summary, error), error));
    if (!summary->was_finished) CLIP_TRY(validate_first(&t, error));
    clip_loader_seek(t.loader, t.position);
    clip_progress_start(&t.progress, "training", "pair", t.samples,
                        t.samples + (t.setup.steps - steps_done(&t)) * config->train.batch_size,
                        options->quiet || !is_first(&t));
    t.since = clip_seconds();
    status = train(&t, error);
    clip_progress_end(&t.progress);
    summary->step = steps_done(&t);
    summary->steps = t.setup.steps;
    summary->samples = t.samples;
    summary->best = t.best.metric;
    summary->best_step = t.best_step;
    summary->stopped_early = stops_early(&t);
    summary->peak_rss_bytes = clip_memory_peak_rss();
    summary->passed_over = passed_over(&t.setup);
    summary->metric = clip_metric_name(t.metric);
    if (status == CLIP_OK && isfinite(t.first.metric) && isfinite(t.best.metric) &&
        !is_better(&t, &t.best, &t.first))
        clip_warn("no validation was better than the model that the run started from (%s %.4f; "
                  "the best was %.4f): keep that model, or try a lower [optim] lr",
                  summary->metric, t.first.metric, t.best.metric);
out:
    status = clip_comm_agree(options->comm, status, error);
    clip_watch_close(&t.watch);
    clip_loader_free(t.loader);
    clip_locked_free(t.locked);
    clip_run_close(&t.run);
    json_decref(t.data);
    clip_setup_release(&t.setup);
    return status;
}
