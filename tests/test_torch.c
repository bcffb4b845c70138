/* Zip archives, pickles and PyTorch's files of both: read as data, and everything that is wrong
 * with them refused in a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "checkpoints/pickle.h"
#include "checkpoints/zip.h"
#include "tests/fixture.h"
#include "tests/zip_writer.h"

/* ---- Zip ---- */

static struct zip_writer sample(bool zip64)
{
    struct zip_writer w = {.zip64 = zip64};
    char zeros[5000] = {0};
    zip_add(&w, "a/stored", "hello", 5, false);
    zip_add(&w, "a/deflated", zeros, sizeof zeros, true);
    zip_add(&w, "a/empty", NULL, 0, false);
    zip_finish(&w);
    return w;
}

static void writer_release(struct zip_writer *w)
{
    clip_buffer_release(&w->file);
    clip_buffer_release(&w->directory);
}

static void reads_entries(void **state)
{
    (void)state;
    struct clip_error error;
    for (int k = 0; k < 2; k++) {
        struct zip_writer w = sample(k == 1);
        struct clip_zip zip = {0};
        struct clip_arena arena = {0};
        const unsigned char *data;
        assert_true(clip_zip_is(w.file.data, w.file.size));
        test_ok(clip_zip_open(&zip, w.file.data, w.file.size, "z", &error), &error);
        assert_int_equal(zip.count, 3);
        assert_null(clip_zip_find(&zip, "a/none"));
        const struct clip_zip_entry *e = clip_zip_find(&zip, "a/stored");
        test_ok(clip_zip_read(&zip, e, &arena, &data, &error), &error);
        assert_int_equal(e->size, 5);
        assert_memory_equal(data, "hello", 5);
        assert_true((const char *)data > w.file.data); /* in place */
        assert_int_equal((data - zip.bytes) % 64, 0);
        e = clip_zip_find(&zip, "a/deflated");
        assert_true(e->packed_size < 100);
        test_ok(clip_zip_read(&zip, e, &arena, &data, &error), &error);
        for (int i = 0; i < 5000; i++) assert_int_equal(data[i], 0);
        test_ok(clip_zip_read(&zip, clip_zip_find(&zip, "a/empty"), &arena, &data, &error), &error);
        clip_zip_release(&zip);
        clip_arena_release(&arena);
        writer_release(&w);
    }
}

/* The sample with `n` bytes at `at` (from the end where negative) set, opened and read whole. */
static void zip_refused(int64_t at, const void *bytes, size_t n, const char *word)
{
    struct clip_error error;
    struct zip_writer w = sample(false);
    struct clip_zip zip = {0};
    struct clip_arena arena = {0};
    const unsigned char *data;
    memcpy(w.file.data + (at < 0 ? (int64_t)w.file.size + at : at), bytes, n);
    clip_status status = clip_zip_open(&zip, w.file.data, w.file.size, "z", &error);
    for (int64_t i = 0; status == CLIP_OK && i < zip.count; i++) {
        status = clip_zip_read(&zip, &zip.entries[i], &arena, &data, &error);
    }
    test_fails(status, &error, CLIP_ERR_FORMAT, word);
    clip_zip_release(&zip);
    clip_arena_release(&arena);
    writer_release(&w);
}

static void refuses_damaged_archives(void **state)
{
    (void)state;
    struct zip_writer w = sample(false);
    int64_t directory = (int64_t)(w.file.size - 22 - w.directory.size), size = (int64_t)w.file.size;
    struct clip_error error;
    struct clip_zip zip = {0};
    zip_refused(64, "j", 1, "wrong checksum");
    zip_refused(-22, "x", 1, "no end record");
    zip_refused(-14, "\x04", 1, "several files");
    zip_refused(-12, "\x04\0\0\0", 4, "several files");
    zip_refused(-10, "\xff\xff", 2, "does not fit");
    zip_refused(-6, "\xff\xff\xff\x7f", 4, "does not fit");
    zip_refused(directory, "x", 1, "directory is cut");
    zip_refused(directory + 8, "\x01", 1, "is encrypted");
    zip_refused(directory + 10, "\x0c", 1, "another method");
    zip_refused(directory + 20, "\x04", 1, "two sizes");
    zip_refused(directory + 42, "\x01", 1, "differs from its place");
    zip_refused(directory + 42, "\xff\xff\xff\x7f", 4, "outside");
    zip_refused(directory + 28, "\xff", 1, "directory is cut");
    int64_t second = directory + 46 + 8;
    zip_refused(second + 24, "\xff\xff\xff\x7f", 4, "larger than its bytes can be");
    zip_refused(second + 24, "\x87", 1, "does not unpack to its size");
    zip_refused(second + 24, "\x89", 1, "does not unpack to its size");
    zip_refused(second + 46, "a/stored\xff\xff", 10, "differs from its place");
    zip_refused(second + 42, "\0\0", 2, "differs from its place");
    for (int64_t cut = 0; cut < size; cut++) { /* a cut file is never an archive */
        if (clip_zip_open(&zip, w.file.data, (size_t)cut, "z", &error) == CLIP_OK) {
            test_fail("an archive cut to %d bytes was opened", (int)cut);
        }
    }
    writer_release(&w);
}

