#include "core/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/markup.h"

/* About as many units as pixels where a page has three charts in a row, and on a phone: what is
 * written is as large there as its font says. */
enum { WIDTH = 380, HEIGHT = 230, LEFT = 56, RIGHT = 12, TOP = 32, BOTTOM = 38, LEGEND_ROW = 18 };
enum { NUMBERS = 2000 };
static const double INNER_WIDTH = WIDTH - LEFT - RIGHT, INNER_HEIGHT = HEIGHT - TOP - BOTTOM;

const char clip_chart_style[] =
    "svg.chart{font:13px system-ui,sans-serif;width:100%;height:auto;display:block}"
    ".chart{--c0:#1f6fb5;--c1:#c4491d;--c2:#23814d;--c3:#7d4fb0;--c4:#96700a;--c5:#b5347d;"
    "--c6:#16808a;--c7:#5f6672;--ink:#1c2330;--quiet:#5c6675;--line:#dfe3e8}"
    "svg.chart .title{font-size:15px;font-weight:600;fill:var(--ink)}"
    "svg.chart .tick,svg.chart .name{fill:var(--quiet)}"
    "svg.chart .grid{stroke:var(--line);stroke-width:1}"
    "svg.chart .run{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}"
    "@media(prefers-color-scheme:dark){.chart{--c0:#6cb0f2;--c1:#f28b5e;--c2:#5cc98c;"
    "--c3:#bd98ec;--c4:#dfb143;--c5:#ee7fbb;--c6:#5fccd6;--c7:#a6aebb;--ink:#e8ebf0;"
    "--quiet:#a3acba;--line:#333b47}}";

/* ---- scales ---- */

struct range {
    double low, high, step; /* low and high are multiples of step on the y axis */
};

/* A step of 1, 2 or 5 times a power of ten that cuts the range into about `parts` parts. */
static double nice_step(double range, int parts)
{
    double raw = range / parts, power = pow(10, floor(log10(raw))), part = raw / power;
    return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
}

static struct range range_of(const struct clip_chart *chart, bool x, int parts)
{
    struct range r = {INFINITY, -INFINITY, 1};
    for (int64_t s = 0; s < chart->count; s++)
        for (int64_t i = 0; i < chart->series[s].n; i++) {
            double v = x ? chart->series[s].x[i] : chart->series[s].y[i];
            if (!isfinite(v)) continue;
            r.low = fmin(r.low, v);
            r.high = fmax(r.high, v);
        }
    if (r.low > r.high) r.low = 0, r.high = 1;
    if (r.high - r.low <= 1e-9 * fmax(fabs(r.low), fabs(r.high)) || r.high == r.low) {
        double half = fabs(r.low) > 0 ? fabs(r.low) * 0.05 : 0.5;
        r.low -= half;
        r.high += half;
    }
    r.step = nice_step(r.high - r.low, parts);
    if (!x) {
        r.low = floor(r.low / r.step) * r.step;
        r.high = ceil(r.high / r.step) * r.step;
    }
    return r;
}

static double across(const struct range *x, double value)
{
    return LEFT + (value - x->low) / (x->high - x->low) * INNER_WIDTH;
}
static double upward(const struct range *y, double value)
{
    return TOP + INNER_HEIGHT - (value - y->low) / (y->high - y->low) * INNER_HEIGHT;
}

/* A number like "0.25", "1.5e-05" or "2000", with enough digits to tell ticks apart. */
static void tick_text(char text[32], double value, double step)
{
    if (fabs(value) < step * 1e-6) value = 0;
    double size = fabs(value);
    int digits = (int)fmax(0, ceil(-log10(step) - 1e-9));
    if (size != 0 && (size >= 1e6 || size < 1e-4))
        snprintf(text, 32, "%.3g", value);
    else
        snprintf(text, 32, "%.*f", digits, value);
}

