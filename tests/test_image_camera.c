/* Raw files of cameras, as each maker lays them out, made here around JPEGs made here: which
 * preview is taken, how it is turned, and what is refused. tests/fuzz/seeds/fuzz_image/camera.* are
 * those of `cameras`. */
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "data/image/image_formats.h"
#include "tests/support.h"

static const struct clip_image_limits usual = {.max_pixels = CLIP_IMAGE_MAX_PIXELS,
                                               .upright = true};

enum { SHORT = 3, LONG = 4, UNDEFINED = 7, IFD = 13 };

struct raw { /* a file that grows; places of it are as in a camera's */
    uint8_t bytes[1 << 14];
    size_t size;
    bool big; /* the byte order */
};

static size_t add(struct raw *raw, const void *bytes, size_t n)
{
    size_t at = raw->size;

    assert_true(at + n <= sizeof raw->bytes);
    if (bytes != NULL)
        memcpy(raw->bytes + at, bytes, n);
    else
        memset(raw->bytes + at, 0, n);
    raw->size += n;
    return at;
}

static void put(struct raw *raw, size_t at, size_t value, int n)
{
    for (int i = 0; i < n; i++)
        raw->bytes[at + (size_t)i] = (uint8_t)(value >> 8 * (raw->big ? n - 1 - i : i));
}

/* ---- a JPEG ---- */

struct jpeg {
    int width, height, orientation; /* 0: no EXIF */
    bool lossless;                  /* its frame header says so: a sensor's data */
};

static void add_bits(struct raw *raw, unsigned *kept, int *count, unsigned bits, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        *kept = *kept << 1 | (bits >> i & 1);
        if (++*count % 8 != 0) continue;
        add(raw, &(uint8_t){(uint8_t)*kept}, 1);
        if ((*kept & 0xff) == 0xff) add(raw, &(uint8_t){0}, 1);
    }
}

/* A grey image whose first block of 8 x 8 is white and whose others are black. Codes: 0 for the
 * difference 0, 10 for one of 11 bits; 0 for the end of a block. */
static size_t add_jpeg(struct raw *raw, struct jpeg say)
{
    static const uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0,  0, 'I', 'I',
                                   42,   0,    8, 0,  0,   0,   1,   0,   18, 1, 3,   0,
                                   1,    0,    0, 0,  0,   0,   0,   0,   0,  0, 0,   0};
    static const uint8_t tables[] = {0xff, 0xc4, 0, 21, 0, 1, 1, 0,  0,    0,    0, 0,  0,  0, 0,
                                     0,    0,    0, 0,  0, 0, 0, 11, 0xff, 0xc4, 0, 20, 16, 1, 0,
                                     0,    0,    0, 0,  0, 0, 0, 0,  0,    0,    0, 0,  0,  0, 0};
    size_t start = add(raw, "\xff\xd8", 2);
    unsigned bits = 0;
    int count = 0, blocks = (say.width + 7) / 8 * ((say.height + 7) / 8);

    if (say.lossless) blocks = 2; /* nobody reads them */
    if (say.orientation != 0) {
        size_t at = add(raw, exif, sizeof exif);

        raw->bytes[at + 28] = (uint8_t)say.orientation;
    }
    add(raw, "\xff\xdb\0\x43\0", 5);
    for (int i = 0; i < 64; i++) add(raw, "\1", 1);
    size_t frame = add(raw, "\xff\xc0\0\xb\x8....\1\1\x11\0", 13);
    if (say.lossless) raw->bytes[frame + 1] = 0xc3;
    for (int i = 0; i < 4; i++)
        raw->bytes[frame + 5 + (size_t)i] =
            (uint8_t)((i < 2 ? say.height : say.width) >> (i % 2 == 0 ? 8 : 0));
    add(raw, tables, sizeof tables);
    add(raw, "\xff\xda\0\x8\1\1\0\0\x3f\0", 10);
    for (int i = 0; i < blocks; i++) { /* 1016, then -2032, then 0 */
        if (i < 2) {
            add_bits(raw, &bits, &count, 2, 2);
            add_bits(raw, &bits, &count, i == 0 ? 1024 : ~2032u & 2047, 11);
        } else {
            add_bits(raw, &bits, &count, 0, 1);
        }
        add_bits(raw, &bits, &count, 0, 1);
    }
    add_bits(raw, &bits, &count, 0x7f, (8 - count % 8) % 8);
    add(raw, "\xff\xd9", 2);
    return start;
}

