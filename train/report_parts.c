#include "train/report_parts.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/markup.h"
#include "core/progress.h"
#include "train/starts.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--fg:#1c2330;--soft:#5c6675;"
    "--edge:#dfe3e8;--good:#1b7a43;--bad:#b3261e}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--card:#181d24;--fg:#e8ebf0;"
    "--soft:#a3acba;--edge:#2e3640;--good:#5cc98c;--bad:#ff8f85}}\n"
    "*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;background:var(--bg);"
    "color:var(--fg)}main{max-width:1180px;margin:0 auto;padding:1.5rem 1rem 4rem}\n"
    "h1{font-size:1.5rem;margin:0 0 .2rem;overflow-wrap:anywhere}"
    "h2{font-size:1.1rem;margin:2.2rem 0 .7rem}.soft{color:var(--soft);margin:0 0 .8rem}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.7rem;"
    "margin:1rem 0}.tiles div,.card{background:var(--card);border:1px solid var(--edge);"
    "border-radius:.6rem;padding:.6rem .9rem}dt{color:var(--soft);font-size:.875rem}"
    "dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(22rem,100%),1fr));"
    "gap:.9rem}\n"
    ".strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(21rem,100%),1fr));"
    "gap:.9rem}figure{margin:0;display:flex;gap:.8rem;align-items:flex-start}"
    "figure img{width:96px;height:96px;border-radius:.3rem;image-rendering:auto;flex:none}"
    "figcaption{font-size:.9rem;min-width:0;overflow-wrap:anywhere}"
    "figcaption p{margin:0 0 .35rem}ol{margin:0;padding:0;list-style:none}li{margin:.1rem 0}"
    ".score{font-variant-numeric:tabular-nums;color:var(--soft);margin-right:.4rem}"
    ".right{color:var(--good)}.wrong{color:var(--bad)}\n"
    ".matrix{width:min(26rem,100%);height:auto;image-rendering:pixelated;border-radius:.3rem;"
    "display:block}.scale{display:flex;gap:.5rem;align-items:center;font-size:.875rem;"
    "color:var(--soft);margin-top:.4rem}.scale img{width:9rem;height:.8rem}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    "th{font-weight:600}tbody tr{border-top:1px solid var(--edge)}td.n,th.n{text-align:right}"
    ".scroll{overflow-x:auto}pre{overflow-x:auto;font-size:.875rem;line-height:1.45;margin:.4rem 0}"
    "summary{cursor:pointer}.key{display:inline-block;width:.8rem;height:.8rem;"
    "border-radius:.2rem;margin-right:.45rem}\n"
    ".state{font-weight:600}.running{color:var(--soft)}.finished{color:var(--good)}"
    ".interrupted,.failed{color:var(--bad)}.warnings{padding-left:2rem;overflow-wrap:anywhere}."
    "card p{margin:.2rem 0}"
    ".command{white-space:pre-wrap;overflow-wrap:anywhere}.best{font-weight:700}"
    "details.card,.start{margin-top:.6rem}#tools:empty{display:none}#smoothing{"
    "vertical-align:middle;width:min(14rem,50vw)}label{display:inline-flex;gap:.5rem;"
    "align-items:center}\n"
    ".rule{stroke:var(--quiet);stroke-dasharray:3 3}.where{fill:var(--ink)}.rule,.dot{"
    "visibility:hidden;pointer-events:none}.read .rule,.read .dot{visibility:visible}"
    "svg.chart .faint{opacity:.3}svg.chart[data-box]{touch-action:pan-y}"
    "svg.chart:focus-visible{outline:3px solid var(--c0);outline-offset:3px}\n";

/* ---- runs ---- */

static clip_status read_config(struct clip_report_run *run, const char *path,
                               struct clip_error *error)
{
    clip_status status;
    if (!clip_path_exists(path)) return CLIP_OK;
    CLIP_TRY(clip_config_init(&run->config, error));
    status = clip_config_read(&run->config, path, error);
    if (clip_machine_failed(status)) return status;
    run->has_config = status == CLIP_OK;
    if (status != CLIP_OK) clip_warn("%s", error->message);
    status = CLIP_OK;
out:
    return status;
}

clip_status clip_report_run_read(struct clip_report_run *run, const char *folder,
                                 struct clip_error *error)
{
    clip_status status;
    char *paths[3] = {0};
    static const char *const names[] = {"log.jsonl", "metrics.jsonl", "config.ini"};
    *run = (struct clip_report_run){.name = folder};
    for (int i = 0; i < 3; i++) {
        paths[i] = clip_path_join(folder, names[i], error);
        CLIP_TRY(paths[i] != NULL ? CLIP_OK : error->status);
    }
    if (!clip_path_exists(paths[0]))
        CLIP_TRY(clip_fail(error, CLIP_ERR_NOT_FOUND,
                           "%s holds no log.jsonl; name the folder of a run", folder));
    CLIP_TRY(clip_history_read(&run->log, paths[0], error));
    CLIP_TRY(clip_history_read(&run->metrics, paths[1], error));
    CLIP_TRY(read_config(run, paths[2], error));
    run->starts = clip_starts_read(folder, error);
    if (run->starts == NULL) CLIP_TRY(error->status);
out:
    for (int i = 0; i < 3; i++) free(paths[i]);
    if (status != CLIP_OK) clip_report_run_release(run);
    return status;
}

void clip_report_run_release(struct clip_report_run *run)
{
    clip_history_release(&run->log);
    clip_history_release(&run->metrics);
    clip_config_release(&run->config);
    json_decref(run->starts);
    *run = (struct clip_report_run){0};
}

/* ---- pages ---- */

clip_status clip_page_begin(struct clip_buffer *page, const char *title, int refresh,
                            struct clip_error *error)
{
    clip_status status;
    PAGE("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    if (refresh > 0)
        PAGE("<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>", refresh);
    PAGE("<title>");
    PAGE_TEXT(title);
    PAGE("</title>\n<style>%s%s</style></head>\n<body><main>\n<h1>", style, clip_chart_style);
    PAGE_TEXT(title);
    PAGE("</h1>\n");
out:
    return status;
}

clip_status clip_page_end(struct clip_buffer *page, struct clip_error *error)
{
    return clip_buffer_printf(page, error, "<script>\n%s</script></main></body></html>\n",
                              clip_report_script);
}

clip_status clip_page_tile(struct clip_buffer *page, const char *name, struct clip_error *error,
                           const char *format, ...)
{
    clip_status status;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    PAGE("<div><dt>%s</dt><dd>", name);
    PAGE_TEXT(text);
    PAGE("</dd></div>\n");
out:
    return status;
}

void clip_page_series(struct clip_chart_series *series, int64_t *count,
                      const struct clip_history *history, const char *key, const char *name,
                      int colour)
{
    const double *x = clip_history_find(history, "step"), *y = clip_history_find(history, key);
    if (x == NULL || y == NULL) return;
    series[(*count)++] = (struct clip_chart_series){name, x, y, history->rows, colour};
}

bool clip_page_falls(const char *key)
{
    size_t n = strlen(key);
    return n >= 4 && strcmp(key + n - 4, "loss") == 0;
}
