/* HEIC and AVIF: the files of tests/make_heif.py, which show a gradient, whole and damaged. */
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "data/image/image_formats.h"
#include "tests/support.h"

/* They are coded with losses: the largest difference of a sample, and the mean over an image. */
#define WORST 16
#define MEAN 3

static const struct clip_image_limits usual = {.max_pixels = CLIP_IMAGE_MAX_PIXELS};

/* The file's bytes; released by the caller. */
static struct clip_buffer read_seed(const char *name)
{
    struct clip_error error;
    struct clip_buffer bytes = {0};
    const char *path = test_path("tests/fuzz/seeds/fuzz_image", name);

    test_ok(clip_file_read(path, 1 << 20, &bytes, &error), &error);
    return bytes;
}

static clip_status decode(const struct clip_buffer *bytes, struct clip_image *image,
                          struct clip_error *error)
{
    return clip_image_decode((const uint8_t *)bytes->data, bytes->size, &usual, image, error);
}

/* Skips the test where libheif is not built in, or has no decoder for the file. */
static void needs_decoder(const char *name)
{
    struct clip_error error;
    struct clip_image image;
    struct clip_buffer bytes = read_seed(name);

    if (decode(&bytes, &image, &error) == CLIP_OK)
        clip_image_release(&image);
    else if (strstr(error.message, "install libheif") != NULL)
        test_skip("%s", error.message);
    clip_buffer_release(&bytes);
}

static struct clip_image gradient(int64_t width, int64_t height, bool grey)
{
    struct clip_error error;
    struct clip_image image = {0};

    test_ok(clip_image_allocate(&image, width, height, &error), &error);
    for (int64_t i = 0; i < width * height; i++) {
        uint8_t red = (uint8_t)(i % width % 80 * 3), green = (uint8_t)(i / width % 64 * 4);

        image.rgb[3 * i] = red;
        image.rgb[3 * i + 1] = grey ? red : green;
        image.rgb[3 * i + 2] = grey ? red : 128;
    }
    return image;
}

static void compare(const char *name, const struct clip_image *got,
                    const struct clip_image *expected)
{
    int64_t n = expected->width * expected->height * 3, sum = 0;
    int worst = 0;

    assert_int_equal(got->width, expected->width);
    assert_int_equal(got->height, expected->height);
    for (int64_t i = 0; i < n; i++) {
        int difference = abs(got->rgb[i] - expected->rgb[i]);

        if (difference > worst) worst = difference;
        sum += difference;
    }
    print_message("    %-16s largest difference %d, mean %.2f\n", name, worst,
                  (double)sum / (double)n);
    if (worst > WORST || sum > MEAN * n) test_fail("%s is another image", name);
}

/* Turned once, by the file's own irot and imir, whether or not EXIF's orientation is asked for,
 * which says the same. */
static void the_image_comes_upright(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t width, height;
        int orientation;
        bool grey;
    } cases[] = {
        {"gradient.heic", 80, 64, 1, false},      {"gradient.avif", 80, 64, 1, false},
        {"cropped_64x48.heic", 64, 48, 1, false}, {"alpha.heic", 80, 64, 1, false},
        {"premultiplied.heic", 80, 64, 1, false}, {"grey.heic", 80, 64, 1, true},
        {"ten_bits.heic", 80, 64, 1, false},      {"grid_160x128.heic", 160, 128, 1, false},
        {"turned_3.heic", 80, 64, 3, false},      {"turned_6.heic", 80, 64, 6, false},
        {"turned_7.heic", 80, 64, 7, false},      {"turned_6.avif", 80, 64, 6, false},
    };

    needs_decoder("gradient.heic");
    needs_decoder("gradient.avif");
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        struct clip_error error;
        struct clip_image got, expected;
        struct clip_buffer bytes = read_seed(cases[i / 2].name);
        struct clip_image_limits limits = usual;

        limits.upright = i % 2 == 1;
        test_ok(clip_image_decode((const uint8_t *)bytes.data, bytes.size, &limits, &got, &error),
                &error);
        expected = gradient(cases[i / 2].width, cases[i / 2].height, cases[i / 2].grey);
        test_ok(clip_image_turn(&expected, cases[i / 2].orientation, &error), &error);
        compare(cases[i / 2].name, &got, &expected);
        clip_image_release(&got);
        clip_image_release(&expected);
        clip_buffer_release(&bytes);
    }
}

