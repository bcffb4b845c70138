/* Bundles, the narrow float types, checksums and .npy: what every weight file is made of. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/bundle.h"
#include "checkpoints/checksum.h"
#include "checkpoints/convert.h"
#include "kernels/bf16.h"
#include "tests/support.h"

static void finds_and_copies_by_name(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_bundle bundle = {0};
    float data[6] = {1, 2, 3, 4, 5, 6}, out[6] = {0};
    uint16_t half[2] = {0x3c00, 0xc100}, bf16[2] = {0x3f80, 0xc020}; /* 1 and -2.5 in both */
    char name[32];
    for (int i = 0; i < 1000; i++) {
        struct clip_tensor t = clip_tensor_f32(data, 1 + i % 3, 2);
        snprintf(name, sizeof name, "block.%d.weight", i);
        test_ok(clip_bundle_add(&bundle, name, &t, &error), &error);
    }
    struct clip_tensor t = clip_tensor_f32(data, 3, 2), dst = clip_tensor_f32(out, 3, 2);
    struct clip_tensor h = clip_tensor_view(CLIP_F16, half, 1, (int64_t[]){2});
    struct clip_tensor b = clip_tensor_view(CLIP_BF16, bf16, 1, (int64_t[]){2});
    struct clip_tensor two = clip_tensor_view(CLIP_F32, out, 1, (int64_t[]){2});
    struct clip_tensor i32 = clip_tensor_view(CLIP_I32, data, 1, (int64_t[]){2});
    test_fails(clip_bundle_add(&bundle, "block.7.weight", &t, &error), &error, CLIP_ERR_DATA,
               "two tensors named \"block.7.weight\"");
    test_ok(clip_bundle_copy(&bundle, "block.998.weight", &dst, &error), &error);
    test_same_f32("copy", out, data, 6);
    test_fails(clip_bundle_copy(&bundle, "block.0.weight", &dst, &error), &error, CLIP_ERR_DATA,
               "shape [1, 2] where [3, 2]");
    test_fails(clip_bundle_copy(&bundle, "nothing", &dst, &error), &error, CLIP_ERR_DATA,
               "\"nothing\" is missing");
    assert_null(clip_bundle_find(&bundle, "block.1000.weight"));
    test_ok(clip_bundle_add(&bundle, "h", &h, &error), &error);
    test_ok(clip_bundle_add(&bundle, "b", &b, &error), &error);
    test_ok(clip_bundle_add(&bundle, "i", &i32, &error), &error);
    test_ok(clip_bundle_copy(&bundle, "h", &two, &error), &error);
    assert_true(out[0] == 1 && out[1] == -2.5f);
    out[0] = out[1] = 0;
    test_ok(clip_bundle_copy(&bundle, "b", &two, &error), &error);
    assert_true(out[0] == 1 && out[1] == -2.5f);
    test_fails(clip_bundle_copy(&bundle, "i", &two, &error), &error, CLIP_ERR_DATA, "type I32");
    test_ok(clip_bundle_add_text(&bundle, "k", "", 0, &error), &error);
    assert_int_equal(clip_bundle_text(&bundle, "k")->size, 0);
    test_fails(clip_bundle_add_text(&bundle, "k", "v", 1, &error), &error, CLIP_ERR_DATA, "\"k\"");
    test_fails(clip_bundle_add_text(&bundle, "n", "a\0b", 3, &error), &error, CLIP_ERR_DATA, "NUL");
    clip_bundle_release(&bundle);
    assert_null(clip_bundle_find(&bundle, "h"));
}

