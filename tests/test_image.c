/* Decoding and writing images: what is right comes back exactly, what is wrong is refused with a
 * sentence. Images are made here; test_image_fixtures.c compares with Pillow's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/rng.h"
#include "data/image/image_formats.h"
#include "tests/support.h"

static const struct clip_image_limits usual = {.max_pixels = CLIP_IMAGE_MAX_PIXELS};

/* Smooth here and noisy there, so that every filter of PNG has its rows. */
static struct clip_image make_image(int64_t width, int64_t height)
{
    struct clip_error error;
    struct clip_image image = {0};
    struct clip_rng rng = clip_rng_at(1, CLIP_RNG_TEST, 0, (uint64_t)(width * 1000 + height));

    test_ok(clip_image_allocate(&image, width, height, &error), &error);
    for (int64_t i = 0; i < width * height * 3; i++)
        image.rgb[i] = (uint8_t)(i / 3 / width % 3 == 0 ? clip_rng_u32(&rng) : (uint32_t)i / 7);
    return image;
}

static struct clip_buffer png_of(const struct clip_image *image)
{
    struct clip_buffer bytes = {0};
    struct clip_error error;

    test_ok(clip_image_encode_png(image, &bytes, &error), &error);
    return bytes;
}

static clip_status decode(const void *bytes, size_t n, struct clip_image *image,
                          struct clip_error *error)
{
    return clip_image_decode(bytes, n, &usual, image, error);
}

static void same_image(const struct clip_image *got, const struct clip_image *expected)
{
    assert_int_equal(got->width, expected->width);
    assert_int_equal(got->height, expected->height);
    test_same_u8("pixels", got->rgb, expected->rgb, got->width * got->height * 3);
}

static void png_comes_back(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1},   {1, 9},   {9, 1},    {3, 2},
                                       {64, 64}, {97, 33}, {700, 600}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct clip_error error;
        struct clip_image image = make_image(sizes[i][0], sizes[i][1]), back;
        struct clip_buffer bytes = png_of(&image);

        test_ok(decode(bytes.data, bytes.size, &back, &error), &error);
        same_image(&back, &image);
        clip_image_release(&back);
        clip_image_release(&image);
        clip_buffer_release(&bytes);
    }
}

static void png_file_comes_back(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image = make_image(20, 30), back;
    const char *path = test_path(test_folder(), "a.png");

    test_ok(clip_image_write_png(path, &image, &error), &error);
    test_ok(clip_image_decode_file(path, &usual, &back, &error), &error);
    same_image(&back, &image);
    clip_image_release(&back);
    test_fails(clip_image_write_png("/nowhere/a.png", &image, &error), &error, CLIP_ERR_NOT_FOUND,
               "/nowhere");
    test_fails(clip_image_decode_file("/nowhere/a.png", &usual, &back, &error), &error,
               CLIP_ERR_NOT_FOUND, "/nowhere/a.png");
    clip_image_release(&image);
}

/* Hand-made PNG: chunks with right checksums. */
static void put_u32(uint8_t *p, size_t value)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void add_chunk(struct clip_buffer *out, const char *type, const void *data, size_t n)
{
    struct clip_error error;
    uint8_t number[4];

    put_u32(number, n);
    test_ok(clip_buffer_append(out, number, 4, &error), &error);
    test_ok(clip_buffer_append(out, type, 4, &error), &error);
    test_ok(clip_buffer_append(out, data, n, &error), &error);
    put_u32(number, crc32(crc32(0, (const Bytef *)type, 4), data, (uInt)n));
    test_ok(clip_buffer_append(out, number, 4, &error), &error);
}

/* A PNG of any kind: its unpacked rows, and a palette or a transparency chunk if there are any. */
struct png {
    size_t width, height;
    int depth, colour;
    const void *rows;
    size_t n;
    const void *palette;
    size_t palette_size;
    const void *transparency;
    size_t transparency_size;
};

static struct clip_buffer make_png(struct png png)
{
    struct clip_error error;
    struct clip_buffer out = {0};
    uint8_t header[13] = {[8] = (uint8_t)png.depth, [9] = (uint8_t)png.colour}, packed[4096];
    uLong packed_size = sizeof packed;