static clip_status append_grid(struct clip_buffer *out, const struct range *x,
                               const struct range *y, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    char text[32];
    int64_t lines = llround((y->high - y->low) / y->step);
    for (int64_t i = 0; i <= lines; i++) {
        double value = y->low + (double)i * y->step, at = upward(y, value);
        tick_text(text, value, y->step);
        CLIP_TRY(clip_buffer_printf(
            out, error,
            "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
            "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
            LEFT, at, WIDTH - RIGHT, at, LEFT - 6, at + 4, text));
    }
    for (double i = ceil(x->low / x->step); i * x->step <= x->high + 1e-9 * x->step; i++) {
        tick_text(text, i * x->step, x->step);
        CLIP_TRY(clip_buffer_printf(
            out, error, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
            across(x, i * x->step), HEIGHT - BOTTOM + 14, text));
    }
out:
    return status;
}

/* ---- lines ---- */

struct pen {
    struct clip_buffer *out;
    bool down; /* the pen is down: the next point is joined to the last one */
};

static clip_status draw_to(struct pen *pen, double x, double y, struct clip_error *error)
{
    clip_status status =
        clip_buffer_printf(pen->out, error, "%s%.1f %.1f", pen->down ? "L" : "M", x, y);
    pen->down = true;
    return status;
}

/* Appends the points of a line. Of several points in one column of pixels it draws the first, the
 * lowest, the highest and the last. */
static clip_status append_path(struct clip_buffer *out, const struct clip_chart_series *s,
                               const struct range *x, const struct range *y,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct pen pen = {.out = out};
    for (int64_t i = 0; i < s->n;) {
        double at = across(x, s->x[i]), low, high;
        int64_t end = i + 1;
        if (!isfinite(s->y[i])) {
            pen.down = false;
            i++;
            continue;
        }
        low = high = s->y[i];
        while (end < s->n && isfinite(s->y[end]) && s->n > 2 * WIDTH &&
               floor(across(x, s->x[end])) == floor(at)) {
            low = fmin(low, s->y[end]);
            high = fmax(high, s->y[end]);
            end++;
        }
        CLIP_TRY(draw_to(&pen, at, upward(y, s->y[i]), error));
        if (end > i + 1) {
            CLIP_TRY(draw_to(&pen, at, upward(y, low), error));
            CLIP_TRY(draw_to(&pen, at, upward(y, high), error));
            CLIP_TRY(draw_to(&pen, at, upward(y, s->y[end - 1]), error));
        }
        i = end;
    }
out:
    return status;
}

/* Ends the attribute before it and appends another, but for its closing quote. */
static clip_status append_numbers(struct clip_buffer *out, const char *axis, const double *values,
                                  const struct clip_chart_series *s, struct clip_error *error)
{
    clip_status status;
    int64_t every = (s->n + NUMBERS - 1) / NUMBERS;
    CLIP_TRY(clip_buffer_printf(out, error, "\" data-%s=\"", axis));
    for (int64_t i = 0; i < s->n; i += every) {
        const char *between = i > 0 ? " " : "";
        if (isfinite(values[i]))
            CLIP_TRY(clip_buffer_printf(out, error, "%s%.6g", between, values[i]));
        else
            CLIP_TRY(clip_buffer_printf(out, error, "%s-", between));
    }
out:
    return status;
}

static int colour_of(const struct clip_chart *chart, int64_t s)
{
    int colour = chart->series[s].colour;
    return colour >= 0 ? colour % CLIP_CHART_COLOURS : (int)(s % CLIP_CHART_COLOURS);
}

static clip_status append_series(struct clip_buffer *out, const struct clip_chart *chart,
                                 const struct range *x, const struct range *y,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < chart->count; i++) {
        const struct clip_chart_series *s = &chart->series[i];
        int colour = colour_of(chart, i);
        CLIP_TRY(clip_buffer_printf(out, error, "<path class=\"run\" stroke=\"var(--c%d)\" d=\"",
                                    colour));
        CLIP_TRY(append_path(out, s, x, y, error));
        if (chart->numbers) {
            CLIP_TRY(append_numbers(out, "x", s->x, s, error));
            CLIP_TRY(append_numbers(out, "y", s->y, s, error));
        }
        CLIP_TRY(clip_buffer_printf(out, error, "\"/>"));
        for (int64_t k = 0; chart->points && k < s->n; k++)
            if (isfinite(s->y[k]))
                CLIP_TRY(clip_buffer_printf(
                    out, error, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\" fill=\"var(--c%d)\"/>",
                    across(x, s->x[k]), upward(y, s->y[k]), colour));
    }
