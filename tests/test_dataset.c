/* Data sets of folders and tars: classes, plain images, webdataset shards, and a sentence for
 * everything that is wrong. Images are only bytes here: nothing decodes them. */
#include "tests/sets.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct clip_dataset_options plain = {0};

/* ---- Tars ---- */
struct member {
    const char *name, *bytes, *link; /* link: a hard link to that name */
};

static const char *write_tar(const char *name, const struct member *members, int n,
                             void (*set_format)(struct archive *))
{
    const char *path = test_path(test_folder(), name);
    struct archive *archive = archive_write_new();
    setlocale(LC_CTYPE, "C.UTF-8"); /* names are written as UTF-8, and read in the C locale */
    set_format(archive);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (int i = 0; i < n; i++) {
        struct archive_entry *entry = archive_entry_new();
        size_t size = members[i].link != NULL ? 0 : strlen(members[i].bytes);
        archive_entry_set_pathname(entry, members[i].name);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, (la_int64_t)size);
        if (members[i].link != NULL) archive_entry_set_hardlink(entry, members[i].link);
        assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
        if (size > 0)
            assert_int_equal(archive_write_data(archive, members[i].bytes, size), (la_ssize_t)size);
        archive_entry_free(entry);
    }
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
    setlocale(LC_CTYPE, "C");
    return path;
}

static void ustar(struct archive *archive) { archive_write_set_format_ustar(archive); }
static void pax(struct archive *archive) { archive_write_set_format_pax(archive); }
static void gzipped(struct archive *archive)
{
    archive_write_set_format_ustar(archive);
    archive_write_add_filter_gzip(archive);
}

#define MEMBERS(a) (a), (int)(sizeof(a) / sizeof *(a))

static const struct member animals[] = {
    {"./train/cat/2.png", "cat two", NULL},
    {"./train/cat/1.JPG", "cat one", NULL},
    {"./train/sea_lion/1.jpg", "sea", NULL},
    {"./train/cat/.hidden.jpg", "no", NULL},
    {"./train/cat/notes.md", "no", NULL},
    {"./train/.thumbs/3.jpg", "no", NULL},
    {"./train/sea_lion/twin.jpg", "", "./train/cat/2.png"},
};

static const char *templates_file(void)
{
    return test_write_text(test_folder(), "templates.txt",
                           "\xef\xbb\xbf"
                           "a photo of a {}\r\n\r\n{c}, a {c}.\n");
}

static void class_tar(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.class_templates = templates_file()};
    const char *path = write_tar("animals.tar", MEMBERS(animals), ustar);
    struct clip_dataset *set = test_open_set(path, &options);
    assert_string_equal(set->ops->name, "class folders");
    assert_int_equal(set->count, 4);
    test_set_sample(set, 0, "cat one", "a photo of a cat");
    test_set_sample(set, 1, "cat two", "a photo of a cat");
    test_set_sample(set, 2, "sea", "a photo of a sea lion");
    test_set_sample(set, 3, "cat two", "a photo of a sea lion");
    assert_int_equal(set->group[0], set->group[1]);
    assert_int_equal(set->group[2], set->group[3]);
    assert_int_not_equal(set->group[0], set->group[2]);
    assert_string_equal(set->ops->image_name(set, 2), "train/sea_lion/1.jpg");
    clip_dataset_free(set);
}

static void templates_are_drawn(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.class_templates = templates_file()};
    struct clip_dataset *set = test_open_set(write_tar("a.tar", MEMBERS(animals), ustar), &options);
    struct clip_buffer caption = {0};
    struct clip_error error;
    int drawn[2] = {0};
    for (uint32_t epoch = 0; epoch < 200; epoch++) {
        struct clip_rng rng = clip_rng_at(1, CLIP_RNG_CAPTION, epoch, 0);
        test_ok(set->ops->caption(set, 0, &rng, &caption, &error), &error);
        bool second = strcmp(caption.data, "cat, a cat.") == 0;
        if (!second) assert_string_equal(caption.data, "a photo of a cat");
        drawn[second]++;
    }
    assert_in_range(drawn[0], 60, 140);
    clip_buffer_release(&caption);
    clip_dataset_free(set);
}

