/* Draws how a gain on one task is paid for on the other. */
#include <math.h>
#include <stdlib.h>

#include "core/file.h"
#include "eval/interpolate.h"

enum { WIDTH = 720, HEIGHT = 480, LEFT = 70, RIGHT = 30, TOP = 46, BOTTOM = 60 };

/* An axis shows the values [low, high] at the pixels [from, to]. */
struct axis {
    double low, high, from, to, step;
};

static double at(const struct axis *axis, double value)
{
    return axis->from + (value - axis->low) / (axis->high - axis->low) * (axis->to - axis->from);
}

/* Sets about five ticks, whose distance is 1, 2 or 5 times a power of ten. */
static void set_range(struct axis *axis, double least, double most)
{
    double span = most - least > 1e-9 ? most - least : 0.1, power = pow(10, floor(log10(span / 5)));
    double times = span / 5 / power;
    axis->step = power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
    axis->low = floor(least / axis->step - 0.25) * axis->step;
    axis->high = ceil(most / axis->step + 0.25) * axis->step;
}

static clip_status draw_axes(struct clip_buffer *out, const struct axis *x, const struct axis *y,
                             const char *x_name, const char *y_name, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    for (double v = x->low; v <= x->high + x->step / 2; v += x->step)
        CLIP_TRY(clip_buffer_printf(
            out, error,
            "<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/><text class=\"label\" x=\"%.1f\" "
            "y=\"%.1f\" text-anchor=\"middle\">%.3g</text>\n",
            at(x, v), y->from, y->to, at(x, v), y->from + 18, v));
    for (double v = y->low; v <= y->high + y->step / 2; v += y->step)
        CLIP_TRY(clip_buffer_printf(
            out, error,
            "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/><text class=\"label\" x=\"%.1f\" "
            "y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
            x->from, at(y, v), x->to, x->from - 8, at(y, v) + 4, v));
    CLIP_TRY(clip_buffer_printf(out, error,
                                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">old task: %s"
                                "</text>\n<text x=\"%d\" y=\"26\">new task: %s</text>\n",
                                (x->from + x->to) / 2, HEIGHT - 16, x_name, 12, y_name));
out:
    return status;
}

static clip_status draw_mixes(struct clip_buffer *out, const struct clip_mix *mixes, int64_t n,
                              int64_t chosen, const struct axis *x, const struct axis *y,
                              struct clip_error *error)
{
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_buffer_printf(out, error, "<path class=\"line\" d=\""));
    for (int64_t i = 0; i < n; i++)
        CLIP_TRY(clip_buffer_printf(out, error, "%c%.1f %.1f", i == 0 ? 'M' : 'L',
                                    at(x, mixes[i].old.score), at(y, mixes[i].fresh.score)));
    CLIP_TRY(clip_buffer_printf(out, error, "\"/>\n"));
    for (int64_t i = 0; i < n; i++) {
        double px = at(x, mixes[i].old.score), py = at(y, mixes[i].fresh.score);
        CLIP_TRY(clip_buffer_printf(
            out, error,
            "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>alpha %g: old %.4f, new "
            "%.4f</title></circle><text class=\"label\" x=\"%.1f\" y=\"%.1f\">%g</text>\n",
            i == chosen ? "chosen" : "mix", px, py, i == chosen ? 8 : 5, mixes[i].alpha,
            mixes[i].old.score, mixes[i].fresh.score, px + 10, py - 8, mixes[i].alpha));
    }
out:
    return status;
}

/* Finds the lowest and the highest old or new score. */
static void find_range(const struct clip_mix *mixes, int64_t n, bool old, double *least,
                       double *most)
{
    *least = INFINITY;
    *most = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double score = old ? mixes[i].old.score : mixes[i].fresh.score;
        *least = fmin(*least, score);
        *most = fmax(*most, score);
    }
}

clip_status clip_mix_chart(const struct clip_mix *mixes, int64_t n,
                           const struct clip_mix_chart_options *options, const char *path,
                           struct clip_error *error)
{
    clip_status status;
    struct clip_buffer out = {0};
    struct axis x = {.from = LEFT, .to = WIDTH - RIGHT}, y = {.from = HEIGHT - BOTTOM, .to = TOP};
    double least, most, limit = options->keep * mixes[0].old.score;
    find_range(mixes, n, true, &least, &most);
    set_range(&x, fmin(least, limit), most);
    find_range(mixes, n, false, &least, &most);
    set_range(&y, least, most);
    CLIP_TRY(clip_buffer_printf(
        &out, error,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n"
        "<title>Two tasks over alpha</title>\n<style>text{font:14px sans-serif;fill:#222}"
        ".label{font-size:12px;fill:#555}.grid{stroke:#ddd;fill:none}.line{stroke:#2563a8;"
        "stroke-width:2;fill:none}.mix{fill:#2563a8}.chosen{fill:#d9480f}.limit{stroke:#d9480f;"
        "stroke-dasharray:5 4;fill:none}</style>\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>"
        "\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT));
    CLIP_TRY(draw_axes(&out, &x, &y, options->old_metric, options->fresh_metric, error));
    CLIP_TRY(clip_buffer_printf(
        &out, error,
        "<path class=\"limit\" d=\"M%.1f %.1fV%.1f\"/><text class=\"label\" x=\"%.1f\" y=\"%.1f\">"
        "%g %% of the old task</text>\n",
        at(&x, limit), y.from, y.to, at(&x, limit) + 6, y.to + 12, 100 * options->keep));
    CLIP_TRY(draw_mixes(&out, mixes, n, options->chosen, &x, &y, error));
    CLIP_TRY(clip_buffer_printf(&out, error, "</svg>\n"));
    CLIP_TRY(clip_file_write(path, out.data, out.size, error));
out:
    clip_buffer_release(&out);
    return status;
}
