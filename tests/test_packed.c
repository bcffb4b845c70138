/* Packed sets: what comes out is what went in, to the same batches; damage is found wherever it
 * is. */
#include "tests/sets.h"

#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "data/sets/loader.h"
#include "data/sets/packed.h"

enum { SIDE = 12 };
static const struct clip_dataset_options plain = {0};

static void write_image(const char *folder, const char *name, int number, int width, int height)
{
    struct clip_image image = {.width = width, .height = height};
    struct clip_buffer png = {0};
    struct clip_error error;
    image.rgb = malloc((size_t)(3 * width * height));
    assert_non_null(image.rgb);
    for (int i = 0; i < 3 * width * height; i++)
        image.rgb[i] = (uint8_t)(i * (number + 3) + 40 * number);
    test_ok(clip_image_encode_png(&image, &png, &error), &error);
    test_write(folder, name, png.data, png.size);
    clip_buffer_release(&png);
    clip_image_release(&image);
}

/* 18 rows of 9 images of unlike sizes, with hard negatives in some. */
static const char *write_pairs(void)
{
    const char *folder = test_folder();
    char text[2048] = "filepath,title,wrong\n", name[32];
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        write_image(folder, name, i, 14 + 5 * i, 40 - 3 * i);
    }
    for (int i = 0; i < 18; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d.png,\"number, %d\",%s\n",
                 i % 9, i, i % 3 == 0 ? "another" : "");
    return test_write_text(folder, "pairs.csv", text);
}

static const char *pack(const char *data, const struct clip_dataset_options *options,
                        int64_t image_size, struct clip_pack_counts *counts)
{
    struct clip_pack_options how = {
        .image_size = image_size, .images_only = options->images_only, .quiet = true};
    struct clip_dataset *set = test_open_set(data, options);
    struct clip_error error;
    const char *path = test_path(test_folder(), "packed.h5");
    test_ok(clip_pack_write(path, set, &how, counts, &error), &error);
    clip_dataset_free(set);
    return path;
}

static void everything_comes_back(void **state)
{
    (void)state;
    const struct clip_dataset_options options = {.csv_negative_key = "wrong"};
    const char *list = write_pairs();
    struct clip_pack_counts counts;
    struct clip_dataset *set = test_open_set(list, &options);
    struct clip_dataset *packed = test_open_set(pack(list, &options, 0, &counts), &options);
    assert_int_equal(counts.samples, 18);
    assert_int_equal(counts.images, 9);
    assert_int_equal(counts.bad, 0);
    assert_string_equal(packed->ops->name, "packed");
    assert_int_equal(packed->count, 18);
    for (int64_t i = 0; i < 18; i++) {
        struct clip_sample a = {0}, b = {0};
        struct clip_error error;
        struct clip_buffer wrong = {0};
        test_ok(set->ops->read(set, i, NULL, &a, &error), &error);
        test_ok(packed->ops->read(packed, i, NULL, &b, &error), &error);
        assert_int_equal(a.image.size, b.image.size);
        assert_memory_equal(a.image.data, b.image.data, a.image.size);
        assert_string_equal(a.caption.data, b.caption.data);
        assert_string_equal(set->ops->image_name(set, i), packed->ops->image_name(packed, i));
        assert_ptr_equal(packed->ops->image_name(packed, i),
                         packed->ops->image_name(packed, i % 9));
        assert_int_equal(packed->group[i], i % 9);
        test_ok(packed->ops->negative(packed, i, &wrong, &error), &error);
        assert_string_equal(wrong.data, i % 3 == 0 ? "another" : "");
        clip_buffer_release(&wrong);
        clip_sample_release(&a);
        clip_sample_release(&b);
    }
    clip_dataset_free(set);
    clip_dataset_free(packed);
}

