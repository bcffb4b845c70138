#include "tools/columns.h"

#include <math.h>
#include <stdio.h>

#include <utf8proc.h>

#include "core/escape.h"

enum { BAR = 24 };

int clip_columns_width(const char *text)
{
    int width = 0;
    utf8proc_int32_t point;
    text = CLIP_SHOWN(text);
    for (utf8proc_ssize_t n; *text != '\0'; text += n) {
        n = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &point);
        if (n < 1) n = 1, point = '?';
        width += utf8proc_charwidth(point);
    }
    return width;
}

void clip_columns_print(const char *text, int width)
{
    int own = clip_columns_width(text);
    printf("%s%*s", CLIP_SHOWN(text), width > own ? width - own : 0, "");
}

int clip_columns_widest(const char *const *texts, int64_t n, int most)
{
    int widest = 0;
    for (int64_t i = 0; i < n; i++) {
        int width = clip_columns_width(texts[i]);
        if (width > widest) widest = width;
    }
    return widest < most ? widest : most;
}

void clip_columns_bar(double share)
{
    for (int b = 0; b < (int)lround(BAR * share); b++) fputs("█", stdout);
}
