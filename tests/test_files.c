/* core/: files, locks, INI, JSON, progress. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "core/ini.h"
#include "core/json.h"
#include "core/progress.h"
#include "tests/support.h"

/* ---- files ---- */

static void file_reads_back_and_names_what_is_wrong(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer bytes;
    const char *folder = test_folder(), *path = test_path(folder, "a.bin");
    test_ok(clip_file_write(path, "one\0two", 7, &error), &error);
    test_ok(clip_file_read(path, 7, &bytes, &error), &error);
    assert_int_equal(bytes.size, 7);
    assert_memory_equal(bytes.data, "one\0two", 8);
    clip_buffer_release(&bytes);
    test_fails(clip_file_read(path, 6, &bytes, &error), &error, CLIP_ERR_DATA, "6 bytes");
    test_fails(clip_file_read(folder, 9, &bytes, &error), &error, CLIP_ERR_IO, "is a folder");
    test_fails(clip_file_read(test_path(folder, "b"), 9, &bytes, &error), &error,
               CLIP_ERR_NOT_FOUND, "No such file");
    assert_null(bytes.data);
    const char *pipe_path = test_path(folder, "pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    test_fails(clip_file_read(pipe_path, 9, &bytes, &error), &error, CLIP_ERR_IO,
               "not a regular file");
}

static void file_maps(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_mapping mapping;
    const char *folder = test_folder();
    test_ok(clip_file_map(test_write(folder, "a", "mapped", 6), &mapping, &error), &error);
    assert_int_equal(mapping.size, 6);
    assert_memory_equal(mapping.data, "mapped", 6);
    clip_file_unmap(&mapping);
    assert_null(mapping.data);
    test_ok(clip_file_map(test_write(folder, "empty", "", 0), &mapping, &error), &error);
    assert_int_equal(mapping.size, 0);
    clip_file_unmap(&mapping);
    test_fails(clip_file_map(folder, &mapping, &error), &error, CLIP_ERR_IO, "folder");
}

static void gzip_is_read_plain_or_packed_and_never_cut(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer bytes;
    const char *folder = test_folder(), *path = test_path(folder, "a.gz");
    char text[20000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i * i % 26);
    gzFile stream = gzopen(path, "wb");
    assert_int_equal(gzwrite(stream, text, sizeof text), sizeof text);
    assert_int_equal(gzclose(stream), Z_OK);

    test_ok(clip_file_read_gzip(path, sizeof text, &bytes, &error), &error);
    assert_int_equal(bytes.size, sizeof text);
    assert_memory_equal(bytes.data, text, sizeof text);
    clip_buffer_release(&bytes);
    test_fails(clip_file_read_gzip(path, sizeof text - 1, &bytes, &error), &error, CLIP_ERR_DATA,
               "a.gz");
    test_ok(clip_file_read_gzip(test_write(folder, "plain", "abc", 3), 10, &bytes, &error), &error);
    assert_string_equal(bytes.data, "abc");
    clip_buffer_release(&bytes);

    struct clip_buffer packed;
    test_ok(clip_file_read(path, 1 << 20, &packed, &error), &error);
    for (size_t n = 2; n < packed.size; n++) {
        const char *cut = test_write(folder, "cut.gz", packed.data, n);
        test_fails(clip_file_read_gzip(cut, 1 << 20, &bytes, &error), &error, CLIP_ERR_FORMAT,
                   "cut.gz");
    }
    packed.data[packed.size - 6] ^= 1; /* its checksum */
    test_fails(clip_file_read_gzip(test_write(folder, "bad.gz", packed.data, packed.size), 1 << 20,
                                   &bytes, &error),
               &error, CLIP_ERR_FORMAT, "damaged");
    packed.data[packed.size - 6] ^= 1;
    struct clip_buffer twice = {0}; /* two members are one text */
    for (int i = 0; i < 2; i++)
        test_ok(clip_buffer_append(&twice, packed.data, packed.size, &error), &error);
    test_ok(clip_file_read_gzip(test_write(folder, "two.gz", twice.data, twice.size), 1 << 20,
                                &bytes, &error),
            &error);
    assert_int_equal(bytes.size, 2 * sizeof text);
    assert_memory_equal(bytes.data + sizeof text, text, sizeof text);
    clip_buffer_release(&bytes);
    clip_buffer_release(&twice);
    clip_buffer_release(&packed);
}

