#include "data/text/text_points.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void clip_points_release(struct clip_points *points)
{
    free(points->at);
    *points = (struct clip_points){0};
}

clip_status clip_points_add(struct clip_points *points, int32_t point, struct clip_error *error)
{
    if (points->count == points->capacity) {
        clip_status status = clip_array_grow(&points->at, &points->capacity, points->count + 64,
                                             sizeof *points->at, error);
        if (status != CLIP_OK) return status;
    }
    points->at[points->count++] = point;
    return CLIP_OK;
}

void clip_points_swap(struct clip_points *a, struct clip_points *b)
{
    struct clip_points keep = *a;
    *a = *b;
    *b = keep;
}

/* The code point at text[0]; *used becomes its length. -1: the bytes are not UTF-8 (RFC 3629). */
static int32_t decode_one(const unsigned char *text, size_t n, int *used)
{
    static const int32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    int length = first < 0x80   ? 1
                 : first < 0xC2 ? 0
                 : first < 0xE0 ? 2
                 : first < 0xF0 ? 3
                 : first < 0xF5 ? 4
                                : 0;
    if (length == 0 || (size_t)length > n) return -1;
    int32_t point = length == 1 ? first : first & (0x7F >> length);
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) return -1;
        point = point << 6 | (text[i] & 0x3F);
    }
    if (point < smallest[length] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
        return -1;
    *used = length;
    return point;
}

clip_status clip_points_decode(struct clip_points *out, const char *text, size_t n,
                               struct clip_error *error)
{
    if (n > INT64_MAX / 8) return clip_fail(error, CLIP_ERR_MEMORY, "a text is too long to read");
    clip_status status =
        clip_array_grow(&out->at, &out->capacity, out->count + (int64_t)n, sizeof *out->at, error);
    for (size_t i = 0; status == CLIP_OK && i < n;) {
        int used = 1;
        int32_t point = decode_one((const unsigned char *)text + i, n - i, &used);
        if (point < 0) {
            return clip_fail(error, CLIP_ERR_DATA,
                             "the text is not UTF-8 at byte %zu (0x%02X); save it as UTF-8", i,
                             (unsigned char)text[i]);
        }
        out->at[out->count++] = point;
        i += (size_t)used;
    }
    return status;
}

clip_status clip_points_encode(const struct clip_points *points, struct clip_buffer *out,
                               struct clip_error *error)
{
    char chunk[1024];
    size_t used = 0;
    for (int64_t i = 0; i < points->count; i++) {
        used += (size_t)utf8proc_encode_char(points->at[i], (utf8proc_uint8_t *)chunk + used);
        if (used + 4 > sizeof chunk || i + 1 == points->count) {
            clip_status status = clip_buffer_append(out, chunk, used, error);
            if (status != CLIP_OK) return status;
            used = 0;
        }
    }
    return CLIP_OK;
}

/* Sorts a run of combining marks by their combining class and keeps the order within a class (UAX
 * 15, canonical ordering). It counts instead of comparing, because a text may be one long run of
 * marks. */
static void sort_marks(int32_t *run, int64_t n, int32_t *scratch)
{
    int64_t start[256] = {0};
    for (int64_t i = 0; i < n; i++) {
        unsigned class = (unsigned)utf8proc_get_property(run[i])->combining_class;
        if (class < 255) start[class + 1]++;
    }
    for (int class = 1; class < 256; class ++) start[class] += start[class - 1];
    for (int64_t i = 0; i < n; i++)
        scratch[start[utf8proc_get_property(run[i])->combining_class]++] = run[i];
    memcpy(run, scratch, (size_t)n * sizeof *run);
}

static clip_status order_marks(struct clip_points *points, struct clip_error *error)
{
    int32_t *scratch = clip_array_new(points->count, sizeof *scratch, error);
    if (scratch == NULL) return CLIP_ERR_MEMORY;
    for (int64_t i = 0; i < points->count;) {
        int64_t end = i;
        while (end < points->count && utf8proc_get_property(points->at[end])->combining_class != 0)
            end++;
        if (end - i > 1) sort_marks(points->at + i, end - i, scratch);
        i = end + 1;
    }
    free(scratch);
    return CLIP_OK;
}

