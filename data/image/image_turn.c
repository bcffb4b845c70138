/* EXIF's orientation (tag 0x0112): reading it from its TIFF structure, and turning the image by
 * it. */
#include <stdlib.h>
#include <string.h>

#include "data/image/image_formats.h"

static uint32_t read_number(const uint8_t *p, int bytes, bool little)
{
    uint32_t value = 0;

    for (int i = 0; i < bytes; i++) value = value << 8 | p[little ? bytes - 1 - i : i];
    return value;
}

/* TIFF 6.0, section 2: a header (byte order, 42, offset of the first directory); a directory is a
 * count and entries of 12 bytes: tag, type, count, value. Orientation is one SHORT. */
int clip_exif_orientation(const uint8_t *exif, size_t n)
{
    const uint8_t *entry;
    bool little;
    size_t at, count;
    uint32_t value;

    if (n < 8) return 0;
    if (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0) return 0;
    little = exif[0] == 'I';
    at = read_number(exif + 4, 4, little);
    if (at > n - 2) return 0;
    count = read_number(exif + at, 2, little);
    for (at += 2; count > 0 && at + 12 <= n; at += 12, count--) {
        entry = exif + at;
        if (read_number(entry, 2, little) != 0x0112) continue;
        if (read_number(entry + 2, 2, little) != 3 || read_number(entry + 4, 4, little) != 1)
            return 0;
        value = read_number(entry + 8, 2, little);
        return value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}

/* What each orientation asks for: 2 mirror left-right, 3 turn by 180 degrees, 4 mirror top-bottom,
 * 5 transpose, 6 turn clockwise, 7 transpose along the other diagonal, 8 turn counter-clockwise.
 * With `swap` the new pixel (x, y) is the old (y, x); a flipped coordinate counts from the far
 * side. */
clip_status clip_image_turn(struct clip_image *image, int orientation, struct clip_error *error)
{
    static const struct {
        bool swap, flip_x, flip_y; /* of the old coordinates */
    } turns[9] = {
        [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
        [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
        [8] = {true, true, false},
    };
    clip_status status;
    struct clip_image turned = {0};
    uint8_t *to;

    if (orientation < 2 || orientation > 8) return CLIP_OK;
    bool swap = turns[orientation].swap;

    status = clip_image_allocate(&turned, swap ? image->height : image->width,
                                 swap ? image->width : image->height, error);
    if (status != CLIP_OK) return status;
    to = turned.rgb;
    for (int64_t y = 0; y < turned.height; y++) {
        for (int64_t x = 0; x < turned.width; x++, to += 3) {
            int64_t old_x = swap ? y : x, old_y = swap ? x : y;

            if (turns[orientation].flip_x) old_x = image->width - 1 - old_x;
            if (turns[orientation].flip_y) old_y = image->height - 1 - old_y;
            memcpy(to, image->rgb + (old_y * image->width + old_x) * 3, 3);
        }
    }
    clip_image_release(image);
    *image = turned;
    return CLIP_OK;
}