static void folder_is_as_its_tar(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.class_templates = templates_file()};
    const char *path = write_tar("animals.tar", MEMBERS(animals), ustar);
    const char *folder = test_folder(), *names[] = {"cat", "sea_lion", ".thumbs"};
    struct clip_error error;
    for (int i = 0; i < 3; i++)
        test_ok(clip_folder_create(test_path(folder, names[i]), &error), &error);
    for (size_t i = 0; i < sizeof animals / sizeof *animals; i++)
        test_write_text(folder, animals[i].name + strlen("./train/"),
                        animals[i].link != NULL ? "cat two" : animals[i].bytes);
    struct clip_dataset *a = test_open_set(path, &options), *b = test_open_set(folder, &options);
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        struct clip_sample sample = {0};
        test_ok(a->ops->read(a, i, NULL, &sample, &error), &error);
        test_set_sample(b, i, sample.image.data, sample.caption.data);
        assert_int_equal(a->group[i], b->group[i]);
        clip_sample_release(&sample);
    }
    assert_string_equal(b->ops->image_name(b, 0), test_path(folder, "cat/1.JPG"));
    clip_dataset_free(a);
    clip_dataset_free(b);
}

static void pax_names(void **state)
{
    (void)state;
    char name[400] = "train/\xe7\x8c\xab/";
    size_t n = strlen(name);
    memset(name + n, 'x', 250);
    strcpy(name + n + 250, "\xe7\x8b\x97.jpg");
    const struct member members[] = {{name, "cat", NULL}};
    const char *path = write_tar("long.tar", MEMBERS(members), pax);
    struct clip_dataset_options options = {.class_templates = templates_file()};
    struct clip_dataset *set = test_open_set(path, &options);
    test_set_sample(set, 0, "cat", "a photo of a \xe7\x8c\xab");
    assert_string_equal(set->ops->image_name(set, 0), name);
    clip_dataset_free(set);
}

static void tar_refusals(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.class_templates = templates_file()};
    test_no_set(write_tar("z.tar", MEMBERS(animals), gzipped), &options, CLIP_ERR_DATA, "gunzip");
    test_no_set(test_write_text(test_folder(), "a.tar.gz", "x"), &options, CLIP_ERR_DATA, "unpack");
    test_no_set(test_write_text(test_folder(), "a.tar", ""), &options, CLIP_ERR_DATA, "empty");
    test_no_set(test_write_text(test_folder(), "a.tar", "this is no tar"), &options,
                CLIP_ERR_FORMAT, "a.tar");
    test_no_set("/nowhere/a.tar", &options, CLIP_ERR_NOT_FOUND, "/nowhere/a.tar");
    const char *path = write_tar("animals.tar", MEMBERS(animals), ustar);
    assert_int_equal(truncate(path, 1024 + 700), 0);
    test_no_set(path, &options, CLIP_ERR_FORMAT, "damaged or cut");
    const struct member none[] = {{"a/readme.txt", "x", NULL}};
    test_no_set(write_tar("n.tar", MEMBERS(none), ustar), &options, CLIP_ERR_DATA, "no image");
    test_no_set(write_tar("animals.tar", MEMBERS(animals), ustar), &plain, CLIP_ERR_DATA,
                "class_templates");
}

static void tar_that_changes(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.class_templates = templates_file()};
    const char *path = write_tar("animals.tar", MEMBERS(animals), ustar);
    struct clip_dataset *set = test_open_set(path, &options);
    assert_int_equal(truncate(path, 0), 0);
    test_set_bad(set, 2, CLIP_ERR_FORMAT, "animals.tar");
    assert_int_equal(unlink(path), 0);
    test_set_bad(set, 2, CLIP_ERR_NOT_FOUND, "animals.tar");
    clip_dataset_free(set);
}

/* ---- Folders ---- */
static void images_of_a_folder(void **state)
{
    (void)state;
    const char *folder = test_folder();
    struct clip_error error;
    struct clip_dataset_options options = {.images_only = true};
    test_ok(clip_folder_create(test_path(folder, "2024/may"), &error), &error);
    test_write_text(folder, "b.png", "b");
    test_write_text(folder, "a.webp", "a");
    test_write_text(folder, "notes.txt", "n");
    test_write_text(folder, "2024/may/c.jpeg", "c");
    struct clip_dataset *set = test_open_set(folder, &options);
    assert_string_equal(set->ops->name, "images");
    assert_int_equal(set->count, 3);
    test_set_sample(set, 0, "c", "");
    test_set_sample(set, 1, "a", "");
    test_set_sample(set, 2, "b", "");
    for (int64_t i = 0; i < 3; i++) assert_int_equal(set->group[i], i);
    clip_dataset_free(set);
    options.images_only = false;
    options.class_templates = templates_file();
    set = test_open_set(folder, &options); /* a.webp and b.png: no class, left out */
    assert_int_equal(set->count, 1);
    test_set_sample(set, 0, "c", "a photo of a may");
    clip_dataset_free(set);
    test_no_set(test_path(folder, "2024/may"), &options, CLIP_ERR_DATA, "no class folders");
    test_no_set(test_folder(), &options, CLIP_ERR_DATA, "no image");
}

