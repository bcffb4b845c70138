/* Images: recognising formats, and EXIF's orientation. */
#include "data/image/image.h"

#include <stdio.h>
#include <string.h>

#include "core/count.h"
#include "core/file.h"
#include "data/image/image_formats.h"

#define MAX_FILE ((size_t)1 << 30)

#define HEIF_SUFFIXES ".heic .heif .hif .avif"
#define OTHER_SUFFIXES                                                                             \
    ".jpg .jpeg .png .gif .bmp .webp "                                                             \
    ".dng .cr2 .cr3 .nef .nrw .arw .pef .srw .orf .rw2 .rwl .raf"

const char *clip_image_suffixes(void)
{
    return clip_heif_decoder ? OTHER_SUFFIXES " " HEIF_SUFFIXES : OTHER_SUFFIXES;
}

static bool has_one_of(const char *path, const char *suffixes)
{
    char suffix[8];

    for (const char *at = suffixes; *at != '\0'; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");

        snprintf(suffix, sizeof suffix, "%.*s", (int)n, at);
        if (clip_path_has_suffix(path, suffix)) return true;
        at += n;
    }
    return false;
}

bool clip_image_has_suffix(const char *path) { return has_one_of(path, clip_image_suffixes()); }

bool clip_image_needs_libheif(const char *path)
{
    return !clip_heif_decoder && has_one_of(path, HEIF_SUFFIXES);
}

static bool has(struct clip_image_bytes bytes, size_t at, const char *text, size_t n)
{
    return bytes.size >= at + n && memcmp(bytes.data + at, text, n) == 0;
}

/* ISO/IEC 14496-12, 4.3: a box of file type has a size, "ftyp", the major brand, a version, and the
 * brands that the file is compatible with. */
static bool is_heif(struct clip_image_bytes bytes)
{
    static const char brands[][5] = {"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm",
                                     "hevs", "mif1", "mif2", "msf1", "avif", "avis"};
    size_t end;

    if (bytes.size < 12 || !has(bytes, 4, "ftyp", 4)) return false;
    end = (size_t)bytes.data[2] << 8 | bytes.data[3];
    if (bytes.data[0] != 0 || bytes.data[1] != 0) return false;
    for (size_t at = 8; at + 4 <= end && at + 4 <= bytes.size; at += at == 8 ? 8 : 4)
        for (size_t i = 0; i < sizeof brands / sizeof *brands; i++)
            if (has(bytes, at, brands[i], 4)) return true;
    return false;
}

/* Raw files of cameras, and TIFF, of which most of them are. */
static bool is_camera(struct clip_image_bytes bytes)
{
    static const char starts[][5] = {"II*\0", "MM\0*", "IIRO", "IIRS", "MMOR", "IIU\0"};

    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (has(bytes, 0, starts[i], 4)) return true;
    return has(bytes, 0, "FUJIFILMCCD-RAW ", 16) || has(bytes, 4, "ftypcrx ", 8);
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
    if (is_heif(bytes)) return clip_heif_decode;
    if (is_camera(bytes)) return clip_camera_decode;
    if (has(bytes, 0, "\xff\x0a", 2) || has(bytes, 4, "JXL ", 4))
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
                         "this is no image (%s%s): it does not begin as JPEG, PNG, GIF, WebP, "
                         "HEIC, AVIF or BMP do; leave it out",
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
