/* clip_data check: every number of the report, by a set whose faults are known. */
#include "tests/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/threads.h"
#include "data/sets/check_internal.h"

static void write_image(const char *folder, const char *name, int width, int height, int number)
{
    struct clip_image image = {.width = width, .height = height};
    struct clip_buffer png = {0};
    struct clip_error error;
    image.rgb = malloc((size_t)(3 * width * height));
    assert_non_null(image.rgb);
    memset(image.rgb, number, (size_t)(3 * width * height));
    test_ok(clip_image_encode_png(&image, &png, &error), &error);
    test_write(folder, name, png.data, png.size);
    clip_buffer_release(&png);
    clip_image_release(&image);
}

static struct clip_dataset *open_set(const char *path, bool images_only)
{
    struct clip_dataset_options options = {.images_only = images_only};
    struct clip_dataset *set = NULL;
    struct clip_error error;
    test_ok(clip_dataset_open(&set, path, &options, &error), &error);
    return set;
}

static const char *write_set(void)
{
    const char *folder = test_folder();
    write_image(folder, "a.png", 10, 20, 1);
    write_image(folder, "b.png", 30, 10, 2);
    write_image(folder, "twin.png", 10, 20, 1); /* a.png's bytes */
    write_image(folder, "c.png", 16, 16, 3);
    test_write_text(folder, "broken.png", "\x89PNG\r\n\x1a\nbroken");
    return test_write_text(folder, "pairs.csv",
                           "filepath,title\n"
                           "a.png,  \n"           /* 0: empty, so 1 reads the image */
                           "a.png,one\n"          /* 1 */
                           "b.png,two words\n"    /* 2 */
                           "broken.png,three\n"   /* 3: bad image */
                           "twin.png,one\n"       /* 4: repeated caption, twin */
                           "broken.png,four\n"    /* 5: bad as 3 is */
                           "gone.png,five\n"      /* 6: not there */
                           "c.png,\xe7\x8c\xab\n" /* 7: one character, three bytes */
                           "c.png,b\xe9"
                           "d\n"                               /* 8: not UTF-8 */
                           "c.png\n"                           /* 9: a ragged row */
                           "b.png,a quite long caption here\n" /* 10 */
                           "a.png,again\n");                   /* 11 */
}

static void counts_what_is_there(void **state)
{
    (void)state;
    struct clip_dataset *set = open_set(write_set(), false);
    struct clip_check_options options = {.quiet = true};
    struct clip_check_report report;
    struct clip_error error;
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    assert_string_equal(report.format, "csv");
    assert_int_equal(report.samples, 12);
    assert_int_equal(report.good, 6);
    assert_int_equal(report.bad_count, 6);
    static const struct {
        int64_t sample;
        const char *word;
    } bad[] = {{0, "pairs.csv:2 (a.png): the caption is empty"},
               {3, "pairs.csv:5 (broken.png): "},
               {5, "pairs.csv:7 (broken.png): "},
               {6, "gone.png: no such file"},
               {8, "pairs.csv:10 (c.png): the caption is not UTF-8"},
               {9, "pairs.csv:11: the row has 1 field"}};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(report.bad[i].sample, bad[i].sample);
        if (strstr(report.bad[i].reason, bad[i].word) == NULL)
            test_fail("%d: %s", i, report.bad[i].reason);
    }
    assert_non_null(strstr(report.bad[1].name, "broken.png"));
    assert_int_equal(report.empty_captions, 1);
    assert_int_equal(report.captions, 8); /* one two three four five cat long again */
    assert_int_equal(report.repeated_captions, 1);
    assert_int_equal(report.duplicates.count, 1);
    assert_non_null(strstr(report.duplicates.items[0].name, "twin.png"));
    assert_non_null(strstr(report.duplicates.items[0].first, "a.png"));
    assert_int_equal(report.width.min, 10);
    assert_int_equal(report.width.median, 10); /* 10 10 16 30, one an image */
    assert_int_equal(report.width.max, 30);
    assert_int_equal(report.height.median, 16);
    assert_int_equal(report.characters.measured, 9);
    assert_int_equal(report.characters.range.min, 1);
    assert_int_equal(report.characters.range.median, 4); /* 1 3 3 4 4 5 5 9 25 */
    assert_int_equal(report.characters.range.max, 25);
    assert_int_equal(report.context_length, 0);
    assert_int_equal(report.tokens.measured, 0);
    clip_check_release(&report);
    clip_dataset_free(set);
}