/* Two links that point up make 2^64 paths of one folder; each image is there once, under the name
 * that holds no link. */
static void folder_that_links_to_itself(void **state)
{
    (void)state;
    struct clip_error error;
    const struct clip_dataset_options options = {.images_only = true};
    char *folder = strdup(test_path(test_folder(), "loop"));
    test_ok(clip_folder_create(test_path(folder, "z/inner"), &error), &error);
    test_write_text(folder, "a.jpg", "a");
    test_write_text(folder, "z/inner/b.jpg", "b");
    assert_int_equal(symlink(".", test_path(folder, "again")), 0);
    assert_int_equal(symlink("..", test_path(folder, "z/up")), 0);
    assert_int_equal(symlink("../..", test_path(folder, "z/inner/up")), 0);
    assert_int_equal(symlink("z/inner", test_path(folder, "before")), 0);
    assert_int_equal(symlink("self", test_path(folder, "self")), 0);
    struct clip_dataset *set = test_open_set(folder, &options);
    assert_int_equal(set->count, 2);
    assert_string_equal(set->ops->image_name(set, 0), test_path(folder, "a.jpg"));
    assert_string_equal(set->ops->image_name(set, 1), test_path(folder, "z/inner/b.jpg"));
    assert_int_equal(set->unread.count, 0);
    clip_dataset_free(set);
    free(folder);
}

/* What cannot be walked into is named and passed over; the rest is there. */
static void folder_that_cannot_be_read_whole(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_dataset_options options = {.images_only = true};
    char *folder = strdup(test_path(test_folder(), "parts"));
    char *closed = strdup(test_path(folder, "closed"));
    struct clip_buffer deep = {0};
    test_ok(clip_folder_create(closed, &error), &error);
    test_ok(clip_folder_create(test_path(folder, "album.jpg"), &error), &error);
    test_write_text(folder, "a.jpg", "a");
    test_write_text(folder, "album.jpg/b.jpg", "b");
    assert_int_equal(mkfifo(test_path(folder, "pipe.jpg"), 0666), 0);
    for (int i = 0; i < 66; i++) test_ok(clip_buffer_printf(&deep, &error, "d/"), &error);
    test_ok(clip_folder_create(test_path(folder, deep.data), &error), &error);
    assert_int_equal(chmod(closed, 0), 0);
    bool is_root = access(closed, R_OK) == 0; /* whom nothing is closed to */
    struct clip_dataset *set = test_open_set(folder, &options);
    assert_int_equal(set->count, 2);
    assert_string_equal(set->ops->image_name(set, 1), test_path(folder, "album.jpg/b.jpg"));
    assert_int_equal(set->unread.count, is_root ? 2 : 3);
    clip_dataset_free(set);
    assert_int_equal(chmod(closed, 0755), 0);
    volatile sig_atomic_t stop = SIGTERM;
    options.stop = &stop;
    test_no_set(folder, &options, CLIP_ERR_INTERRUPTED, "signal");
    clip_buffer_release(&deep);
    free(closed);
    free(folder);
}

/* No reader opens a pipe: nobody writes into this one, so opening would wait for ever. */
static void pipes_are_never_opened(void **state)
{
    (void)state;
    static const char *const names[] = {"pipe.tar", "pipe.csv", "pipe.jsonl", "pipe.json",
                                        "pipe.h5",  "pipe.tsv", "pipe"};
    const struct clip_dataset_options options = {.images_only = true};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = test_path(test_folder(), names[i]);
        struct clip_dataset *set = NULL;
        struct clip_error error;
        assert_int_equal(mkfifo(path, 0666), 0);
        assert_int_not_equal(clip_dataset_open(&set, path, &options, &error), CLIP_OK);
        assert_null(set);
        unlink(path);
    }
}

