/* safetensors: what is written is read back, the reference writer's files come out as the same
 * bytes, and whatever the specification forbids is refused with a sentence. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/bundle.h"
#include "tests/support.h"

/* A file from its header and `n` data bytes (0, 1, 2, ...); the size before it is put right. */
static struct clip_buffer make_file(const char *header, size_t n)
{
    struct clip_buffer file = {0};
    struct clip_error error;
    unsigned char size[8] = {0};
    size_t length = strlen(header);
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(length >> 8 * i & 0xff);
    test_ok(clip_buffer_append(&file, size, 8, &error), &error);
    test_ok(clip_buffer_append(&file, header, length, &error), &error);
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)i;
        test_ok(clip_buffer_append(&file, &byte, 1, &error), &error);
    }
    return file;
}

/* The file is refused, the sentence names it and says `word`. */
static void refused(const char *header, size_t n, const char *word)
{
    struct clip_buffer file = make_file(header, n);
    struct clip_bundle bundle = {0};
    struct clip_error error;
    test_fails(clip_safetensors_parse(file.data, file.size, "a.safetensors", &bundle, &error),
               &error, CLIP_ERR_FORMAT, word);
    assert_non_null(strstr(error.message, "a.safetensors"));
    assert_int_equal(bundle.tensor_count, 0);
    clip_buffer_release(&file);
}

static void reads_types_shapes_and_texts(void **state)
{
    (void)state;
    static const char header[] =
        "{\"f\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"h\":{\"shape\":[2],\"data_offsets\":[24,28],\"dtype\":\"F16\"},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,2],\"data_offsets\":[28,32]},"
        "\"i\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[32,36]},"
        "\"l\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[36,44]},"
        "\"u\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[44,47]},"
        "\"\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[47,47]},"
        "\"__metadata__\":{\"format\":\"pt\",\"\xc3\xa9\":\"\\u00fc\"}}   ";
    struct clip_buffer file = make_file(header, 47);
    struct clip_bundle bundle = {0};
    struct clip_error error;
    test_ok(clip_safetensors_parse(file.data, file.size, "a", &bundle, &error), &error);
    assert_int_equal(bundle.tensor_count, 7);
    assert_int_equal(bundle.text_count, 2);
    assert_string_equal(clip_bundle_text(&bundle, "\xc3\xa9")->value, "\xc3\xbc");
    assert_int_equal(clip_bundle_text(&bundle, "\xc3\xa9")->size, 2);
    const struct clip_tensor *f = clip_bundle_find(&bundle, "f");
    const struct clip_tensor *l = clip_bundle_find(&bundle, "l");
    assert_int_equal(f->ndim, 2);
    assert_int_equal(f->shape[1], 3);
    assert_int_equal(((const unsigned char *)f->data)[23], 23);
    assert_int_equal(l->dtype, CLIP_I64);
    assert_int_equal((uintptr_t)l->data % 8, 0); /* at 36 in the file: it was copied */
    assert_int_equal(((const unsigned char *)l->data)[7], 43);
    assert_int_equal(clip_bundle_find(&bundle, "i")->ndim, 0);
    assert_int_equal(clip_tensor_count(clip_bundle_find(&bundle, "")), 0);
    assert_null(clip_bundle_find(&bundle, "g"));
    clip_bundle_release(&bundle);
    clip_buffer_release(&file);
}

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

static void refuses_malformed_headers(void **state)
{
    (void)state;
    refused("", 0, "header");
    refused("[1]", 0, "header");
    refused(" {}", 0, "header");
    refused("{", 0, "JSON");
    refused("{\"a\":1}", 0, "\"a\" is not an object");
    refused("{} x", 0, "JSON");
    refused("{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, "JSON");
    refused("{\"__metadata__\":[]}", 0, "__metadata__");
    refused("{\"__metadata__\":{\"a\":1}}", 0, "\"a\" in __metadata__ is not a text");
    refused("{\"a\xff\":{}}", 0, "JSON");
    refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no \"shape\"");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets");
    refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no \"dtype\"");
    refused("{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "no \"dtype\"");
    refused("{" T("mask", "BOOL", "[4]", 0, 4) "}", 4, "\"mask\" is of type BOOL");
    refused("{" T("a", "F32", "[1,1,1,1,1]", 0, 4) "}", 4, "5 dimensions");
    refused("{" T("a", "F32", "[1.0]", 0, 4) "}", 4, "whole numbers");
    refused("{" T("a", "F32", "[-1]", 0, 4) "}", 4, "whole numbers");
    refused("{" T("a", "F32", "[\"1\"]", 0, 4) "}", 4, "whole numbers");
    refused("{" T("a", "F32", "[4611686018427387904,4]", 0, 4) "}", 4, "too large");
    refused("{" T("a", "F32", "[0,4611686018427387904,4]", 0, 0) "}", 0, "too large");
    refused("{" T("a", "F32", "[99999999999999999999]", 0, 4) "}", 4, "JSON");
}

