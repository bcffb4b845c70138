/* Indexes on the disk: what is embedded again and what is not, what becomes true when, and files
 * that are damaged or are no index. */
#include "tests/support.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/hash.h"
#include "search/index_update.h"
#include "search/search.h"
#include "tests/small_model.h"

struct scene { /* a folder of images, a model, an index */
    const char *images, *index;
    struct clip_model_file *file;
    struct clip_embedder *e;
    struct clip_index_changes changes;
    struct clip_index_options options;
};

static struct clip_embedder *embedder_over(const struct clip_model_file *file)
{
    struct clip_error error;
    struct clip_embedder *e = NULL;
    test_ok(clip_embedder_create(&e, file, NULL, &error), &error);
    return e;
}

static struct scene open_scene(void)
{
    struct scene s = {.images = test_folder(), .index = test_path(test_folder(), "a.index")};
    s.file = small_model(1);
    s.e = embedder_over(s.file);
    s.options.quiet = true;
    return s;
}

static void close_scene(struct scene *s)
{
    clip_embedder_free(s->e);
    clip_model_file_free(s->file);
}

static clip_status try_update(struct scene *s, struct clip_error *error)
{
    return clip_index_update_images(s->index, s->e, &s->images, 1, &s->options, &s->changes, error);
}

/* Updates, and compares what has happened. */
static void update(struct scene *s, int64_t added, int64_t changed, int64_t removed,
                   int64_t embedded, int64_t count)
{
    struct clip_error error;
    test_ok(try_update(s, &error), &error);
    assert_int_equal(s->changes.added, added);
    assert_int_equal(s->changes.changed, changed);
    assert_int_equal(s->changes.removed, removed);
    assert_int_equal(s->changes.embedded, embedded);
    assert_int_equal(s->changes.count, count);
}

static void image(const struct scene *s, const char *name, uint64_t seed)
{
    small_image(s->images, name, 40, 40, seed);
}

static struct clip_index open_index(const struct scene *s)
{
    struct clip_error error;
    struct clip_index index;
    test_ok(clip_index_open(&index, s->index, &error), &error);
    return index;
}

/* Each image of the index, embedded now, finds itself. */
static void check_rows(const struct scene *s, int64_t count)
{
    struct clip_error error;
    struct clip_index index = open_index(s);
    assert_int_equal(index.live, count);
    for (int64_t i = 0; i < index.count; i++) {
        if (clip_index_is_removed(&index, i)) continue;
        const struct clip_image_source asked = {.path = clip_index_name(&index, i)};
        float row[24], kept[24];
        test_ok(clip_embedder_images(s->e, &asked, 1, CLIP_UNIT, row, NULL, &error), &error);
        clip_index_row(&index, i, kept);
        test_same_f32(asked.path, kept, row, 24);
    }
    clip_index_release(&index);
}

static const char *segment_path(const struct scene *s, int number)
{
    char name[64];
    snprintf(name, sizeof name, "%s.d/seg_%06d.h5", clip_path_name(s->index), number);
    struct clip_error error;
    char *folder = clip_path_folder(s->index, &error);
    const char *path = test_path(folder, name);
    free(folder);
    return path;
}

