/* Resizing's invariants, and training augmentation: where crops lie, what they depend on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image/image_formats.h"
#include "tests/support.h"

/* Red is the column, green the row, blue a pattern: a pixel tells where it came from. */
static struct clip_image make_map(int64_t width, int64_t height)
{
    struct clip_error error;
    struct clip_image image = {0};

    test_ok(clip_image_allocate(&image, width, height, &error), &error);
    for (int64_t i = 0; i < width * height; i++) {
        image.rgb[3 * i] = (uint8_t)(i % width);
        image.rgb[3 * i + 1] = (uint8_t)(i / width);
        image.rgb[3 * i + 2] = (uint8_t)(i * 37);
    }
    return image;
}

static struct clip_rng draws(uint64_t sample)
{
    return clip_rng_at(7, CLIP_RNG_AUGMENT, 3, sample);
}

static void augment(const struct clip_preprocess *rules, const struct clip_augment *how,
                    uint64_t sample, const struct clip_image *image, uint8_t *out)
{
    struct clip_error error;
    struct clip_rng rng = draws(sample);

    test_ok(clip_augment_image(rules, how, &rng, image, out, &error), &error);
}

static void flat_stays_flat(void **state)
{
    (void)state;
    static const int sizes[][4] = {{5, 7, 3, 4},   {5, 7, 200, 33},  {301, 2, 8, 8},
                                   {2, 301, 8, 8}, {33, 33, 33, 10}, {33, 33, 10, 33},
                                   {1, 1, 9, 9}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int value = 0; value <= 255; value += 51) {
            struct clip_error error;
            int64_t n = sizes[i][0] * sizes[i][1] * 3, m = sizes[i][2] * sizes[i][3] * 3;
            uint8_t *src = malloc((size_t)n), *dst = malloc((size_t)m);

            assert_true(src != NULL && dst != NULL);
            memset(src, value, (size_t)n);
            for (int kind = 0; kind <= 1; kind++) {
                struct clip_image from = {sizes[i][0], sizes[i][1], src};
                struct clip_image to = {sizes[i][2], sizes[i][3], dst};
                test_ok(clip_image_resize(&to, &from, (enum clip_interpolation)kind, &error),
                        &error);
                for (int64_t j = 0; j < m; j++) assert_int_equal(dst[j], value);
            }
            free(src);
            free(dst);
        }
    }
}

/* A part computed alone is that part of the whole, in either order of the passes. */
static void parts_equal_the_whole(void **state)
{
    (void)state;
    static const int sizes[][4] = {
        {90, 41, 60, 50}, {41, 200, 40, 30}, {64, 64, 64, 20}, {64, 64, 20, 64}, {30, 30, 30, 30}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct clip_error error;
        struct clip_image image = make_map(sizes[i][0], sizes[i][1]);
        int64_t width = sizes[i][2], height = sizes[i][3];
        uint8_t *whole = malloc((size_t)(width * height * 3)), part[9 * 11 * 3];
        struct clip_resize resize = {
            .src = image.rgb,
            .src_width = image.width,
            .src_height = image.height,
            .stride = image.width * 3,
            .channels = 3,
            .box = {0, 0, (double)image.width, (double)image.height},
            .width = width,
            .height = height,
            .x = 5,
            .y = 3,
            .w = 9,
            .h = 11,
        };

        assert_non_null(whole);
        struct clip_image to = {width, height, whole};
        test_ok(clip_image_resize(&to, &image, CLIP_BICUBIC, &error), &error);
        test_ok(clip_resize_part(part, &resize, &error), &error);
        for (int y = 0; y < 11; y++)
            test_same_u8("a row of the part", part + y * 27, whole + ((y + 3) * width + 5) * 3, 27);
        free(whole);
        clip_image_release(&image);
    }
}

/* A box of whole pixels that is as large as the result is a crop. */
static void boxes_crop(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image = make_map(40, 30);
    uint8_t pixels[10 * 8 * 3];
    const struct clip_resize resize = {
        .src = image.rgb,
        .src_width = 40,
        .src_height = 30,
        .stride = 40 * 3,
        .channels = 3,
        .box = {7, 5, 17, 13},
        .width = 10,
        .height = 8,
        .w = 10,
        .h = 8,
    };

    test_ok(clip_resize_part(pixels, &resize, &error), &error);
    for (int y = 0; y < 8; y++)
        test_same_u8("a row", pixels + y * 30, image.rgb + ((y + 5) * 40 + 7) * 3, 30);
    struct clip_image none = {0, 8, pixels};
    test_fails(clip_image_resize(&none, &image, CLIP_BICUBIC, &error), &error, CLIP_ERR_DATA,
               "0 x 8");
    clip_image_release(&image);
}