/* ---- TIFF ---- */

struct field {
    int tag, type;
    size_t count, value;
};

/* The place of a directory of n entries; `next` is the place of the next one. */
static size_t add_directory(struct raw *raw, const struct field *fields, size_t n, size_t next)
{
    size_t at = add(raw, NULL, 2 + 12 * n + 4);

    put(raw, at, n, 2);
    for (size_t i = 0; i < n; i++) {
        put(raw, at + 2 + 12 * i, (size_t)fields[i].tag, 2);
        put(raw, at + 4 + 12 * i, (size_t)fields[i].type, 2);
        put(raw, at + 6 + 12 * i, fields[i].count, 4);
        put(raw, at + 10 + 12 * i, fields[i].value, fields[i].type == SHORT ? 2 : 4);
    }
    put(raw, at + 2 + 12 * n, next, 4);
    return at;
}
#define DIRECTORY(raw, next, ...)                                                                  \
    add_directory(raw, (const struct field[]){__VA_ARGS__},                                        \
                  sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field), next)

/* The header, 16 bytes of it for Canon's mark. */
static void start(struct raw *raw, const char *magic)
{
    *raw = (struct raw){.big = magic[0] == 'M'};
    add(raw, magic, 4);
    add(raw, NULL, 12);
}

static void first_directory(struct raw *raw, size_t at) { put(raw, 4, at, 4); }

/* Adds a JPEG and gives the two entries that name it. */
static size_t add_sized(struct raw *raw, int width, int height, size_t *size)
{
    size_t at = add_jpeg(raw, (struct jpeg){.width = width, .height = height});

    *size = raw->size - at;
    return at;
}

/* ---- what the makers write ---- */

static void make_cr2(struct raw *raw)
{
    size_t n[2], at[2], sensor;

    start(raw, "II*");
    memcpy(raw->bytes + 8, "CR\2", 4);
    at[0] = add_sized(raw, 1200, 8, &n[0]);
    at[1] = add_sized(raw, 160, 16, &n[1]);
    sensor = add_jpeg(raw, (struct jpeg){.width = 5000, .height = 3000, .lossless = true});
    size_t third = DIRECTORY(raw, 0, {0x103, SHORT, 1, 6}, {0x111, LONG, 1, sensor},
                             {0x117, LONG, 1, raw->size - sensor});
    size_t second = DIRECTORY(raw, third, {0x201, LONG, 1, at[1]}, {0x202, LONG, 1, n[1]});
    first_directory(raw, DIRECTORY(raw, second, {0x103, SHORT, 1, 6}, {0x111, LONG, 1, at[0]},
                                   {0x112, SHORT, 1, 6}, {0x117, LONG, 1, n[0]}));
}

static void make_nef(struct raw *raw)
{
    size_t n, at, shown, sensor, list;

    start(raw, "MM\0*");
    at = add_sized(raw, 1600, 16, &n);
    shown = DIRECTORY(raw, 0, {0x103, SHORT, 1, 6}, {0x201, LONG, 1, at}, {0x202, LONG, 1, n});
    sensor = DIRECTORY(raw, 0, {0x106, SHORT, 1, 32803}, {0x103, SHORT, 1, 34713});
    list = add(raw, NULL, 8);
    put(raw, list, shown, 4);
    put(raw, list + 4, sensor, 4);
    first_directory(raw, DIRECTORY(raw, 0, {0x112, SHORT, 1, 8}, {0x14a, LONG, 2, list}));
}

/* Three directories in a row, of which the last has the largest preview; the list of one SubIFD
 * stands in its entry. */
static void make_arw(struct raw *raw)
{
    size_t n[3], at[3], sensor;

    start(raw, "II*");
    for (int i = 0; i < 3; i++)
        at[i] = add_sized(raw, i == 0 ? 1616 : i == 1 ? 160 : 4000, 8, &n[i]);
    sensor = DIRECTORY(raw, 0, {0x106, SHORT, 1, 32803});
    size_t third = DIRECTORY(raw, 0, {0x201, LONG, 1, at[2]}, {0x202, LONG, 1, n[2]});
    size_t second = DIRECTORY(raw, third, {0x201, LONG, 1, at[1]}, {0x202, LONG, 1, n[1]});
    first_directory(raw, DIRECTORY(raw, second, {0x112, SHORT, 1, 1}, {0x14a, LONG, 1, sensor},
                                   {0x201, LONG, 1, at[0]}, {0x202, LONG, 1, n[0]}));
}

