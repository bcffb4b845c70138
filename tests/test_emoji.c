/* The emoji set, from two small packages made here: what is read out of a .deb, which ideas are
 * kept, how images are put over white and varied, and that damaged or missing packages get a
 * sentence. */
#include <archive.h>
#include <archive_entry.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/threads.h"
#include "data/demo/emoji.h"
#include "tests/support.h"

#define FIRST "./usr/share/gems/gemojione-3.3.0/"
#define SECOND "./usr/share/gems/tanuki_emoji-0.6.0/app/assets/images/tanuki_emoji/"

/* Six entries, of which three are kept: a flag, a skin tone and one that the second artist has not
 * drawn are not. */
static const char *const first_index =
    "{\"hash\":{\"unicode\":\"0023-20E3\",\"unicode_alternates\":[\"0023-FE0F-20E3\"],\"name\":"
    "\"keycap number sign\","
    "\"category\":\"symbols\",\"keywords\":[\"symbol\",\"twitter\"]},"
    "\"flag_de\":{\"unicode\":\"1F1E9-1F1EA\",\"unicode_alternates\":[],\"name\":\"germany\","
    "\"category\":\"flags\","
    "\"keywords\":[]},"
    "\"boy_tone1\":{\"unicode\":\"1F466-1F3FB\",\"unicode_alternates\":[],\"name\":\"boy tone "
    "1\",\"category\":\"people\","
    "\"keywords\":[\"male\"]},"
    "\"couple_mm\":{\"unicode\":\"1F468-2764-1F468\",\"unicode_alternates\":[\"1F468-200D-2764-"
    "FE0F-200D-1F468\"],"
    "\"name\":\"couple (man,man)\",\"category\":\"people\",\"keywords\":[]},"
    "\"lonely\":{\"unicode\":\"1F9FF\",\"unicode_alternates\":[],\"name\":\"amulet\",\"category\":"
    "\"objects\",\"keywords\":[]},"
    "\"circus_tent\":{\"unicode\":\"1F3AA\",\"unicode_alternates\":[],\"name\":\"keycap number "
    "sign\",\"category\":\"travel\","
    "\"keywords\":[\"tab\\there\"]}}";

/* A PNG of one colour with a transparent left half. */
static struct clip_buffer make_png(int side, uint8_t red, uint8_t green, uint8_t blue)
{
    uint8_t rgba[32 * 32 * 4];
    struct clip_buffer out = {0};
    struct clip_error error;
    char bytes[32 * 32 * 8];
    size_t n = sizeof bytes;
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)side,
                       .height = (png_uint_32)side,
                       .format = PNG_FORMAT_RGBA};
    for (int i = 0; i < side * side; i++) {
        uint8_t pixel[4] = {red, green, blue, i % side < side / 2 ? 0 : 255};
        memcpy(rgba + 4 * i, pixel, 4);
    }
    assert_true(png_image_write_to_memory(&image, bytes, &n, 0, rgba, 0, NULL));
    test_ok(clip_buffer_append(&out, bytes, n, &error), &error);
    return out;
}

struct member {
    const char *name;
    const void *bytes;
    size_t size;
};

/* An archive in memory: ar, or a tar packed with xz. */
static struct clip_buffer make_archive(bool ar, const struct member *members, int count)
{
    struct clip_buffer out = {0};
    struct clip_error error;
    size_t capacity = 1 << 20, used = 0;
    char *bytes = malloc(capacity);
    struct archive *a = archive_write_new();
    if (ar)
        archive_write_set_format_ar_svr4(a);
    else
        archive_write_set_format_ustar(a);
    if (!ar) archive_write_add_filter_xz(a);
    archive_write_set_bytes_in_last_block(a, 1);
    assert_int_equal(archive_write_open_memory(a, bytes, capacity, &used), ARCHIVE_OK);
    for (int i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, members[i].name);
        archive_entry_set_size(entry, (la_int64_t)members[i].size);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, members[i].bytes, members[i].size), members[i].size);
        archive_entry_free(entry);
    }
    assert_int_equal(archive_write_free(a), ARCHIVE_OK);
    test_ok(clip_buffer_append(&out, bytes, used, &error), &error);
    free(bytes);
    return out;
}

