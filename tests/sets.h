/* What the tests of data sets share: opening, and samples that are as expected. */
#ifndef CLIP_TESTS_SETS_H
#define CLIP_TESTS_SETS_H

#include "tests/support.h"

#include "data/sets/dataset.h"

/* Each fails the running test with a sentence. */
struct clip_dataset *test_open_set(const char *path, const struct clip_dataset_options *options);
void test_no_set(const char *path, const struct clip_dataset_options *options, clip_status status,
                 const char *word);
void test_set_caption(const struct clip_dataset *set, int64_t i, const char *expected);
/* Sample i has the image's bytes and the caption; bad: reading it gives that status. */
void test_set_sample(const struct clip_dataset *set, int64_t i, const char *image,
                     const char *caption);
void test_set_bad(const struct clip_dataset *set, int64_t i, clip_status status, const char *word);

#endif
