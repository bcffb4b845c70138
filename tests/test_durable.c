/* What docs/reliability.md promises of each file that is written: its bytes are brought to the disk
 * before it gets its name, and the folder behind that; a call to do so that fails is told. The
 * program's own fsync and rename stand in front of libc's: they note what they are asked, and the
 * n-th fsync fails. */
#include "tests/support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/file.h"
#include "train/run.h"

static char noted[4096]; /* "fsync NAME; rename NAME; ..." */
static int syncs, failing;

static void note(const char *what, const char *path)
{
    size_t used = strlen(noted);
    snprintf(noted + used, sizeof noted - used, "%s%s %s", used > 0 ? "; " : "", what,
             clip_path_name(path));
}

int fsync(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    note("fsync", path);
    if (++syncs == failing) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    note("rename", to);
    return (int)syscall(SYS_renameat2, -100, from, -100, to, 0); /* -100: AT_FDCWD */
}

static void start(int n)
{
    noted[0] = '\0';
    syncs = 0;
    failing = n;
}

/* The folder that a test writes into, whose name is known. */
static const char *home(void)
{
    struct clip_error error;
    const char *path = test_path(test_folder(), "home");
    test_ok(clip_folder_create(path, &error), &error);
    return path;
}

static void a_file_is_on_the_disk_before_it_has_its_name(void **state)
{
    (void)state;
    struct clip_error error;
    const char *path = test_path(home(), "a.txt");
    start(0);
    test_ok(clip_file_write(path, "new", 3, &error), &error);
    assert_string_equal(noted, "fsync .a.txt.tmp-0; rename a.txt; fsync home");
}

static void so_is_a_folder(void **state)
{
    (void)state;
    struct clip_error error;
    const char *place = home();
    struct clip_atomic_folder folder;
    start(0);
    test_ok(clip_atomic_folder_begin(&folder, test_path(place, "out"), NULL, &error), &error);
    test_ok(clip_file_write(test_path(folder.temporary, "a.txt"), "new", 3, &error), &error);
    test_ok(clip_atomic_folder_commit(&folder, &error), &error);
    assert_string_equal(noted, "fsync .a.txt.tmp-0; rename a.txt; fsync .out.tmp-0; rename out; "
                               "fsync home");
}

static void the_name_of_a_new_folder_is_too(void **state)
{
    (void)state;
    struct clip_error error;
    const char *place = home();
    start(0);
    test_ok(clip_folder_create(test_path(place, "a/b"), &error), &error);
    assert_string_equal(noted, "fsync home; fsync a");
    start(0);
    test_ok(clip_folder_create(test_path(place, "a/b/"), &error), &error);
    assert_string_equal(noted, ""); /* it is there */
}

static void a_failing_fsync_of_a_file_leaves_the_old_one(void **state)
{
    (void)state;
    struct clip_error error;
    const char *path = test_path(home(), "a.txt");
    struct clip_buffer bytes;
    test_ok(clip_file_write(path, "old", 3, &error), &error);
    start(1);
    test_fails(clip_file_write(path, "new", 3, &error), &error, CLIP_ERR_MACHINE, "a.txt");
    test_ok(clip_file_read(path, 100, &bytes, &error), &error);
    assert_string_equal(bytes.data, "old");
    clip_buffer_release(&bytes);
}

/* A checkpoint and its two names: each of the calls may fail, and none fails in silence. */
static void each_failing_fsync_of_a_checkpoint_is_told(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_run run;
    struct clip_bundle bundle = {0};
    const char *place = test_path(test_folder(), "run");
    test_ok(clip_run_open(&run, place, 2, &error), &error);
    test_ok(clip_bundle_add_text(&bundle, "note", "a", 1, &error), &error);
    start(0);
    test_ok(clip_run_save(&run, &bundle, 1, true, &error), &error);
    assert_string_equal(noted, "fsync .step_1.h5.tmp-0; rename step_1.h5; fsync checkpoints; "
                               "rename last.h5; fsync run; rename best.h5; fsync run");
    int all = syncs;
    for (int n = 1; n <= all; n++) {
        start(n);
        test_fails(clip_run_save(&run, &bundle, 1 + n, true, &error), &error, CLIP_ERR_MACHINE,
                   "run");
    }
    clip_bundle_release(&bundle);
    clip_run_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_on_the_disk_before_it_has_its_name),
        cmocka_unit_test(so_is_a_folder),
        cmocka_unit_test(the_name_of_a_new_folder_is_too),
        cmocka_unit_test(a_failing_fsync_of_a_file_leaves_the_old_one),
        cmocka_unit_test(each_failing_fsync_of_a_checkpoint_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
