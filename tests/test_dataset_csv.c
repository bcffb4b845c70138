/* csv and tsv: rows as Python reads them, and a sentence for everything that is wrong. Images are
 * only bytes here: nothing decodes them. */
#include "tests/sets.h"

#include <stdio.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

static const struct clip_dataset_options plain = {0};

/* A csv in a new folder, with images a.jpg "A" and b.jpg "BB" beside it. */
static struct clip_dataset *csv_of(const char *name, const char *text,
                                   const struct clip_dataset_options *options)
{
    const char *folder = test_folder();
    test_write_text(folder, "a.jpg", "A");
    test_write_text(folder, "b.jpg", "BB");
    return test_open_set(test_write_text(folder, name, text), options);
}

static void csv_refused(const char *text, const struct clip_dataset_options *options,
                        clip_status status, const char *word)
{
    test_no_set(test_write_text(test_folder(), "pairs.csv", text), options, status, word);
}

static void csv_reads_rows(void **state)
{
    (void)state;
    struct clip_dataset *set =
        csv_of("pairs.csv", "filepath,title\na.jpg,a dog\nb.jpg,two dogs\na.jpg,again\n", &plain);
    assert_int_equal(set->count, 3);
    assert_string_equal(set->ops->name, "csv");
    test_set_sample(set, 0, "A", "a dog");
    test_set_sample(set, 1, "BB", "two dogs");
    test_set_sample(set, 2, "A", "again");
    assert_int_equal(set->group[0], set->group[2]);
    assert_int_not_equal(set->group[0], set->group[1]);
    assert_ptr_equal(set->ops->image_name(set, 0), set->ops->image_name(set, 2));
    clip_dataset_free(set);
}

/* The column of hard negatives: beside the captions, empty where a row has none. */
static void csv_reads_negatives(void **state)
{
    (void)state;
    const struct clip_dataset_options options = {.csv_negative_key = "wrong"};
    struct clip_buffer text = {0};
    struct clip_error error = {0};
    struct clip_dataset *set =
        csv_of("pairs.tsv",
               "wrong\tfilepath\ttitle\na cat\ta.jpg\ta dog\n\tb.jpg\ttwo dogs\n \ta.jpg\tagain\n"
               "b.jpg\tshort\nno \xff\ta.jpg\tlast\n",
               &options);
    assert_int_equal(set->count, 5);
    test_set_caption(set, 0, "a dog");
    test_set_caption(set, 1, "two dogs");
    test_set_caption(set, 4, "last");
    test_ok(set->ops->negative(set, 0, &text, &error), &error);
    assert_string_equal(text.data, "a cat");
    for (int64_t i = 1; i < 4; i++) {
        test_ok(set->ops->negative(set, i, &text, &error), &error);
        assert_int_equal(text.size, 0);
    }
    test_fails(set->ops->negative(set, 4, &text, &error), &error, CLIP_ERR_FORMAT, "not UTF-8");
    clip_dataset_free(set);
    struct clip_dataset *without = csv_of("pairs.csv", "filepath,title\na.jpg,a dog\n", &plain);
    test_ok(without->ops->negative(without, 0, &text, &error), &error);
    assert_int_equal(text.size, 0);
    clip_dataset_free(without);
    csv_refused("filepath,title\na.jpg,a dog\n", &options, CLIP_ERR_DATA, "set csv_negative_key");
    clip_buffer_release(&text);
}

static void csv_quotes_as_python(void **state)
{
    (void)state;
    /* What csv.reader gives for the same bytes stands in the assertions. */
    struct clip_dataset *set = csv_of("pairs.csv",
                                      "filepath,title\n"
                                      "a.jpg,\"one, two\"\n"
                                      "a.jpg,\"she said \"\"yes\"\"\"\n"
                                      "a.jpg,\"two\nlines\"\n"
                                      "a.jpg,5\" wide\n"
                                      "a.jpg,\"quoted\" then not \"so\"\n"
                                      "\"a.jpg\",\"\"\"\"\n",
                                      &plain);
    assert_int_equal(set->count, 6);
    test_set_caption(set, 0, "one, two");
    test_set_caption(set, 1, "she said \"yes\"");
    test_set_caption(set, 2, "two\nlines");
    test_set_caption(set, 3, "5\" wide");
    test_set_caption(set, 4, "quoted then not \"so\"");
    test_set_caption(set, 5, "\"");
    clip_dataset_free(set);
}