/* ---- Pickles ---- */

static bool nothing_known(const char *name) { return strcmp(name, "known thing") == 0; }

static clip_status parse(const char *bytes, size_t n, struct clip_arena *arena,
                         struct clip_pickle_value **out, struct clip_error *error)
{
    return clip_pickle_parse(bytes, n, "p", nothing_known, arena, out, error);
}

#define PICKLE(text) text, sizeof(text) - 1

/* pickle.dumps({"a": [1, -2, 300, 70000], "b": (None, True, 0.5), 7: "x"}) of three protocols. */
static void builds_values(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } pickles[] = {
        {PICKLE("\x80\x02}q\0(X\x01\0\0\0aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\0eX"
                "\x01\0\0\0bq\x03N\x88G?\xe0\0\0\0\0\0\0\x87q\x04K\x07X\x01\0\0\0xq\x05u.")},
        {PICKLE("\x80\x04\x95:\0\0\0\0\0\0\0}\x94(\x8c\x01"
                "a\x94]\x94(K\x01J\xfe\xff\xff\xff"
                "M,\x01Jp\x11\x01\0e\x8c\x01"
                "b\x94N\x88G?\xe0\0\0\0\0\0\0\x87\x94K\x07\x8c\x01x\x94u.")},
    };
    struct clip_error error;
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        struct clip_arena arena = {0};
        struct clip_pickle_value *root = NULL;
        test_ok(parse(pickles[i].bytes, pickles[i].n, &arena, &root, &error), &error);
        assert_int_equal(root->kind, CLIP_PICKLE_DICT);
        assert_int_equal(root->count, 6);
        const struct clip_pickle_value *a = clip_pickle_get(root, "a");
        const int64_t wanted[] = {1, -2, 300, 70000};
        assert_int_equal(a->count, 4);
        for (int k = 0; k < 4; k++) assert_int_equal(a->items[k]->integer, wanted[k]);
        const struct clip_pickle_value *b = clip_pickle_get(root, "b");
        assert_int_equal(b->kind, CLIP_PICKLE_TUPLE);
        assert_int_equal(b->items[0]->kind, CLIP_PICKLE_NONE);
        assert_int_equal(b->items[1]->integer, 1);
        assert_true(b->items[2]->real == 0.5);
        assert_int_equal(root->items[4]->integer, 7);
        assert_null(clip_pickle_get(root, "7"));
        for (size_t cut = 0; cut < pickles[i].n; cut++) {
            assert_int_equal(parse(pickles[i].bytes, cut, &arena, &root, &error), CLIP_ERR_FORMAT);
        }
        clip_arena_release(&arena);
    }
}