/* By the brand, wherever it stands in the list; other brands are other formats. */
static void brands_tell_the_format(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_buffer bytes = read_seed("gradient.heic");

    static const char *const brands[] = {"heic", "mif1", "heix", "avif", "isom"};

    needs_decoder("gradient.heic");
    for (size_t i = 0; i < sizeof brands / sizeof *brands; i++) {
        memcpy(bytes.data + 8, brands[i], 4); /* "isom" is only the major one: heic follows */
        test_ok(decode(&bytes, &image, &error), &error);
        clip_image_release(&image);
    }
    memcpy(bytes.data, "\0\0\0\x10", 4); /* no list is left */
    test_fails(decode(&bytes, &image, &error), &error, CLIP_ERR_FORMAT, "this is no image");
    clip_buffer_release(&bytes);
}

/* In a build without libheif they are files of another kind. */
static void suffixes_follow_the_build(void **state)
{
    (void)state;
    static const char *const names[] = {"IMG_0001.HEIC", "a/b.avif", "x.heif", "DSC1.HIF"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(clip_image_has_suffix(names[i]) == clip_heif_decoder);
        assert_true(clip_image_needs_libheif(names[i]) == !clip_heif_decoder);
    }
    assert_false(clip_image_has_suffix("x.hei") || clip_image_has_suffix("heic"));
    assert_false(clip_image_needs_libheif("x.jpg"));
    assert_true((strstr(clip_image_suffixes(), ".heic") != NULL) == clip_heif_decoder);
}

static void a_cut_file_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"gradient.heic", "gradient.avif", "grid_160x128.heic"};

    needs_decoder("gradient.heic");
    needs_decoder("gradient.avif");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct clip_error error;
        struct clip_image image;
        struct clip_buffer bytes = read_seed(names[i]);
        size_t whole = bytes.size;

        for (bytes.size = 24; bytes.size < whole; bytes.size++)
            test_fails(decode(&bytes, &image, &error), &error, CLIP_ERR_FORMAT, "cut off");
        clip_buffer_release(&bytes);
    }
}

/* Writes the sizes into the file's box "ispe". */
static void claim(struct clip_buffer *bytes, uint32_t width, uint32_t height)
{
    uint8_t *at = memmem(bytes->data, bytes->size, "ispe", 4);

    assert_non_null(at);
    for (int i = 0; i < 8; i++) at[8 + i] = (uint8_t)((i < 4 ? width : height) >> 8 * (3 - i % 4));
}

/* A stated size that is too large is refused before anything is decoded. One that the pixels do not
 * have is none: some cameras exchange the sides, and what counts is what was decoded. */
static void a_false_size_does_no_harm(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height;
        bool read; /* as 80 x 64 */
    } cases[] = {
        {20000, 20000, false}, {0, 64, false},     {0xffffffff, 0xffffffff, false},
        {64, 80, true},        {4096, 4096, true}, {1, 1, true},
    };

    needs_decoder("gradient.avif");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_error error;
        struct clip_image image;
        struct clip_buffer bytes = read_seed("gradient.avif");
        clip_status status;

        claim(&bytes, cases[i].width, cases[i].height);
        status = decode(&bytes, &image, &error);
        if (!cases[i].read) {
            assert_true(status == CLIP_ERR_DATA || status == CLIP_ERR_FORMAT);
            print_message("    %s\n", error.message);
            assert_null(strchr(error.message, '\n'));
            assert_null(image.rgb);
        } else if (status == CLIP_OK) { /* newer versions of libheif refuse it */
            assert_int_equal(image.width, 80);
            assert_int_equal(image.height, 64);
            clip_image_release(&image);
        }
        clip_buffer_release(&bytes);
    }
}

/* Few pixels are stated, more are coded: max_pixels holds for these before they are decoded. */
static void pixels_that_nobody_stated_are_counted(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_image_limits few = {.max_pixels = 80 * 64 - 1};
    struct clip_buffer bytes = read_seed("gradient.avif");

    needs_decoder("gradient.avif");
    claim(&bytes, 1, 1);
    test_fails(clip_image_decode((const uint8_t *)bytes.data, bytes.size, &few, &image, &error),
               &error, CLIP_ERR_DATA, "80 x 64 pixels, more than max_pixels = 5119");
    assert_null(image.rgb);
    clip_buffer_release(&bytes);
}