/* Two passes of the loader, as bytes. */
static struct clip_buffer batches_of(const char *data, const struct clip_dataset_options *options,
                                     bool augment)
{
    static const char merges[] = "#version: 0.2\nq q\n";
    struct clip_loader_options how = {
        .batch_size = 4,
        .context_length = 30,
        .seed = 5,
        .shuffle = augment,
        .augment = augment,
        .workers = 1,
        .quiet = true,
        .preprocess = {.image_size = SIDE, .std = {1, 1, 1}},
        .augmentation = {.scale_min = 0.4, .flip = true},
    };
    struct clip_tokenizer *tokenizer = NULL;
    struct clip_loader *loader = NULL;
    struct clip_dataset *set = test_open_set(data, options);
    struct clip_buffer bytes = {0};
    struct clip_error error;
    test_ok(clip_tokenizer_parse(&tokenizer, merges, sizeof merges - 1, "none", &error), &error);
    test_ok(clip_loader_create(&loader, set, tokenizer, &how, &error), &error);
    for (int i = 0; i < 8; i++) {
        struct clip_batch batch;
        test_ok(clip_loader_next(loader, &batch, NULL, &error), &error);
        size_t n = (size_t)batch.count;
        test_ok(
            clip_buffer_append(&bytes, batch.pixels, n * 3 * SIDE * SIDE * sizeof(float), &error),
            &error);
        test_ok(clip_buffer_append(&bytes, batch.tokens,
                                   (size_t)batch.offsets[n] * sizeof *batch.tokens, &error),
                &error);
        test_ok(clip_buffer_append(&bytes, batch.ids, n * sizeof *batch.ids, &error), &error);
    }
    clip_loader_free(loader);
    clip_dataset_free(set);
    clip_tokenizer_free(tokenizer);
    return bytes;
}

static void expect_same_batches(const char *data, const char *packed,
                                const struct clip_dataset_options *options, bool augment)
{
    struct clip_buffer a = batches_of(data, options, augment);
    struct clip_buffer b = batches_of(packed, options, augment);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    clip_buffer_release(&a);
    clip_buffer_release(&b);
}

/* The files' bytes: always. Pixels: in training where no image was scaled down, and in evaluation
 * at the size that was packed. */
static void batches_are_the_same(void **state)
{
    (void)state;
    struct clip_pack_counts counts;
    const char *list = write_pairs();
    const char *bytes = pack(list, &plain, 0, &counts), *whole = pack(list, &plain, 60, &counts);
    const char *small = pack(list, &plain, SIDE, &counts);
    expect_same_batches(list, bytes, &plain, true);
    expect_same_batches(list, bytes, &plain, false);
    expect_same_batches(list, whole, &plain, true);
    expect_same_batches(list, small, &plain, false);
    /* and packed again */
    expect_same_batches(list, pack(whole, &plain, 0, &counts), &plain, true);
}

static void classes_keep_their_templates(void **state)
{
    (void)state;
    const char *folder = test_folder();
    struct clip_error error;
    struct clip_pack_counts counts;
    static const char *const classes[] = {"cat", "sea_lion"};
    for (int i = 0; i < 8; i++) {
        char name[32];
        test_ok(clip_folder_create(test_path(folder, classes[i % 2]), &error), &error);
        snprintf(name, sizeof name, "%s/%d.png", classes[i % 2], i);
        write_image(folder, name, i, 20, 20);
    }
    const char *lines = test_write_text(test_folder(), "t.txt", "a {}\nthe {} here\none {}\n");
    const char *other = test_write_text(test_folder(), "t.txt", "some {}\n");
    const struct clip_dataset_options options = {.class_templates = lines};
    const char *packed = pack(folder, &options, 0, &counts);
    expect_same_batches(folder, packed, &options, true);
    struct clip_buffer stored = batches_of(packed, &plain, true); /* its own templates */
    struct clip_buffer asked = batches_of(folder, &options, true);
    assert_int_equal(stored.size, asked.size);
    assert_memory_equal(stored.data, asked.data, asked.size);
    clip_buffer_release(&stored);
    clip_buffer_release(&asked);
    const struct clip_dataset_options others = {.class_templates = other};
    struct clip_dataset *set = test_open_set(packed, &others);
    test_set_caption(set, 7, "some sea lion");
    clip_dataset_free(set);
}

/* Zero-shot evaluation's labels come from the names of the class list, not from the packed set. */
static void packed_classes_are_labelled(void **state)
{
    (void)state;
    const char *folder = test_folder();
    struct clip_error error;
    struct clip_pack_counts counts;
    struct clip_class_list classes;
    struct clip_dataset *set = NULL, *same = NULL;
    static const char *const names[] = {"zebra", "sea_lion", "cat"};
    for (int i = 0; i < 9; i++) {
        char name[32];
        test_ok(clip_folder_create(test_path(folder, names[i % 3]), &error), &error);
        snprintf(name, sizeof name, "%s/%d.png", names[i % 3], i);
        write_image(folder, name, i, 20, 20);
    }
    const struct clip_dataset_options images = {.images_only = true};
    const char *lines = test_write_text(test_folder(), "t.txt", "a {}\n");
    const struct clip_dataset_options options = {.class_templates = lines};
    const char *list = test_write_text(test_folder(), "c.txt", "cat\nsea lion\nstripes\tzebra\n");
    test_ok(clip_class_list_read(list, &classes, &error), &error);
    test_ok(clip_dataset_open_classes(&set, folder, &classes, NULL, &error), &error);
    const char *packed[] = {pack(folder, &options, 0, &counts), pack(folder, &images, 0, &counts)};
    for (int k = 0; k < 2; k++) {
        test_ok(clip_dataset_open_classes(&same, packed[k], &classes, NULL, &error), &error);
        assert_int_equal(same->count, set->count);
        for (int64_t i = 0; i < set->count; i++)
            assert_int_equal(clip_dataset_label(same, i), clip_dataset_label(set, i));
        clip_dataset_free(same);
    }
    clip_dataset_free(set);
    clip_class_list_release(&classes);

    list = test_write_text(test_folder(), "c.txt", "cat\nsea lion\n");
    test_ok(clip_class_list_read(list, &classes, &error), &error);
    test_fails(clip_dataset_open_classes(&same, packed[0], &classes, NULL, &error), &error,
               CLIP_ERR_DATA, "\"zebra\" is no class");
    clip_class_list_release(&classes);
}