static void set_time(const char *path, int64_t nanoseconds)
{
    const struct timespec times[2] = {{nanoseconds / 1000000000, nanoseconds % 1000000000},
                                      {nanoseconds / 1000000000, nanoseconds % 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int64_t time_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
}

/* ---- what is embedded ---- */

static void only_what_is_new_or_changed_is_embedded(void **state)
{
    (void)state;
    struct scene s = open_scene();
    image(&s, "a.png", 1);
    image(&s, "b.png", 2);
    update(&s, 2, 0, 0, 2, 2);
    update(&s, 0, 0, 0, 0, 2);
    image(&s, "c.png", 3);
    update(&s, 1, 0, 0, 1, 3);
    image(&s, "a.png", 4); /* another content */
    set_time(test_path(s.images, "a.png"), 1000);
    update(&s, 0, 1, 0, 1, 3);
    check_rows(&s, 3);
    set_time(test_path(s.images, "b.png"), 2000); /* another time alone */
    update(&s, 0, 0, 0, 0, 3);
    assert_int_equal(s.changes.unchanged, 3);
    update(&s, 0, 0, 0, 0, 3);
    check_rows(&s, 3);
    close_scene(&s);
}

/* The same size and time, but a file that was seen before it changed: only the hash can tell, and
 * nobody asks it. What asks is a time that differs. */
static void another_time_and_the_same_content_is_not_embedded(void **state)
{
    (void)state;
    struct scene s = open_scene();
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    struct clip_index index = open_index(&s);
    struct clip_error error;
    struct clip_buffer bytes;
    test_ok(clip_file_read(test_path(s.images, "a.png"), 1 << 20, &bytes, &error), &error);
    assert_int_equal(index.segments[0].hashes[0], (int64_t)clip_hash64(bytes.data, bytes.size));
    assert_int_equal(index.segments[0].sizes[0], bytes.size);
    assert_int_equal(index.segments[0].times[0], time_of(test_path(s.images, "a.png")));
    clip_buffer_release(&bytes);
    clip_index_release(&index);
    for (int i = 1; i <= 3; i++) {
        set_time(test_path(s.images, "a.png"), 1000 * i);
        update(&s, 0, 0, 0, 0, 1);
    }
    check_rows(&s, 1);
    close_scene(&s);
}

static void a_copy_or_a_new_name_is_not_embedded(void **state)
{
    (void)state;
    struct scene s = open_scene();
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    image(&s, "copy.png", 1);
    update(&s, 1, 0, 0, 0, 2);
    assert_int_equal(rename(test_path(s.images, "a.png"), test_path(s.images, "z.png")), 0);
    update(&s, 1, 0, 1, 0, 2);
    check_rows(&s, 2);
    close_scene(&s);
}

static void what_is_gone_is_marked_where_it_was_looked_for(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    const char *elsewhere = test_folder();
    image(&s, "a.png", 1);
    image(&s, "b.png", 2);
    small_image(elsewhere, "c.png", 30, 30, 3);
    const char *both[] = {s.images, elsewhere};
    test_ok(clip_index_update_images(s.index, s.e, both, 2, &s.options, &s.changes, &error),
            &error);
    unlink(test_path(s.images, "a.png"));
    unlink(test_path(elsewhere, "c.png"));
    update(&s, 0, 0, 1, 0, 2); /* c.png was not asked for */
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 0, 3); /* its row was there still */
    close_scene(&s);
}

static void an_image_that_can_no_longer_be_read_is_removed(void **state)
{
    (void)state;
    struct scene s = open_scene();
    image(&s, "a.png", 1);
    image(&s, "b.png", 2);
    update(&s, 2, 0, 0, 2, 2);
    test_write_text(s.images, "b.png", "no image");
    update(&s, 0, 0, 1, 0, 1);
    assert_int_equal(s.changes.skipped, 1);
    check_rows(&s, 1);
    close_scene(&s);
}

static void nothing_readable_is_no_index(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    test_write_text(s.images, "b.png", "no image");
    test_fails(try_update(&s, &error), &error, CLIP_ERR_DATA, "nothing that can be read");
    assert_false(clip_path_exists(s.index));
    close_scene(&s);
}

/* ---- segments ---- */

static void adding_rewrites_nothing_else(void **state)
{
    (void)state;
    struct scene s = open_scene();
    char name[16];
    s.options.segment_rows = 2;
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        image(&s, name, (uint64_t)i);
    }
    update(&s, 5, 0, 0, 5, 5);
    assert_int_equal(s.changes.segments, 3);
    for (int i = 1; i <= 3; i++) set_time(segment_path(&s, i), 1000 * i);
    image(&s, "0.png", 9);
    image(&s, "9.png", 10);
    update(&s, 1, 1, 0, 2, 6);
    assert_int_equal(s.changes.segments, 4);
    for (int i = 1; i <= 3; i++) assert_int_equal(time_of(segment_path(&s, i)), 1000 * i);
    check_rows(&s, 6);
    close_scene(&s);
}

struct stamps { /* of the files of an index's folder, by name */
    struct clip_names names;
    struct stat *files;
};

static struct stamps stamps_of(const struct scene *s)
{
    struct stamps out = {0};
    struct clip_error error;
    char *folder = clip_index_folder(s->index, &error);
    test_ok(clip_folder_list(folder, &out.names, &error), &error);
    out.files = calloc((size_t)out.names.count, sizeof *out.files);
    for (int64_t i = 0; i < out.names.count; i++)
        assert_int_equal(stat(test_path(folder, out.names.names[i]), &out.files[i]), 0);
    free(folder);
    return out;
}

