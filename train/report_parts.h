/* Private to train/report*.c: a page being written, and the parts that both kinds of page have. */
#ifndef CLIP_TRAIN_REPORT_PARTS_H
#define CLIP_TRAIN_REPORT_PARTS_H

#include "core/chart.h"
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
};
/* CLIP_ERR_NOT_FOUND: there is no log. A config.ini that cannot be read is left out with a
 * warning. */
clip_status clip_report_run_read(struct clip_report_run *run, const char *folder,
                                 struct clip_error *error);
void clip_report_run_release(struct clip_report_run *run);

/* <!doctype html> up to the <h1>, and the end; `refresh` seconds, 0: never. */
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
/* Today as "2026-11-24 14:20". */
void clip_page_time(char text[32]);
/* Better when smaller: a loss. */
bool clip_page_falls(const char *key);

#endif