static void csv_line_ends(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "filepath,title\r\na.jpg,x\r\nb.jpg,y\r\n",
        "filepath,title\ra.jpg,x\rb.jpg,y",
        "\xef\xbb\xbf\nfilepath,title\n\n\na.jpg,x\n  \n\nb.jpg,y",
        "\xef\xbb\xbf\"filepath\",\"title\"\n\"a.jpg\",\"x\"\n\"b.jpg\",\"y\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct clip_dataset *set = csv_of("pairs.csv", texts[i], &plain);
        assert_int_equal(set->count, 2);
        test_set_sample(set, 0, "A", "x");
        test_set_sample(set, 1, "BB", "y");
        clip_dataset_free(set);
    }
}

static void csv_separators(void **state)
{
    (void)state;
    struct clip_dataset_options options = plain;
    struct clip_dataset *set =
        csv_of("pairs.csv", "filepath\ttitle\na.jpg\tx, and y\n", &options); /* auto: the header */
    test_set_caption(set, 0, "x, and y");
    clip_dataset_free(set);
    options.csv_separator = "tab";
    set = csv_of("pairs.csv", "filepath\ttitle\na.jpg\tx, and y\n", &options);
    test_set_caption(set, 0, "x, and y");
    clip_dataset_free(set);
    options.csv_separator = ";";
    set = csv_of("pairs.csv", "filepath;title\na.jpg;x, and y\n", &options);
    test_set_caption(set, 0, "x, and y");
    clip_dataset_free(set);
    options.csv_separator = "comma";
    csv_refused("filepath\ttitle\na.jpg\tx\n", &options, CLIP_ERR_DATA, "separated by comma");
    options.csv_separator = "colon";
    csv_refused("filepath,title\na.jpg,x\n", &options, CLIP_ERR_USAGE, "colon");
}

static void csv_columns(void **state)
{
    (void)state;
    struct clip_dataset_options options = plain;
    options.csv_img_key = "image";
    options.csv_caption_key = "text";
    struct clip_dataset *set =
        csv_of("pairs.csv", "id,text,image\n1,a dog,a.jpg\n2,two,b.jpg\n", &options);
    test_set_sample(set, 1, "BB", "two");
    clip_dataset_free(set);
    csv_refused("id,text,image\n1,a dog,a.jpg\n", &plain, CLIP_ERR_DATA,
                "there is no column \"filepath\"; the columns, separated by comma, are \"id\", "
                "\"text\", \"image\"");
    csv_refused("filepath,caption\na.jpg,x\n", &plain, CLIP_ERR_DATA, "csv_caption_key");
    csv_refused("filepath,title,title\na.jpg,x,y\n", &plain, CLIP_ERR_DATA, "rename");
    options = plain;
    options.images_only = true;
    set = csv_of("pairs.csv", "filepath\na.jpg\n", &options);
    test_set_sample(set, 0, "A", "");
    clip_dataset_free(set);
}

static void csv_refusals(void **state)
{
    (void)state;
    csv_refused("", &plain, CLIP_ERR_DATA, "is empty");
    csv_refused("\n \n", &plain, CLIP_ERR_DATA, "is empty");
    csv_refused("filepath,title\n", &plain, CLIP_ERR_DATA, "no rows");
    csv_refused("filepath,title\na.jpg,\"never closed\nb.jpg,x\n", &plain, CLIP_ERR_FORMAT,
                "pairs.csv:2: the quote");
    csv_refused("\xff\xfe"
                "f",
                &plain, CLIP_ERR_FORMAT, "UTF-16");
    test_no_set(test_write(test_folder(), "nul.csv", "file\0path,title\n", 16), &plain,
                CLIP_ERR_FORMAT, "NUL");
    test_no_set("/nowhere/pairs.csv", &plain, CLIP_ERR_NOT_FOUND, "/nowhere/pairs.csv");
}