static void max_pixels_holds(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_image_limits few = {.max_pixels = 80 * 64 - 1};
    struct clip_buffer bytes = read_seed("gradient.avif");

    needs_decoder("gradient.avif");
    test_fails(clip_image_decode((const uint8_t *)bytes.data, bytes.size, &few, &image, &error),
               &error, CLIP_ERR_DATA, "80 x 64 pixels, more than max_pixels = 5119");
    clip_buffer_release(&bytes);
}

/* ---- what is coded ---- */

static clip_status check_coded(const struct clip_buffer *bytes, int64_t max_pixels,
                               struct clip_error *error)
{
    const struct clip_image_limits limits = {.max_pixels = max_pixels};

    return clip_heif_check_coded(
        (struct clip_image_bytes){(const uint8_t *)bytes->data, bytes->size}, &limits, error);
}

/* Before anything is cropped; a grid in tiles and as a whole. */
static void the_coded_size_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *name, *size;
        int64_t pixels;
    } cases[] = {
        {"gradient.heic", "80 x 64", 80 * 64},      {"ten_bits.heic", "80 x 64", 80 * 64},
        {"turned_7.heic", "80 x 64", 80 * 64},      {"gradient.avif", "80 x 64", 80 * 64},
        {"turned_6.avif", "80 x 64", 80 * 64},      {"grid_160x128.heic", "160 x 128", 160 * 128},
        {"cropped_64x48.heic", "64 x 64", 64 * 64},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_error error;
        struct clip_buffer bytes = read_seed(cases[i].name);

        test_ok(check_coded(&bytes, cases[i].pixels, &error), &error);
        test_fails(check_coded(&bytes, cases[i].pixels - 1, &error), &error, CLIP_ERR_DATA,
                   cases[i].size);
        clip_buffer_release(&bytes);
    }
}

struct bits {
    uint8_t bytes[64];
    size_t at;
};

static void add_bits(struct bits *bits, uint64_t value, int n)
{
    for (int i = n - 1; i >= 0; i--, bits->at++)
        bits->bytes[bits->at / 8] |= (uint8_t)((value >> i & 1) << (7 - bits->at % 8));
}

static void add_exponential(struct bits *bits, uint64_t value)
{
    int n = 0;

    while ((value + 1) >> (n + 1) != 0) n++;
    add_bits(bits, 0, n);
    add_bits(bits, value + 1, n + 1);
}

/* A sequence parameter set with two sub-layers, of which each has its own profile and level, and a
 * byte that is there for no start code to appear (0 0 3). */
static struct bits parameter_set(uint64_t width, uint64_t height)
{
    struct bits bits = {{0}, 0};

    add_bits(&bits, 33 << 9 | 1, 16);
    add_bits(&bits, 1 << 1 | 1, 8); /* one more sub-layer than the base */
    add_bits(&bits, 0x010203, 24);
    for (int i = 0; i < 9; i++) add_bits(&bits, 0x55, 8);
    add_bits(&bits, 0xc000, 16);
    for (int i = 0; i < 12; i++) add_bits(&bits, i % 3 == 2 ? 3 : 0, 8); /* 0 0 3: 8 are left */
    for (int i = 0; i < 4; i++) add_bits(&bits, 0x55, 8);
    add_exponential(&bits, 0);
    add_exponential(&bits, 3);
    add_bits(&bits, 0, 1);
    add_exponential(&bits, width);
    add_exponential(&bits, height);
    return bits;
}