/* scale_min 1 without pad is evaluation's preprocessing; a flip mirrors it, about half the time. */
static void flips_are_fair(void **state)
{
    (void)state;
    enum { S = 16, N = 400 };
    struct clip_error error;
    struct clip_image image = make_map(50, 35);
    struct clip_preprocess rules = {.image_size = S};
    struct clip_augment how = {.scale_min = 1, .flip = true};
    uint8_t plain[S * S * 3], out[S * S * 3];
    int flipped = 0;

    test_ok(clip_preprocess_image(&rules, &image, plain, &error), &error);
    for (uint64_t sample = 0; sample < N; sample++) {
        augment(&rules, &how, sample, &image, out);
        bool same = memcmp(out, plain, sizeof out) == 0;

        flipped += !same;
        for (int y = 0; y < S && !same; y++)
            for (int x = 0; x < S; x++)
                assert_memory_equal(out + (y * S + x) * 3, plain + (y * S + S - 1 - x) * 3, 3);
    }
    assert_in_range(flipped, N / 2 - 50, N / 2 + 50); /* five standard deviations */
    how.flip = false;
    augment(&rules, &how, 1, &image, out);
    test_same_u8("without flip", out, plain, S * S * 3);
    clip_image_release(&image);
}

/* Averages of red and green tell the crop's centre, their spread its size. */
static void crops_stay_inside(void **state)
{
    (void)state;
    enum { S = 32, N = 300 };
    static const int sizes[][2] = {{120, 80}, {80, 120}, {200, 20}, {20, 200}, {1, 1}, {3, 2}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct clip_image image = make_map(sizes[i][0], sizes[i][1]);
        struct clip_preprocess rules = {.image_size = S, .interpolation = CLIP_BILINEAR};
        struct clip_augment how = {.scale_min = 0.3};
        uint8_t out[S * S * 3], again[S * S * 3], first[S * S * 3];
        int different = 0;

        for (uint64_t sample = 0; sample < N; sample++) {
            augment(&rules, &how, sample, &image, out);
            augment(&rules, &how, sample, &image, again);
            test_same_u8("the same draws", again, out, S * S * 3);
            if (sample == 0) memcpy(first, out, sizeof out);
            different += memcmp(first, out, sizeof out) != 0;
            const uint8_t *last = out + (S * S - 1) * 3;

            assert_true(out[0] <= last[0] && out[1] <= last[1]);
            assert_in_range(last[0], 0, sizes[i][0] - 1);
            assert_in_range(last[1], 0, sizes[i][1] - 1);
            if (i < 2) { /* area and aspect in their ranges, with two pixels of the edges' blur */
                double w = last[0] - out[0] + 1, h = last[1] - out[1] + 1;

                assert_true((w + 3) * (h + 3) >= 0.3 * 9600);
                assert_true((w + 3) / h > 3.0 / 4 && (w - 3) / h < 4.0 / 3);
            }
        }
        if (i < 2) assert_true(different > N * 9 / 10);
        clip_image_release(&image);
    }
}

/* A strip far from 4:3 falls back to its middle, as torchvision does: 20 high, 27 wide. */
static void strips_fall_back_to_the_middle(void **state)
{
    (void)state;
    enum { S = 20 };
    struct clip_error error;
    struct clip_image image = make_map(250, 20);
    struct clip_preprocess rules = {.image_size = S};
    struct clip_augment how = {.scale_min = 0.99};
    uint8_t out[S * S * 3], pixels[S * S * 3];
    struct clip_image crop = {0}, middle = {S, S, pixels};

    test_ok(clip_image_allocate(&crop, 27, 20, &error), &error);
    for (int y = 0; y < 20; y++) memcpy(crop.rgb + y * 81, image.rgb + (y * 250 + 111) * 3, 81);
    test_ok(clip_image_resize(&middle, &crop, CLIP_BICUBIC, &error), &error);
    augment(&rules, &how, 5, &image, out);
    test_same_u8("the middle", out, pixels, S * S * 3);
    clip_image_release(&crop);
    clip_image_release(&image);
}