static void csv_bad_rows(void **state)
{
    (void)state;
    const char *folder = test_folder();
    static const char text[] = "filepath,title\n"
                               "a.jpg,good\n"
                               "a.jpg\n"
                               "a.jpg,one,two\n"
                               "gone.jpg,caption\n"
                               "a.jpg, \t \n"
                               "a.jpg,\n"
                               ",caption\n"
                               "a.jpg,caf\xe9 au lait\n"
                               "a.jpg,nul\0byte\n"
                               "empty.jpg,caption\n"
                               ".,caption\n";
    test_write_text(folder, "a.jpg", "A");
    test_write_text(folder, "empty.jpg", "");
    struct clip_dataset *set =
        test_open_set(test_write(folder, "pairs.csv", text, sizeof text - 1), &plain);
    assert_int_equal(set->count, 11);
    test_set_sample(set, 0, "A", "good");
    test_set_bad(set, 1, CLIP_ERR_FORMAT, "pairs.csv:3: the row has 1 field where");
    test_set_bad(set, 2, CLIP_ERR_FORMAT, "pairs.csv:4: the row has 3 fields where");
    test_set_bad(set, 3, CLIP_ERR_NOT_FOUND, "pairs.csv:5 (gone.jpg): ");
    test_set_bad(set, 4, CLIP_ERR_DATA, "pairs.csv:6 (a.jpg): the caption is empty");
    test_set_bad(set, 5, CLIP_ERR_DATA, "pairs.csv:7 (a.jpg): the caption is empty");
    test_set_bad(set, 6, CLIP_ERR_DATA, "pairs.csv:8: the row names no image");
    test_set_bad(set, 7, CLIP_ERR_FORMAT, "not UTF-8 (byte 4 is 0xe9)");
    test_set_bad(set, 8, CLIP_ERR_FORMAT, "NUL");
    test_set_bad(set, 9, CLIP_ERR_DATA, "is empty");
    test_set_bad(set, 10, CLIP_ERR_DATA, "not a regular file");
    clip_dataset_free(set);
}

static void csv_lines_are_counted_through_quotes(void **state)
{
    (void)state;
    struct clip_dataset *set = csv_of(
        "pairs.csv", "filepath,title\r\na.jpg,\"x\r\ny\nz\"\r\n\r\ngone.jpg,second\r\n", &plain);
    test_set_caption(set, 0, "x\r\ny\nz");
    test_set_bad(set, 1, CLIP_ERR_NOT_FOUND, "pairs.csv:6 (gone.jpg)");
    clip_dataset_free(set);
}

static void csv_paths(void **state)
{
    (void)state;
    const char *images = test_folder(), *folder = test_folder();
    char text[512];
    test_write_text(images, "a.jpg", "A");
    snprintf(text, sizeof text, "filepath,title\na.jpg,x\n%s,y\n", test_path(images, "a.jpg"));
    const char *path = test_write_text(folder, "pairs.csv", text);
    struct clip_dataset *set = test_open_set(path, &plain);
    test_set_bad(set, 0, CLIP_ERR_NOT_FOUND, "images_root");
    test_set_sample(set, 1, "A", "y");
    clip_dataset_free(set);
    struct clip_dataset_options options = {.images_root = images};
    set = test_open_set(path, &options);
    test_set_sample(set, 0, "A", "x");
    test_set_sample(set, 1, "A", "y");
    assert_string_equal(set->ops->image_name(set, 0), test_path(images, "a.jpg"));
    assert_int_equal(set->group[0], set->group[1]); /* the same file, however it is written */
    clip_dataset_free(set);
}

static void csv_many_rows(void **state)
{
    (void)state;
    enum { ROWS = 200000 };
    struct clip_buffer text = {0};
    struct clip_dataset *set = NULL;
    struct clip_error error;
    test_ok(clip_buffer_printf(&text, &error, "filepath\ttitle\n"), &error);
    for (int i = 0; i < ROWS; i++)
        test_ok(clip_buffer_printf(&text, &error, "images/%d.jpg\timage %d\n", i / 5, i), &error);
    test_ok(clip_dataset_csv_parse(&set, text.data, text.size, "many.tsv", &plain, &error), &error);
    assert_int_equal(set->count, ROWS);
    for (int i = 0; i < ROWS; i++) assert_int_equal(set->group[i], i / 5);
    assert_string_equal(set->ops->image_name(set, ROWS - 1), "images/39999.jpg");
    test_set_caption(set, ROWS - 1, "image 199999");
    clip_dataset_free(set);
    clip_buffer_release(&text);
}

static void flickr8k_opens(void **state)
{
    (void)state;
    const char *path = test_data("flickr8k/train_en.tsv");
    if (path == NULL) test_skip("no flickr8k");
    struct clip_dataset *set = test_open_set(path, &plain);
    assert_int_equal(set->count, 30000);
    test_set_caption(set, 0, "A black dog is running after a white dog in the snow .");
    assert_int_equal(set->group[4], 0);
    assert_int_equal(set->group[5], 1);
    clip_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_reads_rows),
        cmocka_unit_test(csv_reads_negatives),
        cmocka_unit_test(csv_quotes_as_python),
        cmocka_unit_test(csv_line_ends),
        cmocka_unit_test(csv_separators),
        cmocka_unit_test(csv_columns),
        cmocka_unit_test(csv_refusals),
        cmocka_unit_test(csv_bad_rows),
        cmocka_unit_test(csv_lines_are_counted_through_quotes),
        cmocka_unit_test(csv_paths),
        cmocka_unit_test(csv_many_rows),
        cmocka_unit_test(flickr8k_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
