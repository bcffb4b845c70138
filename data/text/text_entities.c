#include "data/text/text_clean.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/text/html_entities.h"

enum { NAME_MAX_POINTS = 32 }; /* html.unescape looks at no longer name */

static int compare_names(const void *name, const void *entity)
{
    return strcmp(name, ((const struct clip_html_entity *)entity)->name);
}

/* The entity of that name; NULL if there is none. */
static const struct clip_html_entity *find_entity(const int32_t *name, int64_t n)
{
    char text[NAME_MAX_POINTS];
    if (n >= NAME_MAX_POINTS) return NULL;
    for (int64_t i = 0; i < n; i++) {
        if (name[i] >= 0x80 || name[i] == 0) return NULL;
        text[i] = (char)name[i];
    }
    text[n] = '\0';
    return bsearch(text, clip_html_entities, (size_t)clip_html_entity_count,
                   sizeof clip_html_entities[0], compare_names);
}

static clip_status add_entity(struct clip_points *out, const struct clip_html_entity *entity,
                              struct clip_error *error)
{
    clip_status status = clip_points_add(out, entity->points[0], error);
    if (status != CLIP_OK || entity->points[1] == 0) return status;
    return clip_points_add(out, entity->points[1], error);
}

int32_t clip_text_windows_1252(int32_t byte)
{
    static const int32_t table[32] = {
        0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6,  0x2030, 0x160,
        0x2039, 0x152,  0x8D,   0x17D,  0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x2DC,  0x2122, 0x161,  0x203A, 0x153,  0x9D,   0x17E,  0x178};
    return byte >= 0x80 && byte <= 0x9F ? table[byte - 0x80] : byte;
}

/* The character that a numeric reference stands for; -1 if it stands for none and vanishes. */
static int32_t numbered(int32_t number)
{
    if (number == 0 || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000)) return 0xFFFD;
    if (number >= 0x80 && number <= 0x9F) return clip_text_windows_1252(number);
    if (number < 0x20 && !(number >= 9 && number <= 13 && number != 11)) return -1;
    if (number == 0x7F || (number >= 0xFDD0 && number <= 0xFDEF) || (number & 0xFFFE) == 0xFFFE)
        return -1;
    return number;
}

static int digit_value(int32_t point, int base)
{
    int value = point >= '0' && point <= '9'   ? point - '0'
                : point >= 'a' && point <= 'f' ? point - 'a' + 10
                : point >= 'A' && point <= 'F' ? point - 'A' + 10
                                               : 99;
    return value < base ? value : -1;
}

/* Reads &#10; or &#xA at text[0], with the end at text[n]. Returns how many code points it takes, 0
 * if there is no such reference. The semicolon is optional. */
static int64_t read_number(const int32_t *text, int64_t n, int32_t *number)
{
    if (n < 3 || text[0] != '&' || text[1] != '#') return 0;
    int base = text[2] == 'x' || text[2] == 'X' ? 16 : 10;
    int64_t first = base == 16 ? 3 : 2, i = first;
    *number = 0;
    for (; i < n && digit_value(text[i], base) >= 0; i++) {
        int32_t value = *number * base + digit_value(text[i], base);
        *number = value > 0x10FFFF ? 0x110000 : value; /* 0x110000 * 16 fits */
    }
    if (i == first) return 0;
    return i < n && text[i] == ';' ? i + 1 : i;
}

static bool ends_name(int32_t point)
{
    return point == '\t' || point == '\n' || point == '\f' || point == ' ' || point == '<' ||
           point == '&' || point == '#' || point == ';';
}

/* Reads &name; or &name at text[0] and adds what it stands for to `out`. Returns how many code
 * points it takes; 0 if no prefix of it is known, and then nothing is added. */
static int64_t read_name(struct clip_points *out, const int32_t *text, int64_t n,
                         clip_status *status, struct clip_error *error)
{
    const int32_t *name = text + 1;
    int64_t length = 0;
    while (length < NAME_MAX_POINTS && length + 1 < n && !ends_name(name[length])) length++;
    if (length + 1 < n && name[length] == ';') {
        const struct clip_html_entity *entity = find_entity(name, length);
        if (entity != NULL) {
            *status = add_entity(out, entity, error);
            return length + 2;
        }
    }
    for (; length > 1; length--) {
        const struct clip_html_entity *entity = find_entity(name, length);
        if (entity != NULL && entity->bare) {
            *status = add_entity(out, entity, error);
            return length + 1;
        }
    }
    return 0;
}

