/* The native HDF5 file: what is written is read back, the same bundle gives the same bytes, a file
 * that is damaged, foreign or forged is refused with a sentence, a full disk leaves the old one. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoints/hdf5_parts.h"
#include "core/threads.h"
#include "tests/support.h"

static float numbers[3 * 1024 * 1024];

/* One tensor of each type and of each number of dimensions, several groups, a few texts. */
static struct clip_bundle make_bundle(void)
{
    static const struct {
        const char *name;
        enum clip_dtype dtype;
        int ndim;
        int64_t shape[CLIP_MAX_DIMS];
    } tensors[] = {
        {"model/visual.conv1.weight", CLIP_F32, 4, {4, 3, 2, 2}},
        {"model/logit_scale", CLIP_F32, 0, {0}},
        {"model/empty", CLIP_F32, 2, {5, 0}},
        {"optimizer/exp_avg/visual.conv1.weight", CLIP_F16, 2, {3, 5}},
        {"optimizer/exp_avg/b", CLIP_BF16, 3, {1, 2, 3}},
        {"count", CLIP_I64, 0, {0}},
        {"ids", CLIP_I32, 1, {7}},
        {"pixels", CLIP_U8, 1, {11}},
    };
    struct clip_bundle bundle = {0};
    struct clip_error error;
    for (int i = 0; i < 4096; i++) numbers[i] = (float)i * 0.37f - 3;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        struct clip_tensor t =
            clip_tensor_view(tensors[i].dtype, numbers + 7 * i, tensors[i].ndim, tensors[i].shape);
        test_ok(clip_bundle_add(&bundle, tensors[i].name, &t, &error), &error);
    }
    test_ok(clip_bundle_add_text(&bundle, "config", "{\"embed_dim\": 4}", 16, &error), &error);
    static const char names[] = "[\"a\",\"\",\"\\\"\xc3\xa4\"]";
    test_ok(clip_bundle_add_list(&bundle, "names", names, sizeof names - 1, &error), &error);
    test_ok(clip_bundle_add_text(&bundle, "tokenizer", "\xe4\xb8\xad</w>\n", 8, &error), &error);
    test_ok(clip_bundle_add_text(&bundle, "nothing", "", 0, &error), &error);
    return bundle;
}

static void check_same(const struct clip_bundle *a, const struct clip_bundle *b)
{
    assert_int_equal(a->tensor_count, b->tensor_count);
    assert_int_equal(a->text_count, b->text_count);
    for (int64_t i = 0; i < a->tensor_count; i++) {
        const struct clip_tensor *x = &a->tensors[i].tensor;
        const struct clip_tensor *y = clip_bundle_find(b, a->tensors[i].name);
        if (!y) test_fail("%s is missing", a->tensors[i].name);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(x->ndim, y->ndim);
        assert_memory_equal(x->shape, y->shape, (size_t)x->ndim * sizeof *x->shape);
        size_t n = (size_t)clip_tensor_count(x) * clip_dtype_size(x->dtype);
        if (n > 0) assert_memory_equal(x->data, y->data, n);
    }
    for (int64_t i = 0; i < a->text_count; i++) {
        const struct clip_bundle_text *text = clip_bundle_text(b, a->texts[i].key);
        assert_non_null(text);
        assert_int_equal(a->texts[i].size, text->size);
        assert_string_equal(a->texts[i].value, text->value);
        assert_int_equal(a->texts[i].list, text->list);
    }
}

/* Makes the first block of a file that libhdf5 wrote. */
static void seal(const char *path)
{
    struct clip_error error;
    char block[CLIP_HDF5_BLOCK];
    int fd = open(path, O_RDWR);
    test_ok(clip_hdf5_seal(block, fd, lseek(fd, 0, SEEK_END), path, &error), &error);
    assert_int_equal(pwrite(fd, block, sizeof block, 0), sizeof block);
    close(fd);
}

static void reads_what_it_wrote(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = make_bundle(), in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    assert_false(clip_hdf5_is(path));
    test_ok(clip_hdf5_write(path, &out, &error), &error);
    assert_true(clip_hdf5_is(path));
    test_ok(clip_hdf5_read(path, NULL, &in, &error), &error);
    check_same(&out, &in);
    assert_string_equal(in.tensors[0].name, "count"); /* in order of names */
    clip_bundle_release(&in);
    clip_bundle_release(&out);
    test_ok(clip_hdf5_write(path, &out, &error), &error); /* nothing at all */
    test_ok(clip_hdf5_read(path, NULL, &in, &error), &error);
    assert_int_equal(in.tensor_count + in.text_count, 0);
}