/* A collection as people have it: 1,000 images more, and every old file is the same one. */
static void a_thousand_more_leave_every_file_alone(void **state)
{
    (void)state;
    struct scene s = open_scene();
    char name[16];
    s.options.segment_rows = 128;
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "%04d.png", i);
        small_image(s.images, name, 9, 8, (uint64_t)i);
    }
    update(&s, 1500, 0, 0, 1500, 1500);
    struct stamps before = stamps_of(&s);
    for (int i = 1500; i < 2500; i++) {
        snprintf(name, sizeof name, "%04d.png", i);
        small_image(s.images, name, 9, 8, (uint64_t)i);
    }
    update(&s, 1000, 0, 0, 1000, 2500);
    assert_int_equal(s.changes.unchanged, 1500);
    struct stamps after = stamps_of(&s);
    assert_int_equal(after.names.count, before.names.count + 8); /* ceil(1000 / 128) */
    for (int64_t i = 0, k = 0; i < before.names.count; i++) {
        while (strcmp(after.names.names[k], before.names.names[i]) != 0) k++;
        const struct stat *a = &before.files[i], *b = &after.files[k];
        assert_int_equal(a->st_ino, b->st_ino);
        assert_int_equal(a->st_size, b->st_size);
        if (strcmp(before.names.names[i], "lock") == 0) continue; /* says who writes */
        assert_int_equal(a->st_mtim.tv_sec, b->st_mtim.tv_sec);
        assert_int_equal(a->st_mtim.tv_nsec, b->st_mtim.tv_nsec);
        assert_int_equal(a->st_ctim.tv_nsec, b->st_ctim.tv_nsec);
    }
    clip_names_release(&before.names);
    clip_names_release(&after.names);
    free(before.files);
    free(after.files);
    close_scene(&s);
}

static void a_signal_seals_what_is_embedded(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = SIGTERM;
    struct scene s = open_scene();
    struct clip_error error;
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    image(&s, "b.png", 2);
    s.options.stop = &stop;
    test_fails(try_update(&s, &error), &error, CLIP_ERR_INTERRUPTED, "signal");
    s.options.stop = NULL;
    update(&s, 1, 0, 0, 1, 2);
    check_rows(&s, 2);
    close_scene(&s);
}

/* A run that was killed between a segment and its list leaves a segment that no list names; one
 * that was killed while it wrote, temporary files. */
static void what_a_killed_run_left_is_swept_away(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    char *folder = clip_index_folder(s.index, &error), *beside = clip_path_folder(s.index, &error);
    const char *left[] = {
        test_write_text(folder, "seg_000002.h5", "whatever"),
        test_write_text(folder, ".seg_000002.h5.tmp-12-0", "whatever"),
        test_write_text(beside, ".a.index.tmp-12-0", "whatever"),
    };
    const char *other = test_write_text(beside, ".b.index.tmp-12-0", "somebody else's");
    image(&s, "b.png", 2);
    update(&s, 1, 0, 0, 1, 2);
    assert_true(clip_path_exists(segment_path(&s, 2))); /* the new one */
    for (int i = 1; i < 3; i++) assert_false(clip_path_exists(left[i]));
    assert_true(clip_path_exists(other));
    check_rows(&s, 2);
    free(folder);
    free(beside);
    close_scene(&s);
}

static void one_process_at_a_time_writes(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    char *folder = clip_index_folder(s.index, &error);
    int lock;
    test_ok(clip_lock_acquire(folder, "lock", &lock, &error), &error);
    test_fails(try_update(&s, &error), &error, CLIP_ERR_BUSY, "a.index.d");
    check_rows(&s, 1); /* reading goes on */
    clip_lock_release(&lock);
    update(&s, 0, 0, 0, 0, 1);
    free(folder);
    close_scene(&s);
}

static void an_index_belongs_to_its_weights(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    image(&s, "a.png", 1);
    image(&s, "b.png", 2);
    update(&s, 2, 0, 0, 2, 2);
    clip_embedder_free(s.e);
    clip_model_file_free(s.file);
    s.file = small_model(1);
    s.e = embedder_over(s.file);
    update(&s, 0, 0, 0, 0, 2); /* the same weights */
    clip_embedder_free(s.e);
    clip_model_file_free(s.file);
    s.file = small_model(2);
    s.e = embedder_over(s.file);
    test_fails(try_update(&s, &error), &error, CLIP_ERR_DATA, "other weights");
    s.options.force = true;
    update(&s, 2, 0, 0, 2, 2);
    assert_false(clip_path_exists(segment_path(&s, 1))); /* the old one */
    check_rows(&s, 2);
    close_scene(&s);
}

