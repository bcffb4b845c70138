/* JPEG (ITU-T T.81). The structure is checked here from the first marker to the last; then
 * clip_jpeg_pixels, which is libjpeg-turbo's or stb_image's, decodes. Bytes between segments are
 * skipped, as libjpeg does. */
#include <limits.h>
#include <string.h>

#include "core/count.h"
#include "data/image/image_formats.h"

#define MAX_SCANS 500 /* of a progressive image; encoders write about ten */

enum marker {
    TEM = 0x01,
    SOF0 = 0xc0,
    SOF2 = 0xc2,
    DHT = 0xc4,
    JPG = 0xc8,
    DAC = 0xcc,
    SOF15 = 0xcf,
    RST0 = 0xd0,
    RST7 = 0xd7,
    EOI = 0xd9,
    SOS = 0xda,
    DQT = 0xdb,
    DNL = 0xdc,
    DRI = 0xdd,
    APP0 = 0xe0,
    APP1 = 0xe1,
    APP14 = 0xee,
    APP15 = 0xef,
    COM = 0xfe,
};

struct component {
    int id, h, v, table;
};

struct jpeg {
    int64_t width, height;
    bool progressive;
    int component_count;
    struct component components[4];
    unsigned quantisers; /* one bit for each table that is defined */
    int scans, orientation;
};

static int64_t u16(const uint8_t *p) { return (int64_t)p[0] << 8 | p[1]; }

/* The next marker at or after *at that begins a segment or ends the image; *at moves behind it. 0
 * at the end of the bytes. */
static int next_marker(struct clip_image_bytes bytes, size_t *at)
{
    const uint8_t *p = bytes.data + *at, *end = bytes.data + bytes.size;

    while ((p = memchr(p, 0xff, (size_t)(end - p))) != NULL && end - p >= 2) {
        int marker = p[1];

        p += marker == 0xff ? 1 : 2;
        if (marker == 0 || marker == 0xff || marker == TEM || (marker >= RST0 && marker <= RST7))
            continue;
        *at = (size_t)(p - bytes.data);
        return marker;
    }
    return 0;
}

/* Where the entropy-coded data that begins at `at` ends: at a marker that is neither a restart nor
 * a stuffed 0. */
static size_t end_of_scan(struct clip_image_bytes bytes, size_t at)
{
    const uint8_t *p = bytes.data + at, *end = bytes.data + bytes.size;

    while ((p = memchr(p, 0xff, (size_t)(end - p))) != NULL && end - p >= 2) {
        if (p[1] != 0 && p[1] != 0xff && (p[1] < RST0 || p[1] > RST7))
            return (size_t)(p - bytes.data);
        p += p[1] == 0xff ? 1 : 2;
    }
    return bytes.size;
}

clip_status clip_jpeg_next(struct clip_image_bytes bytes, size_t *at, struct clip_jpeg_segment *out,
                           struct clip_error *error)
{
    int64_t n;

    *out = (struct clip_jpeg_segment){.marker = next_marker(bytes, at)};
    if (out->marker == EOI) return CLIP_OK;
    if (out->marker == 0 || *at + 2 > bytes.size ||
        (size_t)u16(bytes.data + *at) > bytes.size - *at)
        return clip_image_fail_cut("JPEG", bytes.size, error);
    n = u16(bytes.data + *at) - 2;
    if (n < 0) return clip_jpeg_fail_broken("a segment of impossible length", error);
    out->whole = bytes.data + *at - 2;
    out->body = bytes.data + *at + 2;
    out->n = n;
    *at += 2 + (size_t)n;
    if (out->marker == SOS) *at = end_of_scan(bytes, *at);
    out->size = (size_t)(bytes.data + *at - out->whole);
    return CLIP_OK;
}

/* Reads the frame header (B.2.2). */
static clip_status read_frame(struct jpeg *jpeg, int marker, const uint8_t *p, int64_t n,
                              struct clip_error *error)
{
    if (marker > SOF2)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the JPEG image is coded in a way that is not read here (SOF%d: "
                         "lossless, hierarchical or arithmetic); convert it to a usual JPEG",
                         marker - SOF0);
    if (jpeg->component_count != 0) return clip_jpeg_fail_broken("two frame headers", error);
    if (n < 6 || n != 6 + 3 * p[5])
        return clip_jpeg_fail_broken("a frame header of wrong length", error);
    if (p[0] != 8)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the JPEG image has %s per sample, and only 8 are read here; convert it "
                         "to a usual JPEG",
                         CLIP_COUNT(p[0], "bit"));
    if (p[5] != 1 && p[5] != 3 && p[5] != 4)
        return clip_jpeg_fail_broken("a number of colour components other than 1, 3 or 4", error);
    jpeg->progressive = marker == SOF2;
    jpeg->height = u16(p + 1);
    jpeg->width = u16(p + 3);
    jpeg->component_count = p[5];
    for (int i = 0; i < jpeg->component_count; i++) {
        const uint8_t *q = p + 6 + 3 * i;

        jpeg->components[i] = (struct component){q[0], q[1] >> 4, q[1] & 15, q[2]};
        if (q[1] >> 4 < 1 || q[1] >> 4 > 4 || (q[1] & 15) < 1 || (q[1] & 15) > 4 || q[2] > 3)
            return clip_jpeg_fail_broken("a component with impossible sampling", error);
    }
    return CLIP_OK;
}

