/* Raw files of cameras: of their previews, which are JPEGs, the one with the most pixels is the
 * image. The sensor's own data is not read. It is turned as the raw file says, and where that says
 * nothing, as the preview's own EXIF does.
 *
 * Laid out as TIFF: DNG, CR2, NEF, NRW, ARW, PEF, SRW, ORF, RW2, RWL (image_camera_tiff.c).
 * Fujifilm's RAF has the place of its preview in its header; Canon's CR3 is of boxes. */
#include <string.h>

#include "data/image/image_formats.h"

void clip_camera_add(struct clip_camera_previews *found, struct clip_image_bytes file, uint64_t at,
                     uint64_t n)
{
    int64_t width, height;

    if (at > file.size || n > file.size - at) {
        found->cut = true;
        return;
    }
    struct clip_image_bytes jpeg = {file.data + at, (size_t)n};
    if (!clip_jpeg_measure(jpeg, &width, &height) || width * height <= found->width * found->height)
        return;
    found->largest = jpeg;
    found->width = width;
    found->height = height;
}

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* RAF: at byte 84 the place of the preview and its length. */
static void read_raf(struct clip_image_bytes file, struct clip_camera_previews *found)
{
    found->camera = true;
    if (file.size < 92)
        found->cut = true;
    else
        clip_camera_add(found, file, u32(file.data + 84), u32(file.data + 88));
}

/* ---- CR3: ISO/IEC 14496-12, 4.2; Canon's boxes as L. Clevy and P. Harvey describe them ---- */

/* The preview stands in a box PRVW, whose 16 bytes of header end in its length; the orientation in
 * CMT1, which is a TIFF header with the first directory. */
static void read_cr3(struct clip_image_bytes file, struct clip_camera_previews *found)
{
    static const char canon[] = "\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48";
    static const char shown[] = "\xea\xf4\x2b\x5e\x1c\x98\x4b\x88\xb9\xfb\xb7\xdc\x40\x6e\x4d\x16";
    struct clip_image_bytes moov, header, first, outer, preview;

    found->camera = true;
    if (clip_box_find(file, "moov", NULL, 0, &moov, &found->cut) &&
        clip_box_find(moov, "uuid", canon, 16, &header, &found->cut) &&
        clip_box_find(header, "CMT1", NULL, 0, &first, &found->cut))
        found->orientation = clip_exif_orientation(first.data, first.size);
    if (!clip_box_find(file, "uuid", shown, 16, &outer, &found->cut) || outer.size < 8) return;
    outer = (struct clip_image_bytes){outer.data + 8, outer.size - 8};
    if (clip_box_find(outer, "PRVW", NULL, 0, &preview, &found->cut) && preview.size >= 16)
        clip_camera_add(found, preview, 16, u32(preview.data + 12));
}

/* ---- the image ---- */

static clip_status check_preview(struct clip_image_bytes bytes,
                                 const struct clip_camera_previews *found, struct clip_error *error)
{
    int64_t longer = found->width > found->height ? found->width : found->height;

    if (found->camera && longer >= CLIP_CAMERA_PREVIEW) return CLIP_OK;
    if (found->cut)
        return clip_image_fail_cut(found->camera ? "camera raw" : "TIFF", bytes.size, error);
    if (!found->camera)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the image is TIFF, which is not read here; convert it to PNG or JPEG");
    if (longer == 0)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the camera raw file holds no preview that is a usual JPEG, and its own "
                         "pixels are not read here; convert it to JPEG");
    return clip_fail(error, CLIP_ERR_DATA,
                     "its embedded preview is %lld x %lld, and one of %d pixels on the longer side "
                     "is asked for; convert the camera raw file to JPEG or leave it out",
                     (long long)found->width, (long long)found->height, CLIP_CAMERA_PREVIEW);
}

clip_status clip_camera_decode(struct clip_image_bytes bytes,
                               const struct clip_image_limits *limits, struct clip_image *out,
                               int *orientation, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    struct clip_camera_previews found = {0};

    if (bytes.data[0] == 'F')
        read_raf(bytes, &found);
    else if (bytes.data[0] != 'I' && bytes.data[0] != 'M')
        read_cr3(bytes, &found);
    else
        CLIP_TRY(clip_camera_read_tiff(bytes, &found, error));
    CLIP_TRY(check_preview(bytes, &found, error));
    status = clip_jpeg_decode(found.largest, limits, out, orientation, error);
    if (status != CLIP_OK) clip_error_prefix(error, "the camera raw file's preview");
    if (found.orientation != 0) *orientation = found.orientation;

out:
    return status;
}
