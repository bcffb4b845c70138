#include "train/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/count.h"
#include "core/file.h"
#include "core/markup.h"
#include "core/progress.h"
#include "train/report_parts.h"

enum { REFRESH = 30 }; /* seconds */

/* ---- figures ---- */

/* 12345678 -> "12.3 M" */
static void short_count(char text[32], int64_t n)
{
    if (n >= 10000000)
        snprintf(text, 32, "%.1f M", (double)n / 1e6);
    else if (n >= 100000)
        snprintf(text, 32, "%.0f k", (double)n / 1e3);
    else
        snprintf(text, 32, "%lld", (long long)n);
}

static clip_status add_times(struct clip_buffer *page, const struct clip_report *r,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char text[CLIP_TIME_TEXT];
    if (isfinite(r->seconds)) {
        clip_duration_text(text, r->seconds);
        CLIP_TRY(clip_page_tile(page, "time taken", error, "%s", text));
    }
    if (r->state == CLIP_REPORT_TRAINING && isfinite(r->left)) {
        clip_duration_text(text, r->left);
        bool early = r->setup->config->train.early_stop > 0;
        CLIP_TRY(
            clip_page_tile(page, "time left", error, "%s %s", early ? "at most" : "about", text));
    }
out:
    return status;
}

static clip_status add_tiles(struct clip_buffer *page, const struct clip_report *r,
                             const struct clip_report_run *run, struct clip_error *error)
{
    clip_status status;
    char text[32], trained[32];
    int64_t weights = clip_model_parameters(r->setup->model), moved = 0;
    for (int64_t i = 0; i < r->setup->model->param_count; i++)
        if (r->setup->model->params[i].tensor.needs_grad)
            moved += clip_tensor_count(&r->setup->model->params[i].tensor);
    PAGE("<dl class=\"tiles\">\n");
    CLIP_TRY(clip_page_tile(page, "step", error, "%lld of %lld", (long long)r->step,
                            (long long)r->setup->steps));
    double loss = clip_history_last(&run->log, "loss");
    if (isfinite(loss)) CLIP_TRY(clip_page_tile(page, "training loss", error, "%.4f", loss));
    if (r->best_step > 0 && isfinite(r->best)) {
        PAGE("<div><dt>best ");
        PAGE_TEXT(r->metric);
        PAGE("</dt><dd>%.4f <span class=\"soft\">step %lld</span></dd></div>\n", r->best,
             (long long)r->best_step);
    }
    double speed = clip_history_last(&run->log, "pairs_per_second");
    if (isfinite(speed)) CLIP_TRY(clip_page_tile(page, "pairs per second", error, "%.0f", speed));
    CLIP_TRY(add_times(page, r, error));
    short_count(text, r->samples_seen);
    CLIP_TRY(clip_page_tile(page, "pairs seen", error, "%s", text));
    short_count(text, weights);
    short_count(trained, moved);
    if (moved == weights)
        CLIP_TRY(clip_page_tile(page, "parameters", error, "%s", text));
    else
        CLIP_TRY(clip_page_tile(page, "parameters", error, "%s, %s trained", text, trained));
    PAGE("</dl>\n");
out:
    return status;
}

/* ---- curves ---- */

struct curve {
    const char *key, *name;
    bool of_metrics;
};
enum { CURVES = 8 };
static const struct {
    const char *title;
    struct curve curves[CURVES];
} charts[] = {
    {"loss", {{"loss", "training", false}, {"val_loss", "validation", true}}},
    {"retrieval of images by caption",
     {{"image_retrieval_recall@1", "recall@1", true},
      {"image_retrieval_recall@5", "recall@5", true},
      {"image_retrieval_recall@10", "recall@10", true}}},
    {"retrieval of captions by image",
     {{"text_retrieval_recall@1", "recall@1", true},
      {"text_retrieval_recall@5", "recall@5", true},
      {"text_retrieval_recall@10", "recall@10", true}}},
    {"zero-shot accuracy", {{"acc1", "first", true}, {"acc5", "among five", true}}},
    {"an older task",
     {{"probe_acc1", "accuracy", true},
      {"probe_image_retrieval_recall@1", "images, recall@1", true},
      {"probe_text_retrieval_recall@1", "captions, recall@1", true}}},
    {"learning rate", {{"lr", "lr", false}}},
    {"logit scale (its logarithm)", {{"logit_scale", "logit_scale", false}}},
    {"norm of the gradient", {{"grad_norm", "before clipping", false}}},
    {"pairs per second", {{"pairs_per_second", "pairs per second", false}}},
    {"seconds per step waiting for data", {{"data_seconds", "seconds", false}}},
};