/* All 65,536 half-precision values there and back; and narrowing against arithmetic in double. */
static void converts_narrow_floats(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t f16, bf16;
    } cases[] = {
        {1.0f, 0x3c00, 0x3f80},         {-2.0f, 0xc000, 0xc000},
        {65504.0f, 0x7bff, 0x4780},     {65519.99f, 0x7bff, 0x4780},
        {65520.0f, 0x7c00, 0x4780},     {1e30f, 0x7c00, 0x714a},
        {0x1p-24f, 0x0001, 0x3380},     {0x1p-25f, 0x0000, 0x3300},
        {0x1.8p-24f, 0x0002, 0x33c0},   {0x1.000002p-25f, 0x0001, 0x3300},
        {0x1.ffcp-15f, 0x0400, 0x3880}, {0x1.004p0f, 0x3c01, 0x3f80},
        {0x1.002p0f, 0x3c00, 0x3f80},   {0x1.006p0f, 0x3c02, 0x3f80},
        {0x1.01p0f, 0x3c04, 0x3f80},    {0x1.03p0f, 0x3c0c, 0x3f82},
        {-0.0f, 0x8000, 0x8000},        {0x1p-140f, 0x0000, 0x0000},
        {INFINITY, 0x7c00, 0x7f80},     {0x1.fffffep127f, 0x7c00, 0x7f80},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(clip_f32_to_f16(cases[i].value), cases[i].f16);
        assert_int_equal(clip_bf16_round(cases[i].value), cases[i].bf16);
    }
    for (uint32_t h = 0; h < 65536; h++) {
        float f16 = clip_f16_to_f32((uint16_t)h), bf16 = clip_bf16_widen((uint16_t)h);
        uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
        if (isnan(f16))
            assert_true(exponent == 31 && isnan(clip_f16_to_f32(clip_f32_to_f16(f16))));
        else
            assert_int_equal(clip_f32_to_f16(f16), h);
        if (isnan(bf16))
            assert_true(isnan(clip_bf16_widen(clip_bf16_round(bf16))));
        else
            assert_int_equal(clip_bf16_round(bf16), h);
        if (exponent < 31) {
            double value = exponent ? ldexp(1024 + fraction, (int)exponent - 25)
                                    : ldexp(fraction, -24);
            assert_true((double)f16 == (h & 0x8000 ? -value : value));
        }
    }
    assert_true(isnan(clip_f16_to_f32(clip_f32_to_f16(NAN))));
}

/* "123456789" has the CRC-32 cbf43926; pieces and threads change nothing. */
static void sums_alike_from_memory_and_file(void **state)
{
    (void)state;
    struct clip_error error;
    size_t n = (size_t)(5 << 20) + 17;
    unsigned char *bytes = malloc(n);
    uint32_t from_file;
    assert_int_equal(clip_crc32(0, "123456789", 9), 0xcbf43926);
    assert_int_equal(clip_crc32(clip_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
    for (size_t i = 0; i < n; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    const char *path = test_write(test_folder(), "bytes", bytes, n);
    int fd = open(path, O_RDONLY);
    test_ok(clip_crc32_file(&from_file, fd, 3, (int64_t)n, path, &error), &error);
    assert_int_equal(from_file, clip_crc32(0, bytes + 3, n - 3));
    assert_int_equal(from_file, clip_crc32(clip_crc32(0, bytes + 3, 1 << 22), bytes + 3 + (1 << 22),
                                           n - 3 - (1 << 22)));
    test_fails(clip_crc32_file(&from_file, fd, 0, (int64_t)n + 1, path, &error), &error,
               CLIP_ERR_FORMAT, "shorter");
    close(fd);
    free(bytes);
}

static void writes_npy(void **state)
{
    (void)state;
    struct clip_error error;
    struct clip_buffer file = {0};
    float data[6] = {1, 2, 3, 4, 5, 6};
    struct clip_tensor matrix = clip_tensor_f32(data, 2, 3), scalar = matrix, row = matrix;
    const char *path = test_path(test_folder(), "a.npy");
    test_ok(clip_npy_write(path, &matrix, &error), &error);
    test_ok(clip_file_read(path, 1000, &file, &error), &error);
    assert_int_equal(file.size, 128 + 24);
    assert_memory_equal(file.data,
                        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': "
                        "False, 'shape': (2, 3), }  ",
                        71);
    assert_int_equal(file.data[127], '\n');
    assert_memory_equal(file.data + 128, data, 24);
    clip_buffer_release(&file);
    scalar.ndim = 0;
    row.ndim = 1;
    test_ok(clip_npy_write(path, &scalar, &error), &error);
    test_ok(clip_file_read(path, 1000, &file, &error), &error);
    assert_non_null(strstr(file.data + 10, "'shape': (), }"));
    assert_int_equal(file.size, 132);
    clip_buffer_release(&file);
    test_ok(clip_npy_write(path, &row, &error), &error);
    test_ok(clip_file_read(path, 1000, &file, &error), &error);
    assert_non_null(strstr(file.data + 10, "'shape': (2,), }"));
    clip_buffer_release(&file);
    matrix.dtype = CLIP_I32;
    test_fails(clip_npy_write(path, &matrix, &error), &error, CLIP_ERR_DATA, "I32");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_and_copies_by_name),
        cmocka_unit_test(converts_narrow_floats),
        cmocka_unit_test(sums_alike_from_memory_and_file),
        cmocka_unit_test(writes_npy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
