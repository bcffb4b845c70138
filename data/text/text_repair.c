#include "data/text/text_clean.h"

#include <string.h>
#include <utf8proc.h>

/* One repair may allow another (&amp;quot;), so they run until nothing changes. Real text needs
 * three rounds. The bound prevents an endless &amp;amp;amp;... from costing the square of its
 * length. */
enum { ROUNDS_MAX = 64 };

/* Is it a Latin ligature or digraph, which stands for several letters, or a form of another
 * width? */
static bool is_compatibility_form(int32_t point)
{
    return point == 0x132 || point == 0x133 || point == 0x149 ||
           (point >= 0x1C4 && point <= 0x1CC) || (point >= 0x1F1 && point <= 0x1F3) ||
           (point >= 0xFB00 && point <= 0xFB06) || (point >= 0xFF01 && point <= 0xFFEF);
}

static int32_t straighten(int32_t point)
{
    if (point == 0x2BC || (point >= 0x2018 && point <= 0x201B)) return '\'';
    if (point >= 0x201C && point <= 0x201F) return '"';
    if (point == '\r' || point == 0x2028 || point == 0x2029 || point == 0x85) return '\n';
    return point;
}

/* Repairs C1 codes, ligatures, widths, quotes and line breaks: each character by itself. */
static clip_status repair_characters(struct clip_points *text, struct clip_error *error)
{
    struct clip_points out = {0};
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < text->count; i++) {
        int32_t point = clip_text_windows_1252(text->at[i]);
        if (point == '\r' && i + 1 < text->count && text->at[i + 1] == '\n') continue;
        int32_t parts[4] = {point};
        utf8proc_ssize_t n = 1;
        if (point == 0x3000) {
            parts[0] = ' ';
            /* long s and t, where compatibility would make a round s of it */
        } else if (point == 0xFB05) {
            parts[0] = 0x17F;
            parts[1] = 't';
            n = 2;
        } else if (is_compatibility_form(point)) {
            int boundary = 0;
            n = utf8proc_decompose_char(point, parts, 4, UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE,
                                        &boundary);
        }
        for (utf8proc_ssize_t k = 0; k < n && k < 4; k++)
            CLIP_TRY(clip_points_add(&out, straighten(parts[k]), error));
    }
    clip_points_swap(text, &out);
out:
    clip_points_release(&out);
    return status;
}

/* The length of a terminal escape (ESC [ digits and semicolons, letter) at text[0]; 0 if there is
 * none. */
static int64_t escape_length(const int32_t *text, int64_t n)
{
    if (n < 3 || text[0] != 0x1B || text[1] != '[') return 0;
    int64_t i = 2;
    while (i < n && (text[i] == ';' || utf8proc_category(text[i]) == UTF8PROC_CATEGORY_ND)) i++;
    if (i == n) return 0;
    return (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ? i + 1 : 0;
}

/* Is it a control character other than white space, or another one that is unfit for text (UTR
 * 20)? */
static bool is_unwanted(int32_t point)
{
    return point <= 8 || point == 0xB || (point >= 0xE && point < 0x20) || point == 0x7F ||
           (point >= 0x206A && point <= 0x206F) || point == 0xFEFF ||
           (point >= 0xFFF9 && point <= 0xFFFC);
}

static void remove_controls(struct clip_points *text)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < text->count;) {
        int64_t escape = escape_length(text->at + i, text->count - i);
        if (escape == 0 && !is_unwanted(text->at[i])) text->at[kept++] = text->at[i];
        i += escape > 0 ? escape : 1;
    }
    text->count = kept;
}

static clip_status copy_points(struct clip_points *out, const int32_t *from, int64_t n,
                               struct clip_error *error)
{
    clip_status status =
        clip_array_grow(&out->at, &out->capacity, out->count + n, sizeof *out->at, error);
    if (status == CLIP_OK && n > 0) {
        memcpy(out->at + out->count, from, (size_t)n * sizeof *from);
        out->count += n;
    }
    return status;
}

/* Repairs one line until nothing changes. */
static clip_status repair_line(struct clip_points *line, bool unescape, struct clip_error *error)
{
    struct clip_points before = {0};
    clip_status status = CLIP_OK;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        before.count = 0;
        CLIP_TRY(copy_points(&before, line->at, line->count, error));
        if (unescape) CLIP_TRY(clip_text_unescape_strict(line, error));
        CLIP_TRY(repair_characters(line, error));
        remove_controls(line);
        CLIP_TRY(clip_points_compose(line, error));
        if (line->count == before.count &&
            (line->count == 0 ||
             memcmp(line->at, before.at, (size_t)line->count * sizeof *line->at) == 0))
            break;
    }
out:
    clip_points_release(&before);
    return status;
}

clip_status clip_text_repair(struct clip_points *text, struct clip_error *error)
{
    struct clip_points line = {0}, out = {0};
    clip_status status = CLIP_OK;
    bool unescape = true; /* a '<' means markup: references stay from that line on */
    for (int64_t start = 0; start < text->count;) {
        int64_t end = start;
        while (end < text->count && text->at[end] != '\n') {
            if (text->at[end] == '<') unescape = false;
            end++;
        }
        if (end < text->count) end++; /* the line includes its line feed */
        line.count = 0;
        CLIP_TRY(copy_points(&line, text->at + start, end - start, error));
        CLIP_TRY(repair_line(&line, unescape, error));
        CLIP_TRY(copy_points(&out, line.at, line.count, error));
        start = end;
    }
    clip_points_swap(text, &out);
out:
    clip_points_release(&line);
    clip_points_release(&out);
    return status;
}