static void texts_are_indexed_once_and_not_empty(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    const char *texts[] = {"a dog", "",   "a red circle", "a dog", "\xc3\xa4, \"two\"\tcats",
                           "  ",    " \t"};
    for (int round = 0; round < 2; round++) {
        test_ok(clip_index_update_texts(s.index, s.e, texts, 7, &s.options, &s.changes, &error),
                &error);
        assert_int_equal(s.changes.added, round == 0 ? 3 : 0);
        assert_int_equal(s.changes.count, 3);
    }
    struct clip_index index = open_index(&s);
    assert_true(index.texts);
    assert_string_equal(clip_index_name(&index, 1), "a red circle");
    assert_string_equal(clip_index_name(&index, 2), texts[4]);
    clip_index_release(&index);
    image(&s, "a.png", 1);
    test_fails(try_update(&s, &error), &error, CLIP_ERR_DATA, "index of texts");
    close_scene(&s);
}

/* ---- precisions ---- */

static void compacting_keeps_what_counts(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    char name[16];
    s.options.segment_rows = 3;
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        image(&s, name, (uint64_t)i);
    }
    update(&s, 8, 0, 0, 8, 8);
    unlink(test_path(s.images, "2.png"));
    update(&s, 0, 0, 1, 0, 7);
    s.options.segment_rows = 0;
    test_ok(clip_index_compact(s.index, &s.options, &s.changes, &error), &error);
    assert_int_equal(s.changes.segments, 1);
    assert_int_equal(s.changes.count, 7);
    assert_int_equal(s.changes.removed, 1);
    assert_false(clip_path_exists(segment_path(&s, 1)));
    check_rows(&s, 7);
    update(&s, 0, 0, 0, 0, 7); /* sizes, times and hashes came along */
    s.options.precision = "int8";
    test_fails(try_update(&s, &error), &error, CLIP_ERR_DATA, "compact");
    test_ok(clip_index_compact(s.index, &s.options, &s.changes, &error), &error);
    check_rows(&s, 7); /* f32 rows are kept */
    s.options.precision = "f32";
    test_ok(clip_index_compact(s.index, &s.options, &s.changes, &error), &error);
    check_rows(&s, 7);
    s.options.precision = "bf16";
    s.options.drop_exact = true;
    test_ok(clip_index_compact(s.index, &s.options, &s.changes, &error), &error);
    s.options.precision = "f32";
    test_fails(clip_index_compact(s.index, &s.options, &s.changes, &error), &error, CLIP_ERR_DATA,
               "no f32 rows");
    test_fails(clip_index_compact("none.index", &s.options, &s.changes, &error), &error,
               CLIP_ERR_NOT_FOUND, "none.index");
    close_scene(&s);
}

static void small_rows_make_small_files(void **state)
{
    (void)state;
    enum { N = 400, DIM = 256 };
    struct clip_error error;
    float *rows = calloc((size_t)N * DIM, sizeof *rows);
    const char *names[N];
    int64_t bytes[3], ones[N];
    for (int i = 0; i < N * DIM; i++) rows[i] = (float)(i % 17) - 8;
    for (int i = 0; i < N; i++) names[i] = "a", ones[i] = 1;
    for (int p = 0; p < 3; p++) {
        struct clip_index index = {
            .dim = DIM, .precision = (enum clip_index_precision)p, .next_segment = 1};
        const struct clip_index_rows all = {N, rows, names, ones, ones, ones};
        index.model_checksum = clip_string_copy("c", &error);
        test_ok(clip_index_seal(&index, test_folder(), &all, &error), &error);
        bytes[p] = index.segments[0].bytes;
        clip_index_release(&index);
    }
    assert_true(bytes[1] < 0.6 * (double)bytes[0] && bytes[2] < 0.33 * (double)bytes[0]);
    free(rows);
}

/* ---- files that are damaged or none ---- */