static void reads_by_prefix(void **state)
{
    (void)state;
    static const char *const both[] = {"ema/", "model/"}, *const none[] = {"ema/"};
    struct clip_error error;
    struct clip_bundle out = make_bundle(), in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    int chosen;
    test_ok(clip_hdf5_write(path, &out, &error), &error);
    test_ok(clip_hdf5_read(path, "model/", &in, &error), &error);
    assert_int_equal(in.tensor_count, 3);
    assert_int_equal(in.text_count, 4);
    assert_non_null(clip_bundle_find(&in, "model/logit_scale"));
    clip_bundle_release(&in);
    test_ok(clip_hdf5_read(path, "optimizer/exp_avg/", &in, &error), &error);
    assert_int_equal(in.tensor_count, 2);
    clip_bundle_release(&in);
    test_ok(clip_hdf5_read(path, "i", &in, &error), &error); /* the beginning of a name will do */
    assert_int_equal(in.tensor_count, 1);
    clip_bundle_release(&in);
    test_ok(clip_hdf5_read_first(path, both, 2, &chosen, &in, &error), &error);
    assert_int_equal(chosen, 1);
    assert_int_equal(in.tensor_count, 3);
    clip_bundle_release(&in);
    test_ok(clip_hdf5_read_first(path, none, 1, &chosen, &in, &error), &error);
    assert_int_equal(chosen, -1);
    assert_int_equal(in.tensor_count, 0);
    assert_int_equal(in.text_count, 4);
    clip_bundle_release(&in);
    clip_bundle_release(&out);
}

/* Several chunks in two directions, one of them not full; a text beyond HDF5's 64 KB messages. */
static void keeps_large_tensors_and_texts(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = {0}, in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    size_t n = 700000;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + i % 23);
    for (int i = 0; i < 3 * 1024 * 1024; i++) numbers[i] = (float)i;
    struct clip_tensor tall = clip_tensor_f32(numbers, 3001, 1001);
    struct clip_tensor wide = clip_tensor_f32(numbers, 2, 1500007);
    test_ok(clip_bundle_add(&out, "tall", &tall, &error), &error);
    test_ok(clip_bundle_add(&out, "wide", &wide, &error), &error);
    test_ok(clip_bundle_add_text(&out, "tokenizer", text, n, &error), &error);
    test_ok(clip_hdf5_write(path, &out, &error), &error);
    test_ok(clip_hdf5_read(path, NULL, &in, &error), &error);
    check_same(&out, &in);
    clip_bundle_release(&in);
    clip_bundle_release(&out);
    free(text);
}

/* Groups so large that HDF5 lists their links in a tree several nodes high and a heap of many
 * blocks, and so small that it lists them in their header. */
static void finds_every_name_in_groups_of_any_size(void **state)
{
    (void)state;
    static const int sizes[] = {1, 8, 9, 40, 200, 1000, 6000};
    struct clip_error error;
    struct clip_bundle out = {0}, in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        for (int i = 0; i < sizes[k]; i++) {
            char name[300];
            struct clip_tensor one = clip_tensor_f32(numbers + i, 1, 1);
            snprintf(name, sizeof name, "group%d/%0*d.weight", (int)k, 1 + i * 37 % 200, i);
            test_ok(clip_bundle_add(&out, name, &one, &error), &error);
        }
    }
    test_ok(clip_hdf5_write(path, &out, &error), &error);
    test_ok(clip_hdf5_read(path, NULL, &in, &error), &error);
    check_same(&out, &in);
    clip_bundle_release(&in);
    clip_bundle_release(&out);
}

