/* clip_data check: every number of the report, by a set whose faults are known. */
#include "tests/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/threads.h"
#include "data/check.h"

static void write_picture(const char *folder, const char *name, int width, int height, int number)
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
    write_picture(folder, "a.png", 10, 20, 1);
    write_picture(folder, "b.png", 30, 10, 2);
    write_picture(folder, "twin.png", 10, 20, 1); /* a.png's bytes */
    write_picture(folder, "c.png", 16, 16, 3);
    test_write_text(folder, "broken.png", "\x89PNG\r\n\x1a\nbroken");
    return test_write_text(folder, "pairs.csv",
                           "filepath,title\n"
                           "a.png,  \n"                 /* 0: empty, so 1 reads the picture */
                           "a.png,one\n"                /* 1 */
                           "b.png,two words\n"          /* 2 */
                           "broken.png,three\n"         /* 3: bad picture */
                           "twin.png,one\n"             /* 4: repeated caption, twin */
                           "broken.png,four\n"          /* 5: bad as 3 is */
                           "gone.png,five\n"            /* 6: not there */
                           "c.png,\xe7\x8c\xab\n"       /* 7: one character, three bytes */
                           "c.png,b\xe9" "d\n"          /* 8: not UTF-8 */
                           "c.png\n"                    /* 9: a ragged row */
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
    test_ok(clip_check_run(&report, set, &options, &error), &error);
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
    assert_int_equal(report.duplicate_pictures, 1);
    assert_non_null(strstr(report.duplicates[0], "twin.png"));
    assert_non_null(strstr(report.duplicates[1], "a.png"));
    assert_int_equal(report.width.min, 10);
    assert_int_equal(report.width.median, 10); /* 10 10 16 30, one a picture */
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
    test_ok(clip_check_run(&report, set, &options, &error), &error);
    assert_int_equal(report.context_length, 9);
    assert_int_equal(report.tokens.measured, 9);
    assert_int_equal(report.tokens.range.min, 5);  /* one: a token a byte, two ends */
    assert_int_equal(report.tokens.range.max, 23); /* spaces have none */
    assert_int_equal(report.over_context, 2);      /* two words: 8 + 2; the long one */
    int64_t sum = 0;
    for (int i = 0; i < CLIP_CHECK_BINS; i++) sum += report.tokens.bins[i];
    assert_int_equal(sum, 9);
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
    test_ok(clip_check_run(&report, set, &options, &error), &error);
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
    test_ok(clip_check_run(&report, set, &options, &error), &error);
    clip_check_print(&report, stream);
    fclose(stream);
    assert_non_null(strstr(text, "csv: 12 samples, 6 good, 6 bad\n"));
    assert_non_null(strstr(text, "bad: "));
    assert_non_null(strstr(text, "pairs.csv:11: the row has 1 field"));
    assert_non_null(strstr(text, "same picture: "));
    assert_non_null(strstr(text, "captions: 8 different, 1 repeated, 1 empty\n"));
    assert_non_null(strstr(text, "caption length in characters: 1 to 25, median 4\n"));
    free(text);
    clip_check_release(&report);
    clip_dataset_free(set);
}

static void pictures_alone(void **state)
{
    (void)state;
    const char *folder = test_folder();
    write_picture(folder, "a.png", 4, 4, 1);
    test_write_text(folder, "zero.jpg", "");
    test_write(folder, "caf\xe9.jpg", "no picture", 10);
    struct clip_dataset *set = open_set(folder, true);
    struct clip_check_options options = {.images_only = true, .quiet = true};
    struct clip_check_report report;
    struct clip_error error;
    test_ok(clip_check_run(&report, set, &options, &error), &error);
    assert_int_equal(report.good, 1);
    assert_int_equal(report.bad_count, 2);
    assert_int_equal(report.pictures, 3);
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
        cmocka_unit_test(json_does_not_depend_on_threads),
        cmocka_unit_test(prints_for_a_person),
        cmocka_unit_test(pictures_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
