/* jsonl, arrays of pairs and COCO's captions: which keys are found, how samples are ordered, and a
 * sentence for everything that is wrong. Images are only bytes here: nothing decodes them. */
#include "tests/sets.h"

#include <stdlib.h>
#include <string.h>

#include "data/sets/dataset_internal.h"

static const struct clip_dataset_options plain = {0};

/* The file in a new folder, with images a.jpg "A" and b.jpg "BB" beside it. */
static struct clip_dataset *set_of(const char *name, const char *text,
                                   const struct clip_dataset_options *options)
{
    const char *folder = test_folder();
    test_write_text(folder, "a.jpg", "A");
    test_write_text(folder, "b.jpg", "BB");
    return test_open_set(test_write_text(folder, name, text), options);
}

static void refused(const char *name, const char *text, clip_status status, const char *word)
{
    test_no_set(test_write_text(test_folder(), name, text), &plain, status, word);
}

static void jsonl_reads_the_usual_keys(void **state)
{
    (void)state;
    static const char text[] =
        "\xef\xbb\xbf{\"filepath\": \"a.jpg\", \"title\": \"one\", \"width\": 3}\r\n"
        "\n"
        "{\"image\": \"b.jpg\", \"caption\": \"two\"}\n"
        "{\"file_name\": \"a.jpg\", \"text\": \"three \\u00e4\"}\n"
        "{\"path\": \"b.jpg\", \"caption\": [\"four\", \"five\"]}";
    struct clip_dataset *set = set_of("pairs.jsonl", text, &plain);
    assert_string_equal(set->ops->name, "jsonl");
    assert_int_equal(set->count, 5);
    test_set_sample(set, 0, "A", "one");
    test_set_sample(set, 1, "BB", "two");
    test_set_sample(set, 2, "A", "three \xc3\xa4");
    test_set_sample(set, 3, "BB", "four");
    test_set_sample(set, 4, "BB", "five");
    assert_int_equal(set->group[0], set->group[2]);
    assert_int_equal(set->group[1], set->group[4]);
    assert_int_not_equal(set->group[0], set->group[1]);
    clip_dataset_free(set);
}

static void jsonl_keys_are_renamed(void **state)
{
    (void)state;
    static const char text[] = "{\"f\": \"a.jpg\", \"t\": \"one\", \"caption\": \"not this\"}\n";
    struct clip_dataset_options options = {.csv_img_key = "f", .csv_caption_key = "t"};
    struct clip_dataset *set = set_of("pairs.jsonl", text, &options);
    test_set_sample(set, 0, "A", "one");
    clip_dataset_free(set);
    /* csv's defaults, as the configuration has them, are no wish */
    options = (struct clip_dataset_options){.csv_img_key = "filepath", .csv_caption_key = "title"};
    set = set_of("pairs.jsonl", "{\"image\": \"a.jpg\", \"caption\": \"one\"}\n", &options);
    test_set_sample(set, 0, "A", "one");
    clip_dataset_free(set);
    options = (struct clip_dataset_options){.images_only = true};
    set = set_of("pairs.jsonl", "{\"image\": \"a.jpg\"}\n", &options);
    test_set_sample(set, 0, "A", "");
    clip_dataset_free(set);
}