    put_u32(header, png.width);
    put_u32(header + 4, png.height);
    test_ok(clip_buffer_append(&out, "\x89PNG\r\n\x1a\n", 8, &error), &error);
    add_chunk(&out, "IHDR", header, sizeof header);
    if (png.palette_size > 0) add_chunk(&out, "PLTE", png.palette, png.palette_size);
    if (png.transparency_size > 0) add_chunk(&out, "tRNS", png.transparency, png.transparency_size);
    assert_int_equal(compress(packed, &packed_size, png.rows, png.n), Z_OK);
    add_chunk(&out, "IDAT", packed, packed_size);
    add_chunk(&out, "IEND", "", 0);
    return out;
}

static void expect_pixels(struct clip_buffer *bytes, const uint8_t *expected, int64_t n)
{
    struct clip_error error;
    struct clip_image image;

    test_ok(decode(bytes->data, bytes->size, &image, &error), &error);
    assert_int_equal(image.width * image.height * 3, n);
    test_same_u8("pixels", image.rgb, expected, n);
    clip_image_release(&image);
    clip_buffer_release(bytes);
}

/* What Pillow's convert("RGB") makes of each kind; rows begin with the filter's number. */
static void png_kinds_convert(void **state)
{
    (void)state;
    struct clip_buffer bytes;

    /* 1-bit grey: 0 and 255 */
    bytes = make_png((struct png){3, 1, 1, 0, "\0\xa0", 2});
    expect_pixels(&bytes, (const uint8_t[]){255, 255, 255, 0, 0, 0, 255, 255, 255}, 9);
    /* 2-bit grey: multiples of 85 */
    bytes = make_png((struct png){4, 1, 2, 0, "\0\x1b", 2});
    expect_pixels(&bytes, (const uint8_t[]){0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}, 12);
    /* 16-bit grey: cut off at 255 */
    bytes = make_png((struct png){3, 1, 16, 0, "\0\0\x07\0\xff\x01\0", 7});
    expect_pixels(&bytes, (const uint8_t[]){7, 7, 7, 255, 255, 255, 255, 255, 255}, 9);
    /* 16-bit grey with alpha: the high byte, whatever the alpha */
    bytes = make_png((struct png){1, 1, 16, 4, "\0\x12\xff\0\0", 5});
    expect_pixels(&bytes, (const uint8_t[]){18, 18, 18}, 3);
    /* 16-bit colour: the high bytes, also where tRNS calls the colour transparent */
    bytes = make_png((struct png){1, 1, 16, 2, "\0\x12\xff\x34\x80\x56\0", 7, NULL, 0,
                                  "\x12\xff\x34\x80\x56\0", 6});
    expect_pixels(&bytes, (const uint8_t[]){0x12, 0x34, 0x56}, 3);
    /* alpha is dropped, the colour under it shows */
    bytes = make_png((struct png){1, 1, 8, 6, "\0\x0a\x14\x1e\0", 5});
    expect_pixels(&bytes, (const uint8_t[]){10, 20, 30}, 3);
    /* a palette with a transparent colour, and an index past its end, which is black */
    bytes = make_png(
        (struct png){4, 1, 2, 3, "\0\x1b", 2, "\x01\x02\x03\x04\x05\x06\x07\x08\x09", 9, "\0", 1});
    expect_pixels(&bytes, (const uint8_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0}, 12);
}

