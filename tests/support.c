#include "tests/support.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is handed out lives until the program ends. Only the process that made a folder removes it:
 * a forked child leaves through exit as well. */
static struct clip_names paths, folders;
static pid_t owner;

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static void clean_up(void)
{
    for (int64_t i = 0; i < folders.count && getpid() == owner; i++)
        nftw(folders.names[i], remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    clip_names_release(&folders);
    clip_names_release(&paths);
}

static const char *keep(struct clip_names *list, const char *text)
{
    struct clip_error error;
    if (owner == 0) {
        owner = getpid();
        atexit(clean_up);
    }
    if (clip_names_add(list, text, &error) != CLIP_OK) {
        fprintf(stderr, "tests: %s\n", error.message);
        exit(1);
    }
    return list->names[list->count - 1];
}

const char *test_path(const char *folder, const char *name)
{
    struct clip_error error;
    char *path = clip_path_join(folder, name, &error);
    if (path == NULL) test_fail("%s", error.message);
    const char *kept = keep(&paths, path);
    free(path);
    return kept;
}

const char *test_root(int i)
{
    const char *wish = getenv("CLIP_FIXTURES");
    const char *large = wish != NULL && *wish != '\0' ? wish : "../shared/fixtures";
    const char *candidates[] = {large, "tests/reference"};
    for (int c = 0; c < 2; c++) {
        if (c == 0 && large == wish && !clip_path_is_folder(large)) {
            fprintf(stderr, "tests: CLIP_FIXTURES=%s is no folder; correct or unset it\n", wish);
            exit(1);
        }
        if (clip_path_is_folder(candidates[c]) && i-- == 0) return candidates[c];
    }
    return NULL;
}

const char *test_root_file(int i, const char *name)
{
    const char *root = test_root(i);
    if (root == NULL) return NULL;
    const char *path = test_path(root, name);
    return clip_path_exists(path) ? path : NULL;
}

const char *test_data(const char *name)
{
    const char *wish = getenv("CLIP_DATA");
    const char *path = test_path(wish != NULL && *wish != '\0' ? wish : "../shared/data", name);
    return clip_path_exists(path) ? path : NULL;
}

const char *test_folder(void)
{
    const char *base = getenv("TMPDIR");
    const char *pattern =
        test_path(base != NULL && *base != '\0' ? base : "/tmp", "clip-test-XXXXXX");
    char *name = (char *)(uintptr_t)pattern; /* our own copy; mkdtemp writes the X's */
    if (mkdtemp(name) == NULL) test_fail("%s could not be made: %s", pattern, strerror(errno));
    return keep(&folders, name);
}

const char *test_write(const char *folder, const char *name, const void *bytes, size_t n)
{
    const char *path = test_path(folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || (n > 0 && fwrite(bytes, 1, n, file) != n) || fclose(file) != 0)
        test_fail("%s could not be written: %s", path, strerror(errno));
    return path;
}

const char *test_write_text(const char *folder, const char *name, const char *text)
{
    return test_write(folder, name, text, strlen(text));
}

void test_skip(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_message("skipped: %s\n", text);
    skip();
    abort(); /* skip() has jumped away */
}

void test_fail(const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail_msg("%s", text);
    abort(); /* fail_msg() has jumped away */
}

void test_ok_at(clip_status status, const struct clip_error *error, const char *call,
                const char *file, int line)
{
    if (status == CLIP_OK) return;
    print_error("%s:%d: %s gave status %d: %s\n", file, line, call, (int)status, error->message);
    _fail(file, line);
}

void test_fails_at(clip_status status, const struct clip_error *error, clip_status wanted,
                   const char *word, const char *call, const char *file, int line)
{
    if (status == wanted && error->status == wanted && strstr(error->message, word) != NULL) return;
    if (status == CLIP_OK)
        print_error("%s:%d: %s succeeded; status %d and \"%s\" expected\n", file, line, call,
                    (int)wanted, word);
    else
        print_error("%s:%d: %s gave status %d, \"%s\"; status %d and \"%s\" expected\n", file, line,
                    call, (int)status, error->message, (int)wanted, word);
    _fail(file, line);
}

static double largest(const float *values, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(values[i]) && fabs((double)values[i]) > most) most = fabs((double)values[i]);
    return most;
}

/* How far apart two numbers are; infinite where one is NaN or both are infinite and differ. */
static double gap(double got, double expected)
{
    if (isnan(got) && isnan(expected)) return 0;
    if (got == expected) return 0;
    double distance = fabs(got - expected);
    return isfinite(distance) ? distance : INFINITY;
}

void test_close(const char *what, const float *got, const float *expected, int64_t n,
                double relative, double absolute)
{
    double allowed = relative * largest(expected, n) + absolute, worst = 0;
    int64_t where = 0;
    for (int64_t i = 0; i < n; i++) {
        double distance = gap(got[i], expected[i]);
        if (distance > worst) {
            worst = distance;
            where = i;
        }
    }
    if (worst > allowed)
        test_fail("%s: element %lld of %lld is %.9g, expected %.9g: off by %.3g, allowed %.3g",
                  what, (long long)where, (long long)n, (double)got[where], (double)expected[where],
                  worst, allowed);
}

void test_close_rows(const char *what, const float *got, const float *expected, int64_t rows,
                     int64_t width, double relative, double absolute)
{
    for (int64_t r = 0; r < rows; r++) {
        char name[256];
        snprintf(name, sizeof name, "%s, row %lld", what, (long long)r);
        test_close(name, got + r * width, expected + r * width, width, relative, absolute);
    }
}

void test_close_f64(const char *what, double got, double expected, double relative, double absolute)
{
    double allowed = relative * fabs(expected) + absolute, distance = gap(got, expected);
    if (distance > allowed)
        test_fail("%s is %.12g, expected %.12g: off by %.3g, allowed %.3g", what, got, expected,
                  distance, allowed);
}

double test_distance(const float *got, const float *expected, int64_t n)
{
    double worst = 0, scale = largest(expected, n);
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, gap(got[i], expected[i]));
    return scale > 0 ? worst / scale : worst;
}

void test_same_f32(const char *what, const float *got, const float *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&got[i], &expected[i], sizeof got[i]) != 0)
            test_fail("%s: element %lld of %lld is %.9g (%a), expected %.9g (%a), bit for bit",
                      what, (long long)i, (long long)n, (double)got[i], (double)got[i],
                      (double)expected[i], (double)expected[i]);
}

void test_same_i32(const char *what, const int32_t *got, const int32_t *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (got[i] != expected[i])
            test_fail("%s: element %lld of %lld is %d, expected %d", what, (long long)i,
                      (long long)n, got[i], expected[i]);
}

void test_same_u8(const char *what, const uint8_t *got, const uint8_t *expected, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (got[i] != expected[i])
            test_fail("%s: byte %lld of %lld is %d, expected %d", what, (long long)i, (long long)n,
                      got[i], expected[i]);
}
