/* Several runs in one page. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/count.h"
#include "core/file.h"
#include "core/markup.h"
#include "core/progress.h"
#include "train/config_table.h"
#include "train/report.h"
#include "train/report_parts.h"

struct comparison {
    struct clip_report_run *runs;
    int64_t n;
    struct clip_chart_series *series; /* [n] */
};

/* ---- keys that any of the runs has ---- */

static const struct clip_history *history_of(const struct clip_report_run *run, bool metrics)
{
    return metrics ? &run->metrics : &run->log;
}

/* Is this column of run r the first of its name among the runs? */
static bool is_first(const struct comparison *c, int64_t r, bool metrics, const char *key)
{
    for (int64_t i = 0; i < r; i++)
        if (clip_history_find(history_of(&c->runs[i], metrics), key) != NULL) return false;
    return !clip_history_is_position(key);
}

typedef clip_status (*key_visitor)(struct comparison *c, struct clip_buffer *page, bool metrics,
                                   const char *key, struct clip_error *error);

/* Metrics first: they are what runs are compared by. */
static clip_status each_key(struct comparison *c, struct clip_buffer *page, key_visitor visit,
                            struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int metrics = 1; metrics >= 0; metrics--)
        for (int64_t r = 0; r < c->n; r++) {
            const struct clip_history *h = history_of(&c->runs[r], metrics != 0);
            for (int64_t k = 0; k < h->count; k++)
                if (is_first(c, r, metrics != 0, h->columns[k].key))
                    CLIP_TRY(visit(c, page, metrics != 0, h->columns[k].key, error));
        }
out:
    return status;
}

/* ---- parts of the page ---- */

static clip_status add_chart(struct comparison *c, struct clip_buffer *page, bool metrics,
                             const char *key, struct clip_error *error)
{
    clip_status status;
    int64_t count = 0;
    for (int64_t r = 0; r < c->n; r++)
        clip_page_series(c->series, &count, history_of(&c->runs[r], metrics), key, c->runs[r].name,
                         (int)(r % CLIP_CHART_COLOURS));
    const struct clip_chart chart = {key, "steps", c->series, count, metrics, true};
    PAGE("<div class=\"card\">");
    CLIP_TRY(clip_chart_append(page, &chart, error));
    PAGE("</div>\n");
out:
    return status;
}

static double best_of(const struct clip_history *h, const char *key)
{
    const double *values = clip_history_find(h, key);
    double best = NAN;
    for (int64_t i = 0; values != NULL && i < h->rows; i++) {
        if (!isfinite(values[i])) continue;
        bool better = clip_page_falls(key) ? values[i] < best : values[i] > best;
        if (better || !isfinite(best)) best = values[i];
    }
    return best;
}

/* The best value that any run has of a metric, where some run has another; else NaN. */
static double best_of_all(const struct comparison *c, const char *key)
{
    double best = NAN, worst = NAN;
    for (int64_t r = 0; r < c->n; r++) {
        double value = best_of(&c->runs[r].metrics, key);
        if (!isfinite(value)) continue;
        bool falls = clip_page_falls(key);
        if (!isfinite(best) || (falls ? value < best : value > best)) best = value;
        if (!isfinite(worst) || (falls ? value > worst : value < worst)) worst = value;
    }
    return best != worst ? best : NAN;
}

/* A row of figures: the last value of a log's key, the best of a metric's. */
static clip_status add_figures(struct comparison *c, struct clip_buffer *page, bool metrics,
                               const char *key, struct clip_error *error)
{
    clip_status status;
    double best = metrics ? best_of_all(c, key) : NAN;
    PAGE("<tr><th>%s ", metrics ? "best" : "last");
    PAGE_TEXT(key);
    PAGE("</th>");
    for (int64_t r = 0; r < c->n; r++) {
        const struct clip_history *h = history_of(&c->runs[r], metrics);
        double value = metrics ? best_of(h, key) : clip_history_last(h, key);
        if (isfinite(value))
            PAGE("<td class=\"n%s\">%.4g</td>", value == best ? " best" : "", value);
        else
            PAGE("<td class=\"n\"></td>");
    }
    PAGE("</tr>\n");
out:
    return status;
}