/* 3,000 chunks, listed in pages, in three dimensions and with edges that are not full. */
static void finds_every_chunk(void **state)
{
    (void)state;
    enum { A = 31, B = 61, C = 13 };
    struct clip_error error;
    struct clip_bundle in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    hsize_t shape[3] = {A, B, C}, chunk[3] = {2, 3, 1};
    for (int checked = 0; checked < 2; checked++) {
        hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
        hid_t list = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, shape, NULL);
        H5Pset_userblock(create, CLIP_HDF5_BLOCK);
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
        H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
        H5Pset_chunk(list, 3, chunk);
        if (checked) H5Pset_fletcher32(list);
        hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
        hid_t set = H5Dcreate2(file, "a", H5T_IEEE_F32LE, space, H5P_DEFAULT, list, H5P_DEFAULT);
        for (int i = 0; i < A * B * C; i++) numbers[i] = (float)i;
        assert_true(H5Dwrite(set, H5T_IEEE_F32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers) >= 0);
        assert_true(H5Fclose(file) >= 0);
        H5close();
        seal(path);
        test_ok(clip_hdf5_read(path, NULL, &in, &error), &error);
        assert_int_equal(in.tensor_count, 1);
        assert_memory_equal(in.tensors[0].tensor.data, numbers, sizeof(float) * A * B * C);
        clip_bundle_release(&in);
    }
}

/* A file that was written to be mapped has its tensors in the mapping; any other is read. */
static void maps_what_lies_in_one_piece(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = make_bundle();
    const char *folder = test_folder();
    const char *whole = test_path(folder, "whole.h5"), *pieces = test_path(folder, "pieces.h5");
    test_ok(clip_hdf5_write_mapped(whole, &out, &error), &error);
    test_ok(clip_hdf5_write(pieces, &out, &error), &error);
    for (int i = 0; i < 4; i++) {
        struct clip_bundle in = {0};
        test_ok(clip_hdf5_map(i % 2 == 0 ? whole : pieces, i < 2, &in, &error), &error);
        check_same(&out, &in);
        for (int64_t t = 0; t < in.tensor_count; t++) {
            const struct clip_tensor *tensor = &in.tensors[t].tensor;
            const unsigned char *data = tensor->data, *begin = in.mappings[0].data;
            bool mapped = data >= begin && data < begin + in.mappings[0].size;
            bool piece = tensor->ndim > 0 && clip_tensor_count(tensor) > 0;
            assert_int_equal(mapped, i % 2 == 0 && piece);
            if (mapped) assert_int_equal((uintptr_t)data % 64, 0);
        }
        clip_bundle_release(&in);
        test_ok(clip_hdf5_read(i % 2 == 0 ? whole : pieces, NULL, &in, &error), &error);
        check_same(&out, &in);
        clip_bundle_release(&in);
    }
    clip_bundle_release(&out);
}

/* Known or not, a file of another length is refused. */
static void maps_no_cut_file(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = make_bundle(), in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    test_ok(clip_hdf5_write_mapped(path, &out, &error), &error);
    assert_int_equal(truncate(path, 3000), 0);
    test_fails(clip_hdf5_map(path, true, &in, &error), &error, CLIP_ERR_FORMAT, "a.h5");
    test_fails(clip_hdf5_map(path, false, &in, &error), &error, CLIP_ERR_FORMAT, "a.h5");
    assert_int_equal(in.tensor_count, 0);
    test_fails(clip_hdf5_map("none.h5", true, &in, &error), &error, CLIP_ERR_NOT_FOUND, "none.h5");
    clip_bundle_release(&out);
}

static void writes_the_same_bytes(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = make_bundle();
    const char *folder = test_folder(), *a = test_path(folder, "a.h5");
    const char *b = test_path(folder, "another.name");
    struct clip_buffer x = {0}, y = {0};
    test_ok(clip_hdf5_write(a, &out, &error), &error);
    sleep(1); /* times would differ by now */
    test_ok(clip_hdf5_write(b, &out, &error), &error);
    test_ok(clip_file_read(a, 1 << 20, &x, &error), &error);
    test_ok(clip_file_read(b, 1 << 20, &y, &error), &error);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    clip_buffer_release(&x);
    clip_buffer_release(&y);
    clip_bundle_release(&out);
}

