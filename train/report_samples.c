/* The part of report.html that shows pairs: the similarity matrix, and images with captions. */
#include <math.h>

#include "core/count.h"
#include "core/markup.h"
#include "data/image/image.h"
#include "train/report_parts.h"

enum { STRIP = 12, BEST_CAPTIONS = 3, CELL = 12, SCALE = 64 };

/* 0 to 1 as a colour from dark blue over green to yellow: five points of viridis (van der Walt and
 * Smith 2015), whose brightness rises evenly. */
static void heat(uint8_t rgb[3], double part)
{
    static const uint8_t points[5][3] = {
        {68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}};
    double at = fmin(fmax(part, 0), 1) * 4;
    int k = at >= 4 ? 3 : (int)at;
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)lrint(points[k][c] + (at - k) * (points[k + 1][c] - points[k][c]));
}

static clip_status add_drawing(struct clip_buffer *page, const struct clip_image *image,
                               const char *attributes, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer png = {0};
    CLIP_TRY(clip_image_encode_png(image, &png, error));
    PAGE("<img %s src=\"data:image/png;base64,", attributes);
    CLIP_TRY(clip_markup_base64(page, png.data, png.size, error));
    PAGE("\">");
out:
    clip_buffer_release(&png);
    return status;
}

/* ---- the matrix ---- */

struct spread {
    double least, most, pairs, others; /* of all cosines; the means of own and of other captions */
};

static struct spread spread_of(const struct clip_samples *s)
{
    struct spread x = {INFINITY, -INFINITY, 0, 0};
    int64_t own = 0, others = 0;
    for (int64_t i = 0; i < s->count * s->count; i++) {
        double v = (double)s->cosines[i];
        x.least = fmin(x.least, v);
        x.most = fmax(x.most, v);
        if (s->fits[i])
            x.pairs += v, own++;
        else
            x.others += v, others++;
    }
    x.pairs /= (double)own;
    x.others = others > 0 ? x.others / (double)others : NAN;
    return x;
}

static clip_status add_matrix(struct clip_buffer *page, const struct clip_samples *s,
                              struct clip_error *error)
{
    clip_status status;
    uint8_t cells[CLIP_SAMPLES_MOST * CLIP_SAMPLES_MOST * 3], colours[SCALE * 3];
    struct spread x = spread_of(s);
    const struct clip_image matrix = {s->count, s->count, cells}, scale = {SCALE, 1, colours};
    double range = x.most > x.least ? x.most - x.least : 1;
    char text[256];
    for (int64_t i = 0; i < s->count * s->count; i++)
        heat(cells + 3 * i, ((double)s->cosines[i] - x.least) / range);
    for (int i = 0; i < SCALE; i++) heat(colours + 3 * i, (double)i / (SCALE - 1));
    PAGE("<h2>Similarity of %s</h2>\n<div class=\"card\">\n<p class=\"soft\">A row is an "
         "image, a column a caption; the diagonal is each image with its own. Mean cosine of "
         "pairs %.3f",
         CLIP_COUNT(s->count, s->of_validation ? "validation pair" : "training pair"), x.pairs);
    if (isfinite(x.others)) PAGE(", of the others %.3f", x.others);
    PAGE(".</p>\n");
    snprintf(text, sizeof text,
             "class=\"matrix\" width=\"%lld\" height=\"%lld\" alt=\"cosines of %s by %s\"",
             (long long)s->count * CELL, (long long)s->count * CELL, CLIP_COUNT(s->count, "image"),
             CLIP_COUNT(s->count, "caption"));
    CLIP_TRY(add_drawing(page, &matrix, text, error));
    PAGE("<div class=\"scale\">%.2f ", x.least);
    CLIP_TRY(add_drawing(page, &scale, "alt=\"\"", error));
    PAGE(" %.2f</div>\n</div>\n", x.most);
out:
    return status;
}

/* ---- the strip ---- */

static clip_status add_caption(struct clip_buffer *page, const struct clip_samples *s, int64_t i,
                               int64_t j, int64_t rank, struct clip_error *error)
{
    clip_status status;
    bool own = s->fits[i * s->count + j];
    PAGE("<li class=\"%s\"><span class=\"score\">%lld&nbsp;&nbsp;%.3f</span>%s ",
         own ? "right" : "wrong", (long long)rank, (double)s->cosines[i * s->count + j],
         own ? "&#10003;" : "&#10007;");
    PAGE_TEXT(s->captions[j]);
    PAGE("</li>\n");
out:
    return status;
}

/* The best captions, and the first of its own where that is not among them. */
static clip_status add_sample(struct clip_buffer *page, const struct clip_samples *s, int64_t i,
                              struct clip_error *error)
{
    clip_status status;
    int64_t order[CLIP_SAMPLES_MOST];
    bool found = false;
    const struct clip_image image = {s->side, s->side, s->images + i * s->side * s->side * 3};
    clip_samples_rank(s, i, order);
    PAGE("<figure class=\"card\">");
    CLIP_TRY(add_drawing(page, &image, "width=\"96\" height=\"96\" alt=\"\"", error));
    PAGE("<figcaption><ol>\n");
    for (int64_t k = 0; k < s->count && (k < BEST_CAPTIONS || !found); k++) {
        bool own = s->fits[i * s->count + order[k]];
        if (k < BEST_CAPTIONS || own) CLIP_TRY(add_caption(page, s, i, order[k], k + 1, error));
        found = found || own;
    }
    PAGE("</ol></figcaption></figure>\n");
out:
    return status;
}

clip_status clip_page_samples(struct clip_buffer *page, const struct clip_samples *s,
                              struct clip_error *error)
{
    clip_status status;
    int64_t order[CLIP_SAMPLES_MOST], right = 0, shown = s->count < STRIP ? s->count : STRIP;
    if (s->count == 0) return CLIP_OK;
    CLIP_TRY(add_matrix(page, s, error));
    for (int64_t i = 0; i < s->count; i++) {
        clip_samples_rank(s, i, order);
        right += s->fits[i * s->count + order[0]];
    }
    PAGE("<h2>Images and their best captions</h2>\n<p class=\"soft\">Among the same %s, %lld of %s "
         "have one of their own first (&#10003;).</p>\n<div class=\"strip\">\n",
         CLIP_COUNT(s->count, "caption"), (long long)right, CLIP_COUNT(s->count, "image"));
    for (int64_t i = 0; i < shown; i++) CLIP_TRY(add_sample(page, s, i * s->count / shown, error));
    PAGE("</div>\n");
out:
    return status;
}
