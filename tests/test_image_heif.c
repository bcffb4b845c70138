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

static struct clip_image gradient(int64_t width, int64_t height, bool grey)
{
    struct clip_error error;
    struct clip_image image = {0};

    test_ok(clip_image_allocate(&image, width, height, &error), &error);
    for (int64_t i = 0; i < width * height; i++) {
        uint8_t red = (uint8_t)(i % width % 64 * 4), green = (uint8_t)(i / width % 48 * 5);

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
        {"gradient.heic", 64, 48, 1, false}, {"gradient.avif", 64, 48, 1, false},
        {"alpha.heic", 64, 48, 1, false},    {"grey.heic", 64, 48, 1, true},
        {"ten_bits.heic", 64, 48, 1, false}, {"grid_128x96.heic", 128, 96, 1, false},
        {"turned_3.heic", 64, 48, 3, false}, {"turned_6.heic", 64, 48, 6, false},
        {"turned_7.heic", 64, 48, 7, false}, {"turned_6.avif", 64, 48, 6, false},
    };

    if (!clip_heif_decoder) test_skip("built without libheif");
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

    assert_true(clip_image_has_suffix("IMG_0001.HEIC") && clip_image_has_suffix("a/b.avif"));
    assert_true(clip_image_has_suffix("x.heif") && clip_image_has_suffix("DSC1.HIF"));
    assert_false(clip_image_has_suffix("x.hei") || clip_image_has_suffix("heic"));
    static const char *const brands[] = {"heic", "mif1", "heix", "avif", "isom"};

    if (!clip_heif_decoder) test_skip("built without libheif");
    for (size_t i = 0; i < sizeof brands / sizeof *brands; i++) {
        memcpy(bytes.data + 8, brands[i], 4); /* "isom" is only the major one: heic follows */
        test_ok(decode(&bytes, &image, &error), &error);
        clip_image_release(&image);
    }
    memcpy(bytes.data, "\0\0\0\x10", 4); /* no list is left */
    test_fails(decode(&bytes, &image, &error), &error, CLIP_ERR_FORMAT, "this is no image");
    clip_buffer_release(&bytes);
}

static void a_cut_file_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"gradient.heic", "gradient.avif", "grid_128x96.heic"};

    if (!clip_heif_decoder) test_skip("built without libheif");
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
        const char *says; /* NULL: it is read, as 64 x 48 */
    } cases[] = {
        {20000, 20000, "more than max_pixels"},
        {0, 48, "no pixels (0 x 48)"},
        {0xffffffff, 0xffffffff, "AVIF image"},
        {48, 64, NULL},
        {4096, 4096, NULL},
        {1, 1, NULL},
    };

    if (!clip_heif_decoder) test_skip("built without libheif");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_error error;
        struct clip_image image;
        struct clip_buffer bytes = read_seed("gradient.avif");
        clip_status status;

        claim(&bytes, cases[i].width, cases[i].height);
        status = decode(&bytes, &image, &error);
        if (cases[i].says != NULL) {
            assert_int_not_equal(status, CLIP_OK);
            assert_non_null(strstr(error.message, cases[i].says));
            assert_null(strchr(error.message, '\n'));
            assert_null(image.rgb);
        } else if (status == CLIP_OK) { /* newer versions of libheif refuse it */
            assert_int_equal(image.width, 64);
            assert_int_equal(image.height, 48);
            clip_image_release(&image);
        }
        clip_buffer_release(&bytes);
    }
}

/* Few pixels are stated, more are coded: max_pixels holds for these too. */
static void pixels_that_nobody_stated_are_counted(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_image_limits few = {.max_pixels = 64 * 48 - 1};
    struct clip_buffer bytes = read_seed("gradient.avif");

    if (!clip_heif_decoder) test_skip("built without libheif");
    claim(&bytes, 1, 1);
    assert_int_not_equal(
        clip_image_decode((const uint8_t *)bytes.data, bytes.size, &few, &image, &error), CLIP_OK);
    assert_null(image.rgb);
    clip_buffer_release(&bytes);
}

static void max_pixels_holds(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image;
    struct clip_image_limits few = {.max_pixels = 64 * 48 - 1};
    struct clip_buffer bytes = read_seed("gradient.avif");

    if (!clip_heif_decoder) test_skip("built without libheif");
    test_fails(clip_image_decode((const uint8_t *)bytes.data, bytes.size, &few, &image, &error),
               &error, CLIP_ERR_DATA, "64 x 48 pixels, more than max_pixels = 3071");
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
        cmocka_unit_test(a_cut_file_is_refused),
        cmocka_unit_test(a_false_size_does_no_harm),
        cmocka_unit_test(pixels_that_nobody_stated_are_counted),
        cmocka_unit_test(max_pixels_holds),
        cmocka_unit_test(what_is_missing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