static size_t add_dng(struct raw *raw, int width, int height, int orientation)
{
    size_t n, at, shown;

    start(raw, "II*");
    at = add_sized(raw, width, height, &n);
    shown = DIRECTORY(raw, 0, {0xfe, LONG, 1, 1}, {0x103, SHORT, 1, 7}, {0x106, SHORT, 1, 6},
                      {0x111, LONG, 1, at}, {0x117, LONG, 1, n});
    first_directory(raw, DIRECTORY(raw, 0, {0x106, SHORT, 1, 34892},
                                   {0x112, SHORT, 1, (size_t)orientation}, {0x14a, LONG, 1, shown},
                                   {0xc612, 1, 4, 1}));
    return at;
}

static void make_dng(struct raw *raw) { add_dng(raw, 8, 1024, 3); }

/* The orientation is the preview's own where the raw file has none. */
static void make_rw2(struct raw *raw)
{
    size_t at;

    start(raw, "IIU");
    at = add_jpeg(raw, (struct jpeg){.width = 1920, .height = 8, .orientation = 8});
    first_directory(raw, DIRECTORY(raw, 0, {0x2e, UNDEFINED, raw->size - at, at}));
}

/* In the EXIF directory a maker's note, whose places count from its own start. */
static void make_orf(struct raw *raw)
{
    size_t note, n, at, settings, main, exif;

    start(raw, "IIRO");
    note = add(raw, "OLYMPUS\0II\3\0", 12);
    main = DIRECTORY(raw, 0, {0x2020, IFD, 1, 0});
    at = add_sized(raw, 3200, 8, &n);
    settings = DIRECTORY(raw, 0, {0x101, LONG, 1, at - note}, {0x102, LONG, 1, n});
    put(raw, main + 10, settings - note, 4);
    exif = DIRECTORY(raw, 0, {0x927c, UNDEFINED, raw->size - note, note});
    first_directory(raw, DIRECTORY(raw, 0, {0x112, SHORT, 1, 6}, {0x8769, LONG, 1, exif}));
}

static void make_raf(struct raw *raw)
{
    size_t at;

    *raw = (struct raw){.big = true};
    add(raw, "FUJIFILMCCD-RAW 0201FF389201", 28);
    add(raw, NULL, 100);
    at = add_jpeg(raw, (struct jpeg){.width = 1920, .height = 8, .orientation = 6});
    put(raw, 84, at, 4);
    put(raw, 88, raw->size - at, 4);
}

static void end_box(struct raw *raw, size_t at) { put(raw, at, raw->size - at, 4); }

static size_t add_box(struct raw *raw, const char *type)
{
    size_t at = add(raw, NULL, 4);

    add(raw, type, 4);
    return at;
}

static void make_cr3(struct raw *raw)
{
    *raw = (struct raw){.big = true};
    size_t type = add_box(raw, "ftyp");
    add(raw, "crx \0\0\0\1crx isom", 16);
    end_box(raw, type);
    size_t moov = add_box(raw, "moov"), canon = add_box(raw, "uuid");
    add(raw, "\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48", 16);
    size_t first = add_box(raw, "CMT1");
    add(raw, "II*\0\x8\0\0\0\1\0\x12\1\3\0\1\0\0\0\x8\0\0\0\0\0\0\0", 26);
    end_box(raw, first);
    end_box(raw, canon);
    end_box(raw, moov);
    size_t outer = add_box(raw, "uuid");
    add(raw, "\xea\xf4\x2b\x5e\x1c\x98\x4b\x88\xb9\xfb\xb7\xdc\x40\x6e\x4d\x16", 16);
    add(raw, "\0\0\0\0\0\0\0\1", 8);
    size_t preview = add_box(raw, "PRVW");
    size_t head = add(raw, NULL, 16);
    size_t at = add_jpeg(raw, (struct jpeg){.width = 1620, .height = 8});
    put(raw, head + 12, raw->size - at, 4);
    end_box(raw, preview);
    end_box(raw, outer);
    size_t data = add_box(raw, "mdat");
    put(raw, data, 1, 4); /* a size of 64 bits */
    add(raw, NULL, 24);
    put(raw, data + 12, raw->size - data, 4);
}