clip_status clip_text_unescape(struct clip_points *text, struct clip_error *error)
{
    struct clip_points out = {0};
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < text->count;) {
        const int32_t *here = text->at + i;
        int64_t left = text->count - i;
        int32_t number = 0;
        int64_t taken = read_number(here, left, &number);
        if (taken > 0) {
            int32_t point = numbered(number);
            if (point >= 0) CLIP_TRY(clip_points_add(&out, point, error));
        } else if (*here == '&') {
            taken = read_name(&out, here, left, &status, error);
            CLIP_TRY(status);
        }
        if (taken == 0) {
            CLIP_TRY(clip_points_add(&out, *here, error));
            taken = 1;
        }
        i += taken;
    }
    clip_points_swap(text, &out);
out:
    clip_points_release(&out);
    return status;
}

static bool is_alnum(int32_t point)
{
    return (point >= '0' && point <= '9') || (point >= 'a' && point <= 'z') ||
           (point >= 'A' && point <= 'Z');
}

/* Adds the character of a name in capitals that html.unescape does not know but whose small form it
 * does: the small form's characters as capitals. false: there is no such name. */
static bool add_capital_entity(struct clip_points *out, const int32_t *name, int64_t n,
                               clip_status *status, struct clip_error *error)
{
    int32_t small[NAME_MAX_POINTS];
    if (n >= NAME_MAX_POINTS) return false;
    for (int64_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z') return false;
        small[i] = name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i];
    }
    const struct clip_html_entity *entity = find_entity(small, n);
    if (entity == NULL) return false;
    for (int64_t length = n; length > 1; length--) {
        const struct clip_html_entity *prefix = find_entity(name, length);
        if (prefix != NULL && prefix->bare) return false;
    }
    for (int k = 0; k < 2 && *status == CLIP_OK; k++) {
        int32_t point = entity->points[k];
        if (k == 1 && point == 0) break;
        if (point == 0xDF) { /* sharp s becomes two capitals */
            *status = clip_points_add(out, 'S', error);
            if (*status == CLIP_OK) *status = clip_points_add(out, 'S', error);
        } else {
            *status = clip_points_add(out, utf8proc_toupper(point), error);
        }
    }
    return true;
}

/* Replaces one reference of `length` points, with & and ;. false: it stays. */
static bool add_strict(struct clip_points *out, const int32_t *text, int64_t length,
                       clip_status *status, struct clip_error *error)
{
    if (text[1] == '#') {
        int32_t number = 0;
        if (read_number(text, length, &number) != length || numbered(number) == ';') return false;
        if (numbered(number) >= 0) *status = clip_points_add(out, numbered(number), error);
        return true;
    }
    const struct clip_html_entity *entity = find_entity(text + 1, length - 2);
    if (entity != NULL) {
        *status = add_entity(out, entity, error);
        return true;
    }
    return add_capital_entity(out, text + 1, length - 2, status, error);
}

clip_status clip_text_unescape_strict(struct clip_points *text, struct clip_error *error)
{
    struct clip_points out = {0};
    clip_status status = CLIP_OK;
    for (int64_t i = 0; i < text->count;) {
        const int32_t *here = text->at + i;
        int64_t left = text->count - i, end = 1;
        if (*here == '&') {
            if (end < left && here[end] == '#') end++;
            int64_t first = end;
            while (end < left && end - first < 24 && is_alnum(here[end])) end++;
            if (end > first && end < left && here[end] == ';' &&
                add_strict(&out, here, end + 1, &status, error)) {
                CLIP_TRY(status);
                i += end + 1;
                continue;
            }
        }
        CLIP_TRY(clip_points_add(&out, *here, error));
        i++;
    }
    clip_points_swap(text, &out);
out:
    clip_points_release(&out);
    return status;
}