static void refuses_names_that_hdf5_cannot_keep(void **state)
{
    (void)state;
    static const char *const names[] = {"", "/a", "a/", "a//b", ".", "a/./b"};
    struct clip_error error;
    float f = 1;
    struct clip_tensor scalar = clip_tensor_view(CLIP_F32, &f, 0, NULL);
    const char *path = test_path(test_folder(), "a.h5");
    struct clip_bundle bundle = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        test_ok(clip_bundle_add(&bundle, names[i], &scalar, &error), &error);
        test_fails(clip_hdf5_write(path, &bundle, &error), &error, CLIP_ERR_DATA, "named");
        clip_bundle_release(&bundle);
    }
    test_ok(clip_bundle_add_text(&bundle, "a/b", "x", 1, &error), &error);
    test_fails(clip_hdf5_write(path, &bundle, &error), &error, CLIP_ERR_DATA, "\"a/b\"");
    clip_bundle_release(&bundle);
    test_ok(clip_bundle_add(&bundle, "a", &scalar, &error), &error); /* a tensor and a group */
    test_ok(clip_bundle_add(&bundle, "a/b", &scalar, &error), &error);
    test_fails(clip_hdf5_write(path, &bundle, &error), &error, CLIP_ERR_IO, "a/b");
    clip_bundle_release(&bundle);
    assert_false(clip_path_exists(path));
}

/* ---- Damage ---- */

static void refuses_every_flipped_byte(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = make_bundle(), in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    struct clip_buffer file = {0};
    test_ok(clip_hdf5_write(path, &out, &error), &error);
    test_ok(clip_file_read(path, 1 << 20, &file, &error), &error);
    int fd = open(path, O_RDWR);
    for (size_t i = 0; i < file.size; i++) {
        char byte = (char)(file.data[i] ^ 1 << i % 8);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)i), 1);
        if (clip_hdf5_read(path, NULL, &in, &error) == CLIP_OK) {
            test_fail("a flipped bit in byte %zu was not seen", i);
        }
        assert_int_equal(error.status, CLIP_ERR_FORMAT);
        assert_non_null(strstr(error.message, path));
        assert_int_equal(pwrite(fd, &file.data[i], 1, (off_t)i), 1);
    }
    close(fd);
    test_ok(clip_hdf5_read(path, NULL, &in, &error), &error);
    clip_bundle_release(&in);
    clip_buffer_release(&file);
    clip_bundle_release(&out);
}

static void refuses_every_cut(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = make_bundle(), in = {0};
    const char *path = test_path(test_folder(), "a.h5");
    struct clip_buffer file = {0};
    test_ok(clip_hdf5_write(path, &out, &error), &error);
    test_ok(clip_file_read(path, 1 << 20, &file, &error), &error);
    for (size_t n = file.size; n-- > 0; n -= n > 600 ? n % 13 : 0) {
        assert_int_equal(truncate(path, (off_t)n), 0);
        if (clip_hdf5_read(path, NULL, &in, &error) == CLIP_OK) {
            test_fail("a cut after %zu bytes was not seen", n);
        }
        assert_int_equal(error.status, CLIP_ERR_FORMAT);
    }
    test_write(test_folder(), "a", "", 0);
    FILE *longer = fopen(path, "wb");
    fwrite(file.data, 1, file.size, longer);
    fputc(0, longer);
    fclose(longer);
    test_fails(clip_hdf5_read(path, NULL, &in, &error), &error, CLIP_ERR_FORMAT, "bytes where");
    clip_buffer_release(&file);
    clip_bundle_release(&out);
}

static void names_what_is_wrong_with_a_file(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle in = {0};
    char newer[600] = "clip.c checkpoint 2\nbytes 00000000000000000600\ncrc32 00000000\n";
    const char *folder = test_folder();
    test_fails(clip_hdf5_read(test_path(folder, "no.h5"), NULL, &in, &error), &error,
               CLIP_ERR_NOT_FOUND, "no.h5");
    test_fails(clip_hdf5_read(folder, NULL, &in, &error), &error, CLIP_ERR_IO, "no file");
    test_fails(clip_hdf5_read(test_write_text(folder, "t.h5", "hello"), NULL, &in, &error), &error,
               CLIP_ERR_FORMAT, "no HDF5 file");
    test_fails(clip_hdf5_read(test_write_text(folder, "e.h5", ""), NULL, &in, &error), &error,
               CLIP_ERR_FORMAT, "no HDF5 file");
    test_fails(clip_hdf5_read(test_write(folder, "n.h5", newer, sizeof newer), NULL, &in, &error),
               &error, CLIP_ERR_FORMAT, "of format 2 and this program reads format 1");
    const char *path = test_path(folder, "plain.h5");
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    H5Fclose(file);
    assert_true(clip_hdf5_is(path));
    test_fails(clip_hdf5_read(path, NULL, &in, &error), &error, CLIP_ERR_FORMAT,
               "another program wrote it");
}

