/* BMP: uncompressed images of 1, 4, 8, 16, 24 or 32 bits per pixel (Microsoft's BITMAPCOREHEADER,
 * BITMAPINFOHEADER, BITMAPV4HEADER, BITMAPV5HEADER). Run-length compression is not read. */
#include "data/image/image_formats.h"

struct bmp {
    int64_t width, height;
    bool top_down;
    size_t header_size, pixels_at, stride;
    int bits, compression;
    size_t colours; /* entries of the palette, and bytes of each of them */
    size_t colour_size;
    uint32_t masks[3]; /* of red, green and blue, for 16 and 32 bits */
};

static uint32_t u16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

static uint32_t u32(const uint8_t *p) { return u16(p) | u16(p + 2) << 16; }

static clip_status fail_kind(const char *what, uint32_t value, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the BMP image has %s %lu, which is not read here; convert it to PNG", what,
                     (unsigned long)value);
}

/* Reads the colour masks of 16- and 32-bit pixels: those of the file (compression 3 or 6) or the
 * usual ones. */
static void read_masks(struct clip_image_bytes bytes, struct bmp *bmp)
{
    static const uint32_t usual[2][3] = {{0x7c00, 0x3e0, 0x1f}, {0xff0000, 0xff00, 0xff}};

    for (int c = 0; c < 3; c++)
        bmp->masks[c] = bmp->compression == 0 ? usual[bmp->bits == 32][c]
                                              : u32(bytes.data + 54 + 4 * c);
}

static clip_status read_header(struct clip_image_bytes bytes, struct bmp *bmp,
                               struct clip_error *error)
{
    const uint8_t *p = bytes.data;
    uint32_t used;

    if (bytes.size < 26) return clip_image_fail_cut("BMP", bytes.size, error);
    bmp->pixels_at = u32(p + 10);
    bmp->header_size = u32(p + 14);
    if (bmp->header_size != 12 && (bmp->header_size < 40 || bmp->header_size > 124))
        return fail_kind("a header of size", u32(p + 14), error);
    if (bytes.size < 14 + bmp->header_size || (bmp->header_size != 12 && bytes.size < 66))
        return clip_image_fail_cut("BMP", bytes.size, error);
    if (bmp->header_size == 12) {
        bmp->width = u16(p + 18);
        bmp->height = u16(p + 20);
        bmp->bits = (int)u16(p + 24);
        bmp->colour_size = 3;
        used = 0;
    } else {
        bmp->width = (int32_t)u32(p + 18);
        bmp->height = (int32_t)u32(p + 22);
        bmp->bits = (int)u16(p + 28);
        if (u32(p + 30) > 6) return fail_kind("compression", u32(p + 30), error);
        bmp->compression = (int)u32(p + 30);
        bmp->colour_size = 4;
        used = u32(p + 46);
    }
    if (bmp->height < 0) {
        bmp->top_down = true;
        bmp->height = -bmp->height;
    }
    if (bmp->bits != 1 && bmp->bits != 4 && bmp->bits != 8 && bmp->bits != 16 && bmp->bits != 24 &&
        bmp->bits != 32)
        return fail_kind("a number of bits per pixel,", (uint32_t)bmp->bits, error);
    bool masked = bmp->compression == 3 || bmp->compression == 6;
    if (bmp->compression != 0 && !(masked && (bmp->bits == 16 || bmp->bits == 32)))
        return fail_kind("compression", (uint32_t)bmp->compression, error);
    if (bmp->bits <= 8) {
        bmp->colours = (size_t)1 << bmp->bits;
        if (used != 0 && used < bmp->colours) bmp->colours = used;
        /* there is no space for the palette, which Pillow corrects */
        if (bmp->pixels_at == 14 + bmp->header_size)
            bmp->pixels_at += bmp->colours * bmp->colour_size;
        if (bytes.size < 14 + bmp->header_size + bmp->colours * bmp->colour_size)
            return clip_image_fail_cut("BMP", bytes.size, error);
    } else {
        read_masks(bytes, bmp);
    }
    return CLIP_OK;
}

/* The masked part of a pixel, scaled to 0..255 as in Pillow: value * 255 / largest, rounded
 * down. */
static uint8_t masked_part(uint32_t pixel, uint32_t mask)
{
    int shift = 0;

    if (mask == 0) return 0;
    while (((mask >> shift) & 1) == 0) shift++;
    return (uint8_t)((uint64_t)((pixel & mask) >> shift) * 255 / (mask >> shift));
}

static void convert_row(uint8_t *rgb, const uint8_t *row, const uint8_t *palette,
                        const struct bmp *bmp)
{
    for (int64_t x = 0; x < bmp->width; x++, rgb += 3) {
        if (bmp->bits <= 8) {
            int64_t bit = x * bmp->bits;
            size_t index = (size_t)(row[bit / 8] >> (8 - bmp->bits - bit % 8)) &
                           (((size_t)1 << bmp->bits) - 1);
            const uint8_t *colour = palette + index * bmp->colour_size;

            if (index >= bmp->colours) continue; /* stays black, as in Pillow */
            for (int c = 0; c < 3; c++) rgb[c] = colour[2 - c];
        } else if (bmp->bits == 24) {
            for (int c = 0; c < 3; c++) rgb[c] = row[3 * x + 2 - c];
        } else {
            uint32_t pixel = bmp->bits == 16 ? u16(row + 2 * x) : u32(row + 4 * x);

            for (int c = 0; c < 3; c++) rgb[c] = masked_part(pixel, bmp->masks[c]);
        }
    }
}

clip_status clip_bmp_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                            struct clip_image *out, int *orientation, struct clip_error *error)
{
    clip_status status;
    struct bmp bmp = {0};
    size_t row_bytes, needed;

    (void)orientation;
    CLIP_TRY(read_header(bytes, &bmp, error));
    CLIP_TRY(clip_image_check_size(bmp.width, bmp.height, limits, error));
    row_bytes = ((size_t)bmp.width * (size_t)bmp.bits + 7) / 8; /* below 2^34 */
    bmp.stride = (row_bytes + 3) & ~(size_t)3;
    needed = bmp.stride * (size_t)(bmp.height - 1) + row_bytes; /* below 2^34 * 2^31 */
    if (bmp.pixels_at > bytes.size || needed > bytes.size - bmp.pixels_at) {
        status = clip_image_fail_impossible("BMP", bmp.width, bmp.height, bytes.size, error);
        goto out;
    }
    CLIP_TRY(clip_image_allocate(out, bmp.width, bmp.height, error));
    for (int64_t y = 0; y < bmp.height; y++) {
        int64_t stored = bmp.top_down ? y : bmp.height - 1 - y;

        convert_row(out->rgb + y * bmp.width * 3,
                    bytes.data + bmp.pixels_at + (size_t)stored * bmp.stride,
                    bytes.data + 14 + bmp.header_size, &bmp);
    }

out:
    return status;
}
