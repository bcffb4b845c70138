/* Line charts as SVG, for a page or as a file. They consist of plain shapes and text, load nothing
 * from outside, and can be read without scripts; light and dark follow the reader's setting.
 *
 * With `numbers`, the <svg> has data-box (left, top, width, height of the plot), data-x and data-y
 * (the ends of its axes), and each <path> data-x and data-y, the values with blanks between them,
 * "-" for one that is not finite: of a long series every k-th, 2,000 at most.
 *
 * A chart takes its colours from clip_chart_style, which a page puts into its <style> once and
 * which clip_chart_file puts into the file. */
#ifndef CLIP_CORE_CHART_H
#define CLIP_CORE_CHART_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { CLIP_CHART_COLOURS = 8 }; /* further series use the same colours again */

struct clip_chart_series {
    const char *name;
    const double *x, *y; /* [n]; x must rise; a y that is not finite interrupts the line */
    int64_t n;
    int colour; /* 0 to 7; -1: by the place of the series in the chart */
};

struct clip_chart {
    const char *title, *x_label;
    const struct clip_chart_series *series;
    int64_t count;
    bool points;  /* draws a dot at each value, for charts of few values */
    bool numbers; /* holds the values too, for a script (train/report_script.c) */
};

extern const char clip_chart_style[]; /* CSS */
/* Appends one <svg>. If there are more points than columns of pixels, the lowest and the highest of
 * each column are drawn, so that no spike is lost. */
clip_status clip_chart_append(struct clip_buffer *out, const struct clip_chart *chart,
                              struct clip_error *error);
/* Writes the chart alone as an .svg file, atomically. */
clip_status clip_chart_file(const char *path, const struct clip_chart *chart,
                            struct clip_error *error);

#endif