static void expect_text(const char *path, const char *text)
{
    struct clip_error error;
    struct clip_buffer bytes;
    test_ok(clip_file_read(path, 1 << 20, &bytes, &error), &error);
    assert_string_equal(bytes.data, text);
    clip_buffer_release(&bytes);
}

static int64_t names_in(const char *folder)
{
    struct clip_error error;
    struct clip_names names;
    test_ok(clip_folder_list(folder, &names, &error), &error);
    int64_t count = names.count;
    clip_names_release(&names);
    return count;
}

static void atomic_write_replaces_whole_or_not_at_all(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_atomic file, other;
    const char *folder = test_folder(), *path = test_write_text(folder, "a.txt", "old");
    assert_int_equal(chmod(path, 0640), 0);

    test_ok(clip_atomic_begin(&file, path, &error), &error);
    test_ok(clip_atomic_begin(&other, path, &error), &error); /* two writers are kept apart */
    assert_string_not_equal(file.temporary, other.temporary);
    fputs("new", file.stream);
    fputs("lost", other.stream);
    fflush(other.stream);
    expect_text(path, "old");
    clip_atomic_abort(&other);
    expect_text(path, "old");
    test_ok(clip_atomic_commit(&file, &error), &error);
    expect_text(path, "new");
    clip_atomic_abort(&file);
    clip_atomic_abort(&other);
    expect_text(path, "new");
    assert_int_equal(names_in(folder), 1);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

/* A process that writes `path`, a file or a folder, and is killed in the middle of it. */
static void write_and_be_killed(const char *path, bool folder)
{
    pid_t child = fork();
    if (child == 0) {
        struct clip_error error;
        struct clip_atomic file;
        struct clip_atomic_folder whole;
        clip_status status = folder ? clip_atomic_folder_begin(&whole, path, NULL, &error)
                                    : clip_atomic_begin(&file, path, &error);
        if (status == CLIP_OK && folder) clip_file_write(whole.temporary, "", 0, &error);
        raise(SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
}

static void what_a_killed_process_left_is_removed_and_nothing_else(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_atomic alive;
    const char *folder = test_folder(), *path = test_path(folder, "a.txt");
    test_write_text(folder, ".a.txt.tmp-mine", "of a user");
    test_write_text(folder, ".other.txt.tmp-1-0", "left behind of another file");
    write_and_be_killed(path, false);
    write_and_be_killed(test_path(folder, "whole"), true);
    assert_int_equal(names_in(folder), 4);
    test_ok(clip_atomic_begin(&alive, path, &error), &error);
    assert_int_equal(names_in(folder), 4); /* the killed one's is gone, and this one's is there */
    test_ok(clip_file_write(path, "new", 3, &error), &error);
    assert_true(clip_path_exists(alive.temporary));
    clip_temporaries_remove(folder);
    assert_true(clip_path_exists(alive.temporary)); /* its process lives */
    assert_false(clip_path_exists(test_path(folder, ".other.txt.tmp-1-0")));
    assert_true(clip_path_exists(test_path(folder, ".a.txt.tmp-mine")));
    test_ok(clip_atomic_commit(&alive, &error), &error);
    assert_int_equal(names_in(folder), 2);
}

static void atomic_write_keeps_links_and_refuses_what_is_no_file(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_atomic file;
    const char *folder = test_folder(), *link_path = test_path(folder, "link");
    const char *target = test_write_text(folder, "target", "old");
    assert_int_equal(symlink("target", link_path), 0);
    test_ok(clip_file_write(link_path, "new", 3, &error), &error);
    struct stat info;
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    expect_text(target, "new");

    test_fails(clip_atomic_begin(&file, folder, &error), &error, CLIP_ERR_IO, "is a folder");
    test_fails(clip_atomic_begin(&file, "/dev/null", &error), &error, CLIP_ERR_IO, "not a regular");
    test_fails(clip_atomic_begin(&file, test_path(folder, "no/a"), &error), &error,
               CLIP_ERR_NOT_FOUND, "no/a");
    test_fails(clip_atomic_begin(&file, test_path(folder, "no/"), &error), &error, CLIP_ERR_IO,
               "names no file");
    assert_null(file.temporary);
    char long_name[256];
    memset(long_name, 'n', 255);
    long_name[255] = '\0'; /* as long as a name may be: the temporary's is shorter */
    test_ok(clip_file_write(test_path(folder, long_name), "x", 1, &error), &error);
}

/* A disk that is full after 4096 bytes: the limit on a file's size, in a child of our own. */
static void full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    const char *folder = test_folder(), *path = test_write_text(folder, "a.txt", "old");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct clip_error error;
        struct rlimit limit = {4096, 4096};
        static char much[100000];
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        clip_status status = clip_file_write(path, much, sizeof much, &error);
        _exit(status == CLIP_ERR_IO && strstr(error.message, "a.txt") != NULL ? 0 : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    expect_text(path, "old");
    assert_int_equal(names_in(folder), 1);
}

static void folders_are_made_and_listed_in_order(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_names names;
    const char *folder = test_folder();
    test_ok(clip_folder_create(test_path(folder, "x//y/z/"), &error), &error);
    test_ok(clip_folder_create(test_path(folder, "x/y/z"), &error), &error);
    assert_true(clip_path_is_folder(test_path(folder, "x/y/z")));
    test_write_text(folder, "b", "");
    test_write_text(folder, "B", "");
    test_write_text(folder, ".hidden", "");
    test_ok(clip_folder_list(folder, &names, &error), &error);
    static const char *expected[] = {".hidden", "B", "b", "x"};
    assert_int_equal(names.count, 4);
    for (int i = 0; i < 4; i++) assert_string_equal(names.names[i], expected[i]);
    clip_names_release(&names);
    test_fails(clip_folder_create(test_path(folder, "b/c"), &error), &error, CLIP_ERR_IO,
               "is a file");
    test_fails(clip_folder_create("", &error), &error, CLIP_ERR_NOT_FOUND, "No such file");
    test_fails(clip_folder_list(test_path(folder, "b"), &names, &error), &error, CLIP_ERR_NOT_FOUND,
               "Not a directory");
}

static void expect_path(char *got, const char *expected)
{
    assert_non_null(got);
    assert_string_equal(got, expected);
    free(got);
}

static void paths_join_and_split(void **state)
{
    (void)state;
    struct clip_error error;
    expect_path(clip_path_join("a/b", "c.png", &error), "a/b/c.png");
    expect_path(clip_path_join("a/b/", "c.png", &error), "a/b/c.png");
    expect_path(clip_path_join("a", "/c.png", &error), "/c.png");
    expect_path(clip_path_join(NULL, "c.png", &error), "c.png");
    expect_path(clip_path_join("", "c.png", &error), "c.png");
    expect_path(clip_path_folder("a/b/c", &error), "a/b");
    expect_path(clip_path_folder("c", &error), ".");
    expect_path(clip_path_folder("/c", &error), "/");
    assert_string_equal(clip_path_name("a/b/c.png"), "c.png");
    assert_string_equal(clip_path_name("c.png"), "c.png");
    assert_true(clip_path_has_suffix("A.PnG", ".png"));
    assert_false(clip_path_has_suffix("png", ".png"));
    assert_true(clip_path_exists("/") && clip_path_is_folder("/"));
    assert_false(clip_path_exists("/no/such/path"));
}

static void lock_keeps_another_process_out(void **state)
{
    (void)state;
    struct clip_error error;
    const char *folder = test_folder();
    int lock = -1, ready[2], end[2];
    char byte;
    assert_int_equal(pipe(ready) | pipe(end), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* holds the lock until it is killed */
        struct clip_error ignored;
        int held;
        clip_status status = clip_lock_acquire(folder, ".lock", &held, &ignored);
        if (write(ready[1], status == CLIP_OK ? "y" : "n", 1) != 1) _exit(1);
        close(end[1]);
        if (read(end[0], &byte, 1) < 0) _exit(1);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    char number[32];
    snprintf(number, sizeof number, "number %ld", (long)child);
    test_fails(clip_lock_acquire(folder, ".lock", &lock, &error), &error, CLIP_ERR_BUSY, number);
    assert_int_equal(lock, -1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(end[1]);
    close(end[0]);
    close(ready[0]);
    close(ready[1]);
    test_ok(clip_lock_acquire(folder, ".lock", &lock, &error), &error);
    clip_lock_release(&lock);
    clip_lock_release(&lock);
    test_ok(clip_lock_acquire(folder, ".lock", &lock, &error), &error);
    clip_lock_release(&lock);
    test_fails(clip_lock_acquire(test_path(folder, "no"), ".lock", &lock, &error), &error,
               CLIP_ERR_NOT_FOUND, "no/.lock");
}

/* ---- INI ---- */

/* Writes "line section.key=value" of each pair into a buffer. */
static clip_status collect(void *context, const char *section, const char *key, const char *value,
                           int line, struct clip_error *error)
{
    if (strcmp(key, "refuse") == 0)
        return clip_fail(error, CLIP_ERR_USAGE, "line %d is refused", line);
    return clip_buffer_printf(context, error, "%d %s.%s=%s|", line, section, key, value);
}

static clip_status parse_ini(const char *text, size_t n, struct clip_buffer *out,
                             struct clip_error *error)
{
    clip_buffer_release(out);
    return clip_ini_parse(text, n, "a.ini", collect, out, error);
}

static void ini_gives_pairs_with_their_lines(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer out = {0};
    static const char text[] = "\xEF\xBB\xBF; a comment\r\n"
                               "top = 1\n"
                               "[optim] ; behind it\n"
                               "# another\n"
                               "\n"
                               "lr = 5e-4 ; the peak\n"
                               "    wd=0.2   \n"
                               "\tname = a # b\r\n"
                               "empty =\n"
                               "[data]\n"
                               "path = x=y:z";
    test_ok(parse_ini(text, sizeof text - 1, &out, &error), &error);
    assert_string_equal(out.data, "2 .top=1|6 optim.lr=5e-4|7 optim.wd=0.2|8 optim.name=a # b|"
                                  "9 optim.empty=|11 data.path=x=y:z|");
    test_ok(parse_ini("", 0, &out, &error), &error);
    assert_null(out.data);
    const char *path = test_write_text(test_folder(), "b.ini", "[a]\nk = v\n");
    test_ok(clip_ini_read(path, collect, &out, &error), &error);
    assert_string_equal(out.data, "2 a.k=v|");
    test_fails(clip_ini_read("/no/such.ini", collect, &out, &error), &error, CLIP_ERR_NOT_FOUND,
               "/no/such.ini");
    clip_buffer_release(&out);
}

static void ini_says_which_line_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        clip_status status;
    } cases[] = {
        {"[a]\nk = 1\nnonsense\nk = 2\n", "a.ini:3: ", CLIP_ERR_FORMAT},
        {"[a\nk = 1\n", "a.ini:1: ", CLIP_ERR_FORMAT},
        {"[a]\nk = 1\n \v continued\n", "a.ini:3: ", CLIP_ERR_FORMAT},
        {"[a] [b]\nk = 1\n", "a.ini:1: something stands behind", CLIP_ERR_FORMAT},
        {"[a]\n= 1\n", "a.ini:2: there is no key", CLIP_ERR_FORMAT},
        {"[a]\nk = 1\nrefuse = 2\n", "line 3 is refused", CLIP_ERR_USAGE},
        {"nonsense\nrefuse = 2\n", "a.ini:1: ", CLIP_ERR_FORMAT},
        {"[a]\nrefuse = 2\nnonsense\n", "line 2 is refused", CLIP_ERR_USAGE},
        {"[a23456789a23456789a23456789a23456789a23456789a23456789]\n", "a.ini:1: the section's",
         CLIP_ERR_FORMAT},
    };
    struct clip_error error;
    struct clip_buffer out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_fails(parse_ini(cases[i].text, strlen(cases[i].text), &out, &error), &error,
                   cases[i].status, cases[i].words);
    test_fails(parse_ini("[a]\nk = \0v\n", 10, &out, &error), &error, CLIP_ERR_FORMAT,
               "a.ini:2: there is a NUL");
    clip_buffer_release(&out);
}

static void ini_line_may_have_198_bytes(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer out = {0};
    char text[512];
    for (size_t n = 190; n < 210; n++) {
        size_t size = (size_t)snprintf(text, sizeof text, "[a]\nk=%0*d\nl=1", (int)n - 2, 7);
        if (n <= 198) {
            test_ok(parse_ini(text, size, &out, &error), &error);
            assert_int_equal(out.size, strlen("2 a.k=|") + n - 2 + strlen("3 a.l=1|"));
        } else {
            test_fails(parse_ini(text, size, &out, &error), &error, CLIP_ERR_FORMAT,
                       "a.ini:2: the line is longer");
        }
    }
    clip_buffer_release(&out);
}

/* ---- JSON ---- */

static void json_goes_through_unchanged(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer out = {0};
    static const char *same[] = {
        "{\"z\":1,\"a\":[0.1,5e-05,1.0,-0.0,1e+300],\"b\":{},\"c\":[],\"d\":null,\"e\":true}",
        "\"text\"",
        "12345678901234567",
        "0.3333333333333333",
        "[[[\"\\u0001\\\"\"]]]",
        "{\"\xE7\x8C\xAB\":\"\xE7\x8C\xAB\"}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        json_t *value;
        if (same[i][0] == '[' || same[i][0] == '{') {
            value = clip_json_parse(same[i], strlen(same[i]), "a.json", &error);
        } else { /* a bare value is no JSON file, but can be written */
            json_error_t fault;
            value = json_loads(same[i], JSON_DECODE_ANY, &fault);
        }
        assert_non_null(value);
        clip_buffer_release(&out);
        test_ok(clip_json_append(&out, value, &error), &error);
        assert_string_equal(out.data, same[i]);
        json_decref(value);
    }
    clip_buffer_release(&out);
}

static void json_says_where_it_is_wrong(void **state)
{
    (void)state;
    struct clip_error error;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"a\":\n 1,,}", "a.json:2:"}, {"{\"a\":1,\"a\":2}", "duplicate"}, {"", "a.json:1:"},
        {"{} x", "a.json:1:"},           {"{\"a\":\"\xFF\"}", "a.json:1:"},  {"[1e999]", "a.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = clip_json_parse(cases[i].text, strlen(cases[i].text), "a.json", &error);
        assert_null(value);
        assert_int_equal(error.status, CLIP_ERR_FORMAT);
        if (strstr(error.message, cases[i].words) == NULL)
            test_fail("\"%s\" does not hold \"%s\"", error.message, cases[i].words);
    }
    assert_null(clip_json_read("/no/such.json", 100, &error));
    assert_int_equal(error.status, CLIP_ERR_NOT_FOUND);
}

/* ---- progress ---- */

static void progress_is_plain_off_a_terminal_and_silent_when_quiet(void **state)
{
    (void)state;
    const char *path = test_path(test_folder(), "stderr");
    int kept = dup(STDERR_FILENO), file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0);
    fflush(stderr);
    dup2(file, STDERR_FILENO);
    struct clip_progress progress;
    for (int quiet = 1; quiet >= 0; quiet--) {
        clip_progress_start(&progress, "training", "pair", 100, 400, quiet);
        progress.started -= 10.001; /* as if ten seconds had gone by */
        progress.shown -= 10.001;
        clip_progress_update(&progress, 300, "loss 1.5");
        clip_progress_update(&progress, 301, "too soon after the last");
        clip_progress_end(&progress);
    }
    clip_warn("%s is odd", "a.png");
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(file);
    char expected[256];
    snprintf(expected, sizeof expected,
             "training: 300/400 (75 %%) pairs, 20/s, 5 s left, loss 1.5\n"
             "%s: warning: a.png is odd\n",
             program_invocation_short_name);
    expect_text(path, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_reads_back_and_names_what_is_wrong),
        cmocka_unit_test(file_maps),
        cmocka_unit_test(gzip_is_read_plain_or_packed_and_never_cut),
        cmocka_unit_test(atomic_write_replaces_whole_or_not_at_all),
        cmocka_unit_test(what_a_killed_process_left_is_removed_and_nothing_else),
        cmocka_unit_test(atomic_write_keeps_links_and_refuses_what_is_no_file),
        cmocka_unit_test(full_disk_keeps_the_old_file),
        cmocka_unit_test(folders_are_made_and_listed_in_order),
        cmocka_unit_test(paths_join_and_split),
        cmocka_unit_test(lock_keeps_another_process_out),
        cmocka_unit_test(ini_gives_pairs_with_their_lines),
        cmocka_unit_test(ini_says_which_line_is_wrong),
        cmocka_unit_test(ini_line_may_have_198_bytes),
        cmocka_unit_test(json_goes_through_unchanged),
        cmocka_unit_test(json_says_where_it_is_wrong),
        cmocka_unit_test(progress_is_plain_off_a_terminal_and_silent_when_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
