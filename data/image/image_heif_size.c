/* The sizes that a HEIF file's images are coded with (ISO/IEC 14496-12 and -15, 23008-12; AV1 in
 * ISOBMFF). libheif 1.15 compares only what the file states (ispe) with a limit, and a decoder
 * takes memory for what is coded, which may be more by any factor.
 *
 * What is coded stands in the configurations (hvcC, av1C in meta/iprp/ipco) and in the items' data,
 * whose places meta/iloc has; a grid of tiles, which is an item of 8 or 12 bytes, has a size of its
 * own. Items that are no coded images (EXIF, XMP) are walked too: their walk ends at the first
 * length that does not fit. */
#include <string.h>

#include "data/image/image_formats.h"

struct heif {
    struct clip_image_bytes file, idat;
    struct clip_coded_size largest;
    bool hevc, av1; /* there are configurations of these */
    bool headless;  /* a frame of AV1 has no sequence header before it */
    bool cut;       /* something is no whole box; libheif says so */
};

/* A big-endian number of n bytes at the front of *in, which then begins behind it; 0 where *in is
 * too short. */
static uint64_t take(struct clip_image_bytes *in, size_t n)
{
    uint64_t value = 0;

    if (n > in->size) {
        *in = (struct clip_image_bytes){in->data, 0};
        return 0;
    }
    for (size_t i = 0; i < n; i++) value = value << 8 | in->data[i];
    *in = (struct clip_image_bytes){in->data + n, in->size - n};
    return value;
}

static struct clip_image_bytes part(struct clip_image_bytes of, uint64_t at, uint64_t n)
{
    if (at > of.size) at = of.size;
    if (n > of.size - at) n = of.size - at;
    return (struct clip_image_bytes){of.data + at, (size_t)n};
}

/* Units of HEVC, each behind its length of `n` bytes. */
static void walk_units(struct heif *heif, struct clip_image_bytes data, size_t n)
{
    while (data.size > n) {
        uint64_t size = take(&data, n);

        if (size > data.size) return;
        clip_hevc_size(part(data, 0, size), &heif->largest);
        data = part(data, size, data.size);
    }
}

/* 22 bytes, a number of arrays; each: a byte, a number of units, and these. */
static void read_hvcc(struct heif *heif, struct clip_image_bytes in)
{
    heif->hevc = true;
    in = part(in, 22, in.size);
    for (uint64_t arrays = take(&in, 1); arrays > 0 && in.size > 3; arrays--) {
        take(&in, 1);
        for (uint64_t units = take(&in, 2); units > 0 && in.size > 2; units--) {
            uint64_t size = take(&in, 2);

            clip_hevc_size(part(in, 0, size), &heif->largest);
            in = part(in, size, in.size);
        }
    }
}

static void read_properties(struct heif *heif, struct clip_image_bytes ipco)
{
    struct clip_box box;

    while (clip_box_next(&ipco, &box, &heif->cut)) {
        if (memcmp(box.type, "hvcC", 4) == 0) read_hvcc(heif, box.body);
        if (memcmp(box.type, "av1C", 4) == 0) {
            heif->av1 = true;
            clip_av1_size(part(box.body, 4, box.body.size), &heif->largest);
        }
    }
}

/* Version, flags, rows, columns (less 1), and the whole's size in 16 or 32 bits. */
static void read_grid(struct heif *heif, struct clip_image_bytes data)
{
    size_t n = data.size == 12 ? 4 : 2;

    if (take(&data, 1) != 0 || take(&data, 1) != (n == 4)) return;
    take(&data, 2);
    uint64_t width = take(&data, n);
    clip_coded_size_add(&heif->largest, width, take(&data, n));
}

/* One item's data in one piece. */
static void read_item(struct heif *heif, struct clip_image_bytes data)
{
    if (data.size == 8 || data.size == 12) read_grid(heif, data);
    if (heif->hevc) walk_units(heif, data, 4);
    if (heif->av1 && !clip_av1_size(data, &heif->largest)) heif->headless = true;
}

/* The extents of one item, joined where there are several. */
static clip_status read_extents(struct heif *heif, struct clip_image_bytes *in,
                                const size_t sizes[4], uint64_t method, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_buffer joined = {0};
    struct clip_image_bytes from = method == 1 ? heif->idat : heif->file, extent = {0};
    uint64_t base = take(in, sizes[2]), count = take(in, 2);
    bool whole = true; /* otherwise libheif refuses it */

    for (uint64_t i = 0; i < count && in->size >= sizes[3] + sizes[0] + sizes[1]; i++) {
        take(in, sizes[3]);
        uint64_t at = take(in, sizes[0]), n = take(in, sizes[1]);

        at += base;
        if (n == 0 && at < from.size) n = from.size - at;
        whole = whole && at >= base && at <= from.size && n <= from.size - at;
        extent = part(from, at, n);
        if (count > 1 && extent.size > heif->file.size - joined.size)
            CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                               "the HEIF image's item takes the same bytes more than once; get "
                               "another copy of it or leave it out"));
        if (count > 1) CLIP_TRY(clip_buffer_append(&joined, extent.data, extent.size, error));
    }
    if (count > 1) extent = (struct clip_image_bytes){(const uint8_t *)joined.data, joined.size};
    if (method <= 1 && whole) read_item(heif, extent);

out:
    clip_buffer_release(&joined);
    return status;
}

/* Version; sizes of the numbers; for each item its number, how its place is meant, and extents. */
static clip_status read_places(struct heif *heif, struct clip_image_bytes in,
                               struct clip_error *error)
{
    uint64_t version = take(&in, 4) >> 24, packed = take(&in, 2);
    const size_t sizes[4] = {packed >> 12, packed >> 8 & 15, packed >> 4 & 15,
                             version > 0 ? packed & 15 : 0};
    size_t wide = version < 2 ? 2 : 4;
    uint64_t items = take(&in, wide);

    for (int i = 0; i < 4; i++)
        if (sizes[i] > 8) return CLIP_OK; /* libheif refuses it */
    for (; items > 0 && in.size >= wide; items--) {
        take(&in, wide);
        uint64_t method = version > 0 ? take(&in, 2) & 15 : 0;

        take(&in, 2);
        clip_status status = read_extents(heif, &in, sizes, method, error);
        if (status != CLIP_OK) return status;
    }
    return CLIP_OK;
}

clip_status clip_heif_check_coded(struct clip_image_bytes file,
                                  const struct clip_image_limits *limits, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct heif heif = {.file = file};
    struct clip_image_bytes meta, inner, ipco;

    if (!clip_box_find(file, "meta", NULL, 4, &meta, &heif.cut)) return CLIP_OK;
    if (clip_box_find(meta, "iprp", NULL, 0, &inner, &heif.cut) &&
        clip_box_find(inner, "ipco", NULL, 0, &ipco, &heif.cut))
        read_properties(&heif, ipco);
    if (!clip_box_find(meta, "idat", NULL, 0, &heif.idat, &heif.cut))
        heif.idat = (struct clip_image_bytes){file.data, 0};
    if (clip_box_find(meta, "iloc", NULL, 0, &inner, &heif.cut))
        CLIP_TRY(read_places(&heif, inner, error));
    if (heif.headless)
        CLIP_TRY(clip_fail(error, CLIP_ERR_FORMAT,
                           "the AVIF image has a frame without a sequence header before it; get "
                           "another copy of it or leave it out"));
    if (heif.largest.width > 0)
        CLIP_TRY(clip_image_check_size(heif.largest.width, heif.largest.height, limits, error));

out:
    return status;
}