static void the_size_of_hevc_is_read(void **state)
{
    (void)state;
    struct bits bits = parameter_set(70000, 60000);
    struct clip_coded_size size = {0};

    clip_hevc_size((struct clip_image_bytes){bits.bytes, bits.at / 8 + 1}, &size);
    assert_int_equal(size.width, 70000);
    assert_int_equal(size.height, 60000);
    bits = parameter_set(100, 100); /* smaller: the larger one stays */
    clip_hevc_size((struct clip_image_bytes){bits.bytes, bits.at / 8 + 1}, &size);
    assert_int_equal(size.width, 70000);
    bits = parameter_set(0x7fffffff, 0x7fffffff); /* no product overflows */
    clip_hevc_size((struct clip_image_bytes){bits.bytes, bits.at / 8 + 1}, &size);
    assert_true(size.width > 70000 && size.width * size.height > 0);
    for (size_t n = 0; n <= bits.at / 8; n++)
        clip_hevc_size((struct clip_image_bytes){bits.bytes, n}, &size);
}

struct av1 {
    bool timing, override, known;
};

/* A sequence of at most 64 x 48 whose sizes have 16 bits, and a key frame. */
static struct bits av1_data(struct av1 say)
{
    struct bits out = {{0}, 0}, head = {{0}, 0}, frame = {{0}, 0};

    add_bits(&head, 0, 5);          /* profile, not a still image, not reduced */
    add_bits(&head, say.timing, 1); /* with ticks, an equal interval, and a decoder's model */
    if (say.timing) {
        add_bits(&head, 7, 64);
        add_bits(&head, 1, 1);
        add_exponential(&head, 4);
        add_bits(&head, 1, 1);
        add_bits(&head, 9, 5);
        add_bits(&head, 1, 32 + 5);
        add_bits(&head, 11, 5);
    }
    add_bits(&head, 1, 1); /* a delay is there */
    add_bits(&head, 1, 5); /* two operating points */
    for (int i = 0; i < 2; i++) {
        add_bits(&head, 0, 12);
        add_bits(&head, i == 0 ? 8 : 2, 5);
        if (i == 0) add_bits(&head, 1, 1);
        if (say.timing) add_bits(&head, i == 0 ? 1 : 0, 1);
        if (say.timing && i == 0) add_bits(&head, 5, 2 * 10 + 1);
        add_bits(&head, 1, 1);
        add_bits(&head, 3, 4);
    }
    add_bits(&head, 0xff, 8);
    add_bits(&head, 63, 16);
    add_bits(&head, 47, 16);
    add_bits(&head, 1, 1); /* frames have numbers, of 2 + 3 + 3 bits */
    add_bits(&head, 2 << 3 | 3, 7);
    add_bits(&head, 0, 3 + 4);
    add_bits(&head, 1, 1);
    add_bits(&head, 0, 2);
    add_bits(&head, 1, 1); /* each frame chooses screen content, and whole vectors */
    add_bits(&head, 1, 1);

    add_bits(&frame, 0, 3); /* a key frame */
    add_bits(&frame, 1, 1);
    add_bits(&frame, 1, 1);
    add_bits(&frame, 1, 1);
    add_bits(&frame, 1, 1);
    add_bits(&frame, 0xa5, 8);
    add_bits(&frame, say.override, 1);

    add_bits(&out, 2 << 3 | 2, 8); /* a delimiter of no bytes */
    add_bits(&out, 0, 8);
    if (say.known) {
        add_bits(&out, 1 << 3 | 4 | 2, 8); /* with an extension */
        add_bits(&out, 0, 8);
        add_bits(&out, 0x80 | (head.at / 8 + 1), 8); /* a length of two bytes */
        add_bits(&out, 0, 8);
        for (size_t i = 0; i <= head.at / 8; i++) add_bits(&out, head.bytes[i], 8);
    }
    add_bits(&out, 6 << 3, 8); /* a frame to the end */
    for (size_t i = 0; i <= frame.at / 8; i++) add_bits(&out, frame.bytes[i], 8);
    return out;
}

/* Where a frame has a size of its own, it may be as large as its bits allow. */
static void the_size_of_av1_is_read(void **state)
{
    (void)state;

    for (int i = 0; i < 4; i++) {
        struct bits bits = av1_data((struct av1){i % 2 == 1, i / 2 == 1, true});
        struct clip_coded_size size = {0};

        assert_true(clip_av1_size((struct clip_image_bytes){bits.bytes, bits.at / 8}, &size));
        assert_int_equal(size.width, i / 2 == 1 ? 65536 : 64);
        assert_int_equal(size.height, i / 2 == 1 ? 65536 : 48);
        for (size_t n = 0; n < bits.at / 8; n++)
            clip_av1_size((struct clip_image_bytes){bits.bytes, n}, &size);
    }
    struct bits bits = av1_data((struct av1){false, false, false});
    struct clip_coded_size size = {0};
    assert_false(clip_av1_size((struct clip_image_bytes){bits.bytes, bits.at / 8}, &size));
}

