/* A mapped file that is shortened under a program is a sentence; a SIGBUS of another kind is what
 * it was. Each time in a process of its own. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "tests/support.h"
#include "tools/lost_file.h"

static void before_lost(int number)
{
    (void)number;
    _exit(7);
}

/* Runs `lose` on the path; returns how the process ended, and what it said in `said`. */
static int run(void (*lose)(const char *path), const char *path, char said[1000])
{
    int ends[2], status;
    size_t used = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        signal(SIGBUS, before_lost);
        clip_lost_file_watch("clip_test");
        lose(path);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; (n = read(ends[0], said + used, 999 - used)) > 0;) used += (size_t)n;
    said[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void shorten_and_touch(const char *path)
{
    struct clip_error error;
    struct clip_mapping mapping;
    if (clip_file_map(path, &mapping, &error) != CLIP_OK) _exit(3);
    if (truncate(path, 5000) != 0) _exit(4);
    volatile unsigned char last = mapping.data[9999];
    (void)last;
}

static void remove_and_touch(const char *path)
{
    struct clip_error error;
    struct clip_mapping mapping;
    if (clip_file_map(path, &mapping, &error) != CLIP_OK) _exit(3);
    if (truncate(path, 0) != 0 || unlink(path) != 0) _exit(4);
    volatile unsigned char first = mapping.data[0];
    (void)first;
}

static void send(const char *path)
{
    (void)path;
    raise(SIGBUS);
}

static void touch_nothing_named(const char *path)
{
    FILE *file = tmpfile(); /* its name is gone, its mapping is anonymous memory's next of kin */
    (void)path;
    long page = sysconf(_SC_PAGESIZE);
    char *data = file != NULL ? mmap(NULL, (size_t)page, PROT_READ, MAP_SHARED, fileno(file), 0)
                              : MAP_FAILED;
    if (data == MAP_FAILED) _exit(3);
    volatile char first = data[0];
    (void)first;
}

static void a_shortened_file_is_named(void **state)
{
    (void)state;
    char said[1000], bytes[10000] = {0};
    const char *path = test_write(test_folder(), "a model.bin", bytes, sizeof bytes);
    assert_int_equal(run(shorten_and_touch, path, said), 1);
    if (strncmp(said, "clip_test: /", 12) != 0 ||
        strstr(said, "/a model.bin became shorter while it was in use; ") == NULL)
        fail_msg("%s", said);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one sentence */
}

static void so_is_one_that_is_gone(void **state)
{
    (void)state;
    char said[1000], bytes[10000] = {0};
    const char *path = test_write(test_folder(), "gone.bin", bytes, sizeof bytes);
    assert_int_equal(run(remove_and_touch, path, said), 1);
    if (strstr(said, "gone.bin") == NULL) fail_msg("%s", said);
}

static void another_bus_error_is_left_to_others(void **state)
{
    (void)state;
    char said[1000];
    assert_int_equal(run(send, "", said), 7);
    assert_string_equal(said, "");
}

static void an_empty_temporary_file_is_named_too(void **state)
{
    (void)state;
    char said[1000];
    assert_int_equal(run(touch_nothing_named, "", said), 1);
    assert_non_null(strstr(said, "became shorter"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shortened_file_is_named),
        cmocka_unit_test(so_is_one_that_is_gone),
        cmocka_unit_test(another_bus_error_is_left_to_others),
        cmocka_unit_test(an_empty_temporary_file_is_named_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