static const struct camera {
    const char *name;
    void (*make)(struct raw *);
    int64_t width, height; /* upright */
    int64_t x, y;          /* where the white block's middle is */
} cameras[] = {
    {"a.cr2", make_cr2, 8, 1200, 4, 4},    {"a.nef", make_nef, 16, 1600, 4, 1596},
    {"a.arw", make_arw, 4000, 8, 4, 4},    {"a.dng", make_dng, 8, 1024, 4, 1020},
    {"a.rw2", make_rw2, 8, 1920, 4, 1916}, {"a.orf", make_orf, 8, 3200, 4, 4},
    {"a.raf", make_raf, 8, 1920, 4, 4},    {"a.cr3", make_cr3, 8, 1620, 4, 1616},
};
#define CAMERAS (sizeof cameras / sizeof *cameras)

static clip_status decode(const struct raw *raw, struct clip_image *image, struct clip_error *error)
{
    return clip_image_decode(raw->bytes, raw->size, &usual, image, error);
}

static void the_largest_preview_comes_upright(void **state)
{
    (void)state;
    struct raw raw;

    for (size_t i = 0; i < CAMERAS; i++) {
        struct clip_error error;
        struct clip_image image;
        const struct camera *c = &cameras[i];

        cameras[i].make(&raw);
        print_message("    %s: %zu bytes\n", c->name, raw.size);
        assert_true(clip_image_has_suffix(c->name));
        test_ok(decode(&raw, &image, &error), &error);
        assert_int_equal(image.width, c->width);
        assert_int_equal(image.height, c->height);
        assert_in_range(image.rgb[3 * (c->y * c->width + c->x)], 250, 255);
        assert_in_range(image.rgb[3 * (c->height / 2 * c->width + c->width / 2)], 0, 5);
        clip_image_release(&image);
    }
}

static void as_stored_it_lies(void **state)
{
    (void)state;
    struct raw raw;
    struct clip_error error;
    struct clip_image image;
    struct clip_image_limits lying = {.max_pixels = CLIP_IMAGE_MAX_PIXELS};

    make_cr2(&raw);
    test_ok(clip_image_decode(raw.bytes, raw.size, &lying, &image, &error), &error);
    assert_int_equal(image.width, 1200);
    assert_int_equal(image.height, 8);
    clip_image_release(&image);
    lying.max_pixels = 1200 * 8 - 1;
    test_fails(clip_image_decode(raw.bytes, raw.size, &lying, &image, &error), &error,
               CLIP_ERR_DATA, "max_pixels");
}

/* The longer side counts, whether it is the width or the height. */
static void a_small_preview_is_refused_with_its_size(void **state)
{
    (void)state;
    struct raw raw;
    struct clip_error error;
    struct clip_image image;

    add_dng(&raw, 1023, 100, 1);
    test_fails(decode(&raw, &image, &error), &error, CLIP_ERR_DATA,
               "its embedded preview is 1023 x 100");
    add_dng(&raw, 160, 120, 6);
    test_fails(decode(&raw, &image, &error), &error, CLIP_ERR_DATA, "is 160 x 120");
    add_dng(&raw, 1024, 1, 1);
    test_ok(decode(&raw, &image, &error), &error);
    clip_image_release(&image);
}

static void a_file_without_a_preview_is_named(void **state)
{
    (void)state;
    struct raw raw;
    struct clip_error error;
    struct clip_image image;
    size_t at = add_dng(&raw, 1024, 8, 1);

    raw.bytes[at + 1] = 0; /* no JPEG is there any more */
    test_fails(decode(&raw, &image, &error), &error, CLIP_ERR_FORMAT, "holds no preview");

    /* a TIFF that is no camera's stays what it is, with a JPEG in it too */
    start(&raw, "II*");
    size_t n, jpeg = add_sized(&raw, 1200, 8, &n);
    first_directory(&raw, DIRECTORY(&raw, 0, {0x103, SHORT, 1, 7}, {0x106, SHORT, 1, 6},
                                    {0x111, LONG, 1, jpeg}, {0x117, LONG, 1, n}));
    test_fails(decode(&raw, &image, &error), &error, CLIP_ERR_FORMAT, "the image is TIFF");

    /* a preview whose last marker is missing */
    at = add_dng(&raw, 1024, 8, 1);
    for (size_t i = at; i + 1 < raw.size; i++)
        if (raw.bytes[i] == 0xff && raw.bytes[i + 1] == 0xd9) raw.bytes[i + 1] = 0;
    test_fails(decode(&raw, &image, &error), &error, CLIP_ERR_FORMAT,
               "the camera raw file's preview: ");
}