static struct clip_buffer make_deb(const struct member *members, int count)
{
    struct clip_buffer data = make_archive(false, members, count);
    const struct member parts[] = {{"debian-binary", "2.0\n", 4},
                                   {"control.tar.xz", "?", 1},
                                   {"data.tar.xz", data.data, data.size}};
    struct clip_buffer deb = make_archive(true, parts, 3);
    clip_buffer_release(&data);
    return deb;
}

static struct clip_buffer first_deb(void)
{
    struct clip_buffer red = make_png(16, 200, 0, 0), green = make_png(16, 0, 200, 0);
    const struct member members[] = {
        {FIRST "config/index.json", first_index, strlen(first_index)},
        {FIRST "assets/png/0023-20E3.png", red.data, red.size},
        {FIRST "assets/png/1F1E9-1F1EA.png", red.data, red.size},
        {FIRST "assets/png/1F466-1F3FB.png", red.data, red.size},
        {FIRST "assets/png/1F468-2764-1F468.png", green.data, green.size},
        {FIRST "assets/png/1F9FF.png", red.data, red.size},
        {FIRST "assets/png/1F3AA.png", red.data, red.size},
        {FIRST "assets/svg/0023-20E3.svg", "<svg/>", 6},
        {"./usr/share/doc/ruby-gemojione/copyright", "terms", 5},
    };
    struct clip_buffer deb = make_deb(members, 9);
    clip_buffer_release(&red);
    clip_buffer_release(&green);
    return deb;
}

static struct clip_buffer second_deb(void)
{
    struct clip_buffer blue = make_png(18, 0, 0, 200);
    const struct member members[] = {
        {SECOND "emoji_u0023_20e3.png", blue.data, blue.size},
        {SECOND "emoji_u1f468_200d_2764_200d_1f468.png", blue.data, blue.size},
        {SECOND "emoji_u1f3aa.png", blue.data, blue.size},
        {SECOND "emoji_u1f466_1f3fb.png", blue.data, blue.size},
        {SECOND "DE.png", blue.data, blue.size},
    };
    struct clip_buffer deb = make_deb(members, 5);
    clip_buffer_release(&blue);
    return deb;
}

static const char *deb_folder(void)
{
    const char *folder = test_folder();
    struct clip_buffer a = first_deb(), b = second_deb();
    test_write(folder, "ruby-gemojione_3.3.0-1_all.deb", a.data, a.size);
    test_write(folder, "ruby-tanuki-emoji_0.6.0-2_all.deb", b.data, b.size);
    clip_buffer_release(&a);
    clip_buffer_release(&b);
    return folder;
}

static void a_package_gives_its_images_index_and_terms(void **state)
{
    (void)state;
    struct clip_buffer deb = first_deb();
    struct clip_emoji_package package;
    struct clip_error error;
    test_ok(clip_emoji_package_parse(deb.data, deb.size, "a.deb", &package, &error), &error);
    assert_int_equal(package.count, 8); /* not the svg */
    for (int64_t i = 1; i < package.count; i++)
        assert_true(strcmp(package.files[i - 1].name, package.files[i].name) < 0);
    const struct clip_emoji_file *terms = clip_emoji_package_find(&package, "/copyright");
    assert_non_null(terms);
    assert_string_equal(terms->bytes.data, "terms");
    assert_null(clip_emoji_package_find(&package, ".svg"));
    clip_emoji_package_release(&package);
    clip_buffer_release(&deb);
}

static void cut_and_foreign_packages_are_refused(void **state)
{
    (void)state;
    struct clip_buffer deb = first_deb();
    struct clip_emoji_package package;
    struct clip_error error;
    for (size_t n = 0; n < deb.size; n += n < 200 ? 7 : 61) {
        clip_status status = clip_emoji_package_parse(deb.data, n, "cut.deb", &package, &error);
        if (status == CLIP_OK)
            test_fail("the first %zu of %zu bytes were taken for a package", n, deb.size);
        assert_non_null(strstr(error.message, "cut.deb"));
        assert_null(package.files);
    }
    test_fails(clip_emoji_package_parse("hello, world", 12, "a.deb", &package, &error), &error,
               CLIP_ERR_FORMAT, "a.deb");
    const struct member other = {"debian-binary", "2.0\n", 4};
    struct clip_buffer empty = make_archive(true, &other, 1);
    test_fails(clip_emoji_package_parse(empty.data, empty.size, "a.deb", &package, &error), &error,
               CLIP_ERR_FORMAT, "no data.tar");
    clip_buffer_release(&empty);
    clip_buffer_release(&deb);
}

