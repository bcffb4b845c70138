/* A check's report as one HTML file that needs nothing from outside: numbers, histograms as bars,
 * and small copies of images that are alike. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/markup.h"
#include "data/sets/check_internal.h"

enum { SHOWN_BAD = 500, SHOWN_PAIRS = 60, THUMBNAIL = 112 };

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c1c1e;--soft:#6b6b70;--line:#d9d9de;"
    "--bar:#3b6fd4;--warn:#b3261e}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#17171a;--fg:#eceef0;--soft:#9a9aa2;"
    "--line:#37373d;--bar:#7aa2f7;--warn:#ff8a80}}\n"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "background:var(--bg);color:var(--fg)}\n"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}.soft{color:var(--soft)}\n"
    "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(9rem,1fr));gap:.8rem}\n"
    "dl div{border:1px solid var(--line);border-radius:.5rem;padding:.5rem .8rem}\n"
    "dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.3rem}"
    ".warn dd{color:var(--warn)}\n"
    "table{border-collapse:collapse}td,th{padding:.15rem .6rem;text-align:right}"
    "td.bar{width:22rem;text-align:left}td.bar i{display:block;height:.8rem;background:var(--bar);"
    "border-radius:.2rem}\n"
    "li{overflow-wrap:anywhere}figure{display:inline-block;margin:.4rem;width:15rem;"
    "vertical-align:top}\n"
    "figure img{max-width:7rem;max-height:7rem}figcaption{font-size:.8rem;color:var(--soft);"
    "overflow-wrap:anywhere}\n";

/* The page while it is written. Failures on the way are reported at its end. */
struct page {
    FILE *stream;
    struct clip_buffer room; /* memory for text that is being escaped, and for images */
    clip_status status;
    struct clip_error *error;
};

/* Writes what is in page->room, if `status` says that it could be made. */
static void put_room(struct page *page, clip_status status)
{
    if (status == CLIP_OK)
        fwrite(page->room.data, 1, page->room.size, page->stream);
    else
        page->status = status;
    page->room.size = 0;
}

static void put_text(struct page *page, const char *text)
{
    put_room(page, text[0] == '\0' ? CLIP_OK : clip_markup_text(&page->room, text, page->error));
}

static void put_figure(FILE *stream, const char *what, int64_t value, bool warn)
{
    fprintf(stream, "<div%s><dt>%s</dt><dd>%lld</dd></div>\n",
            warn && value > 0 ? " class=warn" : "", what, (long long)value);
}

static void put_histogram(FILE *stream, const char *what,
                          const struct clip_check_histogram *histogram)
{
    int64_t most = 1;
    if (histogram->measured == 0) return;
    for (int i = 0; i < CLIP_CHECK_BINS; i++)
        if (histogram->bins[i] > most) most = histogram->bins[i];
    fprintf(stream, "<h2>%s</h2>\n<p class=soft>%lld to %lld, median %lld</p>\n<table>\n", what,
            (long long)histogram->range.min, (long long)histogram->range.max,
            (long long)histogram->range.median);
    for (int i = 0; i < CLIP_CHECK_BINS; i++) {
        int64_t low, high;
        clip_check_bin(histogram, i, &low, &high);
        if (low > histogram->range.max || high < histogram->range.min) continue;
        fprintf(stream,
                "<tr><td>%lld&ndash;%lld</td><td class=bar><i style=\"width:%.1f%%\"></i></td>"
                "<td>%lld</td></tr>\n",
                (long long)low, (long long)high, 100.0 * (double)histogram->bins[i] / (double)most,
                (long long)histogram->bins[i]);
    }
    fputs("</table>\n", stream);
}

/* Makes a small copy of the sample's image; false: it cannot be shown, which is no error here. */
static bool make_thumbnail(const struct clip_dataset *dataset, int64_t sample,
                           struct clip_buffer *png)
{
    clip_status status = CLIP_OK;
    const struct clip_image_limits limits = {.max_pixels = CLIP_IMAGE_MAX_PIXELS,
                                             .enough = THUMBNAIL};
    struct clip_error ignored, *error = &ignored;
    struct clip_sample read = {0};
    struct clip_image image = {0}, small = {0};
    CLIP_TRY(dataset->ops->read(dataset, sample, NULL, &read, error));
    CLIP_TRY(clip_image_decode((const uint8_t *)read.image.data, read.image.size, &limits, &image,
                               error));
    double scale = THUMBNAIL / (double)(image.width > image.height ? image.width : image.height);
    if (scale > 1) scale = 1;
    small.width = (int64_t)((double)image.width * scale + 0.5);
    small.height = (int64_t)((double)image.height * scale + 0.5);
    if (small.width < 1) small.width = 1;
    if (small.height < 1) small.height = 1;
    CLIP_NEW(small.rgb, small.width * small.height * 3);
    CLIP_TRY(clip_image_resize(&small, &image, CLIP_BILINEAR, error));
    CLIP_TRY(clip_image_encode_png(&small, png, error));
out:
    clip_image_release(&image);
    clip_image_release(&small);
    clip_sample_release(&read);
    return status == CLIP_OK;
}

