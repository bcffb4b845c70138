/* PNG (W3C Portable Network Graphics, 2nd edition): read by libpng, written by way of zlib. */
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "data/image/image_formats.h"

/* The state of reading. libpng leaves by longjmp, so what must survive that is kept here and not in
 * local variables. */
struct reader {
    struct clip_image_bytes bytes;
    size_t at;
    bool cut, no_memory;
    const struct clip_image_limits *limits;
    struct clip_image *out;
    int orientation;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    uint8_t *grey16;    /* [H,W] of two bytes, the high one first */
    clip_status status; /* of our own refusals; CLIP_OK if libpng found the fault */
    struct clip_error *error;
    char reason[128];
};

static void on_read(png_structp png, png_bytep to, size_t n)
{
    struct reader *reader = png_get_io_ptr(png);

    if (n > reader->bytes.size - reader->at) {
        reader->cut = true;
        png_error(png, "cut off");
    }
    memcpy(to, reader->bytes.data + reader->at, n);
    reader->at += n;
}

/* libpng says of missing memory only that the image is broken. */
static png_voidp on_malloc(png_structp png, png_alloc_size_t n)
{
    struct reader *reader = png_get_mem_ptr(png);
    void *memory = malloc(n);

    if (memory == NULL) reader->no_memory = true;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_error(png_structp png, png_const_charp message)
{
    struct reader *reader = png_get_error_ptr(png);

    strncpy(reader->reason, message, sizeof reader->reason - 1);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* Asks libpng for rows of RGB, or of 16-bit grey: that is Pillow's "I;16", which it cuts off at 255
 * on the way to RGB, whereas every other 16-bit sample becomes its high byte. Gamma and
 * transparency are ignored. */
static void set_conversion(struct reader *reader, bool grey16)
{
    png_structp png = reader->png;
    int colour = png_get_color_type(png, reader->info);

    if (!grey16) {
        png_set_strip_16(png);
        if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
        if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
        if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
        png_set_strip_alpha(png);
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
}

/* Checks the header and takes memory; false after one of our refusals. */
static bool prepare(struct reader *reader, bool *grey16)
{
    png_structp png = reader->png;
    int64_t width = png_get_image_width(png, reader->info);
    int64_t height = png_get_image_height(png, reader->info);
    int depth = png_get_bit_depth(png, reader->info);
    int64_t bits = depth * (int64_t)png_get_channels(png, reader->info), row;

    reader->status = clip_image_check_size(width, height, reader->limits, reader->error);
    if (reader->status != CLIP_OK) return false;
    /* deflate packs at most 1032 bytes into one; width and height are below 2^31, bits up to 64 */
    row = (width * bits + 7) / 8 + 1;
    if (row > INT64_MAX / height || row * height / 1032 > (int64_t)reader->bytes.size) {
        reader->status =
            clip_image_fail_impossible("PNG", width, height, reader->bytes.size, reader->error);
        return false;
    }
    *grey16 = depth == 16 && png_get_color_type(png, reader->info) == PNG_COLOR_TYPE_GRAY;
    reader->status = clip_image_allocate(reader->out, width, height, reader->error);
    if (reader->status != CLIP_OK) return false;
    reader->rows = clip_array_new(height, sizeof *reader->rows, reader->error);
    if (*grey16) reader->grey16 = clip_array_new(width * height, 2, reader->error);
    if (reader->rows == NULL || (*grey16 && reader->grey16 == NULL)) {
        reader->status = CLIP_ERR_MEMORY;
        return false;
    }
    for (int64_t y = 0; y < height; y++)
        reader->rows[y] = *grey16 ? reader->grey16 + y * width * 2
                                  : reader->out->rgb + y * width * 3;
    return true;
}

static void read_all(struct reader *reader)
{
    /* chunks that are not used and so not read: colour management, histograms, texts */
    static const png_byte skipped[] = "iCCP\0gAMA\0cHRM\0sRGB\0sPLT\0hIST\0tEXt\0zTXt\0iTXt";
    png_structp png = reader->png;
    png_bytep exif;
    png_uint_32 n;
    bool grey16 = false;

    png_set_read_fn(png, reader, on_read);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, (int)sizeof skipped / 5);
    png_read_info(png, reader->info);
    if (!prepare(reader, &grey16)) return;
    set_conversion(reader, grey16);
    if (png_get_rowbytes(png, reader->info) != (size_t)reader->out->width * (grey16 ? 2 : 3))
        png_error(png, "a row of unexpected length");
    png_read_image(png, reader->rows);
    png_read_end(png, reader->info);
    for (int64_t i = 0; grey16 && i < reader->out->width * reader->out->height; i++)
        memset(reader->out->rgb + 3 * i,
               reader->grey16[2 * i] != 0 ? 255 : reader->grey16[2 * i + 1], 3);
    if (png_get_eXIf_1(png, reader->info, &n, &exif) != 0)
        reader->orientation = clip_exif_orientation(exif, n);
}

/* True if libpng succeeded, or if one of our refusals is in reader->status. */
static bool guarded_read(struct reader *reader)
{
    if (setjmp(png_jmpbuf(reader->png)) != 0) return false;
    read_all(reader);
    return true;
}

clip_status clip_png_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                            struct clip_image *out, int *orientation, struct clip_error *error)
{
    struct reader reader = {.bytes = bytes, .limits = limits, .out = out, .error = error};
    bool through = false;

    reader.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &reader, on_error, on_warning,
                                          &reader, on_malloc, on_free);
    if (reader.png != NULL) reader.info = png_create_info_struct(reader.png);
    if (reader.info == NULL) reader.no_memory = true;
    if (reader.info != NULL) through = guarded_read(&reader);
    if (reader.no_memory && !through)
        reader.status = clip_fail(error, CLIP_ERR_MEMORY, "there is no memory to read a PNG image");
    png_destroy_read_struct(&reader.png, &reader.info, NULL);
    free(reader.rows);
    free(reader.grey16);
    if (reader.status != CLIP_OK) return reader.status;
    if (reader.cut) return clip_image_fail_cut("PNG", bytes.size, error);
    if (!through)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the PNG image is broken (libpng: %s); get another copy of it or leave "
                         "it out",
                         reader.reason);
    *orientation = reader.orientation;
    return CLIP_OK;
}

