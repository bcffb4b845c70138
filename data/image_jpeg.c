/* JPEG (ITU-T T.81). The structure is checked here from the first marker to the last, and the
 * segments that decoding needs are copied, each checked; stb_image decodes the copy (stb_image.c
 * says why). What lies between segments is stepped over, as libjpeg does. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_formats.h"

#define MAX_SCANS 500 /* of a progressive picture; encoders write about ten */

enum marker {
    TEM = 0x01, SOF0 = 0xc0, SOF2 = 0xc2, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, SOF15 = 0xcf,
    RST0 = 0xd0, RST7 = 0xd7, EOI = 0xd9, SOS = 0xda, DQT = 0xdb, DNL = 0xdc, DRI = 0xdd,
    APP0 = 0xe0, APP1 = 0xe1, APP14 = 0xee, APP15 = 0xef, COM = 0xfe,
};

struct component {
    int id, h, v, table;
};

struct jpeg {
    const uint8_t *data;
    size_t size, at;
    int64_t width, height;
    bool progressive, adobe;
    int component_count;
    struct component components[4];
    unsigned quantisers, huffman[2]; /* a bit for each table that is defined; DC and AC */
    int scans, orientation;
    uint8_t *copy; /* what stb is given, at most size + 16 bytes */
    size_t copied;
};

static clip_status fail_broken(const char *what, struct clip_error *error)
{
    return clip_fail(error, CLIP_ERR_FORMAT,
                     "the JPEG picture is broken (%s); get another copy of it or leave it out",
                     what);
}

static int64_t u16(const uint8_t *p)
{
    return (int64_t)p[0] << 8 | p[1];
}

/* The next marker that begins a segment or ends the picture, at or after jpeg->at, which then lies
 * behind it; 0 at the end of the bytes. */
static int next_marker(struct jpeg *jpeg)
{
    const uint8_t *p = jpeg->data + jpeg->at, *end = jpeg->data + jpeg->size;

    while ((p = memchr(p, 0xff, (size_t)(end - p))) != NULL && end - p >= 2) {
        int marker = p[1];

        p += marker == 0xff ? 1 : 2;
        if (marker == 0 || marker == 0xff || marker == TEM || (marker >= RST0 && marker <= RST7))
            continue;
        jpeg->at = (size_t)(p - jpeg->data);
        return marker;
    }
    return 0;
}

/* Steps over a scan's entropy-coded data, up to a marker that is no restart and no stuffed 0. */
static void skip_scan(struct jpeg *jpeg)
{
    const uint8_t *p = jpeg->data + jpeg->at, *end = jpeg->data + jpeg->size;

    while ((p = memchr(p, 0xff, (size_t)(end - p))) != NULL && end - p >= 2) {
        if (p[1] != 0 && p[1] != 0xff && (p[1] < RST0 || p[1] > RST7)) {
            jpeg->at = (size_t)(p - jpeg->data);
            return;
        }
        p += p[1] == 0xff ? 1 : 2;
    }
    jpeg->at = jpeg->size;
}

/* Frame header (B.2.2). */
static clip_status read_frame(struct jpeg *jpeg, int marker, const uint8_t *p, int64_t n,
                              struct clip_error *error)
{
    if (marker > SOF2)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the JPEG picture is coded in a way that is not read here (SOF%d: "
                         "lossless, hierarchical or arithmetic); convert it to a usual JPEG",
                         marker - SOF0);
    if (jpeg->component_count != 0) return fail_broken("two frame headers", error);
    if (n < 6 || n != 6 + 3 * p[5]) return fail_broken("a frame header of wrong length", error);
    if (p[0] != 8)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the JPEG picture has %d bits a sample, and only 8 are read here; convert "
                         "it to a usual JPEG", p[0]);
    if (p[5] != 1 && p[5] != 3 && p[5] != 4)
        return fail_broken("a number of colour components other than 1, 3 or 4", error);
    jpeg->progressive = marker == SOF2;
    jpeg->height = u16(p + 1);
    jpeg->width = u16(p + 3);
    jpeg->component_count = p[5];
    for (int i = 0; i < jpeg->component_count; i++) {
        const uint8_t *q = p + 6 + 3 * i;

        jpeg->components[i] = (struct component){q[0], q[1] >> 4, q[1] & 15, q[2]};
        if (q[1] >> 4 < 1 || q[1] >> 4 > 4 || (q[1] & 15) < 1 || (q[1] & 15) > 4 || q[2] > 3)
            return fail_broken("a component with impossible sampling", error);
    }
    return CLIP_OK;
}