static void append(struct clip_buffer *bytes, const void *from, size_t n)
{
    struct clip_error error;

    test_ok(clip_buffer_append(bytes, from, n, &error), &error);
}

static void put(struct clip_buffer *bytes, size_t at, size_t value)
{
    for (int i = 0; i < 4; i++) bytes->data[at + (size_t)i] = (char)(value >> 8 * (3 - i));
}

static size_t open_box(struct clip_buffer *bytes, const char *type)
{
    size_t at = bytes->size;

    append(bytes, "\0\0\0\0", 4);
    append(bytes, type, 4);
    return at;
}

static void close_box(struct clip_buffer *bytes, size_t at) { put(bytes, at, bytes->size - at); }

/* The configuration has no header, and the item's data, in two extents, brings its own. */
static void data_counts_as_its_configuration_does(void **state)
{
    (void)state;
    struct bits set = parameter_set(20000, 10000);
    struct clip_buffer bytes = {0};
    struct clip_error error;
    size_t n = set.at / 8 + 1, data;
    size_t type = open_box(&bytes, "ftyp");
    append(&bytes, "heic\0\0\0\0", 8);
    close_box(&bytes, type);
    size_t meta = open_box(&bytes, "meta");
    append(&bytes, "\0\0\0\0", 4);
    size_t iprp = open_box(&bytes, "iprp"), ipco = open_box(&bytes, "ipco");
    size_t hvcc = open_box(&bytes, "hvcC");
    append(&bytes, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3\0", 23);
    close_box(&bytes, hvcc);
    close_box(&bytes, ipco);
    close_box(&bytes, iprp);
    size_t iloc = open_box(&bytes, "iloc"), places;
    append(&bytes, "\0\0\0\0\x44\0\0\1\0\1\0\0\0\2", 14);
    places = bytes.size;
    append(&bytes, "................", 16);
    close_box(&bytes, iloc);
    close_box(&bytes, meta);
    size_t mdat = open_box(&bytes, "mdat");
    data = bytes.size;
    append(&bytes, "\0\0\0\0", 4);
    append(&bytes, set.bytes, n);
    close_box(&bytes, mdat);
    put(&bytes, data, n);
    put(&bytes, places, data);
    put(&bytes, places + 4, 30);
    put(&bytes, places + 8, data + 30);
    put(&bytes, places + 12, 4 + n - 30);

    test_ok(check_coded(&bytes, 20000 * 10000, &error), &error);
    test_fails(check_coded(&bytes, 20000 * 10000 - 1, &error), &error, CLIP_ERR_DATA,
               "20000 x 10000");
    put(&bytes, places + 8, 0x7fffffff); /* the second extent is nowhere: nothing is read there */
    test_ok(check_coded(&bytes, 1, &error), &error);
    clip_buffer_release(&bytes);
}

/* The list of brands and nothing behind it. */
static void what_is_missing_is_said(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_buffer bytes = read_seed("gradient.avif");

    bytes.size = 32;
    test_fails(decode(&bytes, &image, &error), &error, CLIP_ERR_FORMAT,
               clip_heif_decoder ? "AVIF image is broken, cut off" : "install libheif-dev");
    clip_buffer_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_image_comes_upright),
        cmocka_unit_test(brands_tell_the_format),
        cmocka_unit_test(suffixes_follow_the_build),
        cmocka_unit_test(a_cut_file_is_refused),
        cmocka_unit_test(a_false_size_does_no_harm),
        cmocka_unit_test(pixels_that_nobody_stated_are_counted),
        cmocka_unit_test(max_pixels_holds),
        cmocka_unit_test(what_is_missing_is_said),
        cmocka_unit_test(the_coded_size_is_read),
        cmocka_unit_test(the_size_of_hevc_is_read),
        cmocka_unit_test(the_size_of_av1_is_read),
        cmocka_unit_test(data_counts_as_its_configuration_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