static void jsonl_bad_rows_are_named(void **state)
{
    (void)state;
    static const char text[] = "{\"image\": \"a.jpg\", \"caption\": \"good\"}\n"
                               "{\"image\": \"a.jpg\", \"caption\": \"cut\n"
                               "[1, 2]\n"
                               "{\"caption\": \"no image\"}\n"
                               "{\"image\": \"a.jpg\"}\n"
                               "{\"image\": \"a.jpg\", \"caption\": 7}\n"
                               "{\"image\": \"a.jpg\", \"caption\": \" \"}\n"
                               "{\"image\": \"c.jpg\", \"caption\": \"not there\"}\n"
                               "{\"image\": \"a.jpg\", \"caption\": [\"one\", 2]}\n"
                               "{\"image\": \"a.jpg\", \"image\": \"b.jpg\", \"caption\": \"x\"}\n";
    struct clip_dataset *set = set_of("pairs.jsonl", text, &plain);
    assert_int_equal(set->count, 11);
    test_set_sample(set, 0, "A", "good");
    test_set_bad(set, 1, CLIP_ERR_FORMAT, "pairs.jsonl:2: the line is not valid JSON");
    test_set_bad(set, 2, CLIP_ERR_FORMAT, "pairs.jsonl:3: this is no JSON object");
    test_set_bad(set, 3, CLIP_ERR_FORMAT, "pairs.jsonl:4: there is no image's path");
    test_set_bad(set, 4, CLIP_ERR_FORMAT, "pairs.jsonl:5: there is no caption");
    test_set_bad(set, 5, CLIP_ERR_FORMAT, "pairs.jsonl:6: there is no caption");
    test_set_bad(set, 6, CLIP_ERR_DATA, "pairs.jsonl:7 (a.jpg): the caption is empty");
    test_set_bad(set, 7, CLIP_ERR_NOT_FOUND, "pairs.jsonl:8 (c.jpg)");
    test_set_sample(set, 8, "A", "one");
    test_set_bad(set, 9, CLIP_ERR_FORMAT, "pairs.jsonl:9: the caption is no text");
    test_set_bad(set, 10, CLIP_ERR_FORMAT, "pairs.jsonl:10: the line is not valid JSON");
    clip_dataset_free(set);
}

static void jsonl_of_no_use_is_refused(void **state)
{
    (void)state;
    test_no_set("/nowhere/pairs.jsonl", &plain, CLIP_ERR_NOT_FOUND, "/nowhere/pairs.jsonl");
    refused("pairs.jsonl", "", CLIP_ERR_DATA, "has no rows");
    refused("pairs.jsonl", "\n \n", CLIP_ERR_DATA, "has no rows");
    refused("pairs.jsonl", "{}", CLIP_ERR_FORMAT, "name its key by csv_img_key");
    refused("pairs.jsonl", "filepath,title\na.jpg,x\n", CLIP_ERR_FORMAT, "not valid JSON");
}

static void json_array_of_pairs(void **state)
{
    (void)state;
    static const char text[] = "[\n {\"image\": \"b.jpg\", \"caption\": \"one\"},\n"
                               " {\"image\": \"a.jpg\", \"caption\": \"two\"} , 3]\n";
    struct clip_dataset *set = set_of("pairs.json", text, &plain);
    assert_string_equal(set->ops->name, "json");
    assert_int_equal(set->count, 3);
    test_set_sample(set, 0, "BB", "one");
    test_set_sample(set, 1, "A", "two");
    test_set_bad(set, 2, CLIP_ERR_FORMAT, "pairs.json:3: this is no JSON object");
    clip_dataset_free(set);
}

/* Annotations in another order than the images, before them, of an image that is not there. */
static const char coco[] =
    "{\"info\": {\"year\": 2014, \"images\": [\"no\"]}, \"annotations\": [\n"
    "  {\"image_id\": 7, \"id\": 1, \"caption\": \"a cat\"},\n"
    "  {\"image_id\": 5, \"id\": 2, \"caption\": \"a dog\"},\n"
    "  {\"image_id\": 9, \"id\": 3, \"caption\": \"nobody\"},\n"
    "  {\"image_id\": 7, \"id\": 4, \"caption\": \"two cats\"},\n"
    "  {\"image_id\": \"x\", \"id\": 5}, {\"image_id\": 8, \"caption\": \"nameless\"}],\n"
    " \"licenses\": [],\n"
    " \"images\": [{\"id\": 5, \"file_name\": \"a.jpg\"}, {\"id\": 7, \"file_name\": \"b.jpg\"},\n"
    "  {\"id\": \"x\", \"file_name\": \"a.jpg\"}, {\"id\": 8},\n"
    "  {\"id\": 6, \"file_name\": \"no captions.jpg\"}]}\n";

static void coco_groups_by_image(void **state)
{
    (void)state;
    struct clip_dataset *set = set_of("captions_val.json", coco, &plain);
    assert_string_equal(set->ops->name, "coco");
    assert_int_equal(set->count, 6);
    test_set_sample(set, 0, "A", "a dog");
    test_set_sample(set, 1, "BB", "a cat");
    test_set_sample(set, 2, "BB", "two cats");
    test_set_bad(set, 3, CLIP_ERR_FORMAT, "captions_val.json (a.jpg): one of \"annotations\"");
    test_set_bad(set, 4, CLIP_ERR_FORMAT, "has no \"file_name\"");
    test_set_bad(set, 5, CLIP_ERR_FORMAT, "is the \"id\" of none");
    assert_int_equal(set->group[1], set->group[2]);
    assert_int_not_equal(set->group[0], set->group[1]);
    clip_dataset_free(set);

    const struct clip_dataset_options images = {.images_only = true};
    set = set_of("captions_val.json", coco, &images);
    assert_int_equal(set->count, 5);
    test_set_sample(set, 1, "BB", "");
    clip_dataset_free(set);
}