/* Huffman tables (B.2.4.2): class and number, 16 counts, the symbols. */
static clip_status read_huffman(struct jpeg *jpeg, const uint8_t *p, int64_t n,
                                struct clip_error *error)
{
    while (n > 0) {
        int64_t count = 0;

        if (n < 17 || p[0] >> 4 > 1 || (p[0] & 15) > 3)
            return fail_broken("a Huffman table of wrong length or number", error);
        for (int i = 1; i <= 16; i++) count += p[i];
        if (count > 255 || count > n - 17)
            return fail_broken("a Huffman table with too many codes", error);
        jpeg->huffman[p[0] >> 4] |= 1u << (p[0] & 15);
        p += 17 + count;
        n -= 17 + count;
    }
    return CLIP_OK;
}

/* Quantisation tables (B.2.4.1): precision and number, 64 values of one or two bytes. */
static clip_status read_quantisers(struct jpeg *jpeg, const uint8_t *p, int64_t n,
                                   struct clip_error *error)
{
    while (n > 0) {
        int64_t size = p[0] >> 4 == 0 ? 65 : 129;

        if (p[0] >> 4 > 1 || (p[0] & 15) > 3 || size > n)
            return fail_broken("a quantisation table of wrong length or number", error);
        jpeg->quantisers |= 1u << (p[0] & 15);
        p += size;
        n -= size;
    }
    return CLIP_OK;
}

/* Scan header (B.2.3): every table it names must have been defined. The AC tables are used by
 * baseline scans and by progressive ones that do not start at coefficient 0, the DC ones else. */
static clip_status read_scan(struct jpeg *jpeg, const uint8_t *p, int64_t n,
                             struct clip_error *error)
{
    bool dc, ac;

    if (jpeg->component_count == 0) return fail_broken("a scan before the frame header", error);
    if (n < 1 || p[0] < 1 || p[0] > jpeg->component_count || n != 4 + 2 * p[0])
        return fail_broken("a scan header of wrong length", error);
    if (++jpeg->scans > MAX_SCANS) return fail_broken("more than 500 scans", error);
    dc = !jpeg->progressive || p[n - 3] == 0;
    ac = !jpeg->progressive || p[n - 3] != 0;
    for (int i = 0; i < p[0]; i++) {
        const uint8_t *q = p + 1 + 2 * i;
        int c = 0;

        while (c < jpeg->component_count && jpeg->components[c].id != q[0]) c++;
        if (c == jpeg->component_count) return fail_broken("a scan of an unknown component", error);
        if ((jpeg->quantisers >> jpeg->components[c].table & 1) == 0)
            return fail_broken("a quantisation table that is not there", error);
        if (q[1] >> 4 > 3 || (q[1] & 15) > 3 ||
            (dc && (jpeg->huffman[0] >> (q[1] >> 4) & 1) == 0) ||
            (ac && (jpeg->huffman[1] >> (q[1] & 15) & 1) == 0))
            return fail_broken("a Huffman table that is not there", error);
    }
    return CLIP_OK;
}

static clip_status read_segment(struct jpeg *jpeg, int marker, const uint8_t *p, int64_t n,
                                struct clip_error *error)
{
    switch (marker) {
    case DHT:
        return read_huffman(jpeg, p, n, error);
    case DQT:
        return read_quantisers(jpeg, p, n, error);
    case SOS:
        return read_scan(jpeg, p, n, error);
    case DRI:
        return n == 2 ? CLIP_OK : fail_broken("a restart interval of wrong length", error);
    case APP1:
        if (n > 6 && memcmp(p, "Exif\0", 6) == 0 && jpeg->orientation == 0)
            jpeg->orientation = clip_exif_orientation(p + 6, (size_t)(n - 6));
        return CLIP_OK;
    case APP14:
        if (n >= 12 && memcmp(p, "Adobe", 6) == 0) jpeg->adobe = true;
        return CLIP_OK;
    default:
        if (marker >= SOF0 && marker <= SOF15 && marker != JPG && marker != DAC)
            return read_frame(jpeg, marker, p, n, error);
        if ((marker >= APP0 && marker <= APP15) || marker == COM || marker == DNL) return CLIP_OK;
        return fail_broken("an unknown marker", error);
    }
}

