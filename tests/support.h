/* What every test program shares: reference values and data on the disk, temporary folders,
 * comparisons that name the worst element, and visible skips. Include this in place of cmocka.h.
 *
 *     #include "tests/support.h"
 *
 *     static void reads_what_it_wrote(void **state)
 *     {
 *         (void)state;
 *         struct clip_error error;
 *         const char *path = test_path(test_folder(), "a.txt");
 *         test_ok(clip_file_write(path, "abc", 3, &error), &error);
 *         test_fails(clip_file_write("/nowhere/a", "abc", 3, &error), &error,
 *                    CLIP_ERR_NOT_FOUND, "/nowhere/a");
 *     }
 *
 *     int main(void)
 *     {
 *         const struct CMUnitTest tests[] = {cmocka_unit_test(reads_what_it_wrote)};
 *         return cmocka_run_group_tests(tests, NULL, NULL);
 *     }
 *
 * Programs run in the repository's root. Paths and folders handed out live until the program ends
 * and are freed (and removed) then; nobody frees them. */
#ifndef CLIP_TESTS_SUPPORT_H
#define CLIP_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/memory.h"
#include "core/status.h"

/* Folders of reference values, the same layout in each (ops/, losses/, training/, ...): the large
 * set ($CLIP_FIXTURES, else ../shared/fixtures) where there is one, and the small committed one,
 * tests/reference. Root number i; NULL behind the last:
 *     for (int i = 0; test_root(i) != NULL; i++) check(test_path(test_root(i), "ops")); */
const char *test_root(int i);
/* root/name where root number i has it, else NULL; counts nothing. A test that finds its file in no
 * root calls test_skip. */
const char *test_root_file(int i, const char *name);
/* A file or folder of the data sets ($CLIP_DATA, else ../shared/data): its path, or NULL. */
const char *test_data(const char *name);

const char *test_path(const char *folder, const char *name); /* folder/name */
const char *test_folder(void);                               /* a new empty folder */
/* Writes folder/name and gives its path. */
const char *test_write(const char *folder, const char *name, const void *bytes, size_t n);
const char *test_write_text(const char *folder, const char *name, const char *text);

/* Ends the running test as skipped (never returns): the reason is printed, and the run's last line
 * counts it. */
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Fails the running test with a sentence. */
void test_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The call succeeded; else the test fails with the error's sentence. */
#define test_ok(call, error) test_ok_at((call), (error), #call, __FILE__, __LINE__)
/* The call failed with `wanted`, and its sentence holds the text `word`. */
#define test_fails(call, error, wanted, word)                                                      \
    test_fails_at((call), (error), (wanted), (word), #call, __FILE__, __LINE__)
void test_ok_at(clip_status status, const struct clip_error *error, const char *call,
                const char *file, int line);
void test_fails_at(clip_status status, const struct clip_error *error, clip_status wanted,
                   const char *word, const char *call, const char *file, int line);

/* |got - expected| <= relative * (largest |expected|) + absolute for every element, NaN equal to
 * NaN alone. Fails with `what` and the worst element: its number, both values, the allowance. */
void test_close(const char *what, const float *got, const float *expected, int64_t n,
                double relative, double absolute);
/* The same row by row, each row [width] against its own largest. */
void test_close_rows(const char *what, const float *got, const float *expected, int64_t rows,
                     int64_t width, double relative, double absolute);
void test_close_f64(const char *what, double got, double expected, double relative,
                    double absolute);
/* The largest |got - expected| / (largest |expected|), for printing what was reached. */
double test_distance(const float *got, const float *expected, int64_t n);
/* Equal bit for bit; fails with the first element that differs. */
void test_same_f32(const char *what, const float *got, const float *expected, int64_t n);
void test_same_i32(const char *what, const int32_t *got, const int32_t *expected, int64_t n);
void test_same_u8(const char *what, const uint8_t *got, const uint8_t *expected, int64_t n);

#endif
