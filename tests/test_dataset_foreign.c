/* Data sets of formats that are not read are refused by name, by their bytes and whatever they are
 * called; and several sets are joined to one. */
#include "tests/sets.h"

#include <stdio.h>
#include <string.h>

#include "core/file.h"

static const struct clip_dataset_options plain = {0};

static const char *sub(const char *folder, const char *name)
{
    struct clip_error error;
    const char *path = test_path(folder, name);
    test_ok(clip_folder_create(path, &error), &error);
    return path;
}

static const char *write_bytes(const char *folder, const char *name, const char *bytes, size_t n)
{
    struct clip_error error;
    const char *path = test_path(folder, name);
    test_ok(clip_file_write(path, bytes, n, &error), &error);
    return path;
}

#define BYTES(text) text, sizeof(text) - 1
static const char parquet[] = "PAR1\x15\x04\x15\x10PAR1";
static const struct sample {
    const char *bytes;
    size_t n;
    const char *name, *section;
} samples[] = {
    {BYTES(parquet), "Parquet", "\"Parquet, Arrow and saved datasets\""},
    {BYTES("ARROW1\0\0\xff\xff\xff\xff\x10\0\0\0"), "Arrow", "saved datasets"},
    {BYTES("\xff\xff\xff\xff\xb0\1\0\0\x10\0\0\0\0\0\x0a\0"), "Arrow", "saved datasets"},
    {BYTES("FEA1\0\0\0\0"), "Arrow", "saved datasets"},
    {BYTES("\x80\x04\x95\x10\0\0\0\0\0\0\0]."), "pickle", "\"Pickle\""},
    {BYTES("\x80\x02}q\0."), "pickle", "\"Pickle\""},
    {BYTES("\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\0\0\xde\xc0\xef\xbe\1\0\0\0"), "LMDB", "\"LMDB\""},
    /* a record of 12 bytes and the checksum that TensorFlow writes of that length */
    {BYTES("\x0c\0\0\0\0\0\0\0\xf4\xc8\xfe\x0a"), "TFRecord", "\"TFRecord\""},
    {BYTES("\x93NUMPY\1\0v\0{'descr'"), ".npy", "\"NumPy arrays\""},
    {BYTES("PK\3\4\x14\0\0\0\0\0\0\0!\0\0\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0a.npyxx"), ".npz", "NumPy"},
    {BYTES("PK\3\4\x14\0\0\0\0\0\0\0!\0\0\0\0\0\0\0\0\0\0\0\0\0\5\0\0\0a.jpgxx"), "zip",
     "Archives"},
    {BYTES("SQLite format 3\0\x10\0\1\1"), "SQLite", "\"SQLite\""},
    {BYTES("7z\xbc\xaf\x27\x1c\0\4"), "7z", "\"Archives\""},
    {BYTES("Rar!\x1a\x07\1\0"), "rar", "\"Archives\""},
};
enum { SAMPLES = sizeof samples / sizeof *samples };

static void files_are_named_by_their_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"x", "x.csv", "x.parquet", "x.tar", "x.jsonl", "x.h5"};
    const struct clip_dataset_options images = {.images_only = true};
    for (int i = 0; i < SAMPLES; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const char *path = write_bytes(test_folder(), names[k], samples[i].bytes, samples[i].n);
            test_no_set(path, &plain, CLIP_ERR_DATA, samples[i].name);
            test_no_set(path, &images, CLIP_ERR_DATA, samples[i].section);
        }
}

static void folders_are_named_by_what_they_hold(void **state)
{
    (void)state;
    const char *saved = test_folder(), *several = test_folder(), *lmdb = test_folder();
    test_write_text(saved, "state.json", "{}");
    test_write_text(saved, "dataset_info.json", "{}");
    test_no_set(saved, &plain, CLIP_ERR_DATA, "save_to_disk");
    test_write_text(several, "dataset_dict.json", "{\"splits\": [\"train\"]}");
    test_no_set(several, &plain, CLIP_ERR_DATA, "save_to_disk");
    write_bytes(lmdb, "data.mdb", samples[6].bytes, samples[6].n);
    test_no_set(lmdb, &plain, CLIP_ERR_DATA, "is an LMDB database");
    for (int i = 0; i < SAMPLES; i++) {
        const char *above = test_folder(), *flat = sub(above, "a"), *deep = sub(above, "b");
        test_write_text(flat, "README.md", "# a set");
        write_bytes(flat, "train-0000", samples[i].bytes, samples[i].n);
        test_no_set(flat, &plain, CLIP_ERR_DATA, samples[i].name);
        test_write_text(deep, "README.md", "# a set");
        write_bytes(sub(deep, "data"), "train-0000", samples[i].bytes, samples[i].n);
        test_no_set(deep, &plain, CLIP_ERR_DATA, "data/train-0000 is");
    }
}