static void refuses_wrong_places(void **state)
{
    (void)state;
    refused("{" T("a", "F32", "[2]", 0, 4) "}", 4, "4 bytes where its shape and type need 8");
    refused("{" T("a", "F32", "[1]", 0, 8) "}", 8, "8 bytes where its shape and type need 4");
    refused("{" T("a", "F32", "[1]", 4, 8) "}", 4, "lies at bytes 4 to 8");
    refused("{" T("a", "F32", "[1]", 4, 8) "}", 8, "belong to no tensor");
    refused("{" T("a", "F32", "[1]", 0, 4) "}", 5, "the last 1 byte belongs to no tensor");
    refused("{" T("a", "F32", "[1]", -4, 0) "}", 4, "lies at");
    refused("{" T("a", "F32", "[1]", 4, 0) "}", 4, "lies at");
    refused("{" T("a", "F32", "[1]", 9223372036854775803, 9223372036854775807) "}", 4, "lies at");
    refused("{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12, "share bytes");
    refused("{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 0, 4) "}", 4, "share bytes");
    refused("{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 8, 12) "}", 12,
            "4 bytes of the data before \"b\"");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "no two");
    refused("{}", 3, "belong to no tensor");
}

/* Sizes before the header that are not the header's. */
static void refuses_wrong_sizes(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 3, 100000001, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    struct clip_bundle bundle = {0};
    struct clip_error error;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        unsigned char file[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        for (int i = 0; i < 8; i++) file[i] = (unsigned char)(sizes[k] >> 8 * i & 0xff);
        test_fails(clip_safetensors_parse(file, sizeof file, "a", &bundle, &error), &error,
                   CLIP_ERR_FORMAT, "a");
    }
    for (size_t n = 0; n < 10; n++) {
        unsigned char file[10] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        test_fails(clip_safetensors_parse(file, n, "a", &bundle, &error), &error, CLIP_ERR_FORMAT,
                   "shorter than its header");
    }
}

/* Every cut of a good file is refused, and every flipped bit either is or changes data alone. */
static void survives_cuts_and_flips(void **state)
{
    (void)state;
    struct clip_buffer file =
        make_file("{" T("a", "F32", "[2]", 0, 8) "," T("b", "U8", "[3]", 8,
                                                       11) ",\"__metadata__\":{\"k\":\"v\"}}",
                  11);
    struct clip_error error;
    for (size_t n = 0; n < file.size; n++) {
        char *copy = malloc(n ? n : 1); /* its end is the memory's end, for the sanitizers */
        struct clip_bundle bundle = {0};
        memcpy(copy, file.data, n);
        test_fails(clip_safetensors_parse(copy, n, "a", &bundle, &error), &error, CLIP_ERR_FORMAT,
                   "a");
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * (file.size - 11); bit++) {
        struct clip_bundle bundle = {0};
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ 1 << bit % 8);
        if (clip_safetensors_parse(file.data, file.size, "a", &bundle, &error) == CLIP_OK) {
            assert_int_equal(bundle.tensor_count, 2);
        }
        clip_bundle_release(&bundle);
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ 1 << bit % 8);
    }
    clip_buffer_release(&file);
}

/* Many names, and arrays in arrays: neither slow nor out of stack. */
static void reads_many_tensors(void **state)
{
    (void)state;
    struct clip_buffer header = {0};
    struct clip_error error;
    for (int i = 0; i < 20000; i++) {
        test_ok(clip_buffer_printf(&header, &error,
                                   "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],"
                                   "\"data_offsets\":[0,0]}",
                                   i ? "," : "{", i),
                &error);
    }
    test_ok(clip_buffer_append(&header, "}", 1, &error), &error);
    struct clip_buffer file = make_file(header.data, 0);
    struct clip_bundle bundle = {0};
    test_ok(clip_safetensors_parse(file.data, file.size, "a", &bundle, &error), &error);
    assert_int_equal(bundle.tensor_count, 20000);
    assert_non_null(clip_bundle_find(&bundle, "19999"));
    clip_bundle_release(&bundle);
    clip_buffer_release(&file);
    char *deep = malloc(400002);
    memset(deep, '[', 400001);
    deep[400001] = 0;
    memcpy(deep, "{\"a\":", 5);
    refused(deep, 0, "JSON");
    free(deep);
    clip_buffer_release(&header);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle out = {0}, in = {0};
    float f[6] = {1, 2, 3, -0.0f, 5, 6};
    int64_t l[1] = {-7};
    uint8_t u[3] = {1, 2, 255};
    struct clip_tensor tensors[] = {
        clip_tensor_view(CLIP_U8, u, 1, (int64_t[]){3}),
        clip_tensor_view(CLIP_F32, f, 2, (int64_t[]){2, 3}),
        clip_tensor_view(CLIP_I64, l, 0, NULL),
        clip_tensor_view(CLIP_F32, f, 2, (int64_t[]){4, 0}),
    };
    static const char *const names[] = {"a\"\\ \xe4\xb8\xad", "", "z", "empty"};
    const char *path = test_path(test_folder(), "a.safetensors");
    for (int i = 0; i < 4; i++) {
        test_ok(clip_bundle_add(&out, names[i], &tensors[i], &error), &error);
    }
    test_ok(clip_bundle_add_text(&out, "config", "{\"a\": 1}\n", 9, &error), &error);
    test_ok(clip_safetensors_write(path, &out, &error), &error);
    test_ok(clip_safetensors_read(path, &in, &error), &error);
    assert_int_equal(in.tensor_count, 4);
    assert_string_equal(in.tensors[0].name, "z"); /* wide types first, so that all is aligned */
    assert_string_equal(in.tensors[3].name, names[0]);
    for (int i = 0; i < 4; i++) {
        const struct clip_tensor *t = clip_bundle_find(&in, names[i]);
        assert_non_null(t);
        assert_int_equal(t->dtype, tensors[i].dtype);
        assert_int_equal(t->ndim, tensors[i].ndim);
        size_t n = (size_t)clip_tensor_count(t) * clip_dtype_size(t->dtype);
        if (n > 0) assert_memory_equal(t->data, tensors[i].data, n);
    }
    assert_string_equal(clip_bundle_text(&in, "config")->value, "{\"a\": 1}\n");
    clip_bundle_release(&in);
    clip_bundle_release(&out);
}

