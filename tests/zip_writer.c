#include "tests/zip_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void put(struct clip_buffer *out, uint64_t value, int bytes)
{
    struct clip_error error;
    for (int i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)(value >> 8 * i);
        test_ok(clip_buffer_append(out, &byte, 1, &error), &error);
    }
}

static void put_bytes(struct clip_buffer *out, const void *bytes, size_t n)
{
    struct clip_error error;
    if (n > 0) test_ok(clip_buffer_append(out, bytes, n, &error), &error);
}

static unsigned char *deflated_bytes(const void *bytes, size_t n, size_t *packed)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    *packed = deflateBound(&stream, n);
    unsigned char *out = malloc(*packed + 1);
    assert_non_null(out);
    stream.next_in = (unsigned char *)(uintptr_t)bytes;
    stream.avail_in = (unsigned)n;
    stream.next_out = out;
    stream.avail_out = (unsigned)*packed;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    *packed -= stream.avail_out;
    deflateEnd(&stream);
    return out;
}

void zip_add(struct zip_writer *zip, const char *name, const void *bytes, size_t n, bool deflated)
{
    size_t packed = n, length = strlen(name), at = zip->file.size;
    unsigned char *data = deflated ? deflated_bytes(bytes, n, &packed) : NULL;
    uint32_t crc = n > 0 ? (uint32_t)crc32(0, bytes, (unsigned)n) : 0;
    uint64_t all = 0xFFFFFFFFu;
    size_t pad = (64 - (at + 30 + length + 4) % 64) % 64;
    put(&zip->file, 0x04034b50, 4);
    put(&zip->file, 20, 2);
    put(&zip->file, 0, 2);
    put(&zip->file, deflated ? 8 : 0, 2);
    put(&zip->file, 0, 4);
    put(&zip->file, crc, 4);
    put(&zip->file, packed, 4);
    put(&zip->file, n, 4);
    put(&zip->file, length, 2);
    put(&zip->file, pad + 4, 2);
    put_bytes(&zip->file, name, length);
    put(&zip->file, 0x4246, 2); /* "FB", PyTorch's padding */
    put(&zip->file, pad, 2);
    for (size_t i = 0; i < pad; i++) put(&zip->file, 'Z', 1);
    put_bytes(&zip->file, data ? data : bytes, packed);
    free(data);

    put(&zip->directory, 0x02014b50, 4);
    put(&zip->directory, 20, 2);
    put(&zip->directory, 20, 2);
    put(&zip->directory, 0, 2);
    put(&zip->directory, deflated ? 8 : 0, 2);
    put(&zip->directory, 0, 4);
    put(&zip->directory, crc, 4);
    put(&zip->directory, zip->zip64 ? all : packed, 4);
    put(&zip->directory, zip->zip64 ? all : n, 4);
    put(&zip->directory, length, 2);
    put(&zip->directory, zip->zip64 ? 28 : 0, 2);
    put(&zip->directory, 0, 2);
    put(&zip->directory, 0, 2);
    put(&zip->directory, 0, 2);
    put(&zip->directory, 0, 4);
    put(&zip->directory, zip->zip64 ? all : at, 4);
    put_bytes(&zip->directory, name, length);
    if (zip->zip64) {
        put(&zip->directory, 1, 2);
        put(&zip->directory, 24, 2);
        put(&zip->directory, n, 8);
        put(&zip->directory, packed, 8);
        put(&zip->directory, at, 8);
    }
    zip->count++;
}

void zip_finish(struct zip_writer *zip)
{
    size_t offset = zip->file.size, size = zip->directory.size;
    put_bytes(&zip->file, zip->directory.data, size);
    if (zip->zip64) {
        size_t at = zip->file.size;
        put(&zip->file, 0x06064b50, 4);
        put(&zip->file, 44, 8);
        put(&zip->file, 45, 2);
        put(&zip->file, 45, 2);
        put(&zip->file, 0, 8);
        put(&zip->file, (uint64_t)zip->count, 8);
        put(&zip->file, (uint64_t)zip->count, 8);
        put(&zip->file, size, 8);
        put(&zip->file, offset, 8);
        put(&zip->file, 0x07064b50, 4);
        put(&zip->file, 0, 4);
        put(&zip->file, at, 8);
        put(&zip->file, 1, 4);
    }
    put(&zip->file, 0x06054b50, 4);
    put(&zip->file, 0, 4);
    put(&zip->file, zip->zip64 ? 0xFFFF : (uint64_t)zip->count, 2);
    put(&zip->file, zip->zip64 ? 0xFFFF : (uint64_t)zip->count, 2);
    put(&zip->file, zip->zip64 ? 0xFFFFFFFFu : size, 4);
    put(&zip->file, zip->zip64 ? 0xFFFFFFFFu : offset, 4);
    put(&zip->file, 0, 2);
}

struct zip_writer zip_of_torch(const void *pickle, size_t n, const struct zip_storage *storages,
                               int count, bool deflated, bool zip64)
{
    struct zip_writer zip = {.zip64 = zip64};
    zip_add(&zip, "m/data.pkl", pickle, n, deflated);
    zip_add(&zip, "m/byteorder", "little", 6, false);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "m/data/%d", i);
        zip_add(&zip, name, storages[i].bytes, storages[i].n, deflated);
    }
    zip_finish(&zip);
    return zip;
}