static void png_damage_is_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image = make_image(12, 10), back;
    struct clip_buffer bytes = png_of(&image);

    for (size_t n = 0; n < bytes.size; n++) {
        char *cut = malloc(n + 1); /* its own block, so that a sanitizer sees a step too far */

        assert_non_null(cut);
        memcpy(cut, bytes.data, n);
        assert_int_equal(decode(cut, n, &back, &error), CLIP_ERR_FORMAT);
        assert_null(back.rgb);
        free(cut);
    }
    test_fails(decode(bytes.data, bytes.size - 5, &back, &error), &error, CLIP_ERR_FORMAT,
               "cut off");
    for (size_t i = 8; i < bytes.size; i++) { /* every chunk is checked by its CRC */
        bytes.data[i] ^= 0x10;
        assert_int_not_equal(decode(bytes.data, bytes.size, &back, &error), CLIP_OK);
        assert_null(back.rgb);
        bytes.data[i] ^= 0x10;
    }
    clip_buffer_release(&bytes);
    clip_image_release(&image);
}

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_image_limits small = {.max_pixels = 99};
    struct clip_buffer bytes;

    bytes = make_png((struct png){10000, 9999, 8, 2, "", 0});
    test_fails(decode(bytes.data, bytes.size, &image, &error), &error, CLIP_ERR_FORMAT,
               "cannot hold");
    clip_buffer_release(&bytes);
    bytes = make_png((struct png){0x7fffffff, 0x7fffffff, 8, 2, "", 0});
    test_fails(decode(bytes.data, bytes.size, &image, &error), &error, CLIP_ERR_DATA, "max_pixels");
    clip_buffer_release(&bytes);
    bytes = make_png((struct png){10, 10, 8, 0, "", 0});
    test_fails(clip_image_decode((uint8_t *)bytes.data, bytes.size, &small, &image, &error), &error,
               CLIP_ERR_DATA, "10 x 10 pixels, more than max_pixels = 99");
    clip_buffer_release(&bytes);
    bytes = make_png((struct png){0, 5, 8, 2, "", 0});
    assert_int_not_equal(decode(bytes.data, bytes.size, &image, &error), CLIP_OK);
    clip_buffer_release(&bytes);
}

static void what_is_no_image_is_named(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;

    test_fails(decode("", 0, &image, &error), &error, CLIP_ERR_FORMAT, "empty");
    test_fails(decode("<html>", 6, &image, &error), &error, CLIP_ERR_FORMAT, "web page");
    test_fails(decode("hello", 5, &image, &error), &error, CLIP_ERR_FORMAT, "no image");
    test_fails(decode("RIFF\0\0\0\0WEBPVP8 ", 16, &image, &error), &error, CLIP_ERR_FORMAT,
               clip_webp_decoder ? "WebP image is" : "WebP, which this build does not read");
    test_fails(decode("II*\0\0\0\0\0", 8, &image, &error), &error, CLIP_ERR_FORMAT, "TIFF");
    test_fails(decode("\xff\xd8\xff\xd9", 4, &image, &error), &error, CLIP_ERR_FORMAT, "no pixels");

    const char *path = test_write_text(test_folder(), "a.jpg", "hello");
    test_fails(clip_image_decode_file(path, &usual, &image, &error), &error, CLIP_ERR_FORMAT,
               "a.jpg: ");
}

/* GIF: a screen of 4 x 3, one frame of 2 x 2 at (1, 1), colours red, green, blue, white; the
 * frame's codes are clear 1 2 3 of 3 bits, 0 end of 4. */
static size_t make_gif(uint8_t *out, bool transparent)
{
    static const uint8_t screen[] = {'G', 'I', 'F', '8', '9', 'a', 4, 0, 3,   0,   0x81, 0,  0,
                                     255, 0,   0,   0,   255, 0,   0, 0, 255, 255, 255,  255};
    static const uint8_t control[] = {0x21, 0xf9, 4, 1, 0, 0, 3, 0};
    static const uint8_t frame[] = {0x2c, 1, 0, 1,    0,    2,    0, 2,   0,
                                    0,    2, 3, 0x8c, 0x06, 0x05, 0, 0x3b};
    size_t n = sizeof screen;

    memcpy(out, screen, n);
    if (transparent) {
        memcpy(out + n, control, sizeof control);
        n += sizeof control;
    }
    memcpy(out + n, frame, sizeof frame);
    return n + sizeof frame;
}

static void gif_frame_lies_on_its_screen(void **state)
{
    (void)state;
    static const uint8_t colours[4][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}};
    static const int inside[4] = {1, 2, 3, 0};

    for (int transparent = 0; transparent <= 1; transparent++) {
        struct clip_error error;
        struct clip_image image;
        uint8_t bytes[128];
        size_t n = make_gif(bytes, transparent);

        test_ok(decode(bytes, n, &image, &error), &error);
        assert_int_equal(image.width, 4);
        assert_int_equal(image.height, 3);
        for (int y = 0; y < 3; y++) {
            for (int x = 0; x < 4; x++) {
                bool in = x >= 1 && x <= 2 && y >= 1;
                int colour = in ? inside[(y - 1) * 2 + x - 1] : transparent ? 3 : 0;

                assert_memory_equal(image.rgb + (y * 4 + x) * 3, colours[colour], 3);
            }
        }
        clip_image_release(&image);
    }
}