static void refuses_to_write_what_cannot_be(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle bundle = {0};
    float f = 1;
    struct clip_tensor scalar = clip_tensor_view(CLIP_F32, &f, 0, NULL);
    const char *path = test_path(test_folder(), "a.safetensors");
    test_ok(clip_bundle_add(&bundle, "__metadata__", &scalar, &error), &error);
    test_fails(clip_safetensors_write(path, &bundle, &error), &error, CLIP_ERR_DATA,
               "__metadata__");
    clip_bundle_release(&bundle);
    test_ok(clip_bundle_add(&bundle, "bad\xff", &scalar, &error), &error);
    test_fails(clip_safetensors_write(path, &bundle, &error), &error, CLIP_ERR_DATA, "UTF-8");
    clip_bundle_release(&bundle);
    assert_false(clip_path_exists(path));
    test_fails(clip_safetensors_read(path, &bundle, &error), &error, CLIP_ERR_NOT_FOUND, path);
    test_fails(clip_safetensors_write("/nowhere/a.safetensors", &bundle, &error), &error,
               CLIP_ERR_NOT_FOUND, "/nowhere");
}

/* Reads every .safetensors of a folder and writes it again: the same bytes, the reference's own. */
static int rewrite_folder(const char *folder, const char *copy)
{
    struct clip_error error;
    struct clip_names names = {0};
    int count = 0;
    test_ok(clip_folder_list(folder, &names, &error), &error);
    for (int64_t i = 0; i < names.count; i++) {
        const char *path = test_path(folder, names.names[i]);
        struct clip_bundle bundle = {0};
        struct clip_mapping a = {0}, b = {0};
        if (!clip_path_has_suffix(path, ".safetensors")) continue;
        test_ok(clip_safetensors_read(path, &bundle, &error), &error);
        test_ok(clip_safetensors_write(copy, &bundle, &error), &error);
        test_ok(clip_file_map(path, &a, &error), &error);
        test_ok(clip_file_map(copy, &b, &error), &error);
        if (a.size != b.size || memcmp(a.data, b.data, a.size) != 0) {
            test_fail("%s changes when it is read and written", path);
        }
        clip_file_unmap(&a);
        clip_file_unmap(&b);
        clip_bundle_release(&bundle);
        count++;
    }
    clip_names_release(&names);
    return count;
}

static void rewrites_reference_files_to_the_byte(void **state)
{
    (void)state;
    struct clip_error error;
    const char *copy = test_path(test_folder(), "copy.safetensors");
    int count = 0;
    for (int r = 0; test_root(r) != NULL; r++) {
        struct clip_names names = {0};
        test_ok(clip_folder_list(test_root(r), &names, &error), &error);
        for (int64_t i = 0; i < names.count; i++) {
            const char *folder = test_path(test_root(r), names.names[i]);
            if (clip_path_is_folder(folder)) count += rewrite_folder(folder, copy);
        }
        clip_names_release(&names);
    }
    if (count == 0) test_skip("there are no reference files");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_types_shapes_and_texts),
        cmocka_unit_test(refuses_malformed_headers),
        cmocka_unit_test(refuses_wrong_places),
        cmocka_unit_test(refuses_wrong_sizes),
        cmocka_unit_test(survives_cuts_and_flips),
        cmocka_unit_test(reads_many_tensors),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(refuses_to_write_what_cannot_be),
        cmocka_unit_test(rewrites_reference_files_to_the_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
