/* The parts of report.html that tell how the run was started, and its logs as numbers. */
#include <math.h>
#include <string.h>

#include "core/count.h"
#include "core/markup.h"
#include "train/report_parts.h"

enum { ROWS = 50 }; /* of a log */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

clip_status clip_page_warnings(struct clip_buffer *page, const json_t *starts,
                               struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t s, w;
    bool any = false;
    json_t *start, *warning;
    json_array_foreach((json_t *)(uintptr_t)starts, s, start)
    {
        json_array_foreach(json_object_get(start, "warnings"), w, warning)
        {
            const char *text = json_string_value(warning);
            if (text == NULL) continue;
            if (!any) PAGE("<h2>Warnings of the start</h2>\n<ul class=\"card warnings\">\n");
            any = true;
            PAGE("<li>");
            PAGE_TEXT(text);
            PAGE("</li>\n");
        }
    }
    if (any) PAGE("</ul>\n");
out:
    return status;
}

clip_status clip_page_starts(struct clip_buffer *page, const json_t *starts,
                             struct clip_error *error)
{
    clip_status status = CLIP_OK;
    size_t s;
    json_t *start;
    if (json_array_size(starts) == 0) return CLIP_OK;
    PAGE("<h2>Command and machine</h2>\n");
    json_array_foreach((json_t *)(uintptr_t)starts, s, start)
    {
        long long step = number_of(start, "step");
        PAGE("<div class=\"card start\"><p class=\"soft\">");
        PAGE_TEXT(text_of(start, "time"));
        if (step > 0)
            PAGE(", resumed at step %lld", step);
        else
            PAGE(", started");
        PAGE("</p>\n");
        if (text_of(start, "command")[0] != '\0') {
            PAGE("<pre class=\"command\">");
            PAGE_TEXT(text_of(start, "command"));
            PAGE("</pre>\n");
        }
        PAGE("<p>");
        PAGE_TEXT(text_of(start, "cpu"));
        if (number_of(start, "processes") > 1)
            PAGE(", %s", CLIP_COUNT(number_of(start, "processes"), "process"));
        PAGE(", %s, kernels ", CLIP_COUNT(number_of(start, "threads"), "thread"));
        PAGE_TEXT(text_of(start, "kernels"));
        PAGE(", clip.c ");
        PAGE_TEXT(text_of(start, "version"));
        PAGE("</p></div>\n");
    }
out:
    return status;
}

/* ---- logs as numbers ---- */

static clip_status add_row(struct clip_buffer *page, const struct clip_history *h, int64_t row,
                           struct clip_error *error)
{
    clip_status status;
    PAGE("<tr>");
    for (int64_t c = 0; c < h->count; c++) {
        double value = h->columns[c].values[row];
        if (isfinite(value))
            PAGE("<td class=\"n\">%.6g</td>", value);
        else
            PAGE("<td class=\"n\"></td>");
    }
    PAGE("</tr>\n");
out:
    return status;
}

clip_status clip_page_numbers(struct clip_buffer *page, const char *title,
                              const struct clip_history *h, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    int64_t every = (h->rows + ROWS - 1) / ROWS;
    if (h->rows == 0) return CLIP_OK;
    PAGE("<details class=\"card\"><summary>%s", title);
    if (every > 1) PAGE(", one row in %lld", (long long)every);
    PAGE("</summary><div class=\"scroll\"><table><thead><tr>");
    for (int64_t c = 0; c < h->count; c++) {
        PAGE("<th class=\"n\">");
        PAGE_TEXT(h->columns[c].key);
        PAGE("</th>");
    }
    PAGE("</tr></thead><tbody>\n");
    for (int64_t row = 0; row < h->rows; row += every) CLIP_TRY(add_row(page, h, row, error));
    if ((h->rows - 1) % every != 0) CLIP_TRY(add_row(page, h, h->rows - 1, error));
    PAGE("</tbody></table></div></details>\n");
out:
    return status;
}