static void counts_tokens(void **state)
{
    (void)state;
    static const char merges[] = "#version: 0.2\nq q\n";
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_check_report report;
    struct clip_error error;
    struct clip_dataset *set = open_set(write_set(), false);
    test_ok(clip_tokenizer_parse(&tokenizer, merges, sizeof merges - 1, "none", &error), &error);
    struct clip_check_options options = {
        .tokenizer = tokenizer, .context_length = 9, .quiet = true};
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    assert_int_equal(report.context_length, 9);
    assert_int_equal(report.tokens.measured, 9);
    assert_int_equal(report.tokens.range.min, 5);  /* one: one token per byte, two ends */
    assert_int_equal(report.tokens.range.max, 23); /* spaces have none */
    assert_int_equal(report.over_context, 2);      /* two words: 8 + 2; the long one */
    int64_t sum = 0;
    for (int i = 0; i < CLIP_CHECK_BINS; i++) sum += report.tokens.bins[i];
    assert_int_equal(sum, 9);
    clip_check_release(&report);
    clip_dataset_free(set);
    clip_tokenizer_free(tokenizer);
}

/* A Unigram's texts have an end but no start: two ids say something. */
static void a_caption_of_one_token_is_not_empty(void **state)
{
    (void)state;
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_check_report report;
    struct clip_error error;
    const char *folder = test_folder();
    write_image(folder, "a.png", 10, 20, 1);
    struct clip_dataset *set =
        open_set(test_write_text(folder, "pairs.csv", "filepath,title\na.png,dog\n"), false);
    test_ok(clip_tokenizer_open(&tokenizer, "tests/reference/tokens/unigram.json", NULL, &error),
            &error);
    struct clip_check_options options = {
        .tokenizer = tokenizer, .context_length = 9, .quiet = true};
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    assert_int_equal(report.good, 1);
    assert_int_equal(report.empty_captions, 0);
    assert_int_equal(report.tokens.range.max, 2);
    clip_check_release(&report);
    clip_dataset_free(set);
    clip_tokenizer_free(tokenizer);
}

static struct clip_buffer report_of(const struct clip_dataset *set, int threads)
{
    struct clip_check_options options = {.quiet = true};
    struct clip_check_report report;
    struct clip_buffer text = {0};
    struct clip_error error;
    clip_threads_set(threads);
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    json_t *json = clip_check_to_json(&report, &error);
    assert_non_null(json);
    test_ok(clip_json_append(&text, json, &error), &error);
    json_decref(json);
    clip_check_release(&report);
    clip_threads_set(0);
    return text;
}

static void json_does_not_depend_on_threads(void **state)
{
    (void)state;
    struct clip_dataset *set = open_set(write_set(), false);
    struct clip_buffer one = report_of(set, 1), three = report_of(set, 3);
    struct clip_error error;
    assert_string_equal(one.data, three.data);
    json_t *json = clip_json_parse(one.data, one.size, "report", &error);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "samples")), 12);
    assert_int_equal(json_integer_value(json_object_get(json, "bad_count")), 6);
    json_t *bad = json_array_get(json_object_get(json, "bad"), 0);
    assert_int_equal(json_integer_value(json_object_get(bad, "sample")), 0);
    assert_non_null(strstr(json_string_value(json_object_get(bad, "reason")), "empty"));
    json_t *characters = json_object_get(json, "caption_characters");
    assert_int_equal(json_array_size(json_object_get(characters, "bins")), CLIP_CHECK_BINS);
    assert_null(json_object_get(json, "caption_tokens"));
    json_decref(json);
    clip_buffer_release(&one);
    clip_buffer_release(&three);
    clip_dataset_free(set);
}