static void cut_gif_is_refused(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    uint8_t bytes[128];
    size_t whole = make_gif(bytes, true);

    for (size_t n = 0; n + 1 < whole; n++) { /* the last byte, the trailer, is not needed */
        uint8_t *cut = malloc(n + 1);

        assert_non_null(cut);
        memcpy(cut, bytes, n);
        assert_int_equal(decode(cut, n, &image, &error), CLIP_ERR_FORMAT);
        free(cut);
    }
    memcpy(bytes + 6, "\xff\xff\xff\xff", 4);
    test_fails(decode(bytes, whole, &image, &error), &error, CLIP_ERR_DATA, "max_pixels");
}

static size_t make_bmp(uint8_t *out, int32_t width, int32_t height, int bits, const uint8_t *tail,
                       size_t tail_size, uint32_t pixels_at)
{
    uint8_t header[54] = {'B', 'M', [14] = 40, [26] = 1, [28] = (uint8_t)bits};

    for (int i = 0; i < 4; i++) {
        header[10 + i] = (uint8_t)(pixels_at >> (8 * i));
        header[18 + i] = (uint8_t)((uint32_t)width >> (8 * i));
        header[22 + i] = (uint8_t)((uint32_t)height >> (8 * i));
    }
    memcpy(out, header, 54);
    memcpy(out + 54, tail, tail_size);
    return 54 + tail_size;
}

static void bmp_kinds_convert(void **state)
{
    (void)state;
    static const uint8_t rows24[] = {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0};
    static const uint8_t upward[] = {9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4};
    static const uint8_t downward[] = {3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10};
    static const uint8_t rows16[] = {0x1f, 0x7c, 0xe0, 0x03, 0, 0, 0, 0}; /* 5 bits of each */
    static const uint8_t colours16[] = {255, 0, 255, 0, 255, 0};
    static const uint8_t palette[] = {1, 2, 3, 0, 4, 5, 6, 0, 0x40, 0, 0, 0};
    static const uint8_t picked[] = {3, 2, 1, 6, 5, 4};
    struct clip_error error;
    struct clip_image image;
    uint8_t bytes[128];
    size_t n;

    n = make_bmp(bytes, 2, 2, 24, rows24, sizeof rows24, 54);
    test_ok(decode(bytes, n, &image, &error), &error);
    test_same_u8("24 bits", image.rgb, upward, 12);
    clip_image_release(&image);
    n = make_bmp(bytes, 2, -2, 24, rows24, sizeof rows24, 54);
    test_ok(decode(bytes, n, &image, &error), &error);
    test_same_u8("24 bits, top row first", image.rgb, downward, 12);
    clip_image_release(&image);
    n = make_bmp(bytes, 2, 1, 16, rows16, sizeof rows16, 54);
    bytes[66] = 0;
    test_ok(decode(bytes, 67, &image, &error), &error);
    test_same_u8("16 bits", image.rgb, colours16, 6);
    clip_image_release(&image);
    n = make_bmp(bytes, 2, 1, 1, palette, sizeof palette, 62);
    test_ok(decode(bytes, n, &image, &error), &error);
    test_same_u8("1 bit", image.rgb, picked, 6);
    clip_image_release(&image);
    n = make_bmp(bytes, 1000, 1000, 24, rows24, sizeof rows24, 54);
    test_fails(decode(bytes, n, &image, &error), &error, CLIP_ERR_FORMAT, "cannot hold");
    n = make_bmp(bytes, 0, 7, 24, rows24, sizeof rows24, 54);
    test_fails(decode(bytes, n, &image, &error), &error, CLIP_ERR_DATA, "no pixels (0 x 7)");
    n = make_bmp(bytes, 2, INT32_MIN, 24, rows24, sizeof rows24, 54);
    test_fails(decode(bytes, n, &image, &error), &error, CLIP_ERR_DATA, "max_pixels");
}

