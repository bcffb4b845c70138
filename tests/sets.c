#include "tests/sets.h"

#include <string.h>

struct clip_dataset *test_open_set(const char *path, const struct clip_dataset_options *options)
{
    struct clip_dataset *set = NULL;
    struct clip_error error;
    test_ok(clip_dataset_open(&set, path, options, &error), &error);
    assert_non_null(set);
    return set;
}

void test_no_set(const char *path, const struct clip_dataset_options *options, clip_status status,
                 const char *word)
{
    struct clip_dataset *set = NULL;
    struct clip_error error;
    test_fails(clip_dataset_open(&set, path, options, &error), &error, status, word);
    assert_null(set);
}

void test_set_caption(const struct clip_dataset *set, int64_t i, const char *expected)
{
    struct clip_buffer caption = {0};
    struct clip_error error;
    test_ok(set->ops->caption(set, i, NULL, &caption, &error), &error);
    assert_int_equal(caption.size, strlen(expected));
    assert_string_equal(caption.data, expected);
    clip_buffer_release(&caption);
}

void test_set_sample(const struct clip_dataset *set, int64_t i, const char *image,
                     const char *caption)
{
    struct clip_sample sample = {0};
    struct clip_error error;
    test_ok(set->ops->read(set, i, NULL, &sample, &error), &error);
    assert_int_equal(sample.image.size, strlen(image));
    assert_memory_equal(sample.image.data, image, strlen(image));
    assert_string_equal(sample.caption.data, caption);
    clip_sample_release(&sample);
}

void test_set_bad(const struct clip_dataset *set, int64_t i, clip_status status, const char *word)
{
    struct clip_sample sample = {0};
    struct clip_error error;
    test_fails(set->ops->read(set, i, NULL, &sample, &error), &error, status, word);
    clip_sample_release(&sample);
}