static void flip(const char *path, off_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_damaged_segment_is_found(void **state)
{
    (void)state;
    struct scene s = open_scene();
    struct clip_error error;
    struct clip_index index;
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    const char *path = segment_path(&s, 1);
    int64_t time = time_of(path);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    for (off_t at = 5; at < info.st_size; at += 97) {
        flip(path, at);
        set_time(path, 5000);
        clip_status status = clip_index_open(&index, s.index, &error);
        if (status != CLIP_ERR_FORMAT) test_fail("byte %lld was not missed", (long long)at);
        assert_non_null(strstr(error.message, "seg_000001.h5"));
        flip(path, at);
    }
    test_ok(clip_index_open(&index, s.index, &error), &error); /* copied, but whole */
    clip_index_release(&index);
    flip(path, info.st_size - 3); /* decay that leaves no other trace */
    set_time(path, time);
    test_fails(clip_index_verify(s.index, &error), &error, CLIP_ERR_FORMAT, "seg_000001.h5");
    flip(path, info.st_size - 3);
    test_ok(clip_index_verify(s.index, &error), &error);
    assert_int_equal(truncate(path, info.st_size - 1), 0);
    test_fails(clip_index_open(&index, s.index, &error), &error, CLIP_ERR_FORMAT, "cut");
    unlink(path);
    test_fails(clip_index_open(&index, s.index, &error), &error, CLIP_ERR_NOT_FOUND, "seg_000001");
    close_scene(&s);
}

static void a_segment_of_another_index_is_refused(void **state)
{
    (void)state;
    struct scene s = open_scene(), other = open_scene();
    struct clip_error error;
    struct clip_index index;
    image(&s, "a.png", 1);
    update(&s, 1, 0, 0, 1, 1);
    clip_embedder_free(other.e);
    clip_model_file_free(other.file);
    other.file = small_model(7);
    other.e = embedder_over(other.file);
    image(&other, "a.png", 1);
    update(&other, 1, 0, 0, 1, 1);
    assert_int_equal(rename(segment_path(&other, 1), segment_path(&s, 1)), 0);
    test_fails(clip_index_open(&index, s.index, &error), &error, CLIP_ERR_FORMAT, "model_checksum");
    close_scene(&s);
    close_scene(&other);
}

#define START "{\"format\":\"clip.c index 2\",\"kind\":\"images\",\"precision\":\"f32\","
#define MIDDLE "\"exact\":false,\"dim\":4,\"model\":\"m\",\"model_checksum\":\"c\",\"base\":\"/\","
#define ENTRY(file) "{\"file\":\"" file "\",\"rows\":3,\"bytes\":1000,\"time\":1,\"removed\":[]}"
#define SEGMENT(file, rows, removed)                                                               \
    "\"next\":2,\"segments\":[{\"file\":\"" file "\",\"rows\":" rows                               \
    ",\"bytes\":1000,\"time\":1,\"removed\":" removed "}]}"

static void lists_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "a.index"},
        {"[]", "format"},
        {"{\"format\":\"clip.c index 9\"}", "clip.c index 9"},
        {"{\"format\":\"clip.c index 2\",\"kind\":\"x\"}", "kind"},
        {START "\"exact\":1}", "exact"},
        {START MIDDLE "\"next\":0}", "next"},
        {START MIDDLE "\"next\":1}", "segments"},
        {START MIDDLE SEGMENT("../a.h5", "1", "[]"), "file"},
        {START MIDDLE SEGMENT("seg_00001.h5", "1", "[]"), "file"},
        {START MIDDLE SEGMENT("seg_000001.h5", "0", "[]"), "rows"},
        {START MIDDLE SEGMENT("seg_000001.h5", "1001", "[]"), "rows"},
        {START MIDDLE SEGMENT("seg_000001.h5", "1e3", "[]"), "rows"},
        {START MIDDLE SEGMENT("seg_000001.h5", "3", "[[0,3]]"), "removed"},
        {START MIDDLE SEGMENT("seg_000001.h5", "3", "[[2,1]]"), "removed"},
        {START MIDDLE SEGMENT("seg_000001.h5", "3", "[7]"), "removed"},
        {START MIDDLE SEGMENT("seg_000001.h5", "3", "{}"), "removed"},
        {START MIDDLE SEGMENT("seg_000001.h5", "3", "[[0,1],[1,2]]"), "removed"},
        {START MIDDLE SEGMENT("seg_000001.h5", "3", "[[2,2],[0,0]]"), "removed"},
        {START MIDDLE "\"next\":2,\"segments\":[" ENTRY("seg_000001.h5") "," ENTRY(
             "seg_000002.h5") "," ENTRY("seg_000001.h5") "]}",
         "file"},
    };
    struct clip_index index;
    struct clip_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_fails(
            clip_index_list_parse(&index, cases[i].text, strlen(cases[i].text), "a.index", &error),
            &error, CLIP_ERR_FORMAT, cases[i].word);
    const char *good = START MIDDLE SEGMENT("seg_000001.h5", "3", "[[0,0],[2,2]]");
    test_ok(clip_index_list_parse(&index, good, strlen(good), "a.index", &error), &error);
    assert_int_equal(index.count, 3);
    assert_int_equal(index.live, 1);
    clip_index_release(&index);
}

