/* JPEG's pixels by stb_image, for builds without libjpeg-turbo. stb trusts a file's tables, and
 * stb_image.c says what that leads to. So stb gets a copy with only the segments that it needs,
 * each of them checked. */
#include <stdlib.h>
#include <string.h>

#include "data/image/image_formats.h"

enum marker {
    SOF0 = 0xc0,
    SOF2 = 0xc2,
    DHT = 0xc4,
    EOI = 0xd9,
    SOS = 0xda,
    DQT = 0xdb,
    DNL = 0xdc,
    DRI = 0xdd,
    APP0 = 0xe0,
    APP14 = 0xee,
};

const char *const clip_jpeg_decoder = "stb_image";

struct reader {
    bool progressive, adobe;
    unsigned huffman[2]; /* one bit for each table that is defined; DC and AC */
    uint8_t *copy;       /* what stb gets, at most 16 bytes longer than the file */
    size_t copied;
};

/* Reads Huffman tables (B.2.4.2): class and number, 16 counts, the symbols. */
static clip_status read_huffman(struct reader *reader, const uint8_t *p, int64_t n,
                                struct clip_error *error)
{
    while (n > 0) {
        int64_t count = 0;

        if (n < 17 || p[0] >> 4 > 1 || (p[0] & 15) > 3)
            return clip_jpeg_fail_broken("a Huffman table of wrong length or number", error);
        for (int i = 1; i <= 16; i++) count += p[i];
        if (count > 255 || count > n - 17)
            return clip_jpeg_fail_broken("a Huffman table with too many codes", error);
        reader->huffman[p[0] >> 4] |= 1u << (p[0] & 15);
        p += 17 + count;
        n -= 17 + count;
    }
    return CLIP_OK;
}

/* Checks that the tables that a scan names exist (B.2.3). AC tables are used by baseline scans and
 * by progressive ones that do not start at coefficient 0; DC tables by the others. */
static clip_status check_scan(const struct reader *reader, const uint8_t *p, int64_t n,
                              struct clip_error *error)
{
    bool dc = !reader->progressive || p[n - 3] == 0;
    bool ac = !reader->progressive || p[n - 3] != 0;

    for (int i = 0; i < p[0]; i++) {
        int tables = p[2 + 2 * i];

        if (tables >> 4 > 3 || (tables & 15) > 3 ||
            (dc && (reader->huffman[0] >> (tables >> 4) & 1) == 0) ||
            (ac && (reader->huffman[1] >> (tables & 15) & 1) == 0))
            return clip_jpeg_fail_broken("a Huffman table that is not there", error);
    }
    return CLIP_OK;
}

static clip_status read_segment(struct reader *reader, const struct clip_jpeg_segment *segment,
                                struct clip_error *error)
{
    switch (segment->marker) {
    case DHT: return read_huffman(reader, segment->body, segment->n, error);
    case SOS: return check_scan(reader, segment->body, segment->n, error);
    case SOF2: reader->progressive = true; return CLIP_OK;
    case APP14:
        if (segment->n >= 12 && memcmp(segment->body, "Adobe", 6) == 0) reader->adobe = true;
        return CLIP_OK;
    default: return CLIP_OK;
    }
}

static void copy_bytes(struct reader *reader, const void *bytes, size_t n)
{
    memcpy(reader->copy + reader->copied, bytes, n);
    reader->copied += n;
}

/* Four components without Adobe's marker are CMYK, too (as in libjpeg), stored inverted (as in
 * Pillow). The marker is added so that stb knows. */
static void finish_copy(struct reader *reader, int components)
{
    static const uint8_t adobe[14] = {0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0};

    if (components == 4 && !reader->adobe) {
        memmove(reader->copy + 18, reader->copy + 2, reader->copied - 2);
        memcpy(reader->copy + 2, (const uint8_t[]){0xff, APP14}, 2);
        memcpy(reader->copy + 4, adobe, sizeof adobe);
        reader->copied += 16;
    }
    copy_bytes(reader, (const uint8_t[]){0xff, EOI}, 2);
}

static clip_status copy_segments(struct reader *reader, struct clip_image_bytes bytes,
                                 int components, struct clip_error *error)
{
    struct clip_jpeg_segment segment;
    size_t at = 2;
    clip_status status;

    copy_bytes(reader, bytes.data, 2);
    for (;;) {
        CLIP_TRY(clip_jpeg_next(bytes, &at, &segment, error));
        if (segment.marker == EOI) break;
        CLIP_TRY(read_segment(reader, &segment, error));
        if (segment.marker < APP0 ? segment.marker != DNL
                                  : segment.marker == APP0 || segment.marker == APP14)
            copy_bytes(reader, segment.whole, segment.size);
    }
    finish_copy(reader, components);

out:
    return status;
}

clip_status clip_jpeg_pixels(struct clip_image_bytes bytes, int components,
                             const struct clip_image_limits *limits, struct clip_image *out,
                             struct clip_error *error)
{
    clip_status status;
    struct reader reader = {0};
    int width = 0, height = 0;
    const char *reason = NULL;

    (void)limits; /* stb has no faster way */
    CLIP_NEW(reader.copy, (int64_t)bytes.size + 16);
    CLIP_TRY(copy_segments(&reader, bytes, components, error));
    out->rgb = clip_stb_decode(reader.copy, (int)reader.copied, &width, &height, &reason);
    if (out->rgb == NULL && strcmp(reason, "outofmem") == 0)
        CLIP_TRY(clip_fail(error, CLIP_ERR_MEMORY, "memory is short for decoding the JPEG image"));
    if (out->rgb == NULL) CLIP_TRY(clip_jpeg_fail_broken(reason, error));
    out->width = width;
    out->height = height;

out:
    free(reader.copy);
    return status;
}