/* Bytes changed anywhere must not harm the reader (run under sanitizers); whether it refuses is its
 * choice. */
static void damaged_packages_do_no_harm(void **state)
{
    (void)state;
    struct clip_buffer deb = first_deb();
    struct clip_rng rng = clip_rng_at(0, CLIP_RNG_TEST, 1, 0);
    for (int i = 0; i < 300; i++) {
        struct clip_emoji_package package;
        struct clip_error error;
        size_t at = clip_rng_below(&rng, (uint32_t)deb.size);
        char kept = deb.data[at];
        deb.data[at] = (char)clip_rng_u32(&rng);
        if (clip_emoji_package_parse(deb.data, deb.size, "a.deb", &package, &error) == CLIP_OK)
            clip_emoji_package_release(&package);
        deb.data[at] = kept;
    }
    clip_buffer_release(&deb);
}

static void read_both(struct clip_emoji_package packages[2])
{
    struct clip_buffer a = first_deb(), b = second_deb();
    struct clip_error error;
    test_ok(clip_emoji_package_parse(a.data, a.size, "a.deb", &packages[0], &error), &error);
    test_ok(clip_emoji_package_parse(b.data, b.size, "b.deb", &packages[1], &error), &error);
    clip_buffer_release(&a);
    clip_buffer_release(&b);
}

static void flags_tones_and_what_one_artist_lacks_are_left_out(void **state)
{
    (void)state;
    struct clip_emoji_package packages[2];
    struct clip_emoji_ideas ideas;
    struct clip_error error;
    read_both(packages);
    test_ok(clip_emoji_ideas_read(&packages[0], &packages[1], &ideas, &error), &error);
    assert_int_equal(ideas.count, 3);
    assert_string_equal(ideas.ideas[0].name, "keycap number sign");
    assert_string_equal(ideas.ideas[0].key, "hash");
    assert_int_equal(ideas.ideas[0].keyword_count, 2);
    assert_string_equal(ideas.ideas[0].keywords[1], "twitter");
    assert_string_equal(ideas.ideas[1].code, "1F468-2764-1F468"); /* found by its other spelling */
    assert_string_equal(ideas.ideas[2].name, "circus tent");      /* its own name was taken */
    assert_string_equal(ideas.ideas[2].keywords[0], "tab here");
    assert_non_null(
        strstr(packages[1].files[ideas.ideas[1].second].name, "u1f468_200d_2764_200d_1f468"));
    clip_emoji_ideas_release(&ideas);
    test_fails(clip_emoji_ideas_read(&packages[1], &packages[0], &ideas, &error), &error,
               CLIP_ERR_DATA, "index.json");
    clip_emoji_package_release(&packages[0]);
    clip_emoji_package_release(&packages[1]);
}

static void captions_come_from_name_short_name_and_keywords(void **state)
{
    (void)state;
    const char *words[] = {"nature", "woof"};
    struct clip_emoji_idea dog = {
        .name = "dog face", .key = "dog", .keywords = words, .keyword_count = 2};
    int names = 0, keys = 0, words_alone = 0, both = 0;
    struct clip_buffer out = {0};
    struct clip_error error;
    for (int i = 0; i < 1000; i++) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_TEST, 2, (uint64_t)i);
        out.size = 0;
        test_ok(clip_emoji_caption(&dog, &rng, &out, &error), &error);
        bool name = strstr(out.data, "dog face") != NULL,
             key = strstr(out.data, "dog") != NULL && !name;
        bool word = strstr(out.data, "nature") != NULL || strstr(out.data, "woof") != NULL;
        assert_true(name || key || word);
        assert_null(strpbrk(out.data, "{}\t\n\""));
        names += name && !word;
        keys += key;
        words_alone += word && !name;
        both += word && name;
    }
    assert_in_range(names, 350, 550);
    assert_in_range(keys, 90, 220);
    assert_in_range(both, 180, 330);
    assert_in_range(words_alone, 80, 220);
    dog.keyword_count = 0;
    for (int i = 0; i < 200; i++) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_TEST, 3, (uint64_t)i);
        out.size = 0;
        test_ok(clip_emoji_caption(&dog, &rng, &out, &error), &error);
        assert_non_null(strstr(out.data, "dog"));
    }
    clip_buffer_release(&out);
}