static void class_lists(void **state)
{
    (void)state;
    struct clip_class_list list;
    struct clip_templates templates;
    struct clip_dataset *set = NULL;
    struct clip_error error;
    const char *folder = test_folder();
    const char *path = write_tar("animals.tar", MEMBERS(animals), ustar);
    test_ok(clip_class_list_read(
                test_write_text(folder, "classes.txt", "dog\nsea lion\r\n\nhouse cat\tcat\n"),
                &list, &error),
            &error);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.names[2], "house cat");
    assert_string_equal(list.folders[2], "cat");
    assert_string_equal(list.folders[1], "sea lion");
    test_ok(clip_templates_read(templates_file(), &templates, &error), &error);
    test_ok(clip_dataset_open_classes(&set, path, &list, &templates, &error), &error);
    clip_class_list_release(&list);
    clip_templates_release(&templates);
    assert_int_equal(clip_dataset_label(set, 0), 2);
    assert_int_equal(clip_dataset_label(set, 2), 1); /* sea_lion by "sea lion" */
    test_set_caption(set, 0, "a photo of a house cat");
    clip_dataset_free(set);

    test_ok(clip_class_list_read(test_write_text(folder, "few.txt", "cat\ndog\n"), &list, &error),
            &error);
    test_fails(clip_dataset_open_classes(&set, path, &list, NULL, &error), &error, CLIP_ERR_DATA,
               "\"sea_lion\" is no class");
    clip_class_list_release(&list);
    struct clip_dataset_options options = {.class_templates = templates_file(),
                                           .classes = test_path(folder, "few.txt")};
    test_no_set(path, &options, CLIP_ERR_DATA, "few.txt");
}

static void class_list_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } bad[] = {{"", "no class"},
               {"\n\n", "no class"},
               {"cat\ndog\ncat\n", "list.txt:3: the name \"cat\""},
               {"cat\ta\ndog\ta\n", "list.txt:2: the folder \"a\""},
               {"cat\ta\tb\n", "list.txt:1"},
               {"\tcat\n", "list.txt:1"},
               {"cat\t\n", "list.txt:1"},
               {"caf\xe9\n", "UTF-8"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct clip_class_list list;
        struct clip_error error;
        const char *path = test_write_text(test_folder(), "list.txt", bad[i].text);
        clip_status status = clip_class_list_read(path, &list, &error);
        assert_int_not_equal(status, CLIP_OK);
        if (strstr(error.message, bad[i].word) == NULL) test_fail("case %zu: %s", i, error.message);
    }
    struct clip_templates templates;
    struct clip_error error;
    test_fails(clip_templates_read(test_write_text(test_folder(), "t.txt", "a {}\na photo\n"),
                                   &templates, &error),
               &error, CLIP_ERR_FORMAT, "t.txt:2");
    test_fails(
        clip_templates_read(test_write_text(test_folder(), "t.txt", "\n"), &templates, &error),
        &error, CLIP_ERR_DATA, "no template");
}

static void templates_are_filled(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a {}", "a dog"},         {"{}", "dog"}, {"{c} and {}", "dog and dog"}, {"{{}}", "{dog}"},
        {"{x} {} {", "{x} dog {"}, {"{c", "{c"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_buffer out = {0};
        struct clip_error error;
        test_ok(clip_template_fill(cases[i][0], "dog", &out, &error), &error);
        assert_string_equal(out.data, cases[i][1]);
        clip_buffer_release(&out);
    }
}

/* ---- webdataset ---- */
static const struct member shard_a[] = {
    {"000.jpg", "A", NULL},
    {"000.txt", "first", NULL},
    {"000.json", "{\"caption\": \"not this\"}", NULL},
    {"x/001.json", "{\"caption\": \"second \\u732b\", \"width\": 3}", NULL},
    {"x/001.png", "B", NULL},
    {"x/001.cls", "7", NULL},
};
static const struct member shard_b[] = {
    {"002.webp", "C", NULL}, /* no caption */
    {"003.txt", "no image", NULL},
    {"004.jpg", "D", NULL},
    {"004.txt", " \n", NULL}, /* only spaces */
    {"005.jpg", "E", NULL},
    {"005.txt", "", NULL}, /* nothing */
    {"006.jpg", "F", NULL},
    {"006.json", "{\"text\": 1}", NULL},
    {"007.jpg", "G", NULL},
    {"007.json", "{broken", NULL},
    {"008.v1.jpg", "H", NULL},
    {"008.jpg", "I", NULL},
    {"008.txt", "key to a dot", NULL},
};