/* Figures that say how good a run is: metrics, and the loss that it was trained by. */
static clip_status add_result(struct comparison *c, struct clip_buffer *page, bool metrics,
                              const char *key, struct clip_error *error)
{
    return metrics || clip_page_falls(key) ? add_figures(c, page, metrics, key, error) : CLIP_OK;
}
static clip_status add_end(struct comparison *c, struct clip_buffer *page, bool metrics,
                           const char *key, struct clip_error *error)
{
    return metrics || clip_page_falls(key) ? CLIP_OK : add_figures(c, page, metrics, key, error);
}

static clip_status add_names(struct comparison *c, struct clip_buffer *page, const char *first,
                             struct clip_error *error)
{
    clip_status status;
    PAGE("<thead><tr><th>%s</th>", first);
    for (int64_t r = 0; r < c->n; r++) {
        PAGE("<th class=\"n chart\"><span class=\"key\" style=\"background:var(--c%d)\"></span>",
             (int)(r % CLIP_CHART_COLOURS));
        PAGE_TEXT(c->runs[r].name);
        PAGE("</th>");
    }
    PAGE("</tr></thead>\n");
out:
    return status;
}

static const char *value_of(const struct clip_report_run *run, int key)
{
    if (!run->has_config) return "";
    const char *set = run->config.values[key];
    return set != NULL ? set : clip_config_keys[key].standard;
}

static bool differs(const struct comparison *c, int key)
{
    for (int64_t r = 1; r < c->n; r++)
        if (!clip_key_same(&clip_config_keys[key], value_of(&c->runs[r], key),
                           value_of(&c->runs[0], key)))
            return true;
    return false;
}

static bool is_plumbing(int key)
{
    return (clip_config_keys[key].flags & KEY_PLUMBING) == KEY_PLUMBING;
}

/* Rows for the keys that differ, of one kind. */
static clip_status add_keys(struct comparison *c, struct clip_buffer *page, bool plumbing,
                            bool *any, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int k = 0; k < clip_config_key_count; k++) {
        if (is_plumbing(k) != plumbing || !differs(c, k)) continue;
        *any = true;
        PAGE("<tr><th>[%s] %s</th>", clip_config_keys[k].section, clip_config_keys[k].key);
        for (int64_t r = 0; r < c->n; r++) {
            PAGE("<td class=\"n\">");
            PAGE_TEXT(value_of(&c->runs[r], k));
            PAGE("</td>");
        }
        PAGE("</tr>\n");
    }
out:
    return status;
}

/* A fact of the run's last start (train/starts.h); NULL: it is not known. */
static const json_t *fact_of(const struct clip_report_run *run, const char *fact)
{
    size_t starts = json_array_size(run->starts);
    return starts > 0 ? json_object_get(json_array_get(run->starts, starts - 1), fact) : NULL;
}

static clip_status add_facts(struct comparison *c, struct clip_buffer *page, bool *any,
                             struct clip_error *error)
{
    static const char *const facts[] = {"command",   "cpu",     "threads",
                                        "processes", "kernels", "version"};
    clip_status status = CLIP_OK;
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++) {
        bool differ = false;
        for (int64_t r = 1; r < c->n; r++) {
            const json_t *a = fact_of(&c->runs[0], facts[f]), *b = fact_of(&c->runs[r], facts[f]);
            differ = differ ||
                     !(a == b || json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b));
        }
        if (!differ) continue;
        *any = true;
        PAGE("<tr><th>%s</th>", facts[f]);
        for (int64_t r = 0; r < c->n; r++) {
            const json_t *fact = fact_of(&c->runs[r], facts[f]);
            PAGE("<td class=\"n\">");
            if (json_is_string(fact)) PAGE_TEXT(json_string_value(fact));
            if (json_is_integer(fact)) PAGE("%lld", (long long)json_integer_value(fact));
            PAGE("</td>");
        }
        PAGE("</tr>\n");
    }
out:
    return status;
}