/* ---- Writing: 8-bit RGB, no interlacing, one filter per row ---- */

#define CHUNK 1048576 /* bytes of pixels in one IDAT */

static void put_u32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static clip_status append_chunk(struct clip_buffer *out, const char *type, const uint8_t *data,
                                size_t n, struct clip_error *error)
{
    clip_status status;
    uint8_t head[8], tail[4];
    uLong crc;

    put_u32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    crc = crc32(crc32(0, head + 4, 4), data, (uInt)n);
    put_u32(tail, (uint32_t)crc);
    CLIP_TRY(clip_buffer_append(out, head, 8, error));
    CLIP_TRY(clip_buffer_append(out, data, n, error));
    CLIP_TRY(clip_buffer_append(out, tail, 4, error));

out:
    return status;
}

/* Applies a filter: 0 none, 1 left, 2 above (9.2); `above` is NULL for the first row. Returns the
 * sum of the absolute differences as signed bytes: the smaller it is, the better the row packs
 * (12.8). */
static int64_t filter_row(uint8_t *to, int filter, const uint8_t *row, const uint8_t *above,
                          size_t n)
{
    int64_t sum = 0;

    to[0] = (uint8_t)filter;
    for (size_t i = 0; i < n; i++) {
        uint8_t guess = 0, difference;

        if (filter == 1 && i >= 3) guess = row[i - 3];
        if (filter == 2 && above != NULL) guess = above[i];
        difference = (uint8_t)(row[i] - guess);
        to[1 + i] = difference;
        sum += difference < 128 ? difference : 256 - difference;
    }
    return sum;
}

/* Filters raw [height, 1 + 3 width]: each row by the filter that suits it best. */
static clip_status filter_rows(uint8_t *raw, const struct clip_image *image,
                               struct clip_error *error)
{
    size_t n = (size_t)image->width * 3;
    uint8_t *tries = clip_array_new(2 * ((int64_t)n + 1), 1, error), *best, *other;

    if (tries == NULL) return CLIP_ERR_MEMORY;
    for (int64_t y = 0; y < image->height; y++) {
        const uint8_t *row = image->rgb + (size_t)y * n, *above = y > 0 ? row - n : NULL;
        int64_t least = filter_row(best = tries, 0, row, above, n);

        other = tries + n + 1;
        for (int filter = 1; filter <= 2; filter++) {
            int64_t sum = filter_row(other, filter, row, above, n);

            if (sum >= least) continue;
            uint8_t *better = other;
            other = best;
            best = better;
            least = sum;
        }
        memcpy(raw + (size_t)y * (n + 1), best, n + 1);
    }
    free(tries);
    return CLIP_OK;
}

clip_status clip_image_encode_png(const struct clip_image *image, struct clip_buffer *out,
                                  struct clip_error *error)
{
    clip_status status;
    uint8_t header[13] = {[8] = 8, [9] = 2}; /* width, height, 8 bits, RGB */
    uint8_t *raw = NULL, *packed = NULL;
    int64_t raw_size;
    uLong packed_size;

    if (image->width <= 0 || image->height <= 0 || image->width > INT32_MAX / 3 ||
        image->height > INT32_MAX)
        return clip_fail(error, CLIP_ERR_DATA, "a PNG image cannot have %lld x %lld pixels",
                         (long long)image->width, (long long)image->height);
    raw_size = (3 * image->width + 1) * image->height;
    CLIP_NEW(raw, raw_size);
    CLIP_TRY(filter_rows(raw, image, error));
    packed_size = compressBound((uLong)raw_size);
    CLIP_NEW(packed, (int64_t)packed_size);
    if (compress2(packed, &packed_size, raw, (uLong)raw_size, Z_DEFAULT_COMPRESSION) != Z_OK) {
        status = clip_fail(error, CLIP_ERR_MEMORY, "there is no memory to pack a PNG image");
        goto out;
    }
    put_u32(header, (uint32_t)image->width);
    put_u32(header + 4, (uint32_t)image->height);
    CLIP_TRY(clip_buffer_append(out, "\x89PNG\r\n\x1a\n", 8, error));
    CLIP_TRY(append_chunk(out, "IHDR", header, sizeof header, error));
    for (size_t at = 0; at < packed_size; at += CHUNK)
        CLIP_TRY(append_chunk(out, "IDAT", packed + at,
                              packed_size - at < CHUNK ? packed_size - at : CHUNK, error));
    CLIP_TRY(append_chunk(out, "IEND", header, 0, error));

out:
    free(raw);
    free(packed);
    return status;
}

clip_status clip_image_write_png(const char *path, const struct clip_image *image,
                                 struct clip_error *error)
{
    clip_status status;
    struct clip_buffer bytes = {0};

    CLIP_TRY(clip_image_encode_png(image, &bytes, error));
    CLIP_TRY(clip_file_write(path, bytes.data, bytes.size, error));

out:
    clip_buffer_release(&bytes);
    return status;
}
