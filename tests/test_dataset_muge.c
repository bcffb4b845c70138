/* Chinese-CLIP's pairs of files: images in base64 beside texts that name them. */
#include "tests/sets.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"

static const struct clip_dataset_options plain = {0};

/* ids 1 "ABC", 2 "\xfb\xff" in both alphabets, 3 damaged, 4 missing, 007 CRLF */
static const char images[] = "1\tQUJD\n2\t-_8=\n3\tQU!D\n22\t+/8=\n\n007\tREVG\r\n";

static const char *folder_of(const char *texts)
{
    const char *folder = test_folder();
    test_write_text(folder, "train_imgs.tsv", images);
    test_write_text(folder, "train_texts.jsonl", texts);
    return folder;
}

static void a_text_with_each_of_its_images(void **state)
{
    (void)state;
    const char *folder =
        folder_of("{\"text_id\": 9, \"text\": \"\xe4\xb8\x80\", \"image_ids\": [1, 2]}\r\n"
                  "{\"text_id\": 10, \"text\": \"two\", \"image_ids\": []}\n"
                  "{\"text_id\": 11, \"text\": \"three\", \"image_ids\": [22, \"007\", 1]}\n"
                  "{\"text_id\": 12, \"text\": \"four\", \"image_ids\": [3, 4], \"x\": NaN}\n"
                  "{\"text_id\": 13, \"text\": \"five\"}\n"
                  "{\"text_id\": 14, \"image_ids\": [1]}\n"
                  "{\"text_id\": 15, \"text\": \" \", \"image_ids\": [1, true]}\n");
    static const char *const names[] = {"train_imgs.tsv", "train_texts.jsonl", NULL};
    for (int i = 0; i < 3; i++) {
        const char *path = names[i] != NULL ? test_path(folder, names[i]) : folder;
        struct clip_dataset *set = test_open_set(path, &plain);
        assert_string_equal(set->ops->name, "Chinese-CLIP's tsv and jsonl");
        assert_int_equal(set->count, 11);
        assert_false(set->paths);
        test_set_sample(set, 0, "ABC", "\xe4\xb8\x80");
        test_set_sample(set, 1, "\xfb\xff", "\xe4\xb8\x80");
        test_set_sample(set, 2, "\xfb\xff", "three");
        test_set_sample(set, 3, "DEF", "three");
        test_set_sample(set, 4, "ABC", "three");
        assert_int_equal(set->group[0], set->group[4]);
        assert_int_not_equal(set->group[1], set->group[2]);
        test_set_bad(set, 5, CLIP_ERR_FORMAT, "\"3\"");
        test_set_bad(set, 6, CLIP_ERR_NOT_FOUND, "no image with the id \"4\"");
        test_set_bad(set, 7, CLIP_ERR_FORMAT, "train_texts.jsonl:5: there are no \"image_ids\"");
        test_set_bad(set, 8, CLIP_ERR_FORMAT, "train_texts.jsonl:6: there is no \"text\"");
        test_set_bad(set, 9, CLIP_ERR_DATA, "caption is empty");
        test_set_bad(set, 10, CLIP_ERR_FORMAT, "no number and no text");
        clip_dataset_free(set);
    }
}

static void images_alone(void **state)
{
    (void)state;
    const char *folder = folder_of("{\"text\": \"x\", \"image_ids\": [1]}\n");
    const struct clip_dataset_options options = {.images_only = true};
    struct clip_dataset *set = test_open_set(folder, &options);
    assert_int_equal(set->count, 5);
    test_set_sample(set, 0, "ABC", "");
    test_set_sample(set, 4, "DEF", "");
    assert_string_equal(set->ops->image_name(set, 4), "007");
    clip_dataset_free(set);
}

/* The base64 of an image is longer than what is read at once, and the id is cut by a read. */
static void long_lines(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    struct clip_buffer text = {0};
    struct clip_error error;
    const char *folder = test_folder();
    test_ok(clip_buffer_append(&text, "first\t", 6, &error), &error);
    for (int i = 0; i < SIZE / 4; i++)
        test_ok(clip_buffer_append(&text, "QUJD", 4, &error), &error);
    test_ok(clip_buffer_printf(&text, &error, "\nsecond\tREVG"), &error);
    test_ok(clip_file_write(test_path(folder, "a_imgs.tsv"), text.data, text.size, &error), &error);
    test_write_text(folder, "a_texts.jsonl",
                    "{\"text\": \"x\", \"image_ids\": [\"first\", \"second\"]}");
    struct clip_dataset *set = test_open_set(folder, &plain);
    struct clip_sample sample = {0};
    test_ok(set->ops->read(set, 0, NULL, &sample, &error), &error);
    assert_int_equal(sample.image.size, SIZE / 4 * 3);
    assert_memory_equal(sample.image.data + sample.image.size - 3, "ABC", 3);
    test_set_sample(set, 1, "DEF", "x");
    clip_sample_release(&sample);
    clip_buffer_release(&text);
    clip_dataset_free(set);
}

static void what_is_refused(void **state)
{
    (void)state;
    const char *folder = folder_of("{\"text_id\": 1, \"text\": \"x\", \"image_ids\": []}\n");
    test_no_set(folder, &plain, CLIP_ERR_DATA, "image_ids");
    test_write_text(folder, "valid_imgs.tsv", images);
    test_write_text(folder, "valid_texts.jsonl", "{\"text\": \"x\", \"image_ids\": [1]}\n");
    test_no_set(folder, &plain, CLIP_ERR_USAGE, "valid_imgs.tsv");
    struct clip_dataset *set = test_open_set(test_path(folder, "valid_texts.jsonl"), &plain);
    assert_int_equal(set->count, 1);
    clip_dataset_free(set);
    test_write_text(folder, "valid_imgs.tsv", "not a tsv\n");
    test_no_set(test_path(folder, "valid_imgs.tsv"), &plain, CLIP_ERR_FORMAT, "valid_imgs.tsv:1");
    test_write_text(folder, "valid_imgs.tsv", "");
    test_no_set(test_path(folder, "valid_imgs.tsv"), &plain, CLIP_ERR_DATA, "no image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_with_each_of_its_images),
        cmocka_unit_test(images_alone),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