/* Directories that lead to each other are read once each; too many of them are refused. */
static void loops_end(void **state)
{
    (void)state;
    struct raw raw;
    struct clip_error error;
    struct clip_image image;
    size_t n, at, place, lists[4], fields[4];

    start(&raw, "II*");
    at = add_sized(&raw, 1200, 8, &n);
    place = raw.size;
    first_directory(&raw,
                    DIRECTORY(&raw, place, {0x106, SHORT, 1, 32803}, {0x14a, LONG, 1, place},
                              {0x201, LONG, 1, at}, {0x202, LONG, 1, n}, {0x8769, LONG, 1, place}));
    test_ok(decode(&raw, &image, &error), &error);
    clip_image_release(&image);

    start(&raw, "II*"); /* four lists of 20 places each */
    for (int i = 0; i < 4; i++) {
        lists[i] = add(&raw, NULL, 80);
        for (size_t k = 0; k < 20; k++)
            put(&raw, lists[i] + 4 * k, DIRECTORY(&raw, 0, {0x103, SHORT, 1, 6}), 4);
    }
    for (int i = 3; i >= 0; i--)
        fields[i] = DIRECTORY(&raw, i < 3 ? fields[i + 1] : 0, {0x14a, LONG, 20, lists[i]});
    first_directory(&raw, fields[0]);
    test_fails(decode(&raw, &image, &error), &error, CLIP_ERR_FORMAT, "more than 64 directories");
}

/* Wherever a file ends, it is refused or gives a preview that is whole; never is anything behind
 * its end read (the bytes lie in memory of exactly that size). */
static void nothing_behind_the_end_is_read(void **state)
{
    (void)state;
    struct raw raw;

    for (size_t i = 0; i < CAMERAS; i++) {
        int refused = 0;

        cameras[i].make(&raw);
        for (size_t n = 17; n < raw.size; n++) {
            struct clip_error error;
            struct clip_image image;
            uint8_t *bytes = malloc(n);

            assert_non_null(bytes);
            memcpy(bytes, raw.bytes, n);
            if (clip_image_decode(bytes, n, &usual, &image, &error) != CLIP_OK)
                refused++;
            else
                assert_true(image.width >= 1024 || image.height >= 1024);
            clip_image_release(&image);
            free(bytes);
        }
        assert_true(refused > 50);
    }
}

static void damage_is_survived(void **state)
{
    (void)state;
    struct raw raw;
    struct clip_rng rng = clip_rng_at(3, CLIP_RNG_TEST, 0, 0);
    int refused = 0;

    for (int i = 0; i < 4000; i++) {
        struct clip_error error;
        struct clip_image image;

        cameras[(size_t)i % CAMERAS].make(&raw);
        uint8_t *bytes = malloc(raw.size);
        assert_non_null(bytes);
        memcpy(bytes, raw.bytes, raw.size);
        for (uint32_t k = clip_rng_below(&rng, 4); k < 4; k++)
            bytes[clip_rng_below(&rng, (uint32_t)raw.size)] = (uint8_t)clip_rng_u32(&rng);
        if (clip_image_decode(bytes, raw.size, &usual, &image, &error) != CLIP_OK) refused++;
        clip_image_release(&image);
        free(bytes);
    }
    assert_in_range(refused, 400, 3999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_preview_comes_upright),
        cmocka_unit_test(as_stored_it_lies),
        cmocka_unit_test(a_small_preview_is_refused_with_its_size),
        cmocka_unit_test(a_file_without_a_preview_is_named),
        cmocka_unit_test(loops_end),
        cmocka_unit_test(nothing_behind_the_end_is_read),
        cmocka_unit_test(damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