static void runs_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *word;
    } cases[] = {
        {PICKLE("cposix\nsystem\nX\x0b\0\0\0touch /tmp/x\x85R."), "asks for \"posix system\""},
        {PICKLE("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R."), "asks for \"os system\""},
        {PICKLE("cbuiltins\neval\n."), "\"builtins eval\""},
        {PICKLE("cknown\nthing2\n."), "\"known thing2\""},
        {PICKLE("(iposix\nsystem\n."), "INST"},
        {PICKLE("(cknown\nthing\no."), "OBJ"},
        {PICKLE("\x80\x04\x82\x01."), "EXT1"},
        {PICKLE("\x80\x04)}\x92."), "NEWOBJ_EX"},
        {PICKLE("I1\n."), "INT"},
        {PICKLE("\xf0."), "0xf0 (unknown)"},
        {PICKLE("\x80\x01N."), "protocol 1"},
        {PICKLE("\x80\x06N."), "protocol 6"},
    };
    struct clip_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_arena arena = {0};
        struct clip_pickle_value *root = NULL;
        test_fails(parse(cases[i].bytes, cases[i].n, &arena, &root, &error), &error,
                   CLIP_ERR_FORMAT, cases[i].word);
        clip_arena_release(&arena);
    }
}

static void refuses_damaged_pickles(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *word;
    } cases[] = {
        {PICKLE("."), "empty stack"},
        {PICKLE("NN."), "left over"},
        {PICKLE("(."), "empty stack"},
        {PICKLE("t."), "a mark is missing"},
        {PICKLE("Nu."), "a mark is missing"},
        {PICKLE("N\x86."), "empty stack"},
        {PICKLE("(N\x86."), "mark is in a tuple"},
        {PICKLE("](s."), "empty stack"},
        {PICKLE("}(Nu."), "no collection"},
        {PICKLE("](NNu."), "no collection"},
        {PICKLE("}Na."), "no collection"},
        {PICKLE("Nr\xff\xff\xff\x7f."), "memo has gaps"},
        {PICKLE("Nq\x01."), "memo has gaps"},
        {PICKLE("h\0."), "read before it is made"},
        {PICKLE("X\xff\xff\xff\x7f"
                "a."),
         "longer than the file"},
        {PICKLE("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                "a."),
         "longer than the file"},
        {PICKLE("\x8a\x09"
                "123456789."),
         "more than 64 bits"},
        {PICKLE("NN\x93."), "not named by texts"},
        {PICKLE("N)R."), "cannot be called"},
        {PICKLE("cknown\nthing\nNR."), "cannot be called"},
        {PICKLE("N}b."), "no object"},
        {PICKLE("cknown\nthing"), "a line has no end"},
    };
    struct clip_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_arena arena = {0};
        struct clip_pickle_value *root = NULL;
        test_fails(parse(cases[i].bytes, cases[i].n, &arena, &root, &error), &error,
                   CLIP_ERR_FORMAT, cases[i].word);
        clip_arena_release(&arena);
    }
    void *big = calloc(1, CLIP_PICKLE_LIMIT + 1);
    struct clip_arena arena = {0};
    struct clip_pickle_value *root = NULL;
    test_fails(parse(big, CLIP_PICKLE_LIMIT + 1, &arena, &root, &error), &error, CLIP_ERR_FORMAT,
               "at most");
    free(big);
}

/* ---- PyTorch's archives ---- */

/* A tensor "NAME" of storage KEY (FloatStorage of 6) as torch.save pickles it; shape and stride are
 * two numbers each. */
static void pickle_tensor(struct clip_buffer *out, const char *name, const char *type,
                          const char *key, int offset, const char shape[2], const char stride[2])
{
    struct clip_error error;
    test_ok(clip_buffer_printf(out, &error,
                               "X%c%c%c%c%sctorch._utils\n_rebuild_tensor_v2\n((X\x07"
                               "%c%c%cstoragectorch\n%s\nX\x01%c%c%c%sX\x03%c%c%ccpuK\x06tQK%cK%cK"
                               "%c\x86K%cK%c\x86\x89"
                               "ccollections\nOrderedDict\n)RtR",
                               (int)strlen(name), 0, 0, 0, name, 0, 0, 0, type, 0, 0, 0, key, 0, 0,
                               0, offset, shape[0], shape[1], stride[0], stride[1]),
            &error);
}

static const float six[6] = {1, 2, 3, 4, 5, 6};
static const struct zip_storage storages[] = {{six, sizeof six}};