static void put_image(struct page *page, const struct clip_dataset *dataset, int64_t sample)
{
    struct clip_buffer png = {0};
    if (make_thumbnail(dataset, sample, &png)) {
        fputs("<img alt=\"\" src=\"data:image/png;base64,", page->stream);
        put_room(page, clip_markup_base64(&page->room, png.data, png.size, page->error));
        fputs("\">", page->stream);
    }
    clip_buffer_release(&png);
}

static void put_pairs(struct page *page, const char *title, const struct clip_check_pairs *pairs,
                      const struct clip_dataset *dataset, const struct clip_dataset *other)
{
    FILE *stream = page->stream;
    if (pairs->count == 0) return;
    fprintf(stream, "<h2>%s (%lld)</h2>\n", title, (long long)pairs->count);
    for (int64_t i = 0; i < pairs->count && i < SHOWN_PAIRS; i++) {
        const struct clip_check_pair *pair = &pairs->items[i];
        fputs("<figure>", stream);
        put_image(page, dataset, pair->sample);
        put_image(page, other, pair->first_sample);
        fputs("<figcaption>", stream);
        put_text(page, pair->name);
        fputs(pair->near ? " looks like " : " is ", stream);
        put_text(page, pair->first);
        fputs("</figcaption></figure>\n", stream);
    }
    if (pairs->count > SHOWN_PAIRS)
        fprintf(stream, "<p class=soft>and %lld more</p>\n",
                (long long)(pairs->count - SHOWN_PAIRS));
}

static void put_bad(struct page *page, const struct clip_check_report *report)
{
    FILE *stream = page->stream;
    if (report->bad_count == 0) return;
    fprintf(stream, "<h2>Bad samples (%lld)</h2>\n<ul>\n", (long long)report->bad_count);
    for (int64_t i = 0; i < report->bad_count && i < SHOWN_BAD; i++) {
        fputs("<li>", stream);
        put_text(page, report->bad[i].reason);
        fputs("</li>\n", stream);
    }
    fputs("</ul>\n", stream);
    if (report->bad_count > SHOWN_BAD)
        fprintf(stream, "<p class=soft>and %lld more</p>\n",
                (long long)(report->bad_count - SHOWN_BAD));
}

static void put_figures(FILE *stream, const struct clip_check_report *report)
{
    fputs("<dl>\n", stream);
    put_figure(stream, "samples", report->samples, false);
    put_figure(stream, "good", report->good, false);
    put_figure(stream, "bad", report->bad_count, true);
    put_figure(stream, "images", report->images, false);
    put_figure(stream, "same bytes", report->duplicates.count, true);
    put_figure(stream, "look alike", report->near.count, true);
    put_figure(stream, "tiny", report->tiny, true);
    put_figure(stream, "captions", report->captions, false);
    put_figure(stream, "repeated captions", report->repeated_captions, false);
    put_figure(stream, "repeated pairs", report->repeated_pairs, true);
    put_figure(stream, "empty captions", report->empty_captions, true);
    if (report->context_length > 0)
        put_figure(stream, "over the context", report->over_context, true);
    if (report->against != NULL) {
        put_figure(stream, "leaked images", report->leaks.count, true);
        put_figure(stream, "leaked captions", report->leaked_captions, true);
    }
    fputs("</dl>\n", stream);
}

clip_status clip_check_write_html(const char *path, const struct clip_check_report *report,
                                  const char *name, const struct clip_dataset *dataset,
                                  const struct clip_dataset *against, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_atomic file = {0};
    struct page page = {.error = error};
    CLIP_TRY(clip_atomic_begin(&file, path, error));
    FILE *stream = page.stream = file.stream;
    fputs("<!doctype html>\n<html lang=en><meta charset=utf-8>\n<meta name=viewport "
          "content=\"width=device-width\">\n<title>",
          stream);
    put_text(&page, name);
    fprintf(stream, "</title>\n<style>\n%s</style>\n<h1>", style);
    put_text(&page, name);
    fprintf(stream, "</h1>\n<p class=soft>%s", report->format);
    if (report->against != NULL) {
        fputs(", compared with ", stream);
        put_text(&page, report->against);
    }
    fputs("</p>\n", stream);
    put_figures(stream, report);
    put_bad(&page, report);
    put_pairs(&page, "Leaks: also in the other set", &report->leaks, dataset, against);
    put_pairs(&page, "Images with the same bytes", &report->duplicates, dataset, dataset);
    put_pairs(&page, "Images that look alike", &report->near, dataset, dataset);
    put_histogram(stream, "Short side in pixels", &report->short_side);
    put_histogram(stream, "File size in kB", &report->kilobytes);
    put_histogram(stream, "Caption length in characters", &report->characters);
    put_histogram(stream, "Caption length in tokens", &report->tokens);
    fputs("</html>\n", stream);
    CLIP_TRY(page.status);
    CLIP_TRY(clip_atomic_commit(&file, error));
out:
    clip_buffer_release(&page.room);
    clip_atomic_abort(&file);
    return status;
}