static void transparency_shows_white(void **state)
{
    (void)state;
    struct clip_buffer png = make_png(16, 200, 100, 0);
    struct clip_emoji_image image;
    struct clip_error error;
    uint8_t rgb[16 * 16 * 3];
    test_ok(clip_emoji_image_decode(&png, "a.png", &image, &error), &error);
    assert_int_equal(image.width, 16);
    test_ok(clip_emoji_image_plain(&image, 16, rgb, &error), &error);
    for (int i = 0; i < 16 * 16; i++) {
        const uint8_t expected[2][3] = {{255, 255, 255}, {200, 100, 0}};
        assert_memory_equal(rgb + 3 * i, expected[i % 16 >= 8], 3);
    }
    clip_emoji_image_release(&image);
    png.size /= 2;
    test_fails(clip_emoji_image_decode(&png, "a.png", &image, &error), &error, CLIP_ERR_FORMAT,
               "a.png");
    assert_null(image.rgba);
    clip_buffer_release(&png);
}

static void variants_differ_and_stay_recognisable(void **state)
{
    (void)state;
    struct clip_buffer png = make_png(16, 220, 30, 30);
    struct clip_emoji_image image;
    struct clip_error error;
    uint8_t rgb[32 * 32 * 3], again[32 * 32 * 3], last[32 * 32 * 3] = {0};
    int white = 0;
    test_ok(clip_emoji_image_decode(&png, "a.png", &image, &error), &error);
    for (int i = 0; i < 200; i++) {
        struct clip_rng rng = clip_rng_at(0, CLIP_RNG_TEST, 4, (uint64_t)i), copy = rng;
        test_ok(clip_emoji_image_vary(&image, &rng, 32, rgb, &error), &error);
        test_ok(clip_emoji_image_vary(&image, &copy, 32, again, &error), &error);
        test_same_u8("the same draw", again, rgb, sizeof rgb);
        assert_memory_not_equal(rgb, last, sizeof rgb);
        memcpy(last, rgb, sizeof rgb);
        const uint8_t *left = rgb + 3 * (16 * 32 + 6), *right = rgb + 3 * (16 * 32 + 24);
        assert_memory_not_equal(left, right, 3);
        white += left[0] == 255 && left[1] == 255 && left[2] == 255;
    }
    assert_in_range(white, 90, 170);
    clip_emoji_image_release(&image);
    clip_buffer_release(&png);
}

static const char *file_text(const char *folder, const char *name, struct clip_buffer *out)
{
    struct clip_error error;
    clip_buffer_release(out);
    test_ok(clip_file_read(test_path(folder, name), 1 << 20, out, &error), &error);
    return out->data;
}

static int64_t lines(const char *text)
{
    int64_t n = 0;
    for (; *text != '\0'; text++) n += *text == '\n';
    return n;
}