/* Text is never taken for one of these, nor is a folder with images for what lies beside them. */
static void what_only_looks_like_one(void **state)
{
    (void)state;
    const char *folder = test_folder();
    test_write_text(folder, "a.jpg", "A");
    test_write_text(folder, "a.txt", "one");
    write_bytes(folder, "cache.parquet", BYTES(parquet));
    struct clip_dataset *set = test_open_set(folder, &plain);
    test_set_sample(set, 0, "A", "one");
    clip_dataset_free(set);
    set = test_open_set(test_write_text(folder, "x.csv", "PAR1,filepath,title\n1,a.jpg,two\n"),
                        &plain);
    test_set_sample(set, 0, "A", "two");
    clip_dataset_free(set);
}

/* ---- Several sets as one ---- */
static void sets_of_any_format_are_joined(void **state)
{
    (void)state;
    const char *folder = test_folder(), *beside = sub(folder, "beside");
    char list[2048];
    test_write_text(folder, "a.jpg", "A");
    test_write_text(folder, "b.jpg", "B");
    test_write_text(beside, "c.jpg", "C");
    test_write_text(beside, "c.txt", "four");
    const char *csv = test_write_text(folder, "x1.csv", "filepath,title\na.jpg,one\nb.jpg,two\n");
    const char *jsonl =
        test_write_text(folder, "y.jsonl", "{\"image\": \"a.jpg\", \"text\": \"three\"}\n");
    snprintf(list, sizeof list, "%s::%s::%s", csv, jsonl, beside);
    struct clip_dataset *set = test_open_set(list, &plain);
    assert_string_equal(set->ops->name, "several sets");
    assert_int_equal(set->count, 4);
    assert_true(set->paths);
    test_set_sample(set, 0, "A", "one");
    test_set_sample(set, 1, "B", "two");
    test_set_sample(set, 2, "A", "three");
    test_set_sample(set, 3, "C", "four");
    assert_int_equal(set->group[0], set->group[2]);
    assert_int_not_equal(set->group[0], set->group[1]);
    assert_int_not_equal(set->group[1], set->group[3]);
    for (int i = 0; i < 4; i++) assert_in_range(set->group[i], 0, 3);
    clip_dataset_free(set);
    test_write_text(folder, "x2.csv", "filepath,title\nb.jpg,five\n");
    static const char *const patterns[] = {"x*.csv", "x{1..2}.csv", "x{1,2}.csv"};
    for (int i = 0; i < 3; i++) {
        set = test_open_set(test_path(folder, patterns[i]), &plain);
        assert_int_equal(set->count, 3);
        test_set_sample(set, 2, "B", "five");
        assert_int_equal(set->group[1], set->group[2]);
        clip_dataset_free(set);
    }
    snprintf(list, sizeof list, "%s::%s/none.csv", csv, folder);
    test_no_set(list, &plain, CLIP_ERR_NOT_FOUND, "none.csv");
    snprintf(list, sizeof list, "%s::", csv);
    test_no_set(list, &plain, CLIP_ERR_USAGE, "a name is missing");
}

/* A negative of one part only; and one root for all lists. */
static void joined_sets_keep_their_options(void **state)
{
    (void)state;
    const char *folder = test_folder(), *root = sub(folder, "images");
    char list[1024];
    test_write_text(root, "a.jpg", "A");
    const char *x = test_write_text(folder, "x.csv", "filepath,title,no\na.jpg,one,not one\n");
    const char *y = test_write_text(folder, "y.csv", "filepath\ttitle\tno\na.jpg\ttwo\t\n");
    const struct clip_dataset_options options = {.images_root = root, .csv_negative_key = "no"};
    struct clip_buffer text = {0};
    struct clip_error error;
    snprintf(list, sizeof list, "%s::%s", x, y);
    struct clip_dataset *set = test_open_set(list, &options);
    test_set_sample(set, 1, "A", "two");
    test_ok(set->ops->negative(set, 0, &text, &error), &error);
    assert_string_equal(text.data, "not one");
    test_ok(set->ops->negative(set, 1, &text, &error), &error);
    assert_int_equal(text.size, 0);
    clip_buffer_release(&text);
    clip_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_named_by_their_bytes),
        cmocka_unit_test(folders_are_named_by_what_they_hold),
        cmocka_unit_test(what_only_looks_like_one),
        cmocka_unit_test(sets_of_any_format_are_joined),
        cmocka_unit_test(joined_sets_keep_their_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