static clip_status add_curves(struct clip_buffer *page, const struct clip_report_run *run,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    PAGE("<h2>Curves</h2>\n<p id=\"tools\"></p>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof charts / sizeof charts[0]; i++) {
        struct clip_chart_series series[CURVES];
        int64_t count = 0, longest = 0;
        bool few = true;
        for (int k = 0; k < CURVES && charts[i].curves[k].key != NULL; k++) {
            const struct curve *c = &charts[i].curves[k];
            const struct clip_history *from = c->of_metrics ? &run->metrics : &run->log;
            clip_page_series(series, &count, from, c->key, c->name, k);
            longest = from->rows > longest ? from->rows : longest;
            few = few && c->of_metrics;
        }
        if (count == 0) continue;
        const struct clip_chart chart = {charts[i].title,      "steps", series, count,
                                         few && longest <= 60, true};
        PAGE("<div class=\"card\">");
        CLIP_TRY(clip_chart_append(page, &chart, error));
        PAGE("</div>\n");
    }
    PAGE("</div>\n");
    CLIP_TRY(clip_page_numbers(page, "Validations in numbers", &run->metrics, error));
    CLIP_TRY(clip_page_numbers(page, "The training log in numbers", &run->log, error));
out:
    return status;
}

/* ---- data and configuration ---- */

static clip_status add_data(struct clip_buffer *page, const struct clip_report *r,
                            struct clip_error *error)
{
    clip_status status;
    const struct clip_setup *s = r->setup;
    const struct clip_config *c = s->config;
    PAGE("<h2>Data</h2>\n<div class=\"card scroll\"><table><tbody>\n<tr><th>training pairs</th>"
         "<td class=\"n\">%lld</td><td>",
         (long long)s->train_data->count);
    PAGE_TEXT(c->data.train_data);
    PAGE("</td></tr>\n");
    if (s->val_data != NULL) {
        PAGE("<tr><th>validation pairs</th><td class=\"n\">%lld</td><td>",
             (long long)s->val_data->count);
        PAGE_TEXT(c->data.val_data);
        PAGE("</td></tr>\n");
    }
    PAGE("<tr><th>steps per epoch</th><td class=\"n\">%lld</td><td>of %s</td></tr>\n"
         "<tr><th>samples skipped</th><td class=\"n\">%lld</td><td>of those seen since the run was "
         "last started; up to a share of %g is allowed</td></tr>\n"
         "<tr><th>captions cut</th><td class=\"n\">%lld</td><td>to %s, each time one was "
         "seen</td></tr>\n"
         "</tbody></table>\n",
         (long long)s->steps_per_epoch, CLIP_COUNT(c->train.batch_size, "pair"),
         (long long)r->counts.bad, c->data.max_bad_fraction, (long long)r->counts.cut,
         CLIP_COUNT(s->model_config.context_length, "token"));
    if (r->bad != NULL && r->bad->count > 0) {
        PAGE("<details><summary>what is wrong with the first %lld</summary><ul>\n",
             (long long)r->bad->count);
        for (int64_t i = 0; i < r->bad->count; i++) {
            PAGE("<li>");
            PAGE_TEXT(r->bad->names[i]);
            PAGE("</li>\n");
        }
        PAGE("</ul></details>\n");
    }
    PAGE("</div>\n");
out:
    return status;
}