/* Files that somebody made to look like ours: well sealed, but with what we never write. */

enum forgery {
    SOFT_LINK,
    EXTERNAL_LINK,
    NAMED_TYPE,
    COMPRESSED,
    DOUBLES,
    BIG_FIRST,
    VARIABLE_TEXT,
    MANY_TEXTS,
    NULL_SPACE,
    FIVE_DIMS,
    VAST,
    VAST_CHUNK,
    HARD_LINK_LOOP,
    DEEP,
    EXTERNAL_DATA,
    FORGERIES
};
static const char *const verdicts[FORGERIES] = {
    "link",
    "link",
    "neither a tensor nor a group",
    "stored in a way",
    "of a type",
    "of a type",
    "no text of",
    "no text of",
    "dimensions",
    "dimensions",
    "larger than the file",
    "stored in a way",
    "groups deep",
    "groups deep",
    "stored in a way",
};

static void forge_dataset(hid_t file, enum forgery what)
{
    hsize_t small[5] = {4, 1, 1, 1, 1}, vast[1] = {1ull << 40}, chunk[1] = {1ull << 28};
    hid_t list = H5Pcreate(H5P_DATASET_CREATE), type = H5Tcopy(H5T_IEEE_F32LE);
    hid_t space = H5Screate_simple(what == FIVE_DIMS ? 5 : what == MANY_TEXTS ? 2 : 1, small, NULL);
    if (what == DOUBLES) type = H5Tcopy(H5T_IEEE_F64LE);
    if (what == BIG_FIRST) type = H5Tcopy(H5T_IEEE_F32BE);
    if (what == VARIABLE_TEXT || what == MANY_TEXTS) type = H5Tcopy(H5T_C_S1);
    if (what == VARIABLE_TEXT) {
        H5Tset_size(type, H5T_VARIABLE);
        space = H5Screate(H5S_SCALAR);
    }
    if (what == NULL_SPACE) space = H5Screate(H5S_NULL);
    if (what == VAST || what == VAST_CHUNK) space = H5Screate_simple(1, vast, NULL);
    if (what == VAST) H5Pset_alloc_time(list, H5D_ALLOC_TIME_INCR), H5Pset_chunk(list, 1, small);
    if (what == VAST_CHUNK) H5Pset_chunk(list, 1, chunk);
    if (what == COMPRESSED) H5Pset_chunk(list, 1, small), H5Pset_shuffle(list);
    if (what == EXTERNAL_DATA) H5Pset_external(list, "/etc/passwd", 0, 16);
    assert_true(H5Dcreate2(file, "a", type, space, H5P_DEFAULT, list, H5P_DEFAULT) >= 0);
}