static void webdataset_reads(void **state)
{
    (void)state;
    struct clip_dataset *set = test_open_set(write_tar("a.tar", MEMBERS(shard_a), ustar), &plain);
    assert_string_equal(set->ops->name, "webdataset");
    assert_int_equal(set->count, 2);
    test_set_sample(set, 0, "A", "first");
    test_set_sample(set, 1, "B", "second \xe7\x8c\xab");
    assert_string_equal(set->ops->image_name(set, 1), "x/001.png");
    clip_dataset_free(set);
}

static void webdataset_bad_samples(void **state)
{
    (void)state;
    struct clip_dataset *set = test_open_set(write_tar("b.tar", MEMBERS(shard_b), ustar), &plain);
    assert_int_equal(set->count, 7);
    test_set_bad(set, 0, CLIP_ERR_NOT_FOUND, "b.tar (002.webp): there is no caption");
    test_set_bad(set, 1, CLIP_ERR_NOT_FOUND, "b.tar (003.txt): there is no image");
    test_set_bad(set, 2, CLIP_ERR_DATA, "b.tar (004.jpg): the caption is empty");
    test_set_bad(set, 3, CLIP_ERR_DATA, "b.tar (005.jpg): the caption is empty");
    test_set_bad(set, 4, CLIP_ERR_FORMAT, "\"caption\"");
    test_set_bad(set, 5, CLIP_ERR_FORMAT, "b.tar (007.jpg)");
    test_set_sample(set, 6, "I", "key to a dot");
    clip_dataset_free(set);
    struct clip_dataset_options options = {.images_only = true};
    set = test_open_set(write_tar("b.tar", MEMBERS(shard_b), ustar), &options);
    assert_int_equal(set->count, 6);
    test_set_sample(set, 0, "C", "");
    clip_dataset_free(set);
}

static void webdataset_shards(void **state)
{
    (void)state;
    const char *folder = test_folder();
    struct clip_error error;
    for (int i = 8; i < 11; i++) {
        char key[32], caption[32], name[32];
        struct clip_buffer bytes = {0};
        snprintf(key, sizeof key, "k%d.jpg", i);
        snprintf(caption, sizeof caption, "k%d.txt", i);
        snprintf(name, sizeof name, "s-%03d.tar", i);
        const struct member members[] = {{key, key, NULL}, {caption, caption, NULL}};
        test_ok(
            clip_file_read(write_tar("x.tar", MEMBERS(members), ustar), 1 << 20, &bytes, &error),
            &error);
        test_write(folder, name, bytes.data, bytes.size);
        clip_buffer_release(&bytes);
    }
    struct clip_dataset *set = test_open_set(test_path(folder, "s-{008..010}.tar"), &plain);
    assert_int_equal(set->count, 3);
    test_set_sample(set, 0, "k8.jpg", "k8.txt");
    test_set_sample(set, 2, "k10.jpg", "k10.txt");
    clip_dataset_free(set);
    set = test_open_set(test_path(folder, "s-0{10,08}.tar"), &plain);
    assert_int_equal(set->count, 2);
    test_set_sample(set, 0, "k10.jpg", "k10.txt");
    clip_dataset_free(set);
    set = test_open_set(test_path(folder, "{s,s}-0{0,0}{8..9}.tar"), &plain);
    assert_int_equal(set->count, 8);
    clip_dataset_free(set);
    test_no_set(test_path(folder, "s-{008..011}.tar"), &plain, CLIP_ERR_NOT_FOUND, "s-011.tar");
    test_no_set(test_path(folder, "{0..9999}{0..9999}.tar"), &plain, CLIP_ERR_USAGE, "shards");
    test_no_set(test_path(folder, "s-{010..008}.tar"), &plain, CLIP_ERR_USAGE, "counts down");
    test_no_set(test_path(folder, "{s}-{008..010}.tar"), &plain, CLIP_ERR_NOT_FOUND, "{s}-008.tar");
    test_no_set(test_path(folder, "s-{}.tar"), &plain, CLIP_ERR_NOT_FOUND, "s-{}.tar");
}