static clip_status add_config(struct clip_buffer *page, const struct clip_config *config,
                              struct clip_error *error)
{
    clip_status status;
    struct clip_buffer text = {0};
    CLIP_TRY(clip_config_write(config, &text, error));
    PAGE("<h2>Configuration</h2>\n<div class=\"card\"><details><summary>every value as used"
         "</summary><pre>");
    PAGE_TEXT(text.data);
    PAGE("</pre></details></div>\n");
out:
    clip_buffer_release(&text);
    return status;
}

/* ---- the whole ---- */

static clip_status add_state(struct clip_buffer *page, const struct clip_report *r,
                             struct clip_error *error)
{
    static const char *const classes[] = {"running", "interrupted", "failed", "finished",
                                          "finished"};
    clip_status status;
    PAGE("<p><span class=\"state %s\">", classes[r->state]);
    switch (r->state) {
    case CLIP_REPORT_TRAINING: PAGE("running</span>"); break;
    case CLIP_REPORT_INTERRUPTED: PAGE("interrupted</span>; it goes on with --resume"); break;
    case CLIP_REPORT_FAILED:
        PAGE("failed</span>: ");
        PAGE_TEXT(r->failure != NULL ? r->failure : "");
        break;
    case CLIP_REPORT_STOPPED_EARLY:
        PAGE("stopped early</span>: no better ");
        PAGE_TEXT(r->metric);
        PAGE(" in %s", CLIP_COUNT(r->setup->config->train.early_stop, "validation"));
        break;
    case CLIP_REPORT_FINISHED: PAGE("finished</span>"); break;
    }
    PAGE("</p>\n");
out:
    return status;
}

static clip_status add_head(struct clip_buffer *page, const struct clip_report *r,
                            struct clip_error *error)
{
    clip_status status;
    char title[300], now[CLIP_TIME_TEXT];
    bool going = r->state == CLIP_REPORT_TRAINING;
    snprintf(title, sizeof title, "%.250s", r->folder);
    clip_now_text(now);
    CLIP_TRY(clip_page_begin(page, title, going ? REFRESH : 0, error));
    CLIP_TRY(add_state(page, r, error));
    PAGE("<p class=\"soft\" id=\"written\" data-time=\"%lld\"", (long long)time(NULL));
    if (going) PAGE(" data-refresh=\"%d\"", REFRESH);
    PAGE(">written %s%s</p>\n", now,
         going ? "; while the run trains, about every half minute anew" : "");
out:
    return status;
}

static clip_status build(struct clip_buffer *page, const struct clip_report *r,
                         const struct clip_report_run *run, struct clip_error *error)
{
    clip_status status;
    CLIP_TRY(add_head(page, r, error));
    CLIP_TRY(add_tiles(page, r, run, error));
    CLIP_TRY(clip_page_warnings(page, run->starts, error));
    CLIP_TRY(add_curves(page, run, error));
    if (r->samples != NULL) CLIP_TRY(clip_page_samples(page, r->samples, error));
    CLIP_TRY(add_data(page, r, error));
    CLIP_TRY(clip_page_starts(page, run->starts, error));
    CLIP_TRY(add_config(page, r->setup->config, error));
    CLIP_TRY(clip_page_end(page, error));
out:
    return status;
}

clip_status clip_report_write(const struct clip_report *report, struct clip_error *error)
{
    clip_status status;
    struct clip_report_run run = {0};
    struct clip_buffer page = {0};
    char *path = clip_path_join(report->folder, "report.html", error);
    CLIP_TRY(path != NULL ? CLIP_OK : error->status);
    CLIP_TRY(clip_report_run_read(&run, report->folder, error));
    CLIP_TRY(build(&page, report, &run, error));
    CLIP_TRY(clip_file_write(path, page.data, page.size, error));
out:
    free(path);
    clip_buffer_release(&page);
    clip_report_run_release(&run);
    return status;
}