/* {tensors...} in an archive, parsed. */
static clip_status parse_tensors(const struct clip_buffer *tensors, bool deflated, bool zip64,
                                 struct clip_bundle *out, struct clip_error *error)
{
    struct clip_buffer pickle = {0};
    test_ok(clip_buffer_append(&pickle, "\x80\x02}(", 4, error), error);
    test_ok(clip_buffer_append(&pickle, tensors->data, tensors->size, error), error);
    test_ok(clip_buffer_append(&pickle, "u.", 2, error), error);
    struct zip_writer w = zip_of_torch(pickle.data, pickle.size, storages, 1, deflated, zip64);
    const char *path = test_write(test_folder(), "m.pt", w.file.data, w.file.size);
    assert_true(clip_torch_is(path));
    clip_status status = clip_torch_read(path, out, error);
    writer_release(&w);
    clip_buffer_release(&pickle);
    return status;
}

static void reads_strided_and_shared_tensors(void **state)
{
    (void)state;
    struct clip_error error;
    for (int k = 0; k < 4; k++) {
        struct clip_buffer tensors = {0};
        struct clip_bundle bundle = {0};
        pickle_tensor(&tensors, "whole", "FloatStorage", "0", 0, "\2\3", "\3\1");
        pickle_tensor(&tensors, "turned", "FloatStorage", "0", 0, "\3\2", "\1\3");
        pickle_tensor(&tensors, "part", "FloatStorage", "0", 1, "\1\5", "\5\1");
        pickle_tensor(&tensors, "column", "FloatStorage", "0", 2, "\2\1", "\3\1");
        pickle_tensor(&tensors, "none", "FloatStorage", "0", 6, "\0\3", "\3\1");
        test_ok(parse_tensors(&tensors, k & 1, k & 2, &bundle, &error), &error);
        assert_int_equal(bundle.tensor_count, 5);
        const struct clip_tensor *whole = clip_bundle_find(&bundle, "whole");
        const struct clip_tensor *turned = clip_bundle_find(&bundle, "turned");
        const struct clip_tensor *part = clip_bundle_find(&bundle, "part");
        test_same_f32("whole", whole->data, six, 6);
        test_same_f32("turned", turned->data, (float[]){1, 4, 2, 5, 3, 6}, 6);
        test_same_f32("part", part->data, six + 1, 5);
        test_same_f32("column", clip_bundle_find(&bundle, "column")->data, (float[]){3, 6}, 2);
        assert_int_equal(turned->shape[0], 3);
        assert_ptr_equal((const float *)part->data, (const float *)whole->data + 1); /* shared */
        clip_bundle_release(&bundle);
        clip_buffer_release(&tensors);
    }
}

static void refuses_tensors_that_lie(void **state)
{
    (void)state;
    static const struct {
        const char *type, *key;
        int offset;
        const char *shape, *stride, *word;
    } cases[] = {
        {"FloatStorage", "0", 1, "\2\3", "\3\1", "reaches beyond its storage"},
        {"FloatStorage", "0", 0, "\2\3", "\4\1", "reaches beyond its storage"},
        {"FloatStorage", "0", 0, "\x7f\x7f", "\0\0", "reaches beyond its storage"},
        {"FloatStorage", "0", 7, "\1\1", "\1\1", "reaches beyond its storage"},
        {"LongStorage", "0", 0, "\2\2", "\2\1", "reaches beyond its storage"},
        {"FloatStorage", "1", 0, "\2\3", "\3\1", "has no storage"},
        {"DoubleStorage", "0", 0, "\1\3", "\3\1", "is of type torch DoubleStorage"},
        {"ComplexFloatStorage", "0", 0, "\1\3", "\3\1", "asks for \"torch ComplexFloatStorage\""},
    };
    struct clip_error error;
    struct clip_bundle bundle = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct clip_buffer tensors = {0};
        pickle_tensor(&tensors, "w", cases[i].type, cases[i].key, cases[i].offset, cases[i].shape,
                      cases[i].stride);
        test_fails(parse_tensors(&tensors, false, false, &bundle, &error), &error, CLIP_ERR_FORMAT,
                   cases[i].word);
        assert_int_equal(bundle.tensor_count, 0);
        clip_buffer_release(&tensors);
    }
}

/* The archive of a pickle without tensors, and the sentence it gives. */
static void archive_refused(const char *pickle, size_t n, clip_status wanted, const char *word)
{
    struct clip_error error;
    struct clip_bundle bundle = {0};
    struct zip_writer w = zip_of_torch(pickle, n, storages, 1, false, false);
    test_fails(clip_torch_parse(w.file.data, w.file.size, "m.pt", &bundle, &error), &error, wanted,
               word);
    writer_release(&w);
}