out:
    return status;
}

/* Appends the names of the series below the chart, each with its last value. */
static clip_status append_legend(struct clip_buffer *out, const struct clip_chart *chart,
                                 struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < chart->count; i++) {
        const struct clip_chart_series *s = &chart->series[i];
        double last = NAN;
        for (int64_t k = 0; k < s->n; k++)
            if (isfinite(s->y[k])) last = s->y[k];
        int at = HEIGHT + 4 + LEGEND_ROW * (int)i;
        CLIP_TRY(
            clip_buffer_printf(out, error,
                               "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"run\" "
                               "stroke=\"var(--c%d)\"/><text class=\"name\" x=\"%d\" y=\"%d\">",
                               LEFT, at, LEFT + 16, at, colour_of(chart, i), LEFT + 22, at + 4));
        CLIP_TRY(clip_markup_text(out, s->name, error));
        if (isfinite(last))
            CLIP_TRY(clip_buffer_printf(out, error, "  <tspan class=\"value\">%.4g</tspan>", last));
        CLIP_TRY(clip_buffer_printf(out, error, "</text>"));
    }
out:
    return status;
}

/* ---- the whole ---- */

static clip_status append_chart(struct clip_buffer *out, const struct clip_chart *chart, bool alone,
                                struct clip_error *error)
{
    clip_status status;
    struct range x = range_of(chart, true, 5), y = range_of(chart, false, 4);
    int height = HEIGHT + (int)chart->count * LEGEND_ROW;
    CLIP_TRY(
        clip_buffer_printf(out, error, "<svg class=\"chart\"%s viewBox=\"0 0 %d %d\" role=\"img\"",
                           alone ? " xmlns=\"http://www.w3.org/2000/svg\"" : "", WIDTH, height));
    if (chart->numbers)
        CLIP_TRY(clip_buffer_printf(
            out, error, " data-box=\"%d %d %.0f %.0f\" data-x=\"%.9g %.9g\" data-y=\"%.9g %.9g\"",
            LEFT, TOP, INNER_WIDTH, INNER_HEIGHT, x.low, x.high, y.low, y.high));
    CLIP_TRY(clip_buffer_printf(out, error, "><title>"));
    CLIP_TRY(clip_markup_text(out, chart->title, error));
    CLIP_TRY(clip_buffer_printf(out, error, " by %s</title>", chart->x_label));
    if (alone)
        CLIP_TRY(clip_buffer_printf(out, error,
                                    "<style>%s svg.chart{background:#fff}"
                                    "@media(prefers-color-scheme:dark){svg.chart{background:"
                                    "#161b22}}</style>",
                                    clip_chart_style));
    CLIP_TRY(clip_buffer_printf(out, error, "<text class=\"title\" x=\"%d\" y=\"16\">", 8));
    CLIP_TRY(clip_markup_text(out, chart->title, error));
    CLIP_TRY(clip_buffer_printf(out, error, "</text>"));
    CLIP_TRY(append_grid(out, &x, &y, error));
    CLIP_TRY(append_series(out, chart, &x, &y, error));
    CLIP_TRY(clip_buffer_printf(out, error,
                                "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">",
                                WIDTH - RIGHT, HEIGHT - 6));
    CLIP_TRY(clip_markup_text(out, chart->x_label, error));
    CLIP_TRY(clip_buffer_printf(out, error, "</text>"));
    CLIP_TRY(append_legend(out, chart, error));
    CLIP_TRY(clip_buffer_printf(out, error, "</svg>\n"));
out:
    return status;
}

clip_status clip_chart_append(struct clip_buffer *out, const struct clip_chart *chart,
                              struct clip_error *error)
{
    return append_chart(out, chart, false, error);
}

clip_status clip_chart_file(const char *path, const struct clip_chart *chart,
                            struct clip_error *error)
{
    struct clip_buffer text = {0};
    clip_status status = append_chart(&text, chart, true, error);
    if (status == CLIP_OK) status = clip_file_write(path, text.data, text.size, error);
    clip_buffer_release(&text);
    return status;
}