static void the_set_is_written(void **state)
{
    (void)state;
    const char *debs = deb_folder(), *outputs[2] = {test_folder(), test_folder()};
    struct clip_emoji_counts counts;
    struct clip_error error;
    struct clip_buffer text = {0}, other = {0};
    for (int i = 0; i < 2; i++) {
        struct clip_emoji_options options = {.output = outputs[i],
                                             .debs = debs,
                                             .image_size = 32,
                                             .variants = 3,
                                             .seed = 5,
                                             .quiet = true};
        clip_threads_set(i == 0 ? 1 : 3);
        test_ok(clip_emoji_write(&options, &counts, &error), &error);
    }
    clip_threads_set(0);
    assert_int_equal(counts.ideas, 3);
    assert_int_equal(lines(file_text(outputs[0], "train.csv", &text)), 1 + 9);
    assert_int_equal(counts.train_pairs, 9);
    assert_int_equal(lines(file_text(outputs[0], "val.csv", &text)), 1 + counts.val_pairs);
    assert_string_equal(
        file_text(outputs[0], "test.csv", &text),
        "filepath\ttitle\ntest/0023-20E3/00.png\tkeycap number sign\n"
        "test/1F468-2764-1F468/00.png\tcouple (man,man)\ntest/1F3AA/00.png\tcircus tent\n");
    assert_string_equal(
        file_text(outputs[0], "classes.txt", &text),
        "keycap number sign\t0023-20E3\ncouple (man,man)\t1F468-2764-1F468\ncircus tent\t1F3AA\n");
    assert_string_equal(file_text(outputs[0], "gemojione.copyright", &text), "terms");
    const char *same[] = {"train.csv",          "tokenizer.txt",        "train/1F3AA/00.png",
                          "train/1F3AA/02.png", "val/0023-20E3/01.png", "test/1F3AA/00.png"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        file_text(outputs[0], same[i], &text);
        file_text(outputs[1], same[i], &other);
        assert_int_equal(text.size, other.size);
        assert_memory_equal(text.data, other.data, text.size);
    }
    /* The first artist is for training, the second for testing. */
    struct clip_image image = {0};
    struct clip_image_limits limits = {.max_pixels = 10000};
    test_ok(clip_image_decode_file(test_path(outputs[0], "train/0023-20E3/00.png"), &limits, &image,
                                   &error),
            &error);
    assert_int_equal(image.width, 32);
    assert_int_equal(image.rgb[3 * 31], 200);
    clip_image_release(&image);
    test_ok(clip_image_decode_file(test_path(outputs[0], "test/0023-20E3/00.png"), &limits, &image,
                                   &error),
            &error);
    assert_int_equal(image.rgb[3 * 31 + 2], 200);
    clip_image_release(&image);
    clip_buffer_release(&text);
    clip_buffer_release(&other);
}

static void missing_packages_and_wrong_wishes_get_a_sentence(void **state)
{
    (void)state;
    struct clip_emoji_counts counts;
    struct clip_error error;
    struct clip_emoji_options options = {.output = test_folder(),
                                         .debs = test_folder(),
                                         .image_size = 32,
                                         .variants = 3,
                                         .quiet = true};
    test_fails(clip_emoji_write(&options, &counts, &error), &error, CLIP_ERR_NOT_FOUND,
               "apt-get download ruby-gemojione");
    options.debs = "/nowhere/at/all";
    assert_int_not_equal(clip_emoji_write(&options, &counts, &error), CLIP_OK);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
    options.debs = deb_folder();
    options.variants = 0;
    test_fails(clip_emoji_write(&options, &counts, &error), &error, CLIP_ERR_USAGE, "--variants 0");
    options.variants = 1;
    options.image_size = 513;
    test_fails(clip_emoji_write(&options, &counts, &error), &error, CLIP_ERR_USAGE,
               "--image-size 513");
}

/* Without apt-get on the path nothing can be fetched; the sentence says what to do. */
static void what_cannot_be_fetched_gets_a_sentence(void **state)
{
    (void)state;
    struct clip_error error;
    const char *kept = getenv("PATH"), *folder = test_folder();
    char *path = kept != NULL ? strdup(kept) : NULL;
    setenv("PATH", folder, 1);
    char *found = clip_emoji_package_get(folder, "ruby-gemojione", true, true, &error);
    if (path != NULL) setenv("PATH", path, 1);
    free(path);
    assert_null(found);
    assert_non_null(strstr(error.message, "apt-get update"));
    assert_non_null(strstr(error.message, "--debs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_package_gives_its_images_index_and_terms),
        cmocka_unit_test(cut_and_foreign_packages_are_refused),
        cmocka_unit_test(damaged_packages_do_no_harm),
        cmocka_unit_test(flags_tones_and_what_one_artist_lacks_are_left_out),
        cmocka_unit_test(captions_come_from_name_short_name_and_keywords),
        cmocka_unit_test(transparency_shows_white),
        cmocka_unit_test(variants_differ_and_stay_recognisable),
        cmocka_unit_test(the_set_is_written),
        cmocka_unit_test(missing_packages_and_wrong_wishes_get_a_sentence),
        cmocka_unit_test(what_cannot_be_fetched_gets_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
