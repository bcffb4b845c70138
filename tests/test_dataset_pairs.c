/* Folders of images with captions beside them or in a list, and lists as others write them. Images
 * are only bytes here: nothing decodes them. */
#include "tests/sets.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"

static const struct clip_dataset_options plain = {0};

static const char *sub(const char *folder, const char *name)
{
    struct clip_error error;
    const char *path = test_path(folder, name);
    test_ok(clip_folder_create(path, &error), &error);
    return path;
}

/* kohya's folders: no class folders, whatever templates there are. */
static void captions_beside_images(void **state)
{
    (void)state;
    const char *folder = test_folder(), *below = sub(folder, "10_name");
    const char *templates = test_write_text(test_folder(), "t.txt", "a photo of a {}.\n");
    struct clip_dataset_options options = {.class_templates = templates};
    test_write_text(below, "a.png", "A");
    test_write_text(below, "a.txt", "one");
    test_write_text(below, "b.c.jpg", "B");
    test_write_text(below, "b.c.caption", "two");
    test_write_text(below, "d.jpg", "D");
    test_write_text(below, "d.txt", "");
    test_write_text(below, "e.jpg", "E");
    test_write_text(below, "f.jpg", "F");
    test_write_text(below, "f.json", "{\"caption\": [\"three\", \"four\"], \"x\": NaN}");
    test_write_text(below, "notes.txt", "of no image");
    struct clip_dataset *set = test_open_set(folder, &options);
    assert_string_equal(set->ops->name, "captions beside images");
    assert_int_equal(set->count, 6);
    test_set_sample(set, 0, "A", "one");
    test_set_sample(set, 1, "B", "two");
    test_set_bad(set, 2, CLIP_ERR_DATA, "10_name/d.jpg): the caption is empty");
    test_set_bad(set, 3, CLIP_ERR_FORMAT, "10_name/e.jpg): there is no caption beside the image");
    test_set_sample(set, 4, "F", "three");
    test_set_sample(set, 5, "F", "four");
    assert_int_equal(set->group[4], set->group[5]);
    clip_dataset_free(set);
    options.images_only = true;
    set = test_open_set(folder, &options);
    assert_string_equal(set->ops->name, "images");
    assert_int_equal(set->count, 5);
    clip_dataset_free(set);
}

/* A key that is asked for is the JSON's; boxes in a .json make no pairs. */
static void json_beside_images(void **state)
{
    (void)state;
    const char *folder = test_folder(), *below = sub(folder, "cat");
    struct clip_dataset_options options = {.csv_caption_key = "alt", .names_are_captions = true};
    test_write_text(below, "a.jpg", "A");
    test_write_text(below, "a.json", "{\"alt\": \"one\", \"boxes\": [1]}");
    struct clip_dataset *set = test_open_set(folder, &options);
    test_set_sample(set, 0, "A", "one");
    clip_dataset_free(set);
    options.csv_caption_key = NULL;
    set = test_open_set(folder, &options);
    assert_string_equal(set->ops->name, "class folders");
    test_set_sample(set, 0, "A", "cat");
    clip_dataset_free(set);
    options.csv_caption_key = "alt";
    test_write_text(below, "a.txt", "two");
    set = test_open_set(folder, &options);
    test_set_sample(set, 0, "A", "one");
    clip_dataset_free(set);
}

static void imagefolder_lists(void **state)
{
    (void)state;
    static const char *const names[] = {"metadata.csv", "metadata.jsonl"};
    static const char *const texts[] = {"file_name,text\na.jpg,one\nx/b.jpg,\"two, three\"\n",
                                        "{\"file_name\": \"a.jpg\", \"text\": \"one\"}\n"
                                        "{\"file_name\": \"x/b.jpg\", \"text\": \"two, three\"}\n"};
    for (int i = 0; i < 2; i++) {
        const char *above = test_folder(), *folder = sub(above, "train");
        test_write_text(folder, "a.jpg", "A");
        test_write_text(sub(folder, "x"), "b.jpg", "B");
        test_write_text(folder, names[i], texts[i]);
        struct clip_dataset *set = test_open_set(folder, &plain);
        assert_string_equal(set->ops->name, "imagefolder");
        assert_int_equal(set->count, 2);
        test_set_sample(set, 0, "A", "one");
        test_set_sample(set, 1, "B", "two, three");
        clip_dataset_free(set);
        test_no_set(above, &plain, CLIP_ERR_USAGE, "train");
    }
}

/* Flickr30k's results.csv, Flickr8k's captions.txt, and captions of several columns. */
static void lists_of_others(void **state)
{
    (void)state;
    const char *folder = test_folder();
    test_write_text(folder, "a.jpg", "A");
    test_write_text(folder, "b.jpg", "B");
    struct clip_dataset *set =
        test_open_set(test_write_text(folder, "results.csv",
                                      "image_name| comment_number| comment\n"
                                      "a.jpg| 0| Two young guys , one \"here\" .\n"
                                      "b.jpg| 4   A dog runs\n"
                                      "b.jpg| 1| A dog\n"),
                      &plain);
    assert_int_equal(set->count, 3);
    test_set_sample(set, 0, "A", "Two young guys , one \"here\" .");
    test_set_bad(set, 1, CLIP_ERR_FORMAT, "results.csv:3");
    test_set_sample(set, 2, "B", "A dog");
    clip_dataset_free(set);
    set = test_open_set(test_write_text(folder, "captions.txt",
                                        "image,caption\na.jpg,one\na.jpg,\"two , three\"\n"),
                        &plain);
    assert_int_equal(set->count, 2);
    test_set_sample(set, 1, "A", "two , three");
    clip_dataset_free(set);
    struct clip_dataset_options options = {.csv_caption_key = "one, two"};
    set = test_open_set(test_write_text(folder, "columns.csv",
                                        "filepath,one,x,two\na.jpg,1,0,2\nb.jpg,,0,4\nb.jpg,,0,\n"),
                        &options);
    assert_int_equal(set->count, 4);
    test_set_sample(set, 0, "A", "1");
    test_set_sample(set, 1, "A", "2");
    test_set_sample(set, 2, "B", "4");
    test_set_bad(set, 3, CLIP_ERR_DATA, "columns.csv:4");
    assert_int_equal(set->group[0], set->group[1]);
    clip_dataset_free(set);
    options.csv_caption_key = "one,three";
    test_no_set(test_path(folder, "columns.csv"), &options, CLIP_ERR_DATA, "\"three\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captions_beside_images),
        cmocka_unit_test(json_beside_images),
        cmocka_unit_test(imagefolder_lists),
        cmocka_unit_test(lists_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