/* Every shift from -pad to pad turns up, black comes in from outside, the rest is the image. */
static void padded_crops_shift(void **state)
{
    (void)state;
    enum { S = 8, PAD = 3, N = 600 };
    struct clip_error error;
    struct clip_image image = make_map(S, S);
    struct clip_preprocess rules = {.image_size = S};
    struct clip_augment how = {.scale_min = 0.5, .pad = PAD};
    uint8_t out[S * S * 3];
    int seen[2 * PAD + 1][2 * PAD + 1] = {0}, kinds = 0;

    for (int i = 0; i < S * S; i++) image.rgb[3 * i + 2] = 200; /* no pixel of it is black */
    for (uint64_t sample = 0; sample < N; sample++) {
        int dx = 0, dy = 0;

        augment(&rules, &how, sample, &image, out);
        for (int i = 0; i < S * S; i++) { /* the shift, from any pixel of the image */
            if (out[3 * i + 2] == 0) continue;
            dx = out[3 * i] - i % S;
            dy = out[3 * i + 1] - i / S;
            break;
        }
        assert_in_range(dx + PAD, 0, 2 * PAD);
        assert_in_range(dy + PAD, 0, 2 * PAD);
        seen[dy + PAD][dx + PAD]++;
        for (int i = 0; i < S * S; i++) {
            int x = i % S + dx, y = i / S + dy;
            bool in = x >= 0 && x < S && y >= 0 && y < S;
            uint8_t expected[3] = {(uint8_t)(in ? x : 0), (uint8_t)(in ? y : 0), in ? 200 : 0};

            assert_memory_equal(out + 3 * i, expected, 3);
        }
    }
    for (int y = 0; y <= 2 * PAD; y++)
        for (int x = 0; x <= 2 * PAD; x++) kinds += seen[y][x] > 0;
    assert_int_equal(kinds, (2 * PAD + 1) * (2 * PAD + 1));
    how.pad = 30; /* wider than the image: it may leave the frame, no more */
    for (uint64_t sample = 0; sample < 50; sample++) augment(&rules, &how, sample, &image, out);
    test_ok(clip_preprocess_image(&rules, &image, out, &error), &error);
    clip_image_release(&image);
}

static void bad_options_are_named(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_image image = make_map(4, 4);
    struct clip_preprocess rules = {.image_size = 2}, none = {.image_size = 0};
    struct clip_augment negative = {.scale_min = 1, .pad = -1}, zero = {.scale_min = 0};
    struct clip_rng rng = draws(0);
    uint8_t out[12];

    test_fails(clip_augment_image(&rules, &negative, &rng, &image, out, &error), &error,
               CLIP_ERR_USAGE, "aug_pad = -1");
    test_fails(clip_augment_image(&rules, &zero, &rng, &image, out, &error), &error, CLIP_ERR_USAGE,
               "aug_scale_min");
    test_fails(clip_preprocess_image(&none, &image, out, &error), &error, CLIP_ERR_USAGE,
               "image_size = 0");
    clip_image_release(&image);
}

/* fast_decode asks for so many pixels that the smallest crop of them is no smaller than the result,
 * and for no more than it takes. */
static void enough_is_enough(void **state)
{
    (void)state;
    static const double scales[] = {0.08, 0.25, 0.5, 0.9, 0.999};
    struct clip_preprocess rules = {.image_size = 224, .std = {1, 1, 1}};
    struct clip_augment augment = {.scale_min = 1};

    assert_int_equal(clip_augment_enough(&rules, &augment), 224);
    augment = (struct clip_augment){.scale_min = 0.5, .pad = 4};
    assert_int_equal(clip_augment_enough(&rules, &augment), 224);
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        augment = (struct clip_augment){.scale_min = scales[i]};
        double enough = (double)clip_augment_enough(&rules, &augment);
        double narrowest = sqrt(enough * enough * scales[i] * 3 / 4); /* of a square's crops */
        assert_true(narrowest >= 224 && narrowest < 226);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flat_stays_flat),    cmocka_unit_test(parts_equal_the_whole),
        cmocka_unit_test(boxes_crop),         cmocka_unit_test(flips_are_fair),
        cmocka_unit_test(crops_stay_inside),  cmocka_unit_test(strips_fall_back_to_the_middle),
        cmocka_unit_test(padded_crops_shift), cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(enough_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