static void prints_for_a_person(void **state)
{
    (void)state;
    struct clip_dataset *set = open_set(write_set(), false);
    struct clip_check_options options = {.quiet = true};
    struct clip_check_report report;
    struct clip_error error;
    char *text = NULL;
    size_t n = 0;
    FILE *stream = open_memstream(&text, &n);
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    clip_check_print(&report, stream);
    fclose(stream);
    assert_non_null(strstr(text, "csv: 12 samples, 6 good, 6 bad\n"));
    assert_non_null(strstr(text, "bad: "));
    assert_non_null(strstr(text, "pairs.csv:11: the row has 1 field"));
    assert_non_null(strstr(text, "same image: "));
    assert_non_null(strstr(text, "captions: 8 different, 1 repeated, 1 empty\n"));
    assert_non_null(strstr(text, "caption length in characters: 1 to 25, median 4\n"));
    free(text);
    clip_check_release(&report);
    clip_dataset_free(set);
}

/* An image with something to see: waves, and a box whose place the number chooses. `noise` is
 * added to every sample. */
static void draw(const char *folder, const char *name, int side, int number, int noise)
{
    struct clip_image image = {.width = side, .height = side};
    struct clip_buffer png = {0};
    struct clip_error error;
    image.rgb = malloc((size_t)(3 * side * side));
    assert_non_null(image.rgb);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            double u = (double)x / side, v = (double)y / side, a = 0.07 * (number % 9);
            bool box = u > a && u < a + 0.3 && v > 0.6 - a && v < 0.9 - a;
            uint8_t *p = image.rgb + 3 * (y * side + x);
            p[0] = (uint8_t)(100 + 80 * sin(9 * u + number) + noise);
            p[1] = (uint8_t)(100 + 80 * cos(7 * v * (1 + number % 4)) + noise);
            p[2] = (uint8_t)((box ? 200 : 40) + noise);
        }
    test_ok(clip_image_encode_png(&image, &png, &error), &error);
    test_write(folder, name, png.data, png.size);
    clip_buffer_release(&png);
    clip_image_release(&image);
}

/* Eight images, and what is wrong with some of them planted. */
static const char *plant(const char *folder)
{
    char name[32];
    test_ok(clip_folder_create(test_path(folder, "in"), &(struct clip_error){0}),
            &(struct clip_error){0});
    folder = test_path(folder, "in");
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "p%d.png", i);
        draw(folder, name, 64, i, 0);
    }
    draw(folder, "copy.png", 64, 2, 0);
    draw(folder, "smaller.png", 48, 3, 0);
    draw(folder, "brighter.png", 64, 4, 6);
    draw(folder, "tiny.png", 20, 20, 0);
    draw(folder, "val.png", 64, 5, 0);
    draw(folder, "val near.png", 64, 6, 5);
    test_write_text(folder, "val.csv", "filepath,title\nval.png,in both\nval near.png,x\n");
    return test_write_text(folder, "pairs.tsv",
                           "filepath\ttitle\n"
                           "p0.png\tzero\n"
                           "p1.png\tone\n"
                           "p2.png\ttwo\n"
                           "p3.png\tthree\n"
                           "p4.png\tfour\n"
                           "p5.png\tfive\n" /* 5: a leak */
                           "p6.png\tsix\n"  /* 6: a leak, near */
                           "p7.png\t\"a \"\"tab\"\"\tin it\"\n"
                           "copy.png\tother words\n"  /* 8 */
                           "smaller.png\tsmaller\n"   /* 9 */
                           "brighter.png\tbrighter\n" /* 10 */
                           "tiny.png\ttiny\n"         /* 11 */
                           "p0.png\tzero\n"           /* 12: repeated */
                           "p0.png\tin both\n"        /* 13: only the words are there */
                           "p1.png\t \n");            /* 14: bad */
}