static void bad_samples_are_left_out(void **state)
{
    (void)state;
    const char *folder = test_folder();
    struct clip_pack_counts counts;
    write_image(folder, "a.png", 1, 10, 10);
    test_write_text(folder, "b.png", "\x89PNG\r\n\x1a\nbroken");
    const char *list = test_write_text(folder, "pairs.csv",
                                       "filepath,title\na.png, \nb.png,x\na.png,one\nc.png,y\n"
                                       "a.png,two\nb.png,z\n");
    struct clip_dataset *set = test_open_set(pack(list, &plain, 0, &counts), &plain);
    assert_int_equal(counts.samples, 2);
    assert_int_equal(counts.images, 1);
    assert_int_equal(counts.bad, 4);
    test_set_caption(set, 1, "two");
    clip_dataset_free(set);

    struct clip_error error;
    struct clip_pack_options how = {.quiet = true};
    const char *path = test_path(folder, "none.h5");
    list = test_write_text(folder, "pairs.csv", "filepath,title\nb.png,x\n");
    set = test_open_set(list, &plain);
    test_fails(clip_pack_write(path, set, &how, &counts, &error), &error, CLIP_ERR_DATA,
               "no sample is left");
    assert_false(clip_path_exists(path));
    test_fails(clip_pack_write("x.hdf5", set, &how, &counts, &error), &error, CLIP_ERR_USAGE,
               ".h5");
    test_fails(clip_pack_write("/nowhere/x.h5", set, &how, &counts, &error), &error,
               CLIP_ERR_NOT_FOUND, "/nowhere");
    clip_dataset_free(set);
}

static void images_alone_have_no_captions(void **state)
{
    (void)state;
    const struct clip_dataset_options images = {.images_only = true};
    struct clip_pack_counts counts;
    const char *packed = pack(write_pairs(), &images, 0, &counts);
    struct clip_dataset *set = test_open_set(packed, &images);
    assert_int_equal(set->count, 18);
    test_set_caption(set, 3, "");
    clip_dataset_free(set);
    test_no_set(packed, &plain, CLIP_ERR_DATA, "without captions");
}

/* Is the byte at `at` one of ours: of the first block, of a table, of an image? */
static bool is_ours(const struct clip_buffer *file, const struct clip_packed_head *head, size_t at)
{
    if (at < CLIP_PACKED_BLOCK) return true;
    for (int i = 0; i < CLIP_PACKED_TABLES; i++) {
        size_t size = clip_packed_is_bytes((enum clip_packed_table)i) ? 1 : sizeof(int64_t);
        size_t from = (size_t)head->tables[i].position, n = (size_t)head->tables[i].count * size;
        if (at >= from && at < from + n) return true;
    }
    const struct clip_packed_place *places = head->tables;
    const char *positions = file->data + places[CLIP_PACKED_POSITION].position;
    const char *sizes = file->data + places[CLIP_PACKED_SIZE].position;
    for (int64_t i = 0; i < places[CLIP_PACKED_POSITION].count; i++) {
        int64_t position, size;
        memcpy(&position, positions + 8 * i, sizeof position); /* aligned to nothing in a file */
        memcpy(&size, sizes + 8 * i, sizeof size);
        if ((int64_t)at >= position && (int64_t)at < position + size) return true;
    }
    return false;
}

/* Is something wrong with the set? */
static bool is_damaged(const char *path)
{
    struct clip_dataset *set = NULL;
    struct clip_error error;
    bool failed = false;
    if (clip_dataset_open(&set, path, &plain, &error) != CLIP_OK) {
        assert_non_null(strstr(error.message, clip_path_name(path)));
        return true;
    }
    for (int64_t i = 0; i < set->count; i++) {
        struct clip_sample sample = {0};
        failed = set->ops->read(set, i, NULL, &sample, &error) != CLIP_OK || failed;
        clip_sample_release(&sample);
    }
    clip_dataset_free(set);
    return failed;
}