static void hashes_are_xxh64(void **state)
{
    (void)state;
    const char *long_text = "The quick brown fox jumps over the lazy dog, and then it runs away "
                            "from 0123456789 cats.";
    assert_true(clip_hash64(NULL, 0) == UINT64_C(0xEF46DB3751D8E999));
    assert_true(clip_hash64("abc", 3) == UINT64_C(0x44BC2CF5AD770999));
    assert_true(clip_hash64(long_text, strlen(long_text)) == UINT64_C(0x2C8E539A6981B5DD));
}

static int allocations_left; /* of jansson's, before one fails */

static void *failing_malloc(size_t size) { return allocations_left-- == 0 ? NULL : malloc(size); }

/* Whichever of its allocations fails, a list is written whole or not at all: a shorter one would
 * lose segments, or bring back removed rows. */
static void a_list_is_whole_or_an_error(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer whole, text;
    bool removed[6] = {true, false, true, true, false, true}, none[3] = {false};
    char first[] = "seg_000001.h5", second[] = "seg_000002.h5";
    char model[] = "a.h5", checksum[] = "c", base[] = "/";
    struct clip_index_segment segments[] = {
        {.file = first, .bytes = 100, .time = 5, .count = 6, .removed = removed},
        {.file = second, .bytes = 90, .time = 6, .count = 3, .removed = none}};
    const struct clip_index index = {.dim = 4,
                                     .next_segment = 3,
                                     .model = model,
                                     .model_checksum = checksum,
                                     .base = base,
                                     .segments = segments,
                                     .segment_count = 2};
    const char *path = test_path(test_folder(), "a.index");
    test_ok(clip_index_list_write(&index, path, &error), &error);
    test_ok(clip_file_read(path, 1 << 20, &whole, &error), &error);
    int failures = 0;
    for (allocations_left = 0;; failures++) {
        unlink(path);
        allocations_left = failures;
        json_set_alloc_funcs(failing_malloc, free);
        clip_status status = clip_index_list_write(&index, path, &error);
        json_set_alloc_funcs(malloc, free);
        if (status == CLIP_OK) {
            test_ok(clip_file_read(path, 1 << 20, &text, &error), &error);
            assert_string_equal(text.data, whole.data);
            clip_buffer_release(&text);
            if (allocations_left >= 0) break; /* none has failed */
        } else {
            assert_int_equal(status, CLIP_ERR_MEMORY);
            assert_false(clip_path_exists(path));
        }
    }
    assert_true(failures > 40);
    clip_buffer_release(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_new_or_changed_is_embedded),
        cmocka_unit_test(another_time_and_the_same_content_is_not_embedded),
        cmocka_unit_test(a_copy_or_a_new_name_is_not_embedded),
        cmocka_unit_test(what_is_gone_is_marked_where_it_was_looked_for),
        cmocka_unit_test(an_image_that_can_no_longer_be_read_is_removed),
        cmocka_unit_test(nothing_readable_is_no_index),
        cmocka_unit_test(adding_rewrites_nothing_else),
        cmocka_unit_test(a_thousand_more_leave_every_file_alone),
        cmocka_unit_test(a_signal_seals_what_is_embedded),
        cmocka_unit_test(what_a_killed_run_left_is_swept_away),
        cmocka_unit_test(one_process_at_a_time_writes),
        cmocka_unit_test(an_index_belongs_to_its_weights),
        cmocka_unit_test(texts_are_indexed_once_and_not_empty),
        cmocka_unit_test(compacting_keeps_what_counts),
        cmocka_unit_test(small_rows_make_small_files),
        cmocka_unit_test(a_damaged_segment_is_found),
        cmocka_unit_test(a_segment_of_another_index_is_refused),
        cmocka_unit_test(lists_that_are_none_are_refused),
        cmocka_unit_test(hashes_are_xxh64),
        cmocka_unit_test(a_list_is_whole_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