/* An 8 x 8 grey JPEG whose only block is the DC coefficient's difference 0 and "end of block". */
static size_t make_jpeg(uint8_t *out)
{
    static const uint8_t head[] = {0xff, 0xd8, 0xff, 0xdb, 0, 67, 0};
    static const uint8_t rest[] = {
        0xff, 0xc0, 0, 11, 8,    0, 8,    0, 8,  1, 1,    0x11, 0, /* SOF0 */
        0xff, 0xc4, 0, 20, 0x00, 1, 0,    0, 0,  0, 0,    0,    0,
        0,    0,    0, 0,  0,    0, 0,    0, 0, /* DC */
        0xff, 0xc4, 0, 20, 0x10, 1, 0,    0, 0,  0, 0,    0,    0,
        0,    0,    0, 0,  0,    0, 0,    0, 0, /* AC */
        0xff, 0xda, 0, 8,  1,    1, 0x00, 0, 63, 0, 0x3f, 0xff, 0xd9,
    };

    memcpy(out, head, sizeof head);
    memset(out + sizeof head, 1, 64);
    memcpy(out + sizeof head + 64, rest, sizeof rest);
    return sizeof head + 64 + sizeof rest;
}
enum { JPEG_SOF = 71, JPEG_DC = 84, JPEG_AC = 106, JPEG_SOS = 128 };

static void small_jpeg_decodes(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    uint8_t bytes[256];
    size_t n = make_jpeg(bytes);

    assert_int_equal(bytes[JPEG_SOF + 1], 0xc0);
    assert_int_equal(bytes[JPEG_SOS + 1], 0xda);
    test_ok(decode(bytes, n, &image, &error), &error);
    assert_int_equal(image.width * image.height, 64);
    for (int i = 0; i < 192; i++) assert_int_equal(image.rgb[i], 128);
    clip_image_release(&image);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *copy = malloc(cut + 1);

        assert_non_null(copy);
        memcpy(copy, bytes, cut);
        assert_int_equal(decode(copy, cut, &image, &error), CLIP_ERR_FORMAT);
        free(copy);
    }
}

/* As libjpeg does: bytes between segments are stepped over. */
static void stray_bytes_are_stepped_over(void **state)
{
    (void)state;
    static const uint8_t stray[] = {0, 0xff, 0, 7, 0xff, 0xd3, 0xff, 0xff};
    static const size_t places[] = {2, JPEG_SOF, JPEG_DC, JPEG_SOS};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct clip_error error;
        struct clip_image image;
        uint8_t bytes[256];
        size_t n = make_jpeg(bytes), at = places[i];

        memmove(bytes + at + sizeof stray, bytes + at, n - at);
        memcpy(bytes + at, stray, sizeof stray);
        test_ok(decode(bytes, n + sizeof stray, &image, &error), &error);
        assert_int_equal(image.rgb[0], 128);
        clip_image_release(&image);
    }
}

/* Four components are CMYK, stored inverted, also where no marker of Adobe's says so:
 * 128 * 128 / 255 = 64. */
static void four_components_are_cmyk(void **state)
{
    (void)state;
    static const uint8_t frame[] = {0xff, 0xc0, 0, 20,   8, 0, 8,    0, 8, 4,    1,
                                    0x11, 0,    2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0};
    static const uint8_t scan[] = {0xff, 0xda, 0, 14, 4,  1, 0,    2,    0,   3,
                                   0,    4,    0, 0,  63, 0, 0x00, 0xff, 0xd9};
    struct clip_error error;
    struct clip_image image;
    uint8_t grey[256], bytes[256];
    size_t tables = JPEG_SOS - JPEG_DC, n = JPEG_SOF;

    make_jpeg(grey);
    memcpy(bytes, grey, n);
    memcpy(bytes + n, frame, sizeof frame);
    n += sizeof frame;
    memcpy(bytes + n, grey + JPEG_DC, tables);
    n += tables;
    memcpy(bytes + n, scan, sizeof scan);
    n += sizeof scan;
    test_ok(decode(bytes, n, &image, &error), &error);
    for (int i = 0; i < 192; i++) assert_int_equal(image.rgb[i], 64);
    clip_image_release(&image);
}