/* A flipped byte is found at opening, or when the image that holds it is read, if it is one of
 * ours; HDF5's own records are others' to read. */
static void damage_is_found(void **state)
{
    (void)state;
    struct clip_pack_counts counts;
    struct clip_buffer whole = {0};
    struct clip_packed_head head;
    struct clip_error error;
    const char *packed = pack(write_pairs(), &plain, 0, &counts), *folder = test_folder();
    int64_t ours = 0, others = 0;
    test_ok(clip_file_read(packed, 1 << 24, &whole, &error), &error);
    assert_int_equal(whole.size, counts.bytes);
    hid_t file = H5Fopen(packed, H5F_ACC_RDONLY, H5P_DEFAULT); /* is whole for others too */
    assert_true(file >= 0);
    assert_true(H5Lexists(file, "samples/captions", H5P_DEFAULT) > 0);
    assert_true(H5Fclose(file) >= 0);
    test_ok(clip_packed_head_read(&head, whole.data, whole.size, counts.bytes, "a", &error),
            &error);
    for (size_t at = 0; at < whole.size; at += 5) {
        bool mine = is_ours(&whole, &head, at);
        whole.data[at] ^= 0x41;
        const char *path = test_write(folder, "flipped.h5", whole.data, whole.size);
        whole.data[at] ^= 0x41;
        if (is_damaged(path) != mine)
            test_fail("byte %zu, flipped: %s", at, mine ? "not found" : "found, but not ours");
        ours += mine;
        others += !mine;
    }
    print_message("    %lld of our bytes, %lld others\n", (long long)ours, (long long)others);
    assert_true(ours > 300 && others > 0);
    for (size_t n = 0; n < whole.size; n += 97) {
        const char *path = test_write(folder, "cut.h5", whole.data, n);
        test_no_set(path, &plain, CLIP_ERR_FORMAT, "cut.h5");
    }
    test_no_set(test_write_text(folder, "a.h5", "\x89HDF\r\n\x1a\n"), &plain, CLIP_ERR_FORMAT,
                "no packed data set");
    test_no_set("/nowhere/a.h5", &plain, CLIP_ERR_NOT_FOUND, "/nowhere/a.h5");
    clip_buffer_release(&whole);
}

static void the_same_data_gives_the_same_bytes(void **state)
{
    (void)state;
    const char *list = write_pairs();
    struct clip_pack_counts counts;
    struct clip_buffer a = {0}, b = {0};
    struct clip_error error;
    test_ok(clip_file_read(pack(list, &plain, 20, &counts), 1 << 24, &a, &error), &error);
    test_ok(clip_file_read(pack(list, &plain, 20, &counts), 1 << 24, &b, &error), &error);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    clip_buffer_release(&a);
    clip_buffer_release(&b);
}

/* A limit on the file's size stands for a full disk: a sentence, and the older file stays. */
static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    struct clip_pack_counts counts;
    struct clip_error error;
    struct clip_pack_options how = {.image_size = 350, .quiet = true};
    const char *folder = test_folder(), *path = test_path(folder, "a.h5");
    struct rlimit before, small;
    struct clip_names names = {0};
    char list[256] = "filepath,title\n";
    for (int i = 0; i < 5; i++) { /* 1.9 MB */
        char name[32];
        snprintf(name, sizeof name, "%d.png", i);
        write_image(folder, name, i, 350, 360);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s,%d\n", name, i);
    }
    struct clip_dataset *set = test_open_set(test_write_text(folder, "l.csv", list), &plain);
    test_write_text(folder, "a.h5", "older");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t limit = 0; limit < 1890000; limit += limit < 10000 ? 4096 : 150000) {
        small = before;
        small.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        clip_status status = clip_pack_write(path, set, &how, &counts, &error);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(status, CLIP_ERR_IO);
        assert_non_null(strstr(error.message, "a.h5"));
    }
    test_ok(clip_folder_list(folder, &names, &error), &error);
    assert_int_equal(names.count, 7); /* no temporary file is left */
    clip_names_release(&names);
    clip_dataset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(batches_are_the_same),
        cmocka_unit_test(classes_keep_their_templates),
        cmocka_unit_test(packed_classes_are_labelled),
        cmocka_unit_test(bad_samples_are_left_out),
        cmocka_unit_test(images_alone_have_no_captions),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(the_same_data_gives_the_same_bytes),
        cmocka_unit_test(a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