/* What decides the result; and folded, what does not. */
static clip_status add_differences(struct comparison *c, struct clip_buffer *page,
                                   struct clip_error *error)
{
    clip_status status;
    bool any = false;
    PAGE("<h2>What was set differently</h2>\n<div class=\"card scroll\"><table>");
    CLIP_TRY(add_names(c, page, "key", error));
    PAGE("<tbody>\n");
    CLIP_TRY(add_keys(c, page, false, &any, error));
    PAGE("</tbody></table>%s</div>\n", any ? "" : "<p class=\"soft\">Nothing.</p>");
    any = false;
    PAGE("<details class=\"card\"><summary>What differs and changes no result: folders, logs, "
         "threads</summary><div class=\"scroll\"><table>");
    CLIP_TRY(add_names(c, page, "key", error));
    PAGE("<tbody>\n");
    CLIP_TRY(add_keys(c, page, true, &any, error));
    CLIP_TRY(add_facts(c, page, &any, error));
    PAGE("</tbody></table>%s</div></details>\n", any ? "" : "<p class=\"soft\">Nothing.</p>");
out:
    return status;
}

static clip_status add_times(struct comparison *c, struct clip_buffer *page,
                             struct clip_error *error)
{
    clip_status status;
    PAGE("<tr><th>time taken</th>");
    for (int64_t r = 0; r < c->n; r++) {
        double seconds = clip_history_last(&c->runs[r].log, "seconds");
        char text[CLIP_TIME_TEXT] = "";
        if (isfinite(seconds)) clip_duration_text(text, seconds);
        PAGE("<td class=\"n\">%s</td>", text);
    }
    PAGE("</tr>\n");
out:
    return status;
}

/* The figures that runs are compared by, and folded, what else their logs end with. */
static clip_status add_results(struct comparison *c, struct clip_buffer *page,
                               struct clip_error *error)
{
    clip_status status;
    PAGE("<div class=\"card scroll\"><table>");
    CLIP_TRY(add_names(c, page, "", error));
    PAGE("<tbody>\n");
    CLIP_TRY(each_key(c, page, add_result, error));
    PAGE("<tr><th>steps</th>");
    for (int64_t r = 0; r < c->n; r++)
        PAGE("<td class=\"n\">%.0f</td>", clip_history_last(&c->runs[r].log, "step"));
    PAGE("</tr>\n");
    CLIP_TRY(add_times(c, page, error));
    PAGE("</tbody></table></div>\n");
out:
    return status;
}

static clip_status add_ends(struct comparison *c, struct clip_buffer *page,
                            struct clip_error *error)
{
    clip_status status;
    PAGE("<details class=\"card\"><summary>What else the logs end with</summary>"
         "<div class=\"scroll\"><table>");
    CLIP_TRY(add_names(c, page, "", error));
    PAGE("<tbody>\n");
    CLIP_TRY(each_key(c, page, add_end, error));
    PAGE("</tbody></table></div></details>\n");
out:
    return status;
}

static clip_status build(struct comparison *c, struct clip_buffer *page, struct clip_error *error)
{
    clip_status status;
    char title[64], now[CLIP_TIME_TEXT];
    snprintf(title, sizeof title, "%s", CLIP_COUNT(c->n, "run"));
    clip_now_text(now);
    CLIP_TRY(clip_page_begin(page, title, 0, error));
    PAGE("<p class=\"soft\">written %s</p>\n", now);
    CLIP_TRY(add_results(c, page, error));
    CLIP_TRY(add_differences(c, page, error));
    PAGE("<h2>Curves</h2>\n<p id=\"tools\"></p>\n<div class=\"charts\">\n");
    CLIP_TRY(each_key(c, page, add_chart, error));
    PAGE("</div>\n");
    CLIP_TRY(add_ends(c, page, error));
    CLIP_TRY(clip_page_end(page, error));
out:
    return status;
}

clip_status clip_report_compare(const char *const *runs, int64_t n, const char *path,
                                struct clip_error *error)
{
    clip_status status;
    struct comparison c = {.n = n};
    struct clip_buffer page = {0};
    CLIP_NEW(c.runs, n);
    CLIP_NEW(c.series, n);
    for (int64_t r = 0; r < n; r++) CLIP_TRY(clip_report_run_read(&c.runs[r], runs[r], error));
    CLIP_TRY(build(&c, &page, error));
    CLIP_TRY(clip_file_write(path, page.data, page.size, error));
out:
    for (int64_t r = 0; c.runs != NULL && r < n; r++) clip_report_run_release(&c.runs[r]);
    free(c.runs);
    free(c.series);
    clip_buffer_release(&page);
    return status;
}