/* Each fault of structure has its words; the byte at `at` becomes `value` in a good image. */
static void jpeg_faults_are_named(void **state)
{
    (void)state;
    const bool turbo = strcmp(clip_jpeg_decoder, "libjpeg-turbo") == 0;
    const struct {
        size_t at;
        uint8_t value;
        clip_status status;
        const char *words;
    } faults[] = {
        {JPEG_SOF + 1, 0xc9, CLIP_ERR_FORMAT, "SOF9"},
        {JPEG_SOF + 4, 12, CLIP_ERR_FORMAT, "12 bits per sample"},
        {JPEG_SOF + 6, 0, CLIP_ERR_DATA, "no pixels (8 x 0)"},
        {JPEG_SOF + 5, 0xff, CLIP_ERR_FORMAT, "cannot hold"},
        {JPEG_SOF + 9, 2, CLIP_ERR_FORMAT, "frame header of wrong length"},
        {JPEG_SOF + 11, 0x51, CLIP_ERR_FORMAT, "sampling"},
        {JPEG_SOF + 12, 1, CLIP_ERR_FORMAT, "quantisation table that is not there"},
        {JPEG_DC + 4, 5, CLIP_ERR_FORMAT, turbo ? "DHT" : "Huffman table of wrong length"},
        {JPEG_DC + 5, 255, CLIP_ERR_FORMAT, turbo ? "Huffman" : "with too many codes"},
        {JPEG_SOS + 5, 9, CLIP_ERR_FORMAT, "unknown component"},
        {JPEG_SOS + 1, 0xf7, CLIP_ERR_FORMAT, "unknown marker"},
        {JPEG_SOS, 0, CLIP_ERR_FORMAT, "no pixels"},
    };

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct clip_error error;
        struct clip_image image;
        uint8_t bytes[256];
        size_t n = make_jpeg(bytes);

        bytes[faults[i].at] = faults[i].value;
        test_fails(decode(bytes, n, &image, &error), &error, faults[i].status, faults[i].words);
    }
}

/* A scan whose DC table no segment defines. Frames of motion JPEG leave out the standard's tables:
 * libjpeg-turbo, and Pillow with it, puts them in; stb would read what it finds. */
static void missing_huffman_tables_are_the_standard_ones(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    uint8_t bytes[256];
    size_t n = make_jpeg(bytes);

    bytes[JPEG_DC + 4] = 1;
    if (strcmp(clip_jpeg_decoder, "libjpeg-turbo") == 0) {
        test_ok(decode(bytes, n, &image, &error), &error);
        assert_int_equal(image.rgb[0], 128);
        clip_image_release(&image);
    } else {
        test_fails(decode(bytes, n, &image, &error), &error, CLIP_ERR_FORMAT,
                   "Huffman table that is not there");
    }
}

/* `enough`: never smaller than asked for, a power of two, and near the mean of what it replaces. */
static void scaled_decoding_keeps_enough(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_names names = {0};
    const char *folder = test_path("tests/reference", "preprocess/images");

    if (strcmp(clip_jpeg_decoder, "libjpeg-turbo") != 0) test_skip("stb_image does not scale");
    test_ok(clip_folder_list(folder, &names, &error), &error);
    for (int64_t i = 0; i < names.count; i++) {
        if (!clip_path_has_suffix(names.names[i], ".jpg")) continue;
        for (int64_t enough = 3; enough < 80; enough += 4) {
            struct clip_image_limits limits = usual;
            const char *path = test_path(folder, names.names[i]);
            struct clip_image whole, part;
            double sums[2] = {0};
            int64_t scale;

            test_ok(clip_image_decode_file(path, &usual, &whole, &error), &error);
            limits.enough = enough;
            test_ok(clip_image_decode_file(path, &limits, &part, &error), &error);
            for (scale = 8; scale > 1 && whole.height / scale < enough;) scale /= 2;
            assert_int_equal(part.width, (whole.width + scale - 1) / scale);
            assert_int_equal(part.height, (whole.height + scale - 1) / scale);
            for (int64_t p = 0; p < whole.width * whole.height * 3; p++) sums[0] += whole.rgb[p];
            for (int64_t p = 0; p < part.width * part.height * 3; p++) sums[1] += part.rgb[p];
            sums[0] /= (double)(whole.width * whole.height * 3);
            sums[1] /= (double)(part.width * part.height * 3);
            test_close_f64(names.names[i], sums[1], sums[0], 0, 12);
            clip_image_release(&whole);
            clip_image_release(&part);
        }
    }
    clip_names_release(&names);
}