static void copy_bytes(struct jpeg *jpeg, const void *bytes, size_t n)
{
    memcpy(jpeg->copy + jpeg->copied, bytes, n);
    jpeg->copied += n;
}

/* Four components without Adobe's marker are CMYK too (as libjpeg has it), stored inverted (as
 * Pillow has it); stb needs to be told by that marker. */
static void finish_copy(struct jpeg *jpeg)
{
    static const uint8_t adobe[14] = {0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0};

    if (jpeg->component_count == 4 && !jpeg->adobe) {
        memmove(jpeg->copy + 18, jpeg->copy + 2, jpeg->copied - 2);
        memcpy(jpeg->copy + 2, (const uint8_t[]){0xff, APP14}, 2);
        memcpy(jpeg->copy + 4, adobe, sizeof adobe);
        jpeg->copied += 16;
    }
    copy_bytes(jpeg, (const uint8_t[]){0xff, EOI}, 2);
}

/* Walks over all segments, from the first marker (SOI) to EOI. */
static clip_status read_structure(struct jpeg *jpeg, struct clip_error *error)
{
    int marker;

    copy_bytes(jpeg, jpeg->data, jpeg->at = 2);
    while ((marker = next_marker(jpeg)) != EOI) {
        size_t begin = jpeg->at - 2;
        clip_status status;
        int64_t n;

        if (marker == 0 || jpeg->at + 2 > jpeg->size ||
            (size_t)u16(jpeg->data + jpeg->at) > jpeg->size - jpeg->at)
            return clip_image_fail_cut("JPEG", jpeg->size, error);
        n = u16(jpeg->data + jpeg->at) - 2;
        if (n < 0) return fail_broken("a segment of impossible length", error);
        status = read_segment(jpeg, marker, jpeg->data + jpeg->at + 2, n, error);
        if (status != CLIP_OK) return status;
        jpeg->at += 2 + (size_t)n;
        if (marker == SOS) skip_scan(jpeg);
        if (marker < APP0 ? marker != DNL : marker == APP0 || marker == APP14)
            copy_bytes(jpeg, jpeg->data + begin, jpeg->at - begin);
    }
    if (jpeg->scans == 0) return fail_broken("no pixels", error);
    finish_copy(jpeg);
    return CLIP_OK;
}

/* Every block of 8 x 8 samples takes at least one bit, two where it is not progressive. */
static bool size_is_possible(const struct jpeg *jpeg)
{
    int64_t blocks = 0, h_max = 1, v_max = 1;

    for (int i = 0; i < jpeg->component_count; i++) {
        if (jpeg->components[i].h > h_max) h_max = jpeg->components[i].h;
        if (jpeg->components[i].v > v_max) v_max = jpeg->components[i].v;
    }
    for (int i = 0; i < jpeg->component_count; i++) {
        int64_t w = jpeg->width * jpeg->components[i].h / h_max;
        int64_t h = jpeg->height * jpeg->components[i].v / v_max;

        if (w / 8 * (h / 8) > blocks) blocks = w / 8 * (h / 8);
    }
    return blocks * (jpeg->progressive ? 1 : 2) / 8 <= (int64_t)jpeg->size;
}

clip_status clip_jpeg_decode(struct clip_picture_bytes bytes,
                             const struct clip_image_limits *limits, struct clip_image *out,
                             int *orientation, struct clip_error *error)
{
    clip_status status;
    struct jpeg jpeg = {.data = bytes.data, .size = bytes.size};
    int width, height;
    const char *reason;

    if (bytes.size > INT_MAX - 16)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the JPEG picture has %zu bytes, more than are read here; scale it down",
                         bytes.size);
    CLIP_NEW(jpeg.copy, (int64_t)bytes.size + 16);
    CLIP_TRY(read_structure(&jpeg, error));
    CLIP_TRY(clip_image_check_size(jpeg.width, jpeg.height, limits, error));
    if (!size_is_possible(&jpeg)) {
        status = clip_image_fail_impossible("JPEG", jpeg.width, jpeg.height, bytes.size, error);
        goto out;
    }
    out->rgb = clip_stb_decode(jpeg.copy, (int)jpeg.copied, &width, &height, &reason);
    if (out->rgb == NULL) {
        status = fail_broken(reason, error);
        goto out;
    }
    out->width = width;
    out->height = height;
    *orientation = jpeg.orientation;

out:
    free(jpeg.copy);
    return status;
}
