/* Images: recognising formats, and EXIF's orientation. */
#include "data/image/image.h"

#include <string.h>

#include "core/count.h"
#include "core/file.h"
#include "data/image/image_formats.h"

#define MAX_FILE ((size_t)1 << 30)

bool clip_image_has_suffix(const char *path)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (clip_path_has_suffix(path, suffixes[i])) return true;
    return false;
}

static bool has(struct clip_image_bytes bytes, size_t at, const char *text, size_t n)
{
    return bytes.size >= at + n && memcmp(bytes.data + at, text, n) == 0;
}

/* Finds the format by the first bytes; NULL with *name set if it is not one that can be read
 * here. */
static clip_image_decoder *find_decoder(struct clip_image_bytes bytes, const char **name)
{
    *name = NULL;
    if (has(bytes, 0, "\xff\xd8", 2)) return clip_jpeg_decode;
    if (has(bytes, 0, clip_raw_signature, sizeof clip_raw_signature)) return clip_raw_decode;
    if (has(bytes, 0, "\x89PNG\r\n\x1a\n", 8)) return clip_png_decode;
    if (has(bytes, 0, "GIF87a", 6) || has(bytes, 0, "GIF89a", 6)) return clip_gif_decode;
    if (has(bytes, 0, "RIFF", 4) && has(bytes, 8, "WEBP", 4)) return clip_webp_decode;
    if (has(bytes, 0, "II*\0", 4) || has(bytes, 0, "MM\0*", 4))
        *name = "TIFF";
    else if (has(bytes, 4, "ftypavif", 8) || has(bytes, 4, "ftypavis", 8))
        *name = "AVIF";
    else if (has(bytes, 4, "ftypheic", 8) || has(bytes, 4, "ftypmif1", 8))
        *name = "HEIF";
    else if (has(bytes, 0, "\xff\x0a", 2) || has(bytes, 4, "JXL ", 4))
        *name = "JPEG XL";
    else if (has(bytes, 4, "jP  ", 4))
        *name = "JPEG 2000";
    else if (has(bytes, 0, "BM", 2))
        return clip_bmp_decode;
    return NULL;
}

static clip_status decode(struct clip_image_bytes bytes, const struct clip_image_limits *limits,
                          struct clip_image *out, struct clip_error *error)
{
    clip_status status = CLIP_OK;
    const char *name;
    clip_image_decoder *decoder = find_decoder(bytes, &name);
    int orientation = 0;

    if (bytes.size == 0)
        return clip_fail(error, CLIP_ERR_FORMAT, "the image is empty (0 bytes); leave it out");
    if (name != NULL)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "the image is %s, which this build does not read; convert it to PNG or "
                         "JPEG",
                         name);
    if (decoder == NULL)
        return clip_fail(error, CLIP_ERR_FORMAT,
                         "this is no image (%s%s): it does not begin as JPEG, PNG, GIF, WebP or "
                         "BMP do; leave it out",
                         CLIP_COUNT(bytes.size, "byte"),
                         bytes.data[0] == '<' ? ", which look like a web page" : "");
    CLIP_TRY(decoder(bytes, limits, out, &orientation, error));
    if (limits->upright) CLIP_TRY(clip_image_turn(out, orientation, error));

out:
    if (status != CLIP_OK) clip_image_release(out);
    return status;
}

clip_status clip_image_decode(const uint8_t *bytes, size_t n,
                              const struct clip_image_limits *limits, struct clip_image *out,
                              struct clip_error *error)
{
    *out = (struct clip_image){0};
    return decode((struct clip_image_bytes){bytes, n}, limits, out, error);
}

clip_status clip_image_decode_file(const char *path, const struct clip_image_limits *limits,
                                   struct clip_image *out, struct clip_error *error)
{
    clip_status status;
    struct clip_buffer bytes = {0};

    *out = (struct clip_image){0};
    CLIP_TRY(clip_file_read(path, MAX_FILE, &bytes, error));
    status = clip_image_decode((const uint8_t *)bytes.data, bytes.size, limits, out, error);
    if (status != CLIP_OK) clip_error_prefix(error, "%s", path);

out:
    clip_buffer_release(&bytes);
    return status;
}