/* Every image of the reference sets up to 20 kB, cut at many lengths: refused each time, but for
 * what may follow the pixels of a GIF or BMP. */
static void cut_images_are_refused(void **state)
{
    (void)state;
    int64_t count = 0;

    for (int root = 0; test_root(root) != NULL; root++) {
        struct clip_error error;
        struct clip_names names = {0};
        const char *folder = test_root_file(root, "preprocess/images");

        if (folder == NULL) continue;
        test_ok(clip_folder_list(folder, &names, &error), &error);
        for (int64_t i = 0; i < names.count; i++) {
            struct clip_buffer bytes = {0};
            struct clip_image image;

            if (clip_file_read(test_path(folder, names.names[i]), 20000, &bytes, &error) != CLIP_OK)
                continue;
            for (size_t n = 0; n + 8 < bytes.size; n += n < 700 ? 7 : 191) {
                uint8_t *cut = malloc(n + 1);

                assert_non_null(cut);
                memcpy(cut, bytes.data, n);
                if (decode(cut, n, &image, &error) == CLIP_OK)
                    test_fail("%s decodes from its first %zu bytes", names.names[i], n);
                free(cut);
                count++;
            }
            clip_buffer_release(&bytes);
        }
        clip_names_release(&names);
    }
    if (count == 0) test_skip("no preprocess/images in any reference set");
}

/* The eight orientations of a 3 x 2 image with pixels numbered 0 to 5 (EXIF 2.3, figure 4). */
static void orientations_turn(void **state)
{
    (void)state;
    static const uint8_t expected[9][6] = {
        {0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {2, 1, 0, 5, 4, 3},
        {5, 4, 3, 2, 1, 0}, {3, 4, 5, 0, 1, 2}, {0, 3, 1, 4, 2, 5},
        {3, 0, 4, 1, 5, 2}, {5, 2, 4, 1, 3, 0}, {2, 5, 1, 4, 0, 3},
    };

    for (int orientation = 0; orientation <= 8; orientation++) {
        struct clip_error error;
        struct clip_image image = {0};

        test_ok(clip_image_allocate(&image, 3, 2, &error), &error);
        for (int i = 0; i < 18; i++) image.rgb[i] = (uint8_t)(i / 3);
        test_ok(clip_image_turn(&image, orientation, &error), &error);
        assert_int_equal(image.width, orientation >= 5 ? 2 : 3);
        for (int i = 0; i < 6; i++) assert_int_equal(image.rgb[3 * i], expected[orientation][i]);
        clip_image_release(&image);
    }
}

static void exif_is_read_with_care(void **state)
{
    (void)state;
    uint8_t little[] = {'I', 'I', '*', 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    uint8_t big[] = {'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 8, 0, 0};

    assert_int_equal(clip_exif_orientation(little, sizeof little), 6);
    assert_int_equal(clip_exif_orientation(big, sizeof big), 8);
    for (size_t n = 0; n < sizeof little; n++)
        assert_int_equal(clip_exif_orientation(little, n), 0);
    little[4] = 0xff;
    little[7] = 0xff;
    assert_int_equal(clip_exif_orientation(little, sizeof little), 0);
    big[19] = 9;
    assert_int_equal(clip_exif_orientation(big, sizeof big), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_comes_back),
        cmocka_unit_test(png_file_comes_back),
        cmocka_unit_test(png_kinds_convert),
        cmocka_unit_test(png_damage_is_refused),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(what_is_no_image_is_named),
        cmocka_unit_test(gif_frame_lies_on_its_screen),
        cmocka_unit_test(cut_gif_is_refused),
        cmocka_unit_test(bmp_kinds_convert),
        cmocka_unit_test(small_jpeg_decodes),
        cmocka_unit_test(stray_bytes_are_stepped_over),
        cmocka_unit_test(four_components_are_cmyk),
        cmocka_unit_test(jpeg_faults_are_named),
        cmocka_unit_test(missing_huffman_tables_are_the_standard_ones),
        cmocka_unit_test(scaled_decoding_keeps_enough),
        cmocka_unit_test(cut_images_are_refused),
        cmocka_unit_test(orientations_turn),
        cmocka_unit_test(exif_is_read_with_care),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