/* Reads quantisation tables (B.2.4.1): precision and number, 64 values of one or two bytes. */
static clip_status read_quantisers(struct jpeg *jpeg, const uint8_t *p, int64_t n,
                                   struct clip_error *error)
{
    while (n > 0) {
        int64_t size = p[0] >> 4 == 0 ? 65 : 129;

        if (p[0] >> 4 > 1 || (p[0] & 15) > 3 || size > n)
            return clip_jpeg_fail_broken("a quantisation table of wrong length or number", error);
        jpeg->quantisers |= 1u << (p[0] & 15);
        p += size;
        n -= size;
    }
    return CLIP_OK;
}

/* Reads a scan header (B.2.3): every component and its quantisation table must have been
 * defined. */
static clip_status read_scan(struct jpeg *jpeg, const uint8_t *p, int64_t n,
                             struct clip_error *error)
{
    if (jpeg->component_count == 0)
        return clip_jpeg_fail_broken("a scan before the frame header", error);
    if (n < 1 || p[0] < 1 || p[0] > jpeg->component_count || n != 4 + 2 * p[0])
        return clip_jpeg_fail_broken("a scan header of wrong length", error);
    if (++jpeg->scans > MAX_SCANS) return clip_jpeg_fail_broken("more than 500 scans", error);
    for (int i = 0; i < p[0]; i++) {
        const uint8_t *q = p + 1 + 2 * i;
        int c = 0;

        while (c < jpeg->component_count && jpeg->components[c].id != q[0]) c++;
        if (c == jpeg->component_count)
            return clip_jpeg_fail_broken("a scan of an unknown component", error);
        if ((jpeg->quantisers >> jpeg->components[c].table & 1) == 0)
            return clip_jpeg_fail_broken("a quantisation table that is not there", error);
    }
    return CLIP_OK;
}

static clip_status read_segment(struct jpeg *jpeg, const struct clip_jpeg_segment *segment,
                                struct clip_error *error)
{
    int marker = segment->marker;
    const uint8_t *p = segment->body;
    int64_t n = segment->n;

    switch (marker) {
    case DHT: return CLIP_OK; /* the decoders check these */
    case DQT: return read_quantisers(jpeg, p, n, error);
    case SOS: return read_scan(jpeg, p, n, error);
    case DRI:
        return n == 2 ? CLIP_OK
                      : clip_jpeg_fail_broken("a restart interval of wrong length", error);
    case APP1:
        if (n > 6 && memcmp(p, "Exif\0", 6) == 0 && jpeg->orientation == 0)
            jpeg->orientation = clip_exif_orientation(p + 6, (size_t)(n - 6));
        return CLIP_OK;
    default:
        if (marker >= SOF0 && marker <= SOF15 && marker != JPG && marker != DAC)
            return read_frame(jpeg, marker, p, n, error);
        if ((marker >= APP0 && marker <= APP15) || marker == COM || marker == DNL) return CLIP_OK;
        return clip_jpeg_fail_broken("an unknown marker", error);
    }
}

/* Walks over all segments, from the first marker (SOI) to EOI. */
static clip_status read_structure(struct jpeg *jpeg, struct clip_image_bytes bytes,
                                  struct clip_error *error)
{
    size_t at = 2;

    for (;;) {
        struct clip_jpeg_segment segment;
        clip_status status = clip_jpeg_next(bytes, &at, &segment, error);

        if (status == CLIP_OK && segment.marker == EOI) break;
        if (status == CLIP_OK) status = read_segment(jpeg, &segment, error);
        if (status != CLIP_OK) return status;
    }
    return jpeg->scans > 0 ? CLIP_OK : clip_jpeg_fail_broken("no pixels", error);
}

bool clip_jpeg_measure(struct clip_image_bytes bytes, int64_t *width, int64_t *height)
{
    struct jpeg jpeg = {0};
    struct clip_jpeg_segment segment;
    struct clip_error ignored;
    size_t at = 2;

    if (bytes.size < 2 || memcmp(bytes.data, "\xff\xd8", 2) != 0) return false;
    while (jpeg.component_count == 0)
        if (clip_jpeg_next(bytes, &at, &segment, &ignored) != CLIP_OK || segment.marker == EOI ||
            read_segment(&jpeg, &segment, &ignored) != CLIP_OK)
            return false;
    *width = jpeg.width;
    *height = jpeg.height;
    return true;
}

/* Can `size` bytes hold the image? Every block of 8 x 8 samples takes at least one bit, and two if
 * the image is not progressive. */
static bool size_is_possible(const struct jpeg *jpeg, size_t size)
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
    return blocks * (jpeg->progressive ? 1 : 2) / 8 <= (int64_t)size;
}

clip_status clip_jpeg_decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                             struct clip_image *out, int *orientation, struct clip_error *error)
{
    clip_status status;
    struct jpeg jpeg = {0};

    if (bytes.size > INT_MAX - 16)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the JPEG image has %s, more than are read here; scale it down",
                         CLIP_COUNT(bytes.size, "byte"));
    CLIP_TRY(read_structure(&jpeg, bytes, error));
    CLIP_TRY(clip_image_check_size(jpeg.width, jpeg.height, limits, error));
    if (!size_is_possible(&jpeg, bytes.size))
        CLIP_TRY(clip_image_fail_impossible("JPEG", jpeg.width, jpeg.height, bytes.size, error));
    CLIP_TRY(clip_jpeg_pixels(bytes, jpeg.component_count, limits, out, error));
    *orientation = jpeg.orientation;

out:
    return status;
}