static void forge_contents(hid_t file, enum forgery what)
{
    hid_t group = file;
    switch (what) {
    case SOFT_LINK: H5Lcreate_soft("/config", file, "a", H5P_DEFAULT, H5P_DEFAULT); break;
    case EXTERNAL_LINK:
        H5Lcreate_external("/etc/passwd", "/", file, "a", H5P_DEFAULT, H5P_DEFAULT);
        break;
    case NAMED_TYPE:
        H5Tcommit2(file, "a", H5Tcopy(H5T_IEEE_F32LE), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        break;
    case HARD_LINK_LOOP:
        for (int i = 0; i < 4; i++) {
            char name[2] = {(char)('a' + i), 0};
            H5Lcreate_hard(file, "/", file, name, H5P_DEFAULT, H5P_DEFAULT);
        }
        break;
    case DEEP:
        for (int i = 0; i < 20; i++) {
            group = H5Gcreate2(group, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        }
        break;
    default: forge_dataset(file, what); break;
    }
}

/* A sealed file with the forgery in it. */
static void forge(const char *path, enum forgery what)
{
    hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_userblock(create, CLIP_HDF5_BLOCK);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
    assert_true(file >= 0);
    forge_contents(file, what);
    assert_true(H5Fclose(file) >= 0);
    seal(path);
}

static void refuses_forgeries(void **state)
{
    (void)state;
    struct clip_error error;
    const char *path = test_path(test_folder(), "a.h5");
    for (int what = 0; what < FORGERIES; what++) {
        struct clip_bundle in = {0};
        forge(path, (enum forgery)what);
        test_fails(clip_hdf5_read(path, NULL, &in, &error), &error, CLIP_ERR_FORMAT,
                   verdicts[what]);
    }
    H5close();
}

/* ---- A full disk ---- */

/* Files may have `bytes` at most, RLIM_INFINITY for any: what a full disk looks like. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle small = make_bundle(), large = {0}, in = {0};
    const char *folder = test_folder(), *h5 = test_path(folder, "a.h5");
    const char *safetensors = test_path(folder, "a.safetensors"), *npy = test_path(folder, "a.npy");
    struct clip_tensor t = clip_tensor_f32(numbers, 1024, 1024);
    struct clip_names left = {0};
    test_ok(clip_bundle_add(&large, "model/a", &t, &error), &error);
    test_ok(clip_hdf5_write(h5, &small, &error), &error);
    test_ok(clip_safetensors_write(safetensors, &small, &error), &error);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 0; room <= 4 << 20; room += 2 << 19) {
        clip_status statuses[3];
        limit_files(room);
        statuses[0] = clip_hdf5_write(h5, &large, &error);
        statuses[1] = clip_safetensors_write(safetensors, &large, &error);
        statuses[2] = clip_npy_write(npy, &t, &error);
        limit_files(RLIM_INFINITY);
        for (int i = 0; i < 3; i++) assert_int_equal(statuses[i], CLIP_ERR_IO);
        assert_non_null(strstr(error.message, npy));
        test_ok(clip_hdf5_read(h5, NULL, &in, &error), &error);
        check_same(&small, &in);
        clip_bundle_release(&in);
        test_ok(clip_safetensors_read(safetensors, &in, &error), &error);
        clip_bundle_release(&in);
    }
    test_ok(clip_folder_list(folder, &left, &error), &error);
    assert_int_equal(left.count, 2); /* no temporary files */
    clip_names_release(&left);
    test_ok(clip_hdf5_write(h5, &large, &error), &error);
    clip_bundle_release(&large);
    clip_bundle_release(&small);
}

/* ---- Several threads at once ---- */

static void write_and_read(void *context, int64_t i)
{
    const char *const *paths = context;
    struct clip_bundle *out = (struct clip_bundle *)(uintptr_t)paths[4], in = {0};
    struct clip_error error;
    for (int k = 0; k < 5; k++) {
        if (clip_hdf5_write(paths[i], out, &error) != CLIP_OK ||
            clip_hdf5_read(paths[i], NULL, &in, &error) != CLIP_OK) {
            fprintf(stderr, "%s\n", error.message);
            abort();
        }
        clip_bundle_release(&in);
    }
}

static void serves_several_threads(void **state)
{
    (void)state;
    struct clip_bundle out = make_bundle();
    const char *folder = test_folder();
    const char *paths[5] = {test_path(folder, "0"), test_path(folder, "1"), test_path(folder, "2"),
                            test_path(folder, "3"), (const char *)&out};
    clip_threads_set(4);
    clip_parallel_for(4, write_and_read, paths);
    clip_threads_set(0);
    clip_bundle_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(reads_by_prefix),
        cmocka_unit_test(keeps_large_tensors_and_texts),
        cmocka_unit_test(finds_every_name_in_groups_of_any_size),
        cmocka_unit_test(finds_every_chunk),
        cmocka_unit_test(maps_what_lies_in_one_piece),
        cmocka_unit_test(maps_no_cut_file),
        cmocka_unit_test(writes_the_same_bytes),
        cmocka_unit_test(refuses_names_that_hdf5_cannot_keep),
        cmocka_unit_test(refuses_every_flipped_byte),
        cmocka_unit_test(refuses_every_cut),
        cmocka_unit_test(names_what_is_wrong_with_a_file),
        cmocka_unit_test(refuses_forgeries),
        cmocka_unit_test(full_disk_leaves_the_old_file),
        cmocka_unit_test(serves_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
