/* Private to train/report*.c: a page being written, and the parts that both kinds of page have. */
#ifndef CLIP_TRAIN_REPORT_PARTS_H
#define CLIP_TRAIN_REPORT_PARTS_H

#include "core/chart.h"
#include "core/json.h"
#include "core/memory.h"
#include "train/config.h"
#include "train/history.h"
#include "train/samples.h"

/* A run's logs and configuration, read from its folder. */
struct clip_report_run { /* start from {0} */
    const char *name;    /* of the folder, as given */
    struct clip_history log, metrics;
    struct clip_config config;
    bool has_config;
    json_t *starts; /* train/starts.h */
};
/* CLIP_ERR_NOT_FOUND: there is no log. A config.ini that cannot be read is left out with a
 * warning. */
clip_status clip_report_run_read(struct clip_report_run *run, const char *folder,
                                 struct clip_error *error);
void clip_report_run_release(struct clip_report_run *run);

/* <!doctype html> up to the <h1>, and the end, which has the script; `refresh`: without script the
 * page is loaded anew after so many seconds, 0: never. */
clip_status clip_page_begin(struct clip_buffer *page, const char *title, int refresh,
                            struct clip_error *error);
clip_status clip_page_end(struct clip_buffer *page, struct clip_error *error);
/* printf, each %s of it already markup. */
#define PAGE(...) CLIP_TRY(clip_buffer_printf(page, error, __VA_ARGS__))
#define PAGE_TEXT(text) CLIP_TRY(clip_markup_text(page, (text), error))

/* A figure with its name, inside <dl class=tiles>. */
clip_status clip_page_tile(struct clip_buffer *page, const char *name, struct clip_error *error,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A line of a chart: a column of a history over its steps; nothing where it has none. */
void clip_page_series(struct clip_chart_series *series, int64_t *count,
                      const struct clip_history *history, const char *key, const char *name,
                      int colour);
/* The similarity matrix and the strip of images. */
clip_status clip_page_samples(struct clip_buffer *page, const struct clip_samples *samples,
                              struct clip_error *error);
/* Each start of the run (train/starts.h): what was warned of, and its command and machine. */
clip_status clip_page_warnings(struct clip_buffer *page, const json_t *starts,
                               struct clip_error *error);
clip_status clip_page_starts(struct clip_buffer *page, const json_t *starts,
                             struct clip_error *error);
/* A log as a table, folded; of a long one every k-th row. */
clip_status clip_page_numbers(struct clip_buffer *page, const char *title,
                              const struct clip_history *history, struct clip_error *error);
extern const char clip_report_script[];
/* Better when smaller: a loss. */
bool clip_page_falls(const char *key);

#endif