clip_status clip_points_compose(struct clip_points *points, struct clip_error *error)
{
    struct clip_points parts = {0};
    clip_status status = CLIP_OK;
    int64_t plain = 0; /* nothing below U+0300 composes or moves */
    while (plain < points->count && points->at[plain] < 0x300) plain++;
    if (plain == points->count) return CLIP_OK;
    for (int64_t i = 0; i < points->count; i++) {
        int32_t piece[8]; /* the longest canonical decomposition has four characters */
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char(points->at[i], piece, 8, UTF8PROC_DECOMPOSE, &boundary);
        for (utf8proc_ssize_t k = 0; k < n && k < 8; k++)
            CLIP_TRY(clip_points_add(&parts, piece[k], error));
    }
    CLIP_TRY(order_marks(&parts, error));
    utf8proc_ssize_t left =
        utf8proc_normalize_utf32(parts.at, parts.count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (left < 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_DATA, "a text cannot be normalised: %s",
                           utf8proc_errmsg(left)));
    parts.count = left;
    clip_points_swap(points, &parts);
out:
    clip_points_release(&parts);
    return status;
}

/* Unicode's Case_Ignorable: marks, format and modifier characters, and characters that are allowed
 * inside a word (Word_Break MidLetter, MidNumLet, Single_Quote). */
static bool is_case_ignorable(int32_t point)
{
    static const int32_t inside[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                     0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                     0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
        if (inside[i] == point) return true;
    switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return false;
    }
}

/* Unicode's Cased, for characters that are not Case_Ignorable: letters with case, the two ordinals,
 * Roman numerals, and circled, squared and negative letters. */
static bool is_cased(int32_t point)
{
    switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT: return true;
    default:
        return point == 0xAA || point == 0xBA || (point >= 0x2160 && point <= 0x217F) ||
               (point >= 0x24B6 && point <= 0x24E9) || (point >= 0x1F130 && point <= 0x1F149) ||
               (point >= 0x1F150 && point <= 0x1F169) || (point >= 0x1F170 && point <= 0x1F189);
    }
}

/* SpecialCasing.txt, Final_Sigma: there is a cased letter before and none after; ignorable
 * characters between are skipped. */
static bool ends_word(const struct clip_points *points, int64_t at)
{
    int64_t i = at - 1;
    while (i >= 0 && is_case_ignorable(points->at[i])) i--;
    if (i < 0 || !is_cased(points->at[i])) return false;
    i = at + 1;
    while (i < points->count && is_case_ignorable(points->at[i])) i++;
    return i == points->count || !is_cased(points->at[i]);
}

clip_status clip_points_lower(struct clip_points *points, bool final_sigma,
                              struct clip_error *error)
{
    struct clip_points lower = {0};
    clip_status status = CLIP_OK;
    CLIP_TRY(clip_array_grow(&lower.at, &lower.capacity, points->count, sizeof *lower.at, error));
    for (int64_t i = 0; i < points->count; i++) {
        int32_t point = points->at[i];
        if (point < 0x80) {
            if (point >= 'A' && point <= 'Z') point += 'a' - 'A';
        } else if (point == 0x130) { /* capital I with a dot becomes i and the dot */
            CLIP_TRY(clip_points_add(&lower, 'i', error));
            point = 0x307;
        } else if (point == 0x3A3) {
            point = final_sigma && ends_word(points, i) ? 0x3C2 : 0x3C3;
        } else {
            point = utf8proc_tolower(point);
        }
        CLIP_TRY(clip_points_add(&lower, point, error));
    }
    clip_points_swap(points, &lower);
out:
    clip_points_release(&lower);
    return status;
}

bool clip_point_is_space(int32_t point, bool python)
{
    if (point < 0x80) {
        return point == ' ' || (point >= '\t' && point <= '\r') ||
               (python && point >= 0x1C && point <= 0x1F);
    }
    return point == 0x85 || point == 0xA0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 ||
           point == 0x202F || point == 0x205F || point == 0x3000;
}

void clip_points_squeeze(struct clip_points *points, bool python)
{
    int64_t kept = 0;
    bool gap = false;
    for (int64_t i = 0; i < points->count; i++) {
        int32_t point = points->at[i];
        if (clip_point_is_space(point, python)) {
            gap = kept > 0;
            continue;
        }
        if (gap) points->at[kept++] = ' ';
        gap = false;
        points->at[kept++] = point;
    }
    points->count = kept;
}
