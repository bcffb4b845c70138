/* Line charts as SVG, for a page or alone in a file. Plain shapes and text, nothing from outside,
 * readable without script; light and dark follow the reader's setting.
 *
 * A chart's colours come from clip_chart_style, which a page puts into its <style> once and
 * clip_chart_file puts into the file. */
#ifndef CLIP_CORE_CHART_H
#define CLIP_CORE_CHART_H

#include <stdint.h>

#include "core/memory.h"
#include "core/status.h"

enum { CLIP_CHART_COLOURS = 8 }; /* series beyond it use them again */

struct clip_chart_series {
    const char *name;
    const double *x, *y; /* [n]; x rising; a y that is not finite breaks the line */
    int64_t n;
    int colour; /* 0 to 7; -1: its place in the chart */
};

struct clip_chart {
    const char *title, *x_label;
    const struct clip_chart_series *series;
    int64_t count;
    bool points; /* a dot at each value, for few */
};

extern const char clip_chart_style[]; /* CSS */
/* Appends one <svg>. Of more points than the drawing is wide the least and the greatest of each
 * column are drawn, so that no spike is lost. */
clip_status clip_chart_append(struct clip_buffer *out, const struct clip_chart *chart,
                              struct clip_error *error);
/* The chart alone as an .svg file, atomically. */
clip_status clip_chart_file(const char *path, const struct clip_chart *chart,
                            struct clip_error *error);

#endif