static void coco_refusals(void **state)
{
    (void)state;
    refused("a.json", "", CLIP_ERR_FORMAT, "'{' is missing, where the file ends");
    refused("a.json", "{}", CLIP_ERR_FORMAT, "no list \"images\"");
    refused("a.json", "{\"images\": []}", CLIP_ERR_FORMAT, "no list \"annotations\"");
    refused("a.json", "{\"images\": [], \"annotations\": []}", CLIP_ERR_DATA, "no captions");
    refused("a.json", "{\"images\": [], \"annotations\": []} x", CLIP_ERR_FORMAT, "follows");
    refused("a.json",
            "{\"images\": [{\"id\": 1, \"file_name\": \"a\"}],\n"
            "\"annotations\": [{\"image_id\": 1, \"bbox\": [1, 2]}]}",
            CLIP_ERR_FORMAT, "captions_*.json");
    refused("a.json", "{\"images\": [{\"id\": 1,\n\n}]}", CLIP_ERR_FORMAT, "a.json:3: ");
    refused("a.json", "{\"images\" []}", CLIP_ERR_FORMAT, "':' is missing");
    refused("a.json", "{1: 2}", CLIP_ERR_FORMAT, "a key is missing");
}

/* A cut file is refused wherever the cut is, and read without a byte from behind it. */
static void a_cut_coco_is_refused(void **state)
{
    (void)state;
    const size_t whole = strlen(coco) - 1; /* the line's end may go */
    for (size_t n = 0; n < whole; n++) {
        struct clip_dataset *set = NULL;
        struct clip_error error;
        char *copy = malloc(n > 0 ? n : 1);
        assert_non_null(copy);
        memcpy(copy, coco, n);
        test_fails(clip_dataset_coco_parse(&set, copy, n, "cut.json", &plain, &error), &error,
                   CLIP_ERR_FORMAT, "cut.json:");
        assert_null(set);
        free(copy);
    }
}

/* json.dumps of Python writes a float that is no number as a bare NaN. */
static void python_constants(void **state)
{
    (void)state;
    struct clip_dataset *set =
        set_of("pairs.jsonl",
               "{\"filepath\": \"a.jpg\", \"title\": \"NaN, a bread\", \"width\": NaN}\n"
               "{\"filepath\": \"b.jpg\", \"score\": -Infinity, \"title\": \"two\"}\n",
               &plain);
    assert_int_equal(set->count, 2);
    test_set_sample(set, 0, "A", "NaN, a bread");
    test_set_sample(set, 1, "BB", "two");
    clip_dataset_free(set);
    set = set_of("coco.json",
                 "{\"info\": NaN, \"images\": [{\"id\": 1, \"file_name\": \"a.jpg\", \"x\": NaN},\n"
                 "{\"id\": 2, \"file_name\": \"b.jpg\"}], \"annotations\": [\n"
                 "{\"image_id\": 2, \"area\": Infinity, \"caption\": \"two\"},\n"
                 "{\"image_id\": 1, \"caption\": \"one\", \"area\": NaN}]}",
                 &plain);
    assert_int_equal(set->count, 2);
    test_set_sample(set, 0, "A", "one");
    test_set_sample(set, 1, "BB", "two");
    clip_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonl_reads_the_usual_keys),
        cmocka_unit_test(jsonl_keys_are_renamed),
        cmocka_unit_test(jsonl_bad_rows_are_named),
        cmocka_unit_test(jsonl_of_no_use_is_refused),
        cmocka_unit_test(json_array_of_pairs),
        cmocka_unit_test(coco_groups_by_image),
        cmocka_unit_test(coco_refusals),
        cmocka_unit_test(a_cut_coco_is_refused),
        cmocka_unit_test(python_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