/* What macOS and pax put between the files of a key belongs to nobody and parts nothing. */
static const struct member with_litter[] = {
    {"train/._000.jpg", "mac", NULL},      {"train/000.jpg", "A", NULL},
    {"train/._000.txt", "mac", NULL},      {"PaxHeader/000.txt", "pax", NULL},
    {"train/000.txt", "first", NULL},      {"train/README", "no key", NULL},
    {"train/001.jpg", "B", NULL},          {"__MACOSX/train/001.jpg", "mac", NULL},
    {"train/001.caption", "second", NULL},
};
static const struct member not_neighbours[] = {
    {"train/0.jpg", "A", NULL},   {"train/1.jpg", "B", NULL},   {"train/2.jpg", "C", NULL},
    {"train/0.txt", "one", NULL}, {"train/1.txt", "two", NULL},
};

static void webdataset_names_without_a_key(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.names_are_captions = true};
    struct clip_dataset *set =
        test_open_set(write_tar("a.tar", MEMBERS(with_litter), ustar), &options);
    assert_string_equal(set->ops->name, "webdataset");
    assert_int_equal(set->count, 2);
    test_set_sample(set, 0, "A", "first");
    test_set_sample(set, 1, "B", "second");
    clip_dataset_free(set);
}

static void webdataset_keys_apart(void **state)
{
    (void)state;
    struct clip_dataset_options options = {.names_are_captions = true};
    struct clip_dataset *set =
        test_open_set(write_tar("a.tar", MEMBERS(not_neighbours), ustar), &options);
    assert_string_equal(set->ops->name, "webdataset");
    assert_int_equal(set->count, 5);
    test_set_bad(set, 0, CLIP_ERR_NOT_FOUND, "elsewhere in the tar");
    test_set_bad(set, 0, CLIP_ERR_NOT_FOUND, "tar --sort=name");
    test_set_bad(set, 2, CLIP_ERR_NOT_FOUND, "add a .txt");
    test_set_bad(set, 3, CLIP_ERR_NOT_FOUND, "tar --sort=name");
    clip_dataset_free(set);
}

static const struct member json_captions[] = {
    {"0.jpg", "A", NULL},
    {"0.json", "{\"caption\": \"not this\", \"text\": [\"one\", \"two\"], \"alt\": \"three\"}",
     NULL},
    {"0.txt", "plain", NULL},
    {"1.jpg", "B", NULL},
    {"1.json", "{\"text\": \"four\", \"size\": NaN}", NULL},
};

static void webdataset_caption_keys(void **state)
{
    (void)state;
    const char *path = write_tar("a.tar", MEMBERS(json_captions), ustar);
    struct clip_dataset *set = test_open_set(path, &plain);
    assert_int_equal(set->count, 2);
    test_set_sample(set, 0, "A", "plain");
    test_set_sample(set, 1, "B", "four");
    clip_dataset_free(set);
    struct clip_dataset_options options = {.csv_caption_key = "text"};
    set = test_open_set(path, &options);
    assert_int_equal(set->count, 3);
    test_set_sample(set, 0, "A", "one");
    test_set_sample(set, 1, "A", "two");
    test_set_sample(set, 2, "B", "four");
    assert_int_equal(set->group[0], set->group[1]);
    assert_int_not_equal(set->group[0], set->group[2]);
    assert_ptr_equal(set->ops->image_name(set, 0), set->ops->image_name(set, 1));
    clip_dataset_free(set);
    options.csv_caption_key = "alt, text";
    set = test_open_set(path, &options);
    assert_int_equal(set->count, 4);
    test_set_sample(set, 0, "A", "three");
    test_set_sample(set, 2, "A", "two");
    test_set_sample(set, 3, "B", "four");
    clip_dataset_free(set);
    options.csv_caption_key = "nothing";
    set = test_open_set(path, &options);
    test_set_bad(set, 0, CLIP_ERR_FORMAT, "csv_caption_key");
    clip_dataset_free(set);
}

/* CLIP_benchmark's form: KEY.cls is a line number of classnames.txt, from 0. */
static const struct member labelled[] = {
    {"s0.jpg", "A", NULL}, {"s0.cls", "1", NULL}, {"s1.cls", "0\n", NULL}, {"s1.jpg", "B", NULL},
    {"s2.jpg", "C", NULL}, {"s3.jpg", "D", NULL}, {"s3.cls", "1", NULL},
};

