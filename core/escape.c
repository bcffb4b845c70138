#include "core/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Reads the code point at `text`. Returns how many bytes it has; 0 if they are not UTF-8. */
static size_t read_point(const unsigned char *text, uint32_t *point)
{
    size_t n = text[0] < 0x80                       ? 1
               : text[0] >= 0xC2 && text[0] <= 0xDF ? 2
               : text[0] >= 0xE0 && text[0] <= 0xEF ? 3
               : text[0] >= 0xF0 && text[0] <= 0xF4 ? 4
                                                    : 0;
    if (n < 2) {
        *point = text[0];
        return n;
    }
    *point = text[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80) return 0; /* the end of the text, too */
        *point = *point << 6 | (text[i] & 0x3Fu);
    }
    bool surrogate = *point >= 0xD800 && *point <= 0xDFFF;
    bool overlong = (n == 3 && *point < 0x800) || (n == 4 && *point < 0x10000);
    return surrogate || overlong || *point > 0x10FFFF ? 0 : n;
}

static bool is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7F && point <= 0x9F) /* C0, DEL, C1 */
           || point == 0x2028 || point == 0x2029            /* separators of lines */
           || point == 0x061C || (point & ~1u) == 0x200E    /* marks of direction */
           || (point >= 0x202A && point <= 0x202E)          /* embeddings, overrides */
           || (point >= 0x2066 && point <= 0x2069);         /* isolates */
}

size_t clip_escape(char *out, size_t capacity, const char *text)
{
    size_t used = 0, taken = 0;
    while (text[taken] != '\0') {
        uint32_t point;
        char spelled[8];
        size_t n = read_point((const unsigned char *)text + taken, &point);
        const char *write = text + taken;
        size_t length = n;
        if (n == 0 || is_control(point)) {
            const char *letter = n == 1 ? strchr("\nn\tt\rr", text[taken]) : NULL;
            if (letter != NULL)
                snprintf(spelled, sizeof spelled, "\\%c", letter[1]);
            else
                snprintf(spelled, sizeof spelled, n > 1 ? "\\u%04x" : "\\x%02x",
                         n > 1 ? (unsigned)point & 0xFFFF : (unsigned char)text[taken]);
            write = spelled;
            length = strlen(spelled);
        }
        if (used + length >= capacity) break;
        memcpy(out + used, write, length);
        used += length;
        taken += n > 0 ? n : 1;
    }
    if (capacity > 0) out[used] = '\0';
    return taken;
}

const char *clip_shown_on(struct clip_shown *to, FILE *stream, const char *text)
{
    static const char more[] = "...";
    if (isatty(fileno(stream)) != 1) return text;
    size_t taken = clip_escape(to->text, sizeof to->text - sizeof more, text);
    if (text[taken] != '\0') strcat(to->text, more);
    return to->text;
}