static void refuses_other_archives(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle bundle = {0};
    archive_refused(PICKLE("}."), CLIP_ERR_DATA, "no named tensors");
    archive_refused(PICKLE("K\x05."), CLIP_ERR_DATA, "no named tensors");
    archive_refused(PICKLE("copen_clip.model\nCLIP\n)\x81."), CLIP_ERR_FORMAT,
                    "asks for \"open_clip.model CLIP\"");
    archive_refused(PICKLE("}q\0X\x01\0\0\0ah\0s."), CLIP_ERR_FORMAT, "holds itself");
    test_fails(clip_torch_parse("\x80\x02\x8a\nl", 5, "old.pt", &bundle, &error), &error,
               CLIP_ERR_FORMAT, "before version 1.6");
    struct zip_writer w = sample(false);
    test_fails(clip_torch_parse(w.file.data, w.file.size, "m.pt", &bundle, &error), &error,
               CLIP_ERR_FORMAT, "no data.pkl");
    writer_release(&w);
    w = (struct zip_writer){0};
    zip_add(&w, "m/data.pkl", "}.", 2, false);
    zip_add(&w, "m/byteorder", "big", 3, false);
    zip_finish(&w);
    test_fails(clip_torch_parse(w.file.data, w.file.size, "m.pt", &bundle, &error), &error,
               CLIP_ERR_FORMAT, "big-endian");
    writer_release(&w);
}

static const char *torch_name(enum clip_dtype dtype)
{
    return dtype == CLIP_F32   ? "float32"
           : dtype == CLIP_F16 ? "float16"
           : dtype == CLIP_I64 ? "int64"
                               : "another";
}

/* What PyTorch wrote: every tensor with the type and shape that names.json says. */
static void reads_a_torchscript_archive(void **state)
{
    (void)state;
    struct clip_error error;
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        const char *path = test_root_file(r, "openai_jit_tiny/model.pt"), *name;
        if (path == NULL) continue;
        struct clip_bundle bundle = {0};
        struct clip_bundle expected =
            fixture_read(test_root(r), "openai_jit_tiny/expected.safetensors");
        json_t *names = fixture_json(test_root(r), "openai_jit_tiny/names.json"), *what;
        test_ok(clip_torch_read(path, &bundle, &error), &error);
        json_object_foreach(names, name, what)
        {
            const struct clip_tensor *t = clip_bundle_find(&bundle, name);
            if (t == NULL) test_fail("%s is missing", name);
            const json_t *shape = json_array_get(what, 1);
            assert_string_equal(torch_name(t->dtype), json_string_value(json_array_get(what, 0)));
            assert_int_equal(t->ndim, json_array_size(shape));
            for (int d = 0; d < t->ndim; d++) {
                assert_int_equal(t->shape[d], json_integer_value(json_array_get(shape, (size_t)d)));
            }
        }
        assert_int_equal(bundle.tensor_count, json_object_size(names));
        for (int64_t i = 0; i < expected.tensor_count; i++) {
            if (strncmp(expected.tensors[i].name, "weight.", 7) != 0) continue;
            const struct clip_tensor *want = &expected.tensors[i].tensor;
            const struct clip_tensor *have =
                clip_bundle_find(&bundle, expected.tensors[i].name + 7);
            assert_int_equal(want->dtype, have->dtype);
            assert_memory_equal(have->data, want->data,
                                (size_t)clip_tensor_count(want) * clip_dtype_size(want->dtype));
        }
        json_decref(names);
        clip_bundle_release(&bundle);
        clip_bundle_release(&expected);
        count++;
    }
    if (count == 0) test_skip("there is no reference archive of TorchScript");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_entries),
        cmocka_unit_test(refuses_damaged_archives),
        cmocka_unit_test(builds_values),
        cmocka_unit_test(runs_nothing),
        cmocka_unit_test(refuses_damaged_pickles),
        cmocka_unit_test(reads_strided_and_shared_tensors),
        cmocka_unit_test(refuses_tensors_that_lie),
        cmocka_unit_test(refuses_other_archives),
        cmocka_unit_test(reads_a_torchscript_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