static void webdataset_labels(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_class_list list = {0};
    struct clip_dataset *set = NULL;
    const char *path = write_tar("0.tar", MEMBERS(labelled), ustar);
    const char *few = test_write_text(test_folder(), "few.txt", "cat\n");
    struct clip_dataset_options options = {.names_are_captions = true};
    test_no_set(path, &options, CLIP_ERR_DATA, "classnames.txt");
    options.classes = test_write_text(test_folder(), "classes.txt", "cat\ndog\n");
    test_ok(clip_class_list_read(options.classes, &list, &error), &error);
    test_ok(clip_dataset_open_classes(&set, path, &list, NULL, &error), &error);
    assert_int_equal(set->count, 3);
    assert_int_equal(clip_dataset_label(set, 0), 1);
    assert_int_equal(clip_dataset_label(set, 1), 0);
    assert_int_equal(clip_dataset_label(set, 2), 1);
    test_set_sample(set, 2, "D", "");
    clip_dataset_free(set);
    set = test_open_set(path, &options);
    assert_string_equal(set->ops->name, "webdataset with labels");
    test_set_sample(set, 0, "A", "dog");
    assert_int_equal(set->group[0], set->group[2]);
    clip_dataset_free(set);
    clip_class_list_release(&list);
    test_ok(clip_class_list_read(few, &list, &error), &error);
    test_fails(clip_dataset_open_classes(&set, path, &list, NULL, &error), &error, CLIP_ERR_DATA,
               "label 1");
    clip_class_list_release(&list);
}

/* Shards by a pattern, a folder, and lists of both. */
static void shards_by_other_names(void **state)
{
    (void)state;
    struct clip_error error;
    const char *folder = test_folder(), *one, *list;
    char both[1024];
    for (int i = 0; i < 2; i++) {
        struct clip_buffer bytes = {0};
        const char *tar = i == 0 ? write_tar("x.tar", MEMBERS(shard_a), ustar)
                                 : write_tar("x.tar", MEMBERS(with_litter), ustar);
        test_ok(clip_file_read(tar, 1 << 20, &bytes, &error), &error);
        test_write(folder, i == 0 ? "s0.tar" : "s1.tar", bytes.data, bytes.size);
        clip_buffer_release(&bytes);
    }
    one = test_path(folder, "s1.tar");
    snprintf(both, sizeof both, "%s::%s", one, folder);
    list = test_path(folder, "s*.tar");
    const struct {
        const char *data;
        int64_t count;
    } cases[] = {{folder, 4}, {list, 4}, {both, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_dataset *set = test_open_set(cases[i].data, &plain);
        assert_int_equal(set->count, cases[i].count);
        test_set_sample(set, i == 2 ? 2 : 0, "A", "first");
        clip_dataset_free(set);
    }
    test_no_set(test_path(folder, "t*.tar"), &plain, CLIP_ERR_NOT_FOUND, "pattern");
    test_no_set("a.tar::", &plain, CLIP_ERR_USAGE, "\"::\"");
}

static void unknown_data(void **state)
{
    (void)state;
    test_no_set("", &plain, CLIP_ERR_USAGE, "no data set");
    test_no_set("/nowhere/at/all", &plain, CLIP_ERR_NOT_FOUND, "/nowhere/at/all");
    test_no_set(test_write_text(test_folder(), "pairs.xlsx", "x"), &plain, CLIP_ERR_DATA, ".tsv");
    test_no_set(test_write_text(test_folder(), "pairs.txt", "{}"), &plain, CLIP_ERR_DATA, ".jsonl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_tar),
        cmocka_unit_test(templates_are_drawn),
        cmocka_unit_test(folder_is_as_its_tar),
        cmocka_unit_test(pax_names),
        cmocka_unit_test(tar_refusals),
        cmocka_unit_test(tar_that_changes),
        cmocka_unit_test(images_of_a_folder),
        cmocka_unit_test(folder_that_links_to_itself),
        cmocka_unit_test(folder_that_cannot_be_read_whole),
        cmocka_unit_test(pipes_are_never_opened),
        cmocka_unit_test(class_lists),
        cmocka_unit_test(class_list_refusals),
        cmocka_unit_test(templates_are_filled),
        cmocka_unit_test(webdataset_reads),
        cmocka_unit_test(webdataset_bad_samples),
        cmocka_unit_test(webdataset_shards),
        cmocka_unit_test(webdataset_names_without_a_key),
        cmocka_unit_test(webdataset_keys_apart),
        cmocka_unit_test(webdataset_caption_keys),
        cmocka_unit_test(webdataset_labels),
        cmocka_unit_test(shards_by_other_names),
        cmocka_unit_test(unknown_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