static void finds_what_is_planted(void **state)
{
    (void)state;
    const char *folder = test_folder(), *list = plant(folder);
    struct clip_dataset *set = open_set(list, false);
    struct clip_dataset *val = open_set(test_path(folder, "in/val.csv"), false);
    struct clip_check_options options = {.quiet = true};
    struct clip_check_report report;
    struct clip_error error;
    test_ok(clip_check_run(&report, set, val, "val.csv", &options, &error), &error);
    static const unsigned char verdicts[15] = {
        [5] = CLIP_CHECK_LEAK,    [6] = CLIP_CHECK_LEAK,  [8] = CLIP_CHECK_COPY,
        [9] = CLIP_CHECK_NEAR,    [10] = CLIP_CHECK_NEAR, [11] = CLIP_CHECK_TINY,
        [12] = CLIP_CHECK_REPEAT, [14] = CLIP_CHECK_BAD};
    for (int i = 0; i < 15; i++)
        if (report.verdicts[i] != verdicts[i])
            test_fail("sample %d: verdict %d, not %d", i, report.verdicts[i], verdicts[i]);
    assert_int_equal(report.duplicates.count, 1);
    assert_int_equal(report.duplicates.items[0].sample, 8);
    assert_int_equal(report.duplicates.items[0].first_sample, 2);
    assert_int_equal(report.near.count, 2);
    assert_int_equal(report.near.items[0].first_sample, 3);
    assert_int_equal(report.near.items[1].first_sample, 4);
    assert_int_equal(report.leaks.count, 2);
    assert_false(report.leaks.items[0].near);
    assert_true(report.leaks.items[1].near);
    assert_string_equal(clip_path_name(report.leaks.items[1].first), "val near.png");
    assert_int_equal(report.leaked_captions, 1);
    assert_int_equal(report.tiny, 1);
    assert_int_equal(report.repeated_pairs, 1);
    json_t *json = clip_check_to_json(&report, &error), *against = json_object_get(json, "against");
    assert_int_equal(json_integer_value(json_object_get(against, "leak_count")), 2);
    assert_int_equal(json_array_size(json_object_get(json, "near_duplicates")), 2);
    json_decref(json);

    /* The page: every part of it, and no image or script from elsewhere. */
    struct clip_buffer page = {0};
    const char *html = test_path(folder, "report.html");
    test_ok(clip_check_write_html(html, &report, "a <set> & more", set, val, &error), &error);
    test_ok(clip_file_read(html, 1 << 20, &page, &error), &error);
    static const char *const parts[] = {"a &lt;set&gt; &amp; more",
                                        "the caption is empty",
                                        "data:image/png;base64,iVBOR",
                                        "Leaks",
                                        "look alike",
                                        "Short side in pixels",
                                        "Caption length in characters"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(page.data, parts[i]) == NULL) test_fail("no \"%s\" in the page", parts[i]);
    assert_null(strstr(page.data, "http"));
    assert_null(strstr(page.data, "<script"));
    clip_buffer_release(&page);
    clip_check_release(&report);
    clip_dataset_free(set);
    clip_dataset_free(val);
}

/* The list lies in another folder; read from there, it names the same images. */
static void writes_a_clean_list(void **state)
{
    (void)state;
    static const char *const names[] = {"out/deep/clean.csv", "clean.tsv", "in/clean.csv"};
    static const char *const paths[] = {"../../in/p0.png", "in/p0.png", "p0.png"};
    const char *folder = test_folder(), *list = plant(folder);
    struct clip_check_options options = {.quiet = true};
    struct clip_check_report report;
    struct clip_check_fixed fixed;
    struct clip_error error;
    char here[4096];
    test_ok(clip_folder_create(test_path(folder, "out/deep"), &error), &error);
    /* A relative path in the list's name, so that its images' paths are relative. */
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    struct clip_dataset *set = open_set("in/pairs.tsv", false);
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    for (int i = 0; i < 3; i++) {
        struct clip_buffer text = {0};
        test_ok(clip_check_fix(names[i], &report, set, false, &fixed, &error), &error);
        assert_int_equal(fixed.kept, 9);
        assert_int_equal(fixed.bad + fixed.tiny + fixed.copies + fixed.repeats, 4);
        assert_int_equal(fixed.near, 2);
        test_ok(clip_file_read(names[i], 1 << 16, &text, &error), &error);
        if (strstr(text.data, paths[i]) == NULL) test_fail("%s: %s", names[i], text.data);
        clip_buffer_release(&text);
        struct clip_dataset *clean = open_set(names[i], false);
        struct clip_sample sample = {0};
        assert_int_equal(clean->count, 9);
        test_ok(clean->ops->read(clean, 7, NULL, &sample, &error), &error);
        assert_string_equal(sample.caption.data, "a \"tab\"\tin it");
        clip_sample_release(&sample);
        clip_dataset_free(clean);
    }
    test_ok(clip_check_can_fix("clean.tsv", set, "in/pairs.tsv", &error), &error);
    test_fails(clip_check_can_fix("clean.txt", set, "in/pairs.tsv", &error), &error, CLIP_ERR_USAGE,
               ".csv or .tsv");
    test_fails(clip_check_fix("none/clean.csv", &report, set, false, &fixed, &error), &error,
               CLIP_ERR_NOT_FOUND, "none");
    assert_int_equal(chdir(here), 0);
    clip_check_release(&report);
    clip_dataset_free(set);
    (void)list;
}

/* The search by parts finds what comparing all pairs finds. */
static void near_pairs_are_all_found(void **state)
{
    (void)state;
    enum { N = 600, M = 150 };
    struct clip_look *looks = calloc(N, sizeof *looks);
    int64_t found[N], cross[M], pairs = 0;
    struct clip_rng rng = clip_rng_at(3, CLIP_RNG_TEST, 0, 0);
    struct clip_error error;
    assert_non_null(looks);
    for (int i = 0; i < N; i++) {
        int like = i > 0 ? (int)clip_rng_below(&rng, (uint32_t)i) : 0;
        looks[i] = looks[like]; /* like an earlier one, with up to 60 bits turned */
        for (uint32_t n = clip_rng_below(&rng, 60); n > 0; n--) {
            uint32_t bit = clip_rng_below(&rng, 256);
            looks[i].bits[bit / 64] ^= (uint64_t)1 << bit % 64;
        }
        looks[i].colour[clip_rng_below(&rng, 48)] += (uint8_t)clip_rng_below(&rng, 40);
    }
    test_ok(clip_looks_match(looks, N, found, &error), &error);
    test_ok(clip_looks_find(looks, M, looks + M, N - M, cross, &error), &error);
    for (int i = 0; i < N; i++) {
        int j = 0;
        while (j < i && !clip_look_near(&looks[i], &looks[j])) j++;
        assert_int_equal(found[i], j < i ? j : -1);
        pairs += j < i;
        for (j = M; i < M && j < N && !clip_look_near(&looks[i], &looks[j]);) j++;
        if (i < M) assert_int_equal(cross[i], j < N ? j - M : -1);
    }
    assert_in_range(pairs, 50, N - 50);
    free(looks);
}

static void images_alone(void **state)
{
    (void)state;
    const char *folder = test_folder();
    write_image(folder, "a.png", 4, 4, 1);
    test_write_text(folder, "zero.jpg", "");
    test_write(folder, "caf\xe9.jpg", "no image", 8);
    struct clip_dataset *set = open_set(folder, true);
    struct clip_check_options options = {.images_only = true, .quiet = true};
    struct clip_check_report report;
    struct clip_error error;
    test_ok(clip_check_run(&report, set, NULL, NULL, &options, &error), &error);
    assert_int_equal(report.good, 1);
    assert_int_equal(report.bad_count, 2);
    assert_int_equal(report.images, 3);
    assert_int_equal(report.empty_captions, 0);
    json_t *json = clip_check_to_json(&report, &error); /* a name that is not UTF-8 */
    assert_non_null(json);
    json_decref(json);
    clip_check_release(&report);
    clip_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_is_there),
        cmocka_unit_test(counts_tokens),
        cmocka_unit_test(a_caption_of_one_token_is_not_empty),
        cmocka_unit_test(json_does_not_depend_on_threads),
        cmocka_unit_test(prints_for_a_person),
        cmocka_unit_test(images_alone),
        cmocka_unit_test(finds_what_is_planted),
        cmocka_unit_test(writes_a_clean_list),
        cmocka_unit_test(near_pairs_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
